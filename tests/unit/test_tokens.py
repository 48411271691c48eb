"""The issuer signs what a hosted project would sign, publishes only the public half and refuses everything else."""

from __future__ import annotations

import time

import jwt
import pytest
from jwt import PyJWKSet

from local.tokens import InvalidToken, Issuer, new_signing_key

URL = "http://127.0.0.1:54321/auth/v1"


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(new_signing_key(), URL)


def test_access_token_verifies_against_the_published_keys(issuer: Issuer) -> None:
    token = issuer.access_token({"sub": "u1", "role": "authenticated", "session_id": "s1"})
    header = jwt.get_unverified_header(token)
    key = PyJWKSet.from_dict(issuer.public_jwks())[header["kid"]]
    claims = jwt.decode(token, key.key, algorithms=["ES256"], audience="authenticated", issuer=URL)
    assert header["alg"] == "ES256" and header["typ"] == "JWT"
    assert claims["sub"] == "u1" and claims["session_id"] == "s1"
    assert claims["exp"] - claims["iat"] == 3600


def test_published_keys_hold_nothing_private(issuer: Issuer) -> None:
    (key,) = issuer.public_jwks()["keys"]
    assert "d" not in key
    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use", "key_ops", "ext"}


def test_lifetime_is_a_setting_and_given_times_stay() -> None:
    issuer = Issuer(new_signing_key(), URL, lifetime=5)
    claims = issuer.verify(issuer.access_token({"sub": "u1"}))
    assert claims["exp"] - claims["iat"] == 5
    later = int(time.time()) + 77
    assert issuer.verify(issuer.access_token({"sub": "u1", "exp": later}))["exp"] == later


def test_caller_cannot_choose_the_issuer(issuer: Issuer) -> None:
    assert issuer.verify(issuer.access_token({"iss": "https://elsewhere"}))["iss"] == URL


def test_role_token_names_the_role_and_no_person(issuer: Issuer) -> None:
    claims = issuer.verify(issuer.role_token("service_role", 60))
    assert claims["role"] == "service_role" and "sub" not in claims
    assert claims["exp"] - claims["iat"] == 60


def test_expired_token_is_refused_and_says_so(issuer: Issuer) -> None:
    with pytest.raises(InvalidToken) as refusal:
        issuer.verify(issuer.access_token({"exp": int(time.time()) - 1}))
    assert refusal.value.expired


@pytest.mark.parametrize("forgery", ["none", "hs256", "other key", "other issuer", "rubbish"])
def test_forgery_is_refused(issuer: Issuer, forgery: str) -> None:
    claims = {"iss": URL, "sub": "u1", "iat": int(time.time()), "exp": int(time.time()) + 60}
    public = issuer.public_jwks()["keys"][0]["x"]
    token = {
        "none": lambda: jwt.encode(claims, "", algorithm="none"),
        "hs256": lambda: jwt.encode(claims, public, algorithm="HS256"),
        "other key": lambda: Issuer(new_signing_key(), URL).access_token(claims),
        "other issuer": lambda: Issuer(new_signing_key(), "https://elsewhere").access_token(claims),
        "rubbish": lambda: "a.b.c",
    }[forgery]()
    with pytest.raises(InvalidToken) as refusal:
        issuer.verify(token)
    assert not refusal.value.expired


@pytest.mark.parametrize("member", ["d", "kid", "x"])
def test_incomplete_key_is_refused_at_start(member: str) -> None:
    key = new_signing_key()
    del key[member]
    with pytest.raises(ValueError, match=member):
        Issuer(key, URL)
