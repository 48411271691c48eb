"""Tools for faults between a client and Storage: a proxy that cuts, and clients that stall."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator

__all__ = ["CuttingProxy", "Door", "cutting", "door"]


class CuttingProxy:
    """Passes bytes on to a port of 127.0.0.1 and resets connections in the middle of what the client sends."""

    def __init__(self, target: int, cuts: int, seed: int) -> None:
        self.target, self.cuts_left = target, cuts
        self.random = random.Random(seed)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        self.lock = threading.Lock()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                client, _ = self.server.accept()
                threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def allowance(self) -> int | None:
        """After how many of the client's bytes this connection is cut; None: it is left alone."""
        with self.lock:
            if not self.cuts_left:
                return None
            self.cuts_left -= 1
            return self.random.randrange(1, 24 << 20)

    def carry(self, client: socket.socket) -> None:
        left = self.allowance()
        with client, socket.create_connection(("127.0.0.1", self.target)) as server, contextlib.suppress(OSError):
            both = {client: server, server: client}
            while True:
                for source in select.select(list(both), [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and left is not None:
                        data, left = data[:left], max(0, left - len(data))
                    both[source].sendall(data)
                    if left == 0:
                        for end in both:  # a reset, as a lost connection is in the end
                            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return


@contextlib.contextmanager
def cutting(target: int, cuts: int, seed: int) -> Iterator[CuttingProxy]:
    """A proxy that resets its first so many connections."""
    proxy = CuttingProxy(target, cuts, seed)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown(socket.SHUT_RDWR)
        proxy.server.close()
        thread.join()


class Door:
    """Passes bytes on to a port of 127.0.0.1 while it is open; shut, it resets whoever knocks, and counts."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.is_open = True
        self.knocks = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                client, _ = self.server.accept()
                threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if not self.is_open:
                self.knocks += 1
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            with socket.create_connection(("127.0.0.1", self.target)) as server:
                both = {client: server, server: client}
                while self.is_open:
                    for source in select.select(list(both), [], [], 0.1)[0]:
                        if not (data := source.recv(65536)):
                            return
                        both[source].sendall(data)


@contextlib.contextmanager
def door(target: int) -> Iterator[Door]:
    """A proxy that can be shut."""
    made = Door(target)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown(socket.SHUT_RDWR)
        made.server.close()
        thread.join()
