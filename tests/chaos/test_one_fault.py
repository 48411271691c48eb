"""One fault in the middle of one job: nothing is lost, nothing happens twice, the runner lives."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.chaos.conftest import LEASE_SECONDS, Arena, is_alive, reconnect, stalled
from tests.chaos.storage_faults import door
from tests.e2e.conftest import Account, wait_for

LONG = os.urandom(120_000_000)
"""Takes more than a second, so that there is a middle; and cannot be compressed, so that as much is uploaded."""


def test_a_killed_runners_job_is_finished_by_the_next_once(arena: Arena, person: Account) -> None:
    document = arena.upload_in_background(person, "killed.bin", LONG)
    job = arena.wait_running(document["id"])
    os.kill(job["pid"], signal.SIGKILL)
    person.wait(document["id"])
    ended = arena.assert_published_once(person, document, LONG)
    assert (ended["attempt"], ended["crashes"], ended["failures"]) == (2, 1, 0)


def test_a_stopped_runner_gives_its_job_back_without_a_mark(arena: Arena, person: Account) -> None:
    runner = arena.start_runner(slots=1, RUNNER_STOP_SECONDS="0")
    wait_for(lambda: runner.events("runner_started"), 20)
    with stalled(arena.service("runner")["pid"]):
        document = arena.upload_in_background(person, "stopped.bin", LONG)
        assert arena.wait_running(document["id"])["pid"] == runner.pid
        runner.signal(signal.SIGTERM)
        assert runner.process.wait(5) == 0
        row = person.row(document["id"])
        assert (row["status"], row["error"]) == ("queued", None)
        assert arena.archives(document) == []
    person.wait(document["id"])
    ended = arena.assert_published_once(person, document, LONG)
    assert (ended["attempt"], ended["crashes"], ended["failures"]) == (2, 0, 0)


def test_storage_going_down_in_the_middle_costs_time_only(arena: Arena, person: Account) -> None:
    document = arena.upload_in_background(person, "storage.bin", LONG)
    job = arena.wait_running(document["id"])
    gateway = arena.service("gateway")["pid"]
    os.kill(gateway, signal.SIGKILL)
    wait_for(lambda: arena.is_ready("gateway", gateway), 60)
    wait_for(lambda: arena.history(document["id"]), 60)
    person.wait(document["id"])
    ended = arena.assert_published_once(person, document, LONG)
    assert ended["crashes"] == 0
    assert is_alive(job["pid"])


def test_an_outage_of_storage_costs_no_document_a_failure(arena: Arena, person: Account) -> None:
    """However long it lasts: with a budget of one failure, one that is counted ends the job."""
    arena.database.execute("update jobs.queues set failure_budget = 1")
    try:
        with door(urlsplit(arena.stack.supabase_url).port or 80) as way, stalled(arena.service("runner")["pid"]):
            runner = arena.start_runner(slots=2, SUPABASE_URL=f"http://127.0.0.1:{way.port}")
            wait_for(lambda: runner.events("runner_started"), 30)
            way.is_open = False
            documents = [arena.upload_in_background(person, f"outage {number}.bin", b"bytes") for number in range(4)]
            wait_for(lambda: runner.events("storage_lost"), 60)
            knocks = way.knocks
            wait_for(lambda: way.knocks >= knocks + 2, 60)  # it asks again, and does nothing else
            wait_for(lambda: all(is_waiting(person.row(document["id"])) for document in documents), 60)
            assert runner.events("job_failed") == []
            way.is_open = True
            for document in documents:
                person.wait(document["id"])
                assert arena.assert_published_once(person, document, b"bytes")["failures"] == 0
            assert len(runner.events("storage_lost")) == len(runner.events("storage_back")) == 1
    finally:
        arena.database.execute("update jobs.queues set failure_budget = 8")


def is_waiting(row: dict[str, Any]) -> bool:
    return (row["status"], row["error"]) == ("queued", None)


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGQUIT], ids=["fast shutdown", "crash"])
def test_postgres_going_down_in_the_middle_costs_the_job_nothing(
    arena: Arena, person: Account, way: signal.Signals
) -> None:
    document = arena.upload_in_background(person, "postgres.bin", LONG)
    job = arena.wait_running(document["id"])
    server = arena.service("postgres")["pid"]
    os.kill(server, way)
    wait_for(lambda: arena.is_ready("postgres", server), 60)
    with contextlib.suppress(psycopg.Error):
        arena.database.close()
    reconnect(arena)
    wait_for(lambda: arena.history(document["id"]), 60)
    person.wait(document["id"])
    ended = arena.assert_published_once(person, document, LONG)
    # Storage needs the database as well: what it refuses meanwhile may cost the attempt, never the runner
    assert ended["crashes"] == 0
    assert is_alive(job["pid"])


def test_a_stalled_runners_late_result_is_refused(arena: Arena, person: Account) -> None:
    slow = arena.start_runner(slots=1)
    wait_for(lambda: slow.events("runner_started"), 20)
    own = arena.service("runner")["pid"]
    with stalled(own):
        document = arena.upload_in_background(person, "stalled.bin", LONG)
        assert arena.wait_running(document["id"])["pid"] == slow.pid
        slow.signal(signal.SIGSTOP)
    # the stack's runner takes the job over when the lease has lapsed
    wait_for(lambda: arena.history(document["id"]), LEASE_SECONDS + 60)
    slow.signal(signal.SIGCONT)
    wait_for(lambda: slow.events("job_done") or slow.events("job_lost"), 20)
    ended = arena.assert_published_once(person, document, LONG)
    assert (ended["attempt"], ended["crashes"]) == (2, 1)
    published = person.row(document["id"])["archive_path"]
    wait_for(lambda: arena.archives(document) == [published], 20)
    # and it goes on working
    with stalled(own):
        later = person.upload("later.txt", b"later")
        person.wait(later["id"])
    arena.assert_published_once(person, later, b"later")


def test_deleting_a_document_stops_its_job_and_leaves_no_archive(arena: Arena, person: Account) -> None:
    document = arena.upload_in_background(person, "deleted.bin", LONG)
    arena.wait_running(document["id"])
    person.client.rpc("delete_document", {"document_id": document["id"]}).execute()
    ended = wait_for(lambda: arena.history(document["id"]), 20)
    assert ended[0]["outcome"] in ("cancelled", "superseded")
    wait_for(lambda: arena.archives(document) == [], 20)
    person.client.rpc("restore_document", {"document_id": document["id"]}).execute()
    person.wait(document["id"])
    assert len(arena.archives(document)) == 1


def test_a_runner_behind_a_transaction_pooler_works_by_polling(arena: Arena, person: Account) -> None:
    runner = arena.start_runner(RUNNER_WAKE="poll")
    started = wait_for(lambda: runner.events("runner_started"), 20)
    assert started[0]["notified"] is False
    with stalled(arena.service("runner")["pid"]):
        document = person.upload("polled.txt", b"polled")
        person.wait(document["id"])
    arena.assert_published_once(person, document, b"polled")


def test_a_source_that_is_gone_fails_with_that_reason(arena: Arena, person: Account) -> None:
    with arena.database.transaction():
        arena.database.execute("select jobs.pause()")
    document = person.upload("gone.txt", b"gone")
    arena.stack.admin().storage.from_("documents").remove([f"{person.id}/{document['id']}"])
    arena.database.execute("select jobs.resume()")
    row = person.wait(document["id"], "failed")
    assert row["error"] == "source_missing: The uploaded file is no longer in storage. Upload it again."
    assert [job["outcome"] for job in arena.history(document["id"])] == ["dead"]
