"""The issuer of the local stack's tokens: ES256 with a hosted project's claims, and its public key set.

A hosted project of 2026 signs access tokens with an asymmetric key and publishes the public half, so every verifier
here (backend, REST, Storage, clients' `getClaims`) takes the same path as it does in production.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from local.signing_key import ALGORITHM, AUDIENCE, PUBLIC_MEMBERS, new_signing_key, public_jwks

__all__ = ["AUDIENCE", "InvalidToken", "Issuer", "new_signing_key"]


class InvalidToken(Exception):
    """A token that this issuer did not sign, or that is no longer valid; `expired` tells the two apart."""

    def __init__(self, message: str, *, expired: bool = False) -> None:
        super().__init__(message)
        self.expired = expired


class Issuer:
    """Signs and verifies tokens with one private key.

    `signing_key` is a private EC P-256 JWK with `kid`, `issuer` the URL that goes into `iss` (`…/auth/v1`), `lifetime`
    the seconds an access token lives (hosted: 3600). Raises ValueError when the key cannot sign ES256.
    """

    def __init__(self, signing_key: Mapping[str, str], issuer: str, lifetime: int = 3600) -> None:
        missing = [member for member in (*PUBLIC_MEMBERS, "d") if not signing_key.get(member)]
        if missing or signing_key["crv"] != "P-256":
            raise ValueError(
                f"The signing key must be a private EC P-256 JWK with a kid; missing: {missing or 'P-256'}."
            )
        private = ECAlgorithm(ECAlgorithm.SHA256).from_jwk(json.dumps(dict(signing_key)))
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise ValueError("The signing key must be a private EC P-256 JWK.")
        self.issuer, self.lifetime = issuer, lifetime
        self._private, self._public = private, private.public_key()
        self._kid = signing_key["kid"]
        self._jwks = public_jwks(signing_key)

    def access_token(self, claims: Mapping[str, Any]) -> str:
        """A person's access token with `claims`; `iss` is set, `iat`, `exp` and `aud` only where they are absent."""
        now = int(time.time())
        return self._sign({"aud": AUDIENCE, "iat": now, "exp": now + self.lifetime, **claims, "iss": self.issuer})

    def role_token(self, role: str, seconds: int) -> str:
        """A token of `role` alone (`anon`, `service_role`), as an API key stands for; valid for `seconds`."""
        now = int(time.time())
        return self._sign({"iss": self.issuer, "role": role, "iat": now, "exp": now + seconds})

    def public_jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The key set of `/.well-known/jwks.json`: public members only."""
        return self._jwks

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that this issuer signed and that has not expired; raises InvalidToken otherwise.

        The audience is not demanded: tokens of a role carry none.
        """
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=[ALGORITHM],
                issuer=self.issuer,
                options={"verify_aud": False, "require": ["exp", "iat", "iss"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise InvalidToken("token is expired", expired=True) from error
        except jwt.InvalidTokenError as error:
            raise InvalidToken(str(error) or "token is invalid") from error
        return claims

    def _sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self._private, algorithm=ALGORITHM, headers={"kid": self._kid})
