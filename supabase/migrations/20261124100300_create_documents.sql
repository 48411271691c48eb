-- Documents: one row a file. The row comes first and settles name, size and limits before a byte moves; its status
-- tells what is happening to the file. Functions and triggers alone write everything but the name.

create function private.clean_name(name text)
returns text
language sql
immutable
set search_path = ''
as $$
    -- what counts as white space: https://www.unicode.org/Public/UCD/latest/ucd/PropList.txt, less the controls
    select btrim(
        normalize(coalesce(name, ''), nfc),
        U&' \00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\202F\205F\3000'
    );
$$;
comment on function private.clean_name is 'A document''s name as it is kept: NFC, without white space at its ends.';

create function private.name_fault(name text)
returns text
language sql
immutable
set search_path = ''
as $$
    -- Names end up on every kind of disk: https://learn.microsoft.com/windows/win32/fileio/naming-a-file lists what
    -- Windows reserves; bidirectional controls are https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
    select case
        when name is null or name = '' then 'A name cannot be empty.'
        when octet_length(name) > 255 then 'A name can have 255 bytes at most, its extension included.'
        when name ~ '[/\\]' then 'A name cannot contain / or \.'
        when name ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]' then 'A name cannot contain control characters.'
        when name ~ '[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]' then 'A name cannot contain characters that change the writing direction.'
        when name ~ '^[\s\u00a0\u00ad\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200d\u202f\u205f-\u2064\u206a-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]*$'
            then 'A name needs a character that can be seen.'
        when name in ('.', '..') then 'A name cannot be only dots.'
        when split_part(upper(name), '.', 1) ~ '^\s*(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3])\s*$'
            then 'This name is reserved by Windows.'
    end;
$$;
comment on function private.name_fault is 'What is wrong with a document''s name, as a sentence; null where nothing is.';

create table public.documents (
    id uuid primary key default gen_random_uuid(),
    owner_id uuid not null default auth.uid() references public.profiles (id),
    name text not null check (private.name_fault(name) is null),
    name_revision integer not null default 1 check (name_revision > 0),
    size_bytes bigint not null check (size_bytes >= 0),
    mime_type text not null default 'application/octet-stream' check (char_length(mime_type) between 1 and 255),
    status text not null default 'uploading'
        check (status in ('uploading', 'queued', 'processing', 'ready', 'failed')),
    progress real not null default 0 check (progress between 0 and 1),
    error text check (char_length(error) <= 1000),
    archive_path text,
    archive_size_bytes bigint check (archive_size_bytes > 0),
    archive_name_revision integer,
    object_version text,
    purge_started_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    check ((archive_path is null) = (archive_size_bytes is null)),
    check ((archive_path is null) = (archive_name_revision is null)),
    check (status <> 'ready' or archive_path is not null),
    check (purge_started_at is null or deleted_at is not null)
);
comment on table public.documents is 'A file of a person. Bytes lie in bucket `documents` under owner_id/id, the ZIP in bucket `archives` under archive_path.';
comment on column public.documents.name is 'Normalised to NFC; 1 to 255 bytes.';
comment on column public.documents.name_revision is 'Raised by every rename; the ETag of the API.';
comment on column public.documents.size_bytes is 'Announced by the client, enforced when the bytes arrive.';
comment on column public.documents.status is 'uploading, queued, processing, ready or failed (to queued again by retry).';
comment on column public.documents.progress is 'Of the processing, 0 to 1.';
comment on column public.documents.error is 'Why processing failed, or why the last attempt did: `code: sentence`.';
comment on column public.documents.archive_name_revision is 'Which revision of the name the ZIP''s entry bears.';
comment on column public.documents.object_version is 'Version of the stored object that is being or has been processed.';
comment on column public.documents.purge_started_at is 'From here on there is no way back: bytes are being removed.';
comment on column public.documents.deleted_at is 'When the document went to the trash.';

create unique index documents_archive_path_key on public.documents (archive_path);
create index documents_owner_created_idx on public.documents (owner_id, created_at desc, id desc) include (size_bytes);
create index documents_owner_name_idx on public.documents (owner_id, name, id);
create index documents_abandoned_idx on public.documents (owner_id) include (size_bytes)
where status = 'failed' and object_version is null;
create index documents_uploading_idx on public.documents (created_at) where status = 'uploading';
create index documents_deleted_at_idx on public.documents (deleted_at) where deleted_at is not null;

create function private.may_upload()
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select private.has_role('member');
$$;
comment on function private.may_upload is 'Whether the caller may add documents.';
grant execute on function private.may_upload() to authenticated;
grant execute on function private.name_fault(text) to authenticated, service_role;

create function private.refuse_name(name text)
returns void
language plpgsql
set search_path = ''
as $$
declare
    fault text := private.name_fault(name);
begin
    if fault is not null then
        perform private.refuse(422, 'name_invalid', fault, 'Choose another name.');
    end if;
end;
$$;

create function private.admit_document()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    setting private.settings;
    used_bytes numeric;
    used_documents bigint;
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
    -- two inserts of one person at a time would both fit where only one does
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('instashare.quota:' || new.owner_id, 0));
    -- An abandoned upload has no bytes and counts for nothing. Two sums, so that either is read from an index alone: with
    -- 99,000 documents 18 ms instead of 75 for each document added.
    select coalesce(sum(d.size_bytes), 0), count(*) into used_bytes, used_documents
    from public.documents d
    where d.owner_id = new.owner_id;
    select used_bytes - coalesce(sum(d.size_bytes), 0), used_documents - count(*) into used_bytes, used_documents
    from public.documents d
    where d.owner_id = new.owner_id and d.status = 'failed' and d.object_version is null;
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
    return new;
end;
$$;
create trigger admit_document before insert on public.documents
for each row execute function private.admit_document();

create function private.prepare_document_change()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if new.name is distinct from old.name then
        new.name := private.clean_name(new.name);
        perform private.refuse_name(new.name);
        if new.name <> old.name then
            new.name_revision := old.name_revision + 1;
        end if;
    end if;
    new.updated_at := now();
    return new;
end;
$$;
create trigger prepare_document_change before update on public.documents
for each row execute function private.prepare_document_change();

revoke all on public.documents from public, anon, authenticated, service_role;
grant select, insert (name, size_bytes, mime_type), update (name) on public.documents to authenticated;
grant select on public.documents to service_role;
alter table public.documents enable row level security;
-- who may read them is written in the migration of sharing, which knows the recipients
create policy "Members add documents of their own" on public.documents for insert to authenticated
with check (owner_id = (select auth.uid()) and (select private.may_upload()));
create policy "Owners rename their live documents" on public.documents for update to authenticated
using (owner_id = (select auth.uid()) and deleted_at is null and (select private.is_active()))
with check (owner_id = (select auth.uid()) and (select private.is_active()));

revoke execute on all functions in schema private from public;
