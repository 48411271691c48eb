-- What operators read of the job queue and tell it; run over ADMIN_DATABASE_URL.

-- name: list_unfinished
select
    q.id, q.kind, q.state, q.priority, q.attempt, q.failures, q.crashes, q.owner_id, q.document_id, d.name as document,
    d.progress, q.run_at, q.created_at, q.claimed_at, q.lease_until, q.cancel_requested_at is not null as cancelling,
    q.last_error as error
from jobs.queue q
left join public.documents d on d.id = q.document_id
where (%(state)s::text is null or q.state = %(state)s)
    and (%(kind)s::text is null or q.kind = %(kind)s)
order by q.state = 'running' desc, q.pos is null, q.priority, q.pos, q.run_at, q.id
limit %(limit)s;

-- name: list_finished
select
    h.id, h.kind, h.outcome as state, h.attempt, h.failures, h.crashes, h.owner_id, h.document_id, d.name as document,
    h.created_at, h.claimed_at, h.finished_at, h.error
from jobs.history h
left join public.documents d on d.id = h.document_id
where (%(state)s::text is null or h.outcome = %(state)s)
    and (%(kind)s::text is null or h.kind = %(kind)s)
order by h.finished_at desc, h.id desc
limit %(limit)s;

-- name: show_unfinished
select to_jsonb(q) || jsonb_build_object('document', to_jsonb(d), 'runner', to_jsonb(r))
from jobs.queue q
left join public.documents d on d.id = q.document_id
left join jobs.runners r on r.id = q.worker_id
where q.id = %(id)s;

-- name: show_finished
select (to_jsonb(h) - 'outcome') || jsonb_build_object('state', h.outcome, 'document', to_jsonb(d), 'runner', to_jsonb(r))
from jobs.history h
left join public.documents d on d.id = h.document_id
left join jobs.runners r on r.id = h.worker_id
where h.id = %(id)s;

-- name: list_attempts
select attempt, crashed, error, at
from jobs.attempts
where job_id = %(id)s
order by attempt, id;

-- name: retry
select jobs.retry_job(%(id)s);

-- name: cancel
select jobs.cancel_job(%(id)s);

-- name: pause
select jobs.pause();

-- name: resume
select jobs.resume();

-- name: prune
select jobs.run_maintenance('prune_history');

-- name: count_unfinished
select q.kind, q.state, count(*), extract(epoch from now() - min(q.created_at))::float8
from jobs.queue q
group by q.kind, q.state
order by q.kind, q.state;

-- name: count_finished
-- One hour, so that the block index on finished_at keeps this cheap in a long history.
select
    h.kind, h.outcome, count(*),
    coalesce(avg(extract(epoch from h.finished_at - h.claimed_at)), 0)::float8,
    coalesce(avg(extract(epoch from h.claimed_at - h.created_at)), 0)::float8
from jobs.history h
where h.finished_at > now() - interval '1 hour'
group by h.kind, h.outcome
order by h.kind, h.outcome;

-- name: list_queues
select name, paused, extract(epoch from lease)::float8, failure_budget, crash_budget
from jobs.queues
order by name;

-- name: list_runners
select r.id, r.host, r.started_at, r.seen_at, extract(epoch from now() - r.seen_at)::float8,
    (select count(*) from jobs.queue q where q.worker_id = r.id)
from jobs.runners r
where r.seen_at > now() - interval '1 hour'
order by r.seen_at desc;
