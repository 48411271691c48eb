"""Forged and confused tokens, at REST, Storage, the API and Auth: none is answered with rows, bytes or a link."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from local.installation import load
from local.tokens import Issuer
from tests.e2e.authorisation_prey import Prey, encode, new_prey, send
from tests.e2e.conftest import Account, Stack


@pytest.fixture(scope="module")
def prey(stack: Stack) -> Prey:
    return new_prey(stack)


@pytest.fixture(scope="module")
def thief(stack: Stack) -> Account:
    """Somebody with an account and bad intentions."""
    return stack.person()


@pytest.fixture(autouse=True)
def unharmed(prey: Prey) -> Iterator[None]:
    """Whatever was answered: the document, its shares and its bytes are as they were."""
    yield
    prey.whole()


def forgeries(stack: Stack, prey: Prey, thief: Account) -> dict[str, str]:
    """Tokens in the owner's name, or with more rights, that nobody issued."""
    head, body, signature = prey.owner.access_token.split(".")
    claims = jwt.decode(prey.owner.access_token, options={"verify_signature": False})
    header = jwt.get_unverified_header(prey.owner.access_token)
    (published,) = [
        key
        for key in httpx.get(f"{stack.supabase_url}/auth/v1/.well-known/jwks.json").json()["keys"]
        if key["kid"] == header["kid"]
    ]
    public = jwt.PyJWK(published).key
    own = ec.generate_private_key(ec.SECP256R1())
    own_jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(own.public_key()))

    def hs256(secret: bytes) -> str:
        signed = f"{encode({**header, 'alg': 'HS256'})}.{body}"
        made = (
            base64.urlsafe_b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
        )
        return f"{signed}.{made}"

    thief_head, _, thief_signature = thief.access_token.split(".")
    raised = {**jwt.decode(thief.access_token, options={"verify_signature": False}), "role": "service_role"}
    made = {
        "alg none": f"{encode({**header, 'alg': 'none'})}.{body}.",
        "alg nOnE with the signature": f"{encode({**header, 'alg': 'nOnE'})}.{body}.{signature}",
        "no signature": f"{head}.{body}.",
        "HS256 by the public key": hs256(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        "HS256 by the public key's DER": hs256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        "HS256 by the key set": hs256(json.dumps(published).encode()),
        "HS256 by nothing": hs256(b""),
        "HS256 by the publishable key": hs256(stack.publishable_key.encode()),
        "ES256 by a key of one's own": jwt.encode(claims, own, "ES256", headers={"kid": header["kid"]}),
        "a key in the header": jwt.encode(claims, own, "ES256", headers={"kid": header["kid"], "jwk": own_jwk}),
        "a key set by the header": jwt.encode(
            claims, own, "ES256", headers={"kid": "mine", "jku": "http://127.0.0.1:9/jwks.json"}
        ),
        "a path as the key's name": jwt.encode(claims, own, "ES256", headers={"kid": "../../../../dev/null"}),
        "another's claims under one's own signature": f"{thief_head}.{body}.{thief_signature}",
        "the role raised": f"{thief_head}.{encode(raised)}.{thief_signature}",
        "the role raised, alg none": f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(raised)}.",
        "a signature of zeros": f"{head}.{body}.{base64.urlsafe_b64encode(bytes(64)).rstrip(b'=').decode()}",
        "the publishable key": stack.publishable_key,
        "no token at all": "e30.e30.e30",
    }
    if stack.data_dir is not None:  # what only the installation itself could sign
        installation = load(stack.data_dir)
        now = int(time.time())
        issuer = Issuer(installation.secrets.signing_key, installation.auth_issuer)
        made["expired"] = issuer.access_token({**claims, "iat": now - 7200, "exp": now - 3600})
    return made


