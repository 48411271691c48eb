"""`instashare db`: migrations, the runner's connection string, and who may do what."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import psycopg
import typer
from psycopg import sql
from rich.console import Console
from rich.table import Table

from jobs import queries
from jobs.cli import migrations
from jobs.cli.authorisation import WORDS, read_authorisation
from jobs.cli.connection import Connection, connect, parse
from jobs.cli.migrations import Migration
from jobs.cli.output import DEFAULT_DATA_DIR, DataDir, Json, answer, guarded, notice, notices
from jobs.cli.target import Target, find_target
from jobs.errors import NotReadyError, SettingsError

__all__ = ["migrate_database", "register", "runner_url"]

RUNNER = "instashare_runner"


def register(app: typer.Typer) -> None:
    """Add the group `db`."""
    db = typer.Typer(no_args_is_help=True, help="Migrations, the runner's connection string, who may do what.")
    app.add_typer(db, name="db", rich_help_panel="Operating")
    db.command("migrate")(guarded(migrate))
    db.command("status")(guarded(status))
    db.command("matrix")(guarded(matrix))
    db.command("runner-url")(guarded(print_runner_url))


def migrate(
    wait: Annotated[
        int, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait for Auth's and Storage's tables this long.")
    ] = 0,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Apply the migrations that the database lacks; a second run does nothing."""
    applied = migrate_database(find_target(data_dir).require("ADMIN_DATABASE_URL"), wait=wait, quiet=as_json)

    def show(console: Console) -> None:
        if applied:
            console.print(f"Applied {len(applied)} migration{'s' if len(applied) > 1 else ''}.")
        else:
            console.print("Nothing to do: the database has every migration.")

    answer({"applied": [one.file.name for one in applied]}, as_json, show)


def migrate_database(
    admin_url: str, *, folder: Path = migrations.FOLDER, wait: int = 0, quiet: bool = False
) -> list[Migration]:
    """Bring the database of `admin_url` up to the files of `folder`, as the role `postgres`; returns what was applied.

    Waits up to `wait` seconds for `auth.users` and `storage.objects`, which Supabase's services make. Unless `quiet`, a
    person hears of each step on stderr. Raises the errors of `connect` and `apply_pending`, and NotReadyError when
    Supabase's tables are missing.
    """
    found = migrations.read_migrations(folder)
    if not found:
        raise NotReadyError(
            "no_migrations", f"There are no migrations in {folder}.", "Run this in InstaShare's folder."
        )
    with connect(admin_url) as connection:
        migrations.become_postgres(connection)
        _await_supabase(connection, wait, quiet)
        known = {one.version for one in found}
        for state in migrations.list_states(connection, found):
            if state.version not in known:
                notice(f"[yellow]The database has a migration {state.version} that this folder lacks.[/]", quiet)

        def begin(migration: Migration) -> None:
            notice(f"  {found.index(migration) + 1:>3} of {len(found)}  {migration.file.name}", quiet)

        def queue() -> None:
            notice("Another migration run is under way; waiting for it.", quiet)

        return migrations.apply_pending(connection, found, begin, queue)


