-- What clients read beside the tables: documents shared with them, who has access to theirs, and their limits. Each
-- view runs as its reader over a definer function that decides.

create function private.shared_with_me()
returns table (
    id uuid, name text, size_bytes bigint, mime_type text, status text, progress real, archive_size_bytes bigint,
    created_at timestamptz, updated_at timestamptz, owner_id uuid, owner_name text, owner_email text,
    shared_at timestamptz, expires_at timestamptz
)
language sql
stable
security definer
set search_path = ''
as $$
    select
        d.id, d.name, d.size_bytes, d.mime_type, d.status, d.progress, d.archive_size_bytes, d.created_at, d.updated_at,
        d.owner_id, btrim(p.first_name || ' ' || p.last_name), p.email, s.shared_at, s.expires_at
    from public.document_shares s
        join public.documents d on d.id = s.document_id
        join public.profiles p on p.id = d.owner_id
    where s.user_id = (select auth.uid()) and d.id in (select private.shared_document_ids());
$$;
create view public.shared_with_me with (security_invoker = true) as select * from private.shared_with_me();
comment on view public.shared_with_me is 'Documents that others share with the reader now.';

create function private.document_access()
returns table (id uuid, document_id uuid, email text, shared_at timestamptz, expires_at timestamptz)
language sql
stable
security definer
set search_path = ''
as $$
    select s.id, s.document_id, lower(p.email), s.shared_at, s.expires_at
    from public.documents d
        join public.document_shares s on s.document_id = d.id
        join public.profiles p on p.id = s.user_id
    where d.owner_id = (select auth.uid()) and (select private.is_active())
    union all
    select i.id, i.document_id, i.email, i.shared_at, i.expires_at
    from public.documents d
        join public.share_invitations i on i.document_id = d.id
    where d.owner_id = (select auth.uid()) and (select private.is_active());
$$;
create view public.document_access with (security_invoker = true) as select * from private.document_access();
comment on view public.document_access is 'With whom the reader''s documents are shared; shares and invitations look alike.';

create function private.limits()
returns table (
    file_size_limit_bytes bigint, quota_bytes bigint, used_bytes bigint, documents_limit integer, documents bigint,
    shares_limit integer, trash_days numeric
)
language sql
stable
security definer
set search_path = ''
as $$
    select
        s.file_size_limit_bytes, s.quota_bytes, coalesce(sum(d.size_bytes), 0)::bigint, s.documents_limit, count(d.id),
        s.shares_limit, round(extract(epoch from s.trash_period) / 86400, 2)
    from private.settings s
        left join public.documents d
            on d.owner_id = (select auth.uid()) and not (d.status = 'failed' and d.object_version is null)
    where (select private.is_active())
    group by s.only_row;
$$;
create view public.limits with (security_invoker = true) as select * from private.limits();
comment on view public.limits is 'What the reader may store, and how much of it is used; trash counts.';

revoke all on public.shared_with_me, public.document_access, public.limits from public, anon, authenticated, service_role;
grant select on public.shared_with_me, public.document_access, public.limits to authenticated;
revoke execute on all functions in schema private from public;
grant execute on function private.shared_with_me(), private.document_access(), private.limits() to authenticated;
