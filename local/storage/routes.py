"""Which handler answers which path, matched as the real service's router does: the first route that fits wins."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from local.storage import buckets, changes, downloads, listing, signing, uploads
from local.storage.errors import StorageError
from local.storage.request import Answer, Request
from local.storage.service import Service

__all__ = ["Handler", "decoded_path", "find_route"]

Handler: TypeAlias = Callable[..., Awaitable[Answer | None]]

# {bucket} is one segment, {key} all the rest, empty too. GET serves HEAD as well.
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/bucket", buckets.list_buckets),
    ("GET", "/bucket/", buckets.list_buckets),
    ("POST", "/bucket", buckets.create_bucket),
    ("POST", "/bucket/", buckets.create_bucket),
    ("GET", "/bucket/{bucket}", buckets.get_bucket),
    ("PUT", "/bucket/{bucket}", buckets.update_bucket),
    ("DELETE", "/bucket/{bucket}", buckets.delete_bucket),
    ("POST", "/bucket/{bucket}/empty", buckets.empty_bucket),
    ("POST", "/object/move", changes.move_object),
    ("POST", "/object/copy", changes.copy_object),
    ("POST", "/object/list/{bucket}", listing.list_objects),
    ("POST", "/object/list-v2/{bucket}", listing.list_objects_v2),
    ("POST", "/object/upload/sign/{bucket}/{key}", signing.sign_upload),
    ("PUT", "/object/upload/sign/{bucket}/{key}", uploads.upload_signed),
    ("POST", "/object/sign/{bucket}", signing.sign_objects),
    ("POST", "/object/sign/{bucket}/{key}", signing.sign_object),
    ("GET", "/object/sign/{bucket}/{key}", downloads.read_signed),
    ("GET", "/object/info/authenticated/{bucket}/{key}", downloads.info_authenticated),
    ("GET", "/object/info/public/{bucket}/{key}", downloads.info_public),
    ("GET", "/object/info/{bucket}/{key}", downloads.info_optional),
    ("GET", "/object/authenticated/{bucket}/{key}", downloads.read_authenticated),
    ("GET", "/object/public/{bucket}/{key}", downloads.read_public),
    ("GET", "/object/{bucket}/{key}", downloads.read_optional),
    ("POST", "/object/{bucket}/{key}", uploads.create_object),
    ("PUT", "/object/{bucket}/{key}", uploads.put_object),
    ("DELETE", "/cdn", buckets.purge_cache),
    ("DELETE", "/cdn/{bucket}", buckets.purge_cache),
    ("DELETE", "/cdn/{bucket}/{key}", buckets.purge_cache),
    ("DELETE", "/object/{bucket}", changes.delete_objects),
    ("DELETE", "/object/{bucket}/{key}", changes.delete_object),
]


def compiled(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\{bucket\}", "(?P<bucket>[^/]+)").replace(r"\{key\}", "(?P<key>.*)")
    return re.compile(pattern, re.DOTALL)


PATTERNS = [(method, compiled(template), handler) for method, template, handler in ROUTES]


def decoded(text: str) -> str:
    return unquote_to_bytes(text).decode()


def decoded_path(path: str) -> None:
    """Raise ValueError for a malformed percent-escape or one that is no UTF-8."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", path):
        raise ValueError(path)
    decoded(path)


def find_route(request: Request) -> tuple[Handler, dict[str, str]] | None:
    """The handler of a request and the parameters of its path, percent-decoded; None when no route fits."""
    method = "GET" if request.method == "HEAD" else request.method
    for wanted, pattern, handler in PATTERNS:
        if wanted == method and (found := pattern.fullmatch(request.path)):
            return handler, {name: decoded(text) for name, text in found.groupdict().items()}
    return None


async def dispatch(service: Service, request: Request) -> Answer | None:
    """Answer a request below /bucket and /object. Raises StorageError; LookupError when there is no such route."""
    found = find_route(request)
    if found is None:
        raise LookupError(request.path)
    handler, parameters = found
    try:
        return await handler(service, request, **parameters)
    except UnicodeEncodeError:  # a lone surrogate out of JSON, which no text column takes
        raise StorageError(400, "InvalidRequest", "The text is not valid Unicode", "InvalidRequest") from None
