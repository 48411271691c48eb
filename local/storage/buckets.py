"""Bucket administration, in the caller's rights; emptying is for the service role alone."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from local.storage.database import SERVICE, Row, Scope
from local.storage.errors import (
    StorageError,
    access_denied,
    bucket_not_found,
    invalid_bucket_name,
    invalid_mime_type,
    invalid_schema,
    of_database,
    too_large,
)
from local.storage.names import check_bucket_name, is_uuid
from local.storage.request import Answer, Request, json_answer, timestamp
from local.storage.schemas import STRING, TEXTS, checked, coerced, integer, object_of, one_of
from local.storage.service import Service
from local.storage.tokens import Caller

__all__ = [
    "create_bucket",
    "delete_bucket",
    "empty_bucket",
    "get_bucket",
    "list_buckets",
    "purge_cache",
    "update_bucket",
]

LIST = object_of(
    limit=integer(1),
    offset=integer(0),
    sortColumn=one_of("id", "name", "created_at", "updated_at"),
    sortOrder=one_of("asc", "desc"),
    search=STRING,
)
BOOLEAN = {"type": "boolean"}
MIME_TYPES = {**TEXTS, "nullable": True}
CREATE = object_of(
    "name",
    name=STRING,
    id=STRING,
    public=BOOLEAN,
    type=one_of("STANDARD", "ANALYTICS"),
    allowed_mime_types=MIME_TYPES,
)
UPDATE = object_of(public=BOOLEAN, allowed_mime_types=MIME_TYPES)
RULES = ("public", "file_size_limit", "allowed_mime_types")
SIZE = re.compile(r"(\d+(?:\.\d+)?)(gb|mb|kb|b)", re.ASCII | re.IGNORECASE)
UNITS = {"gb": 10**9, "mb": 10**6, "kb": 1000, "b": 1}
# all that ends in an asterisk goes through as well
MIME_PATTERN = re.compile(r"[a-zA-Z0-9+.-]+/[a-zA-Z0-9+.-]+(;\s*charset=[a-zA-Z0-9-]+)?|.*\*", re.DOTALL)
MIME_PATTERN_LENGTH = 1000
RESERVED_SUFFIX = "--table-s3"  # of the buckets behind analytics
OLD_PYTHON_CLIENT = re.compile(r"supabase-py/(?:storage3 v)?(\d+)\.(\d+)\.")
TYPE_FREE_UNTIL = (2, 18)  # supabase-py refuses an unknown key before
EMPTIED_AT_ONCE = 500


def bucket_row(row: Row, *, with_type: bool) -> dict[str, Any]:
    """A bucket as answers hold it; only the list tells the type."""
    return {
        "id": row["id"],
        "name": row["name"],
        "owner": str(row["owner"] or ""),
        "public": bool(row["public"]),
        **({"type": row["type"]} if with_type else {}),
        "file_size_limit": row["file_size_limit"],
        "allowed_mime_types": row["allowed_mime_types"],
        "created_at": timestamp(row["created_at"]),
        "updated_at": timestamp(row["updated_at"]),
    }


def size_limit(value: Any) -> int | None:
    """A limit given in bytes or as a text such as 1MB, which is 1000000. Raises InvalidRequest."""
    where = "body/file_size_limit"
    if value is None:
        return None
    if isinstance(value, str) and (found := SIZE.fullmatch(value)):
        return int(float(f"{float(found[1]):.3g}") * UNITS[found[2].lower()])
    try:
        number: int = coerced(value, "integer", where)
    except StorageError:
        faults = ["must be integer", 'must pass "finite" keyword validation']
    else:
        if number >= 0:
            return number
        faults = ["must be >= 0"]
    pattern = "^[0-9]+(?:\\.[0-9]+)?(?:[gG][bB]|[mM][bB]|[kK][bB]|[bB])$"
    faults += [f'must match pattern "{pattern}"', "must match a schema in anyOf"]
    raise invalid_schema(", ".join(f"{where} {fault}" for fault in faults))


def checked_rules(service: Service, body: dict[str, Any], limit: int | None) -> dict[str, Any]:
    """The columns that a bucket's rules stand in; those not given are left out."""
    columns: dict[str, Any] = {}
    if "public" in body:
        columns["public"] = body["public"]
    if "file_size_limit" in body:
        if limit is not None and limit > service.settings.file_size_limit:
            raise too_large()
        columns["file_size_limit"] = limit
    if "allowed_mime_types" in body:
        types = body["allowed_mime_types"]
        for mime_type in types or ():
            if mime_type and (len(mime_type) > MIME_PATTERN_LENGTH or not MIME_PATTERN.fullmatch(mime_type)):
                raise invalid_mime_type(f"mime type {mime_type} is not supported")
        columns["allowed_mime_types"] = types if types is None else [mime_type for mime_type in types if mime_type]
    return columns


