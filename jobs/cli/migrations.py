"""Apply the migrations of `supabase/migrations`, and know what was applied.

The bookkeeping is the Supabase CLI's own, so that `supabase db push` and ours may take turns: table
`supabase_migrations.schema_migrations(version text primary key, statements text[], name text)`, files
`^([0-9]+)_(.*)\\.sql$`, one transaction each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from jobs import queries
from jobs.cli.output import ROOT
from jobs.cli.statements import Statement, split_statements
from jobs.errors import NotReadyError, OperationFailed

__all__ = ["FOLDER", "Migration", "State", "apply_pending", "become_postgres", "list_states", "read_migrations"]

FOLDER = ROOT / "supabase" / "migrations"
FILE_NAME = re.compile(r"^([0-9]+)_(.*)\.sql$")
LOCK = 0x1A5A5A8E  # any number of ours: two migrations of one database wait for each other
DIRECTIVE = re.compile(r"^\s*(?:begin|start\s+transaction|commit|end|rollback)\b", re.IGNORECASE)

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Migration:
    """One file: `version` and `name` from its file name, `statements` in order."""

    version: str
    name: str
    file: Path
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class State:
    """How a version stands: applied, pending, edited after it was applied, or unknown to the folder."""

    version: str
    name: str
    state: Literal["applied", "pending", "edited", "unknown"]


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """Read every migration, in the order in which they apply; files of other names are no migrations.

    Raises OperationFailed for two files of one version, or text that is not UTF-8.
    """
    found: dict[str, Migration] = {}
    for file in sorted(folder.glob("*.sql")):
        if not (match := FILE_NAME.match(file.name)):
            continue
        version, name = match.groups()
        if version in found:
            raise OperationFailed(
                "version_twice",
                f"{found[version].file.name} and {file.name} have the same version.",
                "Give the later one a version of its own.",
            )
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise OperationFailed("not_utf8", f"{file.name} is not UTF-8 text ({error}).") from error
        found[version] = Migration(version, name, file, tuple(split_statements(text)))
    return list(found.values())


def become_postgres(connection: Connection) -> None:
    """Go on as the role `postgres`, as which every migration runs; a superuser of another name becomes it.

    So the local stack (superuser `supabase_admin`) refuses what a hosted project would refuse. Raises NotReadyError
    when there is no such role: no Supabase database.
    """
    row = connection.execute(
        "select session_user, current_setting('is_superuser') = 'on', to_regrole('postgres') is not null"
    ).fetchone()
    assert row is not None
    user, superuser, exists = row
    if not exists:
        raise NotReadyError(
            "not_supabase", "This database has no role `postgres`.", "Point ADMIN_DATABASE_URL at a Supabase database."
        )
    if superuser and user != "postgres":
        connection.execute("set session authorization postgres")
        connection.execute("""set search_path = "$user", public, extensions""")
    connection.execute("set statement_timeout = 0")
    connection.execute("set lock_timeout = '60s'")
    connection.execute("set idle_in_transaction_session_timeout = 0")
    connection.commit()


def list_states(connection: Connection, migrations: Sequence[Migration]) -> list[State]:
    """Compare the files with the database's bookkeeping, ordered by version; changes nothing."""
    with connection.transaction():
        recorded = _read_recorded(connection)
    states = [_compare(migration, recorded) for migration in migrations]
    own = {migration.version for migration in migrations}
    states += [State(version, name or "", "unknown") for version, (name, _) in recorded.items() if version not in own]
    return sorted(states, key=lambda state: (len(state.version), state.version))


def apply_pending(
    connection: Connection,
    migrations: Sequence[Migration],
    begin: Callable[[Migration], None] = lambda migration: None,
    wait: Callable[[], None] = lambda: None,
) -> list[Migration]:
    """Apply what the database lacks, each in a transaction of its own; returns what was applied.

    `begin` hears of each migration before it runs, `wait` when another migration run holds the lock. Each transaction
    takes the lock and looks again, so parallel runs apply nothing twice, through a transaction pooler too. PostgREST is
    told to read the schema anew. Raises OperationFailed, with file, line and the database's words, for a migration that
    fails (it leaves nothing behind), and `migration_edited` for one that changed after it was applied.
    """
    texts = queries.load("migrations")
    with connection.transaction():
        _lock(connection, wait)
        if not _has_bookkeeping(connection):
            connection.execute(texts["create_bookkeeping"])
        recorded = _read_recorded(connection)
    for migration in migrations:
        if _compare(migration, recorded).state == "edited":
            raise OperationFailed(
                "migration_edited",
                f"{migration.file.name} was changed after it had been applied.",
                "Put the file back as it was, and write the change as a new migration.",
            )
    applied: list[Migration] = []
    try:
        for migration in migrations:
            if migration.version not in recorded and _apply(connection, migration, begin, wait):
                applied.append(migration)
    finally:
        if applied:
            with connection.transaction():
                connection.execute("notify pgrst, 'reload schema'")
    return applied


