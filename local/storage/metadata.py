"""The two kinds of metadata of an object: what the service knows of its bytes, and what the client says of it."""

from __future__ import annotations

import base64
import binascii
import contextlib
from datetime import UTC, datetime
from typing import Any

from local.storage.files import Stored
from local.storage.request import Request, parsed_json, timestamp

__all__ = ["as_object", "object_metadata", "user_metadata_header"]


def object_metadata(stored: Stored, mime_type: str, cache_control: str, robots: str | None = None) -> dict[str, Any]:
    """What a stored object's row says of its bytes."""
    metadata: dict[str, Any] = {
        "eTag": f'"{stored.md5}"',
        "size": stored.size,
        "mimetype": mime_type,
        "cacheControl": cache_control or "no-cache",
        "lastModified": timestamp(datetime.now(UTC)),
        "contentLength": stored.size,
        "httpStatusCode": 200,
    }
    return metadata | ({"xRobotsTag": robots} if robots else {})


def user_metadata_header(request: Request) -> Any:
    """The client's own metadata of an x-metadata header, base64 of JSON; None when there is none or it is no such."""
    with contextlib.suppress(ValueError, binascii.Error):
        text = "".join(request.headers.get("x-metadata", "").split()).rstrip("=").replace("-", "+").replace("_", "/")
        return parsed_json(base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace"))
    return None


def as_object(value: Any) -> dict[str, Any]:
    """The client's own metadata as a standard upload stores it: a list or a text becomes an object of its parts."""
    if isinstance(value, dict):
        return value
    return {str(place): part for place, part in enumerate(value)} if isinstance(value, list | str) else {}
