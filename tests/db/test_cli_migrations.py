"""`instashare db migrate` on a real database, as the role `postgres` of a hosted project."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from jobs.cli.database import migrate_database
from jobs.cli.migrations import apply_pending, become_postgres, list_states, read_migrations
from jobs.errors import NotReadyError, OperationFailed
from local import postgres
from local.installation import Installation

from .conftest import Database, numbers, wait_until


@pytest.fixture(scope="module")
def empty(cluster: Installation) -> str:
    """A template as Supabase's services leave it, before any migration of ours."""
    postgres.prepare_database(cluster, "template_empty")
    return "template_empty"


@pytest.fixture
def url(cluster: Installation, empty: str) -> Iterator[str]:
    """The superuser's string of a database without migrations."""
    name = f"test_{next(numbers)}"
    with psycopg.connect(cluster.database_url("supabase_admin", "template1"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("create database {} template {} owner postgres").format(sql.Identifier(name), sql.Identifier(empty))
        )
        yield cluster.database_url("supabase_admin", name)
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "20260101000000_make_first.sql").write_text("-- why\ncreate table public.first (id int);\n")
    (tmp_path / "20260101000001_make_second.sql").write_text(
        "create table public.second (id int);\ninsert into public.second values (1); -- one\n"
    )
    (tmp_path / "README.sql").write_text("not a migration")
    return tmp_path


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def recorded(url: str) -> list[tuple[Any, ...]]:
    return rows(url, "select version, name, statements from supabase_migrations.schema_migrations order by version")


def test_migrations_are_applied_once_and_recorded_as_the_supabase_cli_does(url: str, folder: Path) -> None:
    assert [one.name for one in migrate_database(url, folder=folder, quiet=True)] == ["make_first", "make_second"]
    assert migrate_database(url, folder=folder, quiet=True) == []
    assert recorded(url) == [
        ("20260101000000", "make_first", ["-- why\ncreate table public.first (id int)"]),
        (
            "20260101000001",
            "make_second",
            ["create table public.second (id int)", "insert into public.second values (1)", "-- one"],
        ),
    ]
    assert rows(url, "select id from public.second") == [(1,)]
    (owner,) = rows(url, "select tableowner from pg_tables where tablename = 'first'")
    assert owner == ("postgres",)
    assert rows(
        url,
        "select attname::text, format_type(atttypid, null), attnotnull from pg_attribute"
        " where attrelid = 'supabase_migrations.schema_migrations'::regclass and attnum > 0 order by attnum",
    ) == [("version", "text", True), ("statements", "text[]", False), ("name", "text", False)]


def test_what_the_supabase_cli_applied_is_taken_as_applied(url: str, folder: Path) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create schema supabase_migrations authorization postgres")
        connection.execute("set role postgres")
        connection.execute(
            "create table supabase_migrations.schema_migrations"
            " (version text primary key, statements text[], name text)"
        )
        connection.execute(
            "insert into supabase_migrations.schema_migrations values"
            " ('20260101000000', array[E'-- why\\n\\ncreate   table public.first (id int);'], 'make_first'),"
            " ('20260101000001', null, 'make_second')"
        )
    assert migrate_database(url, folder=folder, quiet=True) == []


@pytest.mark.parametrize("change", ["\n-- a word\n", "\nselect 1;\n"])
def test_an_edited_migration_is_noticed(url: str, folder: Path, change: str) -> None:
    migrate_database(url, folder=folder, quiet=True)
    file = folder / "20260101000000_make_first.sql"
    file.write_text(file.read_text() + change)
    (folder / "20260101000002_make_third.sql").write_text("create table public.third (id int);")
    with pytest.raises(OperationFailed, match=r"20260101000000_make_first\.sql was changed") as caught:
        migrate_database(url, folder=folder, quiet=True)
    assert caught.value.code == "migration_edited"
    with psycopg.connect(url) as connection:
        states = [one.state for one in list_states(connection, read_migrations(folder))]
    assert states == ["edited", "applied", "pending"]


