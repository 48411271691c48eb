-- Searching costs what the searcher's own library costs, however large the table is; a document read by its id costs a
-- recipient of 10,000 shares what it costs anybody; and lists are planned for the rows that there are.

-- who may read a document -------------------------------------------------------------------------------------------------

-- A case, since an `or` of two indexes is taken for a bitmap that is read whole and sorted. `exists`, since the planner
-- asks it once a row where few rows are read and hashes it where many are: `in (select shared_document_ids())` fetched
-- all 10,000 shares of a recipient for a single document. `<> 0`, which the planner takes for true of nearly all rows, as
-- it is in a list: of a condition it expects half to pass, and of three of them hardly a row.
alter policy "Owners and live recipients read documents" on public.documents
using (
    case
        when not (select private.is_active()) then 0
        when owner_id = (select auth.uid()) then 1
        -- the shares' own policy decides which of them count
        when exists (
            select from public.document_shares s where s.document_id = documents.id and s.user_id = (select auth.uid())
        ) then 1
        else 0
    end <> 0
);

create function private.is_shared(document_id uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select private.has_role('viewer', 'member', 'admin') and private.may_receive($1) and exists (
        select from public.document_shares s
        where s.document_id = $1 and s.user_id = (select auth.uid()) and (s.expires_at is null or s.expires_at > now())
    );
$$;
comment on function private.is_shared is 'Whether others share this live document with the caller now.';

create or replace function private.request_download(document_id uuid)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents;
    access_until timestamptz;
begin
    select * into document from public.documents d
    where d.id = request_download.document_id and d.deleted_at is null and private.is_active();
    if found and document.owner_id <> auth.uid() then
        select s.expires_at into access_until
        from public.document_shares s
        where s.document_id = document.id and s.user_id = auth.uid() and private.is_shared(document.id);
        if not found then
            document := null;
        end if;
    end if;
    if document.id is null then
        perform private.refuse(404, 'document_not_found', 'There is no such document.', '');
    end if;
    if document.status = 'ready' then
        perform private.log_event(
            'download_url_made', format('Download of %s prepared', document.name), document.id, document.owner_id
        );
    end if;
    return jsonb_build_object(
        'status', document.status,
        'archive_path', case when document.status = 'ready' then document.archive_path end,
        'filename', private.archive_filename(document.name),
        'size_bytes', document.archive_size_bytes,
        'access_until', access_until,
        'error', document.error
    );
end;
$$;

-- search ------------------------------------------------------------------------------------------------------------------

-- Every order in which a library is listed has an index that holds the names too (documents_live_name_idx and
-- documents_trash_name_idx do anyway). A search walks the one of its order from where the page begins, reads nothing but
-- the index and stops after a page: a common word is there soon, and a library of 100,000 is walked whole in some tens of
-- milliseconds. The trigram index serves rare words where it is less; it is one for all owners and knows no order. With it
-- alone a common word by name took 40 times as long among 100,000 documents as among 1,000.
drop index public.documents_live_created_idx, public.documents_live_size_idx, public.documents_live_status_idx,
    public.documents_trash_deleted_idx, public.documents_trash_size_idx, public.documents_trash_status_idx;
create index documents_live_created_idx on public.documents (owner_id, created_at desc, id desc) include (name) where deleted_at is null;
create index documents_live_size_idx on public.documents (owner_id, size_bytes, id) include (name) where deleted_at is null;
create index documents_live_status_idx on public.documents (owner_id, status, created_at desc, id desc) include (name) where deleted_at is null;
create index documents_trash_deleted_idx on public.documents (owner_id, deleted_at desc, id desc) include (name) where deleted_at is not null;
create index documents_trash_size_idx on public.documents (owner_id, size_bytes, id) include (name) where deleted_at is not null;
create index documents_trash_status_idx on public.documents (owner_id, status, deleted_at desc, id desc) include (name) where deleted_at is not null;
-- these served counts that library_sizes keeps now
drop index public.documents_owner_created_idx, public.documents_abandoned_idx;
-- an index alone answers only for pages that a vacuum has seen
alter table public.documents set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);

create function private.search_pattern(query text)
returns text
language sql
immutable
set search_path = ''
as $$
    -- A document may be named with the characters that a pattern is made of. Names are NFC; what is typed on a Mac is not.
    select '%' || regexp_replace(pg_catalog.normalize(coalesce(query, ''), 'NFC'), '([\\%_])', '\\\1', 'g') || '%';
$$;

create function private.search_order(sort text, descending boolean, date_column text, out sequence text, out beyond text)
language plpgsql
immutable
set search_path = ''
as $$
declare
    direction constant text := case when descending then 'desc' else 'asc' end;
    sign constant text := case when descending then '<' else '>' end;
    sort_column constant text := case sort when 'date' then date_column when 'name' then 'name' when 'size' then 'size_bytes' end;
