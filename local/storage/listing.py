"""Listing a bucket: level by level with an offset, or all keys below a prefix with a cursor."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from local.storage.database import Row
from local.storage.errors import invalid_parameter
from local.storage.names import check_bucket_name
from local.storage.request import Answer, Request, json_answer, timestamp
from local.storage.schemas import STRING, checked, integer, object_of, one_of
from local.storage.service import Service

__all__ = ["list_objects", "list_objects_v2"]

ORDER = one_of("asc", "desc")
COLUMNS = ("name", "updated_at", "created_at")
LIST = object_of(
    "prefix",
    prefix=STRING,
    limit=integer(1),
    offset=integer(0),
    sortBy=object_of("column", column=one_of("name", "updated_at", "created_at", "last_accessed_at"), order=ORDER),
    search=STRING,
)
LIST_V2 = object_of(
    prefix=STRING,
    limit=integer(1),
    cursor=STRING,
    with_delimiter={"type": "boolean"},
    sortBy=object_of("column", column=one_of(*COLUMNS), order=ORDER),
)
MOST_KEYS = 1000
LAST_CHARACTER = "\U0010fffd"

# Folders and objects below a prefix, each with the text and the moment that it is sorted by. Moments are compared in
# milliseconds, as the cursor writes them.
BELOW = """
    with entries as (
        select
            case
                when %(delimited)s and slash > 0 then left(o.name, length(%(prefix)s) + slash) else o.name
            end as entry,
            %(delimited)s and slash > 0 as is_folder,
            o.*
        from storage.objects as o, strpos(substr(o.name, length(%(prefix)s) + 1), '/') as slash
        where
            o.bucket_id = %(bucket)s
            and o.name collate "C" >= %(prefix)s and o.name collate "C" < %(end)s
    ),
    listed as (
        select entry, is_folder, {moment} as moment, null::uuid as id, null::jsonb as metadata,
            null::timestamptz as updated_at, null::timestamptz as created_at, null::timestamptz as last_accessed_at
        from entries where is_folder group by entry, is_folder
        union all
        select entry, is_folder, {own_moment}, id, metadata, updated_at, created_at, last_accessed_at
        from entries where not is_folder
    )
    select * from listed {after}
    order by {order}
    limit %(limit)s
"""


def timestamps(row: Row) -> dict[str, str | None]:
    return {name: timestamp(row[name]) for name in ("updated_at", "created_at", "last_accessed_at")}


async def list_objects(service: Service, request: Request, bucket: str) -> Answer:
    """POST /object/list/BUCKET `{"prefix", "limit"?, "offset"?, "sortBy"?, "search"?}`; a missing bucket is empty."""
    wanted = checked(await request.json(), LIST)
    caller = service.caller(request)
    check_bucket_name(bucket)
    prefix = wanted["prefix"].replace("\0", "")
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    order = wanted.get("sortBy", {})
    async with service.database.transaction(caller, request.scope("storage.object.list")) as cursor:
        await cursor.execute(
            "select * from storage.search(%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                prefix,
                bucket,
                wanted.get("limit", 100),
                prefix.count("/") + 1,
                wanted.get("offset", 0),
                wanted.get("search", "").replace("\0", ""),
                order.get("column", "name"),
                order.get("order", "asc"),
            ],
        )
        rows = await cursor.fetchall()
    return json_answer([entry(row["name"], row) for row in rows])


def entry(name: str, row: Row) -> dict[str, Any]:
    identity = str(row["id"]) if row["id"] else None
    return {"name": name, "id": identity, **timestamps(row), "metadata": row["metadata"]}


@dataclass
class Cursor:
    """Where a page begins: behind this key, in this order; `order` and `column` are None until somebody names them."""

    key: str = ""
    order: str | None = None
    column: str | None = None
    moment: str = ""

    @property
    def by_moment(self) -> bool:
        """Whether entries come by their dates, not by their names."""
        return self.column not in (None, "name")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Read the base64 of lines such as `l:KEY`. Raises InvalidParameter."""
        try:
            lines = base64.b64decode(text + "=" * (-len(text) % 4)).decode().split("\n")
        except (binascii.Error, ValueError):
            lines = [""]
        values = {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}
        column = values.get("c") or None
        if len(values) < len(lines) or values.keys() - set("loca") or column not in (None, *COLUMNS):
            raise invalid_parameter("continuation token")
        return cls(values.get("l", ""), "desc" if values.get("o") == "desc" else "asc", column, values.get("a", ""))

    def written(self) -> str:
        """The text that `read` takes."""
        lines = [f"l:{self.key}"]
        lines += [f"o:{self.order}"] if self.order else []
        lines += [f"c:{self.column}"] if self.column else []
        lines += [f"a:{self.moment}"] if self.by_moment else []
        return base64.b64encode("\n".join(lines).encode()).decode()


