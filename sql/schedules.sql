-- The schedules, as operators read and change them; run over ADMIN_DATABASE_URL.

-- name: list
select id, title, kind, schedule, description, enabled, last_execution_at, next_execution_at
from public.scheduled_jobs
order by title, id;

-- name: set_enabled
update public.scheduled_jobs
set enabled = %(enabled)s, next_execution_at = %(next)s
where id = %(id)s;

-- name: set_schedule
update public.scheduled_jobs
set schedule = %(schedule)s, next_execution_at = %(next)s
where id = %(id)s;

-- name: fire
select jobs.fire_schedule(%(id)s, now(), %(next)s);
