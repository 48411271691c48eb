"""What the local stack does not serve, told with a 501 in the form of the part that a client asked for.

Image transformation is not here: the real service with images off has no such route, and neither has this one.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from local.storage.errors import StorageError
from local.storage.request import Answer, Request, json_answer

__all__ = ["answer_unserved"]

S3 = "/s3"
DOCUMENTATION = "/documentation"
XML = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "{resource}<Code>{code}</Code><Message>{message}</Message></Error>"
)


def answer_unserved(request: Request) -> Answer | None:
    """The answer to a request for the S3 protocol or for the pages of the API's documentation; None for any other."""
    if under(request.path, S3):
        return s3_refusal(request)
    if under(request.path, DOCUMENTATION):
        message = "The API's pages are not served here. They are at https://supabase.github.io/storage/."
        return json_answer(StorageError(501, "NotImplemented", message, "NotImplemented").body(), 501)
    return None


def under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def s3_refusal(request: Request) -> Answer:
    """Amazon's XML error: an unsigned request is told so, as by the real service; a signed one that there is no S3."""
    authorization = request.headers.get("authorization")
    if authorization is None and "X-Amz-Credential" not in request.query:
        status, code, message = 403, "AccessDenied", "Missing signature"
    elif authorization is not None and authorization.partition(" ")[0] != "AWS4-HMAC-SHA256":
        status, code, message = 400, "InvalidSignature", "Unsupported authorization type"
    else:
        status, code = 501, "NotImplemented"
        message = "The S3 protocol is not served by the local stack. Use the Storage API or resumable uploads."
    name = "/".join(part for part in request.path.removeprefix(S3).split("/") if part)
    resource = f"<Resource>{escape(name)}</Resource>" if name else "<Resource/>"
    body = XML.format(resource=resource, code=code, message=escape(message)).encode()
    return Answer(status, {"content-type": "application/xml; charset=utf-8"}, body)
