-- An exchange looks at the rows that it names, however many others there are.
--
-- Two statements could be planned as a walk through the whole queue, or through all documents, for each call: their
-- plans are kept, and while a table is small or has no statistics a join of it costs nothing to the planner's mind. With
-- 3,000 documents that had not been analysed publishing a hundred took 0.8 s. What is looked up by its key alone cannot
-- be planned otherwise, so documents are taken one by one and their other columns compared outside of SQL. And functions
-- in SQL were planned anew by every call (a fifth of a call's time), so `end_jobs` is PL/pgSQL and `payload` is no more.

create or replace function jobs.end_jobs(ids bigint[], outcome text, error text default null, results jsonb default '{}')
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
begin
    if cardinality(ids) = 0 then
        return;
    end if;
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
end;
$$;

create or replace function jobs.finish(runner_id uuid, entries jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    own jsonb;
    mine bigint[];
    attempts jsonb;
    held_documents uuid[];
    held bigint[];
    ready bigint[];
    lost bigint[];
    superseded bigint[] := '{}';
    cancelled bigint[];
    results jsonb;
    document public.documents;
    earlier_path text;
    job jobs.queue;
begin
    -- lock documents first, then jobs, each skipping what is locked: no row can stall the conversation, none deadlocks
    select coalesce(array_agg(q.id), '{}'), coalesce(jsonb_object_agg(q.id, q.attempt), '{}') into mine, attempts
    from jobs.queue q
    where q.id = any (array(select (e.entry ->> 'id')::bigint from jsonb_array_elements(entries) as e (entry)))
        and q.worker_id = runner_id;
    select
        coalesce(jsonb_agg(e.entry) filter (where attempts -> (e.entry ->> 'id') = e.entry -> 'attempt'), '[]'),
        coalesce(array_agg((e.entry ->> 'id')::bigint) filter (
            where attempts -> (e.entry ->> 'id') = e.entry -> 'attempt'), '{}'),
        array_agg((e.entry ->> 'id')::bigint) filter (
            where attempts -> (e.entry ->> 'id') is distinct from e.entry -> 'attempt')
    into own, mine, lost
    from jsonb_array_elements(entries) as e (entry);
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
    for job in
        select q.* from jobs.queue q where q.id = any (ready) and q.kind = 'archive_document'
    loop
        select * into document from public.documents d where d.id = job.document_id;
        if (
            document.object_version = job.args ->> 'object_version' and document.deleted_at is null
            and document.purge_started_at is null
        ) is not true then
            superseded := superseded || job.id;
            continue;
        end if;
        earlier_path := document.archive_path;
        update public.documents d
        set status = 'ready', progress = 1, error = null,
            archive_path = results -> job.id::text ->> 'archive_path',
            archive_size_bytes = (results -> job.id::text ->> 'archive_size_bytes')::bigint,
            archive_name_revision = (results -> job.id::text ->> 'name_revision')::integer
        where d.id = document.id
        returning d.* into document;
        insert into public.logs (owner_id, event_name, event_description, document_id)
        values (document.owner_id, 'ready', 'Zipped', document.id);
        if document.name_revision > document.archive_name_revision then
            perform jobs.enqueue_rename(document);
        end if;
        if earlier_path is not null then
            perform jobs.enqueue_removal(
                document, earlier_path, now() + (select s.replaced_archive_period from private.settings s)
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

create or replace function jobs.claim(runner_id uuid, queue_name text, want integer, floors jsonb)
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
    job jobs.queue;
    document public.documents;
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
    for job in
        select q.* from jobs.queue q where q.id = any (ids) and q.kind = 'archive_document'
    loop
        select * into document from public.documents d where d.id = job.document_id for no key update skip locked;
        if found and document.status = 'queued' and document.deleted_at is null then
            update public.documents d set status = 'processing', progress = 0 where d.id = document.id;
        end if;
    end loop;
    -- the archive that a refresh starts from: its publication compares it
    update jobs.queue q
    set args = q.args || jsonb_build_object(
        'archive_path', (select d.archive_path from public.documents d where d.id = q.document_id)
    )
    where q.id = any (ids) and q.kind = 'refresh_archive'
        and exists (select from public.documents d where d.id = q.document_id);
    return (
        select jsonb_agg(jsonb_build_object(
            'id', q.id, 'kind', q.kind, 'attempt', q.attempt, 'failures', q.failures, 'crashes', q.crashes,
            'owner_id', q.owner_id, 'document_id', q.document_id, 'args', q.args,
            'lease_seconds', extract(epoch from lease), 'payload', (
                select case q.kind
                    when 'archive_document' then jsonb_build_object(
                        'bucket', 'documents', 'object_key', d.owner_id || '/' || d.id, 'object_version', d.object_version,
                        'name', d.name, 'name_revision', d.name_revision, 'size_bytes', d.size_bytes, 'mime_type', d.mime_type,
                        'uploaded_at', d.created_at, 'status', d.status, 'deleted', d.deleted_at is not null
                    )
                    when 'refresh_archive' then jsonb_build_object(
                        'archive_path', d.archive_path, 'archive_size_bytes', d.archive_size_bytes,
                        'archive_name_revision', d.archive_name_revision, 'name', d.name, 'name_revision', d.name_revision,
                        'size_bytes', d.size_bytes, 'uploaded_at', d.created_at, 'deleted', d.deleted_at is not null,
                        'revoked', coalesce((q.args ->> 'revoke')::boolean, false)
                    )
                end
                from public.documents d
                where d.id = q.document_id
            )
        ) order by q.priority, q.pos)
        from jobs.queue q
        where q.id = any (ids)
    );
end;
$$;

drop function jobs.payload(jobs.queue);
