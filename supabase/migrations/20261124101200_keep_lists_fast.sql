-- Lists that take as long for an owner of 100,000 documents as for one of a thousand: names in natural order, an index
-- for every order in which a list can be asked for, shares that carry what they are sorted by, and a search.
--
-- A page begins where the last one ended (keyset): `created_at=lte.T&or=(created_at.lt.T,id.lt.I)`. The first half finds
-- the place in the index, the second breaks ties. Names are compared by the column's collation, since REST can name none.

-- One deterministic collation: report 2 before report 10. Nondeterministic ones refuse ILIKE.
create collation private.natural_order (provider = icu, locale = 'und-u-kn-true');
comment on collation private.natural_order is 'The order of names: numbers by their value, in every language.';

drop trigger follow_rename on public.documents;
drop index public.documents_owner_name_idx;
alter table public.documents alter column name type text collate private.natural_order;
create trigger follow_rename after update of name on public.documents
for each row execute function private.follow_document();

-- own documents and the trash apart: whoever deletes 50,000 documents must not wade through them in his library
create index documents_live_created_idx on public.documents (owner_id, created_at desc, id desc) where deleted_at is null;
create index documents_live_name_idx on public.documents (owner_id, name, id) where deleted_at is null;
create index documents_live_size_idx on public.documents (owner_id, size_bytes, id) where deleted_at is null;
create index documents_live_status_idx on public.documents (owner_id, status, created_at desc, id desc) where deleted_at is null;
create index documents_trash_deleted_idx on public.documents (owner_id, deleted_at desc, id desc) where deleted_at is not null;
create index documents_trash_name_idx on public.documents (owner_id, name, id) where deleted_at is not null;
create index documents_trash_size_idx on public.documents (owner_id, size_bytes, id) where deleted_at is not null;
create index documents_trash_status_idx on public.documents (owner_id, status, deleted_at desc, id desc) where deleted_at is not null;
-- what changed since a moment: the question of a client that keeps its list fresh
create index documents_owner_updated_idx on public.documents (owner_id, updated_at desc);

-- A case, not an `or`: the planner takes an `or` of two indexes as a bitmap, guesses that hardly a row survives, reads all
-- of a large library and sorts it (100,000 documents: 130 ms a page). A case is a filter of which it expects half to pass,
-- so the list's own index is walked and left after a page. The other side: a list must name its owner (`owner_id=eq.…`);
-- whoever asks for all that he may read has the table read once. `in`, for its hash: an array would be searched row by row.
drop policy "Owners and live recipients read documents" on public.documents;
create policy "Owners and live recipients read documents" on public.documents for select to authenticated
using (
    (select private.is_active())
    and case when owner_id = (select auth.uid()) then true else id in (select private.shared_document_ids()) end
);

-- REST prepares its statements, and a plan for no one in particular takes every person for an average one, whose 20 rows
-- may as well be read whole and sorted. So each request is planned for what it asks (PostgREST takes over the settings of
-- the role it acts as); functions that run for every row keep their plans.
alter role authenticated set plan_cache_mode = force_custom_plan;
alter function private.prepare_document_change() set plan_cache_mode = auto;
alter function private.follow_document() set plan_cache_mode = auto;
-- nor can that tell one recipient from another: let the planner expect enough rows to walk the list's index
alter table public.document_shares alter column user_id set (n_distinct = 100);

-- A page of the log names its owner as well (`owner_id=eq.…`); what one did to other people's documents has `user_id`.
alter policy "People read what concerns them, admins everything" on public.logs
using (
    case
        when (select private.has_role('admin')) then true
        when (select private.is_active()) then owner_id = (select auth.uid()) or user_id = (select auth.uid())
        else false
    end
);

-- shared with me --------------------------------------------------------------------------------------------------------

-- A list over a join is sorted after all of it was joined: 30 times slower for a recipient of 10,000 documents.
alter table public.document_shares
    add column document_name text collate private.natural_order,
    add column size_bytes bigint,
    add column status text,
    add column created_at timestamptz;
comment on column public.document_shares.document_name is 'The document''s, as are size, status and time of creation: what the list is sorted by.';
create index document_shares_shared_at_idx on public.document_shares (user_id, shared_at desc, document_id desc);
create index document_shares_created_idx on public.document_shares (user_id, created_at desc, document_id desc);
create index document_shares_name_idx on public.document_shares (user_id, document_name, document_id);
create index document_shares_size_idx on public.document_shares (user_id, size_bytes, document_id);
create index document_shares_status_idx on public.document_shares (user_id, status, shared_at desc, document_id desc);

create function private.copy_sort_keys()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- held, so that a change at this moment waits for this row and then reaches it
    select d.name, d.size_bytes, d.status, d.created_at
    into new.document_name, new.size_bytes, new.status, new.created_at
    from public.documents d where d.id = new.document_id
    for share;
    return new;
end;
$$;
create trigger copy_sort_keys before insert on public.document_shares
for each row execute function private.copy_sort_keys();

create function private.follow_sort_keys()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.document_shares s set document_name = new.name, status = new.status where s.document_id = new.id;
    return null;
end;
$$;
create trigger follow_sort_keys after update on public.documents
for each row when (new.name is distinct from old.name or new.status is distinct from old.status)
execute function private.follow_sort_keys();

create function private.may_receive(document_id uuid)
returns boolean
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = auto
as $$
begin
    return exists (
        select from public.documents d join public.profiles p on p.id = d.owner_id
        where d.id = may_receive.document_id and d.deleted_at is null and p.deleted_at is null
    );
