from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import httpx
import jwt
import pytest
import respx
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from backend.identity import KeySet, Verifier
from backend.problems import Problem
from backend.settings import Settings
from backend.upstream import Upstream

from .conftest import ANA, BASE, ISSUER, SigningKey

pytestmark = pytest.mark.anyio
SECRET = "a-shared-secret-of-more-than-32-characters"
JWKS = f"{BASE}/auth/v1/.well-known/jwks.json"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def verify(settings: Settings, token: str) -> str:
    """The verified id, or the code of the refusal."""
    async with Upstream() as client:
        verifier = Verifier(settings, KeySet(client, JWKS))
        try:
            return str((await verifier.verify(token)).id)
        except Problem as problem:
            assert problem.status in (401, 503)
            return problem.code


def encode(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def test_a_valid_token_is_its_user(settings: Settings, supabase: respx.MockRouter, key: SigningKey) -> None:
    assert await verify(settings, key.token()) == str(ANA)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": int(time.time()) - 60}, "token_expired"),
        ({"exp": None}, "token_invalid"),
        ({"sub": None}, "token_invalid"),
        ({"sub": "nobody"}, "token_invalid"),
        ({"sub": 7}, "token_invalid"),
        ({"aud": "anon"}, "token_invalid"),
        ({"aud": None}, "token_invalid"),
        ({"iss": "https://other.test/auth/v1"}, "token_invalid"),
        ({"iss": None}, "token_invalid"),
        ({"nbf": int(time.time()) + 3600}, "token_invalid"),
    ],
)
async def test_wrong_claims_are_refused(
    settings: Settings, supabase: respx.MockRouter, key: SigningKey, claims: dict[str, object], code: str
) -> None:
    assert await verify(settings, key.token(**claims)) == code


async def test_a_few_seconds_of_clock_difference_pass(
    settings: Settings, supabase: respx.MockRouter, key: SigningKey
) -> None:
    assert await verify(settings, key.token(exp=int(time.time()) - 3)) == str(ANA)


@pytest.mark.parametrize("token", ["x", "a.b.c", "..", "é.é.é", "a" * 20_000, "e30.e30.e30", "bnVsbA.e30.e30"])
async def test_nonsense_is_refused(settings: Settings, supabase: respx.MockRouter, token: str) -> None:
    assert await verify(settings, token) == "token_invalid"


async def test_another_project_s_key_of_the_same_name_is_refused(
    settings: Settings, supabase: respx.MockRouter, key: SigningKey
) -> None:
    assert await verify(settings, SigningKey(key.kid).token()) == "token_invalid"


async def test_changed_claims_are_refused(settings: Settings, supabase: respx.MockRouter, key: SigningKey) -> None:
    header, _, signature = key.token().split(".")
    claims = {"sub": str(ANA), "aud": "authenticated", "iss": ISSUER, "exp": int(time.time()) + 3600}
    assert await verify(settings, f"{header}.{encode(claims)}.{signature}") == "token_invalid"


async def test_the_algorithm_none_is_refused(settings: Settings, supabase: respx.MockRouter, key: SigningKey) -> None:
    claims = {"sub": str(ANA), "aud": "authenticated", "iss": ISSUER, "exp": int(time.time()) + 3600}
    for name in ("none", "None", "NONE"):
        assert await verify(settings, f"{encode({'alg': name, 'kid': key.kid})}.{encode(claims)}.") == "token_invalid"


async def test_hs256_signed_with_the_public_key_is_refused(
    settings: Settings, supabase: respx.MockRouter, key: SigningKey
) -> None:
    public = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = {"sub": str(ANA), "aud": "authenticated", "iss": ISSUER, "exp": int(time.time()) + 3600}
    signed = f"{encode({'alg': 'HS256', 'kid': key.kid})}.{encode(claims)}"
    signature = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()
    assert await verify(settings, f"{signed}.{signature}") == "token_invalid"


def make_hs256(secret: str) -> str:
    claims = {"sub": str(ANA), "aud": "authenticated", "iss": ISSUER, "exp": int(time.time()) + 3600}
    return jwt.encode(claims, secret, algorithm="HS256")


async def test_hs256_counts_only_when_allowed(settings: Settings, supabase: respx.MockRouter, key: SigningKey) -> None:
    configured = settings.model_copy(
        update={
            "supabase_jwt_secret": Settings.model_validate(
                {**settings.model_dump(), "supabase_jwt_secret": SECRET}
            ).supabase_jwt_secret
        }
    )
    assert await verify(settings, make_hs256(SECRET)) == "token_invalid"
    assert await verify(configured, make_hs256(SECRET)) == "token_invalid"
    allowed = configured.model_copy(update={"supabase_jwt_allow_hs256": True})
    assert await verify(allowed, make_hs256(SECRET)) == str(ANA)
    assert await verify(allowed, make_hs256(SECRET + "x")) == "token_invalid"
    assert await verify(allowed, key.token()) == str(ANA)


