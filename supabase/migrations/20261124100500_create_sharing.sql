-- Sharing: who else may read a document, and until when. Owners share by address and cannot learn from it whether the
-- address has an account; an address without a confirmed account is kept as an invitation until it is confirmed.

create table public.document_shares (
    id uuid primary key default gen_random_uuid(),
    document_id uuid not null references public.documents (id) on delete cascade,
    user_id uuid not null references public.profiles (id) on delete cascade,
    shared_by uuid not null,
    shared_at timestamptz not null default now(),
    expires_at timestamptz,
    unique (document_id, user_id)
);
comment on table public.document_shares is 'Who may read a document beside its owner (DocumentShared).';
comment on column public.document_shares.expires_at is 'From this moment on nothing can be read; null: until revoked.';
create index document_shares_user_id_idx on public.document_shares (user_id, document_id);
create index document_shares_expires_at_idx on public.document_shares (expires_at) where expires_at is not null;

create table public.share_invitations (
    id uuid primary key default gen_random_uuid(),
    document_id uuid not null references public.documents (id) on delete cascade,
    email text not null check (email = lower(email) and char_length(email) <= 320),
    shared_by uuid not null,
    shared_at timestamptz not null default now(),
    expires_at timestamptz,
    unique (document_id, email)
);
comment on table public.share_invitations is 'A share for an address that has no confirmed account yet.';
create index share_invitations_email_idx on public.share_invitations (email);
create index share_invitations_shared_by_idx on public.share_invitations (shared_by, shared_at);
create index share_invitations_expires_at_idx on public.share_invitations (expires_at) where expires_at is not null;

create function private.shared_document_ids()
returns setof uuid
language sql
stable
security definer
set search_path = ''
as $$
    select s.document_id
    from public.document_shares s
        join public.documents d on d.id = s.document_id
        join public.profiles owner on owner.id = d.owner_id
    where s.user_id = (select auth.uid()) and (s.expires_at is null or s.expires_at > now())
        and d.deleted_at is null and owner.deleted_at is null
        and (select private.has_role('viewer', 'member', 'admin'));
$$;
comment on function private.shared_document_ids is
    'Live documents that others share with the caller now. In policies: id = any (array(select …)), evaluated once.';
grant execute on function private.shared_document_ids() to authenticated;

create policy "Owners and live recipients read documents" on public.documents for select to authenticated
using (
    (select private.is_active())
    and (owner_id = (select auth.uid()) or id = any (array(select private.shared_document_ids())))
);

revoke all on public.document_shares from public, anon, authenticated, service_role;
grant select on public.document_shares to service_role;
alter table public.document_shares enable row level security;
revoke all on public.share_invitations from public, anon, authenticated, service_role;
grant select on public.share_invitations to service_role;
alter table public.share_invitations enable row level security;
-- no policy: owners read `document_access`, recipients `shared_with_me`; neither learns who has an account

create function private.own_document(document_id uuid)
returns public.documents
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents;
begin
    select * into document from public.documents d
    where d.id = own_document.document_id and d.owner_id = auth.uid() and private.is_active()
    for no key update;
    if not found then
        if exists (
            select from private.shared_document_ids() as shared (id) where shared.id = own_document.document_id
        ) then
            perform private.refuse(403, 'not_owner', 'This document belongs to somebody else.', 'Ask its owner.');
        end if;
        perform private.refuse(404, 'document_not_found', 'There is no such document.', '');
    end if;
    return document;
end;
$$;
comment on function private.own_document is 'Locks and returns a document of the caller, or refuses: 404, or 403 where the caller may read it.';

create function private.end_access(document public.documents)
returns void
language sql
security definer
set search_path = ''
as $$
    select jobs.enqueue_revocation($1);
$$;

