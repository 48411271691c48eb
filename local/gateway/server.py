"""The HTTP server under the gateway: uvicorn with httptools, stricter about what may arrive and for how long.

httptools (llhttp) itself refuses what smuggles: two lengths, a length beside chunks, bad chunks, bare line feeds,
folded lines, control characters. But it limits no head and takes any authority in the first line, and uvicorn waits
without an end for heads and for the rest of a body that was answered early.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_LIMIT", "HEAD_SECONDS", "configuration"]

HEAD_LIMIT = 64 * 1024  # bytes of a first line and headers that are not complete; the gateway's own limit is lower
HEAD_SECONDS = 30.0
LINGER_SECONDS = 5.0  # nginx's lingering_timeout: so long a client that was answered early may pause in its body
TOO_LARGE = b"The request's head is too large."


class StrictProtocol(HttpToolsProtocol):
    """One connection; ended when a head is too long or does not come, refused when its target is no path.

    RFC 9112 §3.2: an absolute target would overrule Host.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.in_head = True
        self.head_bytes = 0
        self.in_body = self.lingering = False
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.forget_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.in_head:
            self.head_bytes += len(data)
        if self.lingering:
            self.end_after(LINGER_SECONDS)
        super().data_received(data)
        if self.in_head and self.head_bytes > HEAD_LIMIT and not self.transport.is_closing():
            head = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
            head += b"content-length: %d\r\nconnection: close\r\n\r\n" % len(TOO_LARGE)
            self.transport.write(head + TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.expect_head()

    def on_headers_complete(self) -> None:
        self.in_head, self.in_body = False, True
        self.forget_timer()
        if not self.url.startswith(b"/") and self.url != b"*":
            raise ValueError("a target that is no path")  # the parser then refuses the request
        super().on_headers_complete()
        self.headers = []  # what follows the body is no header of this request (RFC 9110 §6.5.1)

    def on_message_complete(self) -> None:
        self.in_body = self.lingering = False
        self.forget_timer()
        self.head_bytes = 0  # of a next request that comes in the same piece
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.in_body and not self.transport.is_closing():
            self.lingering = True
            self.end_after(LINGER_SECONDS)

    def expect_head(self) -> None:
        self.in_head = True
        self.end_after(HEAD_SECONDS)

    def end_after(self, seconds: float) -> None:
        self.forget_timer()
        self.timer = self.loop.call_later(seconds, self.transport.close)

    def forget_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def configuration(app: ASGIApp, port: int) -> uvicorn.Config:
    """How an application is served on a port of 127.0.0.1."""
    return uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=StrictProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_config=None,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=6,
    )