end;
$$;
comment on function private.may_receive is 'Whether a share of this document counts: it is not deleted and its owner''s account is open.';

create function private.shared_document(document_id uuid)
returns table (
    mime_type text, progress real, archive_size_bytes bigint, updated_at timestamptz, owner_id uuid, owner_name text,
    owner_email text
)
language plpgsql
stable
security definer
rows 1
set search_path = ''
set plan_cache_mode = auto
as $$
#variable_conflict use_column
begin
    return query
    select
        d.mime_type, d.progress, d.archive_size_bytes, d.updated_at, d.owner_id, btrim(p.first_name || ' ' || p.last_name),
        p.email
    from public.document_shares s
        join public.documents d on d.id = s.document_id
        join public.profiles p on p.id = d.owner_id
    where s.document_id = shared_document.document_id and s.user_id = auth.uid() and d.deleted_at is null
        and p.deleted_at is null and (s.expires_at is null or s.expires_at > now());
end;
$$;
comment on function private.shared_document is 'What the reader of a share sees of the document beside what the share carries; no row unless it is live.';

-- not the columns that name the share or who else has one
grant select (document_id, user_id, shared_at, expires_at, document_name, size_bytes, status, created_at)
on public.document_shares to authenticated;
create policy "Recipients read their own live shares" on public.document_shares for select to authenticated
using (
    user_id = (select auth.uid()) and (expires_at is null or expires_at > now())
    and (select private.has_role('viewer', 'member', 'admin')) and private.may_receive(document_id)
);

drop view public.shared_with_me;
drop function private.shared_with_me();
create view public.shared_with_me with (security_invoker = true) as
select
    s.document_id as id, s.document_name as name, s.size_bytes, d.mime_type, s.status, d.progress, d.archive_size_bytes,
    s.created_at, d.updated_at, d.owner_id, d.owner_name, d.owner_email, s.shared_at, s.expires_at
from public.document_shares s
    cross join lateral private.shared_document(s.document_id) d
where s.user_id = (select auth.uid());
comment on view public.shared_with_me is 'Documents that others share with the reader now.';
revoke all on public.shared_with_me from public, anon, authenticated, service_role;
grant select on public.shared_with_me to authenticated;

-- search ----------------------------------------------------------------------------------------------------------------

-- ILIKE is not leakproof: under row level security it never reaches an index. So a function searches, in the database's own
-- collation, whose small letters come faster than ICU's. The index needs two extensions that come with Postgres; where they
-- are not to be had the function works as well, only slower.
do $$
begin
    create schema if not exists extensions;
    create extension if not exists pg_trgm with schema extensions;
    create extension if not exists btree_gin with schema extensions;
    execute 'create index documents_search_idx on public.documents using gin (owner_id, (name collate "default") extensions.gin_trgm_ops)';
exception
    when feature_not_supported or undefined_file or insufficient_privilege or undefined_object then
        raise notice 'Without pg_trgm and btree_gin, searching a large library takes longer: %', sqlerrm;
end;
$$;

create function private.search_documents(
    query text, sort text, descending boolean, trash boolean, after_id uuid, page integer
)
returns setof public.documents
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    sort_column text := case sort
        when 'date' then case when trash then 'deleted_at' else 'created_at' end
        when 'name' then 'name' when 'size' then 'size_bytes' when 'status' then 'status'
    end;
    direction text := case when descending then 'desc' else 'asc' end;
    -- a document may be named with the characters that a pattern is made of
    pattern text := '%' || regexp_replace(coalesce(query, ''), '([\\%_])', '\\\1', 'g') || '%';
begin
    if sort_column is null then
        perform private.refuse(422, 'sort_unknown', 'Documents are sorted by name, size, date or status.', 'Choose one of them.');
    end if;
    if not private.is_active() then
        return;
    end if;
    return query execute format(
        'select * from public.documents d'
        ' where d.owner_id = $1 and d.deleted_at is %2$s and d.name collate "default" ilike $2 %3$s'
        ' order by d.%1$I %4$s, d.id %4$s limit $4',
        sort_column, case when trash then 'not null' else 'null' end,
        case when after_id is not null then format(
            'and (d.%1$I, d.id) %2$s (select p.%1$I, p.id from public.documents p where p.id = $3 and p.owner_id = $1)',
            sort_column, case when descending then '<' else '>' end
        ) end, direction
    ) using auth.uid(), pattern, after_id, least(greatest(coalesce(page, 100), 1), 1000);
end;
$$;
create function public.search_documents(
    query text, sort text default 'date', descending boolean default true, trash boolean default false,
    after_id uuid default null, page integer default 100
)
returns setof public.documents
language sql
stable
set search_path = ''
begin atomic
    select * from private.search_documents(query, sort, descending, trash, after_id, page);
end;
comment on function public.search_documents is
    'Own documents (or those of the trash) whose name holds the text, in pages: sort by name, size, date or status; after_id is the last row of the page before.';
revoke execute on function public.search_documents(text, text, boolean, boolean, uuid, integer) from public, anon;
revoke execute on all functions in schema private from public;
grant execute on function
    private.may_receive(uuid), private.shared_document(uuid),
    private.search_documents(text, text, boolean, boolean, uuid, integer),
    public.search_documents(text, text, boolean, boolean, uuid, integer)
to authenticated;
