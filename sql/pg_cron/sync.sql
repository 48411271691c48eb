-- Brings cron.job in step with public.scheduled_jobs; does nothing where the extension is absent.

-- name: sync
select private.sync_pg_cron();
