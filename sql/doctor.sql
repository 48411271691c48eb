-- What the doctor looks at; nothing here changes anything.

-- name: read_server
select
    current_setting('server_version_num')::integer,
    current_setting('server_encoding'),
    exists (select from pg_catalog.pg_collation where collprovider = 'i'),
    extract(epoch from clock_timestamp())::float8;

-- name: has_our_tables
select to_regclass('public.documents') is not null and to_regclass('jobs.queue') is not null;

-- name: list_objects
select 'policy', polname::text, n.nspname || '.' || c.relname, true
from pg_catalog.pg_policy p
join pg_catalog.pg_class c on c.oid = p.polrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
union all
select 'trigger', t.tgname::text, n.nspname || '.' || c.relname, t.tgenabled in ('O', 'A')
from pg_catalog.pg_trigger t
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal;

-- name: has_privilege
-- null, and so missing, where the thing itself does not exist
select case %(kind)s
    when 'table' then has_table_privilege(%(role)s::name, to_regclass(%(what)s)::oid, %(verb)s)
    when 'schema' then has_schema_privilege(%(role)s::name, to_regnamespace(%(what)s)::oid, %(verb)s)
    when 'function' then has_function_privilege(%(role)s::name, to_regprocedure(%(what)s)::oid, %(verb)s)
    when 'column' then has_column_privilege(
        %(role)s::name,
        to_regclass(split_part(%(what)s, '.', 1) || '.' || split_part(%(what)s, '.', 2))::oid,
        split_part(%(what)s, '.', 3),
        %(verb)s
    )
end;

-- name: list_excess
select r.rolname || ' may ' || v.verb || ' ' || n.nspname || '.' || c.relname
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join (
    select oid, rolname from pg_catalog.pg_roles
    where rolname in ('anon', 'authenticated', 'service_role', 'instashare_runner')
) r
cross join (values ('select'), ('insert'), ('update'), ('delete'), ('truncate')) v (verb)
where c.relkind in ('r', 'p', 'v', 'm')
    and n.nspname in ('public', 'private', 'jobs')
    -- only what is ours: other applications may live in `public` too
    and (n.nspname <> 'public' or c.relname in (
        'documents', 'profiles', 'roles', 'user_roles', 'document_shares', 'share_invitations', 'logs', 'scheduled_jobs'
    ))
    and has_table_privilege(r.oid, c.oid, v.verb)
    and not (n.nspname = 'public' and r.rolname in ('authenticated', 'service_role') and v.verb = 'select')
    -- read through public.admin_documents alone, and asks itself who reads
    and not ((n.nspname, c.relname, r.rolname, v.verb) = ('private', 'admin_documents', 'authenticated', 'select'))
union all
select r.rolname || ' may use the schema ' || n.nspname
from pg_catalog.pg_namespace n
cross join (select oid, rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role')) r
where n.nspname = 'jobs' and has_schema_privilege(r.oid, n.oid, 'usage')
union all
select r.rolname || ' may call ' || p.oid::regprocedure
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
cross join (select oid, rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role')) r
where has_function_privilege(r.oid, p.oid, 'execute')
    and (n.nspname = 'jobs' or (n.nspname = 'private' and r.rolname = 'anon'))
order by 1;

-- name: list_open_tables
select n.nspname || '.' || c.relname
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p')
    and (n.nspname in ('public', 'private', 'jobs') or (n.nspname, c.relname) = ('storage', 'objects'))
    and not c.relrowsecurity
order by 1;

-- name: list_buckets
select id, public, file_size_limit
from storage.buckets
where id in ('documents', 'archives')
order by id;

-- name: read_document_limit
select file_size_limit_bytes from private.settings;

-- name: read_runner_role
select rolcanlogin, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or exists (
    select from pg_catalog.pg_auth_members m where m.member = r.oid
)
from pg_catalog.pg_roles r
where rolname = 'instashare_runner';

-- name: read_runner_rights
-- As DATABASE_URL's own role: who it is, whether it has rights beyond a runner's, whether the queue is open to it.
select
    current_user::text,
    rolsuper or rolbypassrls or rolcreaterole or exists (
        select from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('public', 'private', 'jobs') and c.relkind in ('r', 'p', 'v')
            and has_table_privilege(c.oid, 'select, insert, update, delete')
    ),
    coalesce(has_function_privilege(to_regprocedure('jobs.exchange(uuid,text,jsonb)')::oid, 'execute'), false)
from pg_catalog.pg_roles
where rolname = current_user;

-- name: read_last_runner
select host, extract(epoch from now() - seen_at)::float8
from jobs.runners
order by seen_at desc
limit 1;

-- name: read_queue
select
    (select bool_or(paused) from jobs.queues),
    (select extract(epoch from now() - min(created_at))::float8 from jobs.queue where state = 'pending'),
    (select count(*) from jobs.history where outcome = 'dead' and finished_at > now() - interval '1 day');

-- name: measure_objects
select coalesce(sum((metadata ->> 'size')::bigint), 0) from storage.objects;

-- name: has_vault
select to_regclass('vault.decrypted_secrets') is not null and to_regclass('vault.secrets') is not null;

-- name: count_secrets
-- decrypting raises where the key of another server's volume is in use; twenty are proof enough
select
    (select count(*) from vault.secrets),
    (select count(*) from (select decrypted_secret from vault.decrypted_secrets limit 20) d where d.decrypted_secret is null);

-- name: list_late_schedules
select title
from public.scheduled_jobs
where enabled and next_execution_at < now() - interval '15 minutes'
order by title;
