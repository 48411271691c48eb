-- Storage: two private buckets, who may put and get bytes, and the trigger that turns a stored original into a job.
--
-- A write of the Storage service has two transactions: a probe as the caller (version '1', always rolled back) and the
-- final one as service_role, where auth.uid() is null. Policies decide in the probe; what they cannot see there (racing,
-- chunked and signed uploads) the trigger decides in the final one. SQLSTATE 42501 is the one clean way to refuse: the
-- client reads our sentence and the service removes the bytes.

insert into storage.buckets (id, name, public, file_size_limit)
values
    ('documents', 'documents', false, 5368709120),
    ('archives', 'archives', false, 5368709120)
on conflict (id) do update set public = excluded.public, file_size_limit = excluded.file_size_limit;

create function private.document_of_key(key text)
returns uuid
language sql
immutable
set search_path = ''
as $$
    -- a key is anything that a client sends: look before casting
    select case when $1 ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then split_part($1, '/', 2)::uuid end;
$$;

create function private.may_store_original(key text)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select private.has_role('member') and exists (
        select 1
        from public.documents d
        where d.id = private.document_of_key($1) and $1 = d.owner_id || '/' || d.id
            and d.owner_id = (select auth.uid()) and d.status = 'uploading' and d.deleted_at is null
    );
$$;
comment on function private.may_store_original is 'Whether the key is that of an open document of the caller.';
revoke execute on all functions in schema private from public;
grant execute on function private.may_store_original(text) to authenticated;

create policy "People store the originals of their own open documents" on storage.objects for insert to authenticated
with check (
    bucket_id = 'documents'
    and (select storage.operation()) = any (array[
        'storage.object.upload', 'storage.tus.upload.create', 'storage.tus.upload.part', 'storage.tus.upload.delete'
    ])
    and private.may_store_original(name)
);

-- Inline: a definer function a row made a listing of this bucket take minutes. `documents` decides by its own policies.
create policy "People download the archives of documents they may read" on storage.objects for select to authenticated
using (
    bucket_id = 'archives'
    and (select storage.operation()) = any (array[
        'storage.object.sign', 'storage.object.sign_many', 'storage.object.get_authenticated'
    ])
    and exists (
        select 1 from public.documents d where d.archive_path = objects.name and d.deleted_at is null
    )
);

create function private.length_in(metadata jsonb, field text)
returns numeric
language sql
immutable
set search_path = ''
as $$
    -- numeric: a client announces any number, and a cast that fails would be a fault of ours
    select case when jsonb_typeof($1 -> $2) = 'number' then ($1 ->> $2)::numeric end;
$$;

create function private.receive_original()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents;
    probe boolean := new.version is null or new.version = '1';
    stored_bytes numeric;
begin
    -- tested here and not in `when (…)`: a column named there would block the Storage service's own migrations of it
    if new.bucket_id <> 'documents' or (tg_op = 'UPDATE' and new.version is not distinct from old.version) then
        return null;
    end if;
    if probe then
        select * into document from public.documents d where d.id = private.document_of_key(new.name);
        if found and private.length_in(new.metadata, 'contentLength') > document.size_bytes + 65536 then
            raise exception using errcode = '42501', message = format(
                'The document was announced with %s bytes, this upload has %s.',
                document.size_bytes, new.metadata ->> 'contentLength'
            );
        end if;
        return null;
    end if;
    select * into document from public.documents d
    where d.id = private.document_of_key(new.name) and new.name = d.owner_id || '/' || d.id
    for update;
    if not found then
        raise exception using errcode = '42501', message = 'There is no document for this upload.';
    end if;
    if document.deleted_at is not null then
        raise exception using errcode = '42501', message = 'The document was deleted.';
    end if;
    if document.status <> 'uploading' then
        raise exception using errcode = '42501', message = 'The document has its bytes already.';
    end if;
    if not exists (select from public.profiles p where p.id = document.owner_id and p.deleted_at is null) then
        raise exception using errcode = '42501', message = 'The account of this document''s owner is closed.';
    end if;
    stored_bytes := private.length_in(new.metadata, 'size');
    if stored_bytes is distinct from document.size_bytes then
        raise exception using errcode = '42501', message = format(
            'The document was announced with %s bytes, but %s arrived.', document.size_bytes, coalesce(stored_bytes::text, 'none')
        );
    end if;
    update public.documents d set status = 'queued', progress = 0, error = null, object_version = new.version
    where d.id = document.id
    returning * into document;
    perform jobs.enqueue_archive(document);
    perform private.log_event('uploaded', format('Uploaded %s', document.name), document.id, document.owner_id, document.owner_id);
    return null;
end;
$$;
comment on function private.receive_original is 'Turns a stored original into a queued document with one job, or refuses it with a sentence.';
revoke execute on function private.receive_original(), private.length_in(jsonb, text) from public;
create trigger instashare_receive_original after insert or update on storage.objects
for each row execute function private.receive_original();
