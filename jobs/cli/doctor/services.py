"""Whether Auth, REST, Storage and the API answer, and take the keys for what they are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.target import Target

__all__ = ["check_services"]

SECONDS = 6.0
KEYS_CURE = "Copy both keys from the project's API keys; on a self-hosted one let gateway and services share one set."

Ask = Callable[..., httpx.Response]


def check_services(target: Target) -> list[Check]:
    """All checks that need only HTTP; those whose setting is missing are left out (its own check fails)."""
    url = (target.get("SUPABASE_URL") or "").rstrip("/")
    with httpx.Client(timeout=SECONDS, follow_redirects=False) as client, ThreadPoolExecutor(6) as pool:
        futures = []
        if url.startswith(("http://", "https://")):
            for check in (_check_auth, _check_rest, _check_secret_key, _check_gateway, _check_storage):
                futures.append(pool.submit(_guard, check, client, target, url))
        backend = (target.get("BACKEND_URL") or "").rstrip("/")
        if backend.startswith(("http://", "https://")):
            futures.append(pool.submit(_guard, _check_backend, client, target, backend))
        return [check for future in futures for check in future.result()]


def _guard(
    check: Callable[[httpx.Client, Target, str], list[Check]], client: httpx.Client, target: Target, url: str
) -> list[Check]:
    name = "reach." + check.__name__.removeprefix("_check_")
    cure = "Start it (`./instashare up` for the local stack), or correct the address; a paused project does not answer."
    try:
        return check(client, target, url)
    except httpx.TimeoutException:
        return [fail(name, f"No answer from {url} within {SECONDS:.0f} s.", cure)]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return [fail(name, f"No answer from {url} ({type(error).__name__}).", cure)]


def _check_auth(client: httpx.Client, target: Target, url: str) -> list[Check]:
    response = client.get(f"{url}/auth/v1/.well-known/jwks.json")
    found = [_judge_key_set(response, target)]
    settings = client.get(f"{url}/auth/v1/settings", headers=_key(target, "SUPABASE_PUBLISHABLE_KEY"))
    told = _json(settings)
    if settings.status_code == 200 and isinstance(told, dict):
        found.append(passed("reach.auth", "Auth answers."))
        automatic = told.get("mailer_autoconfirm") is True
        name = "auth.confirmation"
        if automatic and not target.is_local:
            cure = "Turn on “Confirm email” in the project's Auth settings: else anybody can claim an invited address."
            found.append(fail(name, "The project confirms addresses automatically.", cure))
        else:
            note = "Note: addresses are confirmed automatically; fine on one machine." if automatic else "On."
            found.append(passed(name, note))
    elif settings.status_code in (401, 403):
        found.append(passed("reach.auth", "Auth's gateway answers, but refuses the publishable key."))
    else:
        cure = "Look at Auth's log, and at the gateway's route /auth/v1."
        found.append(fail("reach.auth", f"Auth answers {settings.status_code}.", cure))
    return found


def _judge_key_set(response: httpx.Response, target: Target) -> Check:
    body = _json(response)
    keys = body.get("keys") if isinstance(body, dict) else None
    if response.status_code != 200 or not isinstance(keys, list):
        cure = "Let the gateway serve it openly: nobody can verify tokens without it."
        return fail("jwks", f"/auth/v1/.well-known/jwks.json answers {response.status_code} and no key set.", cure)
    if any(key.get("kty") == "oct" for key in keys if isinstance(key, dict)):
        return fail(
            "jwks", "The published key set holds a symmetric secret.", "Change the secret, and publish no oct key."
        )
    usable = [key for key in keys if isinstance(key, dict) and key.get("kty") in ("EC", "RSA")]
    allowed = (target.get("SUPABASE_JWT_ALLOW_HS256") or "").lower() in ("1", "true", "yes", "on")
    if not usable and not allowed:
        cure = "Move the project to asymmetric signing keys, or set SUPABASE_JWT_SECRET and SUPABASE_JWT_ALLOW_HS256=1."
        return fail("jwks", "The key set is empty: tokens are signed with a shared secret (HS256).", cure)
    return passed("jwks", f"{len(usable)} public key{'s' if len(usable) != 1 else ''}.")


def _check_rest(client: httpx.Client, target: Target, url: str) -> list[Check]:
    headers = _key(target, "SUPABASE_PUBLISHABLE_KEY")
    if not headers:
        return []
    response = client.get(f"{url}/rest/v1/documents?select=id&limit=0", headers=headers)
    body = _json(response)
    code = body.get("code") if isinstance(body, dict) else None
    if response.status_code == 200:
        cure = "Revoke what was granted to anon, and check that the key is no secret one."
        return [fail("reach.rest", "Without signing in one may read documents.", cure)]
    if code == "42501":
        return [
            passed("reach.rest", "REST answers."),
            passed("keys.publishable", "Accepted, and opens nothing by itself."),
        ]
    if code in ("PGRST205", "42P01", "PGRST204", "PGRST200"):
        return [fail("reach.rest", "REST does not know the table documents.", "Run `instashare db migrate`.")]
    if response.status_code in (401, 403):
        words = body.get("message", "") if isinstance(body, dict) else ""
        return [
            passed("reach.rest", "REST's gateway answers."),
            fail("keys.publishable", f"The publishable key is refused: {words}.", KEYS_CURE),
        ]
    cure = "Look at PostgREST's log; its connection string is that of the role authenticator."
    return [fail("reach.rest", f"REST answers {response.status_code} {code or ''}.".replace(" .", "."), cure)]


def _check_secret_key(client: httpx.Client, target: Target, url: str) -> list[Check]:
    headers = _key(target, "SUPABASE_SECRET_KEY")
    if not headers:
        return []
    response = client.post(f"{url}/rest/v1/rpc/installation_id", headers=headers, json={})
    body = _json(response)
    if response.status_code == 200:
        return [passed("keys.secret", "Accepted as service_role.")]
    code = body.get("code") if isinstance(body, dict) else None
    if code == "42501":
        return [fail("keys.secret", "The secret key has not the rights of service_role.", KEYS_CURE)]
    if code == "PGRST202":
        return [fail("keys.secret", "REST does not know installation_id().", "Run `instashare db migrate`.")]
    if response.status_code in (401, 403):
        return [fail("keys.secret", "The secret key is refused.", KEYS_CURE)]
    return [fail("keys.secret", f"REST answers {response.status_code} to the secret key.", "Look at PostgREST's log.")]


def _check_gateway(client: httpx.Client, target: Target, url: str) -> list[Check]:
    name = "gateway.refuses_strangers"
    for words, headers in (("without a key", {}), ("with an invented key", {"apikey": "sb_publishable_invented"})):
        response = client.get(f"{url}/rest/v1/documents?select=id&limit=0", headers=headers)
        if response.status_code not in (401, 403):
            cure = "An empty key variable at the gateway lets everybody through: set it."
            return [fail(name, f"REST answers {response.status_code} {words}.", cure)]
    return [passed(name, "No key, or a wrong one, is refused.")]


def _check_storage(client: httpx.Client, target: Target, url: str) -> list[Check]:
    headers = _key(target, "SUPABASE_SECRET_KEY")
    if not headers:
        return []
    response = client.get(f"{url}/storage/v1/bucket", headers=headers)
    body = _json(response)
    if response.status_code != 200 or not isinstance(body, list):
        cure = "Look at Storage's log, and at the gateway's route /storage/v1 and its translation of keys."
        return [fail("reach.storage", f"Storage answers {response.status_code}.", cure)]
    missing = {"documents", "archives"} - {bucket.get("id") for bucket in body}
    if missing:
        return [fail("reach.storage", f"Storage lacks the buckets {sorted(missing)}.", "Run `instashare db migrate`.")]
    return [passed("reach.storage", "Storage answers and shows both buckets.")]


def _check_backend(client: httpx.Client, target: Target, url: str) -> list[Check]:
    response = client.get(f"{url}/readyz")
    if response.status_code == 200:
        return [passed("reach.backend", "The API is ready.")]
    body = _json(response)
    words = body.get("detail", "") if isinstance(body, dict) else ""
    cure = "Check the API's SUPABASE_URL and what it names as missing."
    return [fail("reach.backend", f"The API answers {response.status_code}. {words}".strip(), cure)]


def _key(target: Target, name: str) -> dict[str, str]:
    value = target.get(name)
    # a key that cannot stand in a header is named by the check of the setting
    return {"apikey": value} if value and value.isascii() and value.isprintable() else {}


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
