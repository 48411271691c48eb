"""What a message may hold, and when the next look comes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.kinds.job import Job, Lease
from jobs.runner.exchange import Message, Pace
from jobs.runner.slots import Entry, Held

NOTHING: dict[str, Any] = {"clocks": None, "next_due_seconds": None}


def held(job_id: int, attempt: int = 1) -> Held:
    job = Job.from_claim({"id": job_id, "kind": "work", "attempt": attempt})
    return Held(job, Lease(1e12), "runner", claimed_at=0.0, beat_at=0.0)


def test_a_message_reads_as_the_exchange_wants_it() -> None:
    message = Message("runner", want=3, sweep=True, floors={"0": 7})
    message.end(Entry(held(1), "finished", {"outcome": "succeeded", "result": {"archive_path": "k"}}))
    message.end(Entry(held(2), "failed", {"error": "a: b", "retryable": True}))
    message.end(Entry(held(3), "released"))
    beating = held(4, attempt=2)
    beating.lease.progress = 0.5
    message.beat(beating)
    assert json.loads(message.text()) == {
        "want": 3,
        "sweep": True,
        "floors": {"0": 7},
        "finished": [{"id": 1, "attempt": 1, "outcome": "succeeded", "result": {"archive_path": "k"}}],
        "failed": [{"id": 2, "attempt": 1, "error": "a: b", "retryable": True}],
        "released": [{"id": 3, "attempt": 1}],
        "beats": [{"id": 4, "attempt": 2, "progress": 0.5}],
    }


def test_two_attempts_of_one_job_never_share_a_message() -> None:
    message = Message("runner")
    message.end(Entry(held(1, attempt=1), "finished"))
    message.end(Entry(held(1, attempt=2), "finished"))
    message.beat(held(1, attempt=3))
    assert len(message.entries) == 1 and message.beats == []


def test_an_entry_that_was_refused_twice_travels_alone() -> None:
    message = Message("runner")
    message.end(Entry(held(1), "finished"))
    message.end(Entry(held(2), "finished", tries=2))
    message.end(Entry(held(3), "finished"))
    assert [entry.held.job.id for entry in message.entries] == [1, 3]
    alone = Message("runner")
    alone.end(Entry(held(2), "finished", tries=2))
    alone.end(Entry(held(3), "finished"))
    assert [entry.held.job.id for entry in alone.entries] == [2]


def test_only_short_jobs_are_prefetched() -> None:
    pace = Pace(4)
    assert pace.want(0) == 4 and pace.want(3) == 1 and pace.want(5) == 0
    for _ in range(200):
        pace.took(0.001)
    assert pace.want(0) == 4 + Pace.MOST_PREFETCHED
    pace.took(0.020)
    assert pace.want(0) == 4 + 10  # 50 ms of work in each slot
    pace.took(3.0)
    assert pace.want(0) == 4


def test_it_looks_again_by_the_clock_and_seldom_where_notifications_arrive() -> None:
    pace = Pace(1)
    assert pace.is_due(100.0)
    pace.learn(Message("r", want=1, sweep=True), 0, NOTHING, 100.0, hears=True)
    assert not pace.is_due(115.9) and pace.is_due(124.1)
    pace.learn(Message("r", want=1, sweep=True), 0, NOTHING, 100.0, hears=False)
    assert not pace.is_due(100.7) and pace.is_due(101.3)


def test_an_announcement_that_brings_nothing_is_followed_by_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.5)
    pace = Pace(2)
    pace.learn(Message("r", want=2, sweep=True), 0, NOTHING, 100.0, hears=True)
    pace.announced()
    assert pace.is_due(101.0) and not pace.sweeps(101.0)
    pace.learn(Message("r", want=2), 0, NOTHING, 101.0, hears=True)
    assert not pace.is_due(101.05) and pace.is_due(101.31) and pace.sweeps(101.31)
    pace.learn(Message("r", want=2, sweep=True), 0, NOTHING, 101.31, hears=True)
    assert not pace.is_due(110.0)


def test_it_wakes_for_a_scheduled_job_but_never_spins() -> None:
    pace = Pace(1)
    pace.learn(Message("r", want=1, sweep=True), 0, {"next_due_seconds": 3.0}, 100.0, hears=True)
    assert not pace.is_due(102.9) and pace.is_due(103.0)
    pace.learn(Message("r", want=1, sweep=True), 0, {"next_due_seconds": 0}, 103.0, hears=True)
    assert not pace.is_due(103.2)


def test_a_full_answer_means_that_there_may_be_more() -> None:
    pace = Pace(1)
    pace.learn(Message("r", want=1), 1, NOTHING, 100.0, hears=True)
    assert pace.is_due(100.0)


def test_claims_begin_at_clocks_that_are_old_enough() -> None:
    pace = Pace(1)
    for at, clock in ((10.0, 1), (10.04, 2), (10.08, 3)):
        pace.learn(Message("r"), 0, {"clocks": {"0": clock}}, at, hears=True)
    assert pace.floors(10.03) == {}
    assert pace.floors(10.06) == {"0": 1}
    assert pace.floors(10.10) == {"0": 2}
    assert pace.floors(99.0) == {"0": 3}
    pace.forget()
    assert pace.floors(99.0) == {}
