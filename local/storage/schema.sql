-- The schema `storage` as the hosted Storage service (1.70.6) leaves it, made by the role that owns it there.
-- Run once, as supabase_storage_admin, in an empty schema; the roles exist already.
-- Left out are the tables of the S3 protocol and of vectors, which the local stack does not serve; of analytics there is
-- what keeps the buckets' names.

do $$
begin
    if to_regnamespace('storage') is null then
        create schema storage;
    end if;
end;
$$;

grant usage on schema storage to postgres, anon, authenticated, service_role;

create type storage.buckettype as enum ('STANDARD', 'ANALYTICS', 'VECTOR');

create table storage.buckets (
    id text primary key,
    name text not null,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    public boolean default false,
    avif_autodetection boolean default false,
    file_size_limit bigint,
    allowed_mime_types text[],
    owner_id text,
    type storage.buckettype not null default 'STANDARD'
);

comment on column storage.buckets.owner is 'Field is deprecated, use owner_id instead';

create unique index bname on storage.buckets (name);

create table storage.objects (
    id uuid primary key default gen_random_uuid(),
    bucket_id text constraint "objects_bucketId_fkey" references storage.buckets (id),
    name text,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    last_accessed_at timestamptz default now(),
    metadata jsonb,
    path_tokens text[] generated always as (string_to_array(name, '/')) stored,
    version text,
    owner_id text,
    user_metadata jsonb
);

comment on column storage.objects.owner is 'Field is deprecated, use owner_id instead';

create unique index bucketid_objname on storage.objects (bucket_id, name);
create index name_prefix_search on storage.objects (name text_pattern_ops);
create index idx_objects_bucket_id_name on storage.objects (bucket_id, name collate "C");
create index idx_objects_bucket_id_name_lower on storage.objects (bucket_id, lower(name) collate "C");

grant all on storage.buckets, storage.objects to postgres with grant option;
grant all on storage.buckets, storage.objects to anon, authenticated, service_role;

alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;

