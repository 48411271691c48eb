-- Closing an account is one event of the log, whatever the way: by its owner, by an operator's statement, or because the
-- account was deleted in Auth (in Studio, say).

create or replace function private.follow_closing()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if old.deleted_at is null and new.deleted_at is not null then
        perform private.end_links(new.id, true);
        perform private.log_event('account_closed', 'Account closed', null, new.id);
    end if;
    return null;
end;
$$;

create or replace function private.close_account()
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.profiles p set deleted_at = now() where p.id = auth.uid() and p.deleted_at is null;
    if not found then
        perform private.refuse(404, 'account_not_found', 'Your account is closed already.', '');
    end if;
end;
$$;

revoke execute on all functions in schema private from public;
grant execute on function private.close_account() to authenticated;
