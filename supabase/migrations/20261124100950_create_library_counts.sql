-- What the screens of a person say in numbers, in one row and one request: how many documents there are, how many are
-- on their way or failed, how many lie in the trash, how many others share with him.

create function private.library_counts()
returns table (documents bigint, in_progress bigint, failed bigint, trash bigint, shared_with_me bigint)
language sql
stable
security definer
set search_path = ''
as $$
    select
        count(*) filter (where d.deleted_at is null),
        count(*) filter (where d.deleted_at is null and d.status in ('uploading', 'queued', 'processing')),
        count(*) filter (where d.deleted_at is null and d.status = 'failed'),
        count(*) filter (where d.deleted_at is not null),
        (select count(*) from private.shared_document_ids())
    from public.documents d
    where d.owner_id = (select auth.uid())
    having (select private.is_active());
$$;
create view public.library_counts with (security_invoker = true) as select * from private.library_counts();
comment on view public.library_counts is 'How many documents the reader has, by what is happening to them, and how many are shared with him.';
revoke all on public.library_counts from public, anon, authenticated, service_role;
grant select on public.library_counts to authenticated;
revoke execute on function private.library_counts() from public;
grant execute on function private.library_counts() to authenticated;

-- Files that are added in one request keep the order in which they were chosen: now() would be the same for all.
alter table public.documents alter column created_at set default clock_timestamp();
