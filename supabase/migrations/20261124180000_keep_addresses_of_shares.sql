-- A share keeps the address that its owner shared with: when its recipient changes the address, the owner goes on seeing
-- his own, and learns neither the new one nor that there is an account. A second address of the same person stays an
-- invitation, and becomes a share when the first one ends. Sharing again is a change, and takes as long for an address
-- with an account as for one without.

alter table public.document_shares add column email text not null default '' check (char_length(email) <= 320);
comment on column public.document_shares.email is 'The address that the document was shared with, whatever the recipient''s is now.';
update public.document_shares s set email = lower(p.email) from public.profiles p where p.id = s.user_id;

-- counting what a person shared within a day must not read the whole log of somebody with 100,000 documents
create index logs_shared_idx on public.logs (user_id, created_at) where event_name = 'shared';

create or replace function private.copy_sort_keys()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- held, so that a change at this moment waits for this row and then reaches it
    select d.name, d.size_bytes, d.status, d.created_at
    into new.document_name, new.size_bytes, new.status, new.created_at
    from public.documents d where d.id = new.document_id
    for share;
    if new.email = '' then
        new.email := coalesce((select lower(p.email) from public.profiles p where p.id = new.user_id), '');
    end if;
    return new;
end;
$$;

create function private.claim_invitations_of(person_id uuid, only_document uuid default null)
returns void
language sql
security definer
set search_path = ''
as $$
    -- the id stays, owners hold it; a document that the person has by another address already stays invited
    with claimed as (
        delete from public.share_invitations i
        using auth.users u, public.profiles p
        where u.id = $1 and p.id = u.id and p.deleted_at is null and u.email_confirmed_at is not null
            and i.email = lower(u.email) and ($2 is null or i.document_id = $2)
            and not exists (
                select from public.document_shares s where s.document_id = i.document_id and s.user_id = u.id
            )
        returning i.*
    )
    insert into public.document_shares (id, document_id, user_id, shared_by, shared_at, expires_at, email)
    select c.id, c.document_id, $1, c.shared_by, c.shared_at, c.expires_at, c.email
    from claimed c
        join public.documents d on d.id = c.document_id
    where (c.expires_at is null or c.expires_at > now()) and d.owner_id <> $1
    on conflict (document_id, user_id) do nothing;
$$;
comment on function private.claim_invitations_of is 'Turns what waits for a person''s confirmed address into shares.';

create or replace function private.claim_invitations()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- at every update of the account (a sign-in is one), not at its confirmation alone: whatever went wrong then, or was
    -- shared in that very moment, is made up for
    perform private.claim_invitations_of(new.id);
    return null;
exception
    when others then
        raise warning 'invitations of % not claimed: % %', new.id, sqlstate, sqlerrm;
        return null;
end;
$$;

create function private.follow_ended_share()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.claim_invitations_of(old.user_id, old.document_id);
    return null;
end;
$$;
comment on function private.follow_ended_share is 'What waited behind a share, for another address of the same person, takes its place.';
create trigger follow_ended_share after delete on public.document_shares
for each row execute function private.follow_ended_share();

create or replace function private.share_document(document_id uuid, email text, expires_at timestamptz default null)
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
    again boolean;
    person_id uuid;
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
    again := (
        (select count(*) from public.share_invitations i where i.document_id = document.id and i.email = address)
            + (select count(*) from public.document_shares s where s.document_id = document.id and s.email = address)
    ) > 0;
    if not again then
        -- two at a time would both fit where only one does
        perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('instashare.share:' || document.owner_id, 0));
        select * into setting from private.settings;
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
    -- whoever has the address, and then whether it is confirmed: for nobody as for somebody
    person_id := (
        select p.id from public.profiles p
        where lower(p.email) = address and p.deleted_at is null
        order by p.created_at
        limit 1
    );
    recipient_id := (
        select u.id from auth.users u
        where u.id = coalesce(person_id, document.owner_id) and lower(u.email) = address and u.email_confirmed_at is not null
    );
    if recipient_id is not null then
        delete from public.share_invitations i
        where i.document_id = document.id and i.email = address and not exists (
            select from public.document_shares s where s.document_id = i.document_id and s.user_id = recipient_id
        );
        insert into public.document_shares as s (document_id, user_id, shared_by, expires_at, email)
        values (document.id, recipient_id, auth.uid(), ends_at, address)
        on conflict (document_id, user_id) do update set expires_at = excluded.expires_at where s.email = excluded.email
        returning jsonb_build_object(
            'id', s.id, 'document_id', s.document_id, 'email', address, 'shared_at', s.shared_at, 'expires_at', s.expires_at
        ) into share;
    else
        -- the looks that the insert of a share takes, so that its time does not tell who has an account
        perform from public.documents d where d.id = document.id for share;
        if not again then
            perform from public.profiles p where p.id = document.owner_id for key share;
        end if;
        update public.document_shares s set expires_at = ends_at
        where s.document_id = document.id and s.email = address
        returning jsonb_build_object(
            'id', s.id, 'document_id', s.document_id, 'email', address, 'shared_at', s.shared_at, 'expires_at', s.expires_at
        ) into share;
    end if;
    if share is null then
        -- nobody's address as yet, or another one of a person who has the document already
        insert into public.share_invitations as i (document_id, email, shared_by, expires_at)
        values (document.id, address, auth.uid(), ends_at)
        on conflict (document_id, email) do update set expires_at = excluded.expires_at
        returning jsonb_build_object(
            'id', i.id, 'document_id', i.document_id, 'email', address, 'shared_at', i.shared_at, 'expires_at', i.expires_at
        ) into share;
    end if;
    if again then
        perform private.log_event(
            'share_changed', format('Access of %s ends %s', address, coalesce(ends_at::text, 'when revoked')),
            document.id, document.owner_id
        );
    else
        perform private.log_event('shared', format('Shared with %s', address), document.id, document.owner_id);
    end if;
    return share;
