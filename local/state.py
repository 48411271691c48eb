"""What a supervisor leaves for others to read: the lock that proves it lives, and how the stack stands."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import psutil

from local.service import kill_group

__all__ = [
    "ProcessId",
    "ServiceState",
    "StackState",
    "clear_leftovers",
    "find_supervisor",
    "read",
    "supervision",
    "write",
]

FILE = "stack.json"
LOCK = "stack.lock"

Phase = Literal["starting", "ready", "degraded", "stopping", "stopped", "failed"]
ServicePhase = Literal["waiting", "starting", "ready", "restarting", "stopped"]


@dataclass(frozen=True)
class ProcessId:
    """A process beyond doubt: numbers are used again, a number with its time of birth is not."""

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of a running process, None if it is gone."""
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            return cls(pid, _read_birth(pid))
        return None

    def find(self) -> psutil.Process | None:
        """The process, if it still runs and is no zombie."""
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _read_birth(self.pid) == self.birth:
                process = psutil.Process(self.pid)
                return None if process.status() == psutil.STATUS_ZOMBIE else process
        return None


@dataclass
class ServiceState:
    """How one service stands; `restarts` counts since the stack started.

    `detail` says why it was restarted last, `warning` what a person should know of it.
    """

    name: str
    state: ServicePhase = "waiting"
    process: ProcessId | None = None
    url: str | None = None
    log: str = ""
    restarts: int = 0
    detail: str = ""
    warning: str = ""
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 5.0


@dataclass
class StackState:
    """How the stack stands; `step` is what it is doing, `error` (code, message, cure) why it failed."""

    state: Phase
    supervisor: ProcessId | None
    step: str = ""
    services: dict[str, ServiceState] = field(default_factory=dict)
    error: dict[str, str] | None = None


def write(data_dir: Path, state: StackState) -> bool:
    """Record the state, so that a reader sees the old one or the new one, whole; False if it is recorded already."""
    text = json.dumps(asdict(state))
    with contextlib.suppress(OSError):
        if (data_dir / FILE).read_text() == text:
            return False
    fresh = data_dir / f"{FILE}.new"  # one writer: whoever holds the lock
    fresh.write_text(text)
    fresh.replace(data_dir / FILE)
    return True


def read(data_dir: Path) -> StackState | None:
    """The state recorded last, None if there is none (or it is damaged, which is as good as none).

    One that another version recorded is understood as far as it goes.
    """
    try:
        kept = json.loads((data_dir / FILE).read_text())
        services = {str(name): _read_service(str(name), service) for name, service in kept["services"].items()}
        return StackState(
            kept["state"], _identity(kept["supervisor"]), kept.get("step", ""), services, kept.get("error")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextlib.contextmanager
def supervision(data_dir: Path, sign: bool = False) -> Iterator[bool]:
    """Hold the lock of a data folder for the time of a `with` block; False if another supervisor has it.

    The kernel releases it with the process, however that ends, and children do not inherit it. With `sign` the file
    says who holds it.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            if sign:
                _sign(descriptor)
            yield True
    finally:
        os.close(descriptor)


def find_supervisor(data_dir: Path) -> psutil.Process | None:
    """The living supervisor of a data folder, if there is one.

    It is whoever recorded itself, else whoever holds the lock: what another version recorded may be unreadable.
    """
    state = read(data_dir)
    recorded = state.supervisor.find() if state and state.supervisor else None
    return recorded or _find_holder(data_dir / LOCK)


def clear_leftovers(data_dir: Path, watch: Callable[[str], None] = lambda _: None) -> list[str]:
    """End the services of a supervisor that was killed, Postgres last; returns their names. Call it under the lock.

    `watch` hears the name of each before it is ended.
    """
    state = read(data_dir)
    if state is None:
        return []
    ended = []
    for service in sorted(state.services.values(), key=lambda one: one.name == "postgres"):
        process = service.process.find() if service.process else None
        if process is None:
            continue
        watch(service.name)
        ended.append(service.name)
        with contextlib.suppress(psutil.Error):
            process.send_signal(service.stop_signal)
            try:
                process.wait(service.stop_seconds)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(5)
        kill_group(process.pid)
    return ended


def _sign(descriptor: int) -> None:
    own = ProcessId.of(os.getpid())
    with contextlib.suppress(OSError):  # a full disk: the kernel's list names us too
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(own)).encode() if own else b"", 0)


def _find_holder(lock: Path) -> psutil.Process | None:
    """The supervisor that holds a lock file's lock: who signed it, or on Linux whom the kernel names."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        signed = _identity(json.loads(lock.read_text()))
        if signed is not None and (process := signed.find()) is not None:
            return process
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):  # proc(5), "/proc/locks"
        number = lock.stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[3] == "WRITE" and words[5].endswith(f":{number}"):
                process = psutil.Process(int(words[4]))
                supervises = {"local.stack", "up"} & set(process.cmdline())  # `down` takes the lock too
                if supervises and any(Path(file.path) == lock.resolve() for file in process.open_files()):
                    return process
    return None


def _read_service(name: str, kept: dict[str, Any]) -> ServiceState:
    known = {one.name for one in fields(ServiceState)}
    told = {key: value for key, value in kept.items() if key in known}
    return ServiceState(**{**told, "name": name, "process": _identity(kept.get("process"))})


def _identity(kept: dict[str, Any] | None) -> ProcessId | None:
    return ProcessId(int(kept["pid"]), str(kept["birth"])) if kept else None


def _read_birth(pid: int) -> str:
    """When a process was born, in words that do not change when the clock is set; raises psutil.NoSuchProcess."""
    if sys.platform != "linux":
        return str(round(psutil.Process(pid).create_time()))
    try:  # proc(5): the 22nd field is the ticks from the boot to the start; the 2nd may hold blanks and brackets
        ticks = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"
    except (OSError, IndexError):
        raise psutil.NoSuchProcess(pid) from None
