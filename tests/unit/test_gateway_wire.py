"""The gateway on real sockets: what smuggles, tricks or never ends is refused, and bodies stream both ways."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from local.gateway import server as gateway_server
from local.gateway.app import Gateway
from local.gateway.auth import AuthGate
from local.gateway.keys import Keys
from local.gateway.limits import RateLimits
from local.gateway.server import HEAD_LIMIT, configuration
from local.gateway.upstream import Upstream
from local.tokens import Issuer, new_signing_key


class Storage:
    """Says how much it has got after each piece, and shows the path that it was asked for."""

    async def startup(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"x-path", scope["raw_path"])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        got, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            got, more = got + len(message.get("body", b"")), message.get("more_body", False)
            await send({"type": "http.response.body", "body": b"%d\n" % got, "more_body": True})
        await send({"type": "http.response.body", "body": b"end\n"})


class Wire:
    """A running gateway, spoken to byte by byte."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"host: 127.0.0.1:{port}\r\n".encode()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, request: bytes) -> tuple[int, bytes, bool]:
        """Status of the only answer, its body, and whether the connection is closed after it."""
        with self.connect() as connection:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                data = connection.recv(65536)
                assert data, "closed without an answer"
                answer += data
            head, _, body = answer.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                ),
                None,
            )
            while length is not None and len(body) < length:
                body += connection.recv(65536)
            assert (b"HTTP/1.1 " not in body) and (length is None or len(body) == length), "more than one answer"
            connection.settimeout(0.2)
            try:
                closed = connection.recv(1) == b""
            except ConnectionResetError:
                closed = True
            except TimeoutError:
                closed = False
            return int(head.split(b" ")[1]), body, closed

    def get(self, target: bytes, headers: bytes = b"") -> tuple[int, bytes, bool]:
        return self.ask(b"GET " + target + b" HTTP/1.1\r\n" + self.host + headers + b"\r\n")

    def post(self, headers: bytes, body: bytes) -> tuple[int, bytes, bool]:
        return self.ask(b"POST /storage/v1/x HTTP/1.1\r\n" + self.host + headers + b"\r\n" + body)


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    issuer = Issuer(new_signing_key(), "http://127.0.0.1/auth/v1")
    keys = Keys("sb_publishable_a", "sb_secret_b", issuer, "secret")
    parts = (Upstream("Auth", "http://127.0.0.1:1"), Upstream("REST", "http://127.0.0.1:1"))
    app = Gateway(keys, AuthGate(parts[0], keys, issuer, RateLimits(enabled=False)), parts, Storage())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = uvicorn.Server(configuration(app, port))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline and thread.is_alive()
            time.sleep(0.01)  # a condition with a deadline
        try:
            yield Wire(port)
        finally:
            server.should_exit = True
            thread.join()


NEXT = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"content-length: 4\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n" + NEXT),
        (b"transfer-encoding: chunked\r\ncontent-length: 4\r\n", b"0\r\n\r\n" + NEXT),
        (b"content-length: 4\r\ncontent-length: 5\r\n", b"abcde" + NEXT),
        (b"content-length: 4, 4\r\n", b"abcd" + NEXT),
        (b"content-length: +4\r\n", b"abcd" + NEXT),
        (b"content-length: 0x4\r\n", b"abcd" + NEXT),
        (b"content-length: -1\r\n", NEXT),
        (b"transfer-encoding: xchunked\r\n", b"0\r\n\r\n" + NEXT),
        (b"transfer-encoding: chunked, identity\r\n", b"0\r\n\r\n" + NEXT),
        (b"transfer-encoding : chunked\r\n", b"0\r\n\r\n" + NEXT),
        (b"x: a\r\n transfer-encoding: chunked\r\n", b"0\r\n\r\n" + NEXT),
        (b"x: a\x00b\r\n", b""),
        (b"x: a\x01b\r\n", b""),
        (b"x: a\nb: c\r\n", b""),
        (b"content-length: 4\r\ncontent-length: 4\r\n", b"abcd" + NEXT),
        (b"content-length: 99999999999999999999\r\n", b"abcd" + NEXT),
        (b"content-length: 4\x0b\r\n", b"abcd" + NEXT),
        (b"content-length:\r\n", NEXT),
        (b"content length: 4\r\n", b"abcd" + NEXT),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", b"0\r\n\r\n" + NEXT),
        (b"transfer-encoding: identity, chunked\x0b\r\n", b"0\r\n\r\n" + NEXT),
        (b"transfer-encoding:\x0bchunked\r\n", b"0\r\n\r\n" + NEXT),
        (b" content-length: 4\r\n", b"abcd" + NEXT),
        (b"x: a\rcontent-length: 4\r\n", b"abcd" + NEXT),
        (b": empty\r\n", NEXT),
    ],
)
def test_smuggling_is_refused_and_the_connection_closed(wire: Wire, headers: bytes, body: bytes) -> None:
    status, _, closed = wire.post(headers, body)
    assert (status, closed) == (400, True)


