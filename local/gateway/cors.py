"""Cross-origin access (Fetch standard, CORS protocol): any origin may call, as on a hosted project, without cookies."""

from __future__ import annotations

from starlette.types import Message, Scope, Send

from local.gateway.answers import header

__all__ = ["is_preflight", "preflight", "with_cors"]

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


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks for leave; any other OPTIONS (TUS discovers a server by it) is a request like others."""
    headers = scope["headers"]
    return (
        scope["method"] == "OPTIONS"
        and header(headers, b"origin") is not None
        and header(headers, b"access-control-request-method") is not None
    )


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
    if header(scope["headers"], b"access-control-request-private-network") == "true":
        headers.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def with_cors(send: Send) -> Send:
    """`send` with the gateway's CORS headers in place of those of the part behind."""

    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if not name.startswith(b"access-control-")]
            message = {**message, "headers": [*kept, *OURS]}
        await send(message)

    return send_with_cors
