-- The roles of a hosted project, once a cluster, run by the superuser supabase_admin. Passwords are set beside this
-- file (local/postgres.py). Every statement may run again.

do $$
declare
    wanted record;
begin
    for wanted in
        select * from (values
            ('anon', 'nologin noinherit'),
            ('authenticated', 'nologin noinherit'),
            ('service_role', 'nologin noinherit bypassrls'),
            ('authenticator', 'login noinherit'),
            ('supabase_auth_admin', 'login noinherit createrole'),
            ('supabase_storage_admin', 'login noinherit createrole'),
            ('postgres', 'login nosuperuser createdb createrole replication bypassrls')
        ) as roles (name, attributes)
    loop
        if not exists (select from pg_roles where rolname = wanted.name) then
            execute format('create role %I', wanted.name);
        end if;
        execute format('alter role %I %s', wanted.name, wanted.attributes);
    end loop;
end
$$;

-- who may become whom: PostgREST and Storage take the role that the caller's token names
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to supabase_storage_admin;
grant anon, authenticated, service_role, authenticator to postgres with admin option;
grant pg_monitor, pg_signal_backend, pg_read_all_data to postgres;
-- as supautils lets a hosted postgres: a backup's rows are put back without firing triggers
grant set on parameter session_replication_role to postgres;

-- A hosted postgres may make and drop triggers and policies in auth and storage, for which plain Postgres demands
-- ownership. So it inherits the owners' rights here, without being able to become them, and the event triggers of
-- database.sql refuse what ownership would allow beyond that.
do $$
declare
    inherited constant text := case
        when current_setting('server_version_num')::int >= 160000 then 'with inherit true, set false'
        else ''
    end;
begin
    execute 'grant supabase_auth_admin, supabase_storage_admin to postgres ' || inherited;
end
$$;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role supabase_auth_admin set idle_in_transaction_session_timeout = '60s';

alter role postgres set search_path = "$user", public, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_storage_admin set search_path = storage;
