"""Signing up, in and out through unmodified supabase-py: what a hosted project answers, by the same codes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from .auth_target import PASSWORD, address

if TYPE_CHECKING:
    from .conftest import Stack


def _sign_up(stack: Stack, email: str, **data: str) -> None:
    made = {"email": email, "password": PASSWORD, "email_confirm": True, "user_metadata": data}
    stack.admin().auth.admin.create_user(made)


def test_access_token_has_hosted_claims_and_verifies_by_the_published_keys(stack: Stack) -> None:
    email = address()
    _sign_up(stack, email, first_name="Ana")
    client = stack.anonymous()
    before = int(time.time())
    answer = client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert answer.session and answer.user
    keys = jwt.PyJWKClient(f"{stack.supabase_url}/auth/v1/.well-known/jwks.json")
    token = answer.session.access_token
    key = keys.get_signing_key_from_jwt(token).key
    claims = jwt.decode(token, key, algorithms=["ES256", "RS256"], audience="authenticated", issuer=stack.issuer)
    assert claims["sub"] == answer.user.id and claims["email"] == email
    assert claims["role"] == "authenticated" and claims["aal"] == "aal1" and claims["is_anonymous"] is False
    assert claims["amr"][0]["method"] == "password" and claims["amr"][0]["timestamp"] >= before - 5
    assert claims["user_metadata"]["first_name"] == "Ana" and claims["app_metadata"]["provider"] == "email"
    assert claims["phone"] == "" and claims["session_id"]
    assert claims["exp"] - claims["iat"] == answer.session.expires_in
    verified = client.auth.get_claims()
    assert verified and verified["claims"]["sub"] == answer.user.id


def test_wrong_password_and_unknown_address_answer_alike(stack: Stack) -> None:
    email = address()
    _sign_up(stack, email)
    told = []
    for someone, password in ((email, "wrong horse"), (address(), PASSWORD)):
        with pytest.raises(AuthApiError) as refusal:
            stack.anonymous().auth.sign_in_with_password({"email": someone, "password": password})
        told.append((refusal.value.status, refusal.value.code, refusal.value.message))
    assert told[0] == told[1] == (400, "invalid_credentials", "Invalid login credentials")


def test_weak_password_is_refused(stack: Stack) -> None:
    with pytest.raises(AuthWeakPasswordError):
        stack.anonymous().auth.sign_up({"email": address(), "password": "12345"})


def test_person_reads_and_changes_the_own_account(stack: Stack) -> None:
    email = address()
    _sign_up(stack, email)
    client = stack.anonymous()
    client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    read = client.auth.get_user()
    assert read and read.user.email == email and read.user.email_confirmed_at and read.user.last_sign_in_at
    changed = client.auth.update_user(
        {"data": {"first_name": "Eva", "nothing": None}, "password": "another horse"}
    ).user
    assert changed.user_metadata["first_name"] == "Eva" and "nothing" not in changed.user_metadata
    with pytest.raises(AuthApiError) as same:
        client.auth.update_user({"password": "another horse"})
    assert (same.value.status, same.value.code) == (422, "same_password")
    with pytest.raises(AuthApiError):
        stack.anonymous().auth.sign_in_with_password({"email": email, "password": PASSWORD})
    stack.anonymous().auth.sign_in_with_password({"email": email, "password": "another horse"})


def test_new_password_signs_the_others_out(stack: Stack) -> None:
    email = address()
    _sign_up(stack, email)
    mine, others = stack.anonymous(), stack.anonymous()
    for client in (mine, others):
        client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    mine.auth.update_user({"password": "another horse"})
    assert mine.auth.refresh_session().session
    with pytest.raises(AuthApiError) as refusal:
        others.auth.refresh_session()
    assert refusal.value.status == 400


def test_refresh_rotates_and_keeps_the_session(stack: Stack) -> None:
    email = address()
    _sign_up(stack, email)
    client = stack.anonymous()
    first = client.auth.sign_in_with_password({"email": email, "password": PASSWORD}).session
    second = client.auth.refresh_session().session
    assert first and second and first.refresh_token != second.refresh_token

    def claims(token: str) -> dict[str, object]:
        return jwt.decode(token, options={"verify_signature": False})

    before, after = claims(first.access_token), claims(second.access_token)
    assert before["session_id"] == after["session_id"] and before["amr"] == after["amr"]


def _refresh(stack: Stack, token: str) -> httpx.Response:
    return httpx.post(
        f"{stack.supabase_url}/auth/v1/token",
        params={"grant_type": "refresh_token"},
        headers={"apikey": stack.publishable_key},
        json={"refresh_token": token},
        timeout=30,
    )


def test_refreshes_of_one_token_at_once_end_in_one_session(stack: Stack) -> None:
    email = address()
    _sign_up(stack, email)
    session = stack.anonymous().auth.sign_in_with_password({"email": email, "password": PASSWORD}).session
    assert session
    gate = threading.Barrier(8)

    def refresh() -> httpx.Response:
        gate.wait()
        return _refresh(stack, session.refresh_token)

    with ThreadPoolExecutor(8) as threads:
        answers = [done.result() for done in [threads.submit(refresh) for _ in range(8)]]
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert _refresh(stack, answers[0].json()["refresh_token"]).status_code == 200


def test_unknown_refresh_token_is_refused(stack: Stack) -> None:
    answer = _refresh(stack, "00000000-0000-4000-8000-000000000000")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "refresh_token_not_found")


def test_sign_out_ends_the_session_for_good(stack: Stack) -> None:
    email = address()
    _sign_up(stack, email)
    client = stack.anonymous()
    session = client.auth.sign_in_with_password({"email": email, "password": PASSWORD}).session
    assert session
    client.auth.sign_out()
    assert client.auth.get_session() is None
    assert _refresh(stack, session.refresh_token).status_code == 400
    answer = httpx.get(
        f"{stack.supabase_url}/auth/v1/user",
        headers={"apikey": stack.publishable_key, "authorization": f"Bearer {session.access_token}"},
    )
    assert (answer.status_code, answer.json()["error_code"]) == (403, "session_not_found")


def test_sign_out_of_others_leaves_this_one(stack: Stack) -> None:
    email = address()
    _sign_up(stack, email)
    mine, others = stack.anonymous(), stack.anonymous()
    for client in (mine, others):
        client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    mine.auth.sign_out({"scope": "others"})
    assert mine.auth.refresh_session().session
    with pytest.raises(AuthApiError):
        others.auth.refresh_session()


@pytest.mark.parametrize("token", ["abc", "a.b.c", jwt.encode({"sub": "x", "exp": 9999999999}, "k" * 32)])
def test_token_that_nobody_issued_is_refused(stack: Stack, token: str) -> None:
    headers = {"apikey": stack.publishable_key, "authorization": f"Bearer {token}"}
    answer = httpx.get(f"{stack.supabase_url}/auth/v1/user", headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "bad_jwt")
    assert httpx.get(f"{stack.supabase_url}/rest/v1/limits", headers=headers).status_code == 401
