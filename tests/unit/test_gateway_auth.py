"""Clients hold ES256 tokens with hosted claims; Auth behind gets its own back, and nobody else's."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest

from local.gateway.answers import header
from local.gateway.upstream import Answer
from local.tokens import Issuer, new_signing_key

from .test_gateway_app import AUTH_SECRET, HOME, PUBLISHABLE, SECRET, Target

CLAIMS = {
    "sub": "5e3b1c9c-0000-4000-8000-000000000001",
    "aud": "authenticated",
    "role": "authenticated",
    "email": "ana@example.test",
    "session_id": "s1",
    "amr": [{"method": "password", "timestamp": 1}],
}
KEY = {"apikey": PUBLISHABLE}


@pytest.fixture
def target() -> Target:
    return Target()


def _auths_token(**changes: Any) -> str:
    now = int(time.time())
    return jwt.encode({**CLAIMS, "iat": now, "exp": now + 3600, **changes}, AUTH_SECRET, algorithm="HS256")


def _session(token: str) -> Answer:
    body = json.dumps({"access_token": token, "refresh_token": "r1", "user": {"id": CLAIMS["sub"], "name": "Åse"}})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body.encode())).encode())]
    return Answer(200, headers, body.encode())


def _told(target: Target) -> dict[str, Any]:
    """The claims that Auth was shown last."""
    token = target.auth.asked[-1][2]["authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(
        token, AUTH_SECRET, algorithms=["HS256"], audience=None, options={"verify_aud": False}
    )
    return claims


def test_public_keys_need_no_api_key(target: Target) -> None:
    answer = target.call("GET", "/auth/v1/.well-known/jwks.json")
    assert answer.json() == target.issuer.public_jwks() and "max-age" in answer.headers["cache-control"]
    document = target.call("GET", "/auth/v1/.well-known/openid-configuration").json()
    assert document["issuer"] == f"{HOME}/auth/v1"
    assert target.call("GET", "/auth/v1/.well-known/other").status_code == 404


@pytest.mark.parametrize(
    "path", ["/token?grant_type=password", "/signup", "/verify", "/token?grant_type=refresh_token"]
)
def test_session_comes_with_our_token(target: Target, path: str) -> None:
    target.auth.answer = _session(_auths_token())
    answer = target.call("POST", f"/auth/v1{path}", KEY, json={"refresh_token": "r0"})
    session = answer.json()
    claims = target.issuer.verify(session["access_token"])
    assert claims["iss"] == f"{HOME}/auth/v1"
    assert {name: claims[name] for name in CLAIMS} == CLAIMS
    assert session["refresh_token"] == "r1" and session["user"]["name"] == "Åse"
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_life_of_the_token_is_auths(target: Target) -> None:
    until = int(time.time()) + 7
    target.auth.answer = _session(_auths_token(exp=until))
    token = target.call("POST", "/auth/v1/token?grant_type=password", KEY, json={}).json()["access_token"]
    assert target.issuer.verify(token)["exp"] == until


def test_session_that_auth_did_not_sign_goes_to_nobody(target: Target) -> None:
    target.auth.answer = _session(jwt.encode(CLAIMS, "x" * 40, algorithm="HS256"))
    answer = target.call("POST", "/auth/v1/token?grant_type=password", KEY, json={})
    assert answer.status_code == 500 and "access_token" not in answer.text


def test_followed_link_needs_no_key_and_leads_on_with_our_token(target: Target) -> None:
    there = f"http://127.0.0.1:3000/welcome?x=1#access_token={_auths_token()}&refresh_token=r1&type=signup"
    target.auth.answer = Answer(303, [(b"location", there.encode())], b"")
    answer = target.call("GET", "/auth/v1/verify?token=abc&type=signup")
    address, _, fragment = answer.headers["location"].partition("#")
    parts = dict(parse_qsl(fragment))
    assert answer.status_code == 303 and address == "http://127.0.0.1:3000/welcome?x=1"
    assert target.issuer.verify(parts["access_token"])["sub"] == CLAIMS["sub"]
    assert parts["refresh_token"] == "r1" and parts["type"] == "signup"
    assert header(target.auth.answer.headers, b"location") == there


def test_person_is_shown_to_auth_by_its_own_token(target: Target) -> None:
    token = target.issuer.access_token(CLAIMS)
    target.call("GET", "/auth/v1/user", {**KEY, "authorization": f"Bearer {token}"})
    told = _told(target)
    assert {name: told[name] for name in CLAIMS} == CLAIMS
    assert told["exp"] == target.issuer.verify(token)["exp"]


@pytest.mark.parametrize(("key", "role"), [(PUBLISHABLE, "anon"), (SECRET, "service_role")])
@pytest.mark.parametrize("repeated", [True, False])
def test_key_is_shown_to_auth_as_its_role(target: Target, key: str, role: str, repeated: bool) -> None:
    target.call(
        "GET", "/auth/v1/admin/users", {"apikey": key, **({"authorization": f"Bearer {key}"} if repeated else {})}
    )
    told = _told(target)
    assert told["role"] == role and "sub" not in told and told["exp"] - told["iat"] == 60


def test_publishable_key_does_not_make_an_admin_of_the_secret_in_authorization(target: Target) -> None:
    answer = target.call("GET", "/auth/v1/admin/users", {**KEY, "authorization": f"Bearer {SECRET}"})
    assert answer.status_code == 403 and not target.auth.asked


@pytest.mark.parametrize("kind", ["rubbish", "expired", "forged", "auth's own"])
def test_token_that_is_none_of_ours_is_refused_by_code(target: Target, kind: str) -> None:
    token = {
        "rubbish": lambda: "abc",
        "expired": lambda: target.issuer.access_token({**CLAIMS, "exp": int(time.time()) - 1}),
        "forged": lambda: Issuer(new_signing_key(), target.issuer.issuer).access_token(CLAIMS),
        "auth's own": _auths_token,
    }[kind]()
    headers = {**KEY, "authorization": f"Bearer {token}"}
    answer = target.call("GET", "/auth/v1/user", headers)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "bad_jwt")
    assert ("expired" in answer.json()["msg"]) == (kind == "expired")
    assert not target.auth.asked
    # signing in does not look at a token, so an old one does not hinder it
    assert target.call("POST", "/auth/v1/token?grant_type=password", headers, json={}).status_code == 200


def test_refusals_of_auth_pass_unchanged(target: Target) -> None:
    body = b'{"code":400,"error_code":"invalid_credentials","msg":"Invalid login credentials"}'
    target.auth.answer = Answer(400, [(b"x-sb-error-code", b"invalid_credentials")], body)
    answer = target.call("POST", "/auth/v1/token?grant_type=password", KEY, json={})
    assert answer.content == body and answer.headers["x-sb-error-code"] == "invalid_credentials"


def test_rate_limit_answers_429_in_auths_words_but_never_to_the_secret_key() -> None:
    target = Target(rate_limits=True)
    statuses = [target.call("POST", "/auth/v1/signup", KEY, json={}).status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]
    refused = target.call("POST", "/auth/v1/signup", KEY, json={})
    assert refused.json()["error_code"] == "over_request_rate_limit" and int(refused.headers["retry-after"]) >= 1
    assert target.call("POST", "/auth/v1/signup", {"apikey": SECRET}, json={}).status_code == 200
    assert target.call("GET", "/auth/v1/user", KEY).status_code == 200


def test_query_is_passed_on_without_the_key(target: Target) -> None:
    target.call("POST", f"/auth/v1/otp?redirect_to=http%3A%2F%2F127.0.0.1%2Fa&apikey={PUBLISHABLE}", json={})
    assert target.auth.asked[0][1] == "/auth/v1/otp?redirect_to=http%3A%2F%2F127.0.0.1%2Fa"
