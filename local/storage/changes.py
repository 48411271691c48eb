"""Moving, copying and removing objects: bytes get a new name first, then the row, then the old name goes.

Copies and moves are hard links, so neither takes longer for a larger file.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from local.storage.database import SERVICE, Row, was_rolled_back
from local.storage.errors import access_denied, internal, object_not_found, of_database
from local.storage.metadata import user_metadata_header
from local.storage.names import check_bucket_name, check_key, check_path, is_uuid
from local.storage.objects import delete_as, find_in_transaction, find_object, lock_key, probe_upload, store_object
from local.storage.request import Answer, Request, json_answer, timestamp
from local.storage.schemas import STRING, TEXTS, checked, object_of
from local.storage.service import Service

__all__ = ["copy_object", "delete_object", "delete_objects", "move_object"]

PLACES = {"bucketId": STRING, "sourceKey": STRING, "destinationBucket": STRING, "destinationKey": STRING}
MOVE = object_of("bucketId", "sourceKey", "destinationKey", **PLACES)
COPY = object_of(
    "sourceKey",
    "bucketId",
    "destinationKey",
    copyMetadata={"type": "boolean", "nullable": True},
    metadata={**object_of(cacheControl=STRING, mimetype=STRING), "nullable": True},
    **PLACES,
)
REMOVE = object_of("prefixes", prefixes={**TEXTS, "minItems": 1})
MOVED = """
    update storage.objects set
        bucket_id = %(to_bucket)s, name = %(to_key)s, version = %(version)s,
        owner_id = coalesce(%(owner_id)s, owner_id),
        owner = coalesce(%(owner)s::uuid, owner),
        metadata = coalesce(%(metadata)s, metadata)
    where bucket_id = %(bucket)s and name = %(key)s
    returning *
"""


def object_row(row: Row) -> dict[str, Any]:
    """A row as answers hold it: where the real service's schema wants text, null is printed as an empty one."""
    return {
        "name": row["name"],
        "bucket_id": row["bucket_id"] or "",
        "owner": str(row["owner"] or ""),
        "owner_id": row["owner_id"] or "",
        "version": row["version"] or "",
        "id": str(row["id"]),
        "updated_at": timestamp(row["updated_at"]),
        "created_at": timestamp(row["created_at"]),
        "last_accessed_at": timestamp(row["last_accessed_at"]),
        "metadata": row["metadata"],
        "user_metadata": row["user_metadata"],
    }


async def link_bytes(service: Service, version: str | None, new_version: str) -> None:
    try:
        await service.files.copy(version or "", new_version)
    except FileNotFoundError:
        raise internal() from None


async def move_object(service: Service, request: Request) -> Answer:
    """POST /object/move; needs SELECT and UPDATE, and asks for no rule of the other bucket.

    Who moves an object owns it; its bytes count as new, and what it said to search engines is forgotten.
    """
    wanted = checked(await request.json(), MOVE)
    caller = service.caller(request)
    bucket, key, to_key = wanted["bucketId"], wanted["sourceKey"], wanted["destinationKey"]
    to_bucket = wanted.get("destinationBucket") or bucket
    check_bucket_name(bucket)
    check_key(to_key)
    scope, version = request.scope("storage.object.move"), str(uuid.uuid4())
    places: dict[str, Any] = {"bucket": bucket, "key": key, "to_bucket": to_bucket, "to_key": to_key}
    places |= {"version": version, "owner_id": caller.owner, "metadata": None}
    places["owner"] = caller.owner if is_uuid(caller.owner) else None
    try:
        async with service.database.transaction(caller, scope, undo=True) as cursor:
            await find_in_transaction(cursor, bucket, key)
            await cursor.execute(MOVED, places)
            if await cursor.fetchone() is None:
                raise object_not_found()
        if (bucket, key) == (to_bucket, to_key):
            return json_answer({"message": "Successfully moved"})
        check_path(to_bucket, to_key, version)
        source = await find_object(service.database, SERVICE, scope, bucket, key)
        if source["metadata"]:
            places["metadata"] = Jsonb(moved_metadata(source["metadata"]))
        await link_bytes(service, source["version"], version)
        try:
            async with service.database.transaction(SERVICE, scope) as cursor:
                await lock_key(cursor, to_bucket, to_key)
                await cursor.execute(
                    "select version from storage.objects where bucket_id = %s and name = %s for update", [bucket, key]
                )
                current = await cursor.fetchone()
                if current is None or current["version"] != source["version"]:
                    raise object_not_found()  # it was replaced or went while its bytes were linked
                await cursor.execute(MOVED, places)
        except psycopg.Error as problem:
            if was_rolled_back(problem):
                await service.files.remove(version)
            raise
        except Exception:
            await service.files.remove(version)
            raise
    except psycopg.Error as problem:
        raise of_database(problem, "ResourceAlreadyExists") from problem
    await service.files.remove(source["version"])
    return json_answer({"message": "Successfully moved"})


