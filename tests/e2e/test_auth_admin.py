"""The admin API through unmodified supabase-py: accounts made, found, changed, banned, deleted, and links generated."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import httpx
import pytest
from supabase_auth.errors import AuthApiError

from .auth_target import PASSWORD, address

if TYPE_CHECKING:
    from .conftest import Stack


def test_account_is_made_found_changed_and_deleted(stack: Stack) -> None:
    admin, email, renamed = stack.admin().auth.admin, address(), address()
    attributes = {
        "email": email,
        "password": PASSWORD,
        "email_confirm": True,
        "user_metadata": {"first_name": "Ana", "last_name": "Almeida"},
        "app_metadata": {"plan": "free"},
    }
    made = admin.create_user(attributes).user
    assert made.email == email and made.email_confirmed_at and made.last_sign_in_at is None
    assert made.user_metadata["first_name"] == "Ana"
    assert made.app_metadata["plan"] == "free" and made.app_metadata["provider"] == "email"
    assert [identity.provider for identity in made.identities or []] == ["email"]
    assert admin.get_user_by_id(made.id).user.email == email

    changes = {
        "email": renamed,
        "user_metadata": {"first_name": "Eva", "last_name": None},
        "app_metadata": {"plan": "pro"},
    }
    changed = admin.update_user_by_id(made.id, changes).user
    assert changed.email == renamed and changed.app_metadata["plan"] == "pro"
    assert changed.user_metadata["first_name"] == "Eva" and "last_name" not in changed.user_metadata
    session = stack.anonymous().auth.sign_in_with_password({"email": renamed, "password": PASSWORD}).session
    assert session and session.user and session.user.app_metadata["plan"] == "pro"

    admin.delete_user(made.id)
    with pytest.raises(AuthApiError) as gone:
        admin.get_user_by_id(made.id)
    assert (gone.value.status, gone.value.code) == (404, "user_not_found")
    with pytest.raises(AuthApiError):
        stack.anonymous().auth.sign_in_with_password({"email": renamed, "password": PASSWORD})


def test_unconfirmed_account_cannot_sign_in_until_it_is_confirmed(stack: Stack) -> None:
    admin, email = stack.admin().auth.admin, address()
    made = admin.create_user({"email": email, "password": PASSWORD}).user
    assert made.email_confirmed_at is None
    with pytest.raises(AuthApiError) as refusal:
        stack.anonymous().auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert (refusal.value.status, refusal.value.code) == (400, "email_not_confirmed")
    admin.update_user_by_id(made.id, {"email_confirm": True})
    assert stack.anonymous().auth.sign_in_with_password({"email": email, "password": PASSWORD}).session


def test_taken_address_is_refused(stack: Stack) -> None:
    admin, email = stack.admin().auth.admin, address()
    admin.create_user({"email": email, "password": PASSWORD, "email_confirm": True})
    other = admin.create_user({"email": address(), "password": PASSWORD, "email_confirm": True}).user
    for again in (
        lambda: admin.create_user({"email": email.upper(), "password": PASSWORD}),
        lambda: admin.update_user_by_id(other.id, {"email": email}),
    ):
        with pytest.raises(AuthApiError) as refusal:
            again()
        assert (refusal.value.status, refusal.value.code) == (422, "email_exists")


def test_banned_account_is_out_until_the_ban_ends(stack: Stack) -> None:
    admin, email, client = stack.admin().auth.admin, address(), stack.anonymous()
    made = admin.create_user({"email": email, "password": PASSWORD, "email_confirm": True}).user
    client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    admin.update_user_by_id(made.id, {"ban_duration": "1h30m"})
    for attempt in (
        client.auth.refresh_session,
        lambda: stack.anonymous().auth.sign_in_with_password({"email": email, "password": PASSWORD}),
    ):
        with pytest.raises(AuthApiError) as refusal:
            attempt()
        assert refusal.value.code == "user_banned"
    admin.update_user_by_id(made.id, {"ban_duration": "none"})
    assert stack.anonymous().auth.sign_in_with_password({"email": email, "password": PASSWORD}).session


def test_list_has_pages(stack: Stack) -> None:
    admin = stack.admin().auth.admin
    made = [admin.create_user({"email": address(), "password": PASSWORD}).user.id for _ in range(3)]
    first, second = admin.list_users(page=1, per_page=2), admin.list_users(page=2, per_page=2)
    assert [user.id for user in first] == made[:0:-1] and second[0].id == made[0]
    answer = httpx.get(
        f"{stack.supabase_url}/auth/v1/admin/users", params={"per_page": 2}, headers={"apikey": stack.secret_key}
    )
    assert int(answer.headers["x-total-count"]) >= 3 and 'rel="next"' in answer.headers["link"]


def test_generated_link_is_not_mailed_and_signs_in(stack: Stack) -> None:
    admin, email = stack.admin().auth.admin, address()
    admin.create_user({"email": email, "password": PASSWORD, "email_confirm": True})
    made = admin.generate_link({"type": "magiclink", "email": email}).properties
    assert made.action_link.startswith(f"{stack.issuer}/verify?token=")
    client = stack.anonymous()
    session = client.auth.verify_otp({"token_hash": made.hashed_token, "type": "magiclink"}).session
    assert session and session.user and session.user.email == email
    with pytest.raises(AuthApiError) as spent:
        client.auth.verify_otp({"token_hash": made.hashed_token, "type": "magiclink"})
    assert (spent.value.status, spent.value.code) == (403, "otp_expired")


@pytest.mark.parametrize("key", ["publishable", "person"])
def test_nobody_but_the_secret_key_is_an_admin(stack: Stack, key: str) -> None:
    headers = {"apikey": stack.publishable_key}
    if key == "person":
        headers["authorization"] = f"Bearer {stack.person().access_token}"
    for method, path in (
        ("GET", "/users"),
        ("POST", "/users"),
        ("DELETE", f"/users/{uuid.uuid4()}"),
        ("POST", "/generate_link"),
    ):
        answer = httpx.request(method, f"{stack.supabase_url}/auth/v1/admin{path}", headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "not_admin")


def test_wrong_ids_and_unknown_paths_are_refused(stack: Stack) -> None:
    base, headers = f"{stack.supabase_url}/auth/v1/admin", {"apikey": stack.secret_key}
    assert httpx.get(f"{base}/users/not-a-uuid", headers=headers).status_code == 404
    assert httpx.delete(f"{base}/users/{uuid.uuid4()}", headers=headers).status_code == 404
    assert httpx.get(f"{base}/nothing", headers=headers).status_code == 404
