"""Firing under every fault of the clock: nothing is lost, nothing fires twice, and what was missed fires once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs.runner.schedules import fire_due

from .conftest import Database, Runner, in_parallel


def row_of(database: Database, kind: str = "expire_shares") -> dict[str, Any]:
    return database.run("select *, now() from scheduled_jobs where kind = %s", kind)[0]


def place(database: Database, last: str | None, following: str | None, kind: str = "expire_shares") -> None:
    """Set a schedule's times to intervals from now."""
    database.run(
        "update scheduled_jobs set last_execution_at = now() + %s::interval, next_execution_at = now() + %s::interval"
        " where kind = %s",
        last, following, kind,
    )  # fmt: skip


def beat(runner: Runner) -> int:
    """One look of a runner at what is due, by the runner's own code; how many fired."""

    def call(name: str, *parameters: Any) -> Any:
        if name == "due_schedules":
            now = runner.database.value("select clock_timestamp()")
            return {"now": now.isoformat(), "schedules": runner.call("due_schedules")}
        return runner.call(name, *parameters)

    return fire_due(call)


def call_from_pg_cron(database: Database, kind: str = "expire_shares") -> bool:
    """What pg_cron does, as the role that it does it in."""
    with database.superuser.transaction():
        database.run("set local role postgres")
        return bool(database.value("select jobs.fire_from_pg_cron(%s)", row_of(database, kind)["id"]))


def test_nothing_is_due_before_its_time(database: Database, runner: Runner) -> None:
    place(database, None, "1 hour", "prune_history")
    database.run("update scheduled_jobs set schedule = '0 0 1 1 *' where kind = 'prune_history'")
    database.run("update scheduled_jobs set enabled = false where kind <> 'prune_history'")
    assert beat(runner) == 0
    assert call_from_pg_cron(database, "prune_history") is False
    assert database.jobs() == []


def test_three_days_of_silence_are_made_up_for_once(database: Database, runner: Runner) -> None:
    place(database, "-3 days", "-3 days 1 minute")
    assert beat(runner) == 1
    assert beat(runner) == 0
    row = row_of(database)
    assert row["now"] < row["next_execution_at"] <= row["now"] + timedelta(minutes=1)
    assert len(database.jobs("expire_shares")) == 1


def test_three_days_of_silence_are_made_up_for_once_by_pg_cron_too(database: Database) -> None:
    place(database, "-3 days", "-3 days 1 minute")
    assert [call_from_pg_cron(database) for _ in range(3)] == [True, False, False]
    row = row_of(database)
    assert row["now"] < row["next_execution_at"] <= row["now"] + timedelta(minutes=1)
    assert len(database.jobs("expire_shares")) == 1


def test_pg_cron_and_runners_at_one_moment_fire_once(database: Database, runner: Runner) -> None:
    for _ in range(10):
        database.run("delete from jobs.queue")
        place(database, "-2 minutes", "-1 second")
        others = [database.second() for _ in range(4)]
        fired: list[int] = []

        def by_runner(other: Database, fired: list[int] = fired) -> None:
            fired.append(beat(runner.on(other)))

        def by_pg_cron(other: Database, fired: list[int] = fired) -> None:
            fired.append(call_from_pg_cron(other))

        tasks = [lambda o=others[0]: by_runner(o), lambda o=others[1]: by_runner(o)]  # type: ignore[misc]
        tasks += [lambda o=others[2]: by_pg_cron(o), lambda o=others[3]: by_pg_cron(o)]  # type: ignore[misc]
        assert in_parallel(*tasks) == [None] * 4
        # the other schedules may fall due meanwhile; this one fired once
        assert len(database.jobs("expire_shares")) == 1
        for other in others:
            other.superuser.close()


