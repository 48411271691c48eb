"""A stack seen from outside: start it in the background, wait for it, describe it, stop it, remove it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from local import installation as installations
from local import postgres, state, tidy
from local.disk import find_full_disk
from local.errors import NotInstalled, StackError
from local.packages import ROOT, clean_environment
from local.stack import ALREADY_RUNNING, Options
from local.state import ServiceState, StackState

__all__ = ["describe", "remove", "start", "stop", "wait_for"]

Watch = Callable[[StackState], None]
LOOK = 0.05  # seconds between two looks at the recorded state
GONE = 2.0  # seconds in which a supervisor that just started must have recorded itself
SILENT = 10.0  # seconds after which one that recorded nothing we understand never will
STOP_SECONDS = 90.0
# what an installation consists of; a data folder may hold other things, which stay
PARTS = ("storage", "mail", "log", "applied", "demo_users_made", "runner.heartbeat", state.FILE, "installation.json")


def start(data_dir: Path, options: Options, watch: Watch) -> bool:
    """Start the stack in the background and return when it is ready; False if it was running already.

    Safe to be called twice at once. Raises StackError with what the supervisor said if it gives up.
    """
    process = None if state.find_supervisor(data_dir) else _spawn(data_dir, options)
    try:
        while True:
            if process is None and wait_for(data_dir, watch):
                return False
            if process is None:
                process = _spawn(data_dir, options)
            code = process.poll()
            told = state.read(data_dir)
            if code == ALREADY_RUNNING:
                process = None
            elif code is not None:
                raise _read_failure(data_dir, told)
            elif told and told.supervisor and told.supervisor.pid == process.pid:
                watch(told)
                if told.state == "ready":
                    return True
            time.sleep(LOOK)
    except KeyboardInterrupt:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait()
        raise


def wait_for(data_dir: Path, watch: Watch) -> bool:
    """Wait until somebody else's supervisor has the stack ready; False if it ends before.

    Raises StackError if it is of another version, whose words are not understood.
    """
    seen = time.monotonic()
    while time.monotonic() < seen + GONE:
        told = state.read(data_dir)
        if told is None and (foreign := _find_foreign(data_dir)) is not None:
            raise foreign
        if told and told.supervisor and told.supervisor.find():
            seen = time.monotonic()
            watch(told)
            if told.state in ("ready", "degraded"):
                return True
        time.sleep(LOOK)
    return False


def stop(data_dir: Path, watch: Watch) -> bool:
    """Stop the stack and what a killed one left behind; False if nothing ran."""
    if not data_dir.is_dir():
        return False
    deadline = time.monotonic() + STOP_SECONDS
    stopped = False
    while True:
        supervisor = state.find_supervisor(data_dir)
        if supervisor is not None:
            stopped = True
            _end_supervisor(supervisor, data_dir, watch, deadline)
        with state.supervision(data_dir) as ours:
            if ours:
                return bool(state.clear_leftovers(data_dir)) or stopped
        if time.monotonic() > deadline:
            raise StackError(
                "stop_failed",
                f"A process that cannot be named holds {data_dir / state.LOCK}.",
                f"End it by hand: `fuser {data_dir / state.LOCK}` or `lsof {data_dir / state.LOCK}` shows its number.",
            )
        time.sleep(LOOK)  # one that just started has not recorded itself yet


def remove(data_dir: Path) -> None:
    """Delete an installation's data and secrets. The stack must be stopped; raises NotInstalled if there is none."""
    found = installations.load(data_dir)
    postgres.remove_cluster(found)
    for part in PARTS:
        path = found.data_dir / part
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (found.data_dir / state.LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else lies in it, or it is mounted
        found.data_dir.rmdir()
    tidy.tidy(postgres.programs())


def describe(data_dir: Path) -> dict[str, Any]:
    """What `status --json` prints, secrets included; without an installation all settings are null."""
    settings: dict[str, Any] = dict.fromkeys(
        (
            "supabase_url",
            "backend_url",
            "web_url",
            "publishable_key",
            "secret_key",
            "jwt_secret",
            "database_url",
            "admin_database_url",
        )
    )
    users: list[dict[str, str]] = []
    with contextlib.suppress(NotInstalled):
        found = installations.load(data_dir)
        settings |= {
            "supabase_url": found.supabase_url,
            "backend_url": None if found.schema_file else found.backend_url,
            "web_url": found.web_url,
            "publishable_key": found.secrets.publishable_key,
            "secret_key": found.secrets.secret_key,
            "jwt_secret": found.secrets.jwt_secret,
            "database_url": None if found.schema_file else found.database_url("instashare_runner"),
            "admin_database_url": found.database_url("supabase_admin"),
        }
        users = [{"email": user.email, "password": user.password, "role": user.role} for user in found.demo_users]
    told = state.read(data_dir)
    alive = state.find_supervisor(data_dir) is not None
    services = told.services if told else {}
    foreign = _find_foreign(data_dir) if told is None else None
    error = {"code": foreign.code, "message": foreign.message, "cure": foreign.cure} if foreign else None
    return {
        "state": (told.state if told else "degraded" if foreign else "starting") if alive else "stopped",
        **settings,
        "demo_users": users,
        "services": {name: _describe_service(service, alive) for name, service in services.items()},
        "data_dir": str(data_dir.resolve()),
        "log_dir": str(data_dir.resolve() / "log"),
        "error": told.error if told and not alive else error,
    }


def _spawn(data_dir: Path, options: Options) -> subprocess.Popen[bytes]:
    """Start a supervisor in a session of its own; what it says beside its records goes to log/supervisor.log."""
    data_dir = data_dir.resolve()
    argv = [sys.executable, "-P", "-m", "local.stack", "--data-dir", str(data_dir)]
    named = {"--port": options.port, "--storage-limit": options.storage_limit, "--schema": options.schema_file}
    argv += [f"{name}={value}" for name, value in named.items() if value is not None]
    argv.append(f"--web={options.web}")
    if options.confirm_email is not None:
        argv.append("--confirm-email" if options.confirm_email else "--no-confirm-email")
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data_dir / "log").mkdir(mode=0o700, exist_ok=True)
        with (data_dir / "log" / "supervisor.log").open("wb") as log:
            return subprocess.Popen(
                argv,
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise find_full_disk(data_dir) or StackError(
            "data_dir_unwritable",
            f"The data folder {data_dir} cannot be written: {error.strerror}.",
            "Name a folder of your own with --data-dir.",
        ) from error


def _end_supervisor(supervisor: psutil.Process, data_dir: Path, watch: Watch, deadline: float) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        supervisor.terminate()
        while _runs(supervisor):
            if (told := state.read(data_dir)) is not None:
                watch(told)
            if time.monotonic() > deadline:
                supervisor.kill()
            time.sleep(LOOK)


def _find_foreign(data_dir: Path) -> StackError | None:
    """The error for a stack that runs, and not only since a moment, but records nothing that we understand."""
    supervisor = state.find_supervisor(data_dir) if state.read(data_dir) is None else None
    with contextlib.suppress(psutil.Error):
        if supervisor is not None and time.time() - supervisor.create_time() > SILENT:
            return StackError(
                "other_version",
                f"The stack of {data_dir} is run by another version of InstaShare.",
                "End it with `./instashare down`, then start it again.",
            )
    return None


def _read_failure(data_dir: Path, told: StackState | None) -> StackError:
    if told is not None and told.error is not None:
        return StackError(told.error["code"], told.error["message"], told.error["cure"])
    if (full := find_full_disk(data_dir)) is not None:  # nothing could be recorded
        return full
    log = data_dir / "log" / "supervisor.log"
    lines = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
    return StackError("stack_failed", lines[0] if lines else "The stack was stopped while it started.", f"Read {log}.")


def _describe_service(service: ServiceState, alive: bool) -> dict[str, Any]:
    process = service.process.find() if alive and service.process else None
    return {
        "state": service.state if alive else "stopped",
        "pid": process.pid if process else None,
        "url": service.url,
        "rss_mb": _measure(process) if process else None,
        "log": service.log,
        "restarts": service.restarts,
        "detail": service.detail or service.warning,
        "warning": service.warning,
    }


def _measure(process: psutil.Process) -> float | None:
    """Resident memory in MiB of a service and its children, whose shared part (Postgres' buffers) counts once."""
    try:
        total = process.memory_info().rss
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                memory = child.memory_info()
                total += memory.rss - getattr(memory, "shared", 0)
    except psutil.Error:
        return None
    return round(float(total) / 1024**2, 1)


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
