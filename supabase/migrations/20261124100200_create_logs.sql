-- The log: who did what, when, to which document. Append-only, written by triggers and functions, read by the person
-- whom it concerns and by admins.

create table public.logs (
    id bigint generated always as identity primary key,
    user_id uuid,
    owner_id uuid,
    event_name text not null check (event_name ~ '^[a-z][a-z_]{1,40}$'),
    event_description text not null default '' check (char_length(event_description) <= 1000),
    document_id uuid,
    created_at timestamptz not null default now()
);
comment on table public.logs is 'One row an event; append-only.';
comment on column public.logs.user_id is 'Who did it; null where the system did.';
comment on column public.logs.owner_id is
    'Whom it concerns (the document''s owner): the policy reads this, so that a log of millions pages fast.';
create index logs_user_id_idx on public.logs (user_id, id desc);
create index logs_owner_id_idx on public.logs (owner_id, id desc);
create index logs_document_id_idx on public.logs (document_id, id desc);
create index logs_created_at_idx on public.logs using brin (created_at);

create function private.log_event(
    event_name text, event_description text, document_id uuid, owner_id uuid, user_id uuid default auth.uid()
)
returns void
language sql
security definer
set search_path = ''
as $$
    insert into public.logs (user_id, owner_id, event_name, event_description, document_id)
    values ($5, $4, $1, left($2, 1000), $3);
$$;
comment on function private.log_event is 'Appends one event to the log.';

revoke all on public.logs from public, anon, authenticated, service_role;
grant select on public.logs to authenticated, service_role;
alter table public.logs enable row level security;
create policy "People read what concerns them, admins everything" on public.logs for select to authenticated
using (
    (select private.has_role('admin'))
    or ((select private.is_active()) and (user_id = (select auth.uid()) or owner_id = (select auth.uid())))
);

create function private.refuse_log_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    -- the pruning job alone says so, in its own transaction
    if coalesce(current_setting('instashare.pruning', true), '') <> 'on' then
        raise exception using errcode = '42501', message = 'The log is append-only.',
            hint = 'Old rows go by the schedule "Prune history and logs".';
    end if;
    return null;
end;
$$;
create trigger refuse_log_change before update or delete or truncate on public.logs
for each statement execute function private.refuse_log_change();

revoke execute on all functions in schema private from public;
