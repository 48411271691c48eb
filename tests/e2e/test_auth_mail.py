"""Mailed links and codes where addresses are confirmed: sign-up, recovery, magic link, new address, invitation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import httpx
import jwt
import pytest
from supabase_auth.errors import AuthApiError

from .auth_target import PASSWORD, AuthTarget, address, running

LANDING = "http://127.0.0.1:3999/landing?x=1"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthTarget]:
    with running(tmp_path_factory.mktemp("confirming"), "--confirm-email") as started:
        yield started


def _follow(link: str) -> tuple[str, dict[str, str]]:
    """Follow a mailed link as a browser does; the address it leads to and the parts of its fragment."""
    answer = httpx.get(link, timeout=30)
    assert answer.status_code == 303, answer.text
    place, _, fragment = answer.headers["location"].partition("#")
    return place, dict(parse_qsl(fragment))


def _code(target: AuthTarget, to: str) -> str:
    found = re.search(r"\b\d{6}\b", target.mail(to).text)
    assert found
    return found[0]


def _sign_up(target: AuthTarget, email: str) -> None:
    options = {"email_redirect_to": LANDING, "data": {"first_name": "Ana"}}
    answer = target.anonymous().auth.sign_up({"email": email, "password": PASSWORD, "options": options})
    assert answer.session is None and answer.user and answer.user.email == email


def _confirmed(target: AuthTarget) -> str:
    email = address()
    target.admin().auth.admin.create_user({"email": email, "password": PASSWORD, "email_confirm": True})
    return email


def test_link_confirms_an_address_once_and_leads_where_the_client_said(target: AuthTarget) -> None:
    email = address()
    _sign_up(target, email)
    with pytest.raises(AuthApiError) as refusal:
        target.anonymous().auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert refusal.value.code == "email_not_confirmed"
    with pytest.raises(AuthApiError) as wrong:  # only the owner of the password learns that
        target.anonymous().auth.sign_in_with_password({"email": email, "password": "wrong horse"})
    assert wrong.value.code == "invalid_credentials"

    (link,) = target.mail(email).links
    assert link.startswith(f"{target.supabase_url}/auth/v1/verify?")
    place, parts = _follow(link)
    assert place == LANDING and parts["type"] == "signup" and parts["token_type"] == "bearer"
    assert jwt.get_unverified_header(parts["access_token"])["alg"] == "ES256"
    person = target.call("GET", "/user", parts["access_token"]).json()
    assert person["email"] == email and person["email_confirmed_at"] and person["user_metadata"]["first_name"] == "Ana"
    assert target.anonymous().auth.sign_in_with_password({"email": email, "password": PASSWORD}).session

    place, parts = _follow(link)
    assert place == LANDING and parts["error_code"] == "otp_expired" and "access_token" not in parts


def test_code_confirms_as_well(target: AuthTarget) -> None:
    email = address()
    _sign_up(target, email)
    client = target.anonymous()
    with pytest.raises(AuthApiError) as refusal:
        client.auth.verify_otp({"email": email, "token": "00000x", "type": "email"})
    assert (refusal.value.status, refusal.value.code) == (403, "otp_expired")
    session = client.auth.verify_otp({"email": email, "token": _code(target, email), "type": "email"}).session
    assert session and session.user and session.user.email_confirmed_at


def test_expired_link_confirms_nothing(target: AuthTarget) -> None:
    email = address()
    _sign_up(target, email)
    with target.database() as database:
        database.execute(
            "update auth.users set confirmation_sent_at = now() - interval '61 minutes' where email = %s", [email]
        )
    _, parts = _follow(target.mail(email).links[0])
    assert parts["error_code"] == "otp_expired"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/x", "javascript:alert(1)", "//evil.example", "http://127.0.0.1.evil.example/"]
)
def test_link_leads_to_no_foreign_place(target: AuthTarget, elsewhere: str) -> None:
    email = _confirmed(target)
    target.anonymous().auth.reset_password_for_email(email, {"redirect_to": elsewhere})
    link = target.mail(email).links[0]
    place, _ = _follow(re.sub("redirect_to=.*", f"redirect_to={elsewhere}", link))
    assert urlsplit(place).hostname == "127.0.0.1"


def test_sign_up_again_tells_nothing_about_a_known_address(target: AuthTarget) -> None:
    known, before = _confirmed(target), 0
    before = len(list(target.mail_dir.glob("*.json")))
    client = target.anonymous()
    again = client.auth.sign_up({"email": known, "password": PASSWORD})
    new = client.auth.sign_up({"email": address(), "password": PASSWORD})
    assert again.user and new.user and again.session is None
    assert again.user.id != new.user.id and again.user.identities == []
    assert len(list(target.mail_dir.glob("*.json"))) == before + 1


def test_sign_up_again_and_resend_mail_a_new_link_to_an_unconfirmed_address(target: AuthTarget) -> None:
    email = address()
    _sign_up(target, email)
    first = target.mail(email).links[0]
    _sign_up(target, email)
    second = target.mail(email).links[0]
    target.anonymous().auth.resend({"type": "signup", "email": email, "options": {"email_redirect_to": LANDING}})
    third = target.mail(email).links[0]
    assert len({first, second, third}) == 3
    assert "error_code" in _follow(first)[1] and "access_token" in _follow(third)[1]


def test_recovery_lets_a_person_choose_a_new_password(target: AuthTarget) -> None:
    email = _confirmed(target)
    client = target.anonymous()
    client.auth.reset_password_for_email(email, {"redirect_to": LANDING})
    place, parts = _follow(target.mail(email).links[0])
    assert place == LANDING and parts["type"] == "recovery"
    client.auth.set_session(parts["access_token"], parts["refresh_token"])
    client.auth.update_user({"password": "a new horse"})
    assert target.anonymous().auth.sign_in_with_password({"email": email, "password": "a new horse"}).session
    client.auth.reset_password_for_email(address())  # an unknown address answers alike


def test_magic_link_signs_in_and_proves_the_address(target: AuthTarget) -> None:
    client, email = target.anonymous(), _confirmed(target)
    client.auth.sign_in_with_otp({"email": email, "options": {"email_redirect_to": LANDING}})
    assert "access_token" in _follow(target.mail(email).links[0])[1]
    with pytest.raises(AuthApiError) as refusal:
        client.auth.sign_in_with_otp({"email": address(), "options": {"should_create_user": False}})
    assert (refusal.value.status, refusal.value.code) == (422, "otp_disabled")


def test_asking_for_a_magic_link_proves_nothing_yet(target: AuthTarget) -> None:
    """Otherwise anybody could open a confirmed account for an address of somebody else, and its invitations with it."""
    email, client = address(), target.anonymous()
    client.auth.sign_in_with_otp({"email": email})
    with target.database() as database:
        row = database.execute("select email_confirmed_at, last_sign_in_at from auth.users where email = %s", [email])
        assert row.fetchone() == (None, None)
        session = client.auth.verify_otp({"email": email, "token": _code(target, email), "type": "email"}).session
        assert session and session.user and session.user.email_confirmed_at


@pytest.mark.parametrize("first", ["old", "new"])
def test_change_of_address_needs_both_mailboxes(target: AuthTarget, first: str) -> None:
    old, new, client = _confirmed(target), address(), target.anonymous()
    client.auth.sign_in_with_password({"email": old, "password": PASSWORD})
    pending = client.auth.update_user({"email": new}).user
    assert pending.email == old and pending.new_email == new
    links = {"old": target.mail(old).links[0], "new": target.mail(new).links[0]}
    _, parts = _follow(links.pop(first))
    assert "access_token" not in parts and "other email" in parts["message"]
    assert (read := client.auth.get_user()) and read.user.email == old
    _, parts = _follow(links.popitem()[1])
    person = target.call("GET", "/user", parts["access_token"]).json()
    assert person["email"] == new and [identity["email"] for identity in person["identities"]] == [new]
    assert target.anonymous().auth.sign_in_with_password({"email": new, "password": PASSWORD}).session


def test_address_that_was_taken_meanwhile_stays_with_its_owner(target: AuthTarget) -> None:
    old, new, client = _confirmed(target), address(), target.anonymous()
    client.auth.sign_in_with_password({"email": old, "password": PASSWORD})
    client.auth.update_user({"email": new})
    links = [target.mail(old).links[0], target.mail(new).links[0]]
    target.admin().auth.admin.create_user({"email": new, "password": PASSWORD, "email_confirm": True})
    _follow(links[0])
    _, parts = _follow(links[1])
    assert parts["error_code"] == "email_exists"
    assert (read := client.auth.get_user()) and read.user.email == old


def test_invitation_opens_an_account(target: AuthTarget) -> None:
    email = address()
    target.admin().auth.admin.invite_user_by_email(email, {"data": {"first_name": "Eva"}, "redirect_to": LANDING})
    place, parts = _follow(target.mail(email).links[0])
    assert place == LANDING and parts["type"] == "invite"
    assert target.call("GET", "/user", parts["access_token"]).json()["user_metadata"]["first_name"] == "Eva"


def test_link_of_a_pkce_client_confirms_and_comes_back_with_a_code(target: AuthTarget) -> None:
    email, client = address(), target.anonymous("pkce")
    client.auth.sign_up({"email": email, "password": PASSWORD, "options": {"email_redirect_to": LANDING}})
    link = target.mail(email).links[0]
    place, parts = _follow(link)
    asked = dict(parse_qsl(urlsplit(place).query))
    assert place.startswith(LANDING) and "access_token" not in parts
    given = {"auth_code": asked["code"], "code_verifier": "", "redirect_to": LANDING}
    session = client.auth.exchange_code_for_session(given).session
    assert session and session.user and session.user.email == email and session.user.email_confirmed_at
    place, _ = _follow(link)
    assert dict(parse_qsl(urlsplit(place).query))["error_code"] == "otp_expired"


def test_mails_are_private(target: AuthTarget) -> None:
    _sign_up(target, address())
    assert target.mail_dir.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in target.mail_dir.iterdir())
