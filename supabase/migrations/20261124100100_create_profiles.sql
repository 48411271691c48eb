-- People: a profile for every account (made by a trigger that can never break a sign-up), their roles, and the helpers
-- that every policy asks. There is no foreign key to auth.users: deleting an account there must not cascade into bytes.

create table public.profiles (
    id uuid primary key,
    first_name text not null default '' check (char_length(first_name) <= 100),
    last_name text not null default '' check (char_length(last_name) <= 100),
    email text not null default '' check (char_length(email) <= 320),
    phone text not null default '' check (char_length(phone) <= 50),
    responsibility text not null default '' check (char_length(responsibility) <= 200),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
comment on table public.profiles is 'A person (User): the account''s name, address and state. The id is the auth user''s.';
comment on column public.profiles.email is 'Kept in step with the account by a trigger.';
comment on column public.profiles.deleted_at is 'When the account was closed; from then on it may do nothing.';
create index profiles_email_idx on public.profiles (lower(email));
create index profiles_deleted_at_idx on public.profiles (deleted_at) where deleted_at is not null;

create table public.user_roles (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references public.profiles (id) on delete cascade,
    role_id uuid not null references public.roles (id),
    created_at timestamptz not null default now(),
    unique (user_id, role_id)
);
comment on table public.user_roles is 'Which roles a person has. Signing up gives `member`.';
create index user_roles_role_id_idx on public.user_roles (role_id);

create function private.is_active()
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select exists (
        select 1 from public.profiles p where p.id = (select auth.uid()) and p.deleted_at is null
    );
$$;
comment on function private.is_active is 'Whether the caller has an open account. Stands in every policy.';

create function private.person_has_role(person_id uuid, role_names text[])
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select exists (
        select 1
        from public.user_roles u
            join public.roles r on r.id = u.role_id
            join public.profiles p on p.id = u.user_id
        where u.user_id = person_id and r.name = any (role_names) and p.deleted_at is null
    );
$$;

create function private.has_role(variadic role_names text[])
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    -- the table, not the token's claims: a role that is taken away counts at the next statement
    select private.person_has_role((select auth.uid()), role_names);
$$;
comment on function private.has_role is 'Whether the caller''s account is open and has one of these roles.';
grant execute on function private.is_active() to authenticated;
grant execute on function private.has_role(text[]) to authenticated;

create function private.touch()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end;
$$;
create trigger touch before update on public.profiles for each row execute function private.touch();

revoke all on public.profiles from public, anon, authenticated, service_role;
grant select, update (first_name, last_name, phone, responsibility) on public.profiles to authenticated;
grant select on public.profiles to service_role;
alter table public.profiles enable row level security;
create policy "People read their own profile, admins every profile" on public.profiles for select to authenticated
using ((id = (select auth.uid()) and deleted_at is null) or (select private.has_role('admin')));
create policy "People edit their own profile" on public.profiles for update to authenticated
using (id = (select auth.uid()) and (select private.is_active()))
with check (id = (select auth.uid()) and (select private.is_active()));

revoke all on public.user_roles from public, anon, authenticated, service_role;
grant select on public.user_roles to authenticated, service_role;
alter table public.user_roles enable row level security;
create policy "People read their own roles, admins everybody's" on public.user_roles for select to authenticated
using ((user_id = (select auth.uid()) and (select private.is_active())) or (select private.has_role('admin')));

create policy "People with an account read what roles there are" on public.roles for select to authenticated
using ((select private.is_active()));

create function private.keep_profile()
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
    on conflict (id) do update set email = excluded.email where p.email is distinct from excluded.email;
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
create trigger instashare_keep_profile after insert or update on auth.users
for each row execute function private.keep_profile();

create function private.close_profile()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.profiles set deleted_at = now() where id = old.id and deleted_at is null;
    return null;
exception
    when others then
        raise warning 'profile of % not closed: % %', old.id, sqlstate, sqlerrm;
        return null;
end;
$$;
create trigger instashare_close_profile after delete on auth.users
for each row execute function private.close_profile();

revoke execute on all functions in schema private from public;
