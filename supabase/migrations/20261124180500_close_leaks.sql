-- What could be learned without reading a row, and what an account without an address may do.

-- In order: shares stood before invitations, so that the place in the list told whose address has an account.
create or replace function private.document_access()
returns table (id uuid, document_id uuid, email text, shared_at timestamptz, expires_at timestamptz)
language sql
stable
security definer
set search_path = ''
as $$
    select a.id, a.document_id, a.email, a.shared_at, a.expires_at
    from (
        select s.id, s.document_id, s.email, s.shared_at, s.expires_at
        from public.documents d
            join public.document_shares s on s.document_id = d.id
        where d.owner_id = (select auth.uid()) and (select private.is_active())
        union all
        select i.id, i.document_id, i.email, i.shared_at, i.expires_at
        from public.documents d
            join public.share_invitations i on i.document_id = d.id
        where d.owner_id = (select auth.uid()) and (select private.is_active())
    ) a
    order by a.shared_at, a.id;
$$;

-- REST tells the planner's estimate to whoever asks (`Prefer: count=planned`), and the planner knows values of everybody's
-- rows, whatever their policies: addresses were found by halving. So of texts about people, of errors and of paths it
-- keeps none; nothing is planned by them. (Names of documents it needs: searches are planned by them.)
alter table public.documents
    alter column mime_type set statistics 0,
    alter column error set statistics 0,
    alter column archive_path set statistics 0,
    alter column object_version set statistics 0;
alter table public.document_shares alter column email set statistics 0;
alter table public.profiles
    alter column email set statistics 0,
    alter column first_name set statistics 0,
    alter column last_name set statistics 0,
    alter column phone set statistics 0,
    alter column responsibility set statistics 0;
alter table public.logs alter column event_description set statistics 0;
-- what was gathered before stays until somebody analyzes
analyze public.documents, public.document_shares, public.profiles, public.logs;

-- An anonymous sign-in of Auth has the role `authenticated` and nobody behind it: no profile, so it may do nothing. Once
-- it has an address it is an account like any other.
create or replace function private.keep_profile()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    metadata jsonb := case when jsonb_typeof(new.raw_user_meta_data) = 'object' then new.raw_user_meta_data else '{}' end;
    fresh boolean := not exists (select from public.profiles p where p.id = new.id);
begin
    if to_jsonb(new) ->> 'is_anonymous' = 'true' then
        return null;
    end if;
    insert into public.profiles as p (id, first_name, last_name, email, phone, responsibility)
    values (
        new.id,
        left(coalesce(metadata ->> 'first_name', ''), 100),
        left(coalesce(metadata ->> 'last_name', ''), 100),
        left(coalesce(new.email, ''), 320),
        left(coalesce(metadata ->> 'phone', ''), 50),
        left(coalesce(metadata ->> 'responsibility', ''), 200)
    )
    on conflict (id) do update set email = excluded.email
    where p.email is distinct from excluded.email and p.deleted_at is null;
    if fresh then
        insert into public.user_roles (user_id, role_id)
        select new.id, r.id from public.roles r where r.name = 'member'
        on conflict do nothing;
        perform private.log_event('signed_up', 'Account created', null, new.id, new.id);
    end if;
    return null;
exception
    when others then
        -- Auth would answer 500 to a sign-up or sign-in; the next update of the account tries again
        raise warning 'profile of % not kept: % %', new.id, sqlstate, sqlerrm;
        return null;
end;
$$;

revoke execute on all functions in schema private from public;
grant execute on function private.document_access() to authenticated;
