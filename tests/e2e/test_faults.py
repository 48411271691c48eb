"""Bad input and forbidden calls over the wire: each has a clear answer and loses nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import jwt
import pytest
from postgrest.exceptions import APIError
from storage3.exceptions import StorageApiError

from local import installation as installations
from local.tokens import Issuer
from tests.e2e.conftest import Account, Stack, wait_for
from tests.e2e.test_main_job import unzip

BAD_NAMES = {
    "empty": "", "blank": "   ", "too long": "a" * 256, "too many bytes": "日" * 86, "slash": "a/b.txt",
    "backslash": "a\\b.txt", "control": "a\nb.txt", "bidi": "a\u202efdp.exe", "reserved": "aux.txt", "dots": "..",
}  # fmt: skip


@pytest.fixture
def paused(stack: Stack) -> Iterator[None]:
    """No job is claimed while the test runs."""
    with stack.database() as database:
        database.execute("select jobs.pause()")
        try:
            yield
        finally:
            database.execute("select jobs.resume()")


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_a_bad_name_is_refused_when_adding_and_when_renaming(person: Account, name: str) -> None:
    with pytest.raises(APIError) as refused:
        person.add(name, 1)
    assert (refused.value.code, refused.value.details) == ("PT422", "name_invalid")
    document = person.add("good.txt", 1)
    answer = person.api("PATCH", f"/documents/{document['id']}", json={"name": name})
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == "name_invalid"
    assert person.row(document["id"])["name"] == "good.txt"


def test_a_file_over_the_limit_is_refused_before_a_byte_moves(person: Account) -> None:
    with pytest.raises(APIError) as refused:
        person.add("huge.bin", 5_000_000_001)
    assert (refused.value.code, refused.value.details) == ("PT413", "file_too_large")


def test_a_file_of_another_size_than_announced_is_refused_and_can_be_sent_again(person: Account) -> None:
    document = person.add("a.txt", 5)
    with pytest.raises(StorageApiError) as refused:
        person.store(document, b"123456")
    assert "announced with 5 bytes, but 6 arrived" in refused.value.message
    assert person.row(document["id"])["status"] == "uploading"
    person.store(document, b"12345")
    person.wait(document["id"])
    assert unzip(person.download(document["id"])) == ("a.txt", b"12345")


def test_a_second_upload_of_the_same_document_is_refused(person: Account) -> None:
    document = person.upload("once.txt", b"first")
    for upsert in ("false", "true"):
        with pytest.raises(StorageApiError) as refused:
            person.client.storage.from_("documents").upload(
                f"{person.id}/{document['id']}", b"other", {"upsert": upsert}
            )
        assert str(refused.value.status) == "403"
    person.wait(document["id"])
    assert unzip(person.download(document["id"])) == ("once.txt", b"first")


def test_nobody_uploads_reads_renames_or_downloads_somebody_elses_document(person: Account, stranger: Account) -> None:
    document = person.add("mine.txt", 5)
    with pytest.raises(StorageApiError) as refused:
        stranger.client.storage.from_("documents").upload(f"{person.id}/{document['id']}", b"other")
    assert str(refused.value.status) == "403"
    person.store(document, b"bytes")
    row = person.wait(document["id"])
    assert stranger.client.table("documents").select("id").eq("id", document["id"]).execute().data == []
    assert stranger.api("PATCH", f"/documents/{document['id']}", json={"name": "yours.txt"}).status_code == 404
    assert stranger.api("POST", f"/documents/{document['id']}/download-url").status_code == 404
    with pytest.raises(StorageApiError):
        stranger.client.storage.from_("archives").create_signed_url(row["archive_path"], 60)
    with pytest.raises(StorageApiError):
        stranger.client.storage.from_("archives").download(row["archive_path"])
    assert stranger.client.storage.from_("archives").list(f"{person.id}/{document['id']}") == []
    # not even the owner touches the original again
    with pytest.raises(StorageApiError):
        person.client.storage.from_("documents").download(f"{person.id}/{document['id']}")
    assert person.client.storage.from_("documents").remove([f"{person.id}/{document['id']}"]) == []
    assert unzip(person.download(document["id"])) == ("mine.txt", b"bytes")


def test_a_zip_asked_for_before_it_is_ready_is_409_with_its_status(person: Account, paused: None) -> None:
    document = person.add("slow.txt", 4)
    answer = person.api("POST", f"/documents/{document['id']}/download-url")
    assert (answer.status_code, answer.json()["code"]) == (409, "document_not_ready")
    assert answer.json()["document_status"] == "uploading"
    person.store(document, b"1234")
    answer = person.api("POST", f"/documents/{document['id']}/download-url")
    assert answer.status_code == 409
    assert int(answer.headers["retry-after"]) >= 1


def test_a_rename_raises_the_revision_and_the_archives_entry_follows(person: Account) -> None:
    document = person.upload("before.txt", b"the same bytes")
    person.wait(document["id"])
    path = f"/documents/{document['id']}"
    stale = person.api("PATCH", path, json={"name": "x.txt"}, headers={"If-Match": '"7"'})
    assert (stale.status_code, stale.headers["content-type"]) == (412, "application/problem+json")
    renamed = person.api("PATCH", path, json={"name": "después.txt"}, headers={"If-Match": '"1"'})
    assert renamed.status_code == 200, renamed.text
    assert (renamed.headers["etag"], renamed.json()["name"], renamed.json()["name_revision"]) == (
        '"2"',
        "después.txt",
        2,
    )
    wait_for(lambda: person.row(document["id"])["archive_name_revision"] == 2)
    assert unzip(person.download(document["id"])) == ("después.txt", b"the same bytes")


def forged(stack: Stack, person: Account) -> dict[str, str]:
    """Tokens that must not be believed; local stacks only, since it takes their signing key."""
    if stack.data_dir is None:
        pytest.skip("only a local stack's signing key is known")
    installation = installations.load(stack.data_dir)
    issuer = Issuer(installation.secrets.signing_key, installation.auth_issuer)
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    other = Issuer(
        {**installations.new_signing_key(), "kid": installation.secrets.signing_key["kid"]}, installation.auth_issuer
    )
    past = {**claims, "iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
    return {
        "expired": issuer.access_token(past),
        "forged": other.access_token(claims),
        "unsigned": jwt.encode(claims, None, algorithm="none"),
        "symmetric": jwt.encode(claims, installation.secrets.publishable_key.ljust(32, "x"), algorithm="HS256"),
        "garbage": "abc.def.ghi",
    }


@pytest.mark.parametrize("kind", ["expired", "forged", "unsigned", "symmetric", "garbage"])
def test_a_token_that_must_not_be_believed_opens_nothing(stack: Stack, person: Account, kind: str) -> None:
    token = forged(stack, person)[kind]
    document = person.add("t.txt", 1)
    headers = {"Authorization": f"Bearer {token}", "apikey": stack.publishable_key}
    answer = httpx.post(f"{stack.backend_url}/documents/{document['id']}/download-url", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert "bearer" in answer.headers["www-authenticate"].lower()
    assert httpx.get(f"{stack.supabase_url}/rest/v1/documents", headers=headers).status_code == 401
    url = f"{stack.supabase_url}/storage/v1/object/documents/{person.id}/{document['id']}"
    answer = httpx.post(url, headers=headers, content=b"1")
    assert (answer.status_code, answer.json()["statusCode"]) == (400, "403")
    assert person.row(document["id"])["status"] == "uploading"


def test_no_token_opens_nothing(stack: Stack, person: Account) -> None:
    document = person.add("t.txt", 1)
    answer = httpx.post(f"{stack.backend_url}/documents/{document['id']}/download-url")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
    key = {"apikey": stack.publishable_key}
    assert httpx.get(f"{stack.supabase_url}/rest/v1/documents", headers=key).status_code in (401, 403)
    assert httpx.get(f"{stack.supabase_url}/rest/v1/documents").status_code == 401
    url = f"{stack.supabase_url}/storage/v1/object/documents/{person.id}/{document['id']}"
    assert httpx.post(url, headers=key, content=b"1").status_code == 400
    assert person.row(document["id"])["status"] == "uploading"


def test_sharing_lets_the_recipient_download_until_it_is_revoked(person: Account, stranger: Account) -> None:
    recipient = person.stack.person()
    document = person.upload("shared.txt", b"for both")
    person.wait(document["id"])
    path = f"/documents/{document['id']}/download-url"
    assert recipient.api("POST", path).status_code == 404
    share = (
        person.client.rpc("share_document", {"document_id": document["id"], "email": recipient.email}).execute().data
    )
    assert unzip(recipient.download(document["id"])) == ("shared.txt", b"for both")
    assert recipient.api("PATCH", f"/documents/{document['id']}", json={"name": "x.txt"}).status_code == 403
    assert [row["id"] for row in recipient.client.table("shared_with_me").select("*").execute().data] == [
        document["id"]
    ]
    assert stranger.api("POST", path).status_code == 404
    link = recipient.api("POST", path, json={"expires_in": 3600}).json()["url"]
    assert httpx.get(link).status_code == 200
    person.client.rpc("revoke_share", {"share_id": share["id"]}).execute()
    assert recipient.api("POST", path).status_code == 404
    wait_for(lambda: httpx.get(link).status_code != 200)  # signed before the revocation, dead after it
    assert unzip(person.download(document["id"])) == ("shared.txt", b"for both")


def test_delete_hides_restore_brings_back_and_purge_leaves_no_bytes(stack: Stack, person: Account) -> None:
    document = person.upload("trash.txt", b"rubbish")
    person.wait(document["id"])
    person.client.rpc("delete_document", {"document_id": document["id"]}).execute()
    assert person.api("POST", f"/documents/{document['id']}/download-url").status_code == 404
    person.client.rpc("restore_document", {"document_id": document["id"]}).execute()
    assert unzip(person.download(document["id"])) == ("trash.txt", b"rubbish")
    person.client.rpc("delete_document", {"document_id": document["id"]}).execute()
    person.client.rpc("purge_document", {"document_id": document["id"]}).execute()
    with stack.database() as database:
        rows = "select from documents where id = %s"
        wait_for(lambda: not database.execute(rows, [document["id"]]).fetchone())
        # an archive that the deletion had moved when the purge came is removed by the job that had moved it
        objects = "select from storage.objects where name like %s"
        wait_for(lambda: not database.execute(objects, [f"{person.id}/{document['id']}%"]).fetchone())