def _apply(
    connection: Connection, migration: Migration, begin: Callable[[Migration], None], wait: Callable[[], None]
) -> bool:
    """Apply one migration in its transaction; false where another run did it while this one waited for the lock."""
    texts = queries.load("migrations")
    with connection.transaction():
        _lock(connection, wait)
        if connection.execute(texts["find_version"], {"version": migration.version}).fetchone():
            return False
        begin(migration)
        _run(connection, migration)
        statements = [statement.text for statement in migration.statements]
        values = {"version": migration.version, "name": migration.name, "statements": statements}
        connection.execute(texts["record_version"], values)
    return True


def _lock(connection: Connection, wait: Callable[[], None]) -> None:
    row = connection.execute("select pg_try_advisory_xact_lock(%s)", [LOCK]).fetchone()
    if row is not None and not row[0]:
        wait()
        # The other run may take minutes: lock_timeout holds for this lock too.
        connection.execute("set local lock_timeout = 0")
        connection.execute("select pg_advisory_xact_lock(%s)", [LOCK])
        connection.execute("set local lock_timeout = '60s'")


def _has_bookkeeping(connection: Connection) -> bool:
    row = connection.execute("select to_regclass('supabase_migrations.schema_migrations') is not null").fetchone()
    return bool(row and row[0])


def _read_recorded(connection: Connection) -> dict[str, tuple[str | None, list[str] | None]]:
    if not _has_bookkeeping(connection):
        return {}
    rows = connection.execute(queries.load("migrations")["list_versions"]).fetchall()
    return {version: (name, statements) for version, name, statements in rows}


def _compare(migration: Migration, recorded: dict[str, tuple[str | None, list[str] | None]]) -> State:
    if migration.version not in recorded:
        return State(migration.version, migration.name, "pending")
    _, statements = recorded[migration.version]
    # The Supabase CLI splits and trims in its own way, and repairs rows without statements.
    same = statements is None or _essence(statements) == _essence([one.text for one in migration.statements])
    return State(migration.version, migration.name, "applied" if same else "edited")


def _essence(statements: Sequence[str]) -> str:
    return re.sub(r"[\s;]+", "", "".join(statements))


def _run(connection: Connection, migration: Migration) -> None:
    for statement in migration.statements:
        if not statement.runs:
            continue
        if DIRECTIVE.match(_without_comments(statement.text)):
            raise OperationFailed(
                "migration_failed",
                f"{migration.file.name}, line {statement.line}: a migration is one transaction and cannot steer it.",
                "Remove its begin, commit or rollback.",
            )
        try:
            connection.execute(statement.text)
        except psycopg.Error as error:
            raise _blame(migration, statement, error) from error


def _without_comments(text: str) -> str:
    return re.sub(r"^(?:\s*--[^\n]*\n|\s*/\*.*?\*/)*", "", text, flags=re.DOTALL)


def _blame(migration: Migration, statement: Statement, error: psycopg.Error) -> OperationFailed:
    """Name file and line; the database's position counts characters of the statement from 1."""
    position = int(error.diag.statement_position or 1)
    line = statement.line + statement.text.count("\n", 0, position - 1)
    if error.diag.statement_position is None:  # blame the first line that is no comment
        first = _without_comments(statement.text).lstrip()
        line += statement.text[: len(statement.text) - len(first)].count("\n")
    words = error.diag.message_primary or str(error).strip() or "the connection was lost"
    code = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
    more = [part for part in (error.diag.message_detail, error.diag.message_hint, error.diag.context) if part]
    cure = "Nothing of this migration was applied."
    return OperationFailed(
        "migration_failed", f"{migration.file.name}, line {line}: {words}{code}", "\n  ".join([*more, cure])
    )
