-- What administrators see and do: people and their roles, jobs, runners, the log, schedules. Views select from functions
-- that admit administrators, and `session_user = 'postgres'`, so that Studio shows them. Actions are functions that
-- refuse everybody else; each leaves an event in the log.

create function private.may_administer()
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select session_user = 'postgres' or private.has_role('admin');
$$;
comment on function private.may_administer is 'Whether the reader is an administrator, or an operator in Studio.';

create function private.require_admin()
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
    if not private.may_administer() then
        perform private.refuse(403, 'not_allowed', 'Only administrators may do that.', 'Ask one for the role "admin".');
    end if;
end;
$$;

-- people --------------------------------------------------------------------------------------------------------------

create function private.admin_users()
returns table (
    id uuid, email text, first_name text, last_name text, responsibility text, roles text[], documents bigint,
    used_bytes bigint, created_at timestamptz, deleted_at timestamptz
)
language sql
stable
security definer
set search_path = ''
as $$
    select
        p.id, p.email, p.first_name, p.last_name, p.responsibility,
        array(
            select r.name from public.user_roles u join public.roles r on r.id = u.role_id
            where u.user_id = p.id
            order by r.name
        ),
        coalesce(d.documents, 0), coalesce(d.used_bytes, 0)::bigint, p.created_at, p.deleted_at
    from public.profiles p
        left join (
            select o.owner_id, count(*) as documents, sum(o.size_bytes) as used_bytes
            from public.documents o
            group by o.owner_id
        ) d on d.owner_id = p.id
    where (select private.may_administer());
$$;
create view public.admin_users with (security_invoker = true) as select * from private.admin_users();
comment on view public.admin_users is 'For administrators: everybody, with roles and how much is stored.';

create function private.find_role(role_name text)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
declare
    role_id uuid := (select r.id from public.roles r where r.name = role_name);
begin
    if role_id is null then
        perform private.refuse(422, 'role_unknown', format('There is no role "%s".', role_name), 'Choose viewer, member or admin.');
    end if;
    return role_id;
end;
$$;

create function private.find_person(user_id uuid)
returns public.profiles
language plpgsql
stable
set search_path = ''
as $$
declare
    person public.profiles;
begin
    select * into person from public.profiles p where p.id = user_id;
    if not found then
        perform private.refuse(404, 'person_not_found', 'There is no such person.', '');
    elsif person.deleted_at is not null then
        perform private.refuse(409, 'account_closed', 'This account is closed.', '');
    end if;
    return person;
end;
$$;

create function private.admin_grant_role(user_id uuid, role_name text)
returns void
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
    person public.profiles;
    role_id uuid;
begin
    perform private.require_admin();
    person := private.find_person(user_id);
    role_id := private.find_role(role_name);
    insert into public.user_roles as u (user_id, role_id) values (person.id, role_id)
    on conflict on constraint user_roles_user_id_role_id_key do nothing;
    if found then
        perform private.log_event('role_granted', format('Gave the role %s to %s', role_name, person.email), null, person.id);
    end if;
end;
$$;

create function private.admin_revoke_role(user_id uuid, role_name text)
returns void
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
    person public.profiles;
    role_id uuid;
begin
    perform private.require_admin();
    person := private.find_person(user_id);
    role_id := private.find_role(role_name);
    -- the lock of close_account: two administrators who unmake each other would both see one left
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('instashare.close_account', 0));
    if role_name = 'admin' and not exists (
        select from public.user_roles u join public.profiles p on p.id = u.user_id
        where u.role_id = role_id and p.deleted_at is null and p.id <> person.id
    ) then
        perform private.refuse(409, 'last_admin', 'This is the last administrator.', 'Make somebody else an administrator first.');
    end if;
    delete from public.user_roles u where u.user_id = person.id and u.role_id = role_id;
    if found then
        perform private.log_event('role_revoked', format('Took the role %s from %s', role_name, person.email), null, person.id);
    end if;
end;
$$;

-- jobs ----------------------------------------------------------------------------------------------------------------

create index history_dead_idx on jobs.history (id desc) where outcome = 'dead';

