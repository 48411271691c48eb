-- The job queue: tables, fair positions and `jobs.exchange`, the one conversation of a runner with the database.
--
-- Promise: at least once, published exactly once. A job is never lost; a stalled or killed runner's work is taken over
-- and its late results are refused (the fence is id + worker + attempt, never the state). Claims and heartbeats change
-- no indexed column, so that they are HOT updates: no index or predicate may mention state, lease or progress.

create schema jobs;
comment on schema jobs is 'The job queue. Never exposed by REST; runners execute its functions and nothing else.';
revoke all on schema jobs from public;

do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'instashare_runner') then
        create role instashare_runner nologin noinherit;
    end if;
end;
$$;
grant usage on schema jobs to instashare_runner;

create table jobs.queues (
    name text primary key,
    paused boolean not null default false,
    lease interval not null default '60 seconds' check (lease >= '1 second'),
    failure_budget integer not null default 8 check (failure_budget > 0),
    crash_budget integer not null default 3 check (crash_budget > 0),
    backoff_base interval not null default '5 seconds' check (backoff_base > '0'),
    backoff_cap interval not null default '1 hour' check (backoff_cap > '0')
);
comment on table jobs.queues is 'What a queue allows: whether it rests, how long a lease lives, how often a job may fail or crash.';
insert into jobs.queues (name) values ('default');

create sequence jobs.archive_clock as bigint minvalue 0 start with 0;
create sequence jobs.housekeeping_clock as bigint minvalue 0 start with 0;
select setval('jobs.archive_clock', 0), setval('jobs.housekeeping_clock', 0);

create table jobs.lanes (
    queue text not null references jobs.queues (name),
    priority smallint not null,
    clock regclass not null,
    primary key (queue, priority)
);
comment on table jobs.lanes is 'Lanes of a queue, the lower priority first. The virtual clock of a lane is a sequence: no row is contended.';
insert into jobs.lanes (queue, priority, clock)
values ('default', 0, 'jobs.archive_clock'), ('default', 1, 'jobs.housekeeping_clock');

