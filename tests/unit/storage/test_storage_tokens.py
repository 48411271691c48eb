"""Tokens are ours when the secret or a published key has signed them, and are refused in the service's words."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from local.storage.tokens import InvalidToken, TokenVerifier, decoded

SECRET = "a secret of at least thirty-two bytes"
KEY = ec.generate_private_key(ec.SECP256R1())
JWK = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key())) | {"kid": "k1", "alg": "ES256"}


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(SECRET, {"keys": [JWK]})


def token(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **claims: Any) -> str:
    claims = {"sub": "someone", "role": "authenticated", "exp": int(time.time()) + 3600} | claims
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else None)


@pytest.mark.parametrize("part", ["!", "a", "=a", "a b", "é"])
def test_parts_of_a_token_are_base64url(part: str) -> None:
    with pytest.raises(ValueError):
        decoded(part)
    assert decoded("-_8") == decoded("-_8=") == b"\xfb\xff"


def test_both_kinds_of_signature_are_accepted(verifier: TokenVerifier) -> None:
    for text in (token(), token(KEY, "ES256", "k1"), token(KEY, "ES256")):
        caller = verifier.caller(f"Bearer {text}")
        assert (caller.role, caller.owner, caller.token) == ("authenticated", "someone", text)


def test_bearer_is_optional_and_its_case_does_not_matter(verifier: TokenVerifier) -> None:
    text = token()
    assert verifier.caller(text).owner == verifier.caller(f"bearer {text}").owner == "someone"


def test_a_token_without_role_is_anon(verifier: TokenVerifier) -> None:
    assert verifier.caller(token(role="")).role == "anon"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid Compact JWS"),
        ("a.b", "Invalid Compact JWS"),
        ("a.b.c", "JWS Protected Header is invalid"),
        (token("another secret of more than thirty-two bytes"), "signature verification failed"),
        (token(ec.generate_private_key(ec.SECP256R1()), "ES256", "k1"), "signature verification failed"),
        (token(KEY, "ES256", "unknown"), "signature verification failed"),
        (token(exp=int(time.time()) - 1), '"exp" claim timestamp check failed'),
        (token(nbf=int(time.time()) + 1800), '"nbf" claim timestamp check failed'),
    ],
)
def test_refusals(verifier: TokenVerifier, text: str, message: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        verifier.claims(text)
    assert str(refused.value) == message


def test_unsigned_tokens_and_the_public_key_as_a_secret_are_refused(verifier: TokenVerifier) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    with pytest.raises(InvalidToken, match="not allowed"):
        verifier.claims(f"{header}.{token().split('.')[1]}.")
    signed = token(kid="k1").rpartition(".")[0]
    forged = hmac.digest(json.dumps(JWK).encode(), signed.encode(), "sha256")
    with pytest.raises(InvalidToken, match="verification failed"):
        verifier.claims(f"{signed}.{base64.urlsafe_b64encode(forged).rstrip(b'=').decode()}")


def test_a_signed_url_is_good_for_so_many_seconds(verifier: TokenVerifier) -> None:
    claims = verifier.claims(verifier.signed({"url": "documents/é", "scope": "download"}, 60))
    assert claims["url"] == "documents/é"
    assert claims["exp"] == claims["iat"] + 60
