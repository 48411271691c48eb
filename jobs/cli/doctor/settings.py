"""Whether the settings are there and can be right, before anybody is asked."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.doctor.connection_strings import find_fault, project_ref
from jobs.cli.target import SETTINGS, Target

__all__ = ["check_settings"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SOON_SECONDS = 60 * 86400


def check_settings(target: Target, environment: Mapping[str, str]) -> list[Check]:
    """One check a setting; values from the local stack count as set."""
    found = []
    for name, what in SETTINGS.items():
        value = environment.get(name, "")
        value = value if value.strip() else target.get(name) or ""
        title = f"settings.{name}"
        if name == "BACKEND_URL" and not value:
            found.append(passed(title, "Not set: the API is not looked at."))
        elif not value:
            found.append(fail(title, "Not set.", _how_to_set(target, name, what)))
        else:
            fault = _find_fault(name, value, target)
            origin = "environment" if environment.get(name, "").strip() else "local stack"
            found.append(fail(title, *fault) if fault else passed(title, f"Set ({origin})."))
    return [*found, _check_hs256(target)]


def _how_to_set(target: Target, name: str, what: str) -> str:
    if target.foreign:
        return (
            f"Set it to {what}. SUPABASE_URL names another stack than the local one, which therefore fills in nothing."
        )
    if name == "DATABASE_URL":
        return f"Set it to {what}: `instashare db runner-url` prints it. Or start the local stack: `./instashare up`."
    return f"Set it to {what}, or start the local stack: `./instashare up`."


def _find_fault(name: str, value: str, target: Target) -> tuple[str, str] | None:
    ref = project_ref(_host(target.get("SUPABASE_URL") or ""))
    if name == "DATABASE_URL":
        return find_fault(value, "instashare_runner", ref)
    if name == "ADMIN_DATABASE_URL":
        return find_fault(value, "postgres", ref)
    if value != value.strip():
        return "A stray newline or blank surrounds the value.", "Remove it; `printf %s` writes none."
    if name in ("SUPABASE_URL", "BACKEND_URL"):
        return _find_address_fault(name, value)
    return _find_key_fault(name, value, ref)


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _find_address_fault(name: str, value: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        return "It is no web address.", "The form is https://<project ref>.supabase.co, or http://127.0.0.1:<port>."
    if name == "SUPABASE_URL" and "dashboard" in parts.path:
        return "It is the dashboard's address.", "Take the project's URL from its settings, under API."
    if parts.path not in ("", "/") and name == "SUPABASE_URL" and parts.path.rstrip("/").endswith("/v1"):
        return "It is the address of one service.", "Leave out everything behind the host."
    if parts.scheme == "http" and host not in LOOPBACK and "." in host and not host.replace(".", "").isdecimal():
        return "Passwords and tokens would travel in the clear.", "Use https://."
    return None


def _find_key_fault(name: str, value: str, ref: str | None) -> tuple[str, str] | None:
    secret = name == "SUPABASE_SECRET_KEY"
    right, wrong = ("sb_secret_", "sb_publishable_") if secret else ("sb_publishable_", "sb_secret_")
    if value.startswith(wrong):
        return f"It holds a key that begins with {wrong}.", "The two keys are swapped."
    if value.startswith(right):
        return None
    claims = _read_claims(value)
    if claims is None:
        return (
            f"It neither begins with {right} nor is a legacy key.",
            "Copy it from the project's settings, under API keys.",
        )
    role = "service_role" if secret else "anon"
    if claims.get("role") != role:
        return (
            f"It is a key of the role {claims.get('role')}, not {role}.",
            "The two keys are swapped, or it is a user's token.",
        )
    if claims.get("iss") == "supabase-demo":
        return "It is a published example that anybody can use.", "Make keys of your own."
    if ref and claims.get("ref") not in (None, ref):
        return f"It is of project {claims['ref']}, but SUPABASE_URL is of {ref}.", "Take both from one project."
    left = float(claims.get("exp", "inf")) - time.time()
    if left < SOON_SECONDS:
        return "It has ended." if left < 0 else f"It ends in {left / 86400:.0f} days.", f"Make a new key ({right}…)."
    return None


def _check_hs256(target: Target) -> Check:
    allowed = (target.get("SUPABASE_JWT_ALLOW_HS256") or "").lower() in ("1", "true", "yes", "on")
    secret = target.get("SUPABASE_JWT_SECRET") or ""
    name = "settings.SUPABASE_JWT_SECRET"
    if not allowed:
        note = "Not needed." if not secret else "Set, but not used without SUPABASE_JWT_ALLOW_HS256=1."
        return passed(name, note)
    if len(secret) < 32 or secret.startswith("your-super-secret"):
        return fail(
            name, "HS256 is allowed with a secret that is short or published.", "Use 32 random characters or more."
        )
    return passed(
        name, "Note: with HS256 the API holds a secret that can make anybody's token. Prefer asymmetric keys."
    )


def _read_claims(key: str) -> dict[str, Any] | None:
    """The claims inside a legacy key, which is a JWT; its signature is for the services to judge."""
    try:
        payload = key.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return None
    return claims if isinstance(claims, dict) else None
