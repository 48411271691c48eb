"""A part behind the gateway that is down, silent or breaks off never leaves a client waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message

from local.gateway.upstream import Answer, Upstream, UpstreamError

Part = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _with(part: Part, use: Callable[[Upstream], Awaitable[None]], silence: float = 5) -> None:
    """Run `use` with an Upstream whose other end is `part`."""

    async def go() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await part(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = Upstream("REST", f"http://127.0.0.1:{port}", silence)
        await upstream.start()
        try:
            await use(upstream)
        finally:
            await upstream.stop()
            server.close()
            await server.wait_closed()

    asyncio.run(go())


def test_headers_and_body_arrive_as_they_were_sent() -> None:
    seen: list[bytes] = []

    async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readexactly(2))
        writer.write(
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: 0-1/2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
            b"Content-Encoding: gzip\r\nConnection: close\r\nServer: x\r\nContent-Length: 3\r\n\r\nabc"
        )
        await writer.drain()

    async def use(upstream: Upstream) -> None:
        headers = [(b"prefer", b"count=exact"), (b"cookie", b"no"), (b"connection", b"x"), (b"host", b"evil")]
        answer = await upstream.ask("POST", "/t%2Fx?a=%20b+c&d=(1,2)", headers, b"{}")
        assert answer == Answer(
            206,
            [
                (b"content-range", b"0-1/2"),
                (b"set-cookie", b"a=1"),
                (b"set-cookie", b"b=2"),
                (b"content-encoding", b"gzip"),
                (b"content-length", b"3"),
            ],
            b"abc",
        )

    _with(part, use)
    head = seen[0].decode().lower()
    assert head.startswith("post /t%2fx?a=%20b+c&d=(1,2) http/1.1\r\n")
    assert "prefer: count=exact" in head and "content-length: 2" in head
    assert "cookie" not in head and "evil" not in head and "user-agent" not in head


def test_answer_is_passed_on_as_it_comes() -> None:
    async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await first.wait()
        writer.write(b"2\r\nde\r\n0\r\n\r\n")
        await writer.drain()

    first = asyncio.Event()
    got: list[Message] = []

    async def use(upstream: Upstream) -> None:
        async def send(message: Message) -> None:
            got.append(message)
            if message.get("body") == b"abc":
                first.set()  # the rest is sent only now: a gateway that buffered would never get here

        await upstream.pass_on("GET", "/", [], b"", send)

    _with(part, use)
    assert [message.get("body") for message in got] == [None, b"abc", b"de", b""]


def test_part_that_is_down_is_503() -> None:
    async def go() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        upstream = Upstream("REST", f"http://127.0.0.1:{port}")
        await upstream.start()
        try:
            with pytest.raises(UpstreamError) as fault:
                await upstream.ask("GET", "/", [], b"")
            assert fault.value.status == 503 and "REST" in fault.value.message
        finally:
            await upstream.stop()

    asyncio.run(go())


def test_silent_part_is_504() -> None:
    async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the other side gives up

    async def use(upstream: Upstream) -> None:
        with pytest.raises(UpstreamError) as fault:
            await upstream.ask("GET", "/", [], b"")
        assert fault.value.status == 504

    _with(part, use, silence=0.2)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
def test_broken_answer_is_an_error_not_a_short_one(sent: bytes) -> None:
    async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()

    async def use(upstream: Upstream) -> None:
        with pytest.raises(UpstreamError) as fault:
            await upstream.ask("POST", "/", [], b"")
        assert fault.value.status == 503

    _with(part, use)
