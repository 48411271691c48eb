"""With a deployment's .env loaded: whether Auth signs with its key, and REST, Storage and API know that key.

A token of the deployment's own key, for nobody and for a minute, tells it: what Auth signs would fare alike. Secrets
are used, never shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import jwt

from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.target import Target

__all__ = ["check_signing_keys"]

SECONDS = 6.0
NAME = "signing_key"


def check_signing_keys(target: Target, environment: Mapping[str, str] | None = None) -> list[Check]:
    """One check a service; none without JWT_KEYS, which only a deployment of one's own has."""
    given = os.environ if environment is None else environment
    url = (target.get("SUPABASE_URL") or "").rstrip("/")
    if not given.get("JWT_KEYS") or not url.startswith(("http://", "https://")):
        return []
    try:
        signing = _signing_key(json.loads(given["JWT_KEYS"]))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, jwt.PyJWTError):
        return []  # deployment.secrets names it
    kid = str(signing["kid"])
    issuer = target.get("SUPABASE_JWT_ISSUER") or f"{target.get('SUPABASE_PUBLIC_URL') or url}/auth/v1"
    token = _token(signing, issuer)
    with httpx.Client(timeout=SECONDS) as client:
        checks: list[Callable[[], Check]] = [
            lambda: _check_auth(client, url, kid),
            lambda: _check_rest(client, url, target, token, kid),
            lambda: _check_storage(client, url, target, token, kid),
        ]
        if backend := (target.get("BACKEND_URL") or "").rstrip("/"):
            checks.append(lambda: _check_backend(client, backend, token, kid))
        found = []
        for check in checks:
            with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, ValueError):  # the checks reach.* say why
                found.append(check())
        return found


def _signing_key(keys: list[dict[str, Any]]) -> dict[str, Any]:
    return next(key for key in keys if "sign" in key.get("key_ops", ()) and key["kid"])


def _token(signing: dict[str, Any], issuer: str) -> str:
    now = int(time.time())
    claims = {"sub": str(uuid.uuid4()), "role": "authenticated", "aud": "authenticated", "iss": issuer}
    times = {"iat": now - 5, "exp": now + 60}
    private = jwt.PyJWK(signing)
    algorithm = str(signing.get("alg", "ES256"))
    return jwt.encode({**claims, **times}, private.key, algorithm=algorithm, headers={"kid": signing["kid"]})


def _cure(variable: str) -> str:
    return f"Give it {variable} of the present .env (`docker compose up --detach` makes the service anew)."


def _check_auth(client: httpx.Client, url: str, kid: str) -> Check:
    answer = client.get(f"{url}/auth/v1/.well-known/jwks.json")
    known = [str(key.get("kid")) for key in answer.json().get("keys", ())] if answer.status_code == 200 else []
    if kid not in known:
        words = f"Auth publishes {', '.join(known) or 'no key'}, but JWT_KEYS signs with {kid}."
        return fail(f"{NAME}.auth", words, _cure("GOTRUE_JWT_KEYS"))
    return passed(f"{NAME}.auth", "Auth publishes the key of JWT_KEYS.")


def _refused(service: str, kid: str, variable: str) -> Check:
    words = f"It refuses what the key {kid} signed: whoever signs in is answered 401 there."
    return fail(f"{NAME}.{service}", words, _cure(variable))


def _check_rest(client: httpx.Client, url: str, target: Target, token: str, kid: str) -> Check:
    headers = {"apikey": target.get("SUPABASE_PUBLISHABLE_KEY") or "", "Authorization": f"Bearer {token}"}
    answer = client.get(f"{url}/rest/v1/documents?select=id&limit=1", headers=headers)
    if answer.status_code == 401:
        return _refused("rest", kid, "PGRST_JWT_SECRET (JWT_JWKS)")
    return passed(f"{NAME}.rest", "REST takes it.")


def _check_storage(client: httpx.Client, url: str, target: Target, token: str, kid: str) -> Check:
    headers = {"apikey": target.get("SUPABASE_PUBLISHABLE_KEY") or "", "Authorization": f"Bearer {token}"}
    answer = client.get(f"{url}/storage/v1/bucket", headers=headers)
    if answer.status_code in (400, 401, 403):
        return _refused("storage", kid, "JWT_JWKS")
    return passed(f"{NAME}.storage", "Storage takes it.")


def _check_backend(client: httpx.Client, url: str, token: str, kid: str) -> Check:
    headers = {"Authorization": f"Bearer {token}"}
    answer = client.post(f"{url}/documents/{uuid.uuid4()}/download-url", headers=headers, json={})
    if answer.status_code == 401:
        return _refused("backend", kid, "SUPABASE_URL and SUPABASE_JWT_ISSUER")
    return passed(f"{NAME}.backend", "The API takes it.")
