-- What people do with a document beyond reading and renaming it: delete, restore, purge, retry, ask for its download.
-- Public functions are thin and run as the caller; what they may touch lies in `private`.

create function private.follow_document()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_op = 'INSERT' then
        perform private.log_event('created', format('Added %s', new.name), new.id, new.owner_id);
    elsif new.name_revision <> old.name_revision then
        if new.archive_path is not null and new.deleted_at is null then
            perform jobs.enqueue_rename(new);
        end if;
        perform private.log_event('renamed', format('Renamed %s to %s', old.name, new.name), new.id, new.owner_id);
    end if;
    return null;
end;
$$;
create trigger follow_new_document after insert on public.documents
for each row execute function private.follow_document();
create trigger follow_rename after update of name on public.documents
for each row execute function private.follow_document();

create function private.delete_document(document_id uuid)
returns public.documents
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents := private.own_document(document_id);
begin
    if document.deleted_at is not null then
        return document;
    end if;
    update public.documents d
    set deleted_at = now(),
        status = case when d.status = 'processing' then 'queued' else d.status end,
        progress = case when d.status = 'processing' then 0 else d.progress end
    where d.id = document.id
    returning * into document;
    perform jobs.cancel_of_document(document.id);
    perform private.end_access(document);
    perform private.log_event('deleted', format('Moved %s to the trash', document.name), document.id, document.owner_id);
    return document;
end;
$$;

create function private.restore_document(document_id uuid)
returns public.documents
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents := private.own_document(document_id);
begin
    if document.deleted_at is null then
        return document;
    end if;
    if document.purge_started_at is not null then
        perform private.refuse(409, 'purge_started', 'The document is being removed for good.', '');
    end if;
    update public.documents d set deleted_at = null where d.id = document.id returning * into document;
    if document.status in ('queued', 'processing') then
        perform jobs.enqueue_archive(document);
    elsif document.status = 'ready' and document.name_revision > document.archive_name_revision then
        perform jobs.enqueue_rename(document);
    end if;
    perform private.log_event('restored', format('Restored %s', document.name), document.id, document.owner_id);
    return document;
end;
$$;

