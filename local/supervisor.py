"""The supervisor: starts an installation's services in order, restarts what dies, and stops all of it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from local import postgres, setup, state, tidy, web
from local.disk import find_full_disk
from local.errors import ServiceFailed, StackError
from local.installation import Installation
from local.logs import last_words, rotate
from local.service import Service, end, kill_group, launch
from local.services import list_services
from local.state import ProcessId, ServiceState, StackState

__all__ = ["Supervisor"]

TICK = 0.03  # seconds between two looks at a service that is starting
IDLE = 2.0  # seconds between two looks at log files; a service that ends wakes us at once
FIRST_BACKOFF, LONGEST_BACKOFF = 0.2, 30.0  # seconds
STEADY = 30.0  # seconds after which a service's earlier failures are forgotten


class _Stopped(Exception):
    """A signal asked us to stop while we were starting."""


@dataclass
class _Running:
    """One service under supervision; `next_start` and `since` are monotonic seconds."""

    service: Service
    state: ServiceState
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    since: float = 0.0
    next_start: float = 0.0


class Supervisor:
    """Supervises the services of one data folder, whose lock the caller holds.

    `settle` makes or changes the installation once nothing of an earlier stack runs any more; `watch` hears of every
    change of the state, and often while something starts. It must have no threads running: children are forked here.
    """

    def __init__(self, data_dir: Path, settle: Callable[[], Installation], watch: Callable[[StackState], None]) -> None:
        self._data_dir, self._settle, self._watch = data_dir, settle, watch
        self._state = StackState("starting", ProcessId.of(os.getpid()))
        self._installation: Installation | None = None
        self._running: dict[str, _Running] = {}
        self._signals = 0
        self._wakeups = os.pipe()
        for end_of_pipe in self._wakeups:
            os.set_blocking(end_of_pipe, False)

    def run(self) -> None:
        """Start, keep and stop the stack; raises StackError after everything that was started has ended."""
        with self._listening_to_signals():
            try:
                self._start()
                self._keep()
                self._stop()
            except _Stopped:
                self._stop()
            except BaseException as error:
                if self._signals:  # Ctrl-C reaches the programs that prepare the database too, and fails them
                    self._stop()
                    return
                told = self._explain(error)
                self._stop({"code": told.code, "message": told.message, "cure": told.cure})
                if told is error:
                    raise
                raise told from error

    # starting ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        state.clear_leftovers(self._data_dir, lambda name: self._show(self._say_left(name)))
        installation = self._settle()
        setup.check_schema(installation)
        installation.log_dir.mkdir(mode=0o700, exist_ok=True)
        self._installation = installation
        for service in list_services(installation):
            log = installation.log_dir / f"{service.name}.log"
            told = ServiceState(
                service.name,
                url=service.url,
                log=str(log),
                warning=service.warning,
                stop_signal=int(service.stop_signal),
                stop_seconds=service.stop_seconds,
            )
            self._state.services[service.name] = told
            self._running[service.name] = _Running(service, told)
        if postgres.needs_cluster(installation):
            self._step("Making the database")
            postgres.create_cluster(installation)
        tidy.claim(installation)
        self._bring_up("postgres")
        if not postgres.is_prepared(installation):
            self._step("Giving the database a hosted project's roles")
            postgres.prepare_database(installation)
            setup.forget_schema(installation)
        self._check_stop()
        for name in ("auth", "backend"):  # the slowest to start, and they need none of our tables for that
            if name in self._running:
                self._launch(self._running[name])
        if setup.needs_schema(installation):
            self._step(f"Applying {installation.schema_file or 'migrations'}")
            setup.apply_schema(installation)
        if installation.schema_file is None:
            setup.let_runner_in(installation)
        if installation.web_url and installation.web == "built" and web.needs_build():
            self._step("Building the web client")
            web.build()
        # together: they wait for each other by themselves
        self._bring_up(*(name for name in self._running if name != "postgres"))
        if setup.needs_demo_users(installation):
            self._step("Making the demo users")
            setup.make_demo_users(installation)
        self._state.state = "ready"
        self._step("")
        tidy.tidy(postgres.programs())

    def _explain(self, error: BaseException) -> StackError:
        """What a failure means to a person: on a full disk everything fails, each in its own words."""
        folders = [self._data_dir, *([self._installation.postgres_data] if self._installation else [])]
        if isinstance(error, StackError):
            return find_full_disk(*folders) or error
        if isinstance(error, OSError):
            return find_full_disk(*folders) or StackError(
                "data_dir_unwritable",
                f"The data folder {self._data_dir} cannot be used: {error.strerror or error} ({error.filename}).",
                "Name a folder of your own with --data-dir.",
            )
        return find_full_disk(*folders) or StackError("stack_failed", repr(error))

    def _bring_up(self, *names: str) -> None:
        """Start these services together and wait until all are ready; raises ServiceFailed if one ends or is late."""
        self._check_stop()
        waiting = [self._running[name] for name in names]
        self._step(f"Starting {', '.join(names)}")
        for one in waiting:
            if one.process is None:
                self._launch(one)
        while waiting:
            self._check_stop()
            for one in list(waiting):
                assert one.process is not None
                code = one.process.poll()
                if code is not None or time.monotonic() > one.since + one.service.ready_seconds:
                    reason = "is not ready in time" if code is None else f"ended with {_name_exit(code)}"
                    raise ServiceFailed(
                        f"{one.service.name}_failed",
                        f"The service {one.service.name} {reason}: {last_words(Path(one.state.log))}",
                        f"Read {one.state.log}.",
                    )
                if one.service.ready():
                    self._mark_ready(one)
                    waiting.remove(one)
            self._show(self._state)  # time goes by on the screen
            self._rest(TICK)

    # keeping -----------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Restart what dies until a signal asks to stop."""
        while not self._signals:
            for one in self._running.values():
                self._look_after(one)
            self._state.state = (
                "ready" if all(s.state == "ready" for s in self._state.services.values()) else "degraded"
            )
            self._tell()
            starting = any(one.process is not None and one.state.state != "ready" for one in self._running.values())
            due = [one.next_start for one in self._running.values() if one.process is None]
            pause = TICK if starting else max(0.0, min([IDLE, *(moment - time.monotonic() for moment in due)]))
            self._rest(pause)

    def _look_after(self, one: _Running) -> None:
        now = time.monotonic()
        if one.process is None:
            if now >= one.next_start:
                self._launch(one)
            return
        code = one.process.poll()
        if code is not None:
            self._lose(one, f"ended with {_name_exit(code)}")
        elif one.state.state == "ready":
            if now > one.since + STEADY:
                one.failures = 0
            rotate(Path(one.state.log))
        elif one.service.ready():
            self._mark_ready(one)
        elif now > one.since + one.service.ready_seconds:
            self._lose(one, "was not ready in time")

    def _launch(self, one: _Running) -> None:
        rotate(Path(one.state.log))
        try:
            one.process = launch(one.service, Path(one.state.log))
        except OSError as error:
            if self._state.state == "starting":
                raise ServiceFailed(
                    f"{one.service.name}_failed", f"{one.service.argv[0]} cannot be started: {error.strerror}"
                ) from error
            self._lose(one, f"cannot be started: {error.strerror}")
            return
        one.since = time.monotonic()
        one.state.process = ProcessId.of(one.process.pid)
        one.state.state = "restarting" if one.state.restarts else "starting"
        self._tell()

    def _mark_ready(self, one: _Running) -> None:
        one.since = time.monotonic()
        one.state.state = "ready"
        self._tell()

    def _lose(self, one: _Running, reason: str) -> None:
        """Note that a service is gone, and when it starts again: at once first, then ever later."""
        if one.process is not None:
            end(one.process, one.service)
        one.process = one.state.process = None
        one.next_start = time.monotonic() + min(FIRST_BACKOFF * 2**one.failures, LONGEST_BACKOFF)
        one.failures += 1
        one.state.restarts += 1
        one.state.state, one.state.detail = "restarting", reason
        self._tell()

    # stopping ----------------------------------------------------------------------------------------------------

    def _stop(self, error: dict[str, str] | None = None) -> None:
        """Stop the runner, then what serves, Postgres last; a second signal kills instead of asking."""
        self._state.state = "stopping"
        for names in (["runner"], ["web", "backend", "gateway", "rest", "auth"], ["postgres"]):
            ending = [self._running[name] for name in names if name in self._running]
            self._step(f"Stopping {', '.join(one.service.name for one in ending)}" if ending else "")
            self._end_together([one for one in ending if one.process is not None])
        self._state.state, self._state.error = "failed" if error else "stopped", error
        self._state.supervisor = None
        self._step("")

    def _end_together(self, ending: list[_Running]) -> None:
        asked = time.monotonic()
        heard = self._signals
        for one in ending:
            if one.process is not None and one.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    one.process.send_signal(one.service.stop_signal)
        while ending:
            for one in list(ending):
                assert one.process is not None
                late = time.monotonic() > asked + one.service.stop_seconds or self._signals > max(heard, 1)
                if late and one.process.poll() is None:
                    # Postgres is never killed at once: an immediate shutdown is as quick, and takes its children along
                    one.process.send_signal(signal.SIGQUIT if one.service.name == "postgres" else signal.SIGKILL)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        one.process.wait(5)
                    one.process.kill()
                    one.process.wait()
                if one.process.poll() is not None:
                    kill_group(one.process.pid)
                    one.process = one.state.process = None
                    one.state.state = "stopped"
                    ending.remove(one)
                    self._tell()
            self._rest(TICK if ending else 0)

    def _say_left(self, name: str) -> StackState:
        """The state to show, not to record: the record still names what has to be ended."""
        return StackState("starting", self._state.supervisor, f"Ending {name}, which a killed stack left behind")

    # the rest ----------------------------------------------------------------------------------------------------

    def _step(self, step: str) -> None:
        self._state.step = step
        self._tell()

    def _tell(self) -> None:
        """Record the state and tell the watcher, if it changed."""
        changed = True
        with contextlib.suppress(OSError):  # a full disk must not keep us from restarting or stopping
            changed = state.write(self._data_dir, self._state)
        if changed:
            self._show(self._state)

    def _show(self, told: StackState) -> None:
        try:
            self._watch(told)
        except (OSError, SystemExit):  # the terminal is gone (rich turns a broken pipe into an exit)
            self._watch = lambda _: None

    def _check_stop(self) -> None:
        if self._signals:
            raise _Stopped

    def _rest(self, seconds: float) -> None:
        """Sleep until something happens: a signal, a child's end, or the time is over."""
        select.select([self._wakeups[0]], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeups[0], 4096)

    @contextlib.contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        def note(number: int, frame: FrameType | None) -> None:
            self._signals += 1

        def ignore(number: int, frame: FrameType | None) -> None:
            """Only the wake-up counts."""

        handlers = {signal.SIGTERM: note, signal.SIGINT: note, signal.SIGHUP: note, signal.SIGCHLD: ignore}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        waker = signal.set_wakeup_fd(self._wakeups[1], warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(waker)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end_of_pipe in self._wakeups:
                os.close(end_of_pipe)


def _name_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
