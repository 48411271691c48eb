-- People and their roles, as operators read and change them; run over ADMIN_DATABASE_URL.

-- name: list
select
    p.id, p.email, p.first_name, p.last_name, p.created_at, p.deleted_at,
    coalesce(array_agg(r.name order by r.name) filter (where r.name is not null), '{}') as roles,
    (select count(*) from public.documents d where d.owner_id = p.id) as documents,
    (select coalesce(sum(d.size_bytes), 0)::bigint from public.documents d where d.owner_id = p.id) as bytes
from public.profiles p
left join public.user_roles u on u.user_id = p.id
left join public.roles r on r.id = u.role_id
where %(search)s::text is null or strpos(lower(p.email), lower(%(search)s)) > 0
group by p.id
order by lower(p.email), p.id
limit %(limit)s;

-- name: find
select id, email, deleted_at
from public.profiles
where lower(email) = lower(%(who)s) or id::text = lower(%(who)s);

-- name: list_roles
select name from public.roles order by name;

-- name: grant
insert into public.user_roles (user_id, role_id)
select %(user_id)s, r.id from public.roles r where r.name = %(role)s
on conflict (user_id, role_id) do nothing
returning id;

-- name: revoke
delete from public.user_roles u
using public.roles r
where r.id = u.role_id and u.user_id = %(user_id)s and r.name = %(role)s
returning u.id;
