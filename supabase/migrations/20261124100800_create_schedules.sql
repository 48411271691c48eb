-- Scheduled jobs and what they do. The rows are the single truth; firing is one compare-and-set, so that any number of
-- runners (and pg_cron) fire a due row once. Times are UTC.

create table public.scheduled_jobs (
    id uuid primary key default gen_random_uuid(),
    title text not null unique,
    schedule text not null check (char_length(schedule) between 1 and 100),
    description text not null,
    kind text not null,
    enabled boolean not null default true,
    last_execution_at timestamptz,
    next_execution_at timestamptz
);
comment on table public.scheduled_jobs is 'Housekeeping by the clock (ScheduledJobs): what, when (cron string, UTC), and when last and next.';
insert into public.scheduled_jobs (title, schedule, description, kind)
values
    ('Expire shares', '* * * * *', 'Ends shares whose time is over and the links signed under them.', 'expire_shares'),
    ('Purge deleted documents', '17 * * * *', 'Removes what has been in the trash for its whole period.', 'purge_deleted'),
    ('Abandon uploads', '27 * * * *', 'Gives up uploads that have not ended within two days.', 'abandon_uploads'),
    ('Close accounts', '37 2 * * *', 'Removes the documents of accounts closed longer than the grace period.', 'close_accounts'),
    ('Expire originals', '47 2 * * *', 'Removes originals whose retention is over, once their archive is proven.', 'expire_originals'),
    ('Sweep orphans', '7 3 * * *', 'Removes stored objects that belong to no document and no running job.', 'sweep_orphans'),
    ('Prune history and logs', '57 3 * * *', 'Removes old job history and log rows.', 'prune_history');
revoke all on public.scheduled_jobs from public, anon, authenticated, service_role;
grant select on public.scheduled_jobs to authenticated, service_role;
alter table public.scheduled_jobs enable row level security;
create policy "Admins read the schedules" on public.scheduled_jobs for select to authenticated
using ((select private.has_role('admin')));

create function jobs.due_schedules()
returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'id', s.id, 'kind', s.kind, 'schedule', s.schedule, 'due', s.next_execution_at, 'now', now()
    )), '[]')
    from public.scheduled_jobs s
    where s.enabled and (s.next_execution_at is null or s.next_execution_at <= now());
$$;
comment on function jobs.due_schedules is 'Enabled schedules that are due, and those whose next time nobody has computed yet.';

create function jobs.set_next_execution(schedule_id uuid, computed_for text, next_at timestamptz)
returns boolean
language sql
security definer
set search_path = ''
as $$
    update public.scheduled_jobs s set next_execution_at = next_at
    where s.id = schedule_id and s.schedule = computed_for and s.next_execution_at is null
    returning true;
$$;

create function jobs.fire_schedule(schedule_id uuid, due timestamptz, next_at timestamptz)
returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
    fired public.scheduled_jobs;
begin
    update public.scheduled_jobs s set last_execution_at = due, next_execution_at = next_at
    where s.id = schedule_id and s.enabled and s.next_execution_at = due
        and (s.last_execution_at is null or s.last_execution_at < due)
    returning * into fired;
    if not found then
        return false;
    end if;
    perform jobs.enqueue(fired.kind, null, null, '{}', 'schedule:' || fired.id, null, 1::smallint);
    return true;
end;
$$;
comment on function jobs.fire_schedule is 'Fires a schedule that is due by compare-and-set; false where another has.';

create function private.forget_next_execution()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if new.schedule <> old.schedule or (new.enabled and not old.enabled) then
        new.next_execution_at := null;
    end if;
    return new;
end;
$$;
create trigger forget_next_execution before update on public.scheduled_jobs
for each row execute function private.forget_next_execution();

-- what the kinds need of the database --------------------------------------------------------------------------------

create function jobs.expire_shares()
returns integer
language plpgsql
set search_path = ''
as $$
declare
    ended record;
    document public.documents;
    gone boolean;
    number integer := 0;
begin
    -- Invitations like shares: the owner sees the event and the archive move, and must not learn from them whether the
    -- address has an account.
    for ended in
        select s.id, s.document_id from public.document_shares s where s.expires_at <= now()
        union all
        select i.id, i.document_id from public.share_invitations i where i.expires_at <= now()
        limit 1000
    loop
        select * into document from public.documents d where d.id = ended.document_id for no key update skip locked;
        if not found then
            continue;
        end if;
        with shares as (
            delete from public.document_shares s where s.id = ended.id and s.expires_at <= now() returning s.id
        ),
        invitations as (
            delete from public.share_invitations i where i.id = ended.id and i.expires_at <= now() returning i.id
        )
        select true into gone from shares union all select true from invitations;
        if found then
            perform jobs.enqueue_revocation(document);
            perform private.log_event('share_expired', 'A share ended by its date', document.id, document.owner_id, null);
            number := number + 1;
        end if;
    end loop;
    return number;
