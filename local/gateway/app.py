"""The gateway: what is asked of the one port goes to Auth, REST or Storage, or is refused with a sentence."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection
from typing import Protocol
from urllib.parse import unquote

from starlette.types import Message, Receive, Scope, Send

from local.gateway.answers import ClientGone, Headers, TooLarge, header, problem, read_body, respond
from local.gateway.auth import PREFIX as AUTH
from local.gateway.auth import AuthGate
from local.gateway.cors import is_preflight, preflight, with_cors
from local.gateway.keys import Keys, Refusal, split_key
from local.gateway.upstream import Upstream, UpstreamError

__all__ = ["Gateway", "StorageApp"]

log = logging.getLogger("gateway")

REST = "/rest/v1"
STORAGE = "/storage/v1"
HEADER_LIMIT = 32 * 1024
REST_BODY_LIMIT = 16 << 20
RETRY = {"retry-after": "2"}
# what a part behind might read as another path: dot segments, empty ones, encoded slashes, and backslashes (WHATWG URL)
TRICK = re.compile(r"/\.{1,2}(/|$)|//|\\")


class StorageApp(Protocol):
    """The Storage service as the gateway needs it."""

    async def startup(self) -> None:
        """Open what it needs."""

    async def shutdown(self) -> None:
        """Close it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""


class Gateway:
    """The ASGI application. `hosts` are names beside loopback's own that a Host header may bear."""

    def __init__(
        self,
        keys: Keys,
        auth: AuthGate,
        upstreams: tuple[Upstream, Upstream],
        storage: StorageApp,
        hosts: Collection[str] = (),
    ) -> None:
        self._keys, self._auth, self._storage = keys, auth, storage
        self._upstreams = upstreams
        self._rest = upstreams[1]
        self._hosts = {"localhost", "127.0.0.1", "[::1]", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and write one line about it without anything secret."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        seen = {"status": 0, "bytes": 0}

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
            elif message["type"] == "http.response.body":
                seen["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._answer(scope, receive, counted)
        finally:
            if scope["path"] != "/health":
                # the raw path: percent-encoded, so that no line can be forged; never the query, which holds tokens
                path = scope["raw_path"].decode("latin-1", "replace")
                took = (time.perf_counter() - began) * 1000
                log.info("%s %s %s %.0fms %dB", scope["method"], path, seen["status"] or "-", took, seen["bytes"])

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        answer = with_cors(scope, watched)
        try:
            self._inspect(scope["headers"])
            if is_preflight(scope):
                await preflight(scope, watched)
            else:
                await self._route(scope, receive, answer)
        except ClientGone:
            return
        except Exception as error:
            if started:
                raise  # the server cuts the connection: the client sees that the answer is not whole
            await _refuse(answer, error)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["raw_path"].decode("latin-1")
        if path == "/health":
            await respond(send, 200, {"status": "ok"}, head=scope["method"] == "HEAD")
        elif _under(path, STORAGE):
            await self._to_storage(scope, receive, send)
        elif _under(path, AUTH, REST) and (TRICK.search(unquote(path)) or "%2f" in path.lower()):
            raise Refusal(400, "The path must not hold empty segments, `.`, `..`, backslashes or encoded slashes.")
        elif _under(path, AUTH):
            inner = {**scope, "headers": _forwarded(scope, AUTH)}
            await self._auth(inner, receive, send, path[len(AUTH) :].rstrip("/") or "/")
        elif _under(path, REST):
            await self._to_rest(scope, receive, send, path[len(REST) :] or "/")
        else:
            raise Refusal(
                404,
                "no Route matched with those values",
                "This is the gateway of an InstaShare stack. It knows /auth/v1, /rest/v1, /storage/v1 and /health.",
            )

    def _inspect(self, headers: Headers) -> None:
        """Refuse a page of another site that resolves to this machine (DNS rebinding), and headers without measure."""
        named = [value for name, value in headers if name == b"host"]
        if len(named) != 1:  # RFC 9112 §3.2; two would be read in two ways
            raise Refusal(400, "A request needs one Host header.")
        host = named[0].decode("latin-1").lower()
        name = re.sub(r":\d+$", "", host)
        if name not in self._hosts:
            raise Refusal(
                421, f"This gateway does not answer for the host {name[:100]!r}.", "Use 127.0.0.1 or localhost."
            )
        if sum(len(name) + len(value) for name, value in headers) > HEADER_LIMIT:
            raise Refusal(431, f"The request's headers may have {HEADER_LIMIT} bytes.")

    async def _to_storage(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope["raw_path"][len(STORAGE) :] or b"/"
        inner = {
            **scope,
            "path": unquote(raw.decode("latin-1")),
            "raw_path": raw,
            "headers": self._keys.for_storage(_forwarded(scope, STORAGE)),
        }
        await self._storage(inner, receive, send)

    async def _to_rest(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        key, headers, query = split_key(_forwarded(scope, REST), scope["query_string"].decode("latin-1"))
        role = self._keys.require(key, headers)
        if path == "/" and role == "anon":
            raise Refusal(403, "You cannot consume this service", "The root of REST needs the secret key.")
        body = await read_body(scope, receive, REST_BODY_LIMIT)
        headers = self._keys.for_rest(role, key or "", headers)
        await self._rest.pass_on(scope["method"], path + (f"?{query}" if query else ""), headers, body, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            for upstream in self._upstreams:
                await upstream.start()
            await self._storage.startup()
        except Exception as error:
            log.exception("The gateway cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._storage.shutdown()
        for upstream in self._upstreams:
            await upstream.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _under(path: str, *prefixes: str) -> bool:
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


def _forwarded(scope: Scope, prefix: str) -> Headers:
    """The headers with X-Forwarded-* as the gateway saw the request, whatever the client claims (kong's names)."""
    headers: Headers = [
        (name, value)
        for name, value in scope["headers"]
        if not name.startswith(b"x-forwarded-") and name not in (b"forwarded", b"x-real-ip")
    ]
    host, _, port = re.match(r"^(.*?)(:(\d+))?$", header(headers, b"host") or "").groups()  # type: ignore[union-attr]
    client = (scope.get("client") or ("127.0.0.1", 0))[0]
    scheme = scope.get("scheme", "http")
    forwarded = {
        "for": client,
        "proto": scheme,
        "host": host,
        "port": port or ("443" if scheme == "https" else "80"),
        "path": scope["raw_path"].decode("latin-1"),
        "prefix": f"{prefix}/",
    }
    return [*headers, *((f"x-forwarded-{name}".encode(), value.encode("latin-1")) for name, value in forwarded.items())]


async def _refuse(send: Send, error: Exception) -> None:
    if isinstance(error, Refusal):
        await problem(
            send, error.status, error.message, error.hint, {"sb-error-code": error.code} if error.code else None
        )
    elif isinstance(error, TooLarge):
        await problem(send, 413, str(error))
    elif isinstance(error, UpstreamError):
        await problem(send, error.status, error.message, headers=RETRY)
    else:
        log.error("The request failed", exc_info=error)
        await problem(send, 500, "The gateway failed to answer. Its log says why.")
