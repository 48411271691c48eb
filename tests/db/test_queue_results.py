"""What becomes of a job: finished, failed, crashed, cancelled, given back; and who is refused when."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.db.conftest import Database, Person, Runner, refused


def queued(database: Database, owner: Person, name: str = "a.txt") -> str:
    document = owner.document(name)
    owner.store(document)
    return document


def entry(job: dict[str, Any]) -> dict[str, Any]:
    return {"id": job["id"], "attempt": job["attempt"]}


# the fence -----------------------------------------------------------------------------------------------------------


def test_whatever_a_lapsed_lease_tells_is_lost(database: Database, owner: Person, runner: Runner) -> None:
    document = queued(database, owner)
    (stale,) = runner.claim()
    database.lapse(stale)
    second = database.runner()
    (job,) = second.claim()
    assert (job["id"], job["attempt"], job["crashes"]) == (stale["id"], 2, 1)
    before = owner.row(document)
    assert runner.publish(stale)["lost"] == [stale["id"]]
    assert runner.fail(stale, retryable=False)["lost"] == [stale["id"]]
    assert runner.beat(stale, 0.9)["lost"] == [stale["id"]]
    runner.release(stale)
    assert owner.row(document) == before
    assert database.value("select worker_id from jobs.queue") == uuid.UUID(second.id)
    second.publish(job)
    assert owner.row(document)["archive_path"].endswith(f"{job['id']}-2.zip")
    assert database.outcomes() == ["succeeded"]


def test_a_lapsed_lease_that_nobody_took_is_still_its_holders(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    database.lapse(job)
    assert runner.beat(job)["lost"] == []
    assert database.value("select lease_until > now() + interval '50 seconds' from jobs.queue")
    database.lapse(job)
    assert runner.publish(job)["lost"] == []
    assert owner.row(document)["status"] == "ready"


def test_another_runner_cannot_end_a_job_by_knowing_its_number(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    thief = database.runner()
    assert thief.publish(job)["lost"] == [job["id"]]
    assert thief.fail(job)["lost"] == [job["id"]]
    assert thief.beat(job)["lost"] == [job["id"]]
    assert owner.row(document)["status"] == "processing"


def test_a_result_of_an_earlier_attempt_is_not_taken_for_the_present_one(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = queued(database, owner)
    (first,) = runner.claim()
    database.lapse(first)
    (second,) = runner.claim()
    result = {"archive_size_bytes": 1, "name_revision": 1}
    runner.exchange(
        finished=[
            {**entry(second), "outcome": "succeeded", "result": {**result, "archive_path": "right"}},
            {**entry(first), "outcome": "succeeded", "result": {**result, "archive_path": "stale"}},
        ]
    )
    assert owner.row(document)["archive_path"] == "right"


def test_a_lost_reply_is_found_in_the_history(database: Database, owner: Person, runner: Runner) -> None:
    queued(database, owner)
    (job,) = runner.claim()
    assert runner.call("find_finished", job["id"], job["attempt"], runner.id) is None
    runner.publish(job)
    answer = runner.finish(job, archive_path="x", archive_size_bytes=1, name_revision=1)
    assert answer["lost"] == [job["id"]]
    assert runner.call("find_finished", job["id"], job["attempt"], runner.id) == "succeeded"
    assert runner.call("find_finished", job["id"], job["attempt"] + 1, runner.id) is None
    assert runner.call("find_finished", job["id"], job["attempt"], str(uuid.uuid4())) is None


def test_several_ends_in_one_call_are_each_judged_alone(database: Database, owner: Person, runner: Runner) -> None:
    documents = [queued(database, owner, f"{n}.txt") for n in range(4)]
    jobs = {job["document_id"]: job for job in runner.claim(4)}
    good, gone, late, bad = (jobs[document] for document in documents)
    owner.call("delete_document", documents[1])
    database.lapse(late)
    other = database.runner()
    other.claim(1)
    answer = runner.exchange(
        finished=[
            {
                **entry(job),
                "outcome": "succeeded",
                "result": {"archive_path": str(job["id"]), "archive_size_bytes": 1, "name_revision": 1},
            }
            for job in (good, gone, late)
        ],
        failed=[{**entry(bad), "error": "x: y", "retryable": False}],
    )
    assert (answer["lost"], answer["superseded"], answer["busy"]) == ([late["id"]], [gone["id"]], [])
    states = [database.value("select status from documents where id = %s", document) for document in documents]
    assert states == ["ready", "queued", "processing", "failed"]
    assert {row["id"]: row["outcome"] for row in database.run("select id, outcome from jobs.history")} == {
        good["id"]: "succeeded", gone["id"]: "cancelled", bad["id"]: "dead",
    }  # fmt: skip


# busy ----------------------------------------------------------------------------------------------------------------


def test_nothing_waits_for_a_document_that_another_transaction_holds(
    database: Database, owner: Person, runner: Runner
) -> None:
    held_document, free_document = queued(database, owner), queued(database, owner)
    jobs = {job["document_id"]: job for job in runner.claim(2)}
    held, free = jobs[held_document], jobs[free_document]
    other = database.second()
    speaker = runner.on(other)
    other.run("set lock_timeout = '100ms'")
    with database.superuser.transaction():
        database.run("select 1 from documents where id = %s for update", held_document)
        answer = speaker.exchange(
            finished=[
                {
                    **entry(job),
                    "outcome": "succeeded",
                    "result": {"archive_path": str(job["id"]), "archive_size_bytes": 1, "name_revision": 1},
                }
                for job in (held, free)
            ]
        )
        assert (answer["busy"], answer["lost"], answer["superseded"]) == ([held["id"]], [], [])
        assert speaker.fail(held)["busy"] == [held["id"]]
        assert speaker.beat(held, 0.5)["lost"] == []
        for outcome in ("superseded", "cancelled"):
            assert speaker.finish(held, outcome)["busy"] == [held["id"]]
        other.run("update jobs.queue set lease_until = now() - interval '1 second'")
        speaker.exchange(want=1, sweep=True)
    assert owner.row(free_document)["status"] == "ready"
    assert database.value("select crashes from jobs.queue where id = %s", held["id"]) == 0
    assert database.value("select count(*) from jobs.attempts") == 0
    assert speaker.publish(held)["busy"] == []
    assert owner.row(held_document)["status"] == "ready"


def test_a_job_that_another_transaction_holds_is_busy_and_beats_later(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    other = database.second()
    speaker = runner.on(other)
    other.run("set lock_timeout = '100ms'")
    with database.superuser.transaction():
        database.run("select 1 from jobs.queue for update")
        assert speaker.finish(job, archive_path="x", archive_size_bytes=1, name_revision=1)["busy"] == [job["id"]]
        assert speaker.fail(job)["busy"] == [job["id"]]
        assert speaker.release(job)["busy"] == [job["id"]]
        answer = speaker.beat(job, 0.5)
        assert (answer["lost"], answer["cancelled"]) == ([], [])
    assert speaker.release(job)["busy"] == []
    assert owner.row(document)["status"] == "queued"


def test_a_claim_while_the_document_is_held_shows_processing_with_the_next_beat(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = queued(database, owner)
    other = database.second()
    with database.superuser.transaction():
        database.run("select 1 from documents where id = %s for update", document)
        (job,) = runner.on(other).claim()
    assert owner.row(document)["status"] == "queued"
    runner.beat(job, 0.25)
    assert (owner.row(document)["status"], owner.row(document)["progress"]) == ("processing", 0.25)


# failing -------------------------------------------------------------------------------------------------------------


def test_a_failure_backs_off_and_tells_the_owner_why(database: Database, owner: Person, runner: Runner) -> None:
    document = queued(database, owner)
    for failures in range(1, 4):
        (job,) = runner.claim()
        assert (job["attempt"], job["failures"]) == (failures, failures - 1)
        assert runner.fail(job)["lost"] == []
        row = owner.row(document)
        assert (row["status"], row["progress"], row["error"]) == ("queued", 0, "storage_down: Storage is down.")
        wait = database.value("select extract(epoch from run_at - now()) from jobs.queue")
        assert 5 * 2 ** (failures - 1) * 0.5 - 2 < wait <= 5 * 2 ** (failures - 1)
        assert runner.claim() == []
        database.run("update jobs.queue set run_at = now()")
    (job,) = runner.claim()
    runner.publish(job)
    assert (owner.row(document)["status"], owner.row(document)["error"]) == ("ready", None)
    assert database.value("select count(*) from jobs.attempts where not crashed") == 3


def test_the_backoff_has_a_cap_however_often_a_job_failed(database: Database, owner: Person, runner: Runner) -> None:
    queued(database, owner)
    database.run("update jobs.queues set failure_budget = 1000000")
    for failures in (20, 900, 50_000):
        database.run("update jobs.queue set failures = %s, run_at = now()", failures)
        (job,) = runner.claim()
        runner.fail(job)
        wait = database.value("select extract(epoch from run_at - now()) from jobs.queue")
        assert 1790 < wait <= 3600


def test_past_the_budget_a_job_is_dead_with_the_reason_that_the_owner_reads(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = queued(database, owner)
    for _ in range(8):
        assert owner.row(document)["status"] == "queued"
        database.run("update jobs.queue set run_at = now()")
        (job,) = runner.claim()
        runner.fail(job, "storage_down: Storage is down.")
    row = owner.row(document)
    assert (row["status"], row["error"]) == ("failed", "storage_down: Storage is down.")
    assert database.jobs() == []
    assert database.run("select outcome, error, failures from jobs.history") == [
        {"outcome": "dead", "error": "storage_down: Storage is down.", "failures": 8}
    ]
    assert owner.value("select event_description from logs where event_name = 'failed'") == row["error"]


def test_the_removal_of_an_archive_is_not_given_up(database: Database, runner: Runner) -> None:
    """Links that were signed to it live as long as it does."""
    database.run(
        "select jobs.enqueue('remove_archive', null, null, '{\"archive_path\": \"a/b/c.zip\"}', 'remove:c', null, "
        "1::smallint)"
    )
    for _ in range(12):
        database.run("update jobs.queue set run_at = now()")
        (job,) = runner.claim()
        runner.fail(job)
    assert [(job["kind"], job["failures"]) for job in database.jobs()] == [("remove_archive", 12)]


def test_a_failure_that_cannot_be_retried_is_final_at_once(database: Database, owner: Person, runner: Runner) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    runner.fail(job, "source_missing: Gone.", retryable=False)
    assert (owner.row(document)["status"], owner.row(document)["error"]) == ("failed", "source_missing: Gone.")
    assert database.outcomes() == ["dead"]


@pytest.mark.parametrize("error", ["", None, "x" * 5000, "año 💾\n\t"])
def test_any_reason_is_kept_within_its_column(
    database: Database, owner: Person, runner: Runner, error: str | None
) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    runner.exchange(failed=[{**entry(job), "error": error, "retryable": False}])
    kept = owner.row(document)["error"]
    assert kept == (error or "unknown: No reason was given.")[:1000]


def test_a_revocation_is_never_given_up(database: Database, owner: Person, runner: Runner) -> None:
    document = owner.ready(runner)
    owner.call("delete_document", document)
    (job,) = runner.claim()
    for _ in range(12):
        runner.fail(job)
        database.run("update jobs.queue set run_at = now()")
        (job,) = runner.claim()
    assert (job["kind"], job["failures"]) == ("refresh_archive", 12)


# crashing ------------------------------------------------------------------------------------------------------------


def test_the_third_crash_is_the_last(database: Database, owner: Person, runner: Runner) -> None:
    document = queued(database, owner)
    for crashes in range(3):
        (job,) = runner.claim()
        assert job["crashes"] == crashes
        runner.beat(job, 0.5)
        database.lapse(job)
    assert runner.claim() == []
    row = owner.row(document)
    assert row["status"] == "failed"
    assert row["error"].startswith("poison: Processing this file stopped its runner 3 times.")
    assert database.value("select count(*) from jobs.attempts where crashed") == 3
    assert database.outcomes() == ["dead"]


def test_a_crash_shows_the_document_as_queued_again(database: Database, owner: Person, runner: Runner) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    runner.beat(job, 0.7)
    database.lapse(job)
    runner.exchange(sweep=True)
    assert (owner.row(document)["status"], owner.row(document)["progress"]) == ("queued", 0)


def test_one_sweeper_at_a_time(database: Database, owner: Person, runner: Runner) -> None:
    queued(database, owner)
    (job,) = runner.claim()
    database.lapse(job)
    other = database.second()
    with database.superuser.transaction():
        database.run("select jobs.sweep('default')")
        assert other.runner().exchange(want=1, sweep=True)["claimed"] == []
    assert database.value("select crashes from jobs.queue") == 1


# giving back ---------------------------------------------------------------------------------------------------------


def test_a_job_given_back_counts_as_no_failure_and_comes_next(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    for _ in range(5):
        queued(database, owner)
    runner.release(job)
    assert owner.row(document)["status"] == "queued"
    (again,) = database.runner().claim()
    assert (again["id"], again["attempt"], again["failures"], again["crashes"]) == (job["id"], 2, 0, 0)


# cancelling ----------------------------------------------------------------------------------------------------------


def test_deleting_ends_a_waiting_job_at_once(database: Database, owner: Person, runner: Runner) -> None:
    document = queued(database, owner)
    owner.call("delete_document", document)
    assert database.jobs() == []
    assert database.outcomes() == ["cancelled"]
    assert runner.claim() == []
    assert owner.row(document)["status"] == "queued"


def test_deleting_stops_a_running_job_with_the_next_beat(database: Database, owner: Person, runner: Runner) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    owner.call("delete_document", document)
    assert (owner.row(document)["status"], owner.row(document)["progress"]) == ("queued", 0)
    for _ in range(2):
        assert runner.beat(job, 0.5)["cancelled"] == [job["id"]]
    assert owner.row(document)["status"] == "queued"
    runner.finish(job, "cancelled")
    assert (database.jobs(), database.outcomes()) == ([], ["cancelled"])


@pytest.mark.parametrize("end", ["publish", "fail", "release", "lapse", "cancelled", "superseded"])
def test_however_a_cancelled_job_ends_the_restored_document_has_one_of_its_own(
    database: Database, owner: Person, runner: Runner, end: str
) -> None:
    document = queued(database, owner)
    (first,) = runner.claim()
    owner.call("delete_document", document)
    owner.call("restore_document", document)
    (second,) = database.runner().claim()
    assert second["id"] != first["id"]
    if end == "publish":
        assert runner.publish(first)["superseded"] == [first["id"]]
    elif end == "fail":
        runner.fail(first, retryable=False)
    elif end == "release":
        runner.release(first)
    elif end == "lapse":
        database.lapse(first)
        runner.exchange(sweep=True)
    else:
        runner.finish(first, end)
    assert owner.row(document)["status"] == "processing"
    assert [job["id"] for job in database.jobs()] == [second["id"]]
    (row,) = database.run("select worker_id from jobs.queue")
    Runner(database, str(row["worker_id"])).publish(second)
    assert owner.row(document)["archive_path"].endswith(f"{second['id']}-1.zip")
    assert database.jobs() == []


@pytest.mark.parametrize("state", ["waiting", "running", "scheduled"])
def test_a_document_whose_job_the_operator_cancels_can_be_retried_by_its_owner(
    database: Database, owner: Person, runner: Runner, state: str
) -> None:
    document = queued(database, owner)
    if state != "waiting":
        (job,) = runner.claim()
    if state == "scheduled":
        runner.fail(job)
    number = database.value("select id from jobs.queue")
    answer = database.value("select jobs.cancel_job(%s)", number)
    assert answer == ("cancelling" if state == "running" else "cancelled")
    if state == "running":
        assert runner.beat(job)["cancelled"] == [number]
        runner.finish(job, "cancelled")
    row = owner.row(document)
    assert (row["status"], row["error"].split(":")[0]) == ("failed", "cancelled")
    assert database.outcomes() == ["cancelled"]
    assert owner.call("retry_document", document)["status"] == "queued"
    (job,) = runner.claim()
    runner.publish(job)
    assert owner.row(document)["status"] == "ready"


def test_a_result_that_comes_after_the_operators_cancel_is_refused(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    database.run("select jobs.cancel_job(%s)", job["id"])
    assert runner.publish(job)["superseded"] == [job["id"]]
    assert owner.row(document)["status"] == "failed"
    assert database.outcomes() == ["cancelled"]


def test_cancelling_what_is_not_there_says_so(database: Database) -> None:
    assert database.value("select jobs.cancel_job(4711)") is None
    assert database.value("select jobs.retry_job(4711)") is None


def test_an_operator_retries_a_dead_job_once_it_can_be_done(database: Database, owner: Person, runner: Runner) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    runner.fail(job, retryable=False)
    again = database.value("select jobs.retry_job(%s)", job["id"])
    assert again is not None
    assert owner.row(document)["status"] == "queued"
    assert database.value("select jobs.retry_job(%s)", job["id"]) is None
    (job,) = runner.claim()
    runner.publish(job)
    assert owner.row(document)["status"] == "ready"
    # neither what succeeded nor what was deleted
    assert database.value("select jobs.retry_job(%s)", job["id"]) is None


def test_an_unknown_queue_is_an_error_and_nothing_is_taken(runner: Runner) -> None:
    with refused("P0002"):
        runner.exchange(queue="nonsense", want=1)


def test_progress_is_clamped_and_only_ever_of_the_archiving(database: Database, owner: Person, runner: Runner) -> None:
    document = queued(database, owner)
    (job,) = runner.claim()
    for sent, shown in ((0.3, 0.3), (7, 1), (-1, 0), (None, 0)):
        runner.beat(job, sent)
        assert owner.row(document)["progress"] == pytest.approx(shown)
    runner.publish(job)
    owner.run("update documents set name = 'b.txt' where id = %s", document)
    (job,) = runner.claim()
    runner.beat(job, 0.5)
    assert (owner.row(document)["status"], owner.row(document)["progress"]) == ("ready", 1)
