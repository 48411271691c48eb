"""Auth through unmodified supabase-js: the same account of things as through supabase-py, and PKCE."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from .auth_target import PASSWORD, AuthTarget, address

if TYPE_CHECKING:
    from .conftest import Stack


@pytest.fixture
def target(stack: Stack) -> AuthTarget:
    if stack.data_dir is None or stack.admin_database_url is None:
        pytest.skip("these tests read mails and sign up without one, so they need a local stack of their own")
    keys = (stack.publishable_key, stack.secret_key)
    return AuthTarget(stack.supabase_url, *keys, stack.admin_database_url, stack.data_dir / "mail")


def _account(target: AuthTarget) -> str:
    email = address()
    target.call("POST", "/signup", json={"email": email, "password": PASSWORD})
    return email


def test_a_day_of_a_web_client(target: AuthTarget, stack: Stack) -> None:
    email = address()
    day = target.run_js("auth_flows.mjs", flow="day", email=email, password=PASSWORD)
    assert len(set(day["ids"])) == 1 and day["metadata"] == ["Ana", "Eva"]
    assert day["claims"]["iss"] == stack.issuer and day["claims"]["email"] == email
    assert day["rotated"] and day["signedOut"]
    assert (day["duplicate"]["status"], day["duplicate"]["code"]) == (422, "user_already_exists")
    assert (day["weak"]["code"], day["weak"]["name"]) == ("weak_password", "AuthWeakPasswordError")
    assert (day["wrong"]["status"], day["wrong"]["code"]) == (400, "invalid_credentials")
    assert (day["anonymous"]["status"], day["anonymous"]["code"]) == (422, "anonymous_provider_disabled")
    assert day["out"]["name"] == "AuthSessionMissingError"  # supabase-js's reading of session_not_found


def test_tabs_that_wake_at_once_share_one_session(target: AuthTarget) -> None:
    assert target.run_js("auth_flows.mjs", flow="refreshes", email=_account(target), password=PASSWORD) == {
        "tokens": 1,
        "next": True,
    }


def test_mailed_link_of_a_pkce_client_comes_back_with_a_code(target: AuthTarget) -> None:
    email, redirect = _account(target), "http://127.0.0.1:3999/reset"
    asked = target.run_js("auth_flows.mjs", flow="askByPkce", email=email, redirect=redirect)
    answer = httpx.get(target.mail(email).links[0])
    place = urlsplit(answer.headers["location"])
    assert answer.status_code == 303 and place.path == "/reset" and "access_token" not in place.fragment
    (code,) = parse_qs(place.query)["code"]
    given = {"flow": "exchange", "pkceCode": code, "verifier": asked["verifier"]}
    exchanged = target.run_js("auth_flows.mjs", **given)
    assert exchanged["email"] == email and exchanged["sub"] == exchanged["id"]
    for verifier in (
        json.loads(asked["verifier"]).split("/")[0],
        "x" * 56,
    ):  # a code works once, and with its own verifier only
        body = {"auth_code": code, "code_verifier": verifier}
        again = target.call("POST", "/token", params={"grant_type": "pkce"}, json=body)
        assert again.status_code in (400, 404) and "access_token" not in again.text


def test_admin_api(target: AuthTarget, stack: Stack) -> None:
    done = target.run_js("auth_flows.mjs", flow="admin", email=address(), password=PASSWORD)
    assert done["total"] >= 1 and done["newest"] and done["plan"] == "pro"
    assert done["link"].startswith(f"{stack.issuer}/verify?")
    assert done["out"]["status"] == 400
    assert (done["gone"]["status"], done["gone"]["code"]) == (404, "user_not_found")
