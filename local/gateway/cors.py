"""Cross-origin access (Fetch standard, CORS protocol): any origin may call, as on a hosted project, without cookies.

Storage answers TUS with headers of its own, preflights included, so those pass through; where an answer to a browser
has none, the gateway adds them. Other clients get every answer as the part behind wrote it.
"""

from __future__ import annotations

from starlette.types import Message, Scope, Send

from local.gateway.answers import Headers, header

__all__ = ["is_browser", "is_preflight", "preflight", "with_cors"]

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
# `*` would not cover Authorization, and older browsers read it literally: so every name that clients read
EXPOSED = ", ".join(
    (
        "Content-Range, Content-Location, Preference-Applied, Location, Link, X-Total-Count",
        "ETag, Last-Modified, Content-Length, Content-Disposition, Content-Encoding, Accept-Ranges, Cache-Control",
        "Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Upload-Offset, Upload-Length, Upload-Metadata",
        "Upload-Expires, Upload-Defer-Length, Upload-Concat, Retry-After, X-Sb-Error-Code, Sb-Error-Code",
    )
)
OURS = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED.encode())]
PRIVATE_NETWORK = (b"access-control-allow-private-network", b"true")
TUS = b"/storage/v1/upload/resumable"


def is_browser(headers: Headers) -> bool:
    """Whether a page may read the answer.

    Not by Origin alone: what an `<img>` loads without one may serve a later fetch out of the browser's cache.
    """
    return header(headers, b"origin") is not None or (header(headers, b"user-agent") or "").startswith("Mozilla/5.0")


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks for leave that the gateway gives; TUS answers for itself, and OPTIONS discovers it."""
    headers, path = scope["headers"], scope["raw_path"]
    return (
        scope["method"] == "OPTIONS"
        and header(headers, b"origin") is not None
        and header(headers, b"access-control-request-method") is not None
        and not (path == TUS or path.startswith(TUS + b"/"))
    )


def wants_private_network(headers: Headers) -> bool:
    """Whether a public page asks for leave to reach this machine (Private Network Access)."""
    return header(headers, b"access-control-request-private-network") == "true"


async def preflight(scope: Scope, send: Send) -> None:
    """Answer a preflight: 204, the asked headers allowed by name, kept by the browser for an hour."""
    asked = header(scope["headers"], b"access-control-request-headers") or "authorization, apikey, content-type"
    headers = [
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", METHODS.encode()),
        (b"access-control-allow-headers", asked.encode("latin-1")),
        (b"access-control-max-age", b"3600"),
        (b"vary", b"Access-Control-Request-Headers"),
    ]
    if wants_private_network(scope["headers"]):
        headers.append(PRIVATE_NETWORK)
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def with_cors(scope: Scope, send: Send) -> Send:
    """`send` that adds the gateway's CORS headers to an answer to a browser that has none of its own."""
    if not is_browser(scope["headers"]):
        return send

    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            if header(headers, b"access-control-allow-origin") is None:
                headers += OURS
            if scope["method"] == "OPTIONS" and wants_private_network(scope["headers"]):
                headers.append(PRIVATE_NETWORK)
            message = {**message, "headers": headers}
        await send(message)

    return send_with_cors
