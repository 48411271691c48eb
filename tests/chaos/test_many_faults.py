"""Five runners, many documents, and deaths in the middle of jobs: none lost, none published twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

from tests.chaos.conftest import Arena
from tests.e2e.conftest import Account, wait_for

DOCUMENTS = 120
KILLS = 16


def holders(arena: Arena) -> list[int]:
    """The processes that are at work on a document and alive."""
    rows = arena.rows(
        "select split_part(r.host, ':', 2)::int as pid from jobs.queue q join jobs.runners r on r.id = q.worker_id"
        " where q.state = 'running' and q.kind = 'archive_document' order by pid"
    )
    own = {runner.pid for runner in arena.runners if runner.process.poll() is None}
    own.add(arena.service("runner")["pid"] or 0)
    return [row["pid"] for row in rows if row["pid"] in own]


def test_runners_that_die_at_random_lose_nothing_and_publish_once(arena: Arena, person: Account) -> None:
    dice = random.Random(20261124)
    # a job may meet more deaths here than the budget that protects against poisonous files allows
    arena.database.execute("update jobs.queues set crash_budget = 1000")
    arena.database.execute("select jobs.pause()")
    sizes = [dice.choice((0, 1, 5_000, 700_000, 5_000_000, 20_000_000, 40_000_000)) for _ in range(DOCUMENTS)]
    contents = [dice.randbytes(size) for size in sizes]
    documents = [arena.upload_in_background(person, f"{n}.bin", data) for n, data in enumerate(contents)]
    edited = dice.sample(documents, 6)
    deleted = [document for document in dice.sample(documents, 12) if document not in edited]
    for _ in range(4):
        arena.start_runner(slots=2)
    for runner in arena.runners:
        wait_for(lambda runner=runner: runner.events("runner_started"), 60)
    arena.database.execute("select jobs.resume()")
    for round_number in range(KILLS):
        victim = wait_for(lambda: dice.choice(holders(arena) or [0]), 60)
        time.sleep(dice.uniform(0, 0.1))  # the fault's own rhythm, not a wait for anything
        with contextlib.suppress(ProcessLookupError):  # the stack's own may be between two lives
            os.kill(victim, signal.SIGKILL)
        arena.start_runner(slots=2)
        if round_number < len(deleted):
            person.client.rpc("delete_document", {"document_id": deleted[round_number]["id"]}).execute()
        if round_number < len(edited):
            name = {"name": f"renamed-{round_number}.bin"}
            person.client.table("documents").update(name).eq("id", edited[round_number]["id"]).execute()

    waiting = "select count(*) as number from jobs.queue where kind in ('archive_document', 'refresh_archive')"
    wait_for(lambda: arena.rows(waiting)[0]["number"] == 0, 180)

    gone = {document["id"] for document in deleted}
    for document, data in zip(documents, contents, strict=True):
        if document["id"] not in gone:
            row = person.row(document["id"])
            arena.assert_published_once(person, {**document, "name": row["name"]}, data)
            assert row["archive_name_revision"] == row["name_revision"]
    crashed = "select 1 from jobs.attempts a join jobs.history h on h.id = a.job_id where a.crashed and h.owner_id = %s"
    assert len(arena.rows(crashed, person.id)) >= 3, "the deaths came too seldom in the middle of a job"
    stuck = "select id, status from documents where owner_id = %s and deleted_at is null and status <> 'ready'"
    assert arena.rows(stuck, person.id) == []
    # what died after its upload is swept later; nothing that people read may be missing
    missing = (
        "select d.id from documents d where d.owner_id = %s and d.archive_path is not null and not exists"
        " (select from storage.objects o where o.bucket_id = 'archives' and o.name = d.archive_path)"
    )
    assert arena.rows(missing, person.id) == []
    assert arena.rows("select 1 from jobs.history where outcome = 'dead' and owner_id = %s", person.id) == []
