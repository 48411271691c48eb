"""Who gets which job when: fairness, limits, leases, lanes, pauses, several runners at a time."""

from __future__ import annotations

import uuid
from collections import Counter

from tests.db.conftest import Database, Person, Runner, in_parallel

NIL = "00000000-0000-0000-0000-000000000000"


def enqueue(database: Database, owner_id: str, number: int = 1, kind: str = "noop", priority: int = 0) -> list[int]:
    """Jobs without a document, in one transaction."""
    rows = database.run(
        "select jobs.enqueue(%s, %s, null, '{}', null, null, %s::smallint) as id from generate_series(1, %s)",
        kind, owner_id, priority, number,
    )  # fmt: skip
    return [row["id"] for row in rows]


def test_a_hundredth_job_stands_behind_everybodys_first(database: Database, runner: Runner) -> None:
    busy, others = str(uuid.uuid4()), [str(uuid.uuid4()) for _ in range(5)]
    enqueue(database, busy, 100)
    for other in others:
        enqueue(database, other, 2)
    owners = [job["owner_id"] for job in runner.claim(18)]
    assert Counter(owners[:6]) == Counter([busy, *others])
    assert Counter(owners[6:12]) == Counter([busy, *others])
    assert owners[12:] == [busy] * 6


def test_a_newcomer_stands_behind_what_is_claimed_only(database: Database, runner: Runner) -> None:
    busy, newcomer = str(uuid.uuid4()), str(uuid.uuid4())
    enqueue(database, busy, 50)
    runner.claim(20)
    enqueue(database, newcomer)
    assert newcomer in [job["owner_id"] for job in runner.claim(2)]


def test_jobs_of_one_owner_keep_their_order(database: Database, runner: Runner) -> None:
    ids = enqueue(database, str(uuid.uuid4()), 20)
    assert [job["id"] for _ in range(4) for job in runner.claim(5)] == ids


def test_a_claim_takes_no_more_than_it_wants_and_nothing_twice(database: Database, runner: Runner) -> None:
    ids = enqueue(database, str(uuid.uuid4()), 7)
    assert runner.exchange(want=0, sweep=True)["claimed"] == []
    first, second, third = runner.claim(3), runner.claim(3), runner.claim(3)
    assert [len(claim) for claim in (first, second, third)] == [3, 3, 1]
    assert sorted(job["id"] for job in first + second + third) == ids
    assert runner.claim(3) == []


def test_two_runners_at_a_time_share_and_take_nothing_twice(database: Database) -> None:
    ids = enqueue(database, str(uuid.uuid4()), 400)
    runners = [database.second().runner() for _ in range(3)]
    taken: list[int] = []

    def drain(runner: Runner) -> None:
        while claimed := runner.claim(10):
            taken.extend(job["id"] for job in claimed)

    assert in_parallel(*(lambda r=runner: drain(r) for runner in runners)) == [None] * 3
    assert sorted(taken) == ids
    workers = database.run("select worker_id, count(*) from jobs.queue group by worker_id")
    assert sum(row["count"] for row in workers) == 400


def test_a_job_that_another_transaction_holds_is_passed_over(database: Database) -> None:
    first, second = enqueue(database, str(uuid.uuid4()), 2)
    other = database.second()
    with database.superuser.transaction():
        database.run("select 1 from jobs.queue where id = %s for update", first)
        assert [job["id"] for job in other.runner().claim(2)] == [second]
    assert [job["id"] for job in other.runner().claim(2)] == [first]


def test_a_claim_from_a_floor_misses_nothing_once_swept(database: Database, runner: Runner) -> None:
    owner = str(uuid.uuid4())
    enqueue(database, owner, 30)
    clocks = runner.exchange(want=10)["clocks"]
    assert clocks["0"] > 0
    # committed late: a position behind the clock
    (late,) = enqueue(database, str(uuid.uuid4()))
    database.run("update jobs.queue set pos = id where id = %s", late)
    claimed = runner.exchange(want=100, floors={"0": clocks["0"], "1": 0})["claimed"]
    assert late not in [job["id"] for job in claimed]
    assert [job["id"] for job in runner.exchange(want=100, sweep=True)["claimed"]] == [late]


def test_floors_hide_no_job_of_an_owner_who_comes_back(database: Database, runner: Runner) -> None:
    owner = str(uuid.uuid4())
    for _ in range(5):
        enqueue(database, owner)
        clocks = runner.exchange(want=1)["clocks"]
        enqueue(database, owner)
        assert len(runner.exchange(want=1, floors=clocks)["claimed"]) == 1