def status(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show which migrations are applied, pending, or edited after they were applied."""
    found = migrations.read_migrations()
    with connect(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        states = migrations.list_states(connection, found)
    current = all(state.state in ("applied", "unknown") for state in states)
    rows = [{"version": one.version, "name": one.name, "state": one.state} for one in states]

    def show(console: Console) -> None:
        table = Table("version", "name", "state", box=None)
        colours = {"applied": "green", "pending": "yellow", "edited": "red", "unknown": "yellow"}
        for state in states:
            table.add_row(state.version, state.name, f"[{colours[state.state]}]{state.state}[/]")
        console.print(table)
        if any(state.state == "pending" for state in states):
            console.print("Apply what is pending with `instashare db migrate`.")

    answer({"current": current, "migrations": rows}, as_json, show)
    if not current:
        raise typer.Exit(1)


def matrix(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Print who may do what, as the rules have it, and the privileges and policies of this installation."""
    texts = queries.load("reports")
    rules = read_authorisation()
    with connect(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        privileges = connection.execute(texts["list_privileges"]).fetchall()
        policies = connection.execute(texts["list_policies"]).fetchall()
        functions = connection.execute(texts["list_function_grants"]).fetchall()
    data: dict[str, Any] = {
        "who": rules.who,
        "rules": [
            {"on": row.title, "verb": row.verb, **{name: WORDS[letter] for name, letter in row.cells.items()}}
            for row in rules.rows
        ],
        "writable": rules.writable,
        "tables": [
            {"table": name, "row_level_security": secured, "role": role, "privileges": verbs}
            for name, secured, role, verbs in privileges
        ],
        "policies": [
            {"table": name, "policy": policy, "verb": verb, "roles": roles, "using": using, "check": check}
            for name, policy, verb, roles, using, check in policies
        ],
        "functions": [{"function": name, "definer": definer, "roles": roles} for name, definer, roles in functions],
    }

    def show(console: Console) -> None:
        cells = Table("what", "verb", *rules.who, title="Who may do what", title_justify="left")
        for row in rules.rows:
            colours = {"y": "[green]", "x": "[dim]"}
            marks = [f"{colours.get(letter, '')}{WORDS[letter]}" for letter in row.cells.values()]
            cells.add_row(row.title, row.verb, *marks)
        columns = Table("table", "verb", "columns", title="Columns that can be written", title_justify="left")
        for name, by_verb in rules.writable.items():
            for verb, written in by_verb.items():
                columns.add_row(name, verb, ", ".join(written) or "none")
        tables = Table("table", "row security", "role", "may", title="Privileges", title_justify="left")
        last = None
        for name, secured, role, verbs in privileges:
            first = name != last
            tables.add_row(name if first else "", ("yes" if secured else "no") if first else "", role, ", ".join(verbs))
            last = name
        policed = Table("table", "verb", "policy", "to", title="Policies", title_justify="left")
        for name, policy, verb, roles, *_ in policies:
            policed.add_row(name, verb, policy, ", ".join(roles))
        calls = Table("function", "runs as", "callable by", title="Functions", title_justify="left")
        for name, definer, roles in functions:
            calls.add_row(name, "owner" if definer else "caller", ", ".join(roles))
        for table in (cells, columns, tables, policed, calls):
            console.print(table)

    answer(data, as_json, show)


def print_runner_url(
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="Take the password from this file instead of making one.")
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Give the runner's role a password and print its connection string (DATABASE_URL), password included."""
    target = find_target(data_dir)
    url = runner_url(target, _read_password(password_file))

    def show(console: Console) -> None:
        notices.print("Keep this secret; it is the runner's DATABASE_URL:")
        console.print(url, markup=False)

    answer({"database_url": url}, as_json, show)


def runner_url(target: Target, password: str | None = None) -> str:
    """Let `instashare_runner` log in with `password` and return its connection string.

    Without one the local stack keeps its own, elsewhere one is made (48 hexadecimal digits). The server gets a
    SCRAM verifier, so that no log can hold the password. Raises NotReadyError before the migrations made the role.
    """
    admin_url = target.require("ADMIN_DATABASE_URL")
    local = target.local if target.is_local else None
    kept = local is not None and admin_url == local.database_url("supabase_admin")
    if password is None:
        password = local.secrets.passwords[RUNNER] if local is not None and kept else secrets.token_hex(24)
    with connect(admin_url) as connection:
        if not connection.execute("select 1 from pg_roles where rolname = %s", [RUNNER]).fetchone():
            raise NotReadyError(
                "not_migrated", f"The role {RUNNER} does not exist yet.", "Run `instashare db migrate` first."
            )
        verifier = connection.pgconn.encrypt_password(password.encode(), RUNNER.encode(), b"scram-sha-256").decode()
        statement = sql.SQL("alter role {} with login password {}").format(
            sql.Identifier(RUNNER), sql.Literal(verifier)
        )
        connection.execute(statement)
    return _compose_url(parse(admin_url), password)


def _compose_url(admin: dict[str, str], password: str) -> str:
    """The admin's string with the runner's user and password; a pooler's user carries the project ref behind a dot."""
    _, dot, ref = admin.get("user", "postgres").partition(".")
    host, port = admin.get("host", "127.0.0.1"), admin.get("port", "5432")
    place = f"[{host}]" if ":" in host else quote(host, safe="")
    rest = {key: value for key, value in admin.items() if key not in ("user", "password", "host", "port", "dbname")}
    tail = f"?{urlencode(rest, quote_via=quote)}" if rest else ""
    user = quote(f"{RUNNER}{dot}{ref}", safe="")
    return (
        f"postgresql://{user}:{quote(password, safe='')}@{place}:{port}/{quote(admin.get('dbname', 'postgres'))}{tail}"
    )


def _read_password(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        password = file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("password_file_unreadable", f"{file} cannot be read ({type(error).__name__}).") from error
    if len(password) < 12:
        raise SettingsError("password_too_short", f"{file} holds fewer than 12 characters.", "Use a longer password.")
    return password


def _await_supabase(connection: Connection, seconds: int, quiet: bool) -> None:
    """Wait until Auth and Storage have made their tables, on which ours have triggers and policies."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        with connection.transaction():
            missing = [
                name for name in ("auth.users", "storage.objects", "storage.buckets") if not _exists(connection, name)
            ]
        if not missing:
            return
        if time.monotonic() >= deadline:
            raise NotReadyError(
                "supabase_not_ready",
                f"The database lacks {', '.join(missing)}, which Supabase's own services make.",
                "Start Auth and Storage first; --wait SECONDS waits for them.",
            )
        if not told:
            notice(f"Waiting for {', '.join(missing)}.", quiet)
            told = True
        time.sleep(0.5)


def _exists(connection: psycopg.Connection[Any], name: str) -> bool:
    # pg_class and not to_regclass, which needs USAGE on the schema
    schema, _, table = name.partition(".")
    found = connection.execute(
        "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = %s and c.relname = %s",
        [schema, table],
    )
    return found.fetchone() is not None
