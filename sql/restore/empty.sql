-- Before a backup's rows are put into a fresh project: remove what the migrations themselves have put there. It refuses
-- where somebody has an account already. docs/backups.md tells the whole way; psql runs this as the role postgres.
do $$
begin
    if exists (select from auth.users) or exists (select from public.documents) then
        raise exception 'This project has people or documents: rows are restored into a fresh one alone.';
    end if;
end
$$;

truncate
    public.document_shares, public.documents, public.logs, public.profiles, public.roles, public.scheduled_jobs,
    public.share_invitations, public.user_roles,
    private.ended_persons, private.library_sizes, private.settings,
    jobs.attempts, jobs.history, jobs.lanes, jobs.queue, jobs.queues, jobs.runners;
