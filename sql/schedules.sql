-- The schedules, as operators read and change them; run over ADMIN_DATABASE_URL.

-- name: list
select id, title, kind, schedule, description, enabled, last_execution_at, next_execution_at
from public.scheduled_jobs
order by title, id;

-- name: set_enabled
-- A trigger works out the next time, and has pg_cron follow where there is one.
update public.scheduled_jobs
set enabled = %(enabled)s
where id = %(id)s
returning next_execution_at;

-- name: set_schedule
update public.scheduled_jobs
set schedule = %(schedule)s
where id = %(id)s
returning next_execution_at;

-- name: enqueue
-- The dedupe key is that of a firing in its time, so the two cannot run at once.
select jobs.enqueue(s.kind, null, null, '{}', 'schedule:' || s.id, null, 1::smallint)
from public.scheduled_jobs s
where s.id = %(id)s;

-- name: follow
-- How far a job has come; its end once it has one.
select q.state, null::jsonb as result, q.last_error as error, q.failures, false as ended
from jobs.queue q where q.id = %(job_id)s
union all
select h.outcome, h.result, h.error, h.failures, true
from jobs.history h where h.id = %(job_id)s;

-- name: history
-- What schedules' jobs came to, the latest first; the unfinished before all.
select * from (
    select
        q.id as job_id, q.kind, s.title, q.state, q.created_at as fired_at, q.claimed_at, null::timestamptz as finished_at,
        null::jsonb as result, q.last_error as error
    from jobs.queue q
    join public.scheduled_jobs s on q.dedupe_key = 'schedule:' || s.id
    where %(id)s::uuid is null or s.id = %(id)s
    union all
    select h.id, h.kind, s.title, h.outcome, h.created_at, h.claimed_at, h.finished_at, h.result, h.error
    from jobs.history h
    join lateral (
        select min(m.title) as title from public.scheduled_jobs m
        where m.kind = h.kind and (%(id)s::uuid is null or m.id = %(id)s)
    ) s on s.title is not null
    where h.document_id is null
) past
order by past.job_id desc
limit %(limit)s;
