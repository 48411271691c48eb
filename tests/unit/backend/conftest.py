"""An API in front of a Supabase that answers what a test tells it to."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jwt
import pytest
import respx
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from jwt.algorithms import ECAlgorithm

from backend.app import create_app
from backend.settings import Settings

BASE = "http://supabase.test"
ISSUER = f"{BASE}/auth/v1"
ANA = uuid.UUID("6d7f2d4c-0d51-4b3a-9a4c-1f0a7b3c2d10")


class SigningKey:
    """A project's signing key and the tokens it makes."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> dict[str, Any]:
        jwk: dict[str, Any] = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**jwk, "kid": self.kid, "alg": "ES256", "use": "sig"}

    def token(self, **claims: Any) -> str:
        """A token as Auth makes it; a claim of None is left out."""
        now = int(time.time())
        every = {
            "sub": str(ANA),
            "aud": "authenticated",
            "role": "authenticated",
            "iss": ISSUER,
            "iat": now,
            "exp": now + 3600,
        }
        kept = {name: value for name, value in {**every, **claims}.items() if value is not None}
        return jwt.encode(kept, self.private, algorithm="ES256", headers={"kid": self.kid})


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey("first")


@pytest.fixture
def settings() -> Settings:
    return Settings(
        supabase_url=BASE,
        supabase_publishable_key="sb_publishable_test",
        supabase_public_url="https://share.test",
        cors_origins="https://web.test, http://localhost:5173",
    )


@pytest.fixture
def supabase(key: SigningKey) -> Iterator[respx.MockRouter]:
    """The mocked upstream; it publishes the signing key."""
    with respx.mock(base_url=BASE, assert_all_called=False) as router:
        router.get("/auth/v1/.well-known/jwks.json", name="jwks").respond(json={"keys": [key.public]})
        yield router


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(app: FastAPI, supabase: respx.MockRouter, key: SigningKey) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API that sends Ana's token."""
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {key.token()}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as client,
    ):
        yield client