end;
$$;

create function jobs.abandon_uploads()
returns integer
language sql
set search_path = ''
as $$
    with given_up as (
        update public.documents d
        set status = 'failed', error = 'upload_abandoned: The upload did not end within two days. Add the file again.'
        where d.id in (
            select w.id from public.documents w, private.settings s
            where w.status = 'uploading' and w.created_at < now() - s.upload_period
            limit 10000
            for update of w skip locked
        )
        returning d.id, d.owner_id
    ),
    logged as (
        insert into public.logs (owner_id, document_id, event_name, event_description)
        select g.owner_id, g.id, 'failed', 'The upload did not end within two days' from given_up g
    )
    select count(*)::integer from given_up;
$$;

create function jobs.end_links()
returns integer
language plpgsql
set search_path = ''
as $$
declare
    ended private.ended_persons;
    document public.documents;
    number integer := 0;
begin
    select * into ended from private.ended_persons e limit 1 for update skip locked;
    if not found then
        return 0;
    end if;
    for document in
        select * from public.documents d
        where d.id > ended.done_until and d.archive_path is not null and d.purge_started_at is null and d.id in (
            select o.id from public.documents o where ended.own and o.owner_id = ended.person_id
            union all
            select s.document_id from public.document_shares s where s.user_id = ended.person_id
        )
        order by d.id
        limit 1000
        for no key update
    loop
        perform jobs.enqueue_revocation(document);
        ended.done_until := document.id;
        number := number + 1;
    end loop;
    if number < 1000 then
        delete from private.ended_persons e where e.person_id = ended.person_id;
        -- the next person's turn comes with a job of its own, or with the schedule
    else
        update private.ended_persons e set done_until = ended.done_until where e.person_id = ended.person_id;
    end if;
    return number;
end;
$$;

create function jobs.close_accounts()
returns integer
language plpgsql
set search_path = ''
as $$
declare
    document public.documents;
    number integer := jobs.end_links();
begin
    for document in
        select d.* from public.documents d
            join public.profiles p on p.id = d.owner_id
            cross join private.settings s
        where p.deleted_at < now() - s.account_grace_period and d.purge_started_at is null
        limit 1000
        for no key update of d skip locked
    loop
        update public.documents d set deleted_at = coalesce(d.deleted_at, now()), purge_started_at = now()
        where d.id = document.id;
        perform jobs.cancel_of_document(document.id);
        perform jobs.enqueue('purge_deleted', document.owner_id, document.id, '{}', format('purge:%s', document.id), null, 1::smallint);
        number := number + 1;
    end loop;
    return number;
end;
$$;

comment on function jobs.close_accounts is
    'Ends the links of people who lost their right to them, and hands documents of long closed accounts to the purge; how many documents it was about.';

create function jobs.prune_history()
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    setting private.settings;
    old_jobs bigint;
    old_attempts bigint;
    old_events bigint;
begin
    select * into setting from private.settings;
    delete from jobs.history h where h.finished_at < now() - setting.job_history_period;
    get diagnostics old_jobs = row_count;
    delete from jobs.attempts a where a.at < now() - setting.job_history_period;
    get diagnostics old_attempts = row_count;
    delete from jobs.runners r where r.seen_at < now() - interval '1 day';
    perform pg_catalog.set_config('instashare.pruning', 'on', true);
    delete from public.logs l where l.created_at < now() - setting.log_period;
    get diagnostics old_events = row_count;
    perform pg_catalog.set_config('instashare.pruning', 'off', true);
    return jsonb_build_object('jobs', old_jobs, 'attempts', old_attempts, 'events', old_events);
end;
$$;

