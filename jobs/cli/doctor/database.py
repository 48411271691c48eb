"""What ADMIN_DATABASE_URL shows: migrations, privileges, policies, triggers, buckets, limits, and who is alive."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg

from jobs import queries
from jobs.cli.connection import Connection, connect
from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.doctor.connection_strings import is_safe_to_try
from jobs.cli.doctor.cron import check_cron
from jobs.cli.doctor.vault import check_vault
from jobs.cli.migrations import Migration, list_states, read_migrations
from jobs.cli.target import Target
from jobs.cli.units import show_seconds, show_size
from jobs.errors import InstaShareError

__all__ = ["check_database", "expected_objects"]

MIGRATE = "Run `instashare db migrate`."
MADE = re.compile(
    r"""^\s*(create|drop)\s+(?:or\s+replace\s+)?(policy|trigger)\s+(?:if\s+exists\s+)?("(?:[^"]|"")+"|\w+)
        .*?\son\s+([\w.]+)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
# What must be possible (as has_…_privilege knows it), and what must not.
NEEDED = (
    ("authenticated", "table", "public.documents", "select"),
    ("authenticated", "column", "public.documents.name", "insert"),
    ("authenticated", "column", "public.documents.size_bytes", "insert"),
    ("authenticated", "column", "public.documents.mime_type", "insert"),
    ("authenticated", "column", "public.documents.name", "update"),
    ("authenticated", "column", "public.profiles.first_name", "update"),
    ("authenticated", "function", "public.request_download(uuid)", "execute"),
    ("authenticated", "function", "public.delete_document(uuid)", "execute"),
    ("authenticated", "function", "private.is_active()", "execute"),
    ("authenticated", "function", "private.may_store_original(text)", "execute"),
    ("service_role", "function", "public.installation_id()", "execute"),
    ("instashare_runner", "schema", "jobs", "usage"),
    ("instashare_runner", "function", "jobs.exchange(uuid,text,jsonb)", "execute"),
)


def check_database(target: Target) -> list[Check]:
    """Log in with ADMIN_DATABASE_URL, once, and look; none without a sound setting (its own check fails)."""
    url = target.get("ADMIN_DATABASE_URL")
    if not url or not is_safe_to_try(url):
        return []
    found: list[Check] = []
    name = "connection.ADMIN_DATABASE_URL"
    try:
        with connect(url, seconds=6) as connection:
            connection.execute("set statement_timeout = '4s'")
            connection.execute("set default_transaction_read_only = on")
            connection.commit()
            found.append(passed(name, f"Logs in as {connection.info.user}."))
            found += _check_server(connection)
            migrations = read_migrations()
            current = _check_migrations(connection, migrations)
            found.append(current)
            if not _one(connection, "has_our_tables"):
                return found
            found.append(_check_objects(connection, migrations))
            for check in (_check_privileges, _check_row_security, _check_role, check_vault, *_LIVELY):
                found += _attempt(connection, check)
            limit = target.local.storage_limit if target.is_local and target.local else None
            found += _attempt(connection, check_cron, "cron")
            found += _attempt(connection, partial(_check_buckets, project_limit=limit), "buckets")
    except InstaShareError as error:
        found.append(fail(name, error.message, error.cure))
    return found


def expected_objects(migrations: Sequence[Migration]) -> set[tuple[str, str, str]]:
    """The policies and triggers that the migrations make and do not drop again: (kind, name, table)."""
    expected: set[tuple[str, str, str]] = set()
    for migration in migrations:
        for statement in migration.statements:
            text = re.sub(r"^\s*--[^\n]*$", "", statement.text, flags=re.MULTILINE)
            if match := MADE.match(text):
                verb, kind, name, table = match.groups()
                name = name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
                one = (kind.lower(), name, table.lower())
                if verb.lower() == "create":
                    expected.add(one)
                else:
                    expected.discard(one)
    return expected


def _attempt(connection: Connection, check: Callable[[Connection], list[Check]], name: str = "") -> list[Check]:
    """Run one check in a transaction of its own, so that its failure leaves the others alone."""
    try:
        with connection.transaction():
            return check(connection)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        words = error.diag.message_primary or type(error).__name__
        return [fail(name or check.__name__.removeprefix("_check_"), f"Cannot be read: {words}.", MIGRATE)]


