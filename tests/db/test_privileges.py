"""Who may touch what: the whole matrix, from the catalogue, against a table written down here.

A grant that is not in this file fails a test, and so does one of this file that is not in the database.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.db.conftest import Database, Person, refused

ROLES = ("anon", "authenticated", "service_role", "instashare_runner")
SCHEMAS = ["public", "private", "jobs"]

TABLES: dict[str, dict[str, set[str]]] = {
    "public.admin_document_counts": {"authenticated": {"select"}},
    "public.admin_documents": {"authenticated": {"select"}},
    "public.admin_job_rates": {"authenticated": {"select"}},
    "public.admin_jobs": {"authenticated": {"select"}},
    "public.admin_logs": {"authenticated": {"select"}},
    "public.admin_runners": {"authenticated": {"select"}},
    "public.admin_users": {"authenticated": {"select"}},
    "public.document_access": {"authenticated": {"select"}},
    "public.document_shares": {
        "authenticated": {
            "select (document_id, user_id, shared_at, expires_at, document_name, size_bytes, status, created_at)"
        },
        "service_role": {"select"},
    },
    "public.documents": {
        "authenticated": {
            "select",
            "insert (name, size_bytes, mime_type)",
            "update (name)",
        },
        "service_role": {"select"},
    },
    "public.library_counts": {"authenticated": {"select"}},
    "public.limits": {"authenticated": {"select"}},
    "public.logs": {"authenticated": {"select"}, "service_role": {"select"}},
    "public.profiles": {
        "authenticated": {"select", "update (first_name, last_name, phone, responsibility)"},
        "service_role": {"select"},
    },
    "public.roles": {"authenticated": {"select"}, "service_role": {"select"}},
    "public.scheduled_jobs": {"authenticated": {"select"}, "service_role": {"select"}},
    "public.share_invitations": {"service_role": {"select"}},
    "public.shared_with_me": {"authenticated": {"select"}},
    "public.user_roles": {"authenticated": {"select"}, "service_role": {"select"}},
    "private.admin_documents": {"authenticated": {"select"}},  # no USAGE: reached through the view of public alone
    "private.ended_persons": {},
    "private.library_sizes": {},
    "private.settings": {},
    "jobs.attempts": {},
    "jobs.history": {},
    "jobs.lanes": {},
    "jobs.queue": {},
    "jobs.queues": {},
    "jobs.runners": {},
}

CLIENT_CALLS = {
    "admin_cancel_job(bigint)",
    "admin_enable_schedule(uuid,boolean)",
    "admin_grant_role(uuid,text)",
    "admin_retry_job(bigint)",
    "admin_revoke_role(uuid,text)",
    "admin_run_schedule(uuid)",
    "admin_set_schedule(uuid,text)",
    "change_share(uuid,timestamp with time zone)",
    "close_account()",
    "delete_document(uuid)",
    "leave_share(uuid)",
    "purge_document(uuid)",
    "request_download(uuid)",
    "restore_document(uuid)",
    "retry_document(uuid)",
    "revoke_share(uuid)",
    "search_documents(text,text,boolean,boolean,uuid,integer,text[])",
    "search_shared(text,text,boolean,uuid,integer,text[])",
    "share_document(uuid,text,timestamp with time zone)",
}
FUNCTIONS: dict[str, set[str]] = {
    "authenticated": {f"{schema}.{call}" for schema in ("public", "private") for call in CLIENT_CALLS}
    # what policies, views and checks call on behalf of the reader
    | {
        "private.admin_document_counts()",
        "private.admin_job_rates()",
        "private.admin_jobs()",
        "private.admin_runners()",
        "private.admin_users()",
        "private.document_access()",
        "private.has_role(text[])",
        "private.is_active()",
        "private.library_counts()",
        "private.limits()",
        "private.may_administer()",
        "private.may_receive(uuid)",
        "private.may_store_original(text)",
        "private.may_upload()",
        "private.name_fault(text)",
        "private.shared_document(uuid)",
        "private.shared_document_ids()",
    },
    "service_role": {"public.installation_id()", "private.installation_id()", "private.name_fault(text)"},
    "instashare_runner": {
        "jobs.due_schedules()",
        "jobs.exchange(uuid,text,jsonb)",
        "jobs.expire_originals_batch(integer)",
        "jobs.find_finished(bigint,integer,uuid)",
        "jobs.finish_expire_original(uuid,text,boolean)",
        "jobs.finish_purge(uuid)",
        "jobs.fire_schedule(uuid,timestamp with time zone,timestamp with time zone)",
        "jobs.installation_id()",
        "jobs.orphan_keys(text,text,integer)",
        "jobs.purge_batch(integer,uuid)",
        "jobs.run_maintenance(text)",
        "jobs.seconds_to_schedule()",
    },
    "anon": set(),
}
POLICIES = {
    ("public.document_shares", "SELECT", "Recipients read their own live shares"),
    ("public.documents", "INSERT", "Members add documents of their own"),
    ("public.documents", "SELECT", "Owners and live recipients read documents"),
    ("public.documents", "UPDATE", "Owners rename their live documents"),
    ("public.logs", "SELECT", "People read what concerns them, admins everything"),
    ("public.profiles", "SELECT", "People read their own profile, admins every profile"),
    ("public.profiles", "UPDATE", "People edit their own profile"),
    ("public.roles", "SELECT", "People with an account read what roles there are"),
    ("public.scheduled_jobs", "SELECT", "Admins read the schedules"),
    ("public.user_roles", "SELECT", "People read their own roles, admins everybody's"),
    ("storage.objects", "INSERT", "People store the originals of their own open documents"),
    ("storage.objects", "SELECT", "People download the archives of documents they may read"),
}


def test_no_role_holds_a_table_privilege_beyond_the_expected(database: Database) -> None:
    found: dict[str, dict[str, set[str]]] = {}
    rows = database.run(
        """
        select n.nspname || '.' || c.relname as relation, r.rolname as role, v.verb, v.by_column,
            has_table_privilege(r.oid, c.oid, v.verb) as whole,
            case when v.by_column then (
                select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                    and has_column_privilege(r.oid, c.oid, a.attnum, v.verb)
            ) end as columns
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
            cross join pg_roles r
            cross join (values
                ('select', true), ('insert', true), ('update', true), ('references', true), ('delete', false),
                ('truncate', false), ('trigger', false), ('maintain', false)
            ) as v (verb, by_column)
        where n.nspname = any (%s) and c.relkind in ('r', 'p', 'v', 'm', 'f') and r.rolname = any (%s)
        """,
        SCHEMAS,
        list(ROLES),
    )
    for row in rows:
        held = found.setdefault(row["relation"], {})
        if row["whole"]:
            held.setdefault(row["role"], set()).add(row["verb"])
        elif row["columns"]:
            held.setdefault(row["role"], set()).add(f"{row['verb']} ({row['columns']})")
    assert found == TABLES


def test_no_role_holds_a_sequence(database: Database) -> None:
    rows = database.run(
        """
        select n.nspname || '.' || c.relname as sequence, r.rolname
        from pg_class c join pg_namespace n on n.oid = c.relnamespace cross join pg_roles r
        where c.relkind = 'S' and n.nspname = any (%s) and r.rolname = any (%s)
            and has_sequence_privilege(r.oid, c.oid, 'usage, select, update')
        """,
        SCHEMAS,
        list(ROLES),
    )
    assert rows == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_executes_the_expected_functions_and_no_other(database: Database, role: str) -> None:
    rows = database.run(
        """
        select n.nspname || '.' || replace(p.oid::regprocedure::text, n.nspname || '.', '') as name
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = any (%s) and has_function_privilege(%s, p.oid, 'execute')
        """,
        SCHEMAS,
        role,
    )
    assert {row["name"] for row in rows} == FUNCTIONS[role]


def test_nothing_is_executable_by_everybody(database: Database) -> None:
    rows = database.run(
        """
        select p.oid::regprocedure::text as name
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where n.nspname = any (%s) and a.grantee = 0
        """,
        SCHEMAS,
    )
    assert rows == []


def test_every_function_has_an_empty_search_path(database: Database) -> None:
    rows = database.run(
        """
        select p.oid::regprocedure::text as name, p.prosecdef
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = any (%s) and 'search_path=""' <> all (coalesce(p.proconfig, '{}'))
        """,
        SCHEMAS,
    )
    assert rows == []


def test_definer_functions_stand_in_unexposed_schemas_only(database: Database) -> None:
    rows = database.run(
        "select p.oid::regprocedure::text from pg_proc p"
        " where p.prosecdef and p.pronamespace in ('public'::regnamespace, 'storage'::regnamespace)"
    )
    assert rows == []


def test_row_level_security_is_on_for_every_table(database: Database) -> None:
    rows = database.run(
        """
        select c.oid::regclass::text as name, c.relrowsecurity as on
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any (%s) and c.relkind in ('r', 'p')
        """,
        SCHEMAS,
    )
    assert len(rows) == 17
    assert [row["name"] for row in rows if not row["on"]] == []


def test_every_view_that_clients_reach_runs_as_its_reader(database: Database) -> None:
    rows = database.run(
        """
        select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any (%s) and c.relkind = 'v'
            and 'security_invoker=true' <> all (coalesce(c.reloptions, '{}'))
        """,
        SCHEMAS,
    )
    # the one that runs as its owner is reached through a view of public, and lets administrators alone through
    assert [row["name"] for row in rows] == ["private.admin_documents"]


def test_the_policies_are_the_expected_and_for_signed_in_people_only(database: Database) -> None:
    rows = database.run(
        "select schemaname || '.' || tablename as relation, cmd, policyname, roles::text[] from pg_policies"
        " where schemaname in ('public', 'private', 'jobs', 'storage', 'auth')"
    )
    assert {(row["relation"], row["cmd"], row["policyname"]) for row in rows} == POLICIES
    assert [row["roles"] for row in rows] == [["authenticated"]] * len(POLICIES)


def test_only_runners_enter_the_schema_of_jobs_and_nobody_the_private_one(database: Database) -> None:
    rows = database.run(
        """
        select n.nspname, r.rolname, p.privilege from pg_namespace n cross join pg_roles r
            cross join (values ('usage'), ('create')) as p (privilege)
        where n.nspname = any (%s) and r.rolname = any (%s) and has_schema_privilege(r.oid, n.oid, p.privilege)
        """,
        SCHEMAS,
        list(ROLES),
    )
    found = {(row["nspname"], row["rolname"], row["privilege"]) for row in rows}
    assert {row for row in found if row[0] != "public"} == {("jobs", "instashare_runner", "usage")}
    assert not {row for row in found if row[2] == "create"}


def test_anonymous_reads_nothing_anywhere(database: Database, owner: Person, anonymous: Person) -> None:
    owner.store(owner.document())
    for relation in [*TABLES, "auth.users"]:
        with refused("42501"):
            anonymous.run(f"select * from {relation}")
    for relation in ("storage.objects", "storage.buckets"):
        for operation in ("storage.object.get_authenticated", "storage.object.list", "storage.object.sign"):
            assert anonymous.run(f"select * from {relation}", operation=operation) == []


def test_anonymous_calls_nothing(anonymous: Person) -> None:
    for call in sorted(CLIENT_CALLS | {"installation_id()"}):
        name, _, arguments = call.rstrip(")").partition("(")
        nulls = ", ".join(f"null::{argument}" for argument in arguments.split(",") if argument)
        with refused("42501"):
            anonymous.run(f"select public.{name}({nulls})")


@pytest.mark.parametrize("role", ["authenticated", "service_role", "anon"])
def test_clients_reach_neither_the_queue_nor_the_private_schema(database: Database, owner: Person, role: str) -> None:
    client = Person(database, owner.id, owner.email, role)
    attempts = [
        "select * from jobs.queue",
        "select * from private.settings",
        "delete from jobs.queue",
        "update private.settings set quota_bytes = 1",
        "select jobs.exchange(gen_random_uuid(), 'x', '{\"want\": 1}')",
        "select jobs.enqueue('x', null, null)",
        "select jobs.pause()",
        "select private.refuse(200, 'x', 'x')",
        "select private.is_active()",
        "select private.log_event('x', 'x', null, null)",
        "select private.delete_document(gen_random_uuid())",
        "select nextval('jobs.archive_clock')",
    ]
    for attempt in attempts:
        with refused("42501"):
            client.run(attempt)
    assert database.value("select paused from jobs.queues") is False
    assert database.value("select count(*) from jobs.queue") == 0


def test_the_runner_reaches_its_functions_and_nothing_else(database: Database, owner: Person) -> None:
    owner.store(owner.document())
    runner = Person(database, "", "", "instashare_runner")
    attempts = [
        *(f"select * from {relation}" for relation in TABLES),
        "select * from storage.objects",
        "select * from auth.users",
        "select jobs.enqueue('x', null, null)",
        "select jobs.finish(gen_random_uuid(), '[]')",
        "select jobs.retry_job(1)",
        "select jobs.cancel_job(1)",
        "select jobs.pause()",
        "select private.installation_id()",
        "select public.installation_id()",
        "create table jobs.own (id int)",
        "create table public.own (id int)",
        "set role service_role",
        "set role postgres",
    ]
    with database.superuser.transaction(force_rollback=True):
        database.run("alter role instashare_runner login password 'of-this-test'")
    for attempt in attempts:
        if attempt.startswith("set role"):
            # the test's own session may become anybody; membership is what a runner's session would be asked
            name = attempt.removeprefix("set role ")
            assert database.value("select pg_has_role('instashare_runner', %s, 'member')", name) is False
            continue
        with refused("42501"):
            runner.run(attempt)
    assert runner.value("select jobs.installation_id()") == database.value(
        "select installation_id from private.settings"
    )


def test_the_secret_key_reads_metadata_and_writes_none(database: Database, owner: Person) -> None:
    document = owner.document()
    service = Person(database, "", "", "service_role")
    assert service.value("select count(*) from documents") == 1
    for attempt in (
        f"update documents set status = 'ready' where id = '{document}'",
        "delete from documents",
        "delete from logs",
        "insert into user_roles (user_id, role_id) select gen_random_uuid(), id from roles",
        "update profiles set email = 'x'",
    ):
        with refused("42501"):
            service.run(attempt)
    assert owner.row(document)["status"] == "uploading"


def test_a_temporary_table_does_not_shadow_what_definer_functions_read(database: Database, owner: Person) -> None:
    connection = database.superuser
    connection.execute("create temporary table profiles (id uuid, deleted_at timestamptz, email text)")
    connection.execute("create temporary table user_roles (user_id uuid, role_id uuid)")
    connection.execute("grant all on pg_temp.profiles, pg_temp.user_roles to authenticated")
    closed = database.sign_up("closed@example.test")
    database.run("update public.profiles set deleted_at = now() where id = %s", closed.id)
    database.run("insert into pg_temp.profiles values (%s)", closed.id)
    with refused("PT403", "not_allowed"):
        closed.document()
    assert owner.sees(owner.document())


def test_later_functions_and_tables_of_public_are_closed_to_api_roles(database: Database) -> None:
    with database.superuser.transaction():
        database.run("set local role postgres")
        database.run("create table public.later (id int)")
        database.run("create sequence public.later_numbers")
    for role in ("anon", "authenticated", "service_role"):
        with refused("42501"):
            Person(database, "", "", role).run("select * from public.later")
        with refused("42501"):
            Person(database, "", "", role).run("select nextval('public.later_numbers')")


def test_claims_that_are_no_person_are_nobody(database: Database, owner: Person) -> None:
    owner.document()
    forged: Any
    for forged in ("00000000-0000-0000-0000-000000000000", "7f1e5c4e-1111-4111-8111-111111111111"):
        nobody = Person(database, forged, "owner@example.test")
        assert nobody.run("select * from documents") == []
        assert nobody.run("select * from profiles") == []
        assert nobody.run("select * from limits") == []
        with refused("PT403", "not_allowed"):
            nobody.document()
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        Person(database, "' or true --", "").run("select * from documents")
