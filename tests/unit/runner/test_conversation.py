"""The conversation as a story: what it tells the database, when, and what it does when nobody answers."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from jobs.errors import SettingsError
from jobs.kinds.job import Job, JobFailed, JobSuperseded, Result, Tools
from jobs.runner.identity import Unreachable
from jobs.storage import StorageUnavailable


def path_of(job: Job) -> str:
    return f"{job.id}-{job.attempt}.zip"


def publish(job: Job, tools: Tools) -> Result:
    return {"archive_path": path_of(job)}


class Gate:
    """A kind that works until it is let go, checking its lease as the engine does."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.ended: list[str] = []

    def __call__(self, job: Job, tools: Tools) -> Result:
        self.begun.release()
        try:
            while not self.open.wait(0.02):
                tools.lease.check()
        except Exception as error:
            self.ended.append(str(error))
            raise
        return {"archive_path": path_of(job)}


def test_what_is_enqueued_is_done_and_told_once(stand: Any) -> None:
    stand.kinds["work"] = publish
    jobs = [stand.line.add("work") for _ in range(50)]
    stand.start()
    stand.until(lambda: len(stand.line.history) == 50)
    assert {job: outcome for job, (outcome, _, _) in stand.line.history.items()} == dict.fromkeys(jobs, "succeeded")
    told = [entry["id"] for message in stand.line.messages for entry in message["finished"]]
    assert sorted(told) == jobs
    assert stand.discarded == []


def test_a_job_announced_to_an_idle_runner_starts_at_once(stand: Any) -> None:
    stand.kinds["work"] = publish
    stand.start()
    stand.until(lambda: stand.line.messages)
    job = stand.add("work")
    stand.until(lambda: job in stand.line.history, 2)  # the backstop would come after 16 s at the earliest


def test_no_more_is_claimed_than_there_are_slots(stand: Any) -> None:
    stand.kinds["work"] = gate = Gate()
    for _ in range(5):
        stand.line.add("work")
    stand.start()
    stand.until(lambda: len(stand.line.running) == 2)
    gate.begun.acquire()
    gate.begun.acquire()
    assert not gate.begun.acquire(timeout=0.2)
    assert max(message["want"] for message in stand.line.messages) == 2
    gate.open.set()
    stand.until(lambda: len(stand.line.history) == 5)


def test_failures_say_why_and_whether_to_try_again(stand: Any) -> None:
    def final(job: Job, tools: Tools) -> Result:
        raise JobFailed("source_missing", "The uploaded file is no longer in storage.", retryable=False)

    def broken(job: Job, tools: Tools) -> Result:
        raise ZeroDivisionError("secret detail")

    def unspeakable(job: Job, tools: Tools) -> Result:
        raise JobFailed("odd", "a\0b \udc80", retryable=True)

    stand.kinds |= {"final": final, "broken": broken, "unspeakable": unspeakable}
    for kind in ("final", "broken", "unspeakable", "unknown"):
        stand.line.add(kind)
    stand.start()
    stand.until(lambda: len(stand.line.failed) == 4)
    told = {entry["id"]: (entry["error"], entry["retryable"]) for entry in stand.line.failed}
    assert told[1] == ("source_missing: The uploaded file is no longer in storage.", False)
    assert told[2][0].startswith("internal_error: ") and told[2][1]
    assert "secret detail" not in told[2][0]
    assert told[3] == ("odd: ab ?", True)
    assert told[4][0].startswith("unknown_kind: ") and told[4][1]


def test_a_superseded_job_is_told_as_such_and_its_archive_goes(stand: Any) -> None:
    def noticed(job: Job, tools: Tools) -> Result:
        raise JobSuperseded

    stand.kinds |= {"work": publish, "noticed": noticed}
    late = stand.line.add("work")
    early = stand.line.add("noticed")
    stand.line.superseding.add(late)
    stand.start()
    stand.until(lambda: len(stand.line.history) == 2)
    assert stand.line.history[early][0] == "superseded"
    stand.until(lambda: stand.discarded == [f"{late}-1.zip"])


def test_busy_entries_are_sent_again(stand: Any) -> None:
    stand.kinds["work"] = publish
    job = stand.line.add("work")
    stand.line.busy_once.add(job)
    stand.start()
    stand.until(lambda: job in stand.line.history)
    assert sum(entry["id"] == job for message in stand.line.messages for entry in message["finished"]) == 2
    assert stand.discarded == []