def moved_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in metadata.items() if name != "xRobotsTag"}
    return kept | {"lastModified": timestamp(datetime.now(UTC))}


async def copy_object(service: Service, request: Request) -> Answer:
    """POST /object/copy; needs SELECT on the source and INSERT on the copy, with x-upsert UPDATE too."""
    content = await request.json()
    wanted = checked(content, COPY)
    caller = service.caller(request)
    bucket, key, to_key = wanted["bucketId"], wanted["sourceKey"], wanted["destinationKey"]
    to_bucket = wanted.get("destinationBucket") or bucket
    check_bucket_name(bucket)
    check_key(to_key)
    scope, version = request.scope("storage.object.copy"), str(uuid.uuid4())
    source = await find_object(service.database, caller, scope, bucket, key)
    metadata, user_metadata = dict(source["metadata"] or {}), source["user_metadata"]
    if wanted.get("copyMetadata") is False:
        metadata |= {**(content.get("metadata") or {}), **(wanted.get("metadata") or {})}
        user_metadata = user_metadata_header(request)
    await probe_upload(
        service.database,
        caller,
        scope,
        to_bucket,
        to_key,
        owner=caller.owner,
        upsert=request.upsert,
        metadata=metadata,
        user_metadata=user_metadata,
    )
    check_path(to_bucket, to_key, version)
    await link_bytes(service, source["version"], version)
    metadata["lastModified"] = timestamp(datetime.now(UTC))
    try:
        row, replaced = await store_object(
            service.database,
            scope,
            to_bucket,
            to_key,
            version=version,
            owner=caller.owner,
            metadata=metadata,
            user_metadata=user_metadata,
            keep_user_metadata=user_metadata is None and wanted.get("copyMetadata") is False,
            wait_milliseconds=3000,
        )
    except psycopg.Error as problem:
        if was_rolled_back(problem):
            await service.files.remove(version)
        raise
    if replaced:
        await service.files.remove(replaced)
    return json_answer({"Key": f"{to_bucket}/{to_key}", "Id": str(row["id"]), **object_row(row)})


async def delete_objects(service: Service, request: Request, bucket: str) -> Answer:
    """DELETE /object/BUCKET `{"prefixes": [KEY, …]}`: what the caller may not see or delete is passed over."""
    wanted = checked(await request.json(), REMOVE)
    caller = service.caller(request)
    check_bucket_name(bucket)
    async with service.database.transaction(caller, request.scope("storage.object.delete_many")) as cursor:
        rows = await delete_as(cursor, bucket, wanted["prefixes"])
    await service.files.remove(*(row["version"] for row in rows))
    return json_answer([object_row(row) for row in rows])


async def delete_object(service: Service, request: Request, bucket: str, key: str) -> Answer:
    """DELETE /object/BUCKET/KEY: 404 for a missing object, 403 for one that the caller may not delete."""
    await request.json()
    caller = service.caller(request)
    check_bucket_name(bucket)
    scope = request.scope("storage.object.delete")
    async with service.database.transaction(SERVICE, scope) as cursor:
        await find_in_transaction(cursor, bucket, key)
        await service.database.become(cursor, caller, scope)
        rows = await delete_as(cursor, bucket, [key])
        if not rows:
            raise access_denied("Access denied")
    await service.files.remove(*(row["version"] for row in rows))
    return json_answer({"message": "Successfully deleted"})
