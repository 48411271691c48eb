"""One HTTP request and its answer, on bare ASGI: the raw path is kept, bodies stream, nothing is gathered unasked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote

from local.storage.database import Scope
from local.storage.errors import ClientGone, StorageError, invalid_schema
from local.storage.settings import JSON_BODY_LIMIT

__all__ = ["JSON_TYPE", "Answer", "Receive", "Request", "Send", "http_date", "json_answer", "parsed_json", "timestamp"]

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# of these headers Node keeps the first alone
SINGLE = {
    "age", "authorization", "content-length", "content-type", "etag", "expires", "from", "host", "if-modified-since",
    "if-unmodified-since", "last-modified", "location", "max-forwards", "proxy-authorization", "referer", "retry-after",
    "server", "user-agent",
}  # fmt: skip
JSON_TYPE = "application/json; charset=utf-8"


def http_date(moment: datetime) -> str:
    """The moment as HTTP headers write it, without fractions of a second."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def timestamp(moment: datetime | None) -> str | None:
    """The moment as JSON answers write it: milliseconds and Z."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Answer:
    """Status, headers and a body that is there as a whole."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    sized: bool = True  # False: without Content-Length


def json_answer(content: object, status: int = 200, content_type: str = JSON_TYPE, **headers: str) -> Answer:
    """JSON as the real service writes it: compact and not escaped."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return Answer(status, {"content-type": content_type, **headers}, body)


class Request:
    """A request: `path` is as it was sent (percent-encoded, without query), below the prefix of the mount."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.receive, self.send = receive, send
        self.method: str = scope["method"]
        self.mount: str = scope.get("root_path", "")
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        self.path = raw.partition(b"?")[0].decode("latin-1")
        if self.mount and self.path.startswith(self.mount):  # a mount may leave the prefix in
            self.path = self.path[len(self.mount) :]
        query: bytes = scope.get("query_string", b"")
        self.url = self.path + ("?" + query.decode("latin-1") if query else "")
        self.query = parse_qs(query.decode("latin-1"), keep_blank_values=True)
        self.headers: dict[str, str] = {}
        self.header_bytes = 0
        for name, value in scope["headers"]:
            self.header_bytes += len(name) + len(value) + 4
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
            if key not in self.headers:
                self.headers[key] = text
            elif key not in SINGLE:
                self.headers[key] += f", {text}"
        self.whole = False
        self.answered = False

    def scope(self, operation: str) -> Scope:
        """What transactions of this request tell the database."""
        return Scope(operation, self.method, unquote(self.path).replace("\0", ""), self.headers)

    @property
    def content_length(self) -> int | None:
        """The number of bytes that the client announced."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def upsert(self) -> bool:
        """Whether an object may be replaced: only the exact text `true` counts."""
        return self.headers.get("x-upsert") == "true"

    def parameter(self, name: str) -> str:
        """A query parameter that must be there. Raises InvalidRequest."""
        if name not in self.query:
            raise invalid_schema(f"querystring must have required property '{name}'")
        return ",".join(self.query[name])

    # ---- body

    async def piece(self) -> bytes | None:
        """The next piece of the body, None at its end. Raises ClientGone."""
        while not self.whole:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            self.whole = not message.get("more_body", False)
            if message.get("body"):
                return bytes(message["body"])
        return None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, piece by piece. Raises ClientGone."""
        while (piece := await self.piece()) is not None:
            yield piece

    async def gathered(self) -> bytes:
        """A small body as a whole. Raises EntityTooLarge above a mebibyte."""
        pieces, size = [], 0
        if (self.content_length or 0) > JSON_BODY_LIMIT:
            raise StorageError(413, "FastifyError", "Request body is too large", "EntityTooLarge", 413)
        async for piece in self.pieces():
            size += len(piece)
            if size > JSON_BODY_LIMIT:
                raise StorageError(413, "FastifyError", "Request body is too large", "EntityTooLarge", 413)
            pieces.append(piece)
        return b"".join(pieces)

    async def json(self, *, empty_allowed: bool = False) -> Any:
        """The JSON body; None for a body of another type. Raises InvalidRequest as the real parser does."""
        body = await self.gathered()
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return None
        if not body:
            if empty_allowed:
                return None
            raise StorageError(
                400,
                "FastifyError",
                "Body cannot be empty when content-type is set to 'application/json'",
                "InvalidRequest",
            )
        try:
            return parsed_json(body, object_pairs_hook=plain_object)
        except (ValueError, RecursionError):
            raise StorageError(
                400,
                "FastifyError",
                "Body is not valid JSON but content-type is set to 'application/json'",
                "InvalidRequest",
            ) from None

    # ---- answer

    async def start(self, status: int, headers: dict[str, str]) -> None:
        """Send the head of an answer whose body follows in pieces."""
        self.answered = True
        pairs = [(name.encode("latin-1"), text.encode("latin-1", "replace")) for name, text in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def send_piece(self, piece: bytes, more: bool = True) -> None:
        """Send a piece of the answer's body; waits while the client is slow."""
        await self.send({"type": "http.response.body", "body": piece, "more_body": more})

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer; a HEAD gets its head alone."""
        headers = dict(answer.headers)
        if answer.sized and answer.status not in (204, 304):
            headers.setdefault("content-length", str(len(answer.body)))
        await self.start(answer.status, headers)
        await self.send_piece(b"" if self.method == "HEAD" else answer.body, more=False)


def parsed_json(text: bytes | str, **options: Any) -> Any:
    """What JSON says, as strictly as JavaScript reads it. Raises ValueError, RecursionError."""
    return json.loads(text, parse_constant=refuse, **options)


def refuse(constant: str) -> None:
    """NaN and Infinity are no JSON."""
    raise ValueError(constant)


def plain_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without the keys by which JavaScript's prototypes are poisoned."""
    content = dict(pairs)
    constructor = content.get("constructor")
    if "__proto__" in content or (isinstance(constructor, dict) and "prototype" in constructor):
        raise ValueError("a forbidden key")
    return content
