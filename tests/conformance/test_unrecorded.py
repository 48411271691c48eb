"""What the real service does and no recording shows, read from its source: roles, orders and forms of odd requests."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import psycopg
import pytest

from tests.conformance.unserved import REFUSED

OWNER, MOVER = str(uuid.uuid4()), str(uuid.uuid4())


class Client:
    """The service over HTTP in somebody's name, and its rows."""

    def __init__(self, url: str, database: str, secret: str, **claims: str) -> None:
        self.url, self.database, self.secret = url, database, secret
        token = jwt.encode({**claims, "exp": int(time.time()) + 3600}, secret)
        headers = {"authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30)
        self.others: list[Client] = []

    def close(self) -> None:
        for client in (*self.others, self):
            client.http.close()

    def acting(self, **claims: str) -> Client:
        self.others.append(Client(self.url, self.database, self.secret, **claims))
        return self.others[-1]

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def put(self, key: str, body: bytes = b"0123456789", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.http.post(f"/object/{key}", content=body, headers={"content-type": "text/plain", **named})

    def refused(self, answer: httpx.Response) -> tuple[str, str]:
        """What a refusal says, in its own status and words."""
        assert answer.status_code == 400, answer.text
        return answer.json()["statusCode"], answer.json()["message"]

    def row(self, name: str) -> tuple[str | None, dict[str, Any], Any]:
        """Owner and the two kinds of metadata of an object."""
        ((owner, metadata, own),) = self.sql(
            "select owner_id, metadata, user_metadata from storage.objects where name = %s", name
        )
        return owner, metadata, own


@pytest.fixture(scope="module")
def running(stack: dict[str, Any], new_service: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with new_service(tmp_path_factory.mktemp("unrecorded") / "storage").running() as service:
        client = Client(service.url, stack["admin_database_url"], stack["jwt_secret"], role="service_role")
        yield client
        client.close()


@pytest.fixture
def service(running: Client) -> Iterator[Client]:
    """The service role's client, and one bucket `docs` where every signed-in person may do everything."""
    empty = "set storage.allow_delete_query = 'true'; delete from storage.objects; delete from storage.buckets"
    running.sql(empty)
    running.sql("insert into storage.buckets (id, name) values ('docs', 'docs')")
    running.sql("create policy everything on storage.objects to authenticated using (bucket_id = 'docs')")
    yield running
    running.sql("drop policy everything on storage.objects")
    running.sql(empty)


@pytest.fixture
def person(service: Client) -> Client:
    return service.acting(role="authenticated", sub=OWNER)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# ---- buckets


def test_the_name_of_a_bucket_is_checked_and_not_its_id(service: Client) -> None:
    refused = service.http.post("/bucket", json={"name": "a/b", "id": "fine"})
    assert service.refused(refused) == ("400", "Bucket name invalid")
    assert service.http.post("/bucket", json={"name": "fine", "id": "x/y"}).status_code == 200
    assert service.sql("select id from storage.buckets where name = 'fine'") == [("x/y",)]


def test_names_that_no_bucket_has(service: Client) -> None:
    refused = service.http.post("/bucket", json={"name": "mine--table-s3"})
    assert service.refused(refused) == ("400", "Bucket name invalid")
    refused = service.http.put("/bucket/d%C3%A9", json={"public": True})
    assert service.refused(refused) == ("400", "Bucket name invalid")


@pytest.mark.parametrize("pattern", ["image/*", "image/svg+xml", "text/plain; charset=utf-8", "*", "anything*"])
def test_a_pattern_of_types_that_is_taken(service: Client, pattern: str) -> None:
    assert service.http.post("/bucket", json={"name": "b", "allowed_mime_types": [pattern]}).status_code == 200


@pytest.mark.parametrize("pattern", ["image", "image/png; q=1", "image/x_y", "image/png ", "a/" + "b" * 999])
def test_a_pattern_of_types_that_is_not_taken(service: Client, pattern: str) -> None:
    refused = service.http.post("/bucket", json={"name": "b", "allowed_mime_types": [pattern]})
    assert service.refused(refused) == ("415", f"mime type {pattern} is not supported")


def test_only_a_kind_has_a_wildcard(service: Client) -> None:
    service.http.post("/bucket", json={"name": "b", "allowed_mime_types": ["*/*", "*"]})
    assert service.refused(service.put("b/a"))[0] == "415"
    service.http.put("/bucket/b", json={"allowed_mime_types": ["text/*"]})
    assert service.put("b/a").status_code == 200


def test_a_limit_of_zero_bytes_holds_for_standard_uploads_alone(service: Client) -> None:
    service.http.post("/bucket", json={"name": "b", "file_size_limit": 0})
    assert service.refused(service.put("b/a"))[0] == "413"
    form = service.http.post("/object/b/a", files={"": ("a", b"x", "text/plain")})
    assert service.refused(form)[0] == "413"
    assert service.put("b/a", b"").status_code == 200
    metadata = f"bucketName {b64('b')},objectName {b64('t')}"
    headers = {"tus-resumable": "1.0.0", "upload-length": "5", "upload-metadata": metadata}
    assert service.http.post("/upload/resumable", headers=headers).status_code == 201


def test_an_analytics_bucket_is_only_a_name(service: Client) -> None:
    name = f"lake-{uuid.uuid4().hex[:8]}"
    made = service.http.post("/bucket", json={"name": name, "type": "ANALYTICS"})
    assert (made.status_code, made.json()) == (200, {"name": name})
    again = service.http.post("/bucket", json={"name": name, "type": "ANALYTICS"})
    assert service.refused(again) == ("409", "The resource already exists")
    assert name not in {bucket["name"] for bucket in service.http.get("/bucket").json()}


# ---- upload


def test_what_search_engines_are_told_is_looked_at_before_the_type(service: Client) -> None:
    assert "X-Robots-Tag" in service.refused(service.put("docs/a", content_type="none", x_robots_tag="bogus"))[1]
    assert service.put("docs/a", x_robots_tag="").status_code == 200


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ('{"a": [1]}', {"a": [1]}),
        ("[7, 8]", {"0": 7, "1": 8}),
        ('"ab"', {"0": "a", "1": "b"}),
        ("5", {}),
        ("null", {}),
        ('{"a": NaN}', {}),
        ("no JSON", {}),
    ],
)
def test_own_metadata_becomes_an_object(service: Client, given: str, stored: dict[str, Any]) -> None:
    assert service.put("docs/raw", x_metadata=b64(given)).status_code == 200
    form = service.http.post("/object/docs/form", data={"metadata": given}, files={"": ("a", b"x", "text/plain")})
    assert form.status_code == 200
    assert service.row("raw")[2] == stored and service.row("form")[2] == stored


def test_policies_see_the_clients_own_metadata_before_the_bytes(service: Client, person: Client) -> None:
    service.sql("drop policy everything on storage.objects")
    service.sql(
        "create policy everything on storage.objects to authenticated"
        " using (true) with check (user_metadata ->> 'secret' = 'yes')"
    )
    own, other = b64('{"secret": "yes"}'), b64('{"secret": "no"}')
    assert person.refused(person.put("docs/a"))[0] == "403"
    assert person.refused(person.put("docs/a", x_metadata=other))[0] == "403"
    assert person.put("docs/a", x_metadata=own).status_code == 200
    assert person.http.post("/object/upload/sign/docs/b", headers={"x-metadata": own}).status_code == 200
    assert person.refused(person.http.post("/object/upload/sign/docs/b"))[0] == "403"
    place = {"bucketId": "docs", "sourceKey": "a", "destinationKey": "c"}
    assert person.http.post("/object/copy", json=place).status_code == 200
    place = {**place, "destinationKey": "d", "copyMetadata": False}
    assert person.refused(person.http.post("/object/copy", json=place))[0] == "403"
    for text, status in (('{"secret": "yes"}', 201), ("{}", 403)):
        metadata = f"bucketName {b64('docs')},objectName {b64('t')},metadata {b64(text)}"
        headers = {"tus-resumable": "1.0.0", "upload-length": "5", "upload-metadata": metadata}
        assert person.http.post("/upload/resumable", headers=headers).status_code == status


def test_empty_headers_are_none(service: Client) -> None:
    assert service.put("docs/a", cache_control="", content_type="", x_metadata="").status_code == 200
    metadata, own = service.row("a")[1:]
    assert (metadata["cacheControl"], metadata["mimetype"], own) == ("no-cache", "application/octet-stream", {})


def test_a_form_is_known_by_its_type_in_small_letters(service: Client) -> None:
    kind = "Multipart/Form-Data; boundary=x"
    assert service.put("docs/a", b"no form", content_type=kind).status_code == 200
    assert service.http.get("/object/docs/a").content == b"no form"


# ---- move and copy


def test_who_moves_an_object_owns_it(service: Client, person: Client) -> None:
    assert person.put("docs/a", x_robots_tag="noindex").status_code == 200
    before = person.row("a")[1]
    mover = service.acting(role="authenticated", sub=MOVER)
    place = {"bucketId": "docs", "sourceKey": "a", "destinationKey": "b"}
    assert mover.http.post("/object/move", json=place).status_code == 200
    owner, metadata, _ = mover.row("b")
    assert owner == MOVER
    assert "xRobotsTag" not in metadata and metadata["lastModified"] > before["lastModified"]
    place = {"bucketId": "docs", "sourceKey": "b", "destinationKey": "c"}
    assert service.http.post("/object/move", json=place).status_code == 200
    assert service.row("c")[0] == MOVER  # the service is nobody


def test_what_is_missing_is_not_moved_onto_itself(service: Client) -> None:
    place = {"bucketId": "docs", "sourceKey": "none", "destinationKey": "none"}
    assert service.refused(service.http.post("/object/move", json=place)) == ("404", "Object not found")


def test_a_copy_takes_whatever_metadata_it_is_given(service: Client) -> None:
    service.put("docs/a", x_metadata=b64('{"a": 1}'))
    given = {"cacheControl": "", "mimetype": "text/csv", "more": [1]}
    place = {"bucketId": "docs", "sourceKey": "a", "destinationKey": "b", "copyMetadata": False, "metadata": given}
    assert service.http.post("/object/copy", json=place).json()["metadata"].items() >= given.items()
    service.put("docs/c", x_metadata=b64('{"kept": 1}'))
    place = {"bucketId": "docs", "sourceKey": "a", "destinationKey": "c", "copyMetadata": False}
    assert service.http.post("/object/copy", json=place, headers={"x-upsert": "true"}).status_code == 200
    assert service.row("c")[2] == {"kept": 1}
    service.sql("update storage.objects set user_metadata = null where name = 'a'")
    place = {"bucketId": "docs", "sourceKey": "a", "destinationKey": "c"}
    assert service.http.post("/object/copy", json=place, headers={"x-upsert": "true"}).status_code == 200
    assert service.row("c")[2] is None


# ---- reading


def test_head_of_a_signed_url_looks_at_the_file(service: Client) -> None:
    service.put("docs/a")
    url = service.http.post("/object/sign/docs/a", json={"expiresIn": 60}).json()["signedURL"]
    with httpx.Client(base_url=service.url, trust_env=False) as http:
        part = http.head(url, headers={"range": "bytes=2-4"})
        assert (part.status_code, part.headers["content-range"], part.headers["content-length"]) == (
            206,
            "bytes 2-4/10",
            "3",
        )
        assert http.head(url, headers={"if-none-match": part.headers["etag"]}).status_code == 304
    whole = service.http.head("/object/docs/a", headers={"range": "bytes=2-4"})
    assert (whole.status_code, whole.headers["content-length"]) == (200, "10")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_another_etag_lets_caches_answer_while_they_ask(service: Client, method: str) -> None:
    service.put("docs/a", cache_control="max-age=9")
    headers = {"if-none-match": '"other"'}
    answer = service.http.request(method, "/object/docs/a", headers=headers)
    assert answer.headers["cache-control"] == "max-age=9, stale-while-revalidate=30"
    headers["if-modified-since"] = "2038-01-01T00:00:00Z"  # is asked for beside the etag, and read in any form
    answer = service.http.get("/object/docs/a", headers=headers)
    assert answer.status_code == 304 and answer.headers["cache-control"].endswith("stale-while-revalidate=30")


def test_info_tells_what_the_row_holds_and_no_more(service: Client) -> None:
    service.sql("insert into storage.objects (bucket_id, name) values ('docs', 'by hand')")
    info = service.http.get("/object/info/docs/by hand").json()
    assert {info[name] for name in ("size", "content_type", "cache_control", "etag", "metadata")} == {None}
    assert info["last_modified"] == info["created_at"]


def test_of_some_headers_the_first_counts(service: Client) -> None:
    service.put("docs/a")
    headers = [("content-type", "text/csv"), ("content-type", "text/html"), ("x-upsert", "true")]
    assert service.http.post("/object/docs/a", content=b"x", headers=headers).status_code == 200
    assert service.row("a")[1]["mimetype"] == "text/csv"


def test_the_bucket_is_looked_for_before_the_names_are_looked_at(service: Client) -> None:
    def said(method: str, path: str) -> int:
        answer = service.http.request(method, path)
        return int(answer.headers["content-length"]) if method == "HEAD" else answer.json()["message"]

    for path in (
        "/object/n%C3%B6/x",
        "/object/none/%C3%A9",
        "/object/info/none/%C3%A9",
        "/object/info/public/docs/%C3%A9",
    ):
        assert said("GET", path) == "Bucket not found"
    missing = len('{"statusCode":"404","error":"Bucket not found","message":"Bucket not found","code":"NoSuchBucket"}')
    assert said("HEAD", "/object/public/docs/%C3%A9") == missing
    # but for these
    assert said("GET", "/object/public/none/%C3%A9") == "Invalid key: é"
    assert said("GET", "/object/public/n%C3%B6/x") == "Bucket name invalid"
    assert said("GET", "/object/sign/n%C3%B6/x?token=x") == "Bucket name invalid"
    assert said("PUT", "/object/upload/sign/n%C3%B6/x?token=x") == "Bucket name invalid"


def test_a_key_that_no_object_has_is_not_signed(service: Client) -> None:
    for key in ("%C3%A9", ""):
        refused = service.http.post(f"/object/sign/docs/{key}", json={"expiresIn": 60})
        assert service.refused(refused)[1].startswith("Invalid key: ")


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ({"width": "x"}, "body/transform/width must be integer"),
        ({"height": -1}, "body/transform/height must be >= 0"),
        ({"quality": 101}, "body/transform/quality must be <= 100"),
        ({"resize": "crop"}, "body/transform/resize must be equal to one of the allowed values"),
    ],
)
def test_a_transformation_that_has_no_effect_must_be_one(
    service: Client, transform: dict[str, Any], words: str
) -> None:
    refused = service.http.post("/object/sign/docs/a", json={"expiresIn": 60, "transform": transform})
    assert service.refused(refused) == ("400", words)


