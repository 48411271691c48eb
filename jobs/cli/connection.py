"""Database connections of the command line, and what their failures mean.

The causes are those that users of Supabase meet most. No message ever repeats a connection string: libpq's words on a
malformed one contain pieces of the password.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from jobs.errors import InstaShareError, NotReadyError, OperationFailed, SettingsError

__all__ = ["Connection", "connect", "explain", "open_admin", "parse"]

Connection = psycopg.Connection[tuple[Any, ...]]

# what the server or libpq says -> code, what it means, what to do
CAUSES = (
    (
        ("tenant or user not found", "tenant/user"),
        "tenant_not_found",
        "The pooler does not know this user or project.",
        "A pooler's user is <role>.<project ref>; check the region in the host, and that the project runs.",
    ),
    (
        ("emaxconnsession", "max clients", "too many connections", "remaining connection slots"),
        "pool_exhausted",
        "The pool has no connection left.",
        "Raise the pool size in the project's database settings (15 by default), or run fewer runners and pools.",
    ),
    (
        ("password authentication failed", "28p01", "wrong password"),
        "password_wrong",
        "The database refuses this password.",
        "Set the right password, percent-encoded. It was tried once only: repeated failures get the address banned.",
    ),
    (
        ("is not permitted to log in",),
        "login_disabled",
        "This role has no password and cannot log in yet.",
        "Run `instashare db runner-url`, and set DATABASE_URL to what it prints.",
    ),
    (
        ("does not exist",),
        "unknown_role_or_database",
        "The database or the role of this connection string does not exist.",
        "Check user and database name; migrations make the role instashare_runner: `instashare db migrate`.",
    ),
    (
        ("network is unreachable", "address family"),
        "ipv6_unreachable",
        "The host has an IPv6 address only, and this machine has no IPv6.",
        "Use the session pooler's connection string (<region>.pooler.supabase.com:5432), or the IPv4 add-on.",
    ),
    (
        ("could not translate host name", "name or service not known", "failed to resolve", "nodename nor servname"),
        "host_unknown",
        "The host name of this connection string cannot be found.",
        "Check the project ref. db.<ref>.supabase.co has IPv6 only: without IPv6 use the session pooler's string.",
    ),
    (
        ("no encryption", "ssl off", "ssl connection is required", "ssl required", "does not support ssl"),
        "ssl_mismatch",
        "Server and connection string disagree on SSL.",
        "A hosted project wants sslmode=require (or verify-full); a server without SSL wants sslmode=disable.",
    ),
    (
        ("invalid response to ssl negotiation", "server closed the connection unexpectedly"),
        "no_postgres",
        "What listens there does not speak PostgreSQL, or hangs up.",
        "Check host and port: the database's is 5432 as a rule, and not that of REST or a proxy.",
    ),
    (
        ("connection refused", "no such file or directory"),
        "connection_refused",
        "Nothing listens at this host and port.",
        "Start the database (`./instashare up`), or correct host and port.",
    ),
    (
        ("timeout", "timed out"),
        "connection_timeout",
        "The database did not answer in time.",
        "Check host, port and firewall; after repeated wrong passwords a hosted project bans the address for a while.",
    ),
)


def parse(url: str, name: str = "ADMIN_DATABASE_URL") -> dict[str, str]:
    """Read a connection string into its parts; the SettingsError it raises repeats nothing of it."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        parts = {"port": "unreadable"}
    # libpq checks the port only when it connects, and would then print it: a piece of a password that holds a slash
    if not all(port.isdecimal() or not port for port in str(parts.get("port", "")).split(",")):
        raise SettingsError(
            "connection_string_malformed",
            f"{name} is no valid connection string.",
            "The form is postgresql://user:password@host:port/database; percent-encode / @ : # ? % in the password.",
        )
    return {key: str(value) for key, value in parts.items() if value is not None}


def explain(error: psycopg.Error, name: str = "ADMIN_DATABASE_URL") -> InstaShareError:
    """Say what a failed connection means: wrong settings, or a database that is not there (NotReadyError)."""
    words = str(error).strip()
    for patterns, code, meaning, cure in CAUSES:
        if any(pattern in words.lower() for pattern in patterns):
            kind = NotReadyError if code in ("connection_refused", "connection_timeout") else OperationFailed
            return kind(code, f"{name}: {meaning}", cure)
    first = words.splitlines()[0] if words else "the connection failed"
    return OperationFailed(
        "connection_failed", f"{name}: {first}", "Check the connection string and the database's log."
    )


@contextmanager
def connect(url: str, name: str = "ADMIN_DATABASE_URL", seconds: int = 8) -> Iterator[Connection]:
    """Open one connection, tried once, and close it at the end; fits direct connections and both kinds of pooler.

    Raises SettingsError for a malformed string, NotReadyError or OperationFailed when it cannot connect or is lost.
    """
    parse(url, name)
    try:
        connection = psycopg.connect(
            url, connect_timeout=seconds, prepare_threshold=None, application_name="instashare-cli"
        )
    except psycopg.Error as error:
        raise explain(error, name) from error
    try:
        with connection:
            yield connection
    except psycopg.OperationalError as error:
        if error.sqlstate is None or error.sqlstate.startswith(("57P", "08")):
            raise NotReadyError("connection_lost", f"{name}: the connection was lost.", "Try again.") from error
        raise _failed(error) from error
    except psycopg.Error as error:
        raise _failed(error) from error


@contextmanager
def open_admin(url: str) -> Iterator[Connection]:
    """Connect for a verb that reads and changes InstaShare's tables; raises NotReadyError before the migrations."""
    with connect(url) as connection:
        row = connection.execute("select to_regclass('jobs.queue') is not null").fetchone()
        if not row or not row[0]:
            raise NotReadyError(
                "not_migrated", "InstaShare's tables are not in this database.", "Run `instashare db migrate` first."
            )
        yield connection


def _failed(error: psycopg.Error) -> OperationFailed:
    """What the database said; functions of ours put a stable code into the detail (SQLSTATE PT4xx)."""
    own = bool(error.sqlstate and error.sqlstate.startswith("PT"))
    code = error.diag.message_detail if own and error.diag.message_detail else "database_error"
    message = error.diag.message_primary or str(error)
    return OperationFailed(code, message if own else f"{message} ({error.sqlstate})", error.diag.message_hint or "")
