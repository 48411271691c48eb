-- The bookkeeping of migrations, exactly as the Supabase CLI makes it.

-- name: create_bookkeeping
do $$
begin
    create schema if not exists supabase_migrations;
    create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
    alter table supabase_migrations.schema_migrations add column if not exists statements text[];
    alter table supabase_migrations.schema_migrations add column if not exists name text;
end
$$;

-- name: list_versions
select version, name, statements
from supabase_migrations.schema_migrations
order by version;

-- name: find_version
select 1
from supabase_migrations.schema_migrations
where version = %(version)s;

-- name: record_version
insert into supabase_migrations.schema_migrations (version, statements, name)
values (%(version)s, %(statements)s, %(name)s);