def _check_server(connection: Connection) -> list[Check]:
    row = connection.execute(queries.load("doctor")["read_server"]).fetchone()
    assert row is not None
    version, encoding, icu, now = row
    seconds = now - time.time()
    found = []
    if version < 150000:
        found.append(
            fail("server.version", f"PostgreSQL {version // 10000} is too old.", "Use PostgreSQL 15 or newer.")
        )
    else:
        found.append(passed("server.version", f"PostgreSQL {version // 10000}."))
    if encoding != "UTF8":
        cure = "Make the database anew, in UTF8."
        found.append(fail("server.encoding", f"The database's encoding is {encoding}.", cure))
    if not icu:
        found.append(
            fail("server.icu", "The server has no ICU collations.", "Use a PostgreSQL that is built with ICU.")
        )
    else:
        found.append(passed("server.icu", "ICU is there."))
    if abs(seconds) > 20:
        cure = "Let both machines keep time by NTP: tokens and shares end by the clock."
        found.append(fail("server.clock", f"The database's clock differs by {show_seconds(abs(seconds))}.", cure))
    else:
        found.append(passed("server.clock", "Agrees with this machine's."))
    return found


def _check_migrations(connection: Connection, migrations: Sequence[Migration]) -> Check:
    states = list_states(connection, migrations)
    wrong = {state: [one.version for one in states if one.state == state] for state in ("pending", "edited", "unknown")}
    if wrong["edited"]:
        cure = "Put the file back as it was applied, and write the change as a new migration."
        return fail("migrations", f"Changed after they were applied: {', '.join(wrong['edited'])}.", cure)
    if wrong["pending"]:
        return fail("migrations", f"{len(wrong['pending'])} of {len(migrations)} are not applied.", MIGRATE)
    if wrong["unknown"]:
        cure = "Bring this folder up to date: the database is ahead of it."
        return fail("migrations", f"This folder lacks {', '.join(wrong['unknown'])}.", cure)
    return passed("migrations", f"All {len(migrations)} are applied as they stand here.")


def _check_objects(connection: Connection, migrations: Sequence[Migration]) -> Check:
    rows = connection.execute(queries.load("doctor")["list_objects"]).fetchall()
    there = {(kind, name, table) for kind, name, table, enabled in rows if enabled}
    expected = expected_objects(migrations)
    missing = sorted(expected - there)
    if missing:
        words = "; ".join(f"{kind} “{name}” on {table}" for kind, name, table in missing)
        cure = "Somebody dropped or disabled it: make it again as its migration in supabase/migrations does."
        return fail("policies_and_triggers", f"Missing: {words}.", cure)
    foreign = [
        f"“{name}” on {table}"
        for kind, name, table, _ in rows
        if (kind, table) == ("policy", "storage.objects") and (kind, name, table) not in expected
    ]
    if foreign:
        cure = "Look whether it opens the buckets documents or archives; policies add up. Drop it if so."
        return fail("policies_and_triggers", f"There are other policies: {'; '.join(foreign)}.", cure)
    return passed("policies_and_triggers", f"All {len(expected)} are there.")


def _check_privileges(connection: Connection) -> list[Check]:
    text = queries.load("doctor")["has_privilege"]
    missing = []
    for role, kind, what, verb in NEEDED:
        row = connection.execute(text, {"role": role, "kind": kind, "what": what, "verb": verb}).fetchone()
        if not row or not row[0]:
            missing.append(f"{role} lacks {verb} on {what}")
    cure = "Grant it again as the migration does: without it clients get 42501."
    found = [fail("privileges.needed", f"{'; '.join(missing)}.", cure)] if missing else []
    found = found or [passed("privileges.needed", f"All {len(NEEDED)} are there.")]
    excess = [row[0] for row in connection.execute(queries.load("doctor")["list_excess"])]
    cure = "Revoke it; somebody granted it by hand, or an old project's default privileges did."
    if excess:
        return [*found, fail("privileges.excess", f"{'; '.join(excess[:5])}.", cure)]
    return [*found, passed("privileges.excess", "Nobody may do more than he should.")]


def _check_row_security(connection: Connection) -> list[Check]:
    open_tables = [row[0] for row in connection.execute(queries.load("doctor")["list_open_tables"])]
    if open_tables:
        cure = "alter table … enable row level security; the table is open to everybody with a privilege on it."
        return [fail("row_level_security", f"Off on {', '.join(open_tables)}.", cure)]
    return [passed("row_level_security", "On for every table.")]


