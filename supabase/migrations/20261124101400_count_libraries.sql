-- How large a person's library is, kept in one row: with 100,000 documents each document added, the limits and the counts
-- took 8 to 19 ms, and now take what they take with ten. The row is also what two inserts of one person wait for.

create table private.library_sizes (
    owner_id uuid primary key,
    live bigint not null,
    trash bigint not null,
    counted bigint not null,
    counted_bytes numeric not null
);
comment on table private.library_sizes is 'How many documents a person has, in the trash and out of it, and what counts towards the limits: all but abandoned uploads, which have no bytes. Written by a trigger.';
revoke all on private.library_sizes from public, anon, authenticated, service_role;
alter table private.library_sizes enable row level security;

insert into private.library_sizes (owner_id, live, trash, counted, counted_bytes)
select
    d.owner_id, count(*) filter (where d.deleted_at is null), count(*) filter (where d.deleted_at is not null),
    count(*) filter (where d.status <> 'failed' or d.object_version is not null),
    coalesce(sum(d.size_bytes) filter (where d.status <> 'failed' or d.object_version is not null), 0)
from public.documents d
group by d.owner_id;

create function private.follow_size()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = auto
as $$
declare
    live integer := 0;
    trash integer := 0;
    counted integer := 0;
    counted_bytes numeric := 0;
    person_id uuid;
    setting private.settings;
    used_bytes numeric;
    used_documents bigint;
begin
    if tg_op <> 'INSERT' then
        person_id := old.owner_id;
        live := live - (old.deleted_at is null)::integer;
        trash := trash - (old.deleted_at is not null)::integer;
        if old.status <> 'failed' or old.object_version is not null then
            counted := counted - 1;
            counted_bytes := counted_bytes - old.size_bytes;
        end if;
    end if;
    if tg_op <> 'DELETE' then
        person_id := new.owner_id;
        live := live + (new.deleted_at is null)::integer;
        trash := trash + (new.deleted_at is not null)::integer;
        if new.status <> 'failed' or new.object_version is not null then
            counted := counted + 1;
            counted_bytes := counted_bytes + new.size_bytes;
        end if;
    end if;
    insert into private.library_sizes as s values (person_id, live, trash, counted, counted_bytes)
    on conflict (owner_id) do update set
        live = s.live + excluded.live, trash = s.trash + excluded.trash, counted = s.counted + excluded.counted,
        counted_bytes = s.counted_bytes + excluded.counted_bytes
    returning s.counted_bytes, s.counted into used_bytes, used_documents;
    if tg_op <> 'INSERT' then
        return null;
    end if;
    -- here, where the rows of one statement and of another that waited for this row are counted already
    select * into setting from private.settings;
    used_documents := used_documents - 1;
    used_bytes := used_bytes - new.size_bytes;
    if used_documents >= setting.documents_limit then
        perform private.refuse(413, 'too_many_documents',
            format('You have %s documents; the limit is %s.', used_documents, setting.documents_limit),
            'Delete documents and empty the trash.');
    end if;
    if used_bytes + new.size_bytes > setting.quota_bytes then
        perform private.refuse(413, 'quota_exceeded',
            format('You use %s of %s bytes; this file has %s.', used_bytes, setting.quota_bytes, new.size_bytes),
            'Delete documents and empty the trash.');
    end if;
    return null;
end;
$$;
create trigger follow_size after insert or delete on public.documents
for each row execute function private.follow_size();
-- not in a runner's conversation: that changes neither, so it never waits for an owner who adds documents
create trigger follow_changed_size after update on public.documents
for each row when (
    (old.deleted_at is null) <> (new.deleted_at is null)
    or (old.status = 'failed' and old.object_version is null) <> (new.status = 'failed' and new.object_version is null)
)
execute function private.follow_size();

create or replace function private.admit_document()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = auto
as $$
declare
    setting private.settings;
begin
    if not (select private.may_upload()) then
        perform private.refuse(403, 'not_allowed', 'You may not upload documents.', 'Ask an administrator for the role "member".');
    end if;
    new.owner_id := auth.uid();
    new.name := private.clean_name(new.name);
    perform private.refuse_name(new.name);
    new.mime_type := coalesce(nullif(btrim(new.mime_type), ''), 'application/octet-stream');
    if char_length(new.mime_type) > 255 then
        perform private.refuse(422, 'mime_type_invalid', 'The media type is longer than 255 characters.', 'Leave mime_type out.');
    end if;
    if new.size_bytes is null or new.size_bytes < 0 then
        perform private.refuse(422, 'size_invalid', 'The size must be a number of bytes, 0 or more.', 'Send size_bytes.');
    end if;
    select * into setting from private.settings;
    if new.size_bytes > setting.file_size_limit_bytes then
        perform private.refuse(413, 'file_too_large',
            format('The file has %s bytes; the limit is %s.', new.size_bytes, setting.file_size_limit_bytes),
            'Split the file, or ask the operator to raise the limit.');
    end if;
    return new;
end;
$$;

create or replace function private.limits()
returns table (
    file_size_limit_bytes bigint, quota_bytes bigint, used_bytes bigint, documents_limit integer, documents bigint,
    shares_limit integer, trash_days numeric
)
language sql
stable
security definer
set search_path = ''
as $$
    select
        s.file_size_limit_bytes, s.quota_bytes, coalesce(l.counted_bytes, 0)::bigint, s.documents_limit,
        coalesce(l.counted, 0), s.shares_limit, round(extract(epoch from s.trash_period) / 86400, 2)
    from private.settings s
        left join private.library_sizes l on l.owner_id = (select auth.uid())
    where (select private.is_active());
$$;

create or replace function private.library_counts()
returns table (documents bigint, in_progress bigint, failed bigint, trash bigint, shared_with_me bigint)
language sql
stable
security definer
set search_path = ''
as $$
    select
        coalesce(max(l.live), 0),
        (
            select count(*) from public.documents d
            where d.owner_id = (select auth.uid()) and d.deleted_at is null
                and d.status in ('uploading', 'queued', 'processing')
        ),
        (
            select count(*) from public.documents d
            where d.owner_id = (select auth.uid()) and d.deleted_at is null and d.status = 'failed'
        ),
        coalesce(max(l.trash), 0),
        (select count(*) from private.shared_document_ids())
    from private.library_sizes l
    where l.owner_id = (select auth.uid())
    having (select private.is_active());
$$;

revoke execute on function private.follow_size() from public;
