-- What was added since everything got its comment: functions behind public ones say what those say.

comment on function private.search_pattern is 'The pattern that finds a text in names, whatever signs it holds.';
do $$
declare
    found record;
begin
    for found in
        select p.oid::regprocedure as name,
            'Behind ' || q.oid::regprocedure::text || ': ' || pg_catalog.obj_description(q.oid, 'pg_proc') as text
        from pg_catalog.pg_proc p
            join pg_catalog.pg_proc q on q.pronamespace = 'public'::regnamespace and q.proname = p.proname
        where p.pronamespace = 'private'::regnamespace and pg_catalog.obj_description(p.oid, 'pg_proc') is null
    loop
        execute format('comment on function %s is %L', found.name, found.text);
    end loop;
end;
$$;
