"""Who is calling: a user's token, verified here and then used for the work.

The rules are Supabase's (https://supabase.com/docs/guides/auth/jwts): ES256 or RS256 by the project's published keys,
audience `authenticated`, the project's issuer, `exp` and `sub` required. Which algorithm counts is the key's to say,
never the token's header; HS256 only with a configured secret.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated
from uuid import UUID

import httpx
import jwt
from fastapi import Depends, Request

from backend.problems import Problem, unavailable
from backend.settings import Settings

__all__ = ["Caller", "CallerDependency", "KeySet", "Verifier"]

AUDIENCE = "authenticated"
ALGORITHMS = {"EC": "ES256", "RSA": "RS256"}
LEEWAY_SECONDS = 10
CACHE_SECONDS = 600
# An unknown kid may mean a rotated key, or anybody's invention: it costs a request at most this often.
REFETCH_SECONDS = 10
LONGEST_TOKEN = 16 * 1024


@dataclass(frozen=True)
class Caller:
    """A verified user: the id, and the token that does the work."""

    id: UUID
    token: str = field(repr=False)


class KeySet:
    """The project's published signing keys (JWKS), fetched when first needed and kept.

    When the address does not answer, keys that were fetched before go on counting.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._url, self._clock = client, url, clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None) -> jwt.PyJWK | None:
        """The key of this id (None: the only key), None if it is not published; Problem 503 without any set."""
        if not self._is_stale() and (key := self._pick(kid)) is not None:
            return key
        await self._refetch(kid)
        return self._pick(kid)

    async def fetch(self) -> None:
        """Fetch the set now; raises Problem 503."""
        try:
            response = await self._client.get(self._url)
            response.raise_for_status()
            published = response.json()["keys"]
            keys = [(one.get("kid"), _read_key(one)) for one in published]
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise unavailable("auth_unavailable", "The project's signing keys cannot be read.") from error
        self._keys = {kid: key for kid, key in keys if key is not None}
        self._fetched_at = self._clock()

    async def _refetch(self, kid: str | None) -> None:
        async with self._lock:  # whoever waited finds what the first one fetched
            if not self._is_stale() and self._pick(kid) is not None:
                return
            now = self._clock()
            if self._fetched_at is not None and self._asked_at is not None and now - self._asked_at < REFETCH_SECONDS:
                return
            self._asked_at = now
            try:
                await self.fetch()
            except Problem:
                if self._fetched_at is None:
                    raise

    def _is_stale(self) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at > CACHE_SECONDS

    def _pick(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)


class Verifier:
    """Turns a bearer token into a Caller."""

    def __init__(self, settings: Settings, keys: KeySet) -> None:
        self._issuer, self._secret, self._keys = settings.issuer, settings.hs256_secret, keys

    async def verify(self, token: str) -> Caller:
        """The Caller of a valid token; raises Problem 401 (`token_expired`, `token_invalid`) or 503."""
        if len(token) > LONGEST_TOKEN:
            raise _refuse("token_invalid", "The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
            claims = await self._decode(token, header.get("kid"), header.get("alg"))
            user = UUID(claims["sub"])
        except jwt.ExpiredSignatureError:
            raise _refuse("token_expired", "The token has expired. Sign in again or refresh it.") from None
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
            raise _refuse("token_invalid", "The token is not a valid token of this project.") from None
        return Caller(user, token)

    async def _decode(self, token: str, kid: object, algorithm: object) -> dict[str, str]:
        key: object
        if algorithm == "HS256" and self._secret is not None:
            # The header only chooses between keys that were configured; each key has one algorithm of its own.
            key, algorithms = self._secret, ["HS256"]
        else:
            found = await self._keys.find(kid if isinstance(kid, str) else None)
            if found is None:
                raise jwt.InvalidKeyError("unknown key")
            key, algorithms = found.key, [found.algorithm_name]
        claims: dict[str, str] = jwt.decode(
            token,
            key,  # type: ignore[arg-type]  # PyJWK.key is typed Any
            algorithms=algorithms,
            audience=AUDIENCE,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "sub", "iss", "aud"]},
        )
        return claims


async def identify(request: Request) -> Caller:
    """The caller of a request; raises Problem 401 without a bearer token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Problem(
            401,
            "token_missing",
            "Send a user's access token as a bearer token.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    verifier: Verifier = request.app.state.verifier
    caller = await verifier.verify(token)
    request.state.user = str(caller.id)
    return caller


CallerDependency = Annotated[Caller, Depends(identify)]


def _read_key(published: dict[str, str]) -> jwt.PyJWK | None:
    """A published key that can verify; None for another kind (a symmetric one must never be used from here)."""
    try:
        return jwt.PyJWK(published, algorithm=ALGORITHMS[published["kty"]])
    except (jwt.PyJWTError, KeyError):
        return None


def _refuse(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
