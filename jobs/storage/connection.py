"""HTTP/1.1 with waits that end: a hot loop as cheap as http.client's, and never a hung thread.

A plain http.client GET costs 0.5 s of processor time per GB, httpx 0.8 to 1.4 s. What http.client lacks is added under
it, in the socket: every wait (connecting, sending, receiving) is cut into ticks. At each tick `check` may stop the work
by raising, and a connection on which no byte moves for `stall` seconds is given up with TimeoutError.
"""

from __future__ import annotations

import functools
import http.client
import io
import random
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

__all__ = ["BROKEN", "Answer", "Bytes", "Connection", "Endpoint", "Patience"]

Bytes: TypeAlias = bytes | bytearray | memoryview
Check: TypeAlias = Callable[[], None]

# what a broken connection raises: OSError holds time-outs, resets and TLS faults
BROKEN = (OSError, http.client.HTTPException)

# cancellation is noticed after this many seconds at most
TICK = 0.2
# at most this much in one call, so that slow lines count as moving
SEND_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is: scheme, host, port and the path before every request's own."""

    secure: bool
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Take a URL apart. Raises ValueError when it is not http or https with a host."""
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http or https address")
        secure = parts.scheme == "https"
        return cls(secure, parts.hostname, parts.port or (443 if secure else 80), parts.path.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer read whole: status, headers (names in lower case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Patience:
    """How often a call is tried again: `tries` times without progress, with doubling waits from `delay` seconds."""

    def __init__(self, tries: int, delay: float, check: Check) -> None:
        self._tries, self._delay, self._check = tries, delay, check
        self._failures = 0

    def moved(self) -> None:
        """Start counting anew: bytes have moved."""
        self._failures = 0

    def wait(self) -> bool:
        """Wait before the next try; False when there shall be none. `check` may stop the wait by raising."""
        self._failures += 1
        if self._failures > self._tries:
            return False
        # jitter: runners that lost the service together shall not come back together
        until = time.monotonic() + self._delay * 2 ** (self._failures - 1) * random.uniform(0.5, 1.5)
        self._check()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, TICK))
            self._check()
        return True


class Connection(http.client.HTTPConnection):
    """One connection, kept open between requests. Not for two threads at once. Raises what BROKEN names."""

    def __init__(self, endpoint: Endpoint, stall: float, check: Check) -> None:
        super().__init__(endpoint.host, endpoint.port)
        # http.client leaves this port out of the Host header
        self.default_port = 443 if endpoint.secure else 80
        self._endpoint, self._stall, self._check = endpoint, stall, check

    def connect(self) -> None:
        sock = _connected(self._endpoint, self._stall, self._check)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._endpoint.secure:
                sock = _secured(sock, self._endpoint.host, self._stall, self._check)
        except BaseException:
            sock.close()
            raise
        self.sock: Any = _PatientSocket(sock, self._stall, self._check)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: Bytes | None = None
    ) -> http.client.HTTPResponse:
        """Send a request and give its answer with the body still to be read."""
        try:
            try:
                self.request(method, self._endpoint.path + path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                # a service that refuses a body may answer and close before it has read all of it
                if body is None:
                    raise
            return self.getresponse()
        except BaseException:
            self.close()
            raise

    def call(self, method: str, path: str, headers: Mapping[str, str], body: Bytes | None = None) -> Answer:
        """Send a request and read its answer whole."""
        try:
            response = self.ask(method, path, headers, body)
            headers = {name.lower(): text for name, text in response.getheaders()}
            return Answer(response.status, headers, response.read())
        except BaseException:
            self.close()
            raise


class _PatientSocket:
    """A connected socket whose waits end. Holds what http.client uses of a socket.

    Like a real one it is closed for good only when its last reader is: http.client closes the connection first where
    the service announced that it will.
    """

    def __init__(self, sock: socket.socket, stall: float, check: Check) -> None:
        sock.settimeout(TICK)
        self._sock, self._stall, self._check = sock, stall, check
        self._readers, self._closed = 0, False

    def sendall(self, data: Bytes) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self.patiently(self._sock.send, view[:SEND_BYTES]) :]

    def recv_into(self, buffer: memoryview) -> int:
        return self.patiently(self._sock.recv_into, buffer)

    def patiently(self, act: Callable[[memoryview], int], view: memoryview) -> int:
        until = time.monotonic() + self._stall
        while True:
            self._check()
            try:
                return act(view)
            except TimeoutError:
                if time.monotonic() >= until:
                    raise TimeoutError(f"no byte moved for {self._stall:g} s") from None

    def makefile(self, mode: str, *_: object) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Incoming(self), 64 * 1024)

    def close(self) -> None:
        self._closed = True
        if not self._readers:
            self._sock.close()

    def release(self) -> None:
        self._readers -= 1
        if self._closed:
            self.close()


class _Incoming(io.RawIOBase):
    def __init__(self, sock: _PatientSocket) -> None:
        self._from = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._from.recv_into(memoryview(buffer))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._from.release()


def _connected(endpoint: Endpoint, stall: float, check: Check) -> socket.socket:
    """Connect to the first address of a host that takes the connection."""
    fault: OSError = OSError(f"{endpoint.host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.connect_ex(address)
            until = time.monotonic() + stall
            with selectors.DefaultSelector() as ready:
                ready.register(sock, selectors.EVENT_WRITE)
                while not ready.select(TICK):
                    check()
                    if time.monotonic() >= until:
                        raise TimeoutError(f"{endpoint.host} does not answer")
            if failed := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(failed, f"{endpoint.host}:{endpoint.port} refused the connection")
            return sock
        except OSError as error:
            sock.close()
            fault = error
        except BaseException:
            sock.close()
            raise
    raise fault


@functools.cache
def _tls() -> ssl.SSLContext:
    """Read the system's certificates once: it takes 20 ms."""
    return ssl.create_default_context()


def _secured(sock: socket.socket, host: str, stall: float, check: Check) -> socket.socket:
    secured = _tls().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    until = time.monotonic() + stall
    try:
        secured.settimeout(TICK)
        while True:
            check()
            try:
                secured.do_handshake()
                return secured
            except TimeoutError:
                if time.monotonic() >= until:
                    raise
    except BaseException:
        # the plain socket has handed its connection over, so nobody else would close it
        secured.close()
        raise