create function private.purge_document(document_id uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents := private.own_document(document_id);
begin
    if document.deleted_at is null then
        perform private.refuse(409, 'document_not_deleted', 'Only documents in the trash can be removed for good.', 'Delete it first.');
    end if;
    update public.documents d set purge_started_at = now() where d.id = document.id and d.purge_started_at is null;
    perform jobs.enqueue('purge_deleted', document.owner_id, document.id, '{}', format('purge:%s', document.id), null, 1::smallint);
end;
$$;

create function private.retry_document(document_id uuid)
returns public.documents
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents := private.own_document(document_id);
begin
    if document.deleted_at is not null then
        perform private.refuse(409, 'document_deleted', 'The document is in the trash.', 'Restore it first.');
    elsif document.status <> 'failed' then
        perform private.refuse(409, 'not_failed', format('The document is %s; only failed ones are retried.', document.status), '');
    elsif document.object_version is null then
        perform private.refuse(409, 'nothing_stored', 'No bytes of this document were stored.', 'Add the file as a new document.');
    end if;
    update public.documents d set status = 'queued', progress = 0, error = null where d.id = document.id
    returning * into document;
    perform jobs.enqueue_archive(document);
    perform private.log_event('retried', format('Retried %s', document.name), document.id, document.owner_id);
    return document;
end;
$$;

create function private.request_download(document_id uuid)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents;
    access_until timestamptz;
    base text;
begin
    select * into document from public.documents d
    where d.id = request_download.document_id and d.deleted_at is null and private.is_active();
    if found and document.owner_id <> auth.uid() then
        select s.expires_at into access_until
        from public.document_shares s
        where s.document_id = document.id and s.user_id = auth.uid()
            and s.document_id in (select private.shared_document_ids());
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

create function private.archive_filename(name text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
declare
    kept text := name;
begin
    -- a file name holds 255 bytes on nearly every disk, `.zip` included
    while octet_length(kept) > 251 loop
        kept := left(kept, char_length(kept) - 1);
    end loop;
    return kept || '.zip';
end;
$$;
comment on function private.archive_filename is 'Under which name the ZIP of a document is downloaded: `report.pdf.zip`.';

create function private.close_account()
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- two last administrators at a time would both see the other
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('instashare.close_account', 0));
    if (select private.has_role('admin')) and not exists (
        select from public.user_roles u
            join public.roles r on r.id = u.role_id
            join public.profiles p on p.id = u.user_id
        where r.name = 'admin' and p.deleted_at is null and p.id <> auth.uid()
    ) then
        perform private.refuse(409, 'last_admin', 'You are the last administrator.', 'Make somebody else an administrator first.');
    end if;
    update public.profiles p set deleted_at = now() where p.id = auth.uid() and p.deleted_at is null;
    if not found then
        perform private.refuse(404, 'account_not_found', 'Your account is closed already.', '');
    end if;
    perform private.log_event('account_closed', 'Account closed', null, auth.uid());
end;
$$;

create table private.ended_persons (
    person_id uuid primary key,
    own boolean not null,
    done_until uuid not null default '00000000-0000-0000-0000-000000000000'
);
comment on table private.ended_persons is 'People who lost the right to what they may have signed links to: to what others share with them, and (`own`) to their own. The job close_accounts goes through it.';
comment on column private.ended_persons.done_until is 'Documents up to this id are done.';
revoke all on private.ended_persons from public, anon, authenticated, service_role;
alter table private.ended_persons enable row level security;

create function private.end_links(person_id uuid, own boolean)
returns void
language sql
security definer
set search_path = ''
as $$
    -- piece by piece in a job: 100,000 revocations take longer than a client's statement may
    insert into private.ended_persons as e (person_id, own) values ($1, $2)
    on conflict (person_id) do update set own = e.own or excluded.own, done_until = default;
    select jobs.enqueue('close_accounts', null, null, '{}', 'end_links:' || $1, null, 1::smallint);
$$;
comment on function private.end_links is 'Has the links die that a person may have signed: to what others share with him, and to what is his own.';

create function private.follow_closing()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if old.deleted_at is null and new.deleted_at is not null then
        perform private.end_links(new.id, true);
    end if;
    return null;
end;
$$;
create trigger follow_closing after update of deleted_at on public.profiles
for each row execute function private.follow_closing();

create function private.follow_lost_role()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if not private.person_has_role(old.user_id, array['viewer', 'member', 'admin']) then
        perform private.end_links(old.user_id, false);
    end if;
    return null;
end;
$$;
create trigger follow_lost_role after delete on public.user_roles
for each row execute function private.follow_lost_role();

create function public.delete_document(document_id uuid)
returns public.documents
language sql
set search_path = ''
begin atomic
    select private.delete_document(document_id);
end;
comment on function public.delete_document is 'Moves an own document to the trash: hidden at once, its work cancelled. Always succeeds.';
create function public.restore_document(document_id uuid)
returns public.documents
language sql
set search_path = ''
begin atomic
    select private.restore_document(document_id);
end;
comment on function public.restore_document is 'Takes an own document out of the trash.';
create function public.purge_document(document_id uuid)
returns void
language sql
set search_path = ''
begin atomic
    select private.purge_document(document_id);
end;
comment on function public.purge_document is 'Removes an own document of the trash for good, bytes first.';
create function public.retry_document(document_id uuid)
returns public.documents
language sql
set search_path = ''
begin atomic
    select private.retry_document(document_id);
end;
comment on function public.retry_document is 'Has a failed document of the caller processed again.';
create function public.request_download(document_id uuid)
returns jsonb
language sql
set search_path = ''
begin atomic
    select private.request_download(document_id);
end;
comment on function public.request_download is
    'Tells where a readable document''s ZIP lies, under which name to hand it out, and until when the caller may; logs it.';
create function public.close_account()
returns void
language sql
set search_path = ''
begin atomic
    select private.close_account();
end;
comment on function public.close_account is 'Closes the caller''s account: out at the next statement; documents go after the grace period.';

revoke execute on function
    public.delete_document(uuid), public.restore_document(uuid), public.purge_document(uuid), public.retry_document(uuid),
    public.request_download(uuid), public.close_account()
from public, anon;
revoke execute on all functions in schema private from public;
grant execute on function
    private.delete_document(uuid), private.restore_document(uuid), private.purge_document(uuid), private.retry_document(uuid),
    private.request_download(uuid), private.close_account(), public.delete_document(uuid), public.restore_document(uuid),
    public.purge_document(uuid), public.retry_document(uuid), public.request_download(uuid), public.close_account()
to authenticated;
