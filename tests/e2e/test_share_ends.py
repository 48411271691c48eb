"""A share that ends by its date: from that second on nothing can be read, listed or signed, and old links die."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from tests.e2e.conftest import Account, Stack, wait_for


def ways_to_read(recipient: Account, document_id: str, archive_path: str) -> dict[str, Callable[[], bool]]:
    """Everything by which a recipient may come to a document, each telling whether it does."""
    stack, client = recipient.stack, recipient.client
    headers = {"Authorization": f"Bearer {recipient.access_token}", "apikey": stack.publishable_key}

    def rest(path: str) -> list[object]:
        answer = httpx.get(f"{stack.supabase_url}/rest/v1/{path}", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        rows: list[object] = answer.json()
        return rows

    def storage(method: str, path: str, **options: object) -> httpx.Response:
        url = f"{stack.supabase_url}/storage/v1/object/{path}"
        return httpx.request(method, url, headers=headers, timeout=30, **options)  # type: ignore[arg-type]

    def signs_many() -> bool:
        answer = storage("POST", "sign/archives", json={"expiresIn": 60, "paths": [archive_path]})
        return answer.status_code == 200 and bool(answer.json()[0].get("signedURL"))

    def requests_download() -> bool:
        call = httpx.post(
            f"{stack.supabase_url}/rest/v1/rpc/request_download",
            headers=headers, json={"document_id": document_id}, timeout=30,
        )  # fmt: skip
        assert call.status_code in (200, 404), call.text
        return call.status_code == 200

    return {
        "documents": lambda: bool(client.table("documents").select("id").eq("id", document_id).execute().data),
        "every document": lambda: bool(rest("documents?select=*")),
        "by its archive": lambda: bool(rest(f"documents?archive_path=eq.{archive_path}")),
        "shared_with_me": lambda: bool(rest("shared_with_me?select=*")),
        "document_shares": lambda: bool(rest("document_shares?select=document_id,document_name")),
        "request_download": requests_download,
        "the API": lambda: recipient.api("POST", f"/documents/{document_id}/download-url").status_code == 200,
        "Storage, download": lambda: storage("GET", f"authenticated/archives/{archive_path}").status_code == 200,
        "Storage, sign": lambda: storage("POST", f"sign/archives/{archive_path}", json={"expiresIn": 60}).is_success,
        "Storage, sign many": signs_many,
    }


def found(ways: dict[str, Callable[[], bool]]) -> dict[str, bool]:
    return {name: way() for name, way in ways.items()}


def share(owner: Account, document_id: str, recipient: Account, ends_at: datetime | None = None) -> dict[str, str]:
    arguments = {"document_id": document_id, "email": recipient.email}
    if ends_at is not None:
        arguments["expires_at"] = ends_at.isoformat()
    made: Any = owner.client.rpc("share_document", arguments).execute().data
    return dict(made)


def sign(recipient: Account, archive_path: str, seconds: int) -> str:
    """A link that the recipient signs for himself."""
    return str(recipient.client.storage.from_("archives").create_signed_url(archive_path, seconds)["signedURL"])


def expire_now(stack: Stack) -> None:
    """The schedule that comes every minute, at once."""
    with stack.database() as database:
        database.execute("select jobs.enqueue('expire_shares', null, null)")


def test_from_the_second_of_its_end_a_share_gives_nothing(stack: Stack, person: Account) -> None:
    recipient = stack.person()
    document = person.upload("report.txt", b"for your eyes")
    archive_path = person.wait(document["id"])["archive_path"]
    ends_at = (datetime.now(UTC) + timedelta(seconds=12)).replace(microsecond=0)
    share(person, document["id"], recipient, ends_at)
    ways = ways_to_read(recipient, document["id"], archive_path)
    assert set(found(ways).values()) == {True}, found(ways)

    # a link by the API ends with the share at the latest; one signed by the recipient himself may not
    made = recipient.api("POST", f"/documents/{document['id']}/download-url", json={"expires_in": 3600}).json()
    token = parse_qs(urlsplit(made["url"]).query)["token"][0]
    assert jwt.decode(token, options={"verify_signature": False})["exp"] <= ends_at.timestamp()
    assert datetime.fromisoformat(made["expires_at"]) <= ends_at
    signed = sign(recipient, archive_path, 10 * 365 * 86400)
    assert httpx.get(signed).status_code == 200

    assert datetime.now(UTC) < ends_at, "this machine is too slow for this test"
    wait_for(lambda: datetime.now(UTC) >= ends_at)
    assert found(ways) == dict.fromkeys(ways, False)
    assert httpx.get(made["url"]).status_code in (400, 404)
    expire_now(stack)
    wait_for(lambda: httpx.get(signed).status_code in (400, 404), 60)
    assert person.download(document["id"])[:2] == b"PK"


@pytest.mark.parametrize("end", ["revoke", "leave", "delete", "close", "role"])
def test_however_access_ends_nothing_is_read_afterwards_and_links_die(stack: Stack, end: str) -> None:
    owner, recipient = stack.person(), stack.person()
    document = owner.upload("report.txt", b"for your eyes")
    archive_path = owner.wait(document["id"])["archive_path"]
    made = share(owner, document["id"], recipient)
    ways = ways_to_read(recipient, document["id"], archive_path)
    assert set(found(ways).values()) == {True}, found(ways)
    signed = sign(recipient, archive_path, 86400)
    if end == "revoke":
        owner.client.rpc("revoke_share", {"share_id": made["id"]}).execute()
    elif end == "leave":
        recipient.client.rpc("leave_share", {"document_id": document["id"]}).execute()
    elif end == "delete":
        owner.client.rpc("delete_document", {"document_id": document["id"]}).execute()
    elif end == "close":
        owner.client.rpc("close_account").execute()
    else:
        with stack.database() as database:
            database.execute("delete from user_roles where user_id = %s", [recipient.id])
    assert found(ways) == dict.fromkeys(ways, False)
    wait_for(lambda: httpx.get(signed).status_code in (400, 404), 75)