async def test_rs256_by_the_key_set(settings: Settings, supabase: respx.MockRouter) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    supabase["jwks"].respond(json={"keys": [{**public, "kid": "r"}]})
    claims = {"sub": str(ANA), "aud": "authenticated", "iss": ISSUER, "exp": int(time.time()) + 3600}
    assert await verify(settings, jwt.encode(claims, private, "RS256", {"kid": "r"})) == str(ANA)
    assert await verify(settings, jwt.encode(claims, private, "RS512", {"kid": "r"})) == "token_invalid"


async def test_a_symmetric_key_in_the_key_set_never_verifies(settings: Settings, supabase: respx.MockRouter) -> None:
    secret = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
    supabase["jwks"].respond(json={"keys": [{"kty": "oct", "k": secret, "kid": "o", "alg": "HS256"}]})
    claims = {"sub": str(ANA), "aud": "authenticated", "iss": ISSUER, "exp": int(time.time()) + 3600}
    assert await verify(settings, jwt.encode(claims, SECRET, "HS256", {"kid": "o"})) == "token_invalid"


@pytest.mark.parametrize(
    "answer", [httpx.Response(500), httpx.Response(200, text="<html>"), httpx.Response(200, json=[])]
)
async def test_no_key_set_is_503(
    settings: Settings, supabase: respx.MockRouter, key: SigningKey, answer: httpx.Response
) -> None:
    supabase["jwks"].mock(return_value=answer)
    assert await verify(settings, key.token()) == "auth_unavailable"


async def test_a_rotated_key_is_fetched_and_an_invented_one_costs_little(
    settings: Settings, supabase: respx.MockRouter, key: SigningKey
) -> None:
    clock = Clock()
    second = SigningKey("second")
    route = supabase["jwks"]
    async with Upstream() as client:
        keys = KeySet(client, JWKS, clock)
        verifier = Verifier(settings, keys)
        for _ in range(3):
            await verifier.verify(key.token())
        assert route.call_count == 1
        route.respond(json={"keys": [key.public, second.public]})
        clock.now += 11
        assert (await verifier.verify(second.token())).id == ANA
        assert route.call_count == 2
        for number in range(20):
            with pytest.raises(Problem) as refusal:
                await verifier.verify(SigningKey(f"invented{number}").token())
            assert refusal.value.code == "token_invalid"
        assert route.call_count == 2
        clock.now += 11
        with pytest.raises(Problem):
            await verifier.verify(SigningKey("invented").token())
        assert route.call_count == 3


async def test_known_keys_count_while_auth_is_down(
    settings: Settings, supabase: respx.MockRouter, key: SigningKey
) -> None:
    clock = Clock()
    async with Upstream() as client:
        verifier = Verifier(settings, KeySet(client, JWKS, clock))
        await verifier.verify(key.token())
        supabase["jwks"].mock(side_effect=httpx.ConnectError)
        clock.now += 3600
        assert (await verifier.verify(key.token())).id == ANA


async def test_a_withdrawn_key_counts_no_more_after_the_cache(
    settings: Settings, supabase: respx.MockRouter, key: SigningKey
) -> None:
    clock = Clock()
    async with Upstream() as client:
        verifier = Verifier(settings, KeySet(client, JWKS, clock))
        await verifier.verify(key.token())
        supabase["jwks"].respond(json={"keys": [SigningKey("second").public]})
        clock.now += 601
        with pytest.raises(Problem):
            await verifier.verify(key.token())


async def test_a_known_token_ends_on_time(settings: Settings, supabase: respx.MockRouter, key: SigningKey) -> None:
    async with Upstream() as client:
        verifier = Verifier(settings, KeySet(client, JWKS))
        token = key.token(exp=int(time.time()) - 8)  # ten seconds of leeway
        assert (await verifier.verify(token)).id == ANA
        code, deadline = "", time.monotonic() + 10
        while not code and time.monotonic() < deadline:
            try:
                assert (await verifier.verify(token)).id == ANA
            except Problem as problem:
                code = problem.code
        assert code == "token_expired"


async def test_a_known_token_lends_nothing_to_a_forged_one(
    settings: Settings, supabase: respx.MockRouter, key: SigningKey
) -> None:
    async with Upstream() as client:
        verifier = Verifier(settings, KeySet(client, JWKS))
        token = key.token()
        assert (await verifier.verify(token)).id == ANA
        with pytest.raises(Problem) as refusal:
            await verifier.verify(f"{token.rpartition('.')[0]}.{SigningKey('first').token().rpartition('.')[2]}")
        assert refusal.value.code == "token_invalid"
