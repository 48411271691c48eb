-- Makes the extension in this database. The server must have it among its shared_preload_libraries, and its
-- cron.database_name must be this database; a hosted project has both.

-- name: install
do $$
declare
    keeper constant name := (select p.proowner::regrole from pg_catalog.pg_proc p where p.oid = 'private.sync_pg_cron()'::regprocedure);
begin
    create extension if not exists pg_cron;
    if not has_schema_privilege(keeper, 'cron', 'usage') then
        execute format('grant usage on schema cron to %I', keeper);
    end if;
end;
$$;