@pytest.mark.parametrize(
    "chunk",
    [
        b"zz\r\nabc\r\n", b"3\nabc\n", b"3\r\nabcd\r\n", b"-3\r\nabc\r\n", b"3 ;\x00\r\nabc\r\n", b"0x3\r\nabc\r\n",
        b"3\r\nabc\n", b"3\rabc\r\n", b"3;a\nb\r\nabc\r\n", b"10000000000000003\r\nabc\r\n", b"\r\nabc\r\n",
        b"+3\r\nabc\r\n",
    ],
)  # fmt: skip
def test_bad_chunk_ends_the_connection(wire: Wire, chunk: bytes) -> None:
    """Storage has begun to answer by then; the end is never sent."""
    with wire.connect() as connection:
        head = b"POST /storage/v1/x HTTP/1.1\r\n" + wire.host + b"transfer-encoding: chunked\r\n\r\n"
        connection.sendall(head + chunk + b"0\r\n\r\n" + NEXT)
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
        except ConnectionResetError:
            pass
    assert b"end\n" not in answer and b'{"status":"ok"}' not in answer


def test_extensions_and_trailers_of_chunks_are_passed_over(wire: Wire) -> None:
    """They are allowed (RFC 9112 §7.1), mean nothing here, and the next request is the next one."""
    chunks = b'3;name=value;quoted="a"\r\nabc\r\n0;last\r\nhost: evil.example\r\nauthorization: x\r\n\r\n'
    with wire.connect() as connection:
        head = b"POST /storage/v1/x HTTP/1.1\r\n" + wire.host + b"transfer-encoding: chunked\r\n\r\n"
        connection.sendall(head + chunks + b"GET /health HTTP/1.1\r\n" + wire.host + b"connection: close\r\n\r\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert answer.count(b"HTTP/1.1 200") == 2 and b"3\n" in answer and answer.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    "target",
    [
        b"http://evil.example/health",
        b"http://127.0.0.1/health",
        b"evil.example:443",
        b"health",
        b"//evil.example/health",
        b"/heal\x00th",
        b"/heal\x7fth",
        b"/health HTTP/1.1 x",
        b"",
    ],
)
def test_target_that_is_no_path_of_ours_is_refused(wire: Wire, target: bytes) -> None:
    assert wire.get(target)[0] in (400, 404)


@pytest.mark.parametrize(
    "path",
    [
        b"/auth/v1/../x", b"/auth/v1/%2e%2e/x", b"/auth/v1/.%2E/x", b"/auth/v1/..\\x", b"/auth/v1/%5c..%5Cx",
        b"/auth/v1//admin/users", b"/auth/v1/admin%2fusers", b"/rest/v1/%2F..%2Fx", b"/rest/v1/./x", b"/rest/v1/x/..",
    ],
)  # fmt: skip
def test_path_tricks_are_refused(wire: Wire, path: bytes) -> None:
    status, body, _ = wire.get(path, b"apikey: sb_publishable_a\r\n")
    assert status == 400 and "must not hold" in json.loads(body)["message"]


@pytest.mark.parametrize(
    "path",
    [
        b"//auth/v1/user",
        b"/auth//v1/user",
        b"/auth%2fv1/user",
        b"/x/../auth/v1/user",
        b"/%2e/auth/v1/user",
        b"/AUTH/v1/user",
    ],
)
def test_prefix_is_matched_as_it_was_sent(wire: Wire, path: bytes) -> None:
    assert wire.get(path, b"apikey: sb_publishable_a\r\n")[0] == 404


