-- What pg_cron did for our schedules, the latest first.

-- name: is_installed
select private.has_pg_cron();

-- name: history
select
    d.runid as run_id, s.kind, coalesce(s.title, '(removed)') as title, d.status, d.return_message as message,
    d.start_time as started_at, d.end_time as ended_at
from cron.job_run_details d
left join public.scheduled_jobs s on strpos(d.command, s.id::text) > 0
where d.command like 'select jobs.fire_from_pg_cron(%%'
    and (%(id)s::uuid is null or s.id = %(id)s)
order by d.runid desc
limit %(limit)s;
