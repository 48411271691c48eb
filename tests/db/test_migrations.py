"""The migrations: as a hosted project's `postgres`, once, and the same database every time."""

from __future__ import annotations

import psycopg
import pytest

from jobs.cli import migrations
from local import installation as installations
from local import postgres
from tests.db.conftest import Database, refused


def test_they_apply_as_a_postgres_that_is_no_superuser_and_a_second_run_does_nothing(
    cluster: installations.Installation,
) -> None:
    files = migrations.read_migrations()
    postgres.prepare_database(cluster, "test_migrations")
    with psycopg.connect(cluster.database_url("postgres", "test_migrations")) as connection:
        migrations.become_postgres(connection)
        row = connection.execute("select current_user, current_setting('is_superuser')").fetchone()
        assert row == ("postgres", "off")
        assert [one.version for one in migrations.apply_pending(connection, files)] == [one.version for one in files]
        assert migrations.apply_pending(connection, files) == []
        assert {state.state for state in migrations.list_states(connection, files)} == {"applied"}


def test_everything_belongs_to_postgres(database: Database) -> None:
    rows = database.run(
        """
        select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('public', 'private', 'jobs') and c.relowner <> 'postgres'::regrole
        union all
        select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ('public', 'private', 'jobs') and p.proowner <> 'postgres'::regrole
        """
    )
    assert rows == []


def test_every_table_and_function_that_clients_see_says_what_it_is_for(database: Database) -> None:
    rows = database.run(
        """
        select c.oid::regclass::text as name from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
            and obj_description(c.oid, 'pg_class') is null
        union all
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'public'::regnamespace and obj_description(p.oid, 'pg_proc') is null
        """
    )
    assert rows == []


def test_every_foreign_key_has_an_index_that_begins_with_it(database: Database) -> None:
    rows = database.run(
        """
        select k.conrelid::regclass::text as relation, k.conname from pg_constraint k
            join pg_namespace n on n.oid = k.connamespace
        where k.contype = 'f' and n.nspname in ('public', 'private', 'jobs') and not exists (
            select from pg_index i where i.indrelid = k.conrelid and i.indkey[0] = k.conkey[1]
        )
        """
    )
    assert rows == []


def test_no_index_of_the_queue_mentions_state_lease_or_progress(database: Database) -> None:
    rows = database.run("select indexdef from pg_indexes where schemaname = 'jobs' and tablename = 'queue'")
    assert len(rows) >= 5
    for row in rows:
        for word in ("state", "lease", "worker", "attempt", "cancel", "crashes", "failures"):
            assert word not in row["indexdef"].split(" USING ")[1]


def test_the_settings_are_one_row_within_their_bounds(database: Database) -> None:
    for statement in (
        "insert into private.settings default values",
        "insert into private.settings (only_row) values (false)",
        "update private.settings set quota_bytes = 0",
        "update private.settings set upload_period = '1 hour'",
        "update private.settings set orphan_period = '1 hour'",
    ):
        with pytest.raises(psycopg.errors.IntegrityError):
            database.run(statement)
    # a file that cannot be compressed must fit into the bucket of archives
    assert database.value(
        "select bool_and((b.file_size_limit - 65536) / 1.001 >= s.file_size_limit_bytes)"
        " from storage.buckets b, private.settings s"
    )


def test_a_hosted_project_would_have_refused_what_the_migrations_do_not_do(
    cluster: installations.Installation, database: Database
) -> None:
    name = database.superuser.info.dbname
    with psycopg.connect(cluster.database_url("postgres", name), autocommit=True) as hosted:
        for statement in (
            "alter table storage.objects enable row level security",
            "create index on auth.users (email)",
            "create table storage.mine (id int)",
            "alter system set fsync = off",
            "copy documents to program 'true'",
        ):
            with refused("42501"):
                hosted.execute(statement)
