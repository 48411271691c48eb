"""JSON web tokens: who the caller is, and the tokens inside signed URLs.

A token is accepted when it is signed by the installation's secret (HMAC) or by a key of its JWK set; neither `iss` nor
`aud` is asked for, as the real service does not. The messages are those of its JOSE library.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.algorithms import get_default_algorithms

__all__ = ["Caller", "InvalidToken", "TokenVerifier", "decoded"]

TOKENS_KNOWN = 1000
SYMMETRIC = ("HS256", "HS384", "HS512")
ASYMMETRIC = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "ES512": "EC",
    "EdDSA": "OKP",
}


class InvalidToken(Exception):
    """The token is malformed, not ours or out of date; the message says which."""


@dataclass(frozen=True)
class Caller:
    """Whose rights a request has: a database role and the claims that policies read."""

    role: str
    claims: dict[str, Any]
    token: str = ""

    @property
    def owner(self) -> str | None:
        """The user's id, None for a key that belongs to nobody."""
        subject = self.claims.get("sub")
        return str(subject) if subject else None


def decoded(part: str) -> bytes:
    """The bytes of a part of a token. Raises ValueError for what is no base64url."""
    text = part.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


class TokenVerifier:
    """Checks tokens against one secret and one JWK set, and signs the tokens of URLs with the secret."""

    def __init__(self, secret: str, jwks: dict[str, Any]) -> None:
        self.secret = secret.encode()
        self.known: dict[str, dict[str, Any]] = {}  # an ES256 signature takes as long as all else of a small request
        self.algorithms = get_default_algorithms()
        self.keys: list[tuple[str | None, str, Any]] = [
            (key.get("kid"), key["kty"], jwt.PyJWK(key).key) for key in jwks.get("keys", []) if key["kty"] != "oct"
        ]

    def caller(self, authorization: str) -> Caller:
        """The caller of an Authorization header, with or without its `Bearer`. Raises InvalidToken."""
        token = authorization[7:] if authorization[:7].lower() == "bearer " else authorization
        token = token.strip()
        claims = self.claims(token)
        return Caller(str(claims.get("role") or "anon"), claims, token)

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that is ours and of this hour. Raises InvalidToken."""
        if token not in self.known:
            claims = self.verified(token)
            if len(self.known) >= TOKENS_KNOWN:
                self.known.clear()
            self.known[token] = claims
        self.check_times(self.known[token])
        return self.known[token]

    def verified(self, token: str) -> dict[str, Any]:
        """The claims of a token that is ours, whatever its hour. Raises InvalidToken."""
        parts = token.split(".")
        if len(parts) != 3:
            raise InvalidToken("Invalid Compact JWS")
        try:
            header = json.loads(decoded(parts[0]))
        except ValueError:
            raise InvalidToken("JWS Protected Header is invalid") from None
        algorithm = header.get("alg") if isinstance(header, dict) else None
        if not isinstance(algorithm, str) or not algorithm:
            raise InvalidToken('JWS "alg" (Algorithm) Header Parameter missing or invalid')
        if algorithm not in SYMMETRIC and algorithm not in ASYMMETRIC:
            raise InvalidToken('"alg" (Algorithm) Header Parameter value not allowed')
        try:
            signature = decoded(parts[2])
        except (ValueError, binascii.Error):
            raise InvalidToken("Failed to base64url decode the signature") from None
        signed = f"{parts[0]}.{parts[1]}".encode()
        keys = [self.secret] if algorithm in SYMMETRIC else self.public_keys(header.get("kid"), ASYMMETRIC[algorithm])
        if not any(self.is_signed(algorithm, signed, key, signature) for key in keys):
            raise InvalidToken("signature verification failed")
        try:
            claims = json.loads(decoded(parts[1]))
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            raise InvalidToken("JWT Claims Set must be a top-level JSON object")
        return claims

    def public_keys(self, kid: object, kind: str) -> list[Any]:
        return [key for known, kty, key in self.keys if kty == kind and (kid is None or known == kid)]

    def is_signed(self, algorithm: str, signed: bytes, key: Any, signature: bytes) -> bool:
        checker = self.algorithms[algorithm]
        try:
            return checker.verify(signed, checker.prepare_key(key), signature)
        except (jwt.PyJWTError, TypeError, ValueError):
            return False

    @staticmethod
    def check_times(claims: dict[str, Any]) -> None:
        now = int(time.time())
        for name in ("nbf", "exp"):
            moment = claims.get(name)
            if moment is None:
                continue
            if isinstance(moment, bool) or not isinstance(moment, int | float):
                raise InvalidToken(f'"{name}" claim must be a number')
            if moment <= now if name == "exp" else moment > now:
                raise InvalidToken(f'"{name}" claim timestamp check failed')

    def signed(self, claims: dict[str, Any], seconds: int) -> str:
        """A token of a URL with these claims that is good for so many seconds."""
        now = int(time.time())
        payload = json.dumps(claims | {"iat": now, "exp": now + seconds}, ensure_ascii=False, separators=(",", ":"))
        parts = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in ('{"alg":"HS256"}', payload)]
        signer = self.algorithms["HS256"]
        signature = signer.sign(b".".join(parts), signer.prepare_key(self.secret))
        return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
