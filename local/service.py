"""One service of the stack: the program, how to tell that it is ready, and how it is started and ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Service", "answers", "end", "kill_group", "launch", "wait_until"]

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Service:
    """A program of the stack.

    `ready` answers quickly whether it serves; `url` is where, for people. `prepare` runs before every start. `user` is
    the uid and gid it must run as.
    `warning` is what a person should know about it.
    `stop_signal` asks it to end, after `stop_seconds` it is killed; `ready_seconds` is how long a start may take.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready: Callable[[], bool]
    url: str | None = None
    prepare: Callable[[], None] = lambda: None
    user: tuple[int, int] | None = None
    cwd: Path = field(default=Path("/"))
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 5.0
    ready_seconds: float = 60.0
    warning: str = ""


def launch(service: Service, log: Path) -> subprocess.Popen[bytes]:
    """Start a service in a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone.

    On Linux the kernel ends it when the supervisor dies. Call this on the main thread: the kernel means the thread.
    Raises OSError if the program cannot be started.
    """
    service.prepare()
    parent = os.getpid()

    def follow_parent() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(service.stop_signal))
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

    uid, gid = service.user or (None, None)
    with log.open("ab") as output, warnings.catch_warnings():
        # Python warns of forking beside threads (a test's, say). The child makes one system call, looked up before.
        warnings.simplefilter("ignore", DeprecationWarning)
        return subprocess.Popen(
            list(service.argv),
            env=dict(service.env),
            cwd=service.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=follow_parent,
            umask=0o077,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )


def end(process: subprocess.Popen[bytes], service: Service) -> None:
    """Ask a service to end, wait, and kill it and what it started if it does not."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(service.stop_signal)
        try:
            process.wait(service.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    kill_group(process.pid)


def kill_group(leader: int) -> None:
    """Kill what is left of the session that a service led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def answers(url: str, seconds: float = 1.0) -> bool:
    """Tell whether a GET of this loopback address (`http://HOST:PORT/PATH`) succeeds.

    By hand: an HTTP client would be a third of a supervisor's memory.
    """
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    try:
        with socket.create_connection((name, int(port)), seconds) as connection:
            connection.sendall(f"GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            start = b""
            while len(start) < len("HTTP/1.1 200") and (more := connection.recv(64)):
                start += more
    except OSError:
        return False
    return start.startswith(b"HTTP/1.") and start[9:10] == b"2"


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until a service is ready; False when it ended or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if ready():
            return True
        time.sleep(0.02)
    return False


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # looked up before the fork, where loading could hang