def test_beats_extend_the_lease_with_progress(stand: Any) -> None:
    stand.line.lease_seconds = 0.8

    def slow(job: Job, tools: Tools) -> Result:
        tools.lease.progress = 0.25
        tools.lease.pause(2.0)  # more than two leases
        return {}

    stand.kinds["work"] = slow
    job = stand.line.add("work")
    stand.start()
    stand.until(lambda: job in stand.line.history)
    beats = [entry for message in stand.line.messages for entry in message["beats"]]
    assert len(beats) >= 5
    assert {(beat["id"], beat["attempt"], beat["progress"]) for beat in beats} <= {(job, 1, 0.25), (job, 1, None)}


def test_a_cancelled_job_stops_within_a_second_and_says_so(stand: Any) -> None:
    stand.line.lease_seconds = 1.0
    stand.kinds["work"] = gate = Gate()
    job = stand.line.add("work")
    stand.start()
    gate.begun.acquire()
    stand.line.cancelling.add(job)
    stand.until(lambda: job in stand.line.history, 2)
    assert stand.line.history[job][0] == "cancelled"
    assert gate.ended == ["cancelled"]


def test_a_job_whose_lease_was_taken_stops_and_says_nothing(stand: Any) -> None:
    stand.line.lease_seconds = 1.0
    stand.kinds["work"] = gate = Gate()
    job = stand.line.add("work")
    stand.start()
    gate.begun.acquire()
    with stand.line.lock:
        stand.line.running[job]["runner_id"] = "somebody else"
    stand.until(lambda: gate.ended == ["lost"])
    stand.until(lambda: stand.conversation._ledger.is_empty)
    assert not [entry for message in stand.line.messages for entry in (*message["finished"], *message["failed"])]


def test_a_late_result_is_refused_and_its_archive_goes(stand: Any) -> None:
    stand.kinds["work"] = gate = Gate()
    job = stand.line.add("work")
    stand.start()
    gate.begun.acquire()
    with stand.line.lock:
        stand.line.running[job] |= {"runner_id": "somebody else", "attempt": 2}
    gate.open.set()
    stand.until(lambda: stand.discarded == [f"{job}-1.zip"])
    assert ("find_finished", (job, 1, stand.line.messages[0]["runner_id"])) in stand.line.asked
    assert job not in stand.line.history


def test_after_a_lost_reply_the_archive_that_was_published_stays(stand: Any) -> None:
    stand.kinds["work"] = publish
    dropped: list[int] = []

    def drop_the_answer(message: dict[str, Any]) -> None:
        if message["finished"] and not dropped:
            dropped.append(message["finished"][0]["id"])
            stand.line.drop()

    stand.line.after = drop_the_answer
    job = stand.line.add("work")
    stand.start()
    stand.until(lambda: any(name == "find_finished" for name, _ in stand.line.asked))
    stand.until(lambda: stand.conversation._ledger.is_empty)
    assert stand.line.history[job][0] == "succeeded"
    assert stand.discarded == []


def test_a_broken_connection_brings_a_new_id_and_costs_the_running_job_nothing(stand: Any) -> None:
    stand.line.lease_seconds = 2.0
    stand.kinds["work"] = gate = Gate()
    first = stand.line.add("work")
    stand.start()
    gate.begun.acquire()
    claimed_by = stand.line.running[first]["runner_id"]
    broken: list[bool] = []

    def drop_a_beat(message: dict[str, Any]) -> None:
        if message["beats"] and not broken:
            broken.append(True)
            stand.line.drop()

    stand.line.before = drop_a_beat
    stand.until(lambda: stand.line.opened == 2)
    second = stand.add("work")
    gate.begun.acquire()
    assert stand.line.running[second]["runner_id"] != claimed_by
    gate.open.set()
    stand.until(lambda: len(stand.line.history) == 2)
    assert stand.line.history[first] == ("succeeded", 1, claimed_by)
    assert stand.line.history[second][0] == "succeeded"


def test_jobs_stop_by_themselves_when_nobody_hears_their_beats(stand: Any) -> None:
    stand.line.lease_seconds = 1.0
    stand.kinds["work"] = gate = Gate()
    job = stand.line.add("work")
    stand.start()
    gate.begun.acquire()
    stand.line.refuse_to_open = [psycopg.OperationalError("connection refused") for _ in range(3)]
    stand.line.before = lambda message: stand.line.drop() if stand.line.opened == 1 else None
    started = time.monotonic()
    stand.until(lambda: gate.ended == ["lapsed"], 3)
    assert time.monotonic() - started < 2
    # when the database is back the job is given back under its old id, for the lease may still be good
    stand.until(lambda: job in stand.line.released)


