-- pg_cron, where the database has it: cron.job follows public.scheduled_jobs, and all that pg_cron does is to fire a
-- schedule by the same compare-and-set as the runner. Where the extension is absent nothing here does anything; once it
-- is installed, `instashare schedule sync` (private.sync_pg_cron) brings cron.job in step, and the trigger keeps it so.
-- pg_cron never decides when something is due: it may be idle, late, early or called twice.

create function jobs.fire_from_pg_cron(schedule_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
    job public.scheduled_jobs;
    early interval;
begin
    perform private.mend_schedules();
    select * into job from public.scheduled_jobs s where s.id = schedule_id and s.enabled for no key update;
    -- Seconds count from the start of the last run: a call a moment before its time is that time's call.
    early := coalesce(make_interval(secs => (private.read_schedule(job.schedule)).seconds / 2.0), '0');
    if job.id is null or job.next_execution_at > now() + early then
        return false;
    end if;
    return jobs.fire_schedule(
        job.id, job.next_execution_at,
        private.next_execution(job.schedule, greatest(now(), job.next_execution_at))
    );
end;
$$;
comment on function jobs.fire_from_pg_cron is 'What pg_cron calls: fires a schedule if it is due; false where it is not, or another fired it.';

create function private.has_pg_cron()
returns boolean
language sql
stable
set search_path = ''
as $$
    select exists (select from pg_catalog.pg_extension e where e.extname = 'pg_cron');
$$;

create function private.take_from_pg_cron(schedule_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
    known boolean;
begin
    execute 'select exists (select from cron.job j where j.jobname = $1 and j.username = current_user)' into known
    using 'instashare:' || schedule_id;
    if known then
        execute 'select cron.unschedule($1)' using ('instashare:' || schedule_id)::name;
    end if;
    return known;
end;
$$;
comment on function private.take_from_pg_cron is 'Unschedules one of ours; whether pg_cron had it.';

create function private.put_into_pg_cron(job public.scheduled_jobs)
returns text
language plpgsql
set search_path = ''
as $$
declare
    normal constant text := (private.read_schedule(job.schedule)).normal;
    command constant text := format(
        'select jobs.fire_from_pg_cron(%L) -- %s', job.id, regexp_replace(job.title, '[[:cntrl:]]', ' ', 'g')
    );
begin
    if not job.enabled then
        perform private.take_from_pg_cron(job.id);
        return null;
    end if;
    execute 'select cron.schedule($1, $2, $3)' using 'instashare:' || job.id, normal, command;
    return null;
exception when others then
    -- An old pg_cron knows neither seconds (before 1.5) nor $ (before 1.6). The runner fires in any case, so a fault
    -- here must not refuse the change; what pg_cron had for this schedule goes, since it is another time.
    begin
        perform private.take_from_pg_cron(job.id);
    exception when others then
        null;
    end;
    return sqlerrm;
end;
$$;
comment on function private.put_into_pg_cron is 'Has pg_cron keep one schedule as its row says; null, or why pg_cron does not.';

create function private.keep_pg_cron_in_step()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    reason text;
begin
    if not private.has_pg_cron() then
        return null;
    end if;
    if tg_op = 'DELETE' then
        begin
            perform private.take_from_pg_cron(old.id);
        exception when others then
            reason := sqlerrm;
        end;
    else
        reason := private.put_into_pg_cron(new);
    end if;
    if reason is not null then
        raise warning 'pg_cron does not follow the schedule "%": %', coalesce(new.title, old.title), reason
            using hint = 'The runner fires it. `instashare schedule sync` tries again.';
    end if;
    return null;
end;
$$;
-- Definer, so that cron.job has one owner whoever writes the row. Firing touches none of these columns.
create trigger keep_pg_cron_in_step after insert or delete on public.scheduled_jobs
for each row execute function private.keep_pg_cron_in_step();
create trigger keep_pg_cron_in_step_with_changes after update on public.scheduled_jobs
for each row when ((old.title, old.schedule, old.enabled) is distinct from (new.title, new.schedule, new.enabled))
execute function private.keep_pg_cron_in_step();

create function private.sync_pg_cron()
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
        'timezone', coalesce(current_setting('cron.timezone', true), 'GMT'),
        'scheduled', kept, 'removed', removed, 'refused', refused
    );
end;
$$;
comment on function private.sync_pg_cron is 'Brings cron.job in step with public.scheduled_jobs, and tells what pg_cron would not take.';

create function private.leave_pg_cron()
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
    ours record;
    removed integer := 0;
begin
    if not private.has_pg_cron() then
        return 0;
    end if;
    for ours in execute
        'select j.jobname::text from cron.job j where j.jobname like ''instashare:%'' and j.username = current_user'
    loop
        execute 'select cron.unschedule($1)' using ours.jobname::name;
        removed := removed + 1;
    end loop;
    return removed;
end;
$$;
comment on function private.leave_pg_cron is 'Unschedules everything of ours: before the extension goes, or when runners are to fire alone.';

create function private.prune_pg_cron(older_than interval)
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
    removed bigint := 0;
begin
    -- pg_cron itself never forgets a run
    if private.has_pg_cron() then
        execute 'delete from cron.job_run_details d
            where d.username = current_user and d.command like ''select jobs.fire_from_pg_cron(%'' and d.end_time < now() - $1'
        using older_than;
        get diagnostics removed = row_count;
    end if;
    return removed;
end;
$$;
comment on function private.prune_pg_cron is 'Removes pg_cron''s records of our runs beyond an age; how many.';

create or replace function jobs.run_maintenance(kind text)
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
        when 'prune_history' then jobs.prune_history() || jsonb_build_object(
            'pg_cron', private.prune_pg_cron((select s.job_history_period from private.settings s))
        )
    end;
end;
$$;

revoke execute on all functions in schema jobs from public;
revoke execute on all functions in schema private from public;

do $$
begin
    if private.has_pg_cron() then
        perform private.sync_pg_cron();
    end if;
end;
$$;
