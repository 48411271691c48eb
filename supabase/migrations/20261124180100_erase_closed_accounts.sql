-- What is left of a closed account when its grace period is over: first its documents go (the purge), then whatever is
-- personal, and the account itself, so that the address is free again. The row stays with its id alone, which the log
-- names.

alter table public.profiles add column erased_at timestamptz;
comment on column public.profiles.erased_at is 'When the personal data of a closed account were removed; only the id is left.';

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

create function jobs.erase_accounts()
returns integer
language plpgsql
set search_path = ''
as $$
declare
    person public.profiles;
    number integer := 0;
begin
    for person in
        select p.* from public.profiles p, private.settings s
        where p.deleted_at < now() - s.account_grace_period and p.erased_at is null
            and not exists (select from public.documents d where d.owner_id = p.id)
        order by p.deleted_at
        limit 1000
        for no key update of p skip locked
    loop
        -- Owners see the address in their lists as before, as one that has no account: it has none any more.
        insert into public.share_invitations (id, document_id, email, shared_by, shared_at, expires_at)
        select s.id, s.document_id, s.email, s.shared_by, s.shared_at, s.expires_at
        from public.document_shares s
        where s.user_id = person.id and s.email <> ''
        on conflict do nothing;
        delete from public.document_shares s where s.user_id = person.id;
        update public.profiles p
        set first_name = '', last_name = '', email = '', phone = '', responsibility = ''
        where p.id = person.id;
        begin
            delete from auth.users u where u.id = person.id;
            update public.profiles p set erased_at = now() where p.id = person.id;
            perform private.log_event('account_erased', 'Personal data removed', null, person.id, null);
            number := number + 1;
        exception when others then
            -- a table of the project's own may hold on to the account; the next run tries again
            raise warning 'account % not removed: % %', person.id, sqlstate, sqlerrm;
        end;
    end loop;
    return number;
end;
$$;
comment on function jobs.erase_accounts is
    'Removes what is personal of accounts closed longer than the grace period, once their documents are gone; how many.';

create or replace function jobs.run_maintenance(kind text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
    return case kind
        when 'expire_shares' then jsonb_build_object('shares', jobs.expire_shares())
        when 'abandon_uploads' then jsonb_build_object('uploads', jobs.abandon_uploads())
        when 'close_accounts' then jsonb_build_object('documents', jobs.close_accounts(), 'people', jobs.erase_accounts())
        when 'prune_history' then jobs.prune_history() || jsonb_build_object(
            'pg_cron', private.prune_pg_cron((select s.job_history_period from private.settings s))
        )
    end;
end;
$$;
update public.scheduled_jobs set
    description = 'Removes the documents of accounts closed longer than the grace period, and then what is personal of them.'
where kind = 'close_accounts' and description = 'Removes the documents of accounts closed longer than the grace period.';

revoke execute on all functions in schema jobs from public;
revoke execute on all functions in schema private from public;
grant execute on function jobs.run_maintenance(text) to instashare_runner;
