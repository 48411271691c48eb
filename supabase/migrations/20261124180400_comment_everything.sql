-- Studio is where administrators look: every table, view, column and function of ours says in plain words what it is.

comment on column public.profiles.id is 'The account''s id in Auth.';
comment on column public.profiles.first_name is 'From the sign-up; the person edits it.';
comment on column public.profiles.last_name is 'From the sign-up; the person edits it.';
comment on column public.profiles.phone is 'A telephone number in whatever form; never verified.';
comment on column public.profiles.responsibility is 'What the person is responsible for, in the own words.';
comment on column public.profiles.created_at is 'When the account was made.';
comment on column public.profiles.updated_at is 'When the profile was changed last.';
comment on column public.roles.id is 'Made by the database.';
comment on column public.roles.name is 'viewer, member and admin are the ones that the rules name.';
comment on column public.roles.description is 'What the role lets a person do.';
comment on column public.user_roles.id is 'Made by the database.';
comment on column public.user_roles.user_id is 'Who has the role.';
comment on column public.user_roles.role_id is 'Which role.';
comment on column public.user_roles.created_at is 'Since when.';

comment on column public.documents.id is 'Made by the database; part of the key of its bytes.';
comment on column public.documents.owner_id is 'Whose it is: who added it, for ever.';
comment on column public.documents.mime_type is 'The media type that the client announced.';
comment on column public.documents.status is
    'uploading: its bytes are awaited; queued: they wait for a runner; processing: a runner makes the ZIP; ready: the ZIP can be downloaded; failed: it could not be made, see error (a retry makes it queued again).';
comment on column public.documents.archive_path is 'Where the ZIP lies in the bucket archives; a new place after each rename or revoked share.';
comment on column public.documents.archive_size_bytes is 'What the ZIP weighs.';
comment on column public.documents.created_at is 'When it was added.';
comment on column public.documents.updated_at is 'When anything of it changed last.';

comment on column public.document_shares.id is 'Known to the owner alone: by it a share is changed and revoked.';
comment on column public.document_shares.document_id is 'What is shared.';
comment on column public.document_shares.user_id is 'With whom.';
comment on column public.document_shares.shared_by is 'By whom: the owner of then.';
comment on column public.document_shares.shared_at is 'Since when.';
comment on column public.document_shares.size_bytes is 'The document''s; lists are sorted by it.';
comment on column public.document_shares.status is 'The document''s; lists are sorted by it.';
comment on column public.document_shares.created_at is 'When the document was added; lists are sorted by it.';
comment on column public.share_invitations.id is 'Known to the owner alone; the share that it becomes keeps it.';
comment on column public.share_invitations.document_id is 'What is to be shared.';
comment on column public.share_invitations.email is 'With whom, in small letters.';
comment on column public.share_invitations.shared_by is 'By whom.';
comment on column public.share_invitations.shared_at is 'Since when.';
comment on column public.share_invitations.expires_at is 'When it ends, accepted or not; null: when revoked.';

comment on column public.logs.id is 'Counts up: the order of events.';
comment on column public.logs.event_name is
    'signed_up, account_closed, account_erased; created, uploaded, ready, failed, retried, renamed, deleted, restored, purged, original_removed; shared, share_changed, share_revoked, share_left, share_expired, download_url_made; role_granted, role_revoked; schedule_changed, schedule_run; job_retried, job_cancelled.';
comment on column public.logs.event_description is 'What happened, as a sentence.';
comment on column public.logs.document_id is 'To which document; it may be gone.';
comment on column public.logs.created_at is 'When.';

comment on column public.scheduled_jobs.id is 'Made by the database.';
comment on column public.scheduled_jobs.title is 'What people call it.';
comment on column public.scheduled_jobs.description is 'What it does, in a sentence.';
comment on column public.scheduled_jobs.kind is
    'What the runner does: expire_shares, purge_deleted, abandon_uploads, close_accounts, expire_originals, sweep_orphans, prune_history.';
comment on column public.scheduled_jobs.enabled is 'Switched off, it never fires.';

comment on column private.settings.only_row is 'Always true: there is one row.';
comment on column private.settings.invitations_a_day_limit is 'How many times a day one person may share with somebody new.';
comment on column private.settings.log_period is 'How long events are kept in the log.';
comment on column private.settings.job_history_period is 'How long finished jobs are kept.';
comment on column private.settings.orphan_period is 'How old a stored object that nothing names must be before it is swept.';
comment on column private.ended_persons.person_id is 'Whose links end.';
comment on column private.ended_persons.own is 'Whether those to the person''s own documents end too.';
comment on column private.library_sizes.owner_id is 'Whose library.';
comment on column private.library_sizes.live is 'Documents out of the trash.';
comment on column private.library_sizes.trash is 'Documents in the trash.';
comment on column private.library_sizes.counted is 'Documents that count towards the limit.';
comment on column private.library_sizes.counted_bytes is 'What they weigh.';

