"""Standard upload: a raw body or a form, by POST, by PUT and through a signed URL.

Order of refusals: bucket, type, size as announced, key, permission, duplicate; then the bytes are stored, then the row.
A raw body without Content-Length is not limited, as on the real service.
"""

from __future__ import annotations

from typing import Any

import psycopg

from local.storage.database import SERVICE, Row, Scope, unless_refused, was_rolled_back
from local.storage.errors import ClientGone, StorageError, too_large
from local.storage.forms import Form
from local.storage.metadata import as_object, object_metadata, user_metadata_header
from local.storage.names import (
    check_bucket_name,
    check_key,
    check_mime_type,
    check_path,
    check_robots,
    is_key,
    is_placeholder,
)
from local.storage.objects import find_bucket, is_current, probe_upload, store_object
from local.storage.request import Answer, Request, json_answer
from local.storage.service import Service
from local.storage.signing import verified
from local.storage.tokens import Caller

__all__ = ["create_object", "finish_upload", "put_object", "upload_signed"]


async def create_object(service: Service, request: Request, bucket: str, key: str) -> Answer:
    """POST /object/BUCKET/KEY; replaces an object only with `x-upsert: true`."""
    caller = service.caller(request)
    scope = request.scope("storage.object.upload")
    row = await upload(service, request, scope, bucket, key, caller, caller.owner, request.upsert)
    return json_answer({"Key": f"{bucket}/{key}", "Id": str(row["id"])})


async def put_object(service: Service, request: Request, bucket: str, key: str) -> Answer:
    """PUT /object/BUCKET/KEY; replaces an object or makes it."""
    caller = service.caller(request)
    scope = request.scope("storage.object.upload_update")
    row = await upload(service, request, scope, bucket, key, caller, caller.owner, True)
    return json_answer({"Key": f"{bucket}/{key}", "Id": str(row["id"])})


async def upload_signed(service: Service, request: Request, bucket: str, key: str) -> Answer:
    """PUT /object/upload/sign/BUCKET/KEY?token=; the rights are the service's, owner and upsert the token's."""
    token = request.parameter("token")
    check_bucket_name(bucket)
    claims = verified(service, token, "upload", bucket, key)
    scope = request.scope("storage.object.upload_signed")
    owner = claims.get("owner")
    await upload(service, request, scope, bucket, key, SERVICE, owner, claims.get("upsert") is True)
    return json_answer({"Key": f"{bucket}/{key}"})


async def upload(
    service: Service,
    request: Request,
    scope: Scope,
    bucket: str,
    key: str,
    caller: Caller,
    owner: str | None,
    upsert: bool,
) -> Row:
    """Store the request's bytes as an object and answer with its row."""
    check_bucket_name(bucket)
    content_type = request.headers.get("content-type", "")
    own = user_metadata_header(request)
    is_form = content_type.startswith("multipart/form-data")

    async def probe(mime_type: str) -> Row | None:
        announced: dict[str, Any] = {"mimetype": mime_type}
        if request.content_length is not None:
            announced["contentLength"] = request.content_length
        return await probe_upload(
            service.database,
            caller,
            scope,
            bucket,
            key,
            owner=owner,
            upsert=upsert,
            metadata=announced,
            user_metadata=own,
        )

    # Refusals have an order, but few uploads are refused: one round trip tells all that must be known of the others.
    mime_type = content_type or "application/octet-stream"
    rules = None if is_form or not is_key(key) else await unless_refused(probe(mime_type))
    probed = rules is not None
    if rules is None:
        rules = await find_bucket(service.database, scope, bucket)
    limit = 0 if is_placeholder(key) else service.size_limit(rules["file_size_limit"])
    allowed = None if is_placeholder(key) else rules["allowed_mime_types"]
    robots = request.headers.get("x-robots-tag")
    if robots:
        check_robots(robots)
    form = Form(request, content_type) if is_form else None
    if form:
        await form.open()
        mime_type, own = form.mime_type, form.user_metadata
    check_mime_type(mime_type, allowed)
    if not form and (request.content_length or 0) > limit:
        raise too_large()
    check_key(key)
    if not probed:
        await probe(mime_type)
    incoming = service.files.incoming()
    check_path(bucket, key, incoming.version)
    try:
        if form:
            await form.store(incoming, limit)
            cache_control = form.cache_control
        else:
            async for piece in request.pieces():
                await incoming.write(piece)
            cache_control = request.headers.get("cache-control", "no-cache")
        stored = await incoming.publish()
    except (OSError, StorageError, ClientGone):
        await incoming.discard()
        raise
    metadata = object_metadata(stored, mime_type, cache_control, robots)
    return await finish_upload(service, scope, bucket, key, incoming.version, owner, metadata, as_object(own))


async def finish_upload(
    service: Service,
    scope: Scope,
    bucket: str,
    key: str,
    version: str,
    owner: str | None,
    metadata: dict[str, Any],
    user_metadata: Any,
    *,
    keep_user_metadata: bool = False,
) -> Row:
    """Write the row of stored bytes, then delete those it replaced; refused by the database, the new bytes go."""
    try:
        row, replaced = await store_object(
            service.database,
            scope,
            bucket,
            key,
            version=version,
            owner=owner,
            metadata=metadata,
            user_metadata=user_metadata,
            keep_user_metadata=keep_user_metadata,
        )
    except psycopg.Error as problem:
        # Unless it is certainly undone the row may be there; the next start sweeps bytes that have none. And a
        # resumable upload may be finished a second time, when a refusal must not harm what the first has stored.
        if was_rolled_back(problem) and not await is_current(service.database, bucket, key, version):
            await service.files.remove(version)
        raise
    if replaced:
        await service.files.remove(replaced)
    return row
