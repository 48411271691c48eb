"""Reading an object: its bytes with Range and conditions, its head alone, and what is known about it.

HEAD answers from the row; GET from the file, whose absence is a 500, as on the real file backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from local.storage.database import SERVICE, Row, Scope, unless_refused
from local.storage.errors import StorageError, bucket_not_found, internal, object_not_found
from local.storage.files import OpenedFile
from local.storage.names import check_bucket_name, check_key, is_key
from local.storage.objects import find_both, find_bucket, find_object
from local.storage.request import Answer, Request, http_date, json_answer, timestamp
from local.storage.service import Service
from local.storage.signing import verified
from local.storage.tokens import Caller

__all__ = [
    "info_authenticated",
    "info_optional",
    "info_public",
    "read_authenticated",
    "read_optional",
    "read_public",
    "read_signed",
]

RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


@dataclass(frozen=True)
class Metadata:
    """What a row says of its bytes, with the service's defaults where somebody has written it by hand."""

    size: int
    mime_type: str
    cache_control: str
    etag: str
    modified: datetime
    robots: str

    @classmethod
    def of(cls, row: Row) -> Metadata:
        """Read the row's column `metadata`."""
        known: dict[str, Any] = row["metadata"] if isinstance(row["metadata"], dict) else {}
        modified = row["updated_at"] or datetime.now(UTC)
        with contextlib.suppress(KeyError, TypeError, ValueError):
            modified = datetime.fromisoformat(known["lastModified"]).astimezone(UTC)
        size = known.get("size")
        return cls(
            size if isinstance(size, int) else 0,
            str(known.get("mimetype") or "application/octet-stream"),
            str(known.get("cacheControl") or "no-cache"),
            str(known.get("eTag") or ""),
            modified,
            str(known.get("xRobotsTag") or "none"),
        )


# ---- who may read


async def find_visible(service: Service, caller: Caller | None, scope: Scope, bucket: str, key: str) -> Row:
    """The row of an object that anybody may read for its public bucket, else of one that this caller may see."""
    if caller is not None and is_key(bucket) and is_key(key):  # most are told by one round trip; all else has an order
        both = await unless_refused(find_both(service.database, caller, scope, bucket, key))
        if both and both[0] and both[1] and not both[0]["public"]:
            return both[1]
    if "\0" in bucket:  # Postgres takes no such text
        raise bucket_not_found()
    found = await find_bucket(service.database, scope, bucket)
    if not found["public"] and caller is None:
        raise bucket_not_found()
    check_bucket_name(bucket)
    check_key(key)
    by = SERVICE if found["public"] or caller is None else caller
    return await find_object(service.database, by, scope, bucket, key)


async def find_public(service: Service, scope: Scope, bucket: str, key: str) -> Row:
    """The row of an object in a public bucket; to anybody, whoever asks."""
    return await find_visible(service, None, scope, bucket, key)


async def read_authenticated(service: Service, request: Request, bucket: str, key: str) -> Answer | None:
    """GET or HEAD /object/authenticated/BUCKET/KEY; a bad token is told."""
    caller = service.caller(request)
    scope = request.scope("storage.object.get_authenticated")
    return await read(service, request, scope, await find_visible(service, caller, scope, bucket, key))


async def read_optional(service: Service, request: Request, bucket: str, key: str) -> Answer | None:
    """GET or HEAD /object/BUCKET/KEY; a bad token counts as none."""
    caller = service.optional_caller(request)
    scope = request.scope("storage.object.get_authenticated")
    return await read(service, request, scope, await find_visible(service, caller, scope, bucket, key))


async def read_public(service: Service, request: Request, bucket: str, key: str) -> Answer | None:
    """GET or HEAD /object/public/BUCKET/KEY; GET alone looks at the names first."""
    if request.method == "GET":
        check_bucket_name(bucket)
        check_key(key)
    scope = request.scope("storage.object.get_public")
    return await read(service, request, scope, await find_public(service, scope, bucket, key))


async def read_signed(service: Service, request: Request, bucket: str, key: str) -> Answer | None:
    """GET or HEAD /object/sign/BUCKET/KEY?token=; nobody's rights are asked for again."""
    token = request.parameter("token")
    check_bucket_name(bucket)
    claims = verified(service, token, "download", bucket, key)
    scope = request.scope("storage.object.get_signed")
    row = await find_object(service.database, SERVICE, scope, bucket, key)
    expires = claims.get("exp")
    moment = datetime.fromtimestamp(expires, UTC) if expires and expires < 253402300800 else datetime.max
    return await read(service, request, scope, row, http_date(moment.replace(tzinfo=UTC)))


# ---- reading


async def read(service: Service, request: Request, scope: Scope, row: Row, expires: str | None = None) -> Answer | None:
    """Answer with the object, or with its head for HEAD. None: the answer has been sent.

    HEAD of a signed URL alone looks at the file and at the conditions, as GET does.
    """
    if request.method == "HEAD" and not expires:
        headers = object_headers(request, Metadata.of(row), expires)
        headers["content-length"] = str(Metadata.of(row).size)
        return Answer(200, headers)
    row, opened = await open_object(service, scope, row)
    try:
        metadata = Metadata.of(row)
        headers = object_headers(request, metadata, expires)
        if is_known(request, metadata):
            return Answer(304, headers | {"content-length": "0"})
        status, start, length = 200, 0, opened.size
        if wanted := request.headers.get("range"):
            start, length = part_of(wanted, opened.size)
            status = 206
            headers["content-range"] = f"bytes {start}-{start + length - 1}/{opened.size}"
        headers["content-length"] = str(length)
        if request.method == "HEAD":
            return Answer(status, headers)
        await request.start(status, headers)
        await send_bytes(request, opened, start, length)
    finally:
        opened.close()
    return None


