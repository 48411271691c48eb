-- Documents for administrators: what there is, whose it is and how it fares, but nothing that leads to anybody's bytes (no
-- archive path, no version). `documents` itself stays closed to them: the policy of the archives asks it who may read.

create index documents_created_idx on public.documents (created_at desc, id desc);
create index documents_failed_idx on public.documents (created_at desc, id desc) where status = 'failed';

-- A view that runs as its owner, not a function: filters, order and limit of a page reach the indexes. It stands in the
-- unexposed schema behind a view that runs as its reader, and whether the reader administers is found once, before any
-- row is read.
create view private.admin_documents as
select
    d.id, d.owner_id, p.email as owner_email, d.name, d.size_bytes, d.archive_size_bytes, d.mime_type, d.status, d.progress,
    d.error,
    (select count(*) from public.document_shares s where s.document_id = d.id)
        + (select count(*) from public.share_invitations i where i.document_id = d.id) as shares,
    d.created_at, d.updated_at, d.deleted_at, d.purge_started_at
from public.documents d
    left join public.profiles p on p.id = d.owner_id
where (select private.may_administer());
comment on view private.admin_documents is 'What public.admin_documents shows; the gate is in here.';
revoke all on private.admin_documents from public, anon, authenticated, service_role;
grant select on private.admin_documents to authenticated;

create view public.admin_documents with (security_invoker = true) as select * from private.admin_documents;
comment on view public.admin_documents is
    'For administrators: everybody''s documents without their bytes, in pages by created_at and id; trash has deleted_at.';

create function private.admin_document_counts()
returns table (status text, in_trash boolean, documents bigint, size_bytes numeric, archive_size_bytes numeric)
language sql
stable
security definer
set search_path = ''
as $$
    select d.status, d.deleted_at is not null, count(*), sum(d.size_bytes), coalesce(sum(d.archive_size_bytes), 0)
    from public.documents d
    where (select private.may_administer())
    group by d.status, d.deleted_at is not null;
$$;
comment on function private.admin_document_counts is 'What public.admin_document_counts shows; counts nothing for others.';
create view public.admin_document_counts with (security_invoker = true) as select * from private.admin_document_counts();
comment on view public.admin_document_counts is 'For administrators: how many documents there are and what they weigh, by status.';

-- what is counted already need not be counted again, and an abandoned upload has no bytes
create or replace function private.admin_users()
returns table (
    id uuid, email text, first_name text, last_name text, responsibility text, roles text[], documents bigint,
    used_bytes bigint, created_at timestamptz, deleted_at timestamptz
)
language sql
stable
security definer
set search_path = ''
as $$
    select
        p.id, p.email, p.first_name, p.last_name, p.responsibility,
        array(
            select r.name from public.user_roles u join public.roles r on r.id = u.role_id
            where u.user_id = p.id
            order by r.name
        ),
        coalesce(l.live + l.trash, 0), coalesce(l.counted_bytes, 0)::bigint, p.created_at, p.deleted_at
    from public.profiles p
        left join private.library_sizes l on l.owner_id = p.id
    where (select private.may_administer());
$$;

revoke all on public.admin_documents, public.admin_document_counts from public, anon, authenticated, service_role;
grant select on public.admin_documents, public.admin_document_counts to authenticated;
revoke execute on all functions in schema private from public;
grant execute on function private.admin_document_counts() to authenticated;
