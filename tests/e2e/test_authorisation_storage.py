"""Attacks on Storage: keys of others and one's own originals, by every operation and every way of uploading."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jwt
import pytest

from tests.e2e.authorisation_prey import SECRET, Prey, encode, new_prey, send, storage
from tests.e2e.conftest import Account, Stack


@pytest.fixture(scope="module")
def prey(stack: Stack) -> Prey:
    return new_prey(stack)


@pytest.fixture(scope="module")
def thief(stack: Stack) -> Account:
    """Somebody with an account and bad intentions."""
    return stack.person()


@pytest.fixture(autouse=True)
def unharmed(prey: Prey) -> Iterator[None]:
    """Whatever was answered: the document, its shares and its bytes are as they were."""
    yield
    prey.whole()


TUS = {"Tus-Resumable": "1.0.0"}


def metadata(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def begin(account: Account, key: str, size: int, **headers: str) -> httpx.Response:
    given = {**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata(bucketName="documents", objectName=key)}
    return storage(account, "POST", "/upload/resumable", headers={**given, **headers})


def resume(account: Account, place: str, offset: int, data: bytes) -> httpx.Response:
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    path = httpx.URL(place).path.removeprefix("/storage/v1")
    return storage(account, "PATCH", path, headers=headers, content=data)


def versions(stack: Stack, key: str) -> list[Any]:
    with stack.database() as database:
        return database.execute("select version, metadata from storage.objects where name = %s", [key]).fetchall()


def test_another_s_resumable_upload_is_not_continued_ended_or_looked_into(
    stack: Stack, thief: Account, prey: Prey
) -> None:
    document = prey.owner.add("large.bin", 10)
    begun = begin(prey.owner, f"{prey.owner.id}/{document['id']}", 10)
    place = begun.headers["location"]
    path = httpx.URL(place).path.removeprefix("/storage/v1")
    assert resume(thief, place, 0, b"evil bytes").status_code >= 400
    assert storage(thief, "DELETE", path, headers=TUS).status_code >= 400
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    unsigned = send(stack, None, "PATCH", f"/storage/v1{path}", headers=headers, content=b"evil bytes")
    assert unsigned.status_code >= 400
    finished = resume(prey.owner, place, 0, b"good bytes")
    assert finished.status_code == 204, finished.text
    assert prey.owner.wait(document["id"])["status"] == "ready"
    assert resume(thief, place, 10, b"more").status_code >= 400
    assert resume(prey.owner, place, 10, b"more").status_code >= 400
    prey.owner.client.rpc("delete_document", {"document_id": document["id"]}).execute()


def test_an_own_original_is_not_touched_once_it_is_there(stack: Stack, prey: Prey) -> None:
    """Its owner neither reads, overwrites, moves, copies, lists, signs nor uploads it again by any operation."""
    key, owner = prey.original, prey.owner
    before = versions(stack, key)
    other = owner.add("other.txt", len(SECRET))
    open_key = f"{owner.id}/{other['id']}"
    attacks = {
        "read": storage(owner, "GET", f"/object/authenticated/documents/{key}"),
        "read plainly": storage(owner, "GET", f"/object/documents/{key}"),
        "read publicly": storage(owner, "GET", f"/object/public/documents/{key}"),
        "head": storage(owner, "HEAD", f"/object/documents/{key}"),
        "info": storage(owner, "GET", f"/object/info/documents/{key}"),
        "upload": storage(owner, "POST", f"/object/documents/{key}", content=b"x" * len(SECRET)),
        "upsert": storage(owner, "POST", f"/object/documents/{key}", content=SECRET, headers={"x-upsert": "true"}),
        "put": storage(owner, "PUT", f"/object/documents/{key}", content=SECRET),
        "sign": storage(owner, "POST", f"/object/sign/documents/{key}", json={"expiresIn": 60}),
        "signed upload": storage(owner, "POST", f"/object/upload/sign/documents/{key}", headers={"x-upsert": "true"}),
        "resumable": begin(owner, key, len(SECRET)),
        "resumable upsert": begin(owner, key, len(SECRET), **{"x-upsert": "true"}),
        "move": storage(owner, "POST", "/object/move",
                        json={"bucketId": "documents", "sourceKey": key, "destinationKey": open_key}),
        "copy": storage(owner, "POST", "/object/copy",
                        json={"bucketId": "documents", "sourceKey": key, "destinationKey": open_key}),
        "copy to archives": storage(owner, "POST", "/object/copy", json={
            "bucketId": "documents", "sourceKey": key, "destinationBucket": "archives", "destinationKey": key}),
        "delete": storage(owner, "DELETE", f"/object/documents/{key}"),
    }  # fmt: skip
    assert {name: answer.status_code for name, answer in attacks.items() if answer.is_success} == {}
    many = storage(owner, "DELETE", "/object/documents", json={"prefixes": [key]})
    assert not many.is_success or many.json() == []
    for listing in ("list", "list-v2"):
        answer = storage(owner, "POST", f"/object/{listing}/documents", json={"prefix": f"{owner.id}/", "limit": 100})
        assert not answer.is_success or key.split("/")[1] not in answer.text
    signed = storage(owner, "POST", "/object/sign/documents", json={"expiresIn": 60, "paths": [key]})
    assert not signed.is_success or signed.json()[0].get("signedURL") is None
    assert versions(stack, key) == before
    assert versions(stack, open_key) == []
    owner.client.rpc("delete_document", {"document_id": other["id"]}).execute()


@pytest.mark.parametrize(
    "key",
    [
        "{thief}/{document}", "{owner}/{upload}", "{owner}/../{thief}/{upload}", "{owner}%2F{upload}",
        "{OWNER}/{upload}", "{owner}//{upload}", "{owner}/{upload}/x", "{upload}",
    ],
)  # fmt: skip
def test_no_key_but_one_s_own_takes_bytes(stack: Stack, prey: Prey, thief: Account, key: str) -> None:
    document = prey.owner.add("open.txt", 4)
    names = {"owner": prey.owner.id, "OWNER": prey.owner.id.upper(), "thief": thief.id, "document": prey.id}
    key = key.format(**names, upload=document["id"])
    for method, path in (("POST", f"/object/documents/{key}"), ("PUT", f"/object/documents/{key}"),
                         ("POST", f"/object/upload/sign/documents/{key}")):  # fmt: skip
        assert storage(thief, method, path, content=b"evil").status_code >= 400
    assert begin(thief, key, 4).status_code >= 400
    assert prey.owner.row(document["id"])["status"] == "uploading"
    assert versions(stack, f"{prey.owner.id}/{document['id']}") == []
    prey.owner.client.rpc("delete_document", {"document_id": document["id"]}).execute()


def test_of_uploads_that_race_one_wins_and_its_bytes_are_whole(stack: Stack, thief: Account) -> None:
    contents = [bytes([65 + number]) * 300_000 for number in range(4)]
    document = thief.add("race.bin", len(contents[0]))
    key, barrier = f"{thief.id}/{document['id']}", threading.Barrier(len(contents))

    def upload(data: bytes) -> bool:
        barrier.wait(30)
        return storage(thief, "POST", f"/object/documents/{key}", content=data).is_success

    with ThreadPoolExecutor(len(contents)) as pool:
        won = list(pool.map(upload, contents))
    assert sum(won) == 1
    thief.wait(document["id"])
    assert len(versions(stack, key)) == 1
    secret = {"apikey": stack.secret_key}
    kept = httpx.get(f"{stack.supabase_url}/storage/v1/object/documents/{key}", headers=secret).content
    assert kept == contents[won.index(True)]


@pytest.mark.parametrize("size", [0, 3, 5, 200_000])
def test_a_size_other_than_announced_is_refused_however_it_comes(stack: Stack, thief: Account, size: int) -> None:
    """With a length, chunked without one, as a form, resumable; no row and no bytes stay, and the right size goes."""
    document = thief.add("lie.bin", 4)
    key = f"{thief.id}/{document['id']}"
    data = b"x" * size

    def chunks() -> Iterator[bytes]:
        yield from (data[at : at + 65536] for at in range(0, len(data), 65536))

    answers = {
        "length": storage(thief, "POST", f"/object/documents/{key}", content=data),
        "chunked": storage(thief, "POST", f"/object/documents/{key}", content=chunks()),
        "form": storage(thief, "POST", f"/object/documents/{key}", files={"": ("a", data)}),
    }
    assert {name for name, answer in answers.items() if answer.is_success} == set()
    begun = begin(thief, key, size)
    if begun.is_success:
        assert not resume(thief, begun.headers["location"], 0, data).is_success
    assert versions(stack, key) == []
    assert thief.row(document["id"])["status"] == "uploading"
    assert storage(thief, "POST", f"/object/documents/{key}", content=iter([b"ri", b"ght"[:2]])).is_success
    thief.wait(document["id"])


def test_a_link_is_for_its_archive_alone(stack: Stack, prey: Prey, thief: Account) -> None:
    """A token of a signed link moved to another key, changed, or used as an access token opens nothing."""
    own = thief.upload("mine.txt", b"mine")
    path = thief.wait(own["id"])["archive_path"]
    link = storage(thief, "POST", f"/object/sign/archives/{path}", json={"expiresIn": 600}).json()["signedURL"]
    token = link.partition("token=")[2]
    for target in (
        f"archives/{prey.document['archive_path']}",
        f"documents/{prey.original}",
        f"documents/{thief.id}/{own['id']}",
    ):
        assert httpx.get(f"{stack.supabase_url}/storage/v1/object/sign/{target}?token={token}").status_code >= 400
        assert httpx.put(
            f"{stack.supabase_url}/storage/v1/object/upload/sign/{target}?token={token}", content=b"x"
        ).status_code >= 400  # fmt: skip
    for at in ("/rest/v1/documents", f"/storage/v1/object/authenticated/archives/{path}", "/auth/v1/user"):
        assert send(stack, token, "GET", at).status_code >= 400
    head, _, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    for changed in ({**claims, "url": f"archives/{prey.document['archive_path']}"}, {**claims, "exp": 2**33}):
        forged = f"{head}.{encode(changed)}.{signature}"
        target = changed["url"]
        assert httpx.get(f"{stack.supabase_url}/storage/v1/object/sign/{target}?token={forged}").status_code >= 400