async def list_buckets(service: Service, request: Request) -> Answer:
    """GET /bucket, with limit, offset, sortColumn, sortOrder and search."""
    given = {name: values[-1] for name, values in request.query.items()}
    wanted = checked(given, LIST, "querystring")
    caller = service.caller(request)
    query = "select * from storage.buckets where type = 'STANDARD'"
    parameters: list[Any] = []
    if wanted.get("search"):
        query += " and strpos(lower(name), lower(%s)) > 0"
        parameters.append(wanted["search"])
    if "sortColumn" in wanted:
        query += f" order by {wanted['sortColumn']} {wanted.get('sortOrder', 'asc')}"
    query += " limit %s offset %s"
    parameters += [wanted.get("limit"), wanted.get("offset", 0)]
    async with service.database.transaction(caller, request.scope("storage.bucket.list")) as cursor:
        await cursor.execute(query, parameters)
        rows = await cursor.fetchall()
    client = OLD_PYTHON_CLIENT.match(request.headers.get("x-client-info", ""))
    with_type = client is None or (int(client[1]), int(client[2])) >= TYPE_FREE_UNTIL
    return json_answer([bucket_row(row, with_type=with_type) for row in rows])


async def get_bucket(service: Service, request: Request, bucket: str) -> Answer:
    """GET /bucket/ID."""
    caller = service.caller(request)
    async with service.database.transaction(caller, request.scope("storage.bucket.get")) as cursor:
        await cursor.execute("select * from storage.buckets where id = %s", [bucket])
        row = await cursor.fetchone()
    if row is None:
        raise bucket_not_found()
    return json_answer(bucket_row(row, with_type=False))


async def create_bucket(service: Service, request: Request) -> Answer:
    """POST /bucket `{"name", "id"?, "public"?, "file_size_limit"?, "allowed_mime_types"?}`."""
    content = await request.json()
    body = checked(content, CREATE)
    limit = size_limit(content.get("file_size_limit"))
    caller = service.caller(request)
    bucket = body.get("id") or body["name"]
    check_bucket_name(body["name"])  # an id of its own is taken as it is
    if body["name"].endswith(RESERVED_SUFFIX):
        raise invalid_bucket_name()
    if body.get("type") == "ANALYTICS":
        return await create_analytics_bucket(service, request, caller, bucket)
    rules = checked_rules(service, {**content, **body}, limit)
    columns = {"id": bucket, "name": body["name"], "owner_id": caller.owner, "public": False, **rules}
    columns["owner"] = caller.owner if is_uuid(caller.owner) else None
    names, values = ", ".join(columns), ", ".join(f"%({name})s" for name in columns)
    async with service.database.transaction(caller, request.scope("storage.bucket.create")) as cursor:
        try:
            await cursor.execute(f"insert into storage.buckets ({names}) values ({values})", columns)
        except psycopg.Error as problem:
            raise of_database(problem, "BucketAlreadyExists") from problem
    return json_answer({"name": body["name"]})