# ---- list-v2


@pytest.mark.parametrize("cursor", ["l:a\nx:1", "l:a\n\n", "l", "c:size\nl:a", "", "l:a\no"])
def test_a_cursor_that_is_none(service: Client, cursor: str) -> None:
    answer = service.http.post("/object/list-v2/docs", json={"cursor": b64(cursor) or "!"})
    assert service.refused(answer) == ("400", "Invalid Parameter continuation token")


def test_a_cursor_names_the_column_that_was_asked_for(service: Client) -> None:
    for name in ("a", "b", "c"):
        service.put(f"docs/{name}")
    first = service.http.post("/object/list-v2/docs", json={"limit": 1, "sortBy": {"column": "name"}}).json()
    assert base64.b64decode(first["nextCursor"]) == b"l:a\nc:name"
    second = service.http.post("/object/list-v2/docs", json={"limit": 1, "cursor": first["nextCursor"]}).json()
    assert base64.b64decode(second["nextCursor"]) == b"l:b\no:asc\nc:name"
    third = service.http.post("/object/list-v2/docs", json={"cursor": second["nextCursor"]}).json()
    assert [found["name"] for found in third["objects"]] == ["c"]


def test_a_cursor_without_a_key_begins_at_the_beginning(service: Client) -> None:
    for name in ("a", "b"):
        service.put(f"docs/{name}")
    answer = service.http.post("/object/list-v2/docs", json={"cursor": b64("o:desc")})
    assert [found["name"] for found in answer.json()["objects"]] == ["b", "a"]


