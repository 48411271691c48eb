"""The process's one HTTP client: kept connections to Supabase, for which nothing is ever sent twice.

aiohttp, for a call by httpx took 2 ms of the processor, more than all else that the API does for a request.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import certifi
from yarl import URL

__all__ = ["Reply", "Unreachable", "Upstream"]

# Idle connections are dropped before the usual 5 s of the servers behind gateways: a request on a connection that is
# just being closed would fail.
KEPT_SECONDS = 4
CONNECTIONS = 100
SECONDS = 10.0
CONNECT_SECONDS = 3.0


class Unreachable(Exception):
    """No answer: no connection, a broken one, or none in time."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body read as JSON. Raises ValueError."""
        return json.loads(self.body)


class Upstream:
    """Opened once in the event loop (`async with`)."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        trusted = ssl.create_default_context(cafile=certifi.where())
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEPT_SECONDS, ssl=trusted),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "instashare-backend"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: object = None, seconds: float = SECONDS
    ) -> Reply:
        """The answer to a request; `url` is percent-encoded, `body` sent as JSON. Raises Unreachable.

        A connection that could not be opened is tried twice.
        """
        try:
            return await self._ask(method, url, headers, body, seconds)
        except aiohttp.ClientConnectorError:
            pass
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(str(error)) from error
        try:
            return await self._ask(method, url, headers, body, seconds)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(str(error)) from error

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: object, seconds: float) -> Reply:
        if self._session is None:
            raise RuntimeError("The client has not been opened.")
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
            headers = {**headers, "Content-Type": "application/json"}
        async with self._session.request(
            method,
            URL(url, encoded=True),
            headers=headers,
            data=data,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS),
        ) as response:
            return Reply(response.status, response.headers, await response.read())
