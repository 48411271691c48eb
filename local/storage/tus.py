"""The protocol TUS 1.0 itself: its headers, its texts and the addresses of uploads."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from local.storage.errors import invalid_request
from local.storage.names import check_bucket_name, check_key
from local.storage.request import Answer, Request

__all__ = [
    "CONTENT_TYPE",
    "GONE",
    "LENGTH_REQUIRED",
    "MAXIMUM_EXCEEDED",
    "NOT_FOUND",
    "PATH",
    "SIZE_EXCEEDED",
    "TEXT",
    "done",
    "fault_of_headers",
    "location",
    "options",
    "parsed_metadata",
    "place",
    "text_answer",
    "written_metadata",
]

PATH = "/upload/resumable"
CONTENT_TYPE = "application/offset+octet-stream"
TEXT = "text/plain;charset=UTF-8"
NAMES = (
    "Authorization, Content-Type, Location, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Concat, "
    "Upload-Defer-Length, Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override, X-Requested-With, "
    "X-Forwarded-Host, X-Forwarded-Proto, Forwarded,"
)
CORS = {"access-control-allow-origin": "*", "access-control-expose-headers": NAMES}
WHOLE_NUMBER = re.compile(r"0|[1-9]\d*", re.ASCII)
METADATA_KEY = re.compile(r"[!-+\--~]+")  # ASCII without space and comma
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

# status and text of ProtocolErrors
LENGTH_REQUIRED = (400, "Upload-Length or Upload-Defer-Length header required")
NOT_FOUND = (404, "The file for this url was not found")
GONE = (410, "The file for this url no longer exists")
MAXIMUM_EXCEEDED = (413, "Maximum size exceeded")
SIZE_EXCEEDED = (413, "upload's size exceeded")


def parsed_metadata(text: str) -> dict[str, str | None] | None:
    """The pairs of an Upload-Metadata header, None when it is malformed."""
    pairs: dict[str, str | None] = {}
    for part in text.split(","):
        words = part.split(" ")
        valid = METADATA_KEY.fullmatch(words[0]) and words[0] not in pairs and len(words) <= 2
        if not valid or (len(words) == 2 and not BASE64.fullmatch(words[1])):
            return None
        pairs[words[0]] = base64.b64decode(words[1]).decode("utf-8", "replace") if len(words) == 2 else None
    return pairs


def written_metadata(metadata: dict[str, str | None]) -> str:
    """The header that `parsed_metadata` reads."""
    pairs = ((key, value) for key, value in metadata.items())
    return ",".join(
        key if value is None else f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs
    )


CHECKS: dict[str, Callable[[str], object]] = {
    "upload-offset": lambda text: WHOLE_NUMBER.fullmatch(text),
    "upload-length": lambda text: WHOLE_NUMBER.fullmatch(text),
    "upload-defer-length": lambda text: text.strip() == "1",
    "upload-metadata": lambda text: parsed_metadata(text) is not None,
    "upload-concat": lambda text: text == "partial" or text.startswith("final;"),
    "x-forwarded-proto": lambda text: text in ("http", "https"),
    "tus-version": lambda text: "1.0.0" in [version.strip() for version in text.split(",")],
    "tus-resumable": lambda text: text == "1.0.0",
    "content-type": lambda text: text == CONTENT_TYPE,
}


def fault_of_headers(request: Request) -> tuple[int, str] | None:
    """The protocol's first look at the headers; its answers have no CORS headers yet."""
    if "tus-resumable" not in request.headers:
        return 412, "Tus-Resumable Required\n"
    for name, text in request.headers.items():
        if name == "content-type" and request.method != "PATCH":
            continue
        if name in CHECKS and not CHECKS[name](text):
            return 400, f"Invalid {name}\n"
    return None


def options(size_limit: int) -> Answer:
    """What is served, for OPTIONS."""
    headers = {
        "access-control-allow-headers": f"{NAMES} Authorization, X-Upsert, Upload-Expires, ApiKey, x-signature",
        "access-control-allow-methods": "POST, HEAD, PATCH, OPTIONS, DELETE",
        "access-control-max-age": "86400",
        "tus-extension": "creation,creation-with-upload,creation-defer-length,termination,expiration",
        "tus-max-size": str(size_limit),
        "tus-resumable": "1.0.0",
        "tus-version": "1.0.0",
    }
    return Answer(204, headers | CORS)


def text_answer(status: int, text: str, more: dict[str, str] = CORS) -> Answer:
    """An answer in plain text."""
    return Answer(status, {"content-type": TEXT, "tus-resumable": "1.0.0", **more}, text.encode())


def done(status: int, **headers: str) -> Answer:
    """An answer without a body; underscores in the names of headers stand for hyphens."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, {"tus-resumable": "1.0.0", **CORS, **named}, sized=False)


def location(request: Request, name: str) -> str:
    """The address of the upload BUCKET/KEY/VERSION as the client sees it, by forwarding headers or the mount."""
    headers = request.headers
    proto, host = headers.get("x-forwarded-proto", "http"), headers.get("host", "localhost")
    if forwarded := headers.get("forwarded"):
        if found := re.search(r'host="?([^";,]+)', forwarded, re.IGNORECASE):
            host = found[1]
        if found := re.search(r'proto="?(https?)', forwarded, re.IGNORECASE):
            proto = found[1].lower()
    elif headers.get("x-forwarded-host"):
        host = headers["x-forwarded-host"]
        port = headers.get("x-forwarded-port", "")
        if port and port not in ("80", "443"):
            host = re.sub(r":\d+$", "", host) + f":{port}"
    prefix = headers.get("x-forwarded-prefix", request.mount).rstrip("/")
    path = PATH + ("/sign" if request.path.endswith("/sign") else "")
    return f"{proto}://{host}{prefix}{path}/{base64.urlsafe_b64encode(name.encode()).rstrip(b'=').decode()}"


def place(identity: str) -> tuple[str, str, str]:
    """Bucket, key and version of an upload's address."""
    try:
        text = base64.urlsafe_b64decode(identity.rstrip("/") + "=" * (-len(identity.rstrip("/")) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    bucket, _, rest = text.partition("/")
    key, _, version = rest.rpartition("/")
    if not (bucket and key and version):
        raise invalid_request("Invalid upload id")
    check_bucket_name(bucket)
    check_key(key)
    return bucket, key, version
