-- Roles, whatever way they are changed: an operator's SQL, Studio, the command line and the functions of administrators
-- pass the same triggers, which keep the last administrator and write the log once.

create function private.is_last_admin(person_id uuid)
returns boolean
language plpgsql
security definer
set search_path = ''
as $$
begin
    if not private.person_has_role(person_id, array['admin']) then
        return false;
    end if;
    -- two administrators who unmake each other, or close their accounts, at one moment would both see one left
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('instashare.last_admin', 0));
    return not exists (
        select from public.user_roles u
            join public.roles r on r.id = u.role_id
            join public.profiles p on p.id = u.user_id
        where r.name = 'admin' and p.deleted_at is null and p.id <> person_id
    );
end;
$$;
comment on function private.is_last_admin is 'Whether nobody else with an open account is an administrator; waits for whoever is about to stop being one.';

create function private.guard_last_admin()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    loses boolean;
    person_id uuid;
begin
    if tg_table_name = 'profiles' then
        person_id := old.id;
        loses := tg_op = 'DELETE' or (old.deleted_at is null and new.deleted_at is not null);
    elsif tg_table_name = 'users' then
        person_id := old.id;
        loses := true;
    else
        person_id := old.user_id;
        loses := exists (select from public.roles r where r.id = old.role_id and r.name = 'admin')
            and (tg_op = 'DELETE' or (new.user_id, new.role_id) is distinct from (old.user_id, old.role_id));
    end if;
    if loses and private.is_last_admin(person_id) then
        perform private.refuse(409, 'last_admin', 'This is the last administrator.', 'Make somebody else an administrator first.');
    end if;
    return coalesce(new, old);
end;
$$;
create trigger guard_last_admin before update or delete on public.user_roles
for each row execute function private.guard_last_admin();
create trigger guard_last_admin before update of deleted_at or delete on public.profiles
for each row execute function private.guard_last_admin();
-- deleting the account in Auth closes the profile and is no way round
create trigger instashare_guard_last_admin before delete on auth.users
for each row execute function private.guard_last_admin();

create function private.keep_roles()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    raise exception using errcode = '42501', message = 'The roles viewer, member and admin stay as they are.',
        hint = 'The rules name them. Change a description, or add a role of your own.';
end;
$$;
create trigger keep_roles before update of id, name on public.roles
for each row when (old.name in ('viewer', 'member', 'admin')) execute function private.keep_roles();
create trigger keep_roles_from_removal before delete on public.roles
for each row when (old.name in ('viewer', 'member', 'admin')) execute function private.keep_roles();
create trigger keep_roles_from_truncation before truncate on public.roles
for each statement execute function private.keep_roles();
create trigger keep_roles_from_truncation before truncate on public.user_roles
for each statement execute function private.keep_roles();

create function private.log_roles()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if pg_catalog.pg_trigger_depth() > 1 then
        return null; -- comes with a sign-up, which is an event itself
    end if;
    if tg_op <> 'INSERT' then
        perform private.log_event(
            'role_revoked',
            format('Took the role %s from %s', (select r.name from public.roles r where r.id = old.role_id),
                (select p.email from public.profiles p where p.id = old.user_id)),
            null, old.user_id
        );
    end if;
    if tg_op <> 'DELETE' then
        perform private.log_event(
            'role_granted',
            format('Gave the role %s to %s', (select r.name from public.roles r where r.id = new.role_id),
                (select p.email from public.profiles p where p.id = new.user_id)),
            null, new.user_id
        );
    end if;
    return null;
end;
$$;
create trigger log_roles after insert or update or delete on public.user_roles
for each row execute function private.log_roles();

create or replace function private.admin_grant_role(user_id uuid, role_name text)
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
end;
$$;

create or replace function private.admin_revoke_role(user_id uuid, role_name text)
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
    delete from public.user_roles u where u.user_id = person.id and u.role_id = role_id;
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
    perform private.log_event('account_closed', 'Account closed', null, auth.uid());
end;
$$;

-- a trigger logs every change of a schedule, so the function leaves it to that
create or replace function private.admin_enable_schedule(schedule_id uuid, enabled boolean)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.require_admin();
    update public.scheduled_jobs s set enabled = admin_enable_schedule.enabled where s.id = schedule_id;
    if not found then
        perform private.refuse(404, 'schedule_not_found', 'There is no such schedule.', '');
    end if;
end;
$$;

revoke execute on all functions in schema private from public;