create function private.share_document(document_id uuid, email text, expires_at timestamptz default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
    document public.documents := private.own_document(share_document.document_id);
    setting private.settings;
    address text := lower(btrim(coalesce(share_document.email, '')));
    ends_at timestamptz := nullif(share_document.expires_at, 'infinity');
    recipient_id uuid;
    share jsonb;
begin
    if not private.has_role('member') then
        perform private.refuse(403, 'not_allowed', 'You may not share documents.', 'Ask an administrator for the role "member".');
    end if;
    if document.deleted_at is not null then
        perform private.refuse(409, 'document_deleted', 'The document is in the trash.', 'Restore it first.');
    end if;
    if address !~ '^[^@\s]+@[^@\s]+$' or char_length(address) > 320 then
        perform private.refuse(422, 'email_invalid', 'This is not an e-mail address.', 'Write it like name@example.org.');
    end if;
    if address = (select lower(p.email) from public.profiles p where p.id = auth.uid()) then
        perform private.refuse(422, 'share_with_self', 'This is your own address.', 'You have the document already.');
    end if;
    if ends_at <= now() then
        perform private.refuse(422, 'expiry_past', 'The share would end in the past.', 'Choose a later time.');
    end if;
    select * into setting from private.settings;
    if not exists (select from public.share_invitations i where i.document_id = document.id and i.email = address)
        and not exists (
            select from public.document_shares s join public.profiles p on p.id = s.user_id
            where s.document_id = document.id and lower(p.email) = address
        )
    then
        if (select count(*) from public.document_shares s where s.document_id = document.id)
            + (select count(*) from public.share_invitations i where i.document_id = document.id) >= setting.shares_limit
        then
            perform private.refuse(413, 'too_many_shares',
                format('A document can be shared with %s people.', setting.shares_limit), 'End a share first.');
        end if;
        if (
            select count(*) from public.logs l
            where l.user_id = auth.uid() and l.event_name = 'shared' and l.created_at > now() - interval '1 day'
        ) >= setting.invitations_a_day_limit then
            perform private.refuse(413, 'too_many_shares_today',
                format('You can share %s times a day.', setting.invitations_a_day_limit), 'Go on tomorrow.');
        end if;
    end if;
    select u.id into recipient_id
    from public.profiles p
        join auth.users u on u.id = p.id
    where lower(p.email) = address and lower(u.email) = address and u.email_confirmed_at is not null
        and p.deleted_at is null
    order by p.created_at
    limit 1;
    if recipient_id is not null then
        insert into public.document_shares as s (document_id, user_id, shared_by, expires_at)
        values (document.id, recipient_id, auth.uid(), ends_at)
        on conflict (document_id, user_id) do update set expires_at = excluded.expires_at
        returning jsonb_build_object(
            'id', s.id, 'document_id', s.document_id, 'email', address, 'shared_at', s.shared_at, 'expires_at', s.expires_at
        ) into share;
    else
        insert into public.share_invitations as i (document_id, email, shared_by, expires_at)
        values (document.id, address, auth.uid(), ends_at)
        on conflict (document_id, email) do update set expires_at = excluded.expires_at
        returning jsonb_build_object(
            'id', i.id, 'document_id', i.document_id, 'email', address, 'shared_at', i.shared_at, 'expires_at', i.expires_at
        ) into share;
    end if;
    perform private.log_event('shared', format('Shared with %s', address), document.id, document.owner_id);
    return share;
end;
$$;

create function private.own_shared_document(share_id uuid)
returns public.documents
language plpgsql
security definer
set search_path = ''
as $$
declare
    document_id uuid;
begin
    select d.id into document_id
    from public.documents d
    where d.owner_id = auth.uid() and d.id in (
        select s.document_id from public.document_shares s where s.id = share_id
        union all
        select i.document_id from public.share_invitations i where i.id = share_id
    );
    if not found or not private.is_active() then
        perform private.refuse(404, 'share_not_found', 'There is no such share.', 'It may have ended already.');
    end if;
    return private.own_document(document_id);
end;
$$;
comment on function private.own_shared_document is 'Locks and returns the caller''s document that a share or an invitation is of, or refuses.';

create function private.change_share(share_id uuid, expires_at timestamptz)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
    document public.documents := private.own_shared_document(share_id);
    ends_at timestamptz := nullif(change_share.expires_at, 'infinity');
    share record;
begin
    if ends_at <= now() then
        perform private.refuse(422, 'expiry_past', 'The share would end in the past.', 'Revoke it instead.');
    end if;
    update public.document_shares s set expires_at = ends_at from public.profiles p
    where s.id = share_id and p.id = s.user_id
    returning s.id, s.document_id, lower(p.email) as email, s.shared_at into share;
    if not found then
        update public.share_invitations i set expires_at = ends_at
        where i.id = share_id
        returning i.id, i.document_id, i.email, i.shared_at into share;
    end if;
    if not found then
        perform private.refuse(404, 'share_not_found', 'There is no such share.', 'It may have ended already.');
    end if;
    perform private.log_event(
        'share_changed', format('Access of %s ends %s', share.email, coalesce(ends_at::text, 'when revoked')),
        document.id, document.owner_id
    );
    return jsonb_build_object(
        'id', share.id, 'document_id', share.document_id, 'email', share.email, 'shared_at', share.shared_at,
        'expires_at', ends_at
    );
end;
$$;

create function private.revoke_share(share_id uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents := private.own_shared_document(share_id);
    address text;
begin
    delete from public.document_shares s using public.profiles p
    where s.id = share_id and p.id = s.user_id
    returning p.email into address;
    if not found then
        delete from public.share_invitations i where i.id = share_id returning i.email into address;
    end if;
    if not found then
        perform private.refuse(404, 'share_not_found', 'There is no such share.', 'It may have ended already.');
    end if;
    -- for an invitation too, under which nothing can have been signed: the owner sees the archive move, and must not
    -- learn from it whether the address has an account
    perform private.end_access(document);
    perform private.log_event('share_revoked', format('Access of %s ended', lower(address)), document.id, document.owner_id);
end;
$$;

create function private.leave_share(document_id uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
    document public.documents;
begin
    select * into document from public.documents d
    where d.id = leave_share.document_id and d.id in (select private.shared_document_ids())
    for no key update;
    if not found or not private.is_active() then
        perform private.refuse(404, 'share_not_found', 'This document is not shared with you.', '');
    end if;
    delete from public.document_shares s where s.document_id = document.id and s.user_id = auth.uid();
    if not found then
        perform private.refuse(404, 'share_not_found', 'This document is not shared with you.', '');
    end if;
    perform private.end_access(document);
    perform private.log_event('share_left', 'A recipient gave up access', document.id, document.owner_id);
end;
$$;

create function private.claim_invitations()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if new.email_confirmed_at is null or new.email is null then
        return null;
    end if;
    -- at every update of the account (a sign-in is one), not at its confirmation alone: whatever went wrong then, or was
    -- shared in that very moment, is made up for. The id stays, owners hold it.
    with claimed as (
        delete from public.share_invitations i
        where i.email = lower(new.email)
            and exists (select from public.profiles p where p.id = new.id and p.deleted_at is null)
        returning i.*
    )
    insert into public.document_shares (id, document_id, user_id, shared_by, shared_at, expires_at)
    select c.id, c.document_id, new.id, c.shared_by, c.shared_at, c.expires_at
    from claimed c
        join public.documents d on d.id = c.document_id
    where (c.expires_at is null or c.expires_at > now()) and d.owner_id <> new.id
    on conflict (document_id, user_id) do nothing;
    return null;
exception
    when others then
        raise warning 'invitations of % not claimed: % %', new.id, sqlstate, sqlerrm;
        return null;
end;
$$;
-- fires after instashare_keep_profile (triggers of one table fire in the order of their names)
create trigger instashare_receive_invitations after insert or update on auth.users
for each row execute function private.claim_invitations();

create function public.share_document(document_id uuid, email text, expires_at timestamptz default null)
returns jsonb
language sql
set search_path = ''
begin atomic
    select private.share_document(document_id, email, expires_at);
end;
comment on function public.share_document is
    'Shares a document with an address; answers alike whether or not the address has an account. Again: changes the expiry.';
create function public.change_share(share_id uuid, expires_at timestamptz)
returns jsonb
language sql
set search_path = ''
begin atomic
    select private.change_share(share_id, expires_at);
end;
comment on function public.change_share is 'Sets when a share of an own document ends; null: when revoked.';
create function public.revoke_share(share_id uuid)
returns void
language sql
set search_path = ''
begin atomic
    select private.revoke_share(share_id);
end;
comment on function public.revoke_share is 'Ends a share of an own document at once; links signed under it die within a minute.';
create function public.leave_share(document_id uuid)
returns void
language sql
set search_path = ''
begin atomic
    select private.leave_share(document_id);
end;
comment on function public.leave_share is 'Gives up access to somebody else''s document.';

revoke execute on function
    public.share_document(uuid, text, timestamptz), public.change_share(uuid, timestamptz), public.revoke_share(uuid),
    public.leave_share(uuid)
from public, anon;
revoke execute on all functions in schema private from public;
grant execute on function
    private.share_document(uuid, text, timestamptz), private.change_share(uuid, timestamptz), private.revoke_share(uuid),
    private.leave_share(uuid), public.share_document(uuid, text, timestamptz), public.change_share(uuid, timestamptz),
    public.revoke_share(uuid), public.leave_share(uuid)
to authenticated;