create table storage.buckets_analytics (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    type storage.buckettype not null default 'ANALYTICS',
    format text not null default 'ICEBERG',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

create unique index buckets_analytics_unique_name_idx on storage.buckets_analytics (name) where deleted_at is null;

grant all on storage.buckets_analytics to postgres with grant option;
grant all on storage.buckets_analytics to anon, authenticated, service_role;

alter table storage.buckets_analytics enable row level security;

-- ---- what policies ask

create function storage.foldername(name text) returns text[]
language sql immutable
as $$
    select (string_to_array(name, '/'))[1:array_length(string_to_array(name, '/'), 1) - 1]
$$;

create function storage.filename(name text) returns text
language sql immutable
as $$
    select (string_to_array(name, '/'))[array_length(string_to_array(name, '/'), 1)]
$$;

create function storage.extension(name text) returns text
language sql immutable
as $$
    select reverse(split_part(reverse(storage.filename(name)), '.', 1))
$$;

create function storage.operation() returns text
language sql stable
as $$
    select current_setting('storage.operation', true)
$$;

create function storage.allow_any_operation(expected_operations text[]) returns boolean
language sql stable
as $$
    select coalesce(
        regexp_replace(storage.operation(), '^storage\.', '') in (
            select regexp_replace(expected, '^storage\.', '')
            from unnest(expected_operations) as expected
            where expected <> ''
        ),
        false
    )
$$;

create function storage.allow_only_operation(expected_operation text) returns boolean
language sql stable
as $$
    select storage.allow_any_operation(array[expected_operation])
$$;

create function storage.get_size_by_bucket() returns table (size bigint, bucket_id text)
language sql stable
as $$
    select sum((metadata ->> 'size')::bigint)::bigint, objects.bucket_id from storage.objects group by objects.bucket_id
$$;

-- ---- what guards the tables

create function storage.update_updated_at_column() returns trigger
language plpgsql
as $$
begin
    new.updated_at = now();
    return new;
end;
$$;

create trigger update_objects_updated_at before update on storage.objects
for each row execute function storage.update_updated_at_column();

create function storage.enforce_bucket_name_length() returns trigger
language plpgsql
as $$
begin
    if length(new.name) > 100 then
        raise exception 'bucket name "%" is too long (% characters). Max is 100.', new.name, length(new.name);
    end if;
    return new;
end;
$$;

create trigger enforce_bucket_name_length_trigger before insert or update of name on storage.buckets
for each row execute function storage.enforce_bucket_name_length();

-- A row that goes without its bytes leaves them behind for ever: only the service deletes, by a setting of its own
-- transactions. The statement is refused even when it touches no row.
create function storage.protect_delete() returns trigger
language plpgsql
as $$
begin
    if coalesce(current_setting('storage.allow_delete_query', true), '') <> 'true' then
        raise exception 'Direct deletion from storage tables is not allowed. Use the Storage API instead.'
            using hint = 'This prevents accidental data loss from orphaned objects.', errcode = '42501';
    end if;
    return null;
end;
$$;

create trigger protect_buckets_delete before delete on storage.buckets
for each statement execute function storage.protect_delete();

create trigger protect_objects_delete before delete on storage.objects
for each statement execute function storage.protect_delete();

-- ---- listing

-- The objects and folders directly below `prefix || search`, named relative to `prefix`. A folder is everything up to the
-- next slash and has null in all other columns. By name it walks the index from one entry to the next, so a folder of any
-- size costs one step; case is ignored, and folders that differ in case alone are one. `levels` is accepted and not used.
create function storage.search(
    prefix text,
    bucketname text,
    limits integer default 100,
    levels integer default 1,
    offsets integer default 0,
    search text default '',
    sortcolumn text default 'name',
    sortorder text default 'asc'
) returns table (
    name text,
    id uuid,
    updated_at timestamptz,
    created_at timestamptz,
    last_accessed_at timestamptz,
    metadata jsonb
)
language plpgsql stable
as $$
#variable_conflict use_column
declare
    wanted constant text := coalesce(prefix, '') || coalesce(search, '');
    lowered constant text := lower(coalesce(prefix, '') || coalesce(search, ''));
    first_character constant integer := length(coalesce(prefix, '')) + 1;
    ascending constant boolean := lower(coalesce(sortorder, 'asc')) = 'asc';
    page constant integer := least(coalesce(limits, 100), 1500);
    upper_bound constant text := lowered || chr(1114109);
    from_here text := case when ascending then lowered else upper_bound end;
    from_name text;  -- the object given last, among those whose names differ in case alone
    found storage.objects;
    folder_length integer;
    after_object boolean := false;
    passed integer := 0;
    given integer := 0;
begin
    if lower(coalesce(sortcolumn, 'name')) in ('updated_at', 'created_at', 'last_accessed_at') then
        return query execute format(
            $query$
                with below as (
                    select o.*, strpos(substr(o.name, length($1) + 1), '/') as slash
                    from storage.objects as o
                    where
                        o.bucket_id = $2
                        and lower(o.name) collate "C" >= lower($1) and lower(o.name) collate "C" < $3
                ),
                folders as (
                    select distinct substr(left(below.name, length($1) + below.slash - 1), $4) as folder
                    from below where below.slash > 0
                )
                (
                    select folder, null::uuid, null::timestamptz, null::timestamptz, null::timestamptz, null::jsonb
                    from folders order by folder %1$s
                )
                union all
                (
                    select
                        substr(below.name, $4), below.id, below.updated_at, below.created_at, below.last_accessed_at,
                        below.metadata
                    from below where below.slash = 0 order by below.%2$I %1$s
                )
                limit $5 offset $6
            $query$,
            case when ascending then 'asc' else 'desc' end, lower(sortcolumn)
        ) using wanted, bucketname, upper_bound, first_character, page, offsets;
        return;
    end if;

    while given < page loop
        if ascending then
            select * into found from storage.objects as o
            where
                o.bucket_id = bucketname
                and lower(o.name) collate "C" >= from_here and lower(o.name) collate "C" < upper_bound
                and (from_name is null or lower(o.name) <> from_here or o.name collate "C" > from_name)
            order by lower(o.name) collate "C", o.name collate "C" limit 1;
        else
            select * into found from storage.objects as o
            where
                o.bucket_id = bucketname
                and lower(o.name) collate "C" <= from_here and lower(o.name) collate "C" >= lowered
                and (lower(o.name) collate "C" < from_here or o.name collate "C" < from_name)
            order by lower(o.name) collate "C" desc, o.name collate "C" desc limit 1;
        end if;
        exit when found.name is null;

        folder_length := strpos(substr(found.name, length(wanted) + 1), '/');
        if folder_length > 0 and after_object and not ascending then
            -- The service goes on below the folder's last object when it came from an object: a folder of one object
            -- is passed over in this direction.
            from_here := lower(found.name);
            from_name := null;
            after_object := false;
            continue;
        end if;
        after_object := folder_length = 0;
        if folder_length > 0 then
            folder_length := length(wanted) + folder_length - 1;
            from_here := lower(left(found.name, folder_length)) || case when ascending then '0' else '/' end;
            from_name := null;
        else
            from_here := lower(found.name);
            from_name := found.name;
        end if;

        if passed < offsets then
            passed := passed + 1;
            continue;
        end if;
        given := given + 1;
        if folder_length > 0 then
            name := substr(left(found.name, folder_length), first_character);
            id := null; updated_at := null; created_at := null; last_accessed_at := null; metadata := null;
        else
            name := substr(found.name, first_character);
            id := found.id; updated_at := found.updated_at; created_at := found.created_at;
            last_accessed_at := found.last_accessed_at; metadata := found.metadata;
        end if;
        return next;
    end loop;
end;
$$;
