"""Invitations on the wire, where addresses are confirmed: nobody takes one whose address is not proven to be his.

Sign-ups with hostile metadata are here too: none breaks, and none gives more than a name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.e2e.auth_target import PASSWORD, AuthTarget, address, running
from tests.e2e.conftest import instashare, wait_for


@dataclass(frozen=True)
class Confirmed:
    """Somebody who is signed in, on a stack that has our migrations."""

    target: AuthTarget
    email: str
    token: str

    def rest(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"apikey": self.target.publishable_key, "Authorization": f"Bearer {self.token}"}
        headers |= options.pop("headers", {})
        return httpx.request(
            method, f"{self.target.supabase_url}/rest/v1{path}", headers=headers, timeout=30, **options
        )

    def documents(self) -> list[str]:
        return [row["id"] for row in self.rest("GET", "/documents?select=id").raise_for_status().json()]

    def share(self, email: str) -> str:
        """Add a document and share it with an address; its id."""
        row = {"name": "plan.pdf", "size_bytes": 1}
        answer = self.rest("POST", "/documents", json=row, headers={"Prefer": "return=representation"})
        document = str(answer.raise_for_status().json()[0]["id"])
        self.rest("POST", "/rpc/share_document", json={"document_id": document, "email": email}).raise_for_status()
        return document


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthTarget]:
    """A stack where addresses are confirmed, with our migrations."""
    with running(tmp_path_factory.mktemp("invitations"), "--confirm-email") as started:
        migrated = instashare("db", "migrate", "--data-dir", str(started.mail_dir.parent))
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        with started.database() as database:
            database.execute("notify pgrst, 'reload schema'")
        headers = {"apikey": started.secret_key}
        wait_for(lambda: httpx.get(f"{started.supabase_url}/rest/v1/documents", headers=headers).status_code == 200)
        yield started


def sign_in(target: AuthTarget, email: str) -> Confirmed:
    session = target.anonymous().auth.sign_in_with_password({"email": email, "password": PASSWORD}).session
    assert session is not None
    return Confirmed(target, email, session.access_token)


def confirmed(target: AuthTarget) -> Confirmed:
    email = address()
    target.admin().auth.admin.create_user({"email": email, "password": PASSWORD, "email_confirm": True})
    return sign_in(target, email)


def sign_up(target: AuthTarget, email: str, data: Any = None) -> httpx.Response:
    return target.call("POST", "/signup", json={"email": email, "password": PASSWORD, "data": data})


def follow(link: str) -> None:
    assert httpx.get(link, timeout=30).status_code == 303


def invitations(target: AuthTarget, email: str) -> int:
    with target.database() as database:
        row = database.execute("select count(*) from public.share_invitations where email = %s", [email]).fetchone()
    assert row is not None
    return int(row[0])


def test_an_unconfirmed_sign_up_takes_no_invitation_and_a_confirmed_one_does(target: AuthTarget) -> None:
    owner, invited = confirmed(target), address()
    document = owner.share(invited.upper())
    assert sign_up(target, invited).status_code == 200
    # tried to sign in, asked for another mail, asked for a new password: none of it proves the address
    refused = target.call("POST", "/token?grant_type=password", json={"email": invited, "password": PASSWORD})
    assert refused.status_code == 400
    target.call("POST", "/resend", json={"type": "signup", "email": invited})
    target.call("POST", "/recover", json={"email": invited})
    target.call("POST", "/magiclink", json={"email": invited})
    assert invitations(target, invited) == 1
    follow(target.mail(invited).links[0])
    assert sign_in(target, invited).documents() == [document]
    assert invitations(target, invited) == 0


def test_changing_one_s_address_to_an_invited_one_takes_nothing_before_both_mailboxes_agree(target: AuthTarget) -> None:
    owner, thief, invited = confirmed(target), confirmed(target), address()
    document = owner.share(invited)
    changed = target.call("PUT", "/user", thief.token, json={"email": invited})
    assert changed.status_code == 200, changed.text
    assert thief.documents() == []
    follow(target.mail(thief.email).links[0])
    assert thief.documents() == []
    assert invitations(target, invited) == 1
    follow(target.mail(invited).links[0])
    assert thief.documents() == [document]


def test_nobody_confirms_himself_by_what_he_writes(target: AuthTarget) -> None:
    owner, invited = confirmed(target), address()
    owner.share(invited)
    body = {
        "email": invited, "password": PASSWORD, "email_confirmed_at": "2026-01-01T00:00:00Z", "email_confirm": True,
        "confirmed_at": "2026-01-01T00:00:00Z", "role": "service_role", "app_metadata": {"role": "admin"},
        "data": {"email_verified": True, "role": "admin"},
    }  # fmt: skip
    target.call("POST", "/signup", json=body)
    assert invitations(target, invited) == 1
    with target.database() as database:
        rows = database.execute(
            "select r.name from public.user_roles u join public.roles r on r.id = u.role_id"
            " join public.profiles p on p.id = u.user_id where p.email = %s", [invited],
        ).fetchall()  # fmt: skip
        role = database.execute("select role from auth.users where email = %s", [invited]).fetchone()
    assert rows == [("member",)]
    assert role == ("authenticated",)


@pytest.mark.parametrize(
    "data",
    [
        {"first_name": "x" * 1_000_000},
        {"first_name": {"a": ["b"]}, "last_name": 7, "phone": True, "responsibility": None},
        {"first_name": "\u202e\U0001f600\n\t\x1b", "last_name": "\ufeff"},
        {"first_name": "'; drop table profiles; --", "last_name": "%s %I $1 \\"},
        [{"first_name": "a"}], "text", 42, None,
    ],
    ids=["a megabyte", "wrong types", "controls", "SQL", "a list", "a text", "a number", "null"],
)  # fmt: skip
def test_no_metadata_breaks_a_sign_up(target: AuthTarget, data: Any) -> None:
    """Answered as a sign-up or a refusal, never by a fault; whoever signed up has a profile and is a member."""
    email = address()
    answer = sign_up(target, email, data)
    assert answer.status_code < 500, answer.text
    with target.database() as database:
        accounts = database.execute("select id from auth.users where email = %s", [email]).fetchall()
        rows = database.execute(
            "select p.id, char_length(p.first_name) <= 100, r.name from public.profiles p"
            " join public.user_roles u on u.user_id = p.id join public.roles r on r.id = u.role_id where p.email = %s",
            [email],
        ).fetchall()
    assert answer.status_code >= 400 or len(accounts) == 1
    assert rows == [(account[0], True, "member") for account in accounts]


def test_metadata_that_no_database_holds_is_an_error_of_auth_that_leaves_nothing(target: AuthTarget) -> None:
    """A NUL or half a surrogate pair is no jsonb, so Auth itself answers with a fault, as a hosted project does."""
    email = address()
    body = json.dumps({"email": email, "password": PASSWORD, "data": {"first_name": "MARK"}})
    for bad in ('"\\ud800"', '"\\u0000"', '"\\uZZZZ"'):
        answer = httpx.post(
            f"{target.supabase_url}/auth/v1/signup",
            content=body.replace('"MARK"', bad),
            headers={"apikey": target.publishable_key, "Content-Type": "application/json"},
            timeout=30,
        )
        assert not answer.is_success
        with target.database() as database:
            assert database.execute("select 1 from auth.users where email = %s", [email]).fetchall() == []
    assert sign_up(target, email).status_code == 200
