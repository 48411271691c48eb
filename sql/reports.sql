-- What the operator reads about the database itself.

-- name: list_privileges
-- Tables and views of our schemas × the API roles and the runner; a privilege on some columns only names them.
with tables as (
    select c.oid, c.relname, n.nspname, c.relrowsecurity
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm') and n.nspname in ('public', 'private', 'jobs') and not c.relispartition
),
roles as (
    select oid, rolname
    from pg_catalog.pg_roles
    where rolname in ('anon', 'authenticated', 'service_role', 'instashare_runner')
),
verbs (place, verb, by_column) as (
    values (1, 'select', true), (2, 'insert', true), (3, 'update', true), (4, 'delete', false), (5, 'truncate', false)
),
held as (
    select
        t.nspname, t.relname, t.relrowsecurity, r.rolname, v.place,
        case
            when pg_catalog.has_table_privilege(r.oid, t.oid, v.verb) then v.verb
            when v.by_column then (
                select v.verb || ' (' || string_agg(a.attname, ', ' order by a.attnum) || ')'
                from pg_catalog.pg_attribute a
                where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
                    and pg_catalog.has_column_privilege(r.oid, t.oid, a.attnum, v.verb)
            )
        end as privilege
    from tables t
    cross join roles r
    cross join verbs v
)
select nspname || '.' || relname, relrowsecurity, rolname, array_agg(privilege order by place)
from held
where privilege is not null
group by nspname, relname, relrowsecurity, rolname
order by nspname desc, relname, rolname;

-- name: list_policies
select schemaname || '.' || tablename, policyname::text, lower(cmd), roles::text[], qual, with_check
from pg_catalog.pg_policies
where schemaname in ('public', 'private', 'jobs', 'storage')
order by schemaname, tablename, cmd, policyname;

-- name: list_function_grants
select
    p.oid::regprocedure::text,
    p.prosecdef,
    array_agg(coalesce(r.rolname, 'PUBLIC') order by r.rolname)::text[]
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
left join pg_catalog.pg_roles r on r.oid = a.grantee
where n.nspname in ('public', 'private', 'jobs')
    and a.privilege_type = 'EXECUTE'
    and a.grantee <> p.proowner
group by p.oid, p.prosecdef, n.nspname, p.proname
order by n.nspname desc, p.proname;
