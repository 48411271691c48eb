"""Signed URLs: for downloads, one or many, and for one upload.

The answer holds the key as it is, not percent-encoded; the client has to encode it. A token names its path, so it is
good for one object, and cannot be revoked.
"""

from __future__ import annotations

import time
from typing import Any

from local.storage.errors import StorageError, invalid_parameter
from local.storage.metadata import user_metadata_header
from local.storage.names import check_bucket_name, check_key
from local.storage.objects import find_object, probe_upload
from local.storage.request import Answer, Request, json_answer
from local.storage.schemas import STRING, TEXTS, checked, integer, object_of, one_of
from local.storage.service import Service
from local.storage.settings import SIGNED_UPLOAD_SECONDS
from local.storage.tokens import InvalidToken

__all__ = ["sign_object", "sign_objects", "sign_upload", "verified"]

LARGEST_SAFE_INTEGER = (1 << 53) - 1
TRANSFORM = object_of(
    height=integer(0),
    width=integer(0),
    resize=one_of("cover", "contain", "fill"),
    format=one_of("origin", "avif", "webp"),
    quality={**integer(20), "maximum": 100},
)
SIGN_ONE = object_of("expiresIn", expiresIn=integer(1), transform=TRANSFORM)  # images are off: it has no effect
SIGN_MANY = object_of(
    "expiresIn", "paths", expiresIn=integer(1), paths={**TEXTS, "minItems": 1, "maxItems": 1000}, download=STRING
)
HIDDEN = "Either the object does not exist or you do not have access to it"


def refused(message: str) -> StorageError:
    return StorageError(400, "InvalidSignature", message, "InvalidSignature")


def verified(service: Service, token: str, purpose: str, bucket: str, key: str) -> dict[str, Any]:
    """The claims of a token that was signed for this object and purpose, `download` or `upload`.

    Raises InvalidJWT for a token that is not ours or out of date, InvalidSignature for another object's or purpose's.
    """
    try:
        claims = service.tokens.claims(token)
    except InvalidToken as problem:
        raise StorageError(400, "InvalidJWT", str(problem), "InvalidJWT") from None
    scope = claims.get("scope")
    if scope != purpose and (scope is not None or purpose == "upload"):
        raise refused(f"Token is not scoped for {purpose}")
    if claims.get("url") != f"{bucket}/{key}":
        raise refused("Invalid signature")
    return claims


def check_life(seconds: int) -> None:
    if int(time.time()) + seconds > LARGEST_SAFE_INTEGER:
        raise invalid_parameter("expiresIn")


async def sign_object(service: Service, request: Request, bucket: str, key: str) -> Answer:
    """POST /object/sign/BUCKET/KEY `{"expiresIn"}`: for whoever may see the object."""
    wanted = checked(await request.json(), SIGN_ONE)
    caller = service.caller(request)
    check_bucket_name(bucket)
    check_key(key)
    scope = request.scope("storage.object.sign")
    await find_object(service.database, caller, scope, bucket, key)
    check_life(wanted["expiresIn"])
    path = f"{bucket}/{key}"
    token = service.tokens.signed({"url": path, "scope": "download"}, wanted["expiresIn"])
    return json_answer({"signedURL": f"/object/sign/{path}?token={token}"})


async def sign_objects(service: Service, request: Request, bucket: str) -> Answer:
    """POST /object/sign/BUCKET `{"expiresIn", "paths"}`: an entry each, with an error where there is nothing to see."""
    wanted = checked(await request.json(), SIGN_MANY)
    caller = service.caller(request)
    check_bucket_name(bucket)
    async with service.database.transaction(caller, request.scope("storage.object.sign_many")) as cursor:
        paths = [path for path in wanted["paths"] if "\0" not in path]
        await cursor.execute(
            "select name from storage.objects where bucket_id = %s and name = any(%s)", [bucket, paths]
        )
        visible = {row["name"] for row in await cursor.fetchall()}
    check_life(wanted["expiresIn"])
    answers = []
    for key in wanted["paths"]:
        url = None
        if key in visible:
            path = f"{bucket}/{key}"
            token = service.tokens.signed({"url": path, "scope": "download"}, wanted["expiresIn"])
            url = f"/object/sign/{path}?token={token}"
        answers.append({"error": None if url else HIDDEN, "path": key, "signedURL": url})
    return json_answer(answers)


async def sign_upload(service: Service, request: Request, bucket: str, key: str) -> Answer:
    """POST /object/upload/sign/BUCKET/KEY: for whoever may write the object now; replacing only with x-upsert."""
    await request.gathered()
    caller = service.caller(request)
    check_bucket_name(bucket)
    announced: dict[str, Any] = {}
    if "content-type" in request.headers:
        announced["mimetype"] = request.headers["content-type"]
    if request.content_length is not None:
        announced["contentLength"] = request.content_length
    await probe_upload(
        service.database,
        caller,
        request.scope("storage.object.sign_upload_url"),
        bucket,
        key,
        owner=caller.owner,
        upsert=request.upsert,
        metadata=announced,
        user_metadata=user_metadata_header(request),
    )
    path = f"{bucket}/{key}"
    claims: dict[str, Any] = {"url": path, "upsert": request.upsert, "scope": "upload"}
    if caller.owner:
        claims = {"owner": caller.owner} | claims
    token = service.tokens.signed(claims, SIGNED_UPLOAD_SECONDS)
    return json_answer({"url": f"/object/upload/sign/{path}?token={token}", "token": token})