comment on column jobs.queues.name is 'What jobs name; `default` is the only one at first.';
comment on column jobs.queues.paused is 'While true no job begins.';
comment on column jobs.queues.lease is 'How long a runner may be silent before its job is given to another.';
comment on column jobs.queues.failure_budget is 'How often a job may fail before it is given up.';
comment on column jobs.queues.crash_budget is 'How often a job may stop its runner before it is given up.';
comment on column jobs.queues.backoff_base is 'How long a job rests after its first failure; twice as long after each more.';
comment on column jobs.queues.backoff_cap is 'How long it rests at most.';
comment on column jobs.lanes.queue is 'Of which queue.';
comment on column jobs.lanes.priority is '0: documents; 1: housekeeping.';
comment on column jobs.lanes.clock is 'The sequence that tells which round of owners is being served.';
comment on column jobs.queue.id is 'The job''s number, for good.';
comment on column jobs.queue.queue is 'Which queue it stands in.';
comment on column jobs.queue.kind is 'What is to be done: archive_document, refresh_archive, remove_archive, or what a schedule names.';
comment on column jobs.queue.document_id is 'About which document; null for housekeeping.';
comment on column jobs.queue.args is 'What else the runner must know.';
comment on column jobs.queue.state is 'scheduled: not yet due; pending: waits for a runner; running: a runner has it.';
comment on column jobs.queue.priority is 'Its lane: 0 documents, 1 housekeeping.';
comment on column jobs.queue.run_at is 'Not before.';
comment on column jobs.queue.failures is 'How often it has failed.';
comment on column jobs.queue.crashes is 'How often it has stopped its runner.';
comment on column jobs.queue.worker_id is 'Which runner has it.';
comment on column jobs.queue.claimed_at is 'Since when.';
comment on column jobs.queue.lease_until is 'Until when the runner must give a sign of life.';
comment on column jobs.queue.cancel_requested_at is 'When somebody asked it to stop.';
comment on column jobs.queue.last_error is 'Why it failed last: `code: sentence`.';
comment on column jobs.queue.created_at is 'When it was enqueued.';
comment on column jobs.history.id is 'The job''s number.';
comment on column jobs.history.queue is 'Which queue it stood in.';
comment on column jobs.history.kind is 'What was done.';
comment on column jobs.history.owner_id is 'Whose turn it took.';
comment on column jobs.history.document_id is 'About which document; it may be gone.';
comment on column jobs.history.args is 'What else the runner was told.';
comment on column jobs.history.outcome is
    'succeeded: done; dead: given up, see error; cancelled: stopped by somebody; superseded: no longer wanted.';
comment on column jobs.history.result is 'What the runner found or made.';
comment on column jobs.history.error is 'Why it was given up, or failed last.';
comment on column jobs.history.attempt is 'How often it was begun.';
comment on column jobs.history.failures is 'How often it failed.';
comment on column jobs.history.crashes is 'How often it stopped its runner.';
comment on column jobs.history.worker_id is 'Which runner had it last.';
comment on column jobs.history.created_at is 'When it was enqueued.';
comment on column jobs.history.claimed_at is 'When it was begun for the last time.';
comment on column jobs.history.finished_at is 'When it ended.';
comment on column jobs.attempts.id is 'Made by the database.';
comment on column jobs.attempts.job_id is 'Which job.';
comment on column jobs.attempts.attempt is 'Its how manieth attempt.';
comment on column jobs.attempts.worker_id is 'Which runner tried.';
comment on column jobs.attempts.crashed is 'Whether the runner stopped without a word.';
comment on column jobs.attempts.error is 'Why it failed.';
comment on column jobs.attempts.at is 'When.';
comment on column jobs.runners.id is 'Made by the runner at its start.';
comment on column jobs.runners.host is 'On which machine it runs.';
comment on column jobs.runners.started_at is 'Since when.';
comment on column jobs.runners.seen_at is 'When it was heard of last.';