create table jobs.queue (
    id bigint generated always as identity primary key,
    queue text not null default 'default' references jobs.queues (name),
    kind text not null,
    owner_id uuid not null default '00000000-0000-0000-0000-000000000000',
    document_id uuid,
    args jsonb not null default '{}',
    state text not null check (state in ('scheduled', 'pending', 'running')),
    priority smallint not null default 0,
    pos bigint,
    run_at timestamptz not null default now(),
    dedupe_key text,
    attempt integer not null default 0,
    failures integer not null default 0,
    crashes integer not null default 0,
    worker_id uuid,
    claimed_at timestamptz,
    lease_until timestamptz,
    cancel_requested_at timestamptz,
    last_error text,
    created_at timestamptz not null default now(),
    check ((state = 'scheduled') = (pos is null)),
    check ((state = 'running') = (worker_id is not null))
) with (
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
comment on table jobs.queue is 'Jobs that are not finished.';
comment on column jobs.queue.pos is 'Place in the lane: (round << 32) | low 32 bits of id. An owner''s hundredth job stands behind everybody''s first.';
comment on column jobs.queue.dedupe_key is 'At most one unfinished job a key, running ones included; a cancel clears it.';
comment on column jobs.queue.attempt is 'Raised by every claim: with id and worker_id the fence of late results.';
create index queue_lane_idx on jobs.queue (queue, priority, pos) where pos is not null;
create index queue_owner_idx on jobs.queue (queue, priority, owner_id, pos) where pos is not null;
create index queue_due_idx on jobs.queue (queue, run_at) where pos is null;
create unique index queue_dedupe_key on jobs.queue (queue, dedupe_key) where dedupe_key is not null;
create index queue_document_idx on jobs.queue (document_id);
comment on column jobs.queue.owner_id is 'Whose turn it takes; the nil uuid for the system''s own jobs.';

create table jobs.history (
    id bigint primary key,
    queue text not null,
    kind text not null,
    owner_id uuid,
    document_id uuid,
    args jsonb not null,
    outcome text not null check (outcome in ('succeeded', 'dead', 'cancelled', 'superseded')),
    result jsonb,
    error text,
    attempt integer not null,
    failures integer not null,
    crashes integer not null,
    worker_id uuid,
    created_at timestamptz not null,
    claimed_at timestamptz,
    finished_at timestamptz not null default now()
);
comment on table jobs.history is 'One row a finished job. A runner whose reply was lost looks here whether it had won.';
create index history_finished_at_idx on jobs.history using brin (finished_at);
create index history_document_idx on jobs.history (document_id);

create table jobs.attempts (
    id bigint generated always as identity primary key,
    job_id bigint not null,
    attempt integer not null,
    worker_id uuid,
    crashed boolean not null,
    error text not null,
    at timestamptz not null default now()
);
comment on table jobs.attempts is 'One row an attempt that failed or crashed.';
create index attempts_job_id_idx on jobs.attempts (job_id);
create index attempts_at_idx on jobs.attempts using brin (at);

create table jobs.runners (
    id uuid primary key,
    host text not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);
comment on table jobs.runners is 'Who is alive: written by the exchange.';

revoke all on all tables in schema jobs from public, anon, authenticated, service_role;
revoke all on all sequences in schema jobs from public, anon, authenticated, service_role;
alter table jobs.queues enable row level security;
alter table jobs.lanes enable row level security;
alter table jobs.queue enable row level security;
alter table jobs.history enable row level security;
alter table jobs.attempts enable row level security;
alter table jobs.runners enable row level security;

-- positions ---------------------------------------------------------------------------------------------------------

create function jobs.clock(queue text, priority smallint)
returns bigint
language sql
stable
set search_path = ''
as $$
    select coalesce(pg_catalog.pg_sequence_last_value(l.clock), 0)
    from jobs.lanes l
    where l.queue = $1 and l.priority = $2;
$$;

create function jobs.place(queue_name text, lane_priority smallint, person_id uuid, job_id bigint)
returns bigint
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    now_round bigint := jobs.clock(queue_name, lane_priority);
    last_pos bigint;
begin
    -- The planner's choices are switched off because a plan made while the queue was empty reads all of it for each job:
    -- 100,000 jobs enqueued by one statement took more than nine minutes.
    -- start-time fair queueing: one round behind the owner's last waiting job, or behind the clock. One index entry is
    -- read and no counter is touched (a counter row an owner doubled the latency and deadlocked).
    select q.pos into last_pos
    from jobs.queue q
    where q.queue = queue_name and q.priority = lane_priority and q.owner_id = person_id
        and q.pos >= (now_round + 1) << 32
    order by q.pos desc
    limit 1;
    return ((greatest(now_round, coalesce(last_pos >> 32, 0)) + 1) << 32) | (job_id & 4294967295);
end;
$$;

create function jobs.enqueue(
    kind text, owner_id uuid, document_id uuid, args jsonb default '{}', dedupe_key text default null,
    run_at timestamptz default null, priority smallint default 0, queue text default 'default'
)
returns bigint
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
    new_id bigint := nextval(pg_catalog.pg_get_serial_sequence('jobs.queue', 'id'));
    later boolean := run_at > now();
    person_id uuid := coalesce(owner_id, '00000000-0000-0000-0000-000000000000');
    place bigint;
begin
    if later is not true then
        place := jobs.place(queue, priority, person_id, new_id);
    end if;
    insert into jobs.queue as q (
        id, queue, kind, owner_id, document_id, args, state, priority, pos, run_at, dedupe_key
    )
    overriding system value
    values (
        new_id, enqueue.queue, enqueue.kind, person_id, enqueue.document_id, enqueue.args,
        case when later then 'scheduled' else 'pending' end, enqueue.priority, place, coalesce(enqueue.run_at, now()),
        enqueue.dedupe_key
    )
    on conflict (queue, dedupe_key) where q.dedupe_key is not null do nothing
    returning id into new_id;
    if new_id is not null then
        perform pg_catalog.pg_notify('instashare_jobs', queue);
    end if;
    return new_id;
end;
$$;
comment on function jobs.enqueue is 'Adds a job; null where one with this dedupe key is unfinished.';

create function jobs.enqueue_archive(document public.documents)
returns void
language sql
set search_path = ''
as $$
    select jobs.enqueue(
        'archive_document', $1.owner_id, $1.id, jsonb_build_object('object_version', $1.object_version),
        format('archive:%s:%s', $1.id, $1.object_version)
    );
$$;

create function jobs.enqueue_rename(document public.documents)
returns void
language sql
set search_path = ''
as $$
    select jobs.enqueue(
        'refresh_archive', $1.owner_id, $1.id, '{"revoke": false}',
        format('refresh:%s:%s', $1.id, $1.name_revision)
    );
$$;
comment on function jobs.enqueue_rename is 'Has the archive''s entry renamed.';

create function jobs.enqueue_revocation(document public.documents)
returns void
language sql
set search_path = ''
as $$
    -- Not the key of a rename, which might swallow it. An unfinished revocation of this very archive serves as well: the
    -- caller holds the document, so that one publishes after him, and until then nothing but this path can be signed.
    -- In the second lane, so that it does not stand behind the owner's own uploads.
    select jobs.enqueue(
        'refresh_archive', $1.owner_id, $1.id, '{"revoke": true}', format('revoke:%s:%s', $1.id, $1.archive_path),
        null, 1::smallint
    )
    where $1.archive_path is not null;
$$;
comment on function jobs.enqueue_revocation is
    'Has the archive moved to a fresh key and its old key removed: whoever could read may have signed links for any time, and Storage serves those without asking again. The caller holds the document.';

create function jobs.enqueue_removal(document public.documents, archive_path text, run_at timestamptz)
returns void
language sql
set search_path = ''
as $$
    select jobs.enqueue(
        'remove_archive', $1.owner_id, $1.id, jsonb_build_object('archive_path', $2), format('remove:%s', $2), $3, 1::smallint
    );
$$;

-- finishing ---------------------------------------------------------------------------------------------------------

create function jobs.publish_refresh(job jobs.queue, result jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
    revoking boolean := coalesce((job.args ->> 'revoke')::boolean, false);
    old_path text := job.args ->> 'archive_path';
    document public.documents;
begin
    update public.documents d
    set archive_path = result ->> 'archive_path',
        archive_size_bytes = (result ->> 'archive_size_bytes')::bigint,
        archive_name_revision = (result ->> 'name_revision')::integer
    where d.id = job.document_id and d.archive_path = old_path and d.purge_started_at is null
        and (revoking or d.deleted_at is null)
    returning * into document;
    if not found then
        -- another won: begin again from its archive, under a key that this job must not occupy itself
        update jobs.queue q set dedupe_key = null where q.id = job.id;
        select * into document from public.documents d
        where d.id = job.document_id and d.purge_started_at is null and d.archive_path is not null;
        if found and revoking then
            perform jobs.enqueue_revocation(document);
        elsif found and document.deleted_at is null and document.name_revision > document.archive_name_revision then
            perform jobs.enqueue_rename(document);
        end if;
        return false;
    end if;
    perform jobs.enqueue_removal(
        document, old_path,
        case when revoking then now() else now() + (select s.replaced_archive_period from private.settings s) end
    );
    if revoking then
        -- archives that a rename replaced earlier wait for their downloads to end; links to them must die as well
        update jobs.queue q set run_at = now()
        where q.id in (
            select w.id from jobs.queue w
            where w.document_id = job.document_id and w.kind = 'remove_archive' and w.state = 'scheduled'
                and w.run_at > now()
            for update skip locked
        );
    end if;
    if document.deleted_at is null and document.name_revision > document.archive_name_revision then
        perform jobs.enqueue_rename(document);
    end if;
    return true;
end;
$$;

create function jobs.end_jobs(ids bigint[], outcome text, error text default null, results jsonb default '{}')
returns void
language sql
set search_path = ''
as $$
    with gone as (
        delete from jobs.queue q where q.id = any (ids) returning q.*
    )
    insert into jobs.history (
        id, queue, kind, owner_id, document_id, args, outcome, result, error, attempt, failures, crashes, worker_id,
        created_at, claimed_at
    )
    select
        g.id, g.queue, g.kind, g.owner_id, g.document_id, g.args, end_jobs.outcome,
        results -> g.id::text, coalesce(end_jobs.error, g.last_error), g.attempt, g.failures, g.crashes, g.worker_id,
        g.created_at, g.claimed_at
    from gone g;
$$;

create function jobs.bury(job jobs.queue, reason text)
returns void
language plpgsql
set search_path = ''
as $$
begin
    perform jobs.end_jobs(array[job.id], 'dead', reason);
    if job.kind = 'archive_document' then
        update public.documents d
        set status = 'failed', progress = 0, error = left(reason, 1000)
        where d.id = job.document_id and d.object_version = job.args ->> 'object_version'
            and d.status in ('queued', 'processing');
        if found then
            perform private.log_event('failed', reason, job.document_id, job.owner_id, null);
        end if;
    end if;
end;
$$;
comment on function jobs.bury is 'Ends a job that cannot succeed; the owner reads the reason on the document.';

create function jobs.end_cancelled(ids bigint[], outcome text default 'cancelled')
returns void
language plpgsql
set search_path = ''
as $$
declare
    document public.documents;
    reason constant text := 'cancelled: The operator stopped the processing of this file. Try again.';
begin
    if cardinality(ids) = 0 then
        return;
    end if;
    -- A deleted document waits as it is for being restored. One that lives was cancelled by an operator, unless it was
    -- restored meanwhile and has a job again: without this it would wait for ever. The caller holds the documents.
    for document in
        update public.documents d set status = 'failed', progress = 0, error = reason
        from jobs.queue q
        where q.id = any (ids) and q.kind = 'archive_document' and d.id = q.document_id and d.deleted_at is null
            and d.object_version = q.args ->> 'object_version' and d.status in ('queued', 'processing')
            and not exists (
                select from jobs.queue other
                where other.document_id = d.id and other.kind = 'archive_document' and other.id <> all (ids)
                    and other.cancel_requested_at is null
            )
        returning d.*
    loop
        perform private.log_event('failed', reason, document.id, document.owner_id, null);
    end loop;
    perform jobs.end_jobs(ids, outcome);
end;
$$;
comment on function jobs.end_cancelled is 'Ends cancelled jobs; a document that is left without one is failed, so that its owner can retry it.';

create function jobs.finish(runner_id uuid, entries jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    own jsonb;
    mine bigint[];
    held_documents uuid[];
    held bigint[];
    ready bigint[];
    lost bigint[];
    superseded bigint[] := '{}';
    cancelled bigint[];
    results jsonb;
    documents public.documents[];
    earlier_paths text[];
    job jobs.queue;
begin
    -- lock documents first, then jobs, each skipping what is locked: no row can stall the conversation, none deadlocks
    select
        coalesce(jsonb_agg(e.entry) filter (where q.id is not null), '[]'),
        array_agg(q.id) filter (where q.id is not null),
        array_agg((e.entry ->> 'id')::bigint) filter (where q.id is null)
    into own, mine, lost
    from jsonb_array_elements(entries) as e (entry)
        left join jobs.queue q
            on q.id = (e.entry ->> 'id')::bigint and q.worker_id = runner_id
            and q.attempt = (e.entry ->> 'attempt')::integer;
    held_documents := array(
        select d.id
        from public.documents d
        where d.id = any (array(
            select q.document_id from jobs.queue q
            where q.id = any (mine) and q.kind in ('archive_document', 'refresh_archive')
        ))
        for no key update skip locked
    );
    held := array(
        select q.id
        from jobs.queue q
        where q.id = any (mine) and q.worker_id = runner_id
            and (
                q.kind not in ('archive_document', 'refresh_archive')
                or q.document_id = any (held_documents)
                or not exists (select from public.documents d where d.id = q.document_id)
            )
        for update skip locked
    );
    select jsonb_object_agg(e.id, e.result) into results
    from jsonb_to_recordset(own) as e (id bigint, result jsonb);

    ready := array(
        select e.id from jsonb_to_recordset(own) as e (id bigint, outcome text)
        where e.id = any (held) and e.outcome = 'succeeded'
    );
    -- what was cancelled while it ended is not published: its document was deleted, and may have a new job already
    cancelled := array(
        select q.id from jobs.queue q
        where q.id = any (ready) and q.cancel_requested_at is not null
            and q.kind in ('archive_document', 'refresh_archive')
    );
    ready := array(select unnest(ready) except select unnest(cancelled));
    with done as (
        select q.id, q.document_id, q.args ->> 'object_version' as object_version, results -> q.id::text as result
        from jobs.queue q
        where q.id = any (ready) and q.kind = 'archive_document'
    ),
    published as (
        update public.documents d
        set status = 'ready', progress = 1, error = null,
            archive_path = done.result ->> 'archive_path',
            archive_size_bytes = (done.result ->> 'archive_size_bytes')::bigint,
            archive_name_revision = (done.result ->> 'name_revision')::integer
        from done
            join public.documents earlier on earlier.id = done.document_id
        where d.id = done.document_id and d.object_version = done.object_version and d.deleted_at is null
            and d.purge_started_at is null
        returning done.id as job_id, earlier.archive_path as earlier_path, d as document
    )
    select
        array_agg(p.document), array_agg(p.earlier_path),
        array(select d.id from done d where d.id not in (select w.job_id from published w))
    into documents, earlier_paths, superseded
    from published p;
    insert into public.logs (owner_id, event_name, event_description, document_id)
    select d.owner_id, 'ready', 'Zipped', d.id from unnest(documents) as d;
    for i in 1 .. coalesce(cardinality(documents), 0) loop
        if documents[i].name_revision > documents[i].archive_name_revision then
            perform jobs.enqueue_rename(documents[i]);
        end if;
        if earlier_paths[i] is not null then
            perform jobs.enqueue_removal(
                documents[i], earlier_paths[i], now() + (select s.replaced_archive_period from private.settings s)
            );
        end if;
    end loop;

    for job in
        select q.* from jobs.queue q where q.id = any (ready) and q.kind = 'refresh_archive'
    loop
        if not jobs.publish_refresh(job, results -> job.id::text) then
            superseded := superseded || job.id;
        end if;
    end loop;

    perform jobs.end_jobs(array(select unnest(ready) except select unnest(superseded)), 'succeeded', results => results);
    perform jobs.end_jobs(superseded, 'superseded');
    perform jobs.end_jobs(array(
        select e.id from jsonb_to_recordset(own) as e (id bigint, outcome text)
        where e.id = any (held) and e.outcome = 'superseded'
    ), 'superseded', results => results);
    perform jobs.end_cancelled(cancelled || array(
        select e.id from jsonb_to_recordset(own) as e (id bigint, outcome text)
        where e.id = any (held) and e.outcome = 'cancelled'
    ));
    return jsonb_build_object(
        'lost', coalesce(to_jsonb(lost), '[]'),
        'busy', to_jsonb(array(select unnest(mine) except select unnest(held))),
        'superseded', to_jsonb(superseded || cancelled)
    );
end;
$$;

create function jobs.fail(runner_id uuid, entries jsonb)
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
            -- a revocation is not given up: links that ought to be dead would live on
            or (job.failures >= rules.failure_budget and coalesce(job.args ->> 'revoke', 'false') <> 'true')
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

create function jobs.beat(runner_id uuid, entries jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    beaten bigint[];
    lost bigint[];
    cancelled bigint[];
begin
    with held as (
        select q.id, e.progress
        from jsonb_to_recordset(entries) as e (id bigint, attempt integer, progress real)
            join jobs.queue q on q.id = e.id and q.worker_id = runner_id and q.attempt = e.attempt
        for update of q skip locked
    ),
    extended as (
        update jobs.queue q
        set lease_until = now() + r.lease
        from held, jobs.queues r
        where q.id = held.id and r.name = q.queue
        returning q.id, q.kind, q.document_id, q.cancel_requested_at, held.progress
    ),
    reached as (
        select d.id, x.progress
        from extended x
            join public.documents d on d.id = x.document_id
        where x.kind = 'archive_document' and x.progress is not null and x.cancel_requested_at is null and d.status in ('queued', 'processing')
            and d.deleted_at is null
        for no key update of d skip locked
    ),
    shown as (
        update public.documents d
        set status = 'processing', progress = least(1, greatest(0, reached.progress))
        from reached
        where d.id = reached.id
    )
    select array_agg(x.id), array_agg(x.id) filter (where x.cancel_requested_at is not null)
    into beaten, cancelled
    from extended x;
    -- what another transaction holds at this moment is neither lost nor extended: the next beat tries again
    lost := array(
        select e.id from jsonb_to_recordset(entries) as e (id bigint, attempt integer)
        where not exists (
            select from jobs.queue q where q.id = e.id and q.worker_id = runner_id and q.attempt = e.attempt
        )
    );
    return jsonb_build_object('lost', to_jsonb(lost), 'cancelled', coalesce(to_jsonb(cancelled), '[]'));
end;
$$;

create function jobs.give_back(ids bigint[])
returns void
language plpgsql
set search_path = ''
as $$
begin
    -- to the clock, where the next claim looks first; the caller holds the rows
    update jobs.queue q
    set state = 'pending', worker_id = null, lease_until = null,
        pos = (jobs.clock(q.queue, q.priority) << 32) | (q.id & 4294967295)
    where q.id = any (ids);
    update public.documents d
    set status = 'queued', progress = 0
    where d.id in (
        select w.id from public.documents w
            join jobs.queue q on q.document_id = w.id
        where q.id = any (ids) and q.kind = 'archive_document' and w.status = 'processing'
        for no key update of w skip locked
    );
    if ids <> '{}' then
        perform pg_catalog.pg_notify('instashare_jobs', 'default');
    end if;
end;
$$;

create function jobs.release(runner_id uuid, entries jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    mine bigint[] := array(
        select q.id
        from jsonb_to_recordset(entries) as e (id bigint, attempt integer)
            join jobs.queue q on q.id = e.id and q.worker_id = runner_id and q.attempt = e.attempt
    );
    held_documents uuid[] := array(
        select d.id from public.documents d
        where d.id = any (array(select q.document_id from jobs.queue q where q.id = any (mine)))
        for no key update skip locked
    );
    held bigint[] := array(
        select q.id from jobs.queue q
        where q.id = any (mine) and q.worker_id = runner_id
            and (
                q.cancel_requested_at is null or q.document_id = any (held_documents)
                or not exists (select from public.documents d where d.id = q.document_id)
            )
        for update skip locked
    );
    cancelled bigint[] := array(
        select q.id from jobs.queue q where q.id = any (held) and q.cancel_requested_at is not null
    );
begin
    perform jobs.end_cancelled(cancelled);
    perform jobs.give_back(array(select unnest(held) except select unnest(cancelled)));
    return jsonb_build_object('busy', to_jsonb(array(select unnest(mine) except select unnest(held))));
end;
$$;
comment on function jobs.release is 'Takes jobs back that were not done, without calling it a failure.';

-- sweeping and claiming ---------------------------------------------------------------------------------------------

create function jobs.sweep(queue_name text)
returns void
language plpgsql
set search_path = ''
as $$
declare
    rules jobs.queues;
    job jobs.queue;
    held uuid;
begin
    if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('instashare.sweep:' || queue_name, 0)) then
        return;
    end if;
    select * into rules from jobs.queues r where r.name = queue_name;
    for job in
        select q.* from jobs.queue q
        where q.queue = queue_name and q.pos is not null and q.state = 'running' and q.lease_until < now()
        for update skip locked
    loop
        -- the document first would be the order elsewhere; whoever holds it now is served by the next sweep
        select d.id into held from public.documents d where d.id = job.document_id for no key update skip locked;
        if not found and exists (select from public.documents d where d.id = job.document_id) then
            continue;
        end if;
        insert into jobs.attempts (job_id, attempt, worker_id, crashed, error)
        values (job.id, job.attempt, job.worker_id, true, 'lease_lapsed: The runner stopped without a word.');
        update jobs.queue q set crashes = q.crashes + 1 where q.id = job.id returning * into job;
        if job.cancel_requested_at is not null then
            perform jobs.end_cancelled(array[job.id]);
        elsif job.crashes >= rules.crash_budget then
            perform jobs.bury(job, format(
                'poison: Processing this file stopped its runner %s times. Upload it again, or ask the operator.', job.crashes
            ));
        else
            perform jobs.give_back(array[job.id]);
        end if;
    end loop;
    update jobs.queue q
    set state = 'pending', pos = jobs.place(q.queue, q.priority, q.owner_id, q.id)
    where q.id in (
        select w.id from jobs.queue w
        where w.queue = queue_name and w.pos is null and w.run_at <= now()
        order by w.run_at
        limit 1000
        for update skip locked
    );
end;
$$;
comment on function jobs.sweep is 'Takes lapsed leases back and gives due jobs a position. Any runner does it, one at a time.';

create function jobs.payload(job jobs.queue)
returns jsonb
language sql
stable
set search_path = ''
as $$
    select case job.kind
        when 'archive_document' then jsonb_build_object(
            'bucket', 'documents', 'object_key', d.owner_id || '/' || d.id, 'object_version', d.object_version,
            'name', d.name, 'name_revision', d.name_revision, 'size_bytes', d.size_bytes, 'mime_type', d.mime_type,
            'uploaded_at', d.created_at, 'status', d.status, 'deleted', d.deleted_at is not null
        )
        when 'refresh_archive' then jsonb_build_object(
            'archive_path', d.archive_path, 'archive_size_bytes', d.archive_size_bytes,
            'archive_name_revision', d.archive_name_revision, 'name', d.name, 'name_revision', d.name_revision,
            'size_bytes', d.size_bytes, 'uploaded_at', d.created_at, 'deleted', d.deleted_at is not null,
            'revoked', coalesce((job.args ->> 'revoke')::boolean, false)
        )
    end
    from public.documents d
    where d.id = job.document_id;
$$;
comment on function jobs.payload is 'What a runner must know of the document; null where it is gone.';

create function jobs.claim(runner_id uuid, queue_name text, want integer, floors jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    lane record;
    ids bigint[] := '{}';
    taken bigint[];
    highest bigint;
    lease interval;
    -- The first lane goes before the others, but for their share: a backlog of archives must not keep housekeeping (the
    -- removal of archives whose links ought to be dead) waiting for hours.
    share constant integer := case when want > 1 then greatest(1, want / 4) when random() < 0.25 then 1 else 0 end;
begin
    select r.lease into lease from jobs.queues r where r.name = queue_name;
    for lane in
        select l.priority, l.clock, coalesce((floors ->> l.priority::text)::bigint, 0) as floor, turn.room
        from jobs.lanes l, (values (1, share), (2, want)) as turn (place, room)
        where l.queue = queue_name and turn.room > 0 and (turn.place = 2 or l.priority > 0)
        order by turn.place, l.priority
    loop
        exit when cardinality(ids) >= want;
        with claimed as (
            update jobs.queue q
            set state = 'running', worker_id = runner_id, attempt = q.attempt + 1, claimed_at = now(),
                lease_until = now() + lease
            where q.id = any (array(
                -- an ordered scan; `in (select … limit)` claimed more than its limit
                select w.id
                from jobs.queue w
                where w.queue = queue_name and w.priority = lane.priority and w.pos is not null
                    and w.pos >= lane.floor << 32 and w.state = 'pending'
                order by w.pos
                limit least(lane.room, want - cardinality(ids))
                for update skip locked
            ))
            returning q.id, q.pos
        )
        select array_agg(c.id order by c.pos), max(c.pos >> 32) into taken, highest from claimed c;
        if taken is not null then
            ids := ids || taken;
            -- setval may step back or outlive a rollback: positions stay right, the sweep finds what lies behind
            if highest > coalesce(pg_catalog.pg_sequence_last_value(lane.clock), 0) then
                perform pg_catalog.setval(lane.clock, highest);
            end if;
        end if;
    end loop;
    if ids = '{}' then
        return '[]';
    end if;
    update public.documents d
    set status = 'processing', progress = 0
    where d.id in (
        select w.id
        from jobs.queue q
            join public.documents w on w.id = q.document_id
        where q.id = any (ids) and q.kind = 'archive_document' and w.status = 'queued' and w.deleted_at is null
        for no key update of w skip locked
    );
    -- the archive that a refresh starts from: its publication compares it
    update jobs.queue q
    set args = q.args || jsonb_build_object('archive_path', d.archive_path)
    from public.documents d
    where q.id = any (ids) and q.kind = 'refresh_archive' and d.id = q.document_id;
    return (
        select jsonb_agg(jsonb_build_object(
            'id', q.id, 'kind', q.kind, 'attempt', q.attempt, 'failures', q.failures, 'crashes', q.crashes,
            'owner_id', q.owner_id, 'document_id', q.document_id, 'args', q.args,
            'lease_seconds', extract(epoch from lease), 'payload', jobs.payload(q)
        ) order by q.priority, q.pos)
        from jobs.queue q
        where q.id = any (ids)
    );
end;
$$;

create function jobs.exchange(runner_id uuid, host text, message jsonb)
returns jsonb
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    queue_name text := coalesce(message ->> 'queue', 'default');
    want integer := least(1000, coalesce((message ->> 'want')::integer, 0));
    rests boolean;
    finished jsonb := '{}';
    failed jsonb := '{}';
    released jsonb := '{}';
    beaten jsonb := '{}';
    claimed jsonb := '[]';
begin
    -- The planner's choices are switched off because after ANALYZE on an empty table it may walk dead entries, or all of
    -- them; JIT because what stays switched off counts as very dear.
    insert into jobs.runners as r (id, host) values (runner_id, left(exchange.host, 255))
    on conflict (id) do update set seen_at = now() where r.seen_at < now() - interval '2 seconds';
    if jsonb_array_length(message -> 'finished') > 0 then
        finished := jobs.finish(runner_id, message -> 'finished');
    end if;
    if jsonb_array_length(message -> 'failed') > 0 then
        failed := jobs.fail(runner_id, message -> 'failed');
    end if;
    if jsonb_array_length(message -> 'released') > 0 then
        released := jobs.release(runner_id, message -> 'released');
    end if;
    if jsonb_array_length(message -> 'beats') > 0 then
        beaten := jobs.beat(runner_id, message -> 'beats');
    end if;
    select q.paused into strict rests from jobs.queues q where q.name = queue_name;
    if (message ->> 'sweep')::boolean then
        perform jobs.sweep(queue_name);
    end if;
    if want > 0 and not rests then
        claimed := jobs.claim(
            runner_id, queue_name, want,
            case when (message ->> 'sweep')::boolean then '{}' else coalesce(message -> 'floors', '{}') end
        );
    end if;
    return jsonb_build_object(
        'claimed', claimed,
        'lost', coalesce(finished -> 'lost', '[]') || coalesce(failed -> 'lost', '[]') || coalesce(beaten -> 'lost', '[]'),
        'busy', coalesce(finished -> 'busy', '[]') || coalesce(failed -> 'busy', '[]') || coalesce(released -> 'busy', '[]'),
        'superseded', coalesce(finished -> 'superseded', '[]'),
        'cancelled', coalesce(beaten -> 'cancelled', '[]'),
        'clocks', (
            select jsonb_object_agg(l.priority, coalesce(pg_catalog.pg_sequence_last_value(l.clock), 0))
            from jobs.lanes l where l.queue = queue_name
        ),
        'next_due_seconds', (
            select greatest(0, extract(epoch from q.run_at - now()))
            from jobs.queue q where q.queue = queue_name and q.pos is null
            order by q.run_at
            limit 1
        ),
        'paused', rests
    );
end;
$$;
comment on function jobs.exchange is
    'A runner''s whole conversation in one round trip and one transaction: finish and publish, fail, give back, beat, sweep, claim. `floors` in the message are `clocks` of an answer 50 ms old or older: where claims begin to look.';

create function jobs.find_finished(job_id bigint, attempt integer, runner_id uuid)
returns text
language sql
stable
security definer
set search_path = ''
as $$
    select h.outcome from jobs.history h
    where h.id = $1 and h.attempt = $2 and h.worker_id = $3;
$$;
comment on function jobs.find_finished is 'How a job ended under this runner and attempt, for one whose reply was lost; null if it did not.';

create function jobs.installation_id()
returns uuid
language sql
stable
security definer
set search_path = ''
as $$
    select private.installation_id();
$$;

-- operators ---------------------------------------------------------------------------------------------------------

create function jobs.request_cancel(job_id bigint)
returns text
language plpgsql
set search_path = ''
as $$
declare
    job jobs.queue;
begin
    -- the caller holds the document
    select * into job from jobs.queue q where q.id = job_id for update;
    if not found then
        return null;
    end if;
    if job.state = 'running' then
        update jobs.queue q set cancel_requested_at = coalesce(q.cancel_requested_at, now()), dedupe_key = null
        where q.id = job_id;
        return 'cancelling';
    end if;
    perform jobs.end_cancelled(array[job_id]);
    return 'cancelled';
end;
$$;

create function jobs.cancel_job(job_id bigint)
returns text
language plpgsql
set search_path = ''
as $$
begin
    -- the document before the job, as everybody does
    perform from public.documents d
    where d.id = (select q.document_id from jobs.queue q where q.id = job_id)
    for no key update;
    return jobs.request_cancel(job_id);
end;
$$;
comment on function jobs.cancel_job is 'Cancels a waiting job, or asks the runner of a running one to stop; null if there is no such unfinished job.';

create function jobs.cancel_of_document(document_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
    -- the caller holds the document; a removal or a revocation goes on, they serve the deletion
    perform jobs.request_cancel(q.id)
    from jobs.queue q
    where q.document_id = cancel_of_document.document_id
        and (q.kind = 'archive_document' or (q.kind = 'refresh_archive' and not (q.args ->> 'revoke')::boolean));
end;
$$;

create function jobs.retry_job(job_id bigint)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
    past jobs.history;
    document public.documents;
begin
    select * into past from jobs.history h where h.id = job_id and h.outcome in ('dead', 'cancelled');
    if not found then
        return null;
    end if;
    if past.kind = 'archive_document' then
        update public.documents d set status = 'queued', progress = 0, error = null
        where d.id = past.document_id and d.object_version = past.args ->> 'object_version' and d.deleted_at is null
            and d.status = 'failed'
        returning * into document;
        if not found then
            return null;
        end if;
    end if;
    return jobs.enqueue(
        past.kind, past.owner_id, past.document_id,
        case when past.kind = 'refresh_archive' then past.args - 'archive_path' else past.args end,
        case when past.kind = 'archive_document' then format('archive:%s:%s', document.id, document.object_version) end,
        null,
        case
            when past.kind = 'archive_document' or (past.kind = 'refresh_archive' and past.args ->> 'revoke' = 'false') then 0
            else 1
        end::smallint
    );
end;
$$;
comment on function jobs.retry_job is 'Enqueues a dead or cancelled job again and returns the new id; null where there is nothing to retry.';

create function jobs.pause(queue_name text default 'default')
returns void
language sql
set search_path = ''
as $$
    update jobs.queues set paused = true where name = queue_name;
$$;

create function jobs.resume(queue_name text default 'default')
returns void
language sql
set search_path = ''
as $$
    update jobs.queues set paused = false where name = queue_name;
    select pg_catalog.pg_notify('instashare_jobs', queue_name);
$$;

revoke execute on all functions in schema jobs from public;
revoke execute on all functions in schema private from public;
grant execute on function
    jobs.exchange(uuid, text, jsonb), jobs.find_finished(bigint, integer, uuid), jobs.installation_id()
to instashare_runner;
