"""Whether the runner's connection works, belongs to the same installation, and somebody uses it."""

from __future__ import annotations

import httpx

from jobs import queries
from jobs.cli.connection import connect
from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.doctor.connection_strings import is_safe_to_try
from jobs.cli.target import Target
from jobs.errors import InstaShareError

__all__ = ["check_runner"]


def check_runner(target: Target) -> list[Check]:
    """The checks that log in with DATABASE_URL, once; none without a sound one (its own check fails)."""
    url = target.get("DATABASE_URL")
    if not url or not is_safe_to_try(url):
        return []
    texts = queries.load("doctor")
    name = "connection.DATABASE_URL"
    try:
        with connect(url, "DATABASE_URL", seconds=6) as connection:
            connection.execute("set statement_timeout = '4s'")
            row = connection.execute(texts["read_runner_rights"]).fetchone()
            assert row is not None
            user, too_much, usable = row
            if too_much:
                cure = "Use the string that `instashare db runner-url` prints."
                return [fail(name, f"The role {user} may do more than a runner must.", cure)]
            if not usable:
                return [fail(name, f"The role {user} may not call the queue.", "Run `instashare db migrate`.")]
            found = connection.execute("select jobs.installation_id()::text").fetchone()
    except InstaShareError as error:
        return [fail(name, error.message, error.cure)]
    here = found[0] if found else None
    return [passed(name, f"Logs in as {user}."), *_compare_installations(target, here)]


def _compare_installations(target: Target, here: str | None) -> list[Check]:
    url, key = target.get("SUPABASE_URL"), target.get("SUPABASE_SECRET_KEY")
    name = "installation"
    if not url or not key or not key.isascii() or not key.isprintable():
        return []
    try:
        response = httpx.post(
            f"{url.rstrip('/')}/rest/v1/rpc/installation_id", headers={"apikey": key}, json={}, timeout=6
        )
        there = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        there = None
    if there is None:
        cure = "First cure what keeps REST or the secret key from answering."
        return [fail(name, "The installation cannot be read through SUPABASE_URL.", cure)]
    if there != here:
        cure = (
            "Take SUPABASE_URL, SUPABASE_SECRET_KEY and DATABASE_URL from one project; the runner refuses this mixture."
        )
        return [fail(name, "SUPABASE_URL and DATABASE_URL lead to two different installations.", cure)]
    return [passed(name, "SUPABASE_URL and DATABASE_URL lead to the same one.")]
