"""The installation's signing key: how it is made, and the half of it that everybody may know.

Apart from local/tokens.py, which signs and verifies: whoever only starts services needs no cryptography for that.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["ALGORITHM", "AUDIENCE", "PUBLIC_MEMBERS", "new_signing_key", "public_jwks"]

ALGORITHM = "ES256"
AUDIENCE = "authenticated"
PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "kid")


def new_signing_key() -> dict[str, str]:
    """A fresh private EC P-256 key as a JSON Web Key (RFC 7517) with a random `kid`."""
    # a fifth of a second that only a new installation spends
    from cryptography.hazmat.primitives.asymmetric import ec
    from jwt.algorithms import ECAlgorithm

    key = cast("dict[str, str]", ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True))
    return {**key, "kid": str(uuid.uuid4()), "alg": ALGORITHM, "use": "sig"}


def public_jwks(signing_key: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """The key set of `/.well-known/jwks.json`: public members only."""
    public = {member: signing_key[member] for member in PUBLIC_MEMBERS}
    return {"keys": [{**public, "alg": ALGORITHM, "use": "sig", "key_ops": ["verify"], "ext": True}]}
