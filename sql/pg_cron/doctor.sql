-- What the doctor asks of pg_cron; nothing here changes anything.

-- name: read_settings
-- Its settings are shown to superusers and to members of pg_read_all_settings alone, and those that a version lacks to
-- nobody. Of whoever may not see other sessions the launcher is unknown, too.
select
    (select e.extversion from pg_catalog.pg_extension e where e.extname = 'pg_cron') as version,
    current_database()::text as database,
    m.may as may_see,
    case when m.may then nullif(current_setting('cron.database_name', true), '') end as cron_database,
    case when m.may then nullif(current_setting('cron.timezone', true), '') end as timezone,
    case when m.may then current_setting('cron.log_run', true) end as log_run,
    case when m.may then current_setting('cron.launch_active_jobs', true) end as launches,
    case when pg_has_role(current_user, 'pg_read_all_stats', 'usage') then exists (
        select from pg_catalog.pg_stat_activity a where a.backend_type = 'pg_cron launcher'
    ) end as launcher
from (select pg_has_role(current_user, 'pg_read_all_settings', 'usage') as may) m;

-- name: list_steps
-- Each schedule beside what pg_cron holds for it. `wants` is null where it ought to hold nothing.
select
    coalesce(s.title, '(removed)') as title, s.schedule,
    (private.read_schedule(s.schedule)).seconds is not null as in_seconds,
    case when s.enabled then (private.read_schedule(s.schedule)).normal end as wants,
    j.jobid as job_id, j.schedule as has,
    j.database = current_database() and j.active
        and starts_with(j.command, format('select jobs.fire_from_pg_cron(%L)', s.id)) as sound
from public.scheduled_jobs s
full join (select * from cron.job where starts_with(jobname, 'instashare:')) j on j.jobname = 'instashare:' || s.id
where s.enabled or j.jobid is not null
order by 1;

-- name: list_last_runs
-- The last run of each (one that could not begin has an end alone), and whether more than ten minutes ago it was due
-- and pg_cron called nothing at all of ours from then on, nor was the server down.
with runs as (
    select s.title, s.schedule, r.status, btrim(r.return_message) as message, r.at, max(r.at) over () as latest
    from public.scheduled_jobs s
    join cron.job j on j.jobname = 'instashare:' || s.id
    left join lateral (
        select d.status, d.return_message, coalesce(d.start_time, d.end_time) as at
        from cron.job_run_details d
        where d.jobid = j.jobid and coalesce(d.start_time, d.end_time) is not null
        order by d.runid desc
        limit 1
    ) r on true
    where s.enabled
)
select
    title, status, message, extract(epoch from now() - at)::float8 as age,
    private.next_execution(schedule, greatest(latest, started)) < now() - interval '10 minutes' as missed
from runs
-- a start that lies ahead is one from before the clock was set back
left join pg_catalog.pg_postmaster_start_time() as started on started <= now()
where latest is not null
order by title;
