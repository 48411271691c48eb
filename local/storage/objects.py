"""The rows of storage.objects and storage.buckets: finding them, probing a permission, writing what was stored.

Every write has two transactions (SUPABASE.md, "What the Storage API does in the database"): a probe as the caller,
always rolled back, with version '1' and the metadata as declared; then, when the bytes are stored, the final one as
service_role. The final one is an upsert under a lock, so that of two writers of one new key the later wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb

from local.storage.database import SERVICE, Cursor, Database, Row, Scope, Statement
from local.storage.errors import bucket_not_found, object_not_found
from local.storage.names import is_uuid
from local.storage.tokens import Caller

__all__ = [
    "delete_as",
    "find_both",
    "find_bucket",
    "find_in_transaction",
    "find_object",
    "is_current",
    "lock_key",
    "probe_upload",
    "store_object",
]

PROBE = """
    insert into storage.objects (bucket_id, name, owner, owner_id, version, metadata, user_metadata)
    values (%(bucket)s, %(key)s, %(owner)s::uuid, %(owner_id)s, '1', %(metadata)s, %(user_metadata)s)
"""
# With an upsert the row is returned, so the caller needs SELECT even for a new key.
PROBE_UPSERT = (
    PROBE
    + """
    on conflict (name, bucket_id) do update set
        owner = excluded.owner, owner_id = excluded.owner_id, version = excluded.version, metadata = excluded.metadata,
        user_metadata = coalesce(excluded.user_metadata, objects.user_metadata)
    returning *
"""
)
STORE = """
    insert into storage.objects (bucket_id, name, owner, owner_id, version, metadata, user_metadata)
    values (%(bucket)s, %(key)s, %(owner)s::uuid, %(owner_id)s, %(version)s, %(metadata)s, %(user_metadata)s)
    on conflict (name, bucket_id) do update set
        owner = excluded.owner, owner_id = excluded.owner_id, version = excluded.version, metadata = excluded.metadata,
        user_metadata = case when %(keep)s then objects.user_metadata else excluded.user_metadata end
    returning *
"""
FIND_BUCKET = "select * from storage.buckets where id = %s"
FIND = "select * from storage.objects where bucket_id = %s and name = %s"
FOR_UPDATE = "select id, version from storage.objects where bucket_id = %s and name = %s for update"


async def find_bucket(database: Database, scope: Scope, bucket: str) -> Row:
    """The bucket, as the service sees it. Raises NoSuchBucket."""
    (rows,) = await database.at_once(SERVICE, scope, (FIND_BUCKET, [bucket]))
    if not rows:
        raise bucket_not_found()
    return rows[0]


async def find_both(
    database: Database, caller: Caller, scope: Scope, bucket: str, key: str
) -> tuple[Row | None, Row | None]:
    """The bucket as the service sees it and the object as this caller does, in one round trip; None if there is none.

    Raises psycopg.Error, also where the bucket alone would be an answer.
    """
    found = await database.at_once(caller, scope, (FIND, [bucket, key]), first=[(FIND_BUCKET, [bucket])])
    return tuple(rows[0] if rows else None for rows in found)  # type: ignore[return-value]  # two of them


async def find_object(database: Database, caller: Caller, scope: Scope, bucket: str, key: str) -> Row:
    """The object's row, if this caller may see it. Raises NoSuchKey."""
    if "\0" in key:  # Postgres takes no such text
        raise object_not_found()
    (rows,) = await database.at_once(caller, scope, (FIND, [bucket, key]))
    if not rows:
        raise object_not_found()
    return rows[0]


async def find_in_transaction(cursor: Cursor, bucket: str, key: str) -> Row:
    """The object's row as the transaction's role sees it. Raises NoSuchKey."""
    if "\0" in key:  # Postgres takes no such text
        raise object_not_found()
    await cursor.execute(FIND, [bucket, key])
    row = await cursor.fetchone()
    if row is None:
        raise object_not_found()
    return row


def written(
    bucket: str, key: str, owner: str | None, metadata: dict[str, Any] | None, user_metadata: Any
) -> dict[str, Any]:
    return {
        "bucket": bucket,
        "key": key,
        "owner": owner if is_uuid(owner) else None,
        "owner_id": owner,
        "metadata": None if metadata is None else Jsonb(metadata),
        "user_metadata": None if user_metadata is None else Jsonb(user_metadata),
    }


async def probe_upload(
    database: Database,
    caller: Caller,
    scope: Scope,
    bucket: str,
    key: str,
    *,
    owner: str | None,
    upsert: bool,
    metadata: dict[str, Any],
    user_metadata: Any = None,
) -> Row | None:
    """Raise, as the database does, unless this caller may write this object; nothing is written.

    metadata: what is known before the bytes are, `mimetype` and `contentLength` as announced. user_metadata: the
    client's own, which policies may ask for. Answers with the bucket, which the same round trip brings.
    """
    statement = PROBE_UPSERT if upsert else PROBE
    values = written(bucket, key, owner, metadata, user_metadata)
    first = [(FIND_BUCKET, [bucket])]
    (found,) = await database.at_once(caller, scope, (statement, values), first=first, undo=True)
    return found[0] if found else None


async def lock_key(cursor: Cursor, bucket: str, key: str, milliseconds: int = 5000) -> None:
    """Wait for the only right to write this object until the transaction ends."""
    for statement, values in locking(bucket, key, milliseconds):
        await cursor.execute(statement.encode(), values)


def locking(bucket: str, key: str, milliseconds: int) -> list[Statement]:
    return [
        ("select set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"]),
        ("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{bucket}/{key}"]),
    ]


async def store_object(
    database: Database,
    scope: Scope,
    bucket: str,
    key: str,
    *,
    version: str,
    owner: str | None,
    metadata: dict[str, Any],
    user_metadata: Any,
    keep_user_metadata: bool = False,
    wait_milliseconds: int = 5000,
) -> tuple[Row, str | None]:
    """Write the row of bytes that are stored. Answers with the row and the version that it replaced, if any.

    keep_user_metadata: leave the replaced object's own.
    """
    values = written(bucket, key, owner, metadata, user_metadata) | {"version": version, "keep": keep_user_metadata}
    *_, before, stored = await database.at_once(
        SERVICE,
        scope,
        *locking(bucket, key, wait_milliseconds),
        (FOR_UPDATE, [bucket, key]),
        (STORE, values),
    )
    replaced = before[0]["version"] if before else None
    return stored[0], replaced if replaced != version else None


async def is_current(database: Database, bucket: str, key: str, version: str) -> bool:
    """Whether the object's row names this version."""
    (rows,) = await database.at_once(SERVICE, Scope(""), (FIND, [bucket, key]))
    return bool(rows) and rows[0]["version"] == version


async def delete_as(cursor: Cursor, bucket: str, keys: Sequence[str]) -> list[Row]:
    """Delete those of the objects that the transaction's role may delete, and answer with their rows."""
    await cursor.execute(
        "delete from storage.objects where bucket_id = %s and name = any(%s) returning *",
        [bucket, [key for key in keys if "\0" not in key]],
    )
    return await cursor.fetchall()
