"""What a hosted project's `postgres` may do in the locked schemas, and what it may not: alike on the local database."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from local import installation as installations
from local import postgres
from local.installation import Installation

# the table "Roles and privileges of a hosted project": what is allowed …
ALLOWED = (
    "create trigger mine after insert on auth.users for each row execute function public.nothing(); "
    "drop trigger mine on auth.users",
    "create trigger mine after insert on storage.objects for each row execute function public.nothing(); "
    "drop trigger mine on storage.objects",
    "create policy mine on storage.objects for select to authenticated using (true); "
    "alter policy mine on storage.objects using (false); comment on policy mine on storage.objects is 'x'; "
    "drop policy mine on storage.objects",
    "create policy mine on storage.buckets for select to authenticated using (true)",
    "create policy mine on auth.users for select to authenticated using (true)",
    "insert into auth.users (id, email) values (gen_random_uuid(), 'a@example.test')",
    "update auth.users set email = email",
    "delete from auth.users",
    "insert into storage.buckets (id, name) values ('b', 'b') on conflict (id) do update set name = excluded.name",
    "create table public.mine (id uuid references auth.users (id), object uuid references storage.objects (id))",
    "create extension pg_trgm with schema extensions",
    "create schema mine; create role mine nologin; alter role mine login password 'x'",
    "set local role authenticated",
)
# … and what is refused, with 42501
REFUSED = (
    "create index on storage.objects (name)",
    "create index on auth.users (email)",
    "alter table storage.objects add column mine int",
    "alter table auth.users drop column email",
    "alter table storage.objects enable row level security",
    "alter table storage.objects disable trigger all",
    "alter table storage.objects owner to postgres",
    "alter table storage.objects set schema public",
    "comment on table storage.objects is 'x'",
    "drop table storage.objects cascade",
    "create table auth.mine (id int)",
    "create table storage.mine as select 1 as id",
    "create function storage.mine() returns int language sql as 'select 1'",
    "create or replace function auth.uid() returns uuid language sql as 'select null::uuid'",
    "drop function auth.uid() cascade",
    "alter schema auth rename to mine",
    "drop schema storage cascade",
    "delete from storage.objects",
    "delete from storage.buckets",
    "set local role supabase_auth_admin",
    "set local role supabase_admin",
    "alter role supabase_storage_admin password 'x'",
    "drop event trigger refuse_ddl_in_locked_schemas",
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A database as it is before the first migration."""
    made = installations.create(tmp_path_factory.mktemp("database") / "data", port=installations.free_port())
    try:
        postgres.create_cluster(made)
        with postgres.running(made):
            assert postgres.prepare_database(made)
            with psycopg.connect(made.database_url("postgres")) as connection:
                connection.execute(
                    "create function public.nothing() returns trigger language plpgsql as 'begin return new; end'"
                )
            with psycopg.connect(made.database_url("supabase_admin")) as connection:
                connection.execute("insert into storage.buckets (id, name) values ('full', 'full')")
                connection.execute("insert into storage.objects (bucket_id, name) values ('full', 'a')")
            yield made
    finally:
        postgres.remove_cluster(made)


@pytest.mark.parametrize("statements", ALLOWED)
def test_a_migration_can(database: Installation, statements: str) -> None:
    with psycopg.connect(database.database_url("postgres")) as connection:
        connection.execute(statements.encode())
        connection.rollback()


@pytest.mark.parametrize("statement", REFUSED)
def test_a_migration_can_not(database: Installation, statement: str) -> None:
    with psycopg.connect(database.database_url("postgres")) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
        connection.rollback()


def test_postgres_is_no_superuser_and_sees_past_row_level_security(database: Installation) -> None:
    with psycopg.connect(database.database_url("postgres")) as connection:
        row = connection.execute(
            "select rolsuper, rolcreatedb, rolcreaterole, rolbypassrls from pg_roles where rolname = session_user"
        ).fetchone()
    assert row == (False, True, True, True)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_nothing_in_public_is_granted_by_default(database: Installation, role: str) -> None:
    with psycopg.connect(database.database_url("postgres")) as connection:
        connection.execute("create table public.fresh (id int generated always as identity)")
        connection.execute(f"set local role {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from public.fresh")
        connection.rollback()


@pytest.mark.parametrize(("role", "limit"), [("anon", "3s"), ("authenticated", "8s"), ("authenticator", "8s")])
def test_statements_time_out_as_on_a_hosted_project(database: Installation, role: str, limit: str) -> None:
    with psycopg.connect(database.database_url("supabase_admin")) as connection:
        row = connection.execute("select rolconfig from pg_roles where rolname = %s", [role]).fetchone()
    assert row is not None
    assert f"statement_timeout={limit}" in row[0]


def test_the_functions_of_policies_read_the_tokens_claims(database: Installation) -> None:
    claims = '{"sub": "00000000-0000-0000-0000-00000000000a", "role": "authenticated", "email": "a@example.test"}'
    with psycopg.connect(database.database_url("postgres")) as connection:
        read = "select auth.uid()::text, auth.role(), auth.email(), auth.jwt() ->> 'sub'"
        assert connection.execute(read).fetchone() == (None, None, None, None)
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        user = "00000000-0000-0000-0000-00000000000a"
        assert connection.execute(read).fetchone() == (user, "authenticated", "a@example.test", user)


def test_a_database_is_prepared_once_and_an_interrupted_one_anew(database: Installation) -> None:
    assert postgres.prepare_database(database) is False
    with psycopg.connect(database.database_url("supabase_admin"), autocommit=True) as connection:
        connection.execute("create database half")
    assert postgres.prepare_database(database, "half") is True
    with psycopg.connect(database.database_url("postgres", "half")) as connection:
        row = connection.execute("select to_regclass('storage.objects'), to_regclass('auth.users')").fetchone()
    assert row == ("storage.objects", "auth.users")