create function private.admin_jobs()
returns table (
    id bigint, kind text, state text, owner_id uuid, owner_email text, document_id uuid, document_name text,
    progress real, attempt integer, failures integer, crashes integer, error text, host text, created_at timestamptz,
    run_at timestamptz, claimed_at timestamptz, finished_at timestamptz
)
language sql
stable
security definer
set search_path = ''
as $$
    with unfinished as (
        select q.* from jobs.queue q where (select private.may_administer()) order by q.id desc limit 2000
    ),
    finished as (
        (select h.* from jobs.history h where (select private.may_administer()) order by h.id desc limit 1000)
        union
        (select h.* from jobs.history h where (select private.may_administer()) and h.outcome = 'dead' order by h.id desc limit 1000)
    ),
    every as (
        select
            q.id, q.kind, q.state, q.owner_id, q.document_id, q.attempt, q.failures, q.crashes, q.last_error as error,
            q.worker_id, q.created_at, q.run_at, q.claimed_at, null::timestamptz as finished_at
        from unfinished q
        union all
        select
            h.id, h.kind, h.outcome, h.owner_id, h.document_id, h.attempt, h.failures, h.crashes, h.error, h.worker_id,
            h.created_at, null, h.claimed_at, h.finished_at
        from finished h
    )
    select
        e.id, e.kind, e.state, e.owner_id, p.email, e.document_id, d.name,
        case when e.state = 'running' and e.kind = 'archive_document' then d.progress end,
        e.attempt, e.failures, e.crashes, e.error, r.host, e.created_at, e.run_at, e.claimed_at, e.finished_at
    from every e
        left join public.profiles p on p.id = e.owner_id
        left join public.documents d on d.id = e.document_id
        left join jobs.runners r on r.id = e.worker_id;
$$;
create view public.admin_jobs with (security_invoker = true) as select * from private.admin_jobs();
comment on view public.admin_jobs is
    'For administrators: jobs that wait or run, the latest thousand that are finished, and the latest thousand that failed for good.';

create function private.admin_job_rates()
returns table (
    waiting bigint, scheduled bigint, running bigint, oldest_waiting_at timestamptz, finished_last_minute bigint,
    finished_last_hour bigint, failed_last_hour bigint, median_seconds double precision, runners bigint, paused boolean
)
language sql
stable
security definer
set search_path = ''
as $$
    select q.waiting, q.scheduled, q.running, q.oldest_waiting_at, h.last_minute, h.last_hour, h.failed, h.median_seconds,
        (select count(*) from jobs.runners r where r.seen_at > now() - interval '90 seconds'),
        exists (select from jobs.queues s where s.paused)
    from (
            select
                count(*) filter (where state = 'pending') as waiting, count(*) filter (where state = 'scheduled') as scheduled,
                count(*) filter (where state = 'running') as running,
                min(run_at) filter (where state = 'pending') as oldest_waiting_at
            from jobs.queue
        ) q
        cross join (
            select
                count(*) filter (where finished_at > now() - interval '1 minute' and outcome = 'succeeded') as last_minute,
                count(*) filter (where outcome = 'succeeded') as last_hour, count(*) filter (where outcome = 'dead') as failed,
                percentile_cont(0.5) within group (order by extract(epoch from finished_at - claimed_at))
                    filter (where outcome = 'succeeded' and kind = 'archive_document') as median_seconds
            from jobs.history
            where finished_at > now() - interval '1 hour'
        ) h
    where (select private.may_administer());
$$;
create view public.admin_job_rates with (security_invoker = true) as select * from private.admin_job_rates();
comment on view public.admin_job_rates is 'For administrators, one row: how much waits and runs, and how fast and how well it goes.';

create function private.admin_runners()
returns table (id uuid, host text, started_at timestamptz, seen_at timestamptz, running bigint)
language sql
stable
security definer
set search_path = ''
as $$
    select r.id, r.host, r.started_at, r.seen_at, (select count(*) from jobs.queue q where q.worker_id = r.id)
    from jobs.runners r
    where (select private.may_administer());
$$;
create view public.admin_runners with (security_invoker = true) as select * from private.admin_runners();
comment on view public.admin_runners is 'For administrators: which runners were seen of late, and how many jobs each has.';

create function private.admin_retry_job(job_id bigint)
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
    fresh bigint;
    past jobs.history;
begin
    perform private.require_admin();
    select * into past from jobs.history h where h.id = job_id;
    fresh := jobs.retry_job(job_id);
    if fresh is null then
        perform private.refuse(409, 'not_retryable', 'This job cannot be tried again.',
            'Its document may be gone, or the job is on its way already.');
    end if;
    perform private.log_event('job_retried', format('Retried job %s (%s)', job_id, past.kind), past.document_id, past.owner_id);
    return fresh;
end;
$$;

create function private.admin_cancel_job(job_id bigint)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    outcome text;
    job jobs.queue;
begin
    perform private.require_admin();
    select * into job from jobs.queue q where q.id = job_id;
    outcome := jobs.cancel_job(job_id);
    if outcome is null then
        perform private.refuse(404, 'job_not_found', 'There is no such unfinished job.', 'It may have ended already.');
    end if;
    perform private.log_event('job_cancelled', format('Cancelled job %s (%s)', job_id, job.kind), job.document_id, job.owner_id);
    return outcome;
end;
$$;

-- schedules -----------------------------------------------------------------------------------------------------------

create function private.admin_run_schedule(schedule_id uuid)
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
    schedule public.scheduled_jobs;
    job_id bigint;