end;
$$;

create or replace function private.own_shared_document(share_id uuid)
returns public.documents
language plpgsql
security definer
set search_path = ''
as $$
declare
    document_id uuid;
begin
    -- both are looked for at any time, as elsewhere in here
    select d.id into document_id
    from public.documents d
    where d.owner_id = auth.uid() and d.id = any (array[
        (select s.document_id from public.document_shares s where s.id = share_id),
        (select i.document_id from public.share_invitations i where i.id = share_id)
    ]);
    if not found or not private.is_active() then
        perform private.refuse(404, 'share_not_found', 'There is no such share.', 'It may have ended already.');
    end if;
    return private.own_document(document_id);
end;
$$;

create or replace function private.change_share(share_id uuid, expires_at timestamptz)
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
    -- both at any time: a second statement for invitations alone would take its time
    with shares as (
        update public.document_shares s set expires_at = ends_at where s.id = share_id
        returning s.id, s.document_id, s.email, s.shared_at
    ),
    invitations as (
        update public.share_invitations i set expires_at = ends_at where i.id = share_id
        returning i.id, i.document_id, i.email, i.shared_at
    )
    select * into share from (select * from shares union all select * from invitations) changed;
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

create or replace function private.revoke_share(share_id uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
    document public.documents := private.own_shared_document(share_id);
    address text;
    invited boolean;
begin
    with shares as (
        delete from public.document_shares s where s.id = share_id returning s.email, false
    ),
    invitations as (
        delete from public.share_invitations i where i.id = share_id returning i.email, true
    )
    select * into address, invited from (select * from shares union all select * from invitations) ended;
    if not found then
        perform private.refuse(404, 'share_not_found', 'There is no such share.', 'It may have ended already.');
    end if;
    if invited then
        perform private.claim_invitations_of(document.owner_id, document.id); -- what the end of a share takes, for its time
    end if;
    -- for an invitation too, under which nothing can have been signed: the owner sees the archive move, and must not
    -- learn from it whether the address has an account
    perform private.end_access(document);
    perform private.log_event('share_revoked', format('Access of %s ended', address), document.id, document.owner_id);
end;
$$;

create or replace function private.leave_share(document_id uuid)
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
    -- what waits behind the share, for another address of his, would take its place
    delete from public.share_invitations i using auth.users u
    where i.document_id = document.id and u.id = auth.uid() and u.email_confirmed_at is not null and i.email = lower(u.email);
    delete from public.document_shares s where s.document_id = document.id and s.user_id = auth.uid();
    if not found then
        perform private.refuse(404, 'share_not_found', 'This document is not shared with you.', '');
    end if;
    perform private.end_access(document);
    perform private.log_event('share_left', 'A recipient gave up access', document.id, document.owner_id);
end;
$$;

create or replace function private.document_access()
returns table (id uuid, document_id uuid, email text, shared_at timestamptz, expires_at timestamptz)
language sql
stable
security definer
set search_path = ''
as $$
    select s.id, s.document_id, s.email, s.shared_at, s.expires_at
    from public.documents d
        join public.document_shares s on s.document_id = d.id
    where d.owner_id = (select auth.uid()) and (select private.is_active())
    union all
    select i.id, i.document_id, i.email, i.shared_at, i.expires_at
    from public.documents d
        join public.share_invitations i on i.document_id = d.id
    where d.owner_id = (select auth.uid()) and (select private.is_active());
$$;

revoke execute on all functions in schema private from public;
