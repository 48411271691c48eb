-- What the runner says to the database, each in one statement: functions of schema jobs are all it may reach.

-- name: exchange
select jobs.exchange(%s::uuid, %s::text, %s::jsonb);

-- name: find_finished
select jobs.find_finished(%s::bigint, %s::integer, %s::uuid);

-- name: installation_id
select jobs.installation_id()::text;

-- name: run_maintenance
select jobs.run_maintenance(%s::text);

-- name: purge_batch
select jobs.purge_batch(%s::integer, %s::uuid);

-- name: finish_purge
select jobs.finish_purge(%s::uuid);

-- name: expire_originals_batch
select jobs.expire_originals_batch(%s::integer);

-- name: finish_expire_original
select jobs.finish_expire_original(%s::uuid, %s::text, %s::boolean);

-- The keys of one bucket that nothing names, behind a key, in order.
-- name: orphan_keys
select coalesce(jsonb_agg(key order by key), '[]') from jobs.orphan_keys(%s::text, %s::text, %s::integer) as orphans (key);

-- The database's clock is the only clock: "now" comes with what is due.
-- name: due_schedules
select jsonb_build_object('now', clock_timestamp(), 'schedules', jobs.due_schedules());

-- name: seconds_to_schedule
select jobs.seconds_to_schedule();

-- name: fire_schedule
select jobs.fire_schedule(%s::uuid, %s::timestamptz, %s::timestamptz);
