"""Supabase's own database lints hold: each rule of splinter as a look into the catalogue, by its number.

https://github.com/supabase/splinter/tree/main/lints. Not here: 0005 unused_index and 0020 table_bloat (they read what a
database has seen in use), and what needs a hosted project's settings.
"""

from __future__ import annotations

import pytest

from tests.db.conftest import Database

OURS = "('public', 'private', 'jobs')"
EXPOSED = "('public')"  # config.toml: api.schemas
API = "('anon', 'authenticated')"

RULES = {
    "0001 unindexed foreign keys": f"""
        select c.conrelid::regclass || ' ' || c.conname as fault
        from pg_constraint c join pg_namespace n on n.oid = c.connamespace
        where c.contype = 'f' and n.nspname in {OURS} and not exists (
            select from pg_index i
            where i.indrelid = c.conrelid and i.indisvalid
                and (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
        )""",
    "0002 auth.users exposed": f"""
        select c.relname as fault
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_rewrite r on r.ev_class = c.oid
            join pg_depend d on d.objid = r.oid and d.refobjid = 'auth.users'::regclass
        where n.nspname in {EXPOSED} and c.relkind in ('v', 'm')""",
    "0003 row level security that calls auth functions for every row": r"""
        select tablename || ': ' || policyname as fault
        from pg_policies
        where schemaname in ('public', 'private', 'jobs', 'storage') and exists (
            select from unnest(array['auth\.(uid|jwt|role|email)\(\)', 'current_setting\(', 'storage\.operation\(\)',
                'private\.(is_active|has_role|may_upload|may_administer)\(']) as f (call)
            where (coalesce(qual, '') || ' ' || coalesce(with_check, '')) ~* call
                and regexp_replace(
                    lower(coalesce(qual, '') || ' ' || coalesce(with_check, '')), 'select\s+' || call, '', 'g'
                ) ~ call
        )""",
    "0004 tables without a primary key": f"""
        select c.oid::regclass::text as fault
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in {OURS} and c.relkind in ('r', 'p')
            and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)""",
    "0006 several permissive policies for one verb": """
        select tablename || ' ' || cmd as fault
        from pg_policies p cross join unnest(p.roles) as r (role)
        where schemaname in ('public', 'private', 'jobs', 'storage') and permissive = 'PERMISSIVE'
        group by schemaname, tablename, role, cmd having count(*) > 1
        union all
        select tablename || ': ' || policyname from pg_policies
        where schemaname in ('public', 'private', 'jobs', 'storage') and cmd = 'ALL'""",
    "0007 policies without row level security": """
        select c.oid::regclass::text as fault from pg_class c join pg_policy p on p.polrelid = c.oid
        where not c.relrowsecurity""",
    "0009 duplicate indexes": f"""
        select min(indexname) || ' = ' || max(indexname) as fault
        from (
            select n.nspname, i.indrelid, i.indexrelid::regclass::text as indexname,
                regexp_replace(pg_get_indexdef(i.indexrelid), ' INDEX .* ON ', ' INDEX ON ') as definition
            from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
        ) x
        where nspname in {OURS}
        group by indrelid, definition having count(*) > 1""",
    "0010 views that run as their owner": f"""
        select c.relname as fault
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in {EXPOSED} and c.relkind = 'v'
            and not (coalesce(c.reloptions, '{{}}') && array['security_invoker=true', 'security_invoker=on'])""",
    "0011 functions with a search path of the caller's": f"""
        select p.oid::regprocedure::text as fault
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in {OURS} and not exists (
            select from unnest(p.proconfig) as c (setting) where c.setting like 'search_path=%'
        )""",
    "0012 policies that anonymous sign-ins pass": """
        select tablename || ': ' || policyname as fault
        from pg_policies
        where schemaname in ('public', 'private', 'jobs', 'storage') and 'authenticated' <> all (roles)""",
    "0013 tables without row level security": f"""
        select c.oid::regclass::text as fault
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in {OURS} and c.relkind in ('r', 'p') and not c.relrowsecurity""",
    "0014 extensions in an exposed schema": f"""
        select e.extname as fault from pg_extension e join pg_namespace n on n.oid = e.extnamespace
        where n.nspname in {EXPOSED}""",
    "0015 policies that believe what a user writes about himself": """
        select tablename || ': ' || policyname as fault
        from pg_policies
        where coalesce(qual, '') || coalesce(with_check, '') ~* 'user_?metadata|raw_user_meta_data'""",
    "0016 materialized views in the API": f"""
        select c.relname as fault
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in {EXPOSED} and c.relkind = 'm'""",
    "0017 foreign tables in the API": f"""
        select c.relname as fault
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in {EXPOSED} and c.relkind = 'f'""",
    "0018 columns of types that an upgrade cannot carry": f"""
        select c.oid::regclass || '.' || a.attname as fault
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where n.nspname in {OURS} and c.relkind in ('r', 'p', 'm') and a.atttypid::regtype::text in (
            'regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', 'regproc',
            'regprocedure'
        )""",
    "0019 queues that clients reach": "select nspname as fault from pg_namespace where nspname = 'pgmq_public'",
    "0021 foreign keys to what is unique in Auth": f"""
        select c.conname as fault
        from pg_constraint c join pg_namespace n on n.oid = c.connamespace
            join pg_namespace f on f.oid = (select relnamespace from pg_class where oid = c.confrelid)
        where c.contype = 'f' and n.nspname in {OURS} and f.nspname in ('auth', 'storage')""",
    "0022 extensions behind what is to be had": """
        select e.extname as fault from pg_extension e join pg_available_extensions a on a.name = e.extname
        where a.default_version <> e.extversion""",
    "0023 columns of secrets in the API": f"""
        select c.relname || '.' || a.attname as fault
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where n.nspname in {EXPOSED} and c.relkind in ('r', 'v', 'm', 'p')
            and a.attname ~* '(password|passwd|secret|token|api_?key|private_?key|ssn|credit_?card|cvv|pin_?code)'
            and exists (
                select from pg_roles r
                where r.rolname in {API} and has_column_privilege(r.oid, c.oid, a.attnum, 'select')
            )""",
    "0024 policies that are always true": """
        select tablename || ': ' || policyname as fault
        from pg_policies
        where schemaname in ('public', 'private', 'jobs', 'storage')
            and (btrim(coalesce(qual, 'x'), '() ') = 'true' or btrim(coalesce(with_check, 'x'), '() ') = 'true')""",
    "0025 buckets that list for everybody": """
        select id as fault from storage.buckets where public
        union all
        select policyname from pg_policies
        where schemaname = 'storage' and tablename = 'objects' and cmd = 'SELECT' and qual !~ 'storage\\.operation'""",
    "0026, 0027 definer functions that anonymous or signed-in callers reach in the API": f"""
        select p.oid::regprocedure::text as fault
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in {EXPOSED} and p.prosecdef and exists (
            select from pg_roles r where r.rolname in {API} and has_function_privilege(r.oid, p.oid, 'execute')
        )""",
    "functions of the API that PUBLIC executes": f"""
        select p.oid::regprocedure::text as fault
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where n.nspname in {OURS} and a.grantee = 0""",
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_splinter_holds(database: Database, rule: str) -> None:
    assert [row["fault"] for row in database.run(RULES[rule])] == []


def test_tables_with_row_level_security_and_no_policy_are_those_that_nobody_reaches(database: Database) -> None:
    """0008: on purpose everywhere but in public, where one table is for the secret key alone."""
    rows = database.run(
        f"select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        f" where n.nspname in {OURS} and c.relkind in ('r', 'p')"
        " and not exists (select from pg_policy p where p.polrelid = c.oid)"
    )
    assert {row["name"] for row in rows if "." not in row["name"]} == {"share_invitations"}


BROKEN = {
    "0001": "create table public.a (id int primary key, d uuid references public.documents (id))",
    "0002": "create view public.a with (security_invoker = true) as select id from auth.users",
    "0003": "create policy a on public.share_invitations for select to authenticated using (shared_by = auth.uid())",
    "0004": "create table public.a (id int)",
    "0006": "create policy a on public.roles for select to authenticated using ((select private.is_active()))",
    "0007": "alter table public.roles disable row level security",
    "0009": "create index a on public.user_roles (role_id)",
    "0010": "create view public.a as select id from public.documents",
    "0011": "create function public.a() returns int language sql as 'select 1'",
    "0012": "create policy a on public.share_invitations for select to anon using (false)",
    "0013": "create table public.a (id int primary key)",
    "0014": "create extension citext schema public",
    "0015": "create policy a on public.share_invitations for select to authenticated"
    " using (((select auth.jwt()) -> 'user_metadata' ->> 'admin') = 'true')",
    "0016": "create materialized view public.a as select 1 as id",
    "0018": "create table public.a (id int primary key, f regproc)",
    "0019": "create schema pgmq_public",
    "0021": "create table public.a (id uuid primary key references auth.users (id))",
    "0023": "create view public.a with (security_invoker = true) as select 1 as password;"
    " grant select on public.a to authenticated",
    "0024": "create policy a on public.share_invitations for select to authenticated using (true)",
    "0025": "update storage.buckets set public = true where id = 'documents'",
    "0026": "create function public.a() returns int language sql security definer set search_path = '' as 'select 1'",
    "functions": "create function public.a() returns int language sql set search_path = '' as 'select 1'",
}


def test_each_look_finds_the_fault_that_it_is_for(database: Database) -> None:
    blind = []
    for number, statement in BROKEN.items():
        (rule,) = [rule for rule in RULES if rule.startswith(number)]
        with database.superuser.transaction(force_rollback=True):
            database.superuser.execute(statement.encode())
            if not database.run(RULES[rule]):
                blind.append(rule)
    assert blind == []