def test_a_forged_token_opens_nothing(stack: Stack, prey: Prey, thief: Account) -> None:
    """No forgery is answered with rows, bytes or a link, and none renames."""
    archive = prey.document["archive_path"]
    attacks: dict[str, Callable[[str], httpx.Response]] = {
        "REST": lambda token: send(stack, token, "GET", "/rest/v1/documents?select=*"),
        "REST, every person": lambda token: send(stack, token, "GET", "/rest/v1/profiles?select=*"),
        "REST, rename": lambda token: send(
            stack, token, "PATCH", f"/rest/v1/documents?id=eq.{prey.id}", json={"name": "stolen"},
            headers={"Prefer": "return=representation"},
        ),
        "REST, share": lambda token: send(
            stack, token, "POST", "/rest/v1/rpc/share_document", json={"document_id": prey.id, "email": thief.email}
        ),
        "Storage, archive": lambda token: send(
            stack, token, "GET", f"/storage/v1/object/authenticated/archives/{archive}"
        ),
        "Storage, original": lambda token: send(stack, token, "GET", f"/storage/v1/object/documents/{prey.original}"),
        "Storage, sign": lambda token: send(
            stack, token, "POST", f"/storage/v1/object/sign/archives/{archive}", json={"expiresIn": 60}
        ),
        "Storage, remove": lambda token: send(
            stack, token, "DELETE", "/storage/v1/object/documents", json={"prefixes": [prey.original]}
        ),
        "API, link": lambda token: send(stack, token, "POST", f"/documents/{prey.id}/download-url"),
        "API, rename": lambda token: send(stack, token, "PATCH", f"/documents/{prey.id}", json={"name": "stolen"}),
        "Auth": lambda token: send(stack, token, "GET", "/auth/v1/user"),
        "Auth, everybody": lambda token: send(stack, token, "GET", "/auth/v1/admin/users"),
    }  # fmt: skip
    opened = []
    for forgery, token in forgeries(stack, prey, thief).items():
        for attack, act in attacks.items():
            answer = act(token)
            if answer.status_code >= 500 or (answer.is_success and answer.json() != []):
                opened.append(f"{forgery} at {attack}: {answer.status_code} {answer.text[:200]}")
    assert not opened, "\n" + "\n".join(opened)


def test_the_owners_own_token_opens_it(stack: Stack, prey: Prey) -> None:
    """That what the forgeries are tried on is there at all."""
    archive, token = prey.document["archive_path"], prey.owner.access_token
    for method, path in (
        ("GET", f"/storage/v1/object/authenticated/archives/{archive}"),
        ("GET", f"/rest/v1/documents?id=eq.{prey.id}"),
        ("POST", f"/documents/{prey.id}/download-url"),
    ):
        assert send(stack, token, method, path).status_code == 200


def test_a_token_of_another_audience_or_issuer_is_no_token(stack: Stack, prey: Prey) -> None:
    if stack.data_dir is None:
        pytest.skip("only the local installation's own key can sign such a token")
    installation = load(stack.data_dir)
    claims = jwt.decode(prey.owner.access_token, options={"verify_signature": False})
    elsewhere = Issuer(installation.secrets.signing_key, "https://elsewhere.supabase.co/auth/v1")
    other_issuer = elsewhere.access_token(claims)
    issuer = Issuer(installation.secrets.signing_key, installation.auth_issuer)
    other_audience = issuer.access_token({**claims, "aud": "somewhere"})
    nobody = issuer.access_token({key: value for key, value in claims.items() if key != "sub"})
    for token in (other_issuer, other_audience, nobody):
        assert send(stack, token, "POST", f"/documents/{prey.id}/download-url").status_code == 401
    assert send(stack, other_audience, "GET", "/rest/v1/documents").status_code == 401
    assert send(stack, nobody, "GET", "/rest/v1/documents").json() == []


def test_a_person_does_not_raise_himself_in_auth(stack: Stack, thief: Account) -> None:
    """What people write about themselves is theirs; roles are rows that administrators write."""
    body = {"data": {"role": "admin", "roles": ["admin"]}, "role": "service_role", "app_metadata": {"role": "admin"}}
    send(stack, thief.access_token, "PUT", "/auth/v1/user", json=body)
    session = thief.client.auth.sign_in_with_password({"email": thief.email, "password": thief.password}).session
    assert session is not None
    claims = jwt.decode(session.access_token, options={"verify_signature": False})
    assert claims["role"] == "authenticated" and "role" not in claims["app_metadata"]
    assert send(stack, session.access_token, "GET", "/rest/v1/admin_users").json() == []
    assert send(stack, session.access_token, "GET", "/auth/v1/admin/users").status_code in (401, 403)
