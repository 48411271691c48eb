"""Schedules: each due time fires once, whoever asks and however many."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.db.conftest import Database, Person, Runner, in_parallel, refused

KINDS = {
    "expire_shares", "purge_deleted", "abandon_uploads", "close_accounts", "expire_originals", "sweep_orphans",
    "prune_history",
}  # fmt: skip


def due(runner: Runner, kind: str = "expire_shares") -> dict[str, Any] | None:
    """A schedule that is due, as a runner is told."""
    return next((row for row in runner.call("due_schedules") if row["kind"] == kind), None)


def make_due(database: Database, kind: str = "expire_shares") -> None:
    database.run("update scheduled_jobs set next_execution_at = now() - interval '1 second' where kind = %s", kind)


def test_every_kind_has_a_schedule_whose_next_time_is_known(database: Database, runner: Runner) -> None:
    # by now some may be due: the template is older than the tests that clone it
    rows = database.run("select kind, next_execution_at, last_execution_at from scheduled_jobs")
    assert {row["kind"] for row in rows} == KINDS
    assert all(row["next_execution_at"] is not None and row["last_execution_at"] is None for row in rows)
    assert all(row["due"] is not None for row in runner.call("due_schedules"))
    assert database.jobs() == []


def test_a_due_schedule_fires_once_and_moves_on(database: Database, runner: Runner) -> None:
    make_due(database)
    row = due(runner)
    assert row is not None
    following = datetime.fromisoformat(row["now"]) + timedelta(minutes=1)
    assert runner.call("fire_schedule", row["id"], row["due"], following) is True
    assert runner.call("fire_schedule", row["id"], row["due"], following) is False
    assert due(runner) is None
    (job,) = database.jobs()
    assert (job["kind"], job["priority"], job["dedupe_key"]) == ("expire_shares", 1, f"schedule:{row['id']}")
    stored = database.run("select last_execution_at, next_execution_at from scheduled_jobs where id = %s", row["id"])[0]
    assert stored == {"last_execution_at": datetime.fromisoformat(row["due"]), "next_execution_at": following}


def test_two_runners_at_one_moment_fire_once(database: Database, runner: Runner) -> None:
    for _ in range(5):
        database.run("delete from jobs.queue")
        make_due(database)
        row = due(runner)
        assert row is not None
        runners = [runner.on(database.second()) for _ in range(3)]
        following = datetime.fromisoformat(row["now"]) + timedelta(minutes=1)
        fired: list[bool] = []

        def fire(
            one: Runner, row: dict[str, Any] = row, following: datetime = following, fired: list[bool] = fired
        ) -> None:
            fired.append(one.call("fire_schedule", row["id"], row["due"], following))

        assert in_parallel(*(lambda r=one: fire(r) for one in runners)) == [None] * 3
        assert sorted(fired) == [False, False, True]
        assert len(database.jobs()) == 1


def test_a_firing_whose_work_is_not_done_makes_no_second_job(database: Database, runner: Runner) -> None:
    for _ in range(3):
        make_due(database)
        row = due(runner)
        assert row is not None
        assert runner.call("fire_schedule", row["id"], row["due"], datetime.fromisoformat(row["now"])) is True
    assert len(database.jobs()) == 1


def test_a_time_in_the_past_never_fires_again(database: Database, runner: Runner) -> None:
    make_due(database)
    row = due(runner)
    assert row is not None
    # a next time that is no later than the last: a clock that was set back, or a fault of the caller
    runner.call("fire_schedule", row["id"], row["due"], row["due"])
    assert runner.call("fire_schedule", row["id"], row["due"], row["due"]) is False


def test_a_disabled_schedule_does_not_fire_and_counts_anew_when_enabled(database: Database, runner: Runner) -> None:
    make_due(database)
    row = due(runner)
    assert row is not None
    database.run("update scheduled_jobs set enabled = false where kind = 'expire_shares'")
    assert due(runner) is None
    assert runner.call("fire_schedule", row["id"], row["due"], row["now"]) is False
    database.run("update scheduled_jobs set enabled = true where kind = 'expire_shares'")
    assert due(runner) is None
    assert database.value("select next_execution_at > now() from scheduled_jobs where kind = 'expire_shares'")
    assert database.jobs() == []


def test_a_new_schedule_forgets_the_next_time_of_the_old(database: Database, runner: Runner) -> None:
    make_due(database)
    row = due(runner)
    assert row is not None
    database.run("update scheduled_jobs set schedule = '0 0 * * *' where kind = 'expire_shares'")
    assert runner.call("fire_schedule", row["id"], row["due"], row["now"]) is False
    assert due(runner) is None
    midnight = database.value("select date_trunc('day', now(), 'UTC') + interval '1 day'")
    assert database.value("select next_execution_at from scheduled_jobs where kind = 'expire_shares'") == midnight


def test_admins_read_the_schedules_and_nobody_changes_them(
    database: Database, owner: Person, admin: Person, anonymous: Person
) -> None:
    assert len(admin.run("select * from scheduled_jobs")) == len(KINDS)
    assert owner.run("select * from scheduled_jobs") == []
    for person in (admin, owner, anonymous):
        with refused("42501"):
            person.run("update scheduled_jobs set enabled = false")
    with refused("42501"):
        anonymous.run("select * from scheduled_jobs")
    assert database.value("select bool_and(enabled) from scheduled_jobs")


def test_an_admin_sets_a_schedule_and_reads_where_a_bad_one_is_wrong(
    database: Database, owner: Person, admin: Person
) -> None:
    schedule = database.value("select id from scheduled_jobs where kind = 'prune_history'")
    with refused("PT422", "schedule_invalid"):
        admin.call("admin_set_schedule", schedule, "0 25 * * *")
    with pytest.raises(psycopg.Error, match='"0 25 \\* \\* \\*" cannot be read at position 3: "25" is no hour'):
        admin.call("admin_set_schedule", schedule, "0 25 * * *")
    for person, code in ((owner, "not_allowed"), (database.sign_up("viewer@example.test"), "not_allowed")):
        with refused("PT403", code):
            person.call("admin_set_schedule", schedule, "1 2 * * *")
    assert database.value("select schedule from scheduled_jobs where id = %s", schedule) == "57 3 * * *"
    following = admin.call("admin_set_schedule", schedule, " 1 2 * * * ")
    row = database.run("select schedule, next_execution_at from scheduled_jobs where id = %s", schedule)[0]
    assert row == {"schedule": "1 2 * * *", "next_execution_at": following}
    with refused("PT404", "schedule_not_found"):
        admin.call("admin_set_schedule", owner.id, "1 2 * * *")


def test_each_change_of_an_admin_is_logged_once_and_no_change_never(database: Database, admin: Person) -> None:
    schedule = database.value("select id from scheduled_jobs where kind = 'prune_history'")
    for enabled in (False, False, True):
        admin.call("admin_enable_schedule", schedule, enabled)
    admin.call("admin_set_schedule", schedule, "1 2 * * *")
    admin.call("admin_set_schedule", schedule, "1 2 * * *")
    rows = database.run("select user_id, event_description from logs where event_name = 'schedule_changed' order by id")
    assert [row["event_description"] for row in rows] == [
        "“Prune history and logs” runs no more", "“Prune history and logs” runs at 57 3 * * * UTC",
        "“Prune history and logs” runs at 1 2 * * * UTC",
    ]  # fmt: skip
    assert {str(row["user_id"]) for row in rows} == {admin.id}


def test_how_long_until_the_next_is_due(database: Database, runner: Runner) -> None:
    database.run("update scheduled_jobs set enabled = kind = 'prune_history'")
    database.run("update scheduled_jobs set next_execution_at = now() + interval '1 hour' where enabled")
    seconds = runner.call("seconds_to_schedule")
    assert 3500 < seconds <= 3600
    make_due(database, "prune_history")
    assert runner.call("seconds_to_schedule") < 0
    database.run("update scheduled_jobs set enabled = false")
    assert runner.call("seconds_to_schedule") is None


def test_maintenance_that_the_database_does_not_know_is_null(runner: Runner) -> None:
    assert runner.call("run_maintenance", "nonsense") is None