begin
    if sort = 'status' then
        -- within one status the newest first, whichever status comes first
        sequence := format('status %s, %I desc, id desc', direction, date_column);
        beyond := format(
            'status %1$s= ($4).status and (status %1$s ($4).status or (%2$I, id) < (($4).%2$I, ($4).id))', sign, date_column
        );
    elsif sort_column is not null then
        sequence := format('%1$I %2$s, id %2$s', sort_column, direction);
        beyond := format('(%1$I, id) %2$s (($4).%1$I, ($4).id)', sort_column, sign);
    else
        perform private.refuse(422, 'sort_unknown', 'Documents are sorted by name, size, date or status.', 'Choose one of them.');
    end if;
end;
$$;
comment on function private.search_order is 'The order of a search, and the condition of what comes behind the row that is its fourth parameter.';

drop function public.search_documents(text, text, boolean, boolean, uuid, integer);
drop function private.search_documents(text, text, boolean, boolean, uuid, integer);
create function private.search_documents(
    query text, sort text, descending boolean, trash boolean, after_id uuid, page integer, statuses text[]
)
returns setof public.documents
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    ordering record := private.search_order(sort, descending, case when trash then 'deleted_at' else 'created_at' end);
    place public.documents;
begin
    if not private.is_active() then
        return;
    end if;
    if after_id is not null then
        select * into place from public.documents d where d.id = after_id and d.owner_id = auth.uid() and (d.deleted_at is not null or not trash);
        if not found then
            perform private.refuse(404, 'place_gone', 'The document to go on from is gone.', 'Begin with the first page.');
        end if;
    end if;
    return query execute format(
        'select d.* from (
            select id as found_id from public.documents
            where owner_id = $1 and deleted_at is %1$s and name collate "default" ilike $2 and %2$s and %3$s
            order by %4$s limit $5
        ) f join public.documents d on d.id = f.found_id order by %4$s',
        case when trash then 'not null' else 'null' end,
        case when statuses is not null then 'status = any ($3)' else 'true' end,
        case when after_id is not null then ordering.beyond else 'true' end,
        ordering.sequence
    ) using auth.uid(), private.search_pattern(query), statuses, place, least(greatest(coalesce(page, 100), 1), 1000);
end;
$$;
create function public.search_documents(
    query text, sort text default 'date', descending boolean default true, trash boolean default false,
    after_id uuid default null, page integer default 100, statuses text[] default null
)
returns setof public.documents
language sql
stable
set search_path = ''
begin atomic
    select * from private.search_documents(query, sort, descending, trash, after_id, page, statuses);
end;
comment on function public.search_documents is
    'Own documents (or those of the trash) whose name holds the text, in pages: sort by name, size, date or status; statuses are those wanted, all if null; after_id is the last row of the page before.';

create function private.search_shared(
    query text, sort text, descending boolean, after_id uuid, page integer, statuses text[]
)
returns setof public.shared_with_me
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    ordering record := private.search_order(sort, descending, 'shared_at');
    place public.shared_with_me;
begin
    if not private.has_role('viewer', 'member', 'admin') then
        return;
    end if;
    if after_id is not null then
        select * into place from public.shared_with_me d where d.id = after_id;
        if not found then
            perform private.refuse(404, 'place_gone', 'The document to go on from is gone.', 'Begin with the first page.');
        end if;
    end if;
    -- the names first: whether a share counts is asked of those alone that match
    return query execute format(
        'select d.* from (
            select s.id as found_id from (
                select document_id as id, document_name as name, size_bytes, status, shared_at
                from public.document_shares
                where user_id = $1 and (expires_at is null or expires_at > now())
            ) s
            where name collate "default" ilike $2 and %1$s and %2$s and private.may_receive(s.id)
            order by %3$s limit $5
        ) f join public.shared_with_me d on d.id = f.found_id order by %3$s',
        case when statuses is not null then 'status = any ($3)' else 'true' end,
        case when after_id is not null then ordering.beyond else 'true' end,
        ordering.sequence
    ) using auth.uid(), private.search_pattern(query), statuses, place, least(greatest(coalesce(page, 100), 1), 1000);
end;
$$;
create function public.search_shared(
    query text, sort text default 'date', descending boolean default true, after_id uuid default null,
    page integer default 100, statuses text[] default null
)
returns setof public.shared_with_me
language sql
stable
set search_path = ''
begin atomic
    select * from private.search_shared(query, sort, descending, after_id, page, statuses);
end;
comment on function public.search_shared is
    'Documents that others share with the caller now and whose name holds the text, in pages: sort by name, size, date (of sharing) or status; statuses are those wanted, all if null; after_id is the last row of the page before.';

revoke execute on function
    public.search_documents(text, text, boolean, boolean, uuid, integer, text[]),
    public.search_shared(text, text, boolean, uuid, integer, text[])
from public, anon;
revoke execute on all functions in schema private from public;
grant execute on function
    private.search_documents(text, text, boolean, boolean, uuid, integer, text[]),
    private.search_shared(text, text, boolean, uuid, integer, text[]),
    public.search_documents(text, text, boolean, boolean, uuid, integer, text[]),
    public.search_shared(text, text, boolean, uuid, integer, text[])
to authenticated;