def _check_buckets(connection: Connection, project_limit: int | None) -> list[Check]:
    rows = connection.execute(queries.load("doctor")["list_buckets"]).fetchall()
    buckets = {name: (public, limit) for name, public, limit in rows}
    found = [
        fail("buckets", f"The bucket {name} is missing.", MIGRATE)
        for name in ("documents", "archives")
        if name not in buckets
    ]
    found += [
        fail("buckets", f"The bucket {name} is public: anybody reads it without signing in.", "Make it private.")
        for name, (public, _) in buckets.items()
        if public
    ]
    largest = int(_one(connection, "read_document_limit"))
    # An incompressible file makes a larger ZIP (DESIGN: at most (limit - 64 KiB) / 1.001).
    needed = int(largest * 1.001) + 65536
    limits: list[tuple[str, int | None]] = [(f"the bucket {name}", limit) for name, (_, limit) in buckets.items()]
    limits.append(("Storage itself", project_limit))
    tight = [f"{name} takes {show_size(limit)}" for name, limit in limits if limit is not None and limit < needed]
    if not any(check.name == "buckets" for check in found):
        found.insert(0, passed("buckets", "Both are there and private."))
    if tight:
        cure = f"Raise the limit to {needed} bytes or more, or lower private.settings.file_size_limit_bytes."
        words = f"Too little for ZIPs of documents of {show_size(largest)}: {'; '.join(tight)}."
        return [*found, fail("storage_limits", words, cure)]
    note = f"Documents of {show_size(largest)} fit."
    if project_limit is None:
        note += f" Note: the project's own limit, which does not show here, must be {needed} bytes or more."
    return [*found, passed("storage_limits", note)]


def _check_role(connection: Connection) -> list[Check]:
    row = connection.execute(queries.load("doctor")["read_runner_role"]).fetchone()
    if row is None:
        return [fail("runner_role", "The role instashare_runner does not exist.", MIGRATE)]
    can_login, powerful = row
    if powerful:
        cure = "alter role instashare_runner nosuperuser nobypassrls nocreaterole nocreatedb; it needs none of it."
        return [fail("runner_role", "The role instashare_runner has powers that it must not have.", cure)]
    if not can_login:
        cure = "Run `instashare db runner-url`, and set DATABASE_URL to what it prints."
        return [fail("runner_role", "The role instashare_runner cannot log in yet.", cure)]
    return [passed("runner_role", "It can log in, and little else.")]


def _check_runner_alive(connection: Connection) -> list[Check]:
    row = connection.execute(queries.load("doctor")["read_last_runner"]).fetchone()
    cure = "Start one: `instashare jobs run` (the local stack has one: `./instashare up`)."
    if row is None:
        return [fail("runner_alive", "No runner was ever seen.", cure)]
    host, age = row
    if age > 90:
        return [fail("runner_alive", f"The last one ({host}) was seen {show_seconds(age)} ago.", cure)]
    return [passed("runner_alive", f"One on {host}, seen {show_seconds(age)} ago.")]


def _check_queue(connection: Connection) -> list[Check]:
    row = connection.execute(queries.load("doctor")["read_queue"]).fetchone()
    assert row is not None
    paused, oldest, dead = row
    if paused:
        return [fail("queue", "The queue is paused: nothing is archived.", "`instashare jobs resume`")]
    if oldest is not None and oldest > 600:
        cure = "Are runners alive, and enough of them? `instashare jobs stats`"
        return [fail("queue", f"A job has been waiting for {show_seconds(oldest)}.", cure)]
    note = f" Note: {dead} died within a day (`instashare jobs list --state dead`)." if dead else ""
    return [passed("queue", f"Nothing waits long.{note}")]


def _check_schedules(connection: Connection) -> list[Check]:
    late = [row[0] for row in connection.execute(queries.load("doctor")["list_late_schedules"])]
    if late:
        cure = "Schedules are fired by runners or pg_cron: start a runner."
        return [fail("schedules", f"Overdue for 15 minutes or more: {', '.join(late)}.", cure)]
    return [passed("schedules", "None is overdue.")]


_LIVELY = (_check_runner_alive, _check_queue, _check_schedules)


def _one(connection: Connection, name: str) -> Any:
    row = connection.execute(queries.load("doctor")[name]).fetchone()
    return row[0] if row else None