# ---- what is not served


def test_s3_is_told_in_its_own_form(service: Client) -> None:
    def asked(**headers: str) -> tuple[int, str]:
        with httpx.Client(base_url=service.url, trust_env=False) as http:
            answer = http.put("/s3/docs/a&b", content=b"x", headers=headers)
        assert answer.headers["content-type"] == "application/xml; charset=utf-8"
        assert "<Resource>docs/a&amp;b</Resource>" in answer.text
        return answer.status_code, answer.text.split("<Code>")[1].split("</Code>")[0]

    assert asked() == (403, "AccessDenied")
    assert asked(authorization="Bearer x") == (400, "InvalidSignature")
    assert asked(authorization="AWS4-HMAC-SHA256 Credential=…".replace("…", "a")) == (501, "NotImplemented")
    presigned = service.http.get("/s3/docs/a?X-Amz-Credential=a", headers={"authorization": "AWS4-HMAC-SHA256"})
    assert presigned.status_code == 501
    assert service.sql("select 1 from storage.objects") == []


def test_images_are_not_transformed_and_say_so(service: Client) -> None:
    service.put("docs/a")
    for path in ("/render/image/authenticated/docs/a?width=9", "/render/image/sign/docs/a?token=x"):
        answer = service.http.get(path)
        assert (answer.status_code, answer.json()["message"]) == (404, f"Route GET:{path} not found")


@pytest.mark.parametrize("path", REFUSED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_what_is_not_served_is_refused(service: Client, path: str, method: str) -> None:
    headers = {"authorization": "AWS4-HMAC-SHA256 Credential=a"}
    assert service.http.request(method, path, headers=headers).status_code == REFUSED[path][0]


def test_the_pages_of_the_documentation_are_told_to_be_elsewhere(service: Client) -> None:
    for path in ("/documentation", "/documentation/json"):
        answer = service.http.get(path)
        assert (answer.status_code, json.loads(answer.text)["code"]) == (501, "NotImplemented")