def test_storage_sees_any_path_as_it_was_sent(wire: Wire) -> None:
    for path in (b"/object/b/../../c", b"/object/b/%2e%2e%2Fc", b"/object//b", b"/object/b/a%2Fb"):
        with wire.connect() as connection:
            connection.sendall(b"GET /storage/v1" + path + b" HTTP/1.1\r\n" + wire.host + b"\r\n")
            assert b"x-path: " + path + b"\r\n" in connection.recv(65536)


@pytest.mark.parametrize(
    "host", [b"", b"host: evil.example\r\n", b"host: 127.0.0.1@evil.example\r\n", b"host: localhost.evil\r\n"]
)
def test_unknown_hosts_are_refused(wire: Wire, host: bytes) -> None:
    assert wire.ask(b"GET /health HTTP/1.1\r\n" + host + b"\r\n")[0] == (421 if host else 400)


def test_two_hosts_are_refused(wire: Wire) -> None:
    assert wire.get(b"/health", b"host: evil.example\r\n")[0] == 400
    assert wire.get(b"/health", b"host: 127.0.0.1\r\n")[0] == 400


@pytest.mark.parametrize("size", [40_000, 500_000])
def test_oversized_headers_are_refused(wire: Wire, size: int) -> None:
    assert wire.get(b"/health", b"x: " + b"a" * size + b"\r\n")[0] == 431


def test_head_without_an_end_is_refused_early(wire: Wire) -> None:
    sent = 0
    with wire.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n" + wire.host + b"x: ")
        try:
            while sent < 100 << 20:
                connection.sendall(b"a" * 65536)
                sent += 65536
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < 20 << 20  # what the sockets hold, and no more
    assert wire.get(b"/health")[0] == 200


def test_many_requests_on_a_connection_are_no_long_head(wire: Wire) -> None:
    request = b"GET /health HTTP/1.1\r\n" + wire.host + b"x: " + b"a" * 4000 + b"\r\n\r\n"
    with wire.connect() as connection:
        for _ in range(2 * HEAD_LIMIT // len(request)):
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_head_that_does_not_come_is_not_waited_for(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_server, "HEAD_SECONDS", 0.2)
    with wire.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        assert connection.recv(100) == b""


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"get / HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_http_is_refused(wire: Wire, junk: bytes) -> None:
    assert wire.ask(junk)[0] == 400


def test_bodies_stream_both_ways(wire: Wire) -> None:
    """Storage answers to each piece before the next one is sent: nobody in between gathers anything."""
    with wire.connect() as connection:
        connection.sendall(b"POST /storage/v1/x HTTP/1.1\r\n" + wire.host + b"content-length: 300000\r\n\r\n")

        seen = b""

        def read_until(what: bytes) -> None:
            nonlocal seen
            while what not in seen:
                data = connection.recv(65536)
                assert data
                seen += data

        for piece in range(1, 4):
            connection.sendall(b"x" * 100_000)
            read_until(b"%d\n" % (piece * 100_000))
        read_until(b"end\n")


def test_client_that_was_answered_early_is_not_waited_for(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may send the rest of its body, but must not keep the connection when it never does."""
    monkeypatch.setattr(gateway_server, "LINGER_SECONDS", 0.2)
    request = b"POST /nowhere HTTP/1.1\r\n" + wire.host + b"content-length: 1000000\r\n\r\n"
    with wire.connect() as connection:
        connection.sendall(request + b"x" * 1000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 404")
        assert connection.recv(1) == b""
    with wire.connect() as connection:
        connection.sendall(request)
        assert connection.recv(65536).startswith(b"HTTP/1.1 404")
        for _ in range(10):
            connection.sendall(b"x" * 100_000)
        connection.sendall(b"GET /health HTTP/1.1\r\n" + wire.host + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_server_listens_on_loopback_alone(wire: Wire) -> None:
    def app(*_: Any) -> None: ...

    assert configuration(app, 1).host == "127.0.0.1"  # type: ignore[arg-type]