def test_a_clock_that_stepped_back_hides_nothing(database: Database, runner: Runner) -> None:
    enqueue(database, str(uuid.uuid4()), 20)
    runner.claim(10)
    database.run("select setval('jobs.archive_clock', 1)")
    enqueue(database, str(uuid.uuid4()), 3)
    assert len(runner.claim(100)) == 13


def test_housekeeping_has_its_share_beside_a_backlog_of_archives(database: Database, runner: Runner) -> None:
    enqueue(database, str(uuid.uuid4()), 300)
    enqueue(database, NIL, 3, "housekeeping", 1)
    kinds = Counter(job["kind"] for job in runner.claim(8))
    assert kinds == {"noop": 6, "housekeeping": 2}
    # one at a time: every fourth claim or so begins with housekeeping (missed in 200 with a chance of 1e-25)
    assert "housekeeping" in [job["kind"] for _ in range(200) for job in runner.claim(1)]


def test_an_idle_lane_leaves_its_share_to_the_other(database: Database, runner: Runner) -> None:
    enqueue(database, str(uuid.uuid4()), 8)
    assert len(runner.claim(8)) == 8
    enqueue(database, NIL, 8, "housekeeping", 1)
    assert len(runner.claim(8)) == 8


def test_a_paused_queue_gives_no_job_but_takes_results(database: Database, owner: Person, runner: Runner) -> None:
    owner.store(owner.document())
    (job,) = runner.claim()
    owner.store(owner.document())
    database.run("select jobs.pause()")
    answer = runner.exchange(want=10, sweep=True)
    assert (answer["paused"], answer["claimed"]) == (True, [])
    assert runner.publish(job)["lost"] == []
    database.run("select jobs.resume()")
    assert len(runner.claim(10)) == 1


def test_a_scheduled_job_is_due_at_its_time_and_not_before(database: Database, runner: Runner) -> None:
    database.run("select jobs.enqueue('later', null, null, '{}', null, now() + interval '90 seconds')")
    answer = runner.exchange(want=10, sweep=True)
    assert answer["claimed"] == []
    assert 80 < answer["next_due_seconds"] <= 90
    database.run("update jobs.queue set run_at = now() - interval '1 second'")
    assert runner.exchange(want=0)["next_due_seconds"] == 0
    assert [job["kind"] for job in runner.claim(10)] == ["later"]
    assert runner.exchange(want=0)["next_due_seconds"] is None


def test_due_jobs_of_one_owner_do_not_jump_the_others(database: Database, runner: Runner) -> None:
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    database.run(
        "select jobs.enqueue('due', %s, null, '{}', null, now() + interval '1 minute') from generate_series(1, 20)", one
    )
    database.run("update jobs.queue set run_at = now() - interval '1 second'")
    runner.exchange(want=0, sweep=True)
    enqueue(database, other, 2)
    assert other in [job["owner_id"] for job in runner.claim(2)]


def test_a_key_admits_one_unfinished_job(database: Database, runner: Runner) -> None:
    statement = "select jobs.enqueue('once', null, null, '{}', 'the key')"
    assert database.value(statement) is not None
    assert database.value(statement) is None
    (job,) = runner.claim()
    assert database.value(statement) is None
    runner.finish(job)
    assert database.value(statement) is not None


def test_every_enqueue_wakes_the_listeners(database: Database, owner: Person, runner: Runner) -> None:
    listener = database.second().superuser
    listener.execute("listen instashare_jobs")

    def heard() -> list[str]:
        return [notice.payload for notice in listener.notifies(timeout=5, stop_after=1)]

    owner.store(owner.document())
    assert heard() == ["default"]
    (job,) = runner.claim()
    runner.release(job)
    assert heard() == ["default"]


def test_the_exchange_tells_who_is_alive(database: Database, runner: Runner) -> None:
    runner.exchange()
    (row,) = database.run("select * from jobs.runners")
    assert (str(row["id"]), row["host"]) == (runner.id, "test")
    database.run("update jobs.runners set seen_at = now() - interval '1 minute'")
    runner.exchange()
    assert database.value("select seen_at > now() - interval '10 seconds' from jobs.runners")


def test_claims_and_beats_are_heap_only_updates(database: Database, runner: Runner) -> None:
    enqueue(database, str(uuid.uuid4()), 50)
    before = database.run("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'queue'")[0]
    claimed = runner.claim(50)
    for _ in range(3):
        runner.exchange(beats=[{"id": job["id"], "attempt": job["attempt"], "progress": None} for job in claimed])
    database.run("select pg_stat_force_next_flush()")
    after = database.run("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'queue'")[0]
    updates = after["n_tup_upd"] - before["n_tup_upd"]
    assert updates == 200
    assert after["n_tup_hot_upd"] - before["n_tup_hot_upd"] >= updates * 0.8
