"""API keys: which role an opaque key stands for, and the tokens that stand for it behind the gateway."""

from __future__ import annotations

import hmac
import re
import time
from typing import Any
from urllib.parse import unquote_plus

import jwt

from local.gateway.answers import Headers, header, without
from local.tokens import Issuer

__all__ = ["Keys", "Refusal", "bearer", "split_key"]

ROLE_TOKEN_SECONDS = 600
# as hosted: a secret key in a browser is a secret no more
BROWSER = re.compile(r"^\s*Mozilla\s*/\s*5\s*\.\s*0", re.IGNORECASE)


class Refusal(Exception):
    """A request that the gateway turns away; `code` goes into the header `sb-error-code`."""

    def __init__(self, status: int, message: str, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.code = status, message, hint, code


def bearer(headers: Headers) -> str | None:
    """What stands after `Bearer` in Authorization, or None."""
    scheme, _, token = (header(headers, b"authorization") or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def split_key(headers: Headers, query: str) -> tuple[str | None, Headers, str]:
    """The API key of a request, from the header `apikey` or the parameter of that name, and the request without it."""
    key = header(headers, b"apikey")
    if "apikey=" in query:
        pairs = query.split("&")  # by hand: what is passed on must keep its own encoding
        key = key or next((unquote_plus(pair[7:]) for pair in pairs if pair.startswith("apikey=")), None)
        query = "&".join(pair for pair in pairs if not pair.startswith("apikey="))
    return key, without(headers, b"apikey"), query


class Keys:
    """The two keys of an installation.

    `auth_secret` is the HS256 secret between the gateway and Auth; `issuer` signs what Storage and REST are told.
    """

    def __init__(self, publishable: str, secret: str, issuer: Issuer, auth_secret: str) -> None:
        if not publishable or not secret:
            raise ValueError("An empty API key would let everybody through.")
        self._roles = ((publishable.encode(), "anon"), (secret.encode(), "service_role"))
        self._issuer, self._auth_secret = issuer, auth_secret
        self._tokens: dict[str, tuple[str, float]] = {}

    def role_of(self, key: str | None) -> str | None:
        """`anon`, `service_role`, or None for anything that is not one of the two keys."""
        given = (key or "").encode("utf-8", "replace")
        # both are compared, whatever the first says: the time tells nothing
        found = [role for known, role in self._roles if hmac.compare_digest(known, given)]
        return found[0] if found else None

    def require(self, key: str | None, headers: Headers) -> str:
        """The role of a request to Auth or REST. Raises Refusal (401) in hosted's words."""
        if not key:
            raise Refusal(
                401,
                "No API key found in request",
                "No `apikey` request header or url param was found.",
                "UNAUTHORIZED_MISSING_API_KEY",
            )
        role = self.role_of(key)
        if role is None:
            raise Refusal(401, "Invalid API key", "Double check your Supabase `apikey`", "UNAUTHORIZED_INVALID_API_KEY")
        if role == "service_role" and BROWSER.match(header(headers, b"user-agent") or ""):
            raise Refusal(401, "Forbidden use of secret API key in browser", code="UNAUTHORIZED_INVALID_API_KEY_TYPE")
        return role

    def role_token(self, role: str) -> str:
        """An ES256 token of a role, with at least half of its ten minutes left."""
        token, until = self._tokens.get(role, ("", 0.0))
        now = time.monotonic()
        if until - now < ROLE_TOKEN_SECONDS / 2:
            token, until = self._issuer.role_token(role, ROLE_TOKEN_SECONDS), now + ROLE_TOKEN_SECONDS
            self._tokens[role] = (token, until)
        return token

    def token_for_auth(self, claims: dict[str, Any]) -> str:
        """The same claims as Auth's own kind of token, or those of a role alone for a minute."""
        now = int(time.time())
        return jwt.encode({"iat": now, "exp": now + 60, **claims}, self._auth_secret, algorithm="HS256")

    def token_from_auth(self, token: str) -> str:
        """The clients' token for one that Auth signed; raises jwt.InvalidTokenError if Auth did not."""
        claims = jwt.decode(token, self._auth_secret, algorithms=["HS256"], options={"verify_aud": False})
        return self._issuer.access_token(claims)

    def for_storage(self, headers: Headers) -> Headers:
        """Headers with an `sb_…` key translated, where Authorization is absent or is that key; else unchanged."""
        key = header(headers, b"apikey")
        role = self.role_of(key)
        authorization = header(headers, b"authorization")
        if role is None or (authorization is not None and (bearer(headers) or authorization.strip()) != key):
            return headers
        token = f"Bearer {self.role_token(role)}".encode()
        return [*without(headers, b"authorization"), (b"authorization", token)]

    def for_rest(self, role: str, key: str, headers: Headers) -> Headers:
        """Headers for PostgREST: anon without Authorization, the service role by a token, a user's as it is."""
        authorization = header(headers, b"authorization")
        if authorization is not None and (bearer(headers) or authorization.strip()) != key:
            return headers
        rest = without(headers, b"authorization")
        return rest if role == "anon" else [*rest, (b"authorization", f"Bearer {self.role_token(role)}".encode())]
