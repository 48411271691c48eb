-- The ground everything else stands on: the unexposed schema `private`, the installation's settings, the roles of
-- people, and the one way in which the database refuses a client.

-- Nothing is open unless a migration opens it, whatever the project's age (new projects: since 2026-10-30).
alter default privileges in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges in schema public revoke all on functions from anon, authenticated, service_role;

create schema private;
comment on schema private is 'Helpers of policies, functions behind the API and settings. Never exposed by REST.';
revoke all on schema private from public;

create function private.refuse(status integer, code text, message text, hint text default '')
returns void
language plpgsql
set search_path = ''
as $$
begin
    -- PostgREST answers an SQLSTATE PTxyz with HTTP status xyz:
    -- https://docs.postgrest.org/en/stable/references/errors.html#raise-errors-with-http-status-codes
    raise exception using errcode = 'PT' || status, message = message, detail = code, hint = hint;
end;
$$;
comment on function private.refuse is
    'Refuses a client: HTTP status, stable code (in `details`), a sentence, and what to do about it.';

create table private.settings (
    only_row boolean primary key default true check (only_row),
    installation_id uuid not null default gen_random_uuid(),
    file_size_limit_bytes bigint not null default 5000000000 check (file_size_limit_bytes > 0),
    quota_bytes bigint not null default 100000000000 check (quota_bytes > 0),
    documents_limit integer not null default 100000 check (documents_limit > 0),
    shares_limit integer not null default 100 check (shares_limit > 0),
    invitations_a_day_limit integer not null default 100 check (invitations_a_day_limit > 0),
    trash_period interval not null default '30 days' check (trash_period >= '0'),
    account_grace_period interval not null default '30 days' check (account_grace_period >= '0'),
    log_period interval not null default '365 days' check (log_period >= '1 day'),
    job_history_period interval not null default '30 days' check (job_history_period >= '1 hour'),
    upload_period interval not null default '48 hours' check (upload_period >= '48 hours'),
    orphan_period interval not null default '24 hours' check (orphan_period >= '24 hours'),
    replaced_archive_period interval not null default '2 hours' check (replaced_archive_period >= '1 minute'),
    original_period interval check (original_period >= '1 day')
);
comment on table private.settings is 'One row: what the operator of this installation decided.';
comment on column private.settings.installation_id is
    'Read through REST and through SQL by the runner, which starts only where both are alike.';
comment on column private.settings.file_size_limit_bytes is
    'Largest document. At most (the bucket''s and the project''s limit - 64 KiB) / 1.001: a file that cannot be compressed makes a larger ZIP.';
comment on column private.settings.quota_bytes is 'What one person''s documents may weigh, trash included.';
comment on column private.settings.documents_limit is 'How many documents one person may have, trash included.';
comment on column private.settings.shares_limit is 'With how many people one document may be shared.';
comment on column private.settings.trash_period is 'How long a deleted document can be restored.';
comment on column private.settings.account_grace_period is 'How long the documents of a closed account are kept.';
comment on column private.settings.upload_period is
    'When an unfinished upload is given up. Not before two days: a resumable upload touches no row while it runs.';
comment on column private.settings.replaced_archive_period is 'How long a replaced archive stays, so that running downloads end well.';
comment on column private.settings.original_period is 'When originals are removed once their archive is proven; null keeps them for ever.';
insert into private.settings (only_row) values (true);
revoke all on private.settings from public, anon, authenticated, service_role;
alter table private.settings enable row level security;

create function private.installation_id()
returns uuid
language sql
stable
security definer
set search_path = ''
as $$
    select s.installation_id from private.settings s;
$$;
grant execute on function private.installation_id() to service_role;

create function public.installation_id()
returns uuid
language sql
stable
set search_path = ''
begin atomic
    select private.installation_id();
end;
comment on function public.installation_id is 'Tells the secret key''s holder which installation this is.';
revoke execute on function public.installation_id() from public, anon, authenticated;
grant execute on function public.installation_id() to service_role;

create table public.roles (
    id uuid primary key default gen_random_uuid(),
    name text not null unique check (name ~ '^[a-z][a-z_]{1,30}$'),
    description text not null
);
comment on table public.roles is 'What people may be. Rights add up: a person has the union of the rights of his roles.';
insert into public.roles (name, description)
values
    ('viewer', 'Receives documents that others share.'),
    ('member', 'Receives shared documents, uploads documents and shares them.'),
    ('admin', 'Manages roles; reads profiles, logs, schedules, job state and document metadata, but nobody''s bytes.');
revoke all on public.roles from public, anon, authenticated, service_role;
grant select on public.roles to authenticated, service_role;
alter table public.roles enable row level security;

revoke execute on all functions in schema private from public;
