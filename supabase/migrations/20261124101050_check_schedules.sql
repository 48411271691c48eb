-- Cron strings: a bad one is refused on write, with the place of the fault and a cure, and the next time of a good one
-- is known at once. Rules and words are those of jobs/runner/cron.py: what pg_cron's parser and the runner's cronsim
-- read alike is allowed, the rest refused. Times are UTC.

create function private.read_cron_field(
    field text, number integer, start integer,
    out problem text, out cure text, out place integer, out numbers integer[]
)
language plpgsql
immutable
set search_path = ''
as $$
declare
    title constant text := (array['minute', 'hour', 'day', 'month', 'weekday'])[number];
    lowest constant integer := (array[0, 0, 1, 1, 0])[number];
    highest constant integer := (array[59, 23, 31, 12, 7])[number];
    names constant text[] := case number
        when 4 then array['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
        when 5 then array['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
        else '{}'
    end;
    usual constant text := format(
        'Write %s to %s%s, *, a range or a list.', lowest, highest,
        case when names <> '{}' then format(' or %s to %s', names[1], names[cardinality(names)]) else '' end
    );
    item text;
    parts text[];
    ends integer[];
    word text;
    step integer;
begin
    numbers := '{}';
    if field = '$' and number = 3 then
        return;
    end if;
    place := start;
    cure := usual;
    foreach item in array string_to_array(field, ',') loop
        if item = '' then
            problem := format('the %s has an empty entry', title);
            return;
        end if;
        if item ~ '[#?$]' then
            word := substring(item from '[#?$]');
            place := place + strpos(item, word) - 1;
            problem := format('"%s" has no meaning here', word);
            cure := 'Write numbers, names, *, ranges, lists or steps; $ alone as the day is the month''s last.';
            return;
        end if;
        if number in (3, 5) and item ~* '[lw]$' then
            problem := format('"%s" has no meaning here', item);
            cure := 'Write $ alone as the day for the month''s last day, or a range.';
            return;
        end if;
        -- from, to, step
        parts := regexp_match(item, '^([^-/]*)(?:-([^-/]*))?(?:/([^-/]*))?$');
        if parts is null then
            problem := format('"%s" is no %s', item, title);
            return;
        end if;
        if parts[1] = '*' and parts[2] is null then
            ends := array[lowest, highest];
        else
            ends := '{}';
            foreach word in array parts[1:2] loop
                exit when word is null;
                ends := ends || coalesce(
                    array_position(names, lower(word)) - 1 + lowest,
                    case when word ~ '^[0-9]{1,2}$' and word::integer between lowest and highest then word::integer end
                );
                if ends[cardinality(ends)] is null then
                    place := place + case when cardinality(ends) = 2 then char_length(parts[1]) + 1 else 0 end;
                    problem := format('"%s" is no %s', word, title);
                    return;
                end if;
            end loop;
            if ends[2] < ends[1] then
                problem := format('the range "%s-%s" runs backwards', parts[1], parts[2]);
                cure := 'Write the smaller number first, or two ranges with a comma; Sunday is 0 and 7.';
                return;
            end if;
            if parts[2] is null and parts[3] is not null then
                problem := format('the step in "%s" has no range', item);
                cure := format('Write a range before the step: %s-%s/%s.', parts[1], highest, parts[3]);
                return;
            end if;
        end if;
        step := 1;
        if parts[3] is not null then
            if parts[3] !~ '^[0-9]{1,2}$' or parts[3]::integer not between 1 and highest then
                place := place + char_length(item) - char_length(parts[3]);
                problem := format('"%s" is no step', parts[3]);
                cure := format('Write a step of 1 to %s.', highest);
                return;
            end if;
            step := parts[3]::integer;
        end if;
        numbers := numbers || array(select pg_catalog.generate_series(ends[1], coalesce(ends[2], ends[1]), step));
        place := place + char_length(item) + 1;
    end loop;
    numbers := array(select distinct one.number from unnest(numbers) as one (number) order by one.number);
end;
$$;
comment on function private.read_cron_field is 'The numbers that one field of a cron string names, or what is wrong with it.';

create function private.read_schedule(
    schedule text,
    out problem text, out cure text, out place integer, out normal text, out seconds integer,
    out minutes integer[], out hours integer[], out days integer[], out months integer[], out weekdays integer[],
    out last_day boolean, out day_and_weekday boolean
)
language plpgsql
immutable
set search_path = ''
as $$
declare
    form constant text := 'Write five fields in UTC (minute hour day month weekday), for example 0 3 * * *.';
    titles constant text[] := array['minute', 'hour', 'day', 'month', 'weekday'];
    macros constant jsonb := jsonb_build_object(
        '@hourly', '0 * * * *', '@daily', '0 0 * * *', '@midnight', '0 0 * * *', '@weekly', '0 0 * * 0',
        '@monthly', '0 0 1 * *', '@yearly', '0 0 1 1 *', '@annually', '0 0 1 1 *'
    );
    fields text[] := array(
        select one.match[1] from pg_catalog.regexp_matches(schedule, '[^\t ]+', 'g') with ordinality as one (match, n)
        order by one.n
    );
    starts integer[] := '{}';
    reading record;
    longest integer;
begin
    place := char_length(substring(schedule from '^[\t -~]*')) + 1;
    cure := form;
    if place <= char_length(schedule) then
        problem := 'this character belongs to no schedule';
        return;
    end if;
    place := 1;
    normal := substring(schedule from '(?i)^[\t ]*([0-9]{1,9})[\t ]*seconds?[\t ]*$');
    if normal is not null then
        if normal::integer between 1 and 59 then
            seconds := normal::integer;
            normal := seconds || ' seconds';
        else
            place := strpos(schedule, normal);
            problem := format('"%s" is not between 1 and 59 seconds', normal);
            cure := 'Write 1 to 59 seconds, or five fields: */2 * * * * is every two minutes.';
        end if;
        return;
    end if;
    if fields = '{}' then
        problem := 'it is empty';
        return;
    end if;
    for number in 1 .. cardinality(fields) loop
        -- behind the field before, past the blanks
        place := case when number = 1 then 1 else starts[number - 1] + char_length(fields[number - 1]) end;
        starts := starts || place + char_length(substring(substring(schedule from place) from '^[\t ]*'));
    end loop;
    if starts_with(fields[1], '@') then
        normal := macros ->> lower(fields[1]);
        if cardinality(fields) > 1 then
            place := starts[2];
            problem := format('nothing may follow "%s"', fields[1]);
            cure := 'Write the word alone, or five fields.';
            return;
        end if;
        place := starts[1];
        if lower(fields[1]) in ('@reboot', '@restart') then
            problem := format('"%s" is no time', fields[1]);
            cure := 'Write a time; what was missed while nothing ran is made up for once, without being asked.';
            return;
        elsif normal is null then
            problem := format('"%s" is unknown', fields[1]);
            cure := 'Write @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually, or five fields.';
            return;
        end if;
        fields := string_to_array(normal, ' ');
        starts := array[1, 1, 1, 1, 1];
    elsif cardinality(fields) < 5 then
        place := starts[cardinality(fields)] + char_length(fields[cardinality(fields)]);
        problem := format('the %s is missing', titles[cardinality(fields) + 1]);
        return;
    elsif cardinality(fields) > 5 then
        place := starts[6];
        problem := 'nothing may follow the weekday';
        cure := 'Write five fields; seconds have a form of their own: 30 seconds.';
        return;
    end if;
    normal := array_to_string(fields, ' ');
    for number in 1 .. 5 loop
        reading := private.read_cron_field(fields[number], number, starts[number]);
        if reading.problem is not null then
            problem := reading.problem;
            cure := reading.cure;
            place := reading.place;
            return;
        end if;
        case number
            when 1 then minutes := reading.numbers;
            when 2 then hours := reading.numbers;
            when 3 then days := reading.numbers;
            when 4 then months := reading.numbers;
            when 5 then weekdays := array(select distinct one.number % 7 from unnest(reading.numbers) as one (number));
        end case;
    end loop;
    last_day := fields[3] = '$';
    -- Vixie's rule: both must match if one of the fields begins with a star, else one of them is enough
    day_and_weekday := last_day or starts_with(fields[3], '*') or starts_with(fields[5], '*');
    if last_day then
        if fields[5] <> '*' then
            place := starts[5];
            problem := 'with $ as the day the weekday must be *';
            cure := 'Write * as the weekday.';
        end if;
    elsif day_and_weekday then
        longest := (
            select max((array[31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[one.number]) from unnest(months) as one (number)
        );
        if days[1] > longest then
            place := starts[3];
            problem := format('day %s never comes in such a month', days[1]);
            cure := 'Write a day that the month has, or $ for its last day.';
        end if;
    end if;
end;
$$;
comment on function private.read_schedule is
    'A cron string read, or the problem with it, the place (characters from 1) and a cure. `normal` is the form that pg_cron takes.';

create function private.next_execution(schedule text, after timestamptz)
returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
declare
    plan record := private.read_schedule(schedule);
    earliest timestamp := date_trunc('minute', after at time zone 'UTC') + interval '1 minute';
    day date := earliest::date;
    due timestamp;
    of_month boolean;
    of_week boolean;
begin
    if plan.problem is not null then
        return null;
    elsif plan.seconds is not null then
        return after + make_interval(secs => plan.seconds);
    end if;
    -- a leap day on one weekday comes at least once in 40 years
    while day < earliest + interval '50 years' loop
        if extract(month from day) <> all (plan.months) then
            day := date_trunc('month', day::timestamp) + interval '1 month';
            continue;
        end if;
        of_month := case
            when plan.last_day then extract(month from day + 1) <> extract(month from day)
            else extract(day from day) = any (plan.days)
        end;
        of_week := extract(dow from day) = any (plan.weekdays);
        if (case when plan.day_and_weekday then of_month and of_week else of_month or of_week end) then
            select day + make_interval(hours => h.number, mins => m.number) into due
            from unnest(plan.hours) as h (number), unnest(plan.minutes) as m (number)
            where day + make_interval(hours => h.number, mins => m.number) >= earliest
            order by 1
            limit 1;
            if found then
                return due at time zone 'UTC';
            end if;
        end if;
        day := day + 1;
    end loop;
    return null;
end;
$$;
comment on function private.next_execution is 'The first time behind another that a schedule names (UTC); null where there is none.';

create function private.check_schedule()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    plan record;
    renewed boolean := tg_op = 'INSERT';
begin
    if not renewed then
        renewed := new.schedule <> old.schedule or new.enabled <> old.enabled;
    end if;
    if renewed then
        plan := private.read_schedule(new.schedule);
        if plan.problem is not null then
            perform private.refuse(
                422, 'schedule_invalid',
                format(
                    'The schedule "%s" cannot be read at position %s: %s.',
                    regexp_replace(left(new.schedule, 100), '[^\t -~]', '?', 'g'), plan.place, plan.problem
                ),
                plan.cure
            );
        end if;
        if not new.enabled then
            new.next_execution_at := null;
        elsif tg_op = 'UPDATE' or new.next_execution_at is null then
            new.next_execution_at := private.next_execution(new.schedule, now());
        end if;
    end if;
    return new;
end;
$$;
drop trigger forget_next_execution on public.scheduled_jobs;
drop function private.forget_next_execution();
create trigger check_schedule before insert or update on public.scheduled_jobs
for each row execute function private.check_schedule();

create function private.log_schedule()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.log_event(
        'schedule_changed',
        case tg_op
            when 'DELETE' then format('Removed the schedule “%s”', old.title)
            else format('“%s” runs %s', new.title, case when new.enabled then format('at %s UTC', new.schedule) else 'no more' end)
        end,
        null, null
    );
    return null;
end;
$$;
create trigger log_schedule after insert or delete on public.scheduled_jobs
for each row execute function private.log_schedule();
create trigger log_schedule_change after update on public.scheduled_jobs
for each row when ((old.title, old.schedule, old.kind, old.enabled) is distinct from (new.title, new.schedule, new.kind, new.enabled))
execute function private.log_schedule();

-- What an operator wrote before there was a check is switched off rather than fired at a wrong time.
update public.scheduled_jobs s set enabled = false
where s.enabled and (private.read_schedule(s.schedule)).problem is not null;

create function private.mend_schedules()
returns void
language sql
set search_path = ''
as $$
    -- A next time may be missing, lie behind the last one, or lie far ahead because the clock was ahead when it was
    -- computed. A clock that went back by less than an hour is waited for, so that nothing fires twice; from an hour on
    -- the times are reckoned anew, so that nothing waits for a date that was never meant.
    update public.scheduled_jobs s
    set last_execution_at = w.last_at, next_execution_at = private.next_execution(s.schedule, greatest(now(), w.last_at))
    from (
        select c.id,
            case when c.last_execution_at >= now() + interval '1 hour' then now() else c.last_execution_at end as last_at
        from public.scheduled_jobs c
        where c.enabled and (
            (c.next_execution_at is null and private.next_execution(c.schedule, now()) is not null)
            or c.next_execution_at <= c.last_execution_at
            or (
                c.next_execution_at > now() + interval '1 hour'
                and c.next_execution_at > private.next_execution(c.schedule, now() + interval '1 hour')
            )
        )
        for no key update skip locked
    ) w
    where w.id = s.id;
$$;

-- What is written knows its next time, so no runner has to compute the first one.
drop function jobs.set_next_execution(uuid, text, timestamptz);

create or replace function jobs.due_schedules()
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    perform private.mend_schedules();
    return (
        select coalesce(jsonb_agg(jsonb_build_object(
            'id', s.id, 'kind', s.kind, 'schedule', s.schedule, 'due', s.next_execution_at, 'now', now()
        ) order by s.next_execution_at), '[]')
        from public.scheduled_jobs s
        where s.enabled and s.next_execution_at <= now()
    );
end;
$$;

comment on function jobs.due_schedules is 'Enabled schedules that are due, once lost and stray times are set right.';
comment on column public.scheduled_jobs.schedule is
    'When, in UTC: five cron fields (minute hour day month weekday), @daily and its like, $ as the month''s last day, or 1 second to 59 seconds.';
comment on column public.scheduled_jobs.last_execution_at is 'The due time that fired last.';
comment on column public.scheduled_jobs.next_execution_at is 'Computed from the schedule; null while it is switched off.';
select private.mend_schedules();

revoke execute on all functions in schema jobs from public;
revoke execute on all functions in schema private from public;
