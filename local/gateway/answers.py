"""What the gateway itself answers, and the small things of HTTP that its parts share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import Message, Receive, Scope, Send

__all__ = ["ClientGone", "Headers", "TooLarge", "header", "problem", "read_body", "respond", "without"]

Headers = list[tuple[bytes, bytes]]


class ClientGone(Exception):
    """The client went away before its request was complete; nobody waits for an answer."""


class TooLarge(Exception):
    """The request's body is larger than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request's body may have {limit} bytes.")
        self.limit = limit


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The first value of a header (name in lower case), or None."""
    for found, value in headers:
        if found == name:
            return value.decode("latin-1")
    return None


def without(headers: Iterable[tuple[bytes, bytes]], *names: bytes) -> Headers:
    """The headers but for those of these names (in lower case)."""
    return [(name, value) for name, value in headers if name not in names]


async def respond(
    send: Send, status: int, content: object, headers: Mapping[str, str] | None = None, *, head: bool = False
) -> None:
    """Send `content` as JSON (or as it is, if bytes)."""
    body = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    raw = {"content-type": "application/json; charset=utf-8", "content-length": str(len(body)), **(headers or {})}
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in raw.items()],
    }
    await send(start)
    await send({"type": "http.response.body", "body": b"" if head else body})


async def problem(
    send: Send, status: int, message: str, hint: str = "", headers: Mapping[str, str] | None = None
) -> None:
    """Send a refusal as hosted's gateway words it: `{"message", "hint"}`."""
    await respond(send, status, {"message": message, **({"hint": hint} if hint else {})}, headers)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body of a small request. Raises TooLarge beyond `limit` bytes, ClientGone when it breaks off."""
    announced = header(scope["headers"], b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise TooLarge(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message: dict[str, Any] = dict(await receive())
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
