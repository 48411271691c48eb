"""Cron strings in the database: refused on write in the runner's own words, and reckoned as the runner reckons them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import psycopg

from jobs.runner.schedules import ScheduleError, next_time
from tests.unit.runner.bad_schedules import BAD
from tests.unit.runner.schedule_cases import read_cases
from tests.unit.runner.test_schedule_cases import invent

from .conftest import Database, refused

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def reckon(database: Database, schedule: str, after: datetime) -> datetime | None:
    found: datetime | None = database.value("select private.next_execution(%s, %s)", schedule, after)
    return found


def complaint(database: Database, schedule: str) -> tuple[str, str] | None:
    """The sentence and the cure with which the database refuses to write a schedule."""
    try:
        database.run("update scheduled_jobs set schedule = %s where kind = 'prune_history'", schedule)
    except psycopg.Error as error:
        assert (error.sqlstate, error.diag.message_detail) == ("PT422", "schedule_invalid")
        return error.diag.message_primary or "", error.diag.message_hint or ""
    return None


def own_complaint(schedule: str) -> tuple[str, str] | None:
    """The same of the runner and the command line."""
    try:
        next_time(schedule, NOON)
    except ScheduleError as fault:
        return str(fault), fault.cure
    return None


def test_the_database_agrees_with_the_table(database: Database) -> None:
    # whatever zone a session has
    database.run("set timezone = 'Pacific/Chatham'")
    for schedule, after, due in read_cases():
        assert reckon(database, schedule, after) == due, (schedule, after)


def test_invented_schedules_are_reckoned_alike(database: Database) -> None:
    rng = random.Random("database")
    for _ in range(300):
        schedule = invent(rng)
        after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randint(0, 4 * 366 * 86400))
        try:
            due = next_time(schedule, after)
        except ScheduleError:
            assert complaint(database, schedule) == own_complaint(schedule)
            continue
        assert reckon(database, schedule, after) == due, (schedule, after)


def test_bad_ones_are_refused_in_the_same_words(database: Database) -> None:
    before = database.run("select * from scheduled_jobs order by id")
    for schedule, position, problem in BAD:
        said = complaint(database, schedule)
        assert said is not None, schedule
        assert f"at position {position}: {problem}." in said[0]
        assert said == own_complaint(schedule), schedule
    assert database.run("select * from scheduled_jobs order by id") == before


def test_spoilt_ones_are_refused_in_the_same_words(database: Database) -> None:
    rng = random.Random("spoilt")
    refusals = 0
    for _ in range(1500):
        text = list(rng.choice([invent(rng), "@daily", "30 seconds", "0 0 $ * *"]))
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(text))
            text[at] = rng.choice(
                ["", " ", "\t", "*", "/", "-", ",", "$", "#", "L", "w", "@", "7", "99", "é", "x", text[at] * 2]
            )
        schedule = "".join(text)
        said = complaint(database, schedule)
        assert said == own_complaint(schedule), repr(schedule)
        refusals += said is not None
    assert 300 < refusals < 1500


def test_a_good_one_is_written_with_its_next_time(database: Database) -> None:
    for schedule in ("0 3 * * *", "@weekly", "*/5 9-17 * * mon-fri", "30 seconds", "0 0 $ * *"):
        assert complaint(database, schedule) is None
        row = database.run("select *, now() from scheduled_jobs where kind = 'prune_history'")[0]
        assert row["next_execution_at"] > row["now"]
        if "seconds" not in schedule:
            assert row["next_execution_at"] == next_time(schedule, row["now"])


def test_a_new_row_is_checked_as_well(database: Database) -> None:
    insert = "insert into scheduled_jobs (title, schedule, description, kind) values ('Mine', %s, '', 'prune_history')"
    with refused("PT422", "schedule_invalid"):
        database.run(insert, "0 25 * * *")
    database.run(insert, "0 23 * * *")
    assert (
        database.value(
            "select extract(hour from next_execution_at at time zone 'UTC') from scheduled_jobs where title = 'Mine'"
        )
        == 23
    )


def test_a_change_is_logged_once_and_a_firing_never(database: Database) -> None:
    database.run("update scheduled_jobs set schedule = '1 2 * * *' where kind = 'prune_history'")
    database.run("update scheduled_jobs set enabled = false where kind = 'prune_history'")
    database.run("update scheduled_jobs set last_execution_at = now() where kind = 'expire_shares'")
    database.run("delete from scheduled_jobs where kind = 'prune_history'")
    rows = database.run("select event_description from logs where event_name = 'schedule_changed' order by id")
    assert [row["event_description"] for row in rows] == [
        "“Prune history and logs” runs at 1 2 * * * UTC", "“Prune history and logs” runs no more",
        "Removed the schedule “Prune history and logs”",
    ]  # fmt: skip