async def open_object(service: Service, scope: Scope, row: Row) -> tuple[Row, OpenedFile]:
    """The object's bytes; once more when it was replaced just now, so that a reader never meets a gap."""
    try:
        return row, await service.files.opened(row["version"] or "")
    except FileNotFoundError:
        pass
    try:
        again = await find_object(service.database, SERVICE, scope, row["bucket_id"], row["name"])
    except StorageError:
        raise object_not_found() from None
    try:
        return again, await service.files.opened(again["version"] or "")
    except FileNotFoundError:
        raise internal() from None


def object_headers(request: Request, metadata: Metadata, expires: str | None) -> dict[str, str]:
    """The headers that every answer about an object has; a signed one expires and has no cache-control."""
    headers = {
        "accept-ranges": "bytes",
        "content-type": "text/plain" if "text/html" in metadata.mime_type else metadata.mime_type,
        "etag": metadata.etag,
        "x-robots-tag": metadata.robots,
        "last-modified": http_date(metadata.modified),
    }
    if expires:
        headers["expires"] = expires
    else:
        known = request.headers.get("if-none-match", metadata.etag) in ("", metadata.etag)
        headers["cache-control"] = metadata.cache_control + ("" if known else ", stale-while-revalidate=30")
    if "download" in request.query:
        name = quote(",".join(request.query["download"]), safe="!'()*~")
        headers["content-disposition"] = (
            f"attachment; filename={name}; filename*=UTF-8''{name}" if name else "attachment;"
        )
    return headers


def is_known(request: Request, metadata: Metadata) -> bool:
    """Whether the client has these bytes: its etag must be the same text, its date not before ours and its fraction."""
    if metadata.etag and request.headers.get("if-none-match") == metadata.etag:
        return True
    since = moment_of(request.headers.get("if-modified-since", ""))
    return since is not None and metadata.modified <= since


def moment_of(text: str) -> datetime | None:
    """The moment that a header names, in the form of HTTP or in ISO 8601; None for any other text."""
    for reader in (parsedate_to_datetime, datetime.fromisoformat):
        with contextlib.suppress(ValueError):
            moment = reader(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def part_of(wanted: str, size: int) -> tuple[int, int]:
    """Start and length of a Range header's one range. Raises InvalidRange for any other and one outside the file."""
    found = RANGE.fullmatch(wanted)
    first, last = found.groups() if found else ("", "")
    if first:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
    elif last:
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = size, size
    if start > end or start >= size:
        raise StorageError(416, "invalid_range", "invalid range provided", "InvalidRange", 416)
    return start, end - start + 1


async def send_bytes(request: Request, opened: OpenedFile, start: int, length: int) -> None:
    """Send a part of a file; stop when the client has gone."""

    async def until_gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    gone = asyncio.create_task(until_gone())
    try:
        async with contextlib.aclosing(opened.pieces(start, length)) as pieces:
            if length:
                async for piece in pieces:
                    await request.send_piece(piece)
                    if gone.done():
                        return
        await request.send_piece(b"", more=False)
    finally:
        gone.cancel()
        await asyncio.wait([gone])


# ---- what is known


async def info_authenticated(service: Service, request: Request, bucket: str, key: str) -> Answer:
    """GET /object/info/authenticated/BUCKET/KEY; a bad token is told."""
    caller = service.caller(request)
    scope = request.scope("storage.object.info_authenticated")
    return info(await find_visible(service, caller, scope, bucket, key))


async def info_optional(service: Service, request: Request, bucket: str, key: str) -> Answer:
    """GET /object/info/BUCKET/KEY; a bad token counts as none."""
    caller = service.optional_caller(request)
    scope = request.scope("storage.object.info_authenticated")
    return info(await find_visible(service, caller, scope, bucket, key))


async def info_public(service: Service, request: Request, bucket: str, key: str) -> Answer:
    """GET /object/info/public/BUCKET/KEY."""
    return info(await find_public(service, request.scope("storage.object.info_public"), bucket, key))


def info(row: Row) -> Answer:
    """What is known about an object, as JSON."""
    metadata = Metadata.of(row)
    known: dict[str, Any] = row["metadata"] if isinstance(row["metadata"], dict) else {}
    content = {
        "id": str(row["id"]),
        "name": row["name"],
        "version": row["version"],
        "bucket_id": row["bucket_id"],
        "size": known.get("size"),
        "content_type": known.get("mimetype"),
        "cache_control": known.get("cacheControl"),
        "etag": known.get("eTag"),
        "metadata": row["user_metadata"],
        "last_modified": timestamp(row["updated_at"]),
        "created_at": timestamp(row["created_at"]),
    }
    head = {"etag": metadata.etag, "last-modified": http_date(metadata.modified)}
    return json_answer(content, 200, **{"cache-control": metadata.cache_control, **head})
