-- For a development project of the Supabase CLI (`supabase start`, `supabase db reset`) alone; nothing else runs it.
-- Three people to sign in as, all with the password `instashare-demo`: an administrator and two members. The stack of
-- `./instashare up` makes its own, with passwords of its own.

with people (id, email, first_name, last_name) as (
    values
        ('00000000-0000-4000-8000-00000000000a'::uuid, 'admin@instashare.test', 'Alex', 'Admin'),
        ('00000000-0000-4000-8000-00000000000b'::uuid, 'ana@instashare.test', 'Ana', 'Almeida'),
        ('00000000-0000-4000-8000-00000000000c'::uuid, 'luis@instashare.test', 'Luis', 'Lopes')
),
accounts as (
    insert into auth.users (
        instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
        created_at, updated_at, confirmation_token, recovery_token, email_change_token_new, email_change
    )
    select
        '00000000-0000-0000-0000-000000000000', p.id, 'authenticated', 'authenticated', p.email,
        extensions.crypt('instashare-demo', extensions.gen_salt('bf')), now(),
        '{"provider": "email", "providers": ["email"]}',
        jsonb_build_object('first_name', p.first_name, 'last_name', p.last_name), now(), now(), '', '', '', ''
    from people p
    on conflict do nothing
    returning id, email
)
insert into auth.identities (id, provider_id, user_id, provider, identity_data, last_sign_in_at, created_at, updated_at)
select
    gen_random_uuid(), a.id::text, a.id, 'email',
    jsonb_build_object('sub', a.id, 'email', a.email, 'email_verified', true), now(), now(), now()
from accounts a
on conflict do nothing;

insert into public.user_roles (user_id, role_id)
select '00000000-0000-4000-8000-00000000000a', r.id from public.roles r where r.name = 'admin'
on conflict do nothing;