def test_white_space_is_no_edit(url: str, folder: Path) -> None:
    migrate_database(url, folder=folder, quiet=True)
    file = folder / "20260101000000_make_first.sql"
    file.write_text(file.read_text().replace("\n", "\r\n") + "\n\n;\n")
    assert migrate_database(url, folder=folder, quiet=True) == []


HALF = "create table public.half (id int);\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n\nselect\n    nowhere;\n", r'line 5: column "nowhere" does not exist \(SQLSTATE 42703\)'),
        ("-- é\nselect 'é',\n  from from;\n", r"line 4: syntax error"),
        ("-- why\n\ncreate table public.first (id int);\n", r'line 4: relation "first" already exists'),
        ("create table storage.ours (id int);", r"line 2: permission denied"),
        ("commit;\n", r"line 2: a migration is one transaction"),
    ],
)
def test_a_failing_migration_names_its_line_and_leaves_nothing(url: str, folder: Path, text: str, words: str) -> None:
    (folder / "20260101000002_fail.sql").write_text(HALF + text)
    with pytest.raises(OperationFailed, match=words) as caught:
        migrate_database(url, folder=folder, quiet=True)
    assert caught.value.code == "migration_failed"
    assert "20260101000002_fail.sql" in caught.value.message
    assert [version for version, *_ in recorded(url)] == ["20260101000000", "20260101000001"]
    assert rows(url, "select to_regclass('public.half')") == [(None,)]


def test_parallel_runs_apply_each_migration_once(url: str, folder: Path) -> None:
    (folder / "20260101000002_slow.sql").write_text("select pg_sleep(0.3);\ncreate table public.third (id int);")
    found: list[list[str]] = []
    waited: list[bool] = []

    def run() -> None:
        with psycopg.connect(url) as connection:
            become_postgres(connection)
            applied = apply_pending(connection, read_migrations(folder), wait=lambda: waited.append(True))
            found.append([one.name for one in applied])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(name for names in found for name in names) == ["make_first", "make_second", "slow"]
    assert len(found) == 4
    assert waited


def test_rest_is_told_to_read_the_schema_anew(url: str, folder: Path) -> None:
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute("listen pgrst")
        migrate_database(url, folder=folder, quiet=True)
        told = {notice.payload for notice in listener.notifies(timeout=10, stop_after=1)}
        assert told == {"reload schema"}
        list(listener.notifies(timeout=0.1))
        migrate_database(url, folder=folder, quiet=True)
        assert list(listener.notifies(timeout=0.3)) == []


def test_a_database_without_supabase_is_refused(cluster: Installation, folder: Path) -> None:
    name = f"test_{next(numbers)}"
    with psycopg.connect(cluster.database_url("supabase_admin", "template1"), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        with pytest.raises(NotReadyError, match=r"auth\.users"):
            migrate_database(cluster.database_url("supabase_admin", name), folder=folder, quiet=True)
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def test_waiting_for_the_services_tables(url: str, folder: Path) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("alter table auth.users rename to people")
        done: list[int] = []
        thread = threading.Thread(
            target=lambda: done.append(len(migrate_database(url, folder=folder, wait=60, quiet=True)))
        )
        thread.start()
        wait_until(
            lambda: admin.execute(
                "select 1 from pg_stat_activity"
                " where application_name = 'instashare-cli' and datname = current_database()"
            ).fetchone()
        )
        admin.execute("alter table auth.people rename to users")
        thread.join(60)
    assert done == [2]


def test_two_files_of_one_version_are_refused(folder: Path) -> None:
    (folder / "20260101000000_again.sql").write_text("select 1")
    with pytest.raises(OperationFailed, match="the same version"):
        read_migrations(folder)


def test_our_own_migrations_are_applied_as_they_stand(database: Database) -> None:
    with psycopg.connect(database.url) as connection:
        states = {one.state for one in list_states(connection, read_migrations())}
    assert states == {"applied"}
