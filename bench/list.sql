-- `bench.size` documents: a tenth are one owner's (and as many as a fiftieth more lie in his trash), the others are
-- twenty each; a hundredth is shared with one recipient; one event each. Besides, an owner of 1,000.

-- no limit is in the way
update private.settings set quota_bytes = 1000000000000000, documents_limit = 10000000;

insert into public.profiles (id, email)
select format('00000000-0000-4000-8000-%s', lpad(i::text, 12, '0'))::uuid, i || '@example.test'
from generate_series(1, 1010 + current_setting('bench.size')::integer / 20) i;

insert into public.user_roles (user_id, role_id)
select p.id, r.id from public.profiles p join public.roles r on r.name = 'member';

insert into public.documents (
    owner_id, name, size_bytes, status, progress, archive_path, archive_size_bytes, archive_name_revision, object_version,
    created_at, updated_at, deleted_at
)
select
    o.owner_id,
    (array['Report', 'Invoice', 'Photo', 'Plan', 'Carta', 'Übersicht', 'contract', '資料'])[1 + i % 8] || ' ' || i || ' '
        || (i * 7919) % 1000 || (array['.pdf', '.docx', '.jpg'])[1 + i % 3],
    (i * 104729) % 5000000000, s.status, 0,
    case when s.status = 'ready' then 'archives/' || i end, case when s.status = 'ready' then 1 end,
    case when s.status = 'ready' then 1 end, 'v', c.at, c.at,
    case when i > n.size and i <= n.size + n.size / 50 then c.at + interval '1 hour' end
from (select current_setting('bench.size')::bigint as size) n
    cross join lateral generate_series(1, n.size + n.size / 50 + 1000) i
    cross join lateral (
        select format('00000000-0000-4000-8000-%s', lpad((
            case when i > n.size + n.size / 50 then 3 when i % 10 = 0 or i > n.size then 1 else 10 + (i * 31) % (n.size / 20) end
        )::text, 12, '0'))::uuid as owner_id
    ) o
    cross join lateral (
        select case when i % 500 = 10 then 'failed' when i % 500 = 20 then 'queued' else 'ready' end as status
    ) s
    cross join lateral (
        select timestamptz '2026-01-01 00:00Z' + (i * 15485863) % 10000000 * interval '1 second' as at
    ) c;

insert into private.library_sizes (owner_id, live, trash, counted, counted_bytes)
select d.owner_id, count(*) filter (where d.deleted_at is null), count(d.deleted_at), count(*), sum(d.size_bytes)
from public.documents d
group by d.owner_id;

insert into public.document_shares (
    document_id, user_id, shared_by, shared_at, document_name, size_bytes, status, created_at
)
select d.id, '00000000-0000-4000-8000-000000000002', d.owner_id, d.created_at + interval '1 day', d.name, d.size_bytes,
    d.status, d.created_at
from public.documents d
where d.deleted_at is null and hashtext(d.id::text) % 90 = 0
union all
select d.id, format('00000000-0000-4000-8000-%s', lpad((10 + abs(hashtext(d.id::text) / 90) % 1000)::text, 12, '0'))::uuid,
    d.owner_id, d.created_at, d.name, d.size_bytes, d.status, d.created_at
from public.documents d
where d.deleted_at is null and hashtext(d.id::text) % 90 = 1;

insert into public.logs (user_id, owner_id, event_name, document_id, created_at)
select d.owner_id, d.owner_id, 'created', d.id, d.created_at from public.documents d;

create view public.bench_shared as
select s.document_id as id, s.user_id as person_id, s.document_name as name, s.size_bytes, s.status, s.created_at, s.shared_at,
    null::timestamptz as deleted_at
from public.document_shares s;
create view public.bench_owned as select d.*, d.owner_id as person_id from public.documents d;
