-- One database as a hosted project has it before Auth, Storage and the first migration: schemas, privileges, the
-- functions that policies call, and the guards of the locked schemas. Run by the superuser supabase_admin.

do $$
begin
    execute format('alter database %I owner to postgres', current_database());
    -- the services make their own schemas sure with "create schema if not exists", which asks for this right first
    execute format('grant create on database %I to supabase_auth_admin, supabase_storage_admin', current_database());
end
$$;

create schema extensions;
grant usage on schema extensions to anon, authenticated, service_role, supabase_auth_admin, supabase_storage_admin;
grant usage, create on schema extensions to postgres;
create extension pgcrypto with schema extensions;
create extension "uuid-ossp" with schema extensions;

create schema auth authorization supabase_auth_admin;
create schema storage authorization supabase_storage_admin;
grant usage on schema auth, storage to postgres, anon, authenticated, service_role;
grant usage on schema auth to supabase_storage_admin;

-- Since 2026-10-30 a hosted project grants nothing in public by default: USAGE of the schema, no more.
grant all on schema public to postgres;
grant usage on schema public to anon, authenticated, service_role;

-- The hosted definitions. They belong to supabase_admin so that Auth cannot replace them by looser ones of its own.

create function auth.uid() returns uuid language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
    )::uuid
$$;

create function auth.role() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
    )::text
$$;

create function auth.email() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.email', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email')
    )::text
$$;

create function auth.jwt() returns jsonb language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;

-- The locked schemas: whoever signed in as postgres inherits their owners' rights (roles.sql), and may use them for
-- triggers, policies and rows only. Everything else is refused with the code that a hosted project answers with.

create function extensions.is_locked(kind text, schema text, identity text, catalog oid, object oid) returns boolean
language sql stable set search_path = '' as $$
    select kind not in ('trigger', 'policy') and (
        schema in ('auth', 'storage')
        or (kind = 'schema' and identity in ('auth', 'storage'))
        -- renamed or moved away by this very command: its owner still tells
        or exists (
            select
            from (
                select oid, 'pg_catalog.pg_namespace'::regclass, nspowner from pg_catalog.pg_namespace
                union all select oid, 'pg_catalog.pg_class'::regclass, relowner from pg_catalog.pg_class
                union all select oid, 'pg_catalog.pg_proc'::regclass, proowner from pg_catalog.pg_proc
            ) as owned (oid, catalog, owner)
            where owned.oid = object and owned.catalog = is_locked.catalog
                and owned.owner in ('supabase_auth_admin'::regrole, 'supabase_storage_admin'::regrole)
        )
    )
$$;

create function extensions.refuse_ddl_in_locked_schemas() returns event_trigger
language plpgsql set search_path = '' as $$
declare
    made record;
begin
    if session_user <> 'postgres' then
        return;
    end if;
    for made in select * from pg_catalog.pg_event_trigger_ddl_commands() loop
        if extensions.is_locked(made.object_type, made.schema_name, made.object_identity, made.classid, made.objid) then
            raise exception 'permission denied for schema %', coalesce(made.schema_name, made.object_identity)
                using errcode = '42501',
                    detail = pg_catalog.format('%s on %s', made.command_tag, made.object_identity),
                    hint = 'A hosted project lets "postgres" make only triggers and policies in auth and storage.';
        end if;
    end loop;
end
$$;

create function extensions.refuse_drop_in_locked_schemas() returns event_trigger
language plpgsql set search_path = '' as $$
declare
    dropped record;
begin
    if session_user <> 'postgres' then
        return;
    end if;
    for dropped in select * from pg_catalog.pg_event_trigger_dropped_objects() loop
        if extensions.is_locked(dropped.object_type, dropped.schema_name, dropped.object_identity, 0, 0) then
            raise exception 'must be owner of % %', dropped.object_type, dropped.object_identity
                using errcode = '42501',
                    hint = 'A hosted project lets "postgres" drop only triggers and policies in auth and storage.';
        end if;
    end loop;
end
$$;

create event trigger refuse_ddl_in_locked_schemas on ddl_command_end
    execute function extensions.refuse_ddl_in_locked_schemas();
create event trigger refuse_drop_in_locked_schemas on sql_drop
    execute function extensions.refuse_drop_in_locked_schemas();

-- PostgREST reads its picture of the schema anew after every change, as on a hosted project.

create function extensions.reload_rest() returns event_trigger language plpgsql set search_path = '' as $$
begin
    notify pgrst, 'reload schema';
end
$$;

create event trigger reload_rest on ddl_command_end
    when tag in (
        'CREATE SCHEMA', 'ALTER SCHEMA', 'DROP SCHEMA', 'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE',
        'DROP TABLE', 'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE', 'DROP FOREIGN TABLE', 'CREATE VIEW', 'ALTER VIEW',
        'DROP VIEW', 'CREATE MATERIALIZED VIEW', 'ALTER MATERIALIZED VIEW', 'DROP MATERIALIZED VIEW',
        'CREATE FUNCTION', 'ALTER FUNCTION', 'DROP FUNCTION', 'CREATE PROCEDURE', 'ALTER PROCEDURE', 'DROP PROCEDURE',
        'CREATE TRIGGER', 'DROP TRIGGER', 'CREATE TYPE', 'ALTER TYPE', 'DROP TYPE', 'CREATE RULE', 'DROP RULE', 'COMMENT',
        'GRANT', 'REVOKE'
    )
    execute function extensions.reload_rest();
