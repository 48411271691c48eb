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

import jwt
from fastapi import Depends, Request

from backend.problems import Problem, unavailable
from backend.settings import Settings
from backend.upstream import Unreachable, Upstream

__all__ = ["Caller", "CallerDependency", "KeySet", "Verifier"]

AUDIENCE = "authenticated"
ALGORITHMS = {"EC": "ES256", "RSA": "RS256"}
LEEWAY_SECONDS = 10
CACHE_SECONDS = 600
# An unknown kid may mean a rotated key, or anybody's invention: it costs a request at most this often.
REFETCH_SECONDS = 10
LONGEST_TOKEN = 16 * 1024
TOKENS_KNOWN = 10_000  # of a few hundred bytes each


@dataclass(frozen=True)
class Caller:
    """A verified user: the id, and the token that does the work."""

    id: UUID
    token: str = field(repr=False)


class KeySet:
    """The project's published signing keys (JWKS), fetched when first needed and kept.

    When the address does not answer, keys that were fetched before go on counting.
    """

    def __init__(self, upstream: Upstream, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._upstream, self._url, self._clock = upstream, url, clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self.generation = 0
        """How often the keys have been fetched."""
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None) -> jwt.PyJWK | None:
        """The key of this id (None: the only key), None if it is not published; Problem 503 without any set."""
        if not self.is_stale and (key := self._pick(kid)) is not None:
            return key
        await self._refetch(kid)
        return self._pick(kid)

    async def fetch(self) -> None:
        """Fetch the set now; raises Problem 503."""
        try:
            reply = await self._upstream.ask("GET", self._url, {})
            if not reply.succeeded:
                raise ValueError(f"HTTP {reply.status}")
            published = reply.json()["keys"]
            keys = [(one.get("kid"), _read_key(one)) for one in published]
        except (Unreachable, ValueError, KeyError, TypeError, AttributeError) as error:
            raise unavailable("auth_unavailable", "The project's signing keys cannot be read.") from error
        self._keys = {kid: key for kid, key in keys if key is not None}
        self.generation += 1
        self._fetched_at = self._clock()

    async def _refetch(self, kid: str | None) -> None:
        async with self._lock:  # whoever waited finds what the first one fetched
            if not self.is_stale and self._pick(kid) is not None:
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

    @property
    def is_stale(self) -> bool:
        """Whether the keys have to be fetched, for the first time or anew."""
        return self._fetched_at is None or self._clock() - self._fetched_at > CACHE_SECONDS

    def _pick(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)


@dataclass(frozen=True, slots=True)
class Known:
    """A token that was verified: whose it is, until when (seconds since 1970), and with which fetch of the keys."""

    caller: Caller
    expires_at: float
    generation: int | None


class Verifier:
    """Turns a bearer token into a Caller.

    A signature costs more than all else of a request, so tokens are remembered until they expire or keys are fetched.
    """

    def __init__(self, settings: Settings, keys: KeySet) -> None:
        self._issuer, self._secret, self._keys = settings.issuer, settings.hs256_secret, keys
        self._known: dict[str, Known] = {}

    async def verify(self, token: str) -> Caller:
        """The Caller of a valid token; raises Problem 401 (`token_expired`, `token_invalid`) or 503."""
        if len(token) > LONGEST_TOKEN:
            raise _refuse("token_invalid", "The token is too long.")
        known = self._known.get(token)
        if known is None or not self._counts(known):
            known = await self._verify(token)
            if len(self._known) >= TOKENS_KNOWN:
                self._known.clear()
            self._known[token] = known
        return known.caller

    def _counts(self, known: Known) -> bool:
        if known.expires_at + LEEWAY_SECONDS <= time.time():
            return False
        return known.generation is None or (known.generation == self._keys.generation and not self._keys.is_stale)

    async def _verify(self, token: str) -> Known:
        try:
            header = jwt.get_unverified_header(token)
            claims, by_key_set = await self._decode(token, header.get("kid"), header.get("alg"))
            user = UUID(claims["sub"])
            return Known(Caller(user, token), float(claims["exp"]), self._keys.generation if by_key_set else None)
        except jwt.ExpiredSignatureError:
            raise _refuse("token_expired", "The token has expired. Sign in again or refresh it.") from None
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError, OverflowError):
            raise _refuse("token_invalid", "The token is not a valid token of this project.") from None

    async def _decode(self, token: str, kid: object, algorithm: object) -> tuple[dict[str, str], bool]:
        """The claims, and whether it was a published key that signed them."""
        key: object
        shared = algorithm == "HS256" and self._secret is not None
        if shared:
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
        return claims, not shared


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
