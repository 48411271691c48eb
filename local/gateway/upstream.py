"""The parts behind the gateway that speak HTTP: asked on kept connections, never waited for without an end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from starlette.types import Send
from yarl import URL

from local.gateway.answers import Headers

__all__ = ["Answer", "Upstream", "UpstreamError"]

# RFC 9110 §7.6.1, and what aiohttp sets itself
HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"expect",
}  # fmt: skip
NOT_SENT = HOP_BY_HOP | {b"host", b"content-length", b"cookie"}
NOT_RETURNED = HOP_BY_HOP | {b"server", b"date"}
AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
# Node closes an idle connection after 5 s, so ours end before
KEPT_SECONDS = 4


class UpstreamError(Exception):
    """A part does not answer; `status` is 503 when it cannot be reached, 504 when it takes too long."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


class Upstream:
    """One part: `name` for people, `base` its address, `silence` the seconds it may say nothing."""

    def __init__(self, name: str, base: str, silence: float = 60) -> None:
        self.name, self._base, self._silence = name, base.rstrip("/"), silence
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the pool; to be called in the running event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=256, keepalive_timeout=KEPT_SECONDS, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=None, connect=30, sock_connect=3, sock_read=self._silence),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=AUTOMATIC,
            read_bufsize=256 * 1024,
        )

    async def stop(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def ask(self, method: str, target: str, headers: Headers, body: bytes) -> Answer:
        """The whole answer to a request. `target` is the raw path with its query. Raises UpstreamError."""
        async with self._asked(method, target, headers, body) as response:
            return Answer(response.status, _returned(response.raw_headers), await response.read())

    async def pass_on(self, method: str, target: str, headers: Headers, body: bytes, send: Send) -> None:
        """Send the answer on as it comes. Raises UpstreamError, also when it breaks off after its start."""
        async with self._asked(method, target, headers, body) as response:
            start = {
                "type": "http.response.start",
                "status": response.status,
                "headers": _returned(response.raw_headers),
            }
            await send(start)
            async for part in response.content.iter_any():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    @asynccontextmanager
    async def _asked(
        self, method: str, target: str, headers: Headers, body: bytes
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("The pool has not been opened.")
        sent: Mapping[str, str] = CIMultiDict(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if name not in NOT_SENT
        )
        url = URL(self._base + target, encoded=True)
        try:
            async with self._session.request(
                method, url, headers=sent, data=body or None, allow_redirects=False
            ) as response:
                yield response
        except aiohttp.ServerTimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise self._unreachable() from error
            message = f"{self.name} has not answered for {self._silence:.0f} seconds."
            raise UpstreamError(504, message) from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise self._unreachable() from error

    def _unreachable(self) -> UpstreamError:
        return UpstreamError(503, f"{self.name} is not running at the moment. Try again in a few seconds.")


def _returned(headers: tuple[tuple[bytes, bytes], ...]) -> Headers:
    return [(name.lower(), value) for name, value in headers if name.lower() not in NOT_RETURNED]