async def create_analytics_bucket(service: Service, request: Request, caller: Caller, bucket: str) -> Answer:
    """Keep the name of a bucket of tables. The real service takes it even where it serves no tables, as here."""
    async with service.database.transaction(caller, request.scope("storage.bucket.create")) as cursor:
        try:
            await cursor.execute("insert into storage.buckets_analytics (name) values (%s)", [bucket])
        except psycopg.Error as problem:
            raise of_database(problem, "ResourceAlreadyExists") from problem
    return json_answer({"name": bucket})


async def update_bucket(service: Service, request: Request, bucket: str) -> Answer:
    """PUT /bucket/ID with at least one of the rules."""
    content = await request.json()
    body = checked(content, UPDATE)
    if not any(name in content for name in RULES):
        faults = [f"must have required property '{name}'" for name in RULES] + ["must match a schema in anyOf"]
        raise invalid_schema(", ".join(f"body {fault}" for fault in faults))
    limit = size_limit(content.get("file_size_limit"))
    caller = service.caller(request)
    check_bucket_name(bucket)
    rules = checked_rules(service, {**content, **body}, limit)
    changes = ", ".join(f"{name} = %({name})s" for name in rules)
    async with service.database.transaction(caller, request.scope("storage.bucket.update")) as cursor:
        await cursor.execute(
            f"update storage.buckets set {changes}, updated_at = now() where id = %(id)s returning id",
            {**rules, "id": bucket},
        )
        if await cursor.fetchone() is None:
            raise bucket_not_found()
    return json_answer({"message": "Successfully updated"})


async def empty_bucket(service: Service, request: Request, bucket: str) -> Answer:
    """POST /bucket/ID/empty: done before the answer, which says that it may take an hour."""
    await request.json(empty_allowed=True)
    caller = service.caller(request)
    if caller.role != "service_role":
        raise access_denied("Access denied: Invalid role", 403)
    async with service.database.transaction(caller, request.scope("storage.bucket.empty")) as cursor:
        await cursor.execute("select id from storage.buckets where id = %s", [bucket])
        if await cursor.fetchone() is None:
            raise bucket_not_found()
    while True:
        async with service.database.transaction(SERVICE, Scope("")) as cursor:
            await cursor.execute(
                """
                delete from storage.objects where id in (
                    select id from storage.objects where bucket_id = %s order by name limit %s
                ) returning version
                """,
                [bucket, EMPTIED_AT_ONCE],
            )
            rows = await cursor.fetchall()
        await service.files.remove(*(row["version"] for row in rows))
        if len(rows) < EMPTIED_AT_ONCE:
            break
    return json_answer({"message": "Empty bucket has been queued. Completion may take up to an hour."})


async def purge_cache(service: Service, request: Request, bucket: str = "", key: str = "") -> Answer:
    """DELETE /cdn[/BUCKET[/KEY]]: for the service role, who is told that there is no such cache before this service."""
    if service.caller(request).role != "service_role":
        raise access_denied("Access denied: Invalid role", 403)
    message = "Missing Required Parameter CDN_PURGE_ENDPOINT_URL is not set"
    raise StorageError(400, "MissingParameter", message, "MissingParameter")


async def delete_bucket(service: Service, request: Request, bucket: str) -> Answer:
    """DELETE /bucket/ID, which must be empty."""
    await request.json(empty_allowed=True)
    caller = service.caller(request)
    scope = request.scope("storage.bucket.delete")
    async with service.database.transaction(caller, scope) as cursor:
        await cursor.execute("select id from storage.buckets where id = %s for update", [bucket])
        if await cursor.fetchone() is None:
            raise bucket_not_found()
        await service.database.become(cursor, SERVICE, scope)
        await cursor.execute("select 1 from storage.objects where bucket_id = %s limit 1", [bucket])
        if await cursor.fetchone():
            message = "The bucket you tried to delete is not empty"
            raise StorageError(409, "ResourceNotEmpty", message, "ResourceNotEmpty")
        await service.database.become(cursor, caller, scope)
        await cursor.execute("delete from storage.buckets where id = %s returning id", [bucket])
        if await cursor.fetchone() is None:
            raise bucket_not_found()
    return json_answer({"message": "Successfully deleted"})