async def list_objects_v2(service: Service, request: Request, bucket: str) -> Answer:
    """POST /object/list-v2/BUCKET `{"prefix"?, "limit"?, "cursor"?, "with_delimiter"?, "sortBy"?}`."""
    wanted = checked(await request.json(), LIST_V2)
    caller = service.caller(request)
    check_bucket_name(bucket)
    sort = wanted.get("sortBy", {})
    place = Cursor(order=sort.get("order"), column=sort.get("column"))
    if wanted.get("cursor"):
        place = Cursor.read(wanted["cursor"])
    limit = min(wanted.get("limit", MOST_KEYS), MOST_KEYS)
    prefix, delimited = wanted.get("prefix", "").replace("\0", ""), wanted.get("with_delimiter", False)
    async with service.database.transaction(caller, request.scope("storage.object.list_v2")) as cursor:
        await cursor.execute(
            page_query(place),  # made of constants alone
            {
                "bucket": bucket,
                "prefix": prefix,
                "end": prefix + LAST_CHARACTER,
                "delimited": delimited,
                "limit": limit + 1,
                "key": place.key,
                "moment": place.moment or None,
            },
        )
        rows = await cursor.fetchall()
    more, rows = len(rows) > limit, rows[:limit]
    answer: dict[str, Any] = {"hasNext": more}
    if more:
        last = rows[-1]
        following = Cursor(last["entry"], place.order, place.column, timestamp(last["moment"]) or "")
        answer |= {"nextCursor": following.written(), "nextCursorKey": last["entry"]}
    answer["folders"] = [listed(row, prefix, True) for row in rows if row["is_folder"]]
    answer["objects"] = [listed(row, prefix, delimited) for row in rows if not row["is_folder"]]
    return json_answer(answer)


def page_query(place: Cursor) -> bytes:
    """The statement for a page that begins at this place."""
    direction, beyond = ("desc", "<") if place.order == "desc" else ("asc", ">")
    by_moment = place.by_moment
    own_moment = f"date_trunc('milliseconds', {place.column})" if by_moment else "null::timestamptz"
    extreme = "max" if direction == "desc" else "min"
    after = ""
    if place.key and by_moment:
        after = f'where (moment, entry collate "C") {beyond} (%(moment)s::timestamptz, %(key)s)'
    elif place.key:
        after = f'where entry collate "C" {beyond} %(key)s'
    order = f"moment {direction}, " if by_moment else ""
    return BELOW.format(
        moment=f"{extreme}({own_moment})" if by_moment else own_moment,
        own_moment=own_moment,
        after=after,
        order=f'{order}entry collate "C" {direction}',
    ).encode()


def listed(row: Row, prefix: str, delimited: bool) -> dict[str, Any]:
    """An entry of a page: `name` is the whole key; with a delimiter `key` is its part at this level, oddly enough."""
    name: str = row["entry"]
    if not delimited:
        return entry(name, row)
    part = name[prefix.rfind("/") + 1 :]
    return {"key": part.removesuffix("/") if row["is_folder"] else part, **entry(name, row)}