-- Columns of views: what a name means wherever it stands, and after that what it means in one view.
do $$
declare
    meaning constant jsonb := '{
        "id": "Its number.", "document_id": "Which document.", "name": "The document''s name.",
        "size_bytes": "What the file weighs.", "mime_type": "The media type that was announced.",
        "status": "uploading, queued, processing, ready or failed.", "progress": "Of the processing, 0 to 1.",
        "archive_size_bytes": "What the ZIP weighs.", "created_at": "When it was made.",
        "updated_at": "When it changed last.", "deleted_at": "When it was deleted; null: it was not.",
        "purge_started_at": "Since when its bytes are being removed.", "owner_id": "Whose it is.",
        "owner_name": "First and last name of the owner.", "owner_email": "The owner''s address.",
        "shared_at": "Since when it is shared.", "expires_at": "When the share ends; null: when revoked.",
        "email": "The address.", "error": "What went wrong: `code: sentence`.",
        "shares": "With how many it is shared, invitations included.", "documents": "How many documents.",
        "used_bytes": "What the documents weigh, trash included.", "first_name": "First name.",
        "last_name": "Last name.", "responsibility": "What the person is responsible for.", "roles": "What the person may be.",
        "kind": "What is to be done.", "state": "scheduled, pending or running; or how it ended: succeeded, dead, cancelled, superseded.",
        "document_name": "The document''s name.", "attempt": "How often it was begun.", "failures": "How often it failed.",
        "crashes": "How often it stopped its runner.", "host": "On which machine the runner runs.",
        "run_at": "Not before.", "claimed_at": "When it was begun.", "finished_at": "When it ended.",
        "waiting": "Jobs that wait for a runner.", "scheduled": "Jobs that are not yet due.",
        "running": "Jobs that a runner has.", "oldest_waiting_at": "Since when the oldest of them waits.",
        "finished_last_minute": "Jobs that succeeded within the last minute.",
        "finished_last_hour": "Jobs that succeeded within the last hour.",
        "failed_last_hour": "Jobs that were given up within the last hour.",
        "median_seconds": "How long half of the last hour''s documents took at most.",
        "runners": "Runners that were heard of within 90 seconds.", "paused": "Whether a queue rests.",
        "started_at": "Since when it runs.", "seen_at": "When it was heard of last.",
        "event_name": "What happened; the table logs lists the names.", "event_description": "What happened, as a sentence.",
        "user_id": "Who did it; null: the system.", "user_email": "The address of who did it.",
        "in_trash": "Whether these lie in the trash.", "file_size_limit_bytes": "What one file may weigh.",
        "quota_bytes": "What all documents of a person may weigh.", "documents_limit": "How many documents a person may have.",
        "shares_limit": "With how many people a document may be shared.", "trash_days": "How long the trash is kept, in days.",
        "in_progress": "Documents on their way.", "failed": "Documents that failed.", "trash": "Documents in the trash.",
        "shared_with_me": "Documents that others share with the reader."
    }';
    found record;
begin
    for found in
        select c.oid::regclass as view, a.attname
        from pg_catalog.pg_class c
            join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind = 'v' and c.relnamespace = any (array['public'::regnamespace, 'private'::regnamespace])
            and pg_catalog.col_description(c.oid, a.attnum) is null and meaning ? a.attname
    loop
        execute format('comment on column %s.%I is %L', found.view, found.attname, meaning ->> found.attname);
    end loop;
end;
$$;
comment on column public.document_access.id is 'By this number a share is changed and revoked.';
comment on column public.document_access.email is 'The address that it was shared with.';
comment on column public.admin_users.id is 'The account''s id.';
comment on column public.admin_users.deleted_at is 'When the account was closed; null: it is open.';
comment on column public.admin_logs.owner_id is 'Whom it concerns.';
comment on column public.admin_jobs.owner_id is 'Whose turn it takes; the nil uuid for housekeeping.';