def test_each_due_time_has_a_job_once_the_one_before_is_done(database: Database, runner: Runner) -> None:
    for _ in range(3):
        place(database, "-2 minutes", "-1 second")
        assert beat(runner) == 1
        (job,) = [job for job in runner.claim(10) if job["kind"] == "expire_shares"]
        runner.finish(job)
    assert database.outcomes("expire_shares") == ["succeeded"] * 3


def test_a_clock_set_back_a_little_is_waited_for(database: Database, runner: Runner) -> None:
    # it fired at what is now 20 minutes ahead
    place(database, "20 minutes", "21 minutes")
    assert beat(runner) == 0
    assert call_from_pg_cron(database) is False
    row = row_of(database)
    assert row["next_execution_at"] - row["last_execution_at"] == timedelta(minutes=1)
    assert database.jobs() == []


def test_a_clock_set_back_a_year_loses_no_firing(database: Database, runner: Runner) -> None:
    place(database, "365 days", "365 days 1 minute")
    assert beat(runner) == 0
    row = row_of(database)
    assert row["now"] < row["next_execution_at"] <= row["now"] + timedelta(minutes=1)
    assert row["last_execution_at"] <= row["now"]
    database.run("update scheduled_jobs set next_execution_at = now() where kind = 'expire_shares'")
    assert beat(runner) == 1


def test_a_daily_one_whose_clock_was_a_week_ahead_comes_today(database: Database, runner: Runner) -> None:
    place(database, "7 days", "8 days", "prune_history")
    beat(runner)
    row = row_of(database, "prune_history")
    assert row["now"] < row["next_execution_at"] <= row["now"] + timedelta(days=1)


def test_a_clock_set_forward_a_year_and_back_fires_once_each(database: Database, runner: Runner) -> None:
    place(database, "-1 minute", "-1 second")
    due = runner.call("due_schedules")[0]
    ahead = datetime.fromisoformat(due["now"]) + timedelta(days=365)
    # a runner whose database stood a year ahead computed this
    assert runner.call("fire_schedule", due["id"], due["due"], ahead) is True
    assert beat(runner) == 0
    row = row_of(database)
    assert row["next_execution_at"] <= row["now"] + timedelta(minutes=1)
    assert len(database.jobs("expire_shares")) == 1


def test_a_lost_or_backward_next_time_is_set_right(database: Database, runner: Runner) -> None:
    for last, following in (("-1 minute", None), ("-1 minute", "-5 minutes"), (None, None)):
        place(database, last, following)
        assert beat(runner) == 0
        row = row_of(database)
        assert row["now"] < row["next_execution_at"] <= row["now"] + timedelta(minutes=1)


def test_a_row_that_another_holds_stalls_no_runner(database: Database, runner: Runner) -> None:
    database.run("update scheduled_jobs set next_execution_at = null where kind = 'expire_shares'")
    other = database.second()
    with other.superuser.transaction():
        other.run("select from scheduled_jobs where kind = 'expire_shares' for update")
        assert beat(runner) == 0
    beat(runner)
    assert row_of(database)["next_execution_at"] is not None


def test_every_so_many_seconds_counts_from_the_last_start(database: Database) -> None:
    database.run("update scheduled_jobs set schedule = '30 seconds' where kind = 'expire_shares'")
    # pg_cron's call comes a moment early, since it counts from the start of its own last run
    place(database, "-29.9 seconds", "0.1 seconds")
    assert [call_from_pg_cron(database) for _ in range(2)] == [True, False]
    place(database, "-10 seconds", "20 seconds")
    assert call_from_pg_cron(database) is False


def test_pg_cron_s_call_of_a_disabled_or_removed_schedule_does_nothing(database: Database) -> None:
    place(database, None, "-1 second")
    database.run("update scheduled_jobs set enabled = false where kind = 'expire_shares'")
    assert row_of(database)["next_execution_at"] is None
    assert call_from_pg_cron(database) is False
    assert database.value("select jobs.fire_from_pg_cron(gen_random_uuid())") is False
    assert database.jobs() == []
