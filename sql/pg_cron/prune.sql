-- Removes pg_cron's records of our runs beyond an age. The schedule "Prune history and logs" does so every night, too.

-- name: prune
select private.prune_pg_cron(make_interval(days => %(days)s));