comment on function private.installation_id is 'This installation''s id.';
comment on function private.person_has_role is 'Whether a person''s account is open and has one of these roles.';
comment on function private.refuse_name is 'Refuses a document''s name that has a fault.';
comment on function private.end_access is 'Has links die that somebody signed who may no longer read the document. The caller holds it.';
comment on function private.document_of_key is 'The document that a key of the bucket documents names; null for a key of another form.';
comment on function private.length_in is 'A number of an object''s metadata; null where it is none.';
comment on function private.document_access is 'What public.document_access shows.';
comment on function private.limits is 'What public.limits shows.';
comment on function private.library_counts is 'What public.library_counts shows.';
comment on function private.require_admin is 'Refuses everybody but administrators.';
comment on function private.admin_users is 'What public.admin_users shows; nothing for others.';
comment on function private.admin_jobs is 'What public.admin_jobs shows; nothing for others.';
comment on function private.admin_job_rates is 'What public.admin_job_rates shows; nothing for others.';
comment on function private.admin_runners is 'What public.admin_runners shows; nothing for others.';
comment on function private.find_role is 'The id of a role, or a refusal.';
comment on function private.find_person is 'The profile of a person with an open account, or a refusal.';
comment on function private.mend_schedules is 'Sets right when schedules fire next, after a clock that jumped or a row that lost it.';
comment on function private.has_pg_cron is 'Whether this database has the extension pg_cron.';
comment on function jobs.clock is 'Which round of owners a lane is serving.';
comment on function jobs.place is 'The place of a new job: one round behind its owner''s last.';
comment on function jobs.enqueue_archive is 'Has a document archived.';
comment on function jobs.enqueue_removal is 'Has an archive removed, at once or later.';
comment on function jobs.publish_refresh is 'Publishes an archive that was written anew; false where another came first.';
comment on function jobs.end_jobs is 'Moves jobs to the history.';
comment on function jobs.finish is 'Takes what a runner has done, and publishes archives.';
comment on function jobs.fail is 'Takes what a runner could not do: again later, or given up.';
comment on function jobs.beat is 'Takes signs of life and progress.';
comment on function jobs.give_back is 'Puts jobs to the front of their lane.';
comment on function jobs.claim is 'Gives a runner jobs, owners in turn.';
comment on function jobs.installation_id is 'Tells the runner which installation this is.';
comment on function jobs.request_cancel is 'Cancels a job that waits, asks a running one to stop.';
comment on function jobs.cancel_of_document is 'Cancels whatever is to be made of a document. The caller holds it.';
comment on function jobs.pause is 'No job begins until resume.';
comment on function jobs.resume is 'Jobs begin again.';
comment on function jobs.expire_shares is 'Ends shares and invitations whose time is over, a thousand at a time; how many.';
comment on function jobs.abandon_uploads is 'Gives up uploads that have not ended within two days; how many.';
comment on function jobs.end_links is 'Has links die of one person who lost the right to them, a thousand documents at a time; how many.';
comment on function jobs.prune_history is 'Removes old jobs, runners and events; how many of each.';
comment on function jobs.expire_originals_batch is 'Documents whose original may go once its archive is proven.';
comment on function jobs.document_of_archive is 'The document that a key of the bucket archives names; null for a key of another form.';

-- What stands behind a public function is what the public one says; a trigger function is named after what it does.
do $$
declare
    found record;
begin
    for found in
        select p.oid::regprocedure as name, coalesce(
            (
                select 'Behind ' || q.oid::regprocedure::text || ': ' || pg_catalog.obj_description(q.oid, 'pg_proc')
                from pg_catalog.pg_proc q
                where q.pronamespace = 'public'::regnamespace and q.proname = p.proname
                limit 1
            ),
            case when p.prorettype = 'trigger'::regtype then (
                select 'Trigger of ' || string_agg(distinct t.tgrelid::regclass::text, ', ') || '.'
                from pg_catalog.pg_trigger t
                where t.tgfoid = p.oid
            ) end
        ) as text
        from pg_catalog.pg_proc p
        where p.pronamespace = any (array['private'::regnamespace, 'jobs'::regnamespace])
            and pg_catalog.obj_description(p.oid, 'pg_proc') is null
    loop
        if found.text is not null then
            execute format('comment on function %s is %L', found.name, found.text);
        end if;
    end loop;
end;
$$;
comment on function private.touch is 'Trigger: notes when a row was changed.';
comment on function private.keep_profile is 'Trigger: makes the profile of a new account and keeps its address in step; never an error for Auth.';
comment on function private.close_profile is 'Trigger: closes the profile of an account that was deleted in Auth.';
comment on function private.claim_invitations is 'Trigger: turns invitations into shares once their address is confirmed; never an error for Auth.';
comment on function private.refuse_log_change is 'Trigger: keeps the log append-only.';
comment on function private.admit_document is 'Trigger: decides whether a document may be added, and under which name.';
comment on function private.prepare_document_change is 'Trigger: checks a new name and counts its revision.';
comment on function private.follow_document is 'Trigger: logs additions and renames, and has the archive follow a rename.';
comment on function private.follow_size is 'Trigger: keeps private.library_sizes and holds the limits.';
comment on function private.follow_closing is 'Trigger: logs that an account was closed and ends its links.';
comment on function private.follow_lost_role is 'Trigger: ends the links of somebody without any role.';
comment on function private.copy_sort_keys is 'Trigger: gives a share what its document is sorted by.';
comment on function private.follow_sort_keys is 'Trigger: keeps shares sorted as their document changes.';
comment on function private.guard_last_admin is 'Trigger: keeps the last administrator.';
comment on function private.keep_roles is 'Trigger: keeps the three roles that the rules name.';
comment on function private.log_roles is 'Trigger: logs roles given and taken.';
comment on function private.check_schedule is 'Trigger: refuses a schedule that cannot be read and computes its next time.';
comment on function private.log_schedule is 'Trigger: logs changed schedules.';
comment on function private.keep_pg_cron_in_step is 'Trigger: has pg_cron follow the schedules, where it is installed.';