def test_a_refused_entry_does_not_silence_the_others(stand: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.kinds["work"] = publish
    stand.kinds["poison"] = publish
    poison = stand.line.add("poison")
    jobs = [stand.line.add("work") for _ in range(3)]

    def refuse(message: dict[str, Any]) -> None:
        if any(entry["id"] == poison for entry in message["finished"]):
            raise psycopg.errors.CheckViolation("refused")

    stand.line.before = refuse
    stand.start()
    stand.until(lambda: all(job in stand.line.history for job in jobs), 20)
    stand.until(lambda: stand.conversation._ledger.is_empty, 20)
    assert poison not in stand.line.history


def test_a_job_asks_the_database_through_the_conversation(stand: Any) -> None:
    answers: list[Any] = []

    def asking(job: Job, tools: Tools) -> Result:
        answers.append(tools.ask("purge_batch", 5, None))
        answers.append(threading.current_thread().name)
        tools.ask("finish_purge", "x")
        return {}

    stand.line.answers = {
        "purge_batch": lambda *parameters: [*parameters, threading.current_thread() is stand.thread],
        "finish_purge": psycopg.errors.InsufficientPrivilege("no"),
    }
    stand.kinds["work"] = asking
    stand.line.add("work")
    stand.start()
    stand.until(lambda: stand.line.failed)
    assert answers[0] == [5, None, True]
    assert answers[1].startswith("slot-")
    assert stand.line.failed[0]["error"].startswith("database_error: ") and stand.line.failed[0]["retryable"]
    assert stand.line.opened == 1


def test_the_first_signal_lets_jobs_end_and_claims_no_more(stand: Any) -> None:
    stand.kinds["work"] = gate = Gate()
    jobs = [stand.line.add("work") for _ in range(3)]
    stand.start()
    gate.begun.acquire()
    gate.begun.acquire()
    stand.conversation.stop()
    asked = len(stand.line.messages)
    gate.open.set()
    stand.until(lambda: not stand.thread.is_alive())
    assert sorted(stand.line.history) == jobs[:2]
    assert all(message["want"] == 0 for message in stand.line.messages[asked:])
    assert [job["id"] for job in stand.line.waiting] == jobs[2:]


def test_the_second_signal_gives_running_jobs_back_at_once(stand: Any) -> None:
    stand.kinds["work"] = gate = Gate()
    job = stand.line.add("work")
    stand.start()
    gate.begun.acquire()
    stand.conversation.stop()
    stand.conversation.stop(at_once=True)
    stand.until(lambda: not stand.thread.is_alive(), 2)
    assert stand.line.released == [job]
    assert stand.line.failed == [] and stand.line.history == {}
    assert gate.ended == ["stopping"]


def test_prefetched_jobs_behind_a_long_one_are_given_back(stand: Any) -> None:
    gate = Gate()
    stand.kinds |= {"short": lambda job, tools: {}, "long": gate}
    for _ in range(300):
        stand.line.add("short")
    stand.start()
    stand.until(lambda: len(stand.line.history) == 300)
    stand.until(lambda: stand.conversation._ledger.is_empty)
    assert max(message["want"] for message in stand.line.messages) > 2
    stand.line.before = lambda message: None
    with stand.line.lock:
        long = [{"id": 1000 + n, "kind": "long", "attempt": 0} for n in range(10)]
        stand.line.waiting += long
        stand.line.news = True
    stand.conversation._wake.poke()
    gate.begun.acquire()
    gate.begun.acquire()
    stand.until(lambda: len(stand.line.running) == 2, 5)
    assert len(stand.line.waiting) == 8
    gate.open.set()
    stand.until(lambda: len(stand.line.history) == 310)


def test_it_waits_while_an_address_is_unreachable(stand: Any) -> None:
    stand.kinds["work"] = publish
    tries = []

    def identify() -> str:
        tries.append(True)
        if len(tries) < 3:
            raise Unreachable("SUPABASE_URL does not answer: refused")
        return str(stand.line.answers.get("installation_id", "5f6f9d0e-9a53-4c67-8b6b-0d8f7f1f0b01"))

    stand.identify = identify
    stand.line.refuse_to_open = [psycopg.OperationalError("the database system is starting up")]
    job = stand.line.add("work")
    stand.start()
    stand.until(lambda: job in stand.line.history)
    assert len(tries) == 4 and stand.fault is None


def test_it_refuses_two_installations(stand: Any) -> None:
    stand.line.answers["installation_id"] = "another"
    stand.line.add("work")
    stand.start()
    stand.until(lambda: not stand.thread.is_alive())
    assert isinstance(stand.fault, SettingsError) and stand.fault.code == "installations_differ"
    assert stand.fault.exit_code == 2
    assert stand.line.messages == []


def test_it_refuses_to_go_on_in_another_installation(stand: Any) -> None:
    stand.start()
    stand.until(lambda: stand.line.messages)
    stand.line.answers["installation_id"] = "another"
    stand.line.is_open = False
    stand.conversation._wake.poke()
    stand.until(lambda: not stand.thread.is_alive())
    assert isinstance(stand.fault, SettingsError) and stand.fault.code == "installation_changed"


def test_schedules_fire_from_the_conversation(stand: Any) -> None:
    stand.line.schedules = [
        {"id": "a", "kind": "purge_deleted", "schedule": "17 * * * *", "due": "2026-11-24T09:17:00+00:00"},
        {"id": "c", "kind": "odd", "schedule": "not a schedule", "due": "2026-11-24T09:17:00+00:00"},
    ]
    stand.line.answers |= {"fire_schedule": True}
    stand.start()
    stand.until(lambda: stand.line.messages)
    told = {name: [str(value) for value in parameters] for name, parameters in stand.line.asked if "_" in name}
    assert told["fire_schedule"] == ["a", "2026-11-24 09:17:00+00:00", "2026-11-24 10:17:00+00:00"]
    assert sum(name == "fire_schedule" for name, _ in stand.line.asked) == 1


def test_a_job_that_finds_storage_away_is_given_back_and_none_is_claimed_until_it_is_there(stand: Any) -> None:
    def work(job: Job, tools: Tools) -> Result:
        if not stand.storage.up:
            raise StorageUnavailable("connection refused")
        return publish(job, tools)

    stand.kinds["work"] = work
    stand.storage.up = False
    jobs = [stand.line.add("work") for _ in range(20)]
    stand.start()
    stand.until(lambda: len(stand.line.waiting) == 20 and stand.storage.asked >= 3)
    # it was asked by the two jobs that tried, and again since; nothing is claimed meanwhile
    tried = {job["attempt"] for job in stand.line.waiting}
    claims = sum(message["want"] for message in stand.line.messages)
    late = stand.add("work")
    asked = stand.storage.asked
    stand.until(lambda: stand.storage.asked > asked)
    assert sum(message["want"] for message in stand.line.messages) == claims
    assert tried == {0, 1} and stand.line.failed == []
    stand.storage.up = True
    stand.until(lambda: len(stand.line.history) == 21, 30)
    assert {outcome for outcome, _, _ in stand.line.history.values()} == {"succeeded"}
    assert stand.line.failed == [] and late in stand.line.history and set(jobs) < set(stand.line.history)


def test_storage_that_fails_one_job_alone_costs_that_job_a_failure(stand: Any) -> None:
    def work(job: Job, tools: Tools) -> Result:
        raise StorageUnavailable("HTTP 500 this object cannot be read")

    stand.kinds["work"], stand.kinds["other"] = work, publish
    stand.line.add("work")
    stand.start()
    stand.until(lambda: stand.line.failed)
    assert stand.line.failed[0]["error"].startswith("storage_unavailable: ")
    assert stand.line.failed[0]["retryable"] is True
    other = stand.add("other")
    stand.until(lambda: other in stand.line.history)
    assert stand.line.released == []


def test_a_question_that_breaks_is_asked_again(stand: Any) -> None:
    def work(job: Job, tools: Tools) -> Result:
        if job.attempt == 1:
            raise StorageUnavailable("connection refused")
        return publish(job, tools)

    answers = iter([False, RuntimeError("no socket is left"), True])

    def answer() -> bool:
        given = next(answers)
        if isinstance(given, Exception):
            raise given
        return given

    stand.storage.answers = answer
    stand.kinds["work"] = work
    job = stand.line.add("work")
    stand.start()
    stand.until(lambda: job in stand.line.history, 20)
    assert stand.line.failed == []


def test_a_runner_is_stopped_in_an_outage(stand: Any) -> None:
    def work(job: Job, tools: Tools) -> Result:
        raise StorageUnavailable("connection refused")

    stand.kinds["work"] = work
    stand.storage.up = False
    stand.line.add("work")
    stand.start()
    stand.until(lambda: stand.storage.asked >= 2)
    stand.conversation.stop()
    stand.until(lambda: not stand.thread.is_alive())
    assert len(stand.line.waiting) == 1


def test_a_runner_wakes_for_the_next_schedule(stand: Any) -> None:
    stand.line.answers["seconds_to_schedule"] = 1.2
    stand.start()
    # by the clock alone the second look came after 16 s at the earliest
    stand.until(lambda: [name for name, _ in stand.line.asked].count("due_schedules") >= 3, 10)
