-- Administrators change a schedule through REST too, and learn there as well where a bad one is wrong; each change is
-- logged once; a runner wakes for the next due time, so that `10 seconds` is kept without pg_cron; an archive that ought
-- to be gone is removed however long Storage was away; pg_cron's settings are not needed by those who may not see them.

create or replace function private.admin_enable_schedule(schedule_id uuid, enabled boolean)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.require_admin();
    -- the table's own trigger logs what has changed
    update public.scheduled_jobs s set enabled = admin_enable_schedule.enabled where s.id = schedule_id;
    if not found then
        perform private.refuse(404, 'schedule_not_found', 'There is no such schedule.', '');
    end if;
end;
$$;

create function private.admin_set_schedule(schedule_id uuid, schedule text)
returns timestamptz
language plpgsql
security definer
set search_path = ''
as $$
declare
    changed public.scheduled_jobs;
begin
    perform private.require_admin();
    -- the table's own trigger refuses a bad one and logs a good one
    update public.scheduled_jobs s set schedule = btrim(admin_set_schedule.schedule, E' \t') where s.id = schedule_id
    returning * into changed;
    if not found then
        perform private.refuse(404, 'schedule_not_found', 'There is no such schedule.', '');
    end if;
    return changed.next_execution_at;
end;
$$;
create function public.admin_set_schedule(schedule_id uuid, schedule text)
returns timestamptz
language sql
set search_path = ''
begin atomic
    select private.admin_set_schedule(schedule_id, schedule);
end;
comment on function public.admin_set_schedule is
    'For administrators: changes when a schedule is due (UTC); its next time, null while it is off. A schedule that cannot be read is refused with the place of the fault.';
revoke execute on function public.admin_set_schedule(uuid, text) from public, anon;

create function jobs.seconds_to_schedule()
returns double precision
language sql
stable
security definer
set search_path = ''
as $$
    select extract(epoch from min(s.next_execution_at) - now())::double precision
    from public.scheduled_jobs s
    where s.enabled;
$$;
comment on function jobs.seconds_to_schedule is 'How long until the next schedule is due, less than nothing if one is; null if none ever is.';

create function private.pg_cron_timezone()
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
    -- versions before 1.6 have no such setting and keep GMT
    return coalesce(current_setting('cron.timezone', true), 'GMT');
exception when insufficient_privilege then
    return null;
end;
$$;
comment on function private.pg_cron_timezone is 'The zone that pg_cron keeps; null where the caller may not see it.';

create or replace function private.sync_pg_cron()
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
    job public.scheduled_jobs;
    stray record;
    reason text;
    kept integer := 0;
    removed integer := 0;
    refused jsonb := '[]';
begin
    if not private.has_pg_cron() then
        return jsonb_build_object('installed', false, 'scheduled', 0, 'removed', 0, 'refused', refused);
    end if;
    for stray in execute
        'select j.jobname::text from cron.job j where j.jobname like ''instashare:%'' and j.username = current_user
         and not exists (select from public.scheduled_jobs s where s.enabled and ''instashare:'' || s.id = j.jobname)'
    loop
        execute 'select cron.unschedule($1)' using stray.jobname::name;
        removed := removed + 1;
    end loop;
    for job in select s.* from public.scheduled_jobs s where s.enabled order by s.title loop
        reason := private.put_into_pg_cron(job);
        if reason is null then
            kept := kept + 1;
        else
            refused := refused || jsonb_build_object('title', job.title, 'schedule', job.schedule, 'reason', reason);
        end if;
    end loop;
    return jsonb_build_object(
        'installed', true,
        'version', (select e.extversion from pg_catalog.pg_extension e where e.extname = 'pg_cron'),
        'timezone', private.pg_cron_timezone(),
        'scheduled', kept, 'removed', removed, 'refused', refused
    );
end;
$$;

create or replace function jobs.fail(runner_id uuid, entries jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    entry record;
    job jobs.queue;
    rules jobs.queues;
    lost bigint[] := '{}';
    busy bigint[] := '{}';
    held uuid;
begin
    for entry in
        select e.id, e.attempt, coalesce(nullif(e.error, ''), 'unknown: No reason was given.') as error, e.retryable
        from jsonb_to_recordset(entries) as e (id bigint, attempt integer, error text, retryable boolean)
    loop
        select q.* into job from jobs.queue q
        where q.id = entry.id and q.worker_id = runner_id and q.attempt = entry.attempt;
        if not found then
            lost := lost || entry.id;
            continue;
        end if;
        select d.id into held from public.documents d where d.id = job.document_id for no key update skip locked;
        if not found and exists (select from public.documents d where d.id = job.document_id) then
            busy := busy || entry.id;
            continue;
        end if;
        select q.* into job from jobs.queue q
        where q.id = entry.id and q.worker_id = runner_id and q.attempt = entry.attempt
        for update skip locked;
        if not found then
            busy := busy || entry.id;
            continue;
        end if;
        select * into rules from jobs.queues r where r.name = job.queue;
        insert into jobs.attempts (job_id, attempt, worker_id, crashed, error)
        values (job.id, job.attempt, runner_id, false, left(entry.error, 2000));
        update jobs.queue q set failures = q.failures + 1, last_error = left(entry.error, 2000)
        where q.id = job.id
        returning * into job;
        if job.cancel_requested_at is not null then
            perform jobs.end_cancelled(array[job.id]);
        elsif entry.retryable is false
            -- a revocation is not given up, nor the removal behind it: links that ought to be dead would live on
            or (
                job.failures >= rules.failure_budget and job.kind <> 'remove_archive'
                and coalesce(job.args ->> 'revoke', 'false') <> 'true'
            )
        then
            perform jobs.bury(job, entry.error);
        else
            update jobs.queue q
            set state = 'scheduled', pos = null, worker_id = null, lease_until = null,
                run_at = now() + least(rules.backoff_cap, rules.backoff_base * power(2, least(job.failures - 1, 30)))
                    * (0.5 + random() / 2)
            where q.id = job.id;
            if job.kind = 'archive_document' then
                update public.documents d set status = 'queued', progress = 0, error = left(entry.error, 1000)
                where d.id = job.document_id and d.object_version = job.args ->> 'object_version'
                    and d.status in ('queued', 'processing') and d.deleted_at is null;
            end if;
        end if;
    end loop;
    return jsonb_build_object('lost', to_jsonb(lost), 'busy', to_jsonb(busy));
end;
$$;

revoke execute on all functions in schema jobs from public;
revoke execute on all functions in schema private from public;
grant execute on function private.admin_set_schedule(uuid, text), public.admin_set_schedule(uuid, text) to authenticated;
grant execute on function jobs.seconds_to_schedule() to instashare_runner;