begin
    perform private.require_admin();
    select * into schedule from public.scheduled_jobs s where s.id = schedule_id;
    if not found then
        perform private.refuse(404, 'schedule_not_found', 'There is no such schedule.', '');
    end if;
    -- the key of a firing in its time, so that the two cannot run at once
    job_id := jobs.enqueue(schedule.kind, null, null, '{}', 'schedule:' || schedule.id, null, 1::smallint);
    if job_id is null then
        perform private.refuse(409, 'already_running', 'This schedule''s job is on its way already.', 'Wait until it ends.');
    end if;
    perform private.log_event('schedule_run', format('Ran "%s" now (job %s)', schedule.title, job_id), null, auth.uid());
    return job_id;
end;
$$;

create function private.admin_enable_schedule(schedule_id uuid, enabled boolean)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
    title text;
begin
    perform private.require_admin();
    update public.scheduled_jobs s set enabled = admin_enable_schedule.enabled where s.id = schedule_id returning s.title into title;
    if not found then
        perform private.refuse(404, 'schedule_not_found', 'There is no such schedule.', '');
    end if;
    perform private.log_event(
        'schedule_changed', format('%s "%s"', case when enabled then 'Enabled' else 'Disabled' end, title), null, auth.uid()
    );
end;
$$;

-- the log -------------------------------------------------------------------------------------------------------------

-- plain joins as the reader, so that filters and pages reach the indexes; the policy of `logs` admits admins to all of it
grant execute on function private.may_administer() to authenticated;
create view public.admin_logs with (security_invoker = true) as
select l.id, l.created_at, l.event_name, l.event_description, l.document_id, l.user_id, p.email as user_email, l.owner_id
from public.logs l
    left join public.profiles p on p.id = l.user_id
where (select private.may_administer());
comment on view public.admin_logs is 'For administrators: every event, with the address of whoever did it.';

-- the public faces ----------------------------------------------------------------------------------------------------

create function public.admin_grant_role(user_id uuid, role_name text)
returns void
language sql
set search_path = ''
begin atomic
    select private.admin_grant_role(user_id, role_name);
end;
comment on function public.admin_grant_role is 'For administrators: gives a person a role.';
create function public.admin_revoke_role(user_id uuid, role_name text)
returns void
language sql
set search_path = ''
begin atomic
    select private.admin_revoke_role(user_id, role_name);
end;
comment on function public.admin_revoke_role is 'For administrators: takes a role from a person; never the last administrator''s.';
create function public.admin_retry_job(job_id bigint)
returns bigint
language sql
set search_path = ''
begin atomic
    select private.admin_retry_job(job_id);
end;
comment on function public.admin_retry_job is 'For administrators: has a failed or cancelled job done again; its new number.';
create function public.admin_cancel_job(job_id bigint)
returns text
language sql
set search_path = ''
begin atomic
    select private.admin_cancel_job(job_id);
end;
comment on function public.admin_cancel_job is 'For administrators: cancels a waiting job or asks a running one to stop.';
create function public.admin_run_schedule(schedule_id uuid)
returns bigint
language sql
set search_path = ''
begin atomic
    select private.admin_run_schedule(schedule_id);
end;
comment on function public.admin_run_schedule is 'For administrators: enqueues a schedule''s job now; its number.';
create function public.admin_enable_schedule(schedule_id uuid, enabled boolean)
returns void
language sql
set search_path = ''
begin atomic
    select private.admin_enable_schedule(schedule_id, enabled);
end;
comment on function public.admin_enable_schedule is 'For administrators: switches a schedule on or off.';

revoke all on
    public.admin_users, public.admin_jobs, public.admin_job_rates, public.admin_runners, public.admin_logs
from public, anon, authenticated, service_role;
grant select on
    public.admin_users, public.admin_jobs, public.admin_job_rates, public.admin_runners, public.admin_logs
to authenticated;
revoke execute on function
    public.admin_grant_role(uuid, text), public.admin_revoke_role(uuid, text), public.admin_retry_job(bigint),
    public.admin_cancel_job(bigint), public.admin_run_schedule(uuid), public.admin_enable_schedule(uuid, boolean)
from public, anon;
revoke execute on all functions in schema private from public;
grant execute on function
    private.admin_users(), private.admin_jobs(), private.admin_job_rates(), private.admin_runners(),
    private.admin_grant_role(uuid, text), private.admin_revoke_role(uuid, text), private.admin_retry_job(bigint),
    private.admin_cancel_job(bigint), private.admin_run_schedule(uuid), private.admin_enable_schedule(uuid, boolean),
    public.admin_grant_role(uuid, text), public.admin_revoke_role(uuid, text), public.admin_retry_job(bigint),
    public.admin_cancel_job(bigint), public.admin_run_schedule(uuid), public.admin_enable_schedule(uuid, boolean)
to authenticated;
