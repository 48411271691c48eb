-- Unschedules everything of ours and leaves the extension; the runner fires alone from then on.

-- name: remove
select private.leave_pg_cron();