create function jobs.run_maintenance(kind text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
    return case kind
        when 'expire_shares' then jsonb_build_object('shares', jobs.expire_shares())
        when 'abandon_uploads' then jsonb_build_object('uploads', jobs.abandon_uploads())
        when 'close_accounts' then jsonb_build_object('documents', jobs.close_accounts())
        when 'prune_history' then jobs.prune_history()
    end;
end;
$$;
comment on function jobs.run_maintenance is 'The kinds that are SQL alone; null for any other. May leave work for the next run.';

create function jobs.purge_batch(batch integer, only_document uuid default null)
returns jsonb
language sql
security definer
set search_path = ''
as $$
    with chosen as (
        select d.id from public.documents d, private.settings s
        where d.deleted_at is not null and (only_document is null or d.id = only_document)
            and (d.purge_started_at is not null or d.deleted_at < now() - s.trash_period)
        order by d.deleted_at
        limit batch
        for no key update of d skip locked
    ),
    started as (
        update public.documents d set purge_started_at = coalesce(d.purge_started_at, now())
        from chosen c
        where d.id = c.id
        returning d.id, d.owner_id
    )
    select coalesce(jsonb_agg(jsonb_build_object(
        'document_id', s.id,
        'documents', (
            select coalesce(jsonb_agg(o.name), '[]') from storage.objects o
            where o.bucket_id = 'documents' and o.name = s.owner_id || '/' || s.id
        ),
        'archives', (
            select coalesce(jsonb_agg(o.name), '[]') from storage.objects o
            where o.bucket_id = 'archives' and o.name collate "C" >= s.owner_id || '/' || s.id || '/'
                and o.name collate "C" < s.owner_id || '/' || s.id || '0'
        )
    )), '[]')
    from started s;
$$;
comment on function jobs.purge_batch is
    'Documents whose time in the trash is over, with the keys of their bytes; from here on restoring is refused.';

create function jobs.finish_purge(document_id uuid)
returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents;
begin
    select * into document from public.documents d
    where d.id = $1 and d.purge_started_at is not null
    for update;
    if not found then
        return false;
    end if;
    if exists (
        select from storage.objects o
        where (o.bucket_id = 'documents' and o.name = document.owner_id || '/' || document.id)
            or (
                o.bucket_id = 'archives' and o.name collate "C" >= document.owner_id || '/' || document.id || '/'
                and o.name collate "C" < document.owner_id || '/' || document.id || '0'
            )
    ) then
        return false;
    end if;
    perform private.log_event('purged', format('Removed %s for good', document.name), document.id, document.owner_id, null);
    delete from public.documents d where d.id = document.id;
    return true;
end;
$$;
comment on function jobs.finish_purge is 'Deletes the row once no bytes are left; false where some are.';

create function jobs.expire_originals_batch(batch integer)
returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'document_id', c.id, 'object_key', c.owner_id || '/' || c.id, 'archive_path', c.archive_path,
        'size_bytes', c.size_bytes, 'object_version', c.object_version
    )), '[]')
    from (
        select d.* from public.documents d
            cross join private.settings s
            join storage.objects o on o.bucket_id = 'documents' and o.name = d.owner_id || '/' || d.id
        where s.original_period is not null and d.status = 'ready' and d.deleted_at is null
            and o.created_at < now() - s.original_period
        limit batch
    ) c;
$$;

create function jobs.finish_expire_original(document_id uuid, object_version text, intact boolean)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents;
begin
    select * into document from public.documents d
    where d.id = $1 and d.object_version = $2 and d.deleted_at is null and d.status = 'ready'
    for no key update;
    if not found then
        return;
    end if;
    if intact then
        perform private.log_event('original_removed', 'The original was removed; its ZIP is proven', document.id, document.owner_id, null);
    else
        update public.documents d
        set status = 'queued', progress = 0, error = 'archive_damaged: The stored ZIP was damaged and is made again.'
        where d.id = document.id
        returning * into document;
        perform jobs.enqueue_archive(document);
    end if;
end;
$$;
comment on function jobs.finish_expire_original is 'Notes that an original went, or queues a document whose archive did not hold it.';

create function jobs.document_of_archive(key text)
returns uuid
language sql
immutable
set search_path = ''
as $$
    select substring($1 from '^[0-9a-f-]{36}/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/')::uuid;
$$;

create function jobs.orphan_keys(bucket text, after_key text, batch integer)
returns setof text
language sql
stable
security definer
set search_path = ''
as $$
    -- by SQL, never by listing a bucket; an archive of a running attempt is younger than the period
    select o.name
    from storage.objects o, private.settings s
    where o.bucket_id = bucket and bucket in ('documents', 'archives') and o.name > after_key
        and o.created_at < now() - s.orphan_period
        and case bucket
            when 'documents' then not exists (
                select from public.documents d
                where d.id = private.document_of_key(o.name) and o.name = d.owner_id || '/' || d.id
            )
            else not exists (select from public.documents d where d.archive_path = o.name)
                and not exists (
                    select from jobs.queue q
                    where q.document_id = jobs.document_of_archive(o.name)
                        and (
                            (q.kind = 'remove_archive' and q.args ->> 'archive_path' = o.name)
                            or (q.kind in ('archive_document', 'refresh_archive') and q.state = 'running')
                        )
                )
        end
    order by o.name
    limit batch;
$$;
comment on function jobs.orphan_keys is 'Keys older than a day that no document and no live attempt names.';

revoke execute on all functions in schema jobs from public;
revoke execute on all functions in schema private from public;
grant execute on function
    jobs.due_schedules(), jobs.set_next_execution(uuid, text, timestamptz),
    jobs.fire_schedule(uuid, timestamptz, timestamptz), jobs.run_maintenance(text), jobs.purge_batch(integer, uuid),
    jobs.finish_purge(uuid), jobs.expire_originals_batch(integer),
    jobs.finish_expire_original(uuid, text, boolean), jobs.orphan_keys(text, text, integer)
to instashare_runner;
