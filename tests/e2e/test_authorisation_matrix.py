"""Who may do what to whose rows, over HTTP: every cell of sql/authorisation.toml with that person's token.

tests/db/test_matrix.py runs the same cells over SQL. Whatever is denied has changed no row.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jobs.cli.authorisation import Row, read_authorisation
from tests.e2e.authorisation_world import BYTES, World, open_world
from tests.e2e.conftest import Stack

RULES = read_authorisation()
COUNTED = {"Prefer": "count=exact,return=minimal"}


@pytest.fixture(scope="module")
def world(stack: Stack) -> Iterator[World]:
    with open_world(stack) as made:
        yield made


@pytest.mark.parametrize("kind", ["tables", "views", "functions", "buckets"])
def test_every_cell_is_as_the_file_says(world: World, kind: str) -> None:
    rows = [row for row in RULES.rows if row.kind == kind]
    wrong = []
    before = world.rows()
    for row in rows:
        for who, letter in row.cells.items():
            found, told = attempt(world, row, who)
            if found != letter:
                wrong.append(f"{row.verb} {row.title}, {who}: {letter} expected, {found} found: {told}")
            if found == "y" and row.verb not in READING:
                world.mend()
                before = world.rows()
            elif found != "y":
                after = world.rows()
                if after != before:
                    wrong.append(f"{row.verb} {row.title}, {who}: denied ({told}), and rows changed")
                    before = after
    assert not wrong, "\n" + "\n".join(wrong)
    assert rows


def test_nobody_writes_a_column_that_is_not_for_writing(world: World) -> None:
    columns = world.database.execute(
        "select c.relname as name, a.attname as column from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0"
        " and not a.attisdropped and a.attidentity = ''"
    ).fetchall()
    # columns are granted to the three roles of the database; the owner is the one whose rows they would be
    asking = ("anonymous", "owner", "admin", "service")
    before, wrong = world.rows(), []
    for one in columns:
        table, column = one["name"], one["column"]
        place = "document_id" if "share" in table else "id"
        for verb, method, query in (("insert", "POST", ""), ("update", "PATCH", f"?{place}=is.null")):
            if column in RULES.writable.get(table, {}).get(verb, ()):
                continue
            for who in asking:
                answer = world.send(who, method, f"/rest/v1/{table}{query}", json={column: None})
                if letter_of(answer)[0] != "x":
                    wrong.append(f"{verb} {table}.{column}, {who}: {answer.status_code} {answer.text}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert world.rows() == before


def test_the_api_lists_nothing_that_has_no_row(world: World) -> None:
    """What PostgREST shows of itself to the widest role is what the file knows, and nothing else of other schemas."""
    known = {row.on.removesuffix("()") for row in RULES.rows if row.kind != "buckets"}
    for who in ("anonymous", "stranger", "service"):
        paths = world.send(who, "GET", "/rest/v1/").json().get("paths", {})
        shown = {path.removeprefix("/rpc/").removeprefix("/") for path in paths} - {""}
        assert shown <= known
    for schema in ("private", "jobs", "auth", "storage", "extensions", "pg_catalog"):
        answer = world.send("service", "GET", "/rest/v1/profiles", headers={"Accept-Profile": schema})
        assert answer.status_code == 406, answer.text


READING = {"select", "download", "info", "sign", "sign many", "list", "list buckets"}


def attempt(world: World, row: Row, who: str) -> tuple[str, str]:
    """The letter of what came of it, and what was told."""
    if row.kind == "buckets":
        answer = STORAGE[row.verb](world, row, who)
        return ("y" if answer is not None else "x"), answer or "nothing"
    names = world.names_of(who)

    def fill(given: Any) -> Any:
        return {key: value.format(**names) if isinstance(value, str) else value for key, value in (given or {}).items()}

    query = {key: f"eq.{value}" for key, value in fill(row.where).items()}
    if row.verb == "call":
        return letter_of(world.send(who, "POST", f"/rest/v1/rpc/{row.on.removesuffix('()')}", json=fill(row.set)))
    path = f"/rest/v1/{row.on}"
    if row.verb == "select":
        query["select"] = row.columns or "*"
        return letter_of(world.send(who, "GET", path, params=query))
    method = {"insert": "POST", "update": "PATCH", "delete": "DELETE"}[row.verb]
    body = {"json": fill(row.set)} if row.set else {}
    return letter_of(world.send(who, method, path, params=query, headers=COUNTED, **body))


def letter_of(answer: httpx.Response) -> tuple[str, str]:
    """What an answer of REST says: rows, none, a sentence, or no privilege."""
    told = f"{answer.status_code} {answer.text[:300]}"
    if answer.is_success:
        empty = answer.text == "[]" or answer.headers.get("content-range", "").endswith("/0")
        return ("0" if empty else "y"), told
    code = answer.json().get("code", "")
    if code == "42501" and answer.status_code in (401, 403):
        return "x", told
    return ("n" if code in ("PT403", "PT404", "PT409") else told), told


# Storage: None where nothing was had, else what was


def key_of(world: World, row: Row, who: str) -> tuple[str, str]:
    return row.on.removeprefix("bucket "), row.key.format(**world.names_of(who))


def upload(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    answer = world.send(who, "POST", f"/storage/v1/object/{bucket}/{key}", content=BYTES)
    return answer.text if answer.is_success else None


def upload_signed(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    made = world.send(who, "POST", f"/storage/v1/object/upload/sign/{bucket}/{key}")
    if not made.is_success:
        return None
    answer = world.http.put(f"{world.stack.supabase_url}/storage/v1{made.json()['url']}", content=BYTES)
    return answer.text if answer.is_success else made.text


def upload_resumable(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    values = {"bucketName": bucket, "objectName": key, "contentType": "text/plain"}
    metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())
    tus = {"Tus-Resumable": "1.0.0"}
    made = world.send(
        who, "POST", "/storage/v1/upload/resumable",
        headers={**tus, "Upload-Length": str(len(BYTES)), "Upload-Metadata": metadata},
    )  # fmt: skip
    if not made.is_success:
        return None
    headers = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    place = httpx.URL(made.headers["location"]).raw_path.decode()
    sent = world.send(who, "PATCH", place, headers=headers, content=BYTES)
    return f"{made.status_code}, {sent.status_code}"


def overwrite(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    answers = [
        world.send(who, "PUT", f"/storage/v1/object/{bucket}/{key}", content=b"other"),
        world.send(who, "POST", f"/storage/v1/object/{bucket}/{key}", content=b"other", headers={"x-upsert": "true"}),
    ]
    return next((answer.text for answer in answers if answer.is_success), None)


def download(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    answers = [world.send(who, "GET", f"/storage/v1/object/{way}{bucket}/{key}") for way in ("authenticated/", "")]
    assert world.send(who, "GET", f"/storage/v1/object/public/{bucket}/{key}").status_code >= 400
    assert {answer.content for answer in answers if answer.is_success} <= {BYTES}
    assert answers[0].is_success == answers[1].is_success
    return "the bytes" if answers[0].is_success else None


def info(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    answers = [
        world.send(who, "GET", f"/storage/v1/object/info/authenticated/{bucket}/{key}"),
        world.send(who, "GET", f"/storage/v1/object/info/{bucket}/{key}"),
        world.send(who, "GET", f"/storage/v1/object/info/public/{bucket}/{key}"),
    ]
    return next((answer.text for answer in answers if answer.is_success), None)


def sign(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    made = world.send(who, "POST", f"/storage/v1/object/sign/{bucket}/{key}", json={"expiresIn": 60})
    return opened(world, made.json()["signedURL"]) if made.is_success else None


def sign_many(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    made = world.send(who, "POST", f"/storage/v1/object/sign/{bucket}", json={"expiresIn": 60, "paths": [key]})
    links = [one["signedURL"] for one in made.json() if one.get("signedURL")] if made.is_success else []
    return opened(world, links[0]) if links else None


def opened(world: World, link: str) -> str:
    assert world.http.get(f"{world.stack.supabase_url}/storage/v1{link}").content == BYTES
    return link


def list_objects(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    first = world.send(who, "POST", f"/storage/v1/object/list/{bucket}", json={"prefix": key, "limit": 100})
    second = world.send(who, "POST", f"/storage/v1/object/list-v2/{bucket}", json={"prefix": key, "limit": 100})
    found = first.json() if first.is_success else []
    if second.is_success:
        found += second.json().get("objects", []) + second.json().get("folders", [])
    return str(found) if found else None


def move_or_copy(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    body = {"bucketId": bucket, "sourceKey": key, "destinationKey": row.to.format(**world.names_of(who))}
    if row.into:
        body["destinationBucket"] = row.into
    answer = world.send(who, "POST", f"/storage/v1/object/{row.verb}", json=body)
    return answer.text if answer.is_success else None


def remove(world: World, row: Row, who: str) -> str | None:
    bucket, key = key_of(world, row, who)
    one = world.send(who, "DELETE", f"/storage/v1/object/{bucket}/{key}")
    many = world.send(who, "DELETE", f"/storage/v1/object/{bucket}", json={"prefixes": [key]})
    gone = many.json() if many.is_success else []
    return f"{one.text} {gone}" if one.is_success or gone else None


def list_buckets(world: World, row: Row, who: str) -> str | None:
    answer = world.send(who, "GET", "/storage/v1/bucket")
    one = world.send(who, "GET", "/storage/v1/bucket/archives")
    return answer.text if (answer.is_success and answer.json()) or one.is_success else None


def create_bucket(world: World, row: Row, who: str) -> str | None:
    name = f"made-{uuid.uuid4().hex}"
    answer = world.send(who, "POST", "/storage/v1/bucket", json={"id": name, "name": name})
    if not answer.is_success:
        return None
    # what he may make he may empty and remove, which is not tried on the buckets of documents
    assert world.send(who, "POST", f"/storage/v1/bucket/{name}/empty").is_success
    assert world.send(who, "DELETE", f"/storage/v1/bucket/{name}").is_success
    return answer.text


def publish_bucket(world: World, row: Row, who: str) -> str | None:
    answer = world.send(who, "PUT", "/storage/v1/bucket/archives", json={"public": True})
    return answer.text if answer.is_success else None


def empty_bucket(world: World, row: Row, who: str) -> str | None:
    if who == "service":
        return "tried on a bucket of its own"
    answer = world.send(who, "POST", "/storage/v1/bucket/archives/empty")
    return answer.text if answer.is_success else None


def remove_bucket(world: World, row: Row, who: str) -> str | None:
    answer = world.send(who, "DELETE", "/storage/v1/bucket/archives")
    return answer.text if answer.is_success else None


STORAGE = {
    "upload": upload, "upload by signed URL": upload_signed, "resumable upload": upload_resumable,
    "overwrite": overwrite, "download": download, "info": info, "sign": sign, "sign many": sign_many,
    "list": list_objects, "move": move_or_copy, "copy": move_or_copy, "remove": remove, "list buckets": list_buckets,
    "create a bucket": create_bucket, "publish a bucket": publish_bucket, "empty a bucket": empty_bucket,
    "remove a bucket": remove_bucket,
}  # fmt: skip
