"""How the conversation sleeps: until a job thread pokes it, a notification comes, or a time is reached."""

from __future__ import annotations

import contextlib
import random
import select
import socket

__all__ = ["Wake", "jittered"]


def jittered(seconds: float, share: float = 0.2) -> float:
    """`seconds` ± `share`, so that runners started together do not stay in step."""
    return seconds * random.uniform(1 - share, 1 + share)


class Wake:
    """A self-pipe beside the database's socket.

    A poke costs a system call only when somebody sleeps: under load the conversation is awake and finds the
    results by itself.
    """

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._poked = False

    def poke(self) -> None:
        """Wake the sleeper, or keep the next sleep from happening. Any thread, any time, signal handlers too."""
        if self._poked:  # already on its way
            return
        self._poked = True
        with contextlib.suppress(OSError):  # full of pokes already, or closed
            self._write.send(b"\0")

    def sleep(self, seconds: float, database: int | None = None) -> bool:
        """Sleep at most `seconds`; True when the socket `database` (a file number, None without one) has news."""
        sockets: list[int] = [self._read.fileno()]
        if database is not None:
            sockets.append(database)
        readable, _, _ = select.select(sockets, [], [], max(seconds, 0.0))
        if self._read.fileno() in readable:
            with contextlib.suppress(BlockingIOError):
                self._read.recv(4096)
        self._poked = False
        return database is not None and database in readable

    def close(self) -> None:
        """Give the sockets back."""
        self._read.close()
        self._write.close()
