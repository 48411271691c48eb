-- The schedules, as operators read and change them; run over ADMIN_DATABASE_URL.

-- name: list
select id, title, kind, schedule, description, enabled, last_execution_at, next_execution_at
from public.scheduled_jobs
order by title, id;

-- name: set_enabled
-- A trigger forgets the next time; whoever fires schedules (a runner, pg_cron) works it out anew.
update public.scheduled_jobs
set enabled = %(enabled)s
where id = %(id)s;

-- name: set_schedule
update public.scheduled_jobs
set schedule = %(schedule)s
where id = %(id)s;

-- name: enqueue
-- The dedupe key is that of a firing in its time, so the two cannot run at once.
select jobs.enqueue(s.kind, null, null, '{}', 'schedule:' || s.id, null, 1::smallint)
from public.scheduled_jobs s
where s.id = %(id)s;
