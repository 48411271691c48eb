"""Random and opposed: nothing lost, nothing twice, nothing deadlocked."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from tests.db.conftest import Database, Person, Runner, in_parallel

INVARIANTS = {
    "a live document that waits has a job": """
        select d.id, d.status from documents d
        where d.deleted_at is null and d.status in ('queued', 'processing') and not exists (
            select from jobs.queue q where q.document_id = d.id and q.kind = 'archive_document'
                and q.cancel_requested_at is null
        )""",
    "a document has one living archive job at most": """
        select document_id from jobs.queue where kind = 'archive_document' and cancel_requested_at is null
        group by document_id having count(*) > 1""",
    "a ready live document whose archive bears an old name has a rename to come": """
        select d.id from documents d
        where d.deleted_at is null and d.status = 'ready' and d.name_revision > d.archive_name_revision
            and not exists (
                select from jobs.queue q where q.document_id = d.id and q.kind = 'refresh_archive'
                    and q.cancel_requested_at is null
            )""",
    "a job is unfinished or finished, not both": "select id from jobs.queue join jobs.history using (id)",
    "a version is published once": """
        select document_id from jobs.history where kind = 'archive_document' and outcome = 'succeeded'
        group by document_id, args ->> 'object_version' having count(*) > 1""",
    "every archive is a document's, or on its way out": """
        select o.name from storage.objects o
        where o.bucket_id = 'archives' and not exists (select from documents d where d.archive_path = o.name)
            and not exists (
                select from jobs.queue q where q.kind = 'remove_archive' and q.args ->> 'archive_path' = o.name
            )
            and o.name <> all (%s)""",
    "a finished document shows it": """
        select id from documents where (status = 'ready') <> (progress = 1) or (status = 'failed') and error is null""",
}


def check(database: Database, discarded: set[str]) -> None:
    for sentence, query in INVARIANTS.items():
        rows = database.run(query, list(discarded)) if "%s" in query else database.run(query)
        assert rows == [], sentence


class World:
    """Three runners and an owner who do one random thing at a time."""

    def __init__(self, database: Database, owner: Person, seed: int) -> None:
        self.database, self.owner = database, owner
        self.random = random.Random(seed)
        # budgets have tests of their own; here a job that dies of bad luck would leave what its kind is there to end
        database.run("update jobs.queues set failure_budget = 1000, crash_budget = 1000")
        self.runners = [database.runner() for _ in range(3)]
        self.held: list[tuple[Runner, dict[str, Any]]] = []
        self.documents: list[str] = []
        self.discarded: set[str] = set()
        self.told: Counter[int] = Counter()

    def step(self) -> None:
        acts = [
            (3, self.upload), (6, self.claim), (6, self.succeed), (2, self.fail), (2, self.beat), (1, self.release),
            (1, self.stall), (2, self.rename), (2, self.delete), (2, self.restore), (1, self.retry), (1, self.purge),
            (1, self.late), (1, self.due),
        ]  # fmt: skip
        self.random.choices([act for _, act in acts], [weight for weight, _ in acts])[0]()

    def upload(self) -> None:
        document = self.owner.document()
        self.owner.store(document)
        self.documents.append(document)

    def claim(self) -> None:
        runner = self.random.choice(self.runners)
        sweep = self.random.random() < 0.5
        for job in runner.exchange(want=self.random.randint(1, 3), sweep=sweep)["claimed"]:
            self.held.append((runner, job))

    def take(self) -> tuple[Runner, dict[str, Any]] | None:
        if not self.held:
            return None
        return self.held.pop(self.random.randrange(len(self.held)))

    def succeed(self) -> None:
        if (taken := self.take()) is None:
            return
        runner, job = taken
        if job["kind"] not in ("archive_document", "refresh_archive"):
            if job["kind"] == "remove_archive":
                self.discard(job["args"]["archive_path"])
            runner.finish(job)
            return
        payload = job["payload"]
        if payload is None or payload.get("archive_path", "x") is None or (
            job["kind"] == "archive_document" and payload["deleted"]
        ):  # fmt: skip
            runner.finish(job, "superseded")
            return
        path = f"{job['owner_id']}/{job['document_id']}/{job['id']}-{job['attempt']}.zip"
        answer = runner.publish(job, path)
        if answer["lost"] or answer["superseded"]:
            self.discard(path)
        else:
            self.told[job["id"]] += 1

    def discard(self, path: str) -> None:
        self.discarded.add(path)

    def fail(self) -> None:
        if (taken := self.take()) is not None:
            # a rename or a removal that fails for good is the operator's to see; the sweep of orphans ends the latter
            final = taken[1]["kind"] == "archive_document" and self.random.random() < 0.2
            taken[0].fail(taken[1], retryable=not final)

    def beat(self) -> None:
        if self.held:
            runner, job = self.random.choice(self.held)
            answer = runner.beat(job, self.random.random())
            if job["id"] in answer["cancelled"]:
                self.held.remove((runner, job))
                runner.finish(job, "cancelled")

    def release(self) -> None:
        if (taken := self.take()) is not None:
            taken[0].release(taken[1])

    def stall(self) -> None:
        """The lease lapses and the holder does not know."""
        if self.held:
            self.database.lapse(self.random.choice(self.held)[1])

    def late(self) -> None:
        """The holder dies without a word."""
        if (taken := self.take()) is not None:
            self.database.lapse(taken[1])

    def due(self) -> None:
        self.database.run("update jobs.queue set run_at = now() where state = 'scheduled'")

    def call(self, function: str) -> None:
        if self.documents:
            with suppress(psycopg.Error):
                self.owner.call(function, self.random.choice(self.documents))

    def rename(self) -> None:
        if self.documents:
            name = f"{self.random.randrange(1000)}.txt"
            self.owner.run("update documents set name = %s where id = %s", name, self.random.choice(self.documents))

    def delete(self) -> None:
        self.call("delete_document")

    def restore(self) -> None:
        self.call("restore_document")

    def retry(self) -> None:
        self.call("retry_document")

    def purge(self) -> None:
        if self.random.random() < 0.2:
            self.call("purge_document")

    def settle(self) -> None:
        """All runners die; one that is well does everything that is left."""
        self.database.lapse(*(job for _, job in self.held))
        self.held.clear()
        for _ in range(300):
            self.due()
            self.database.run("update jobs.queue set failures = 0, crashes = 0")
            for job in self.runners[0].claim(20):
                self.held.append((self.runners[0], job))
            if not self.held:
                return
            while self.held:
                self.succeed()
        raise AssertionError("there is always something left to do")


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_in_whatever_order_nothing_is_lost_and_nothing_done_twice(
    database: Database, owner: Person, seed: int
) -> None:
    world = World(database, owner, seed)
    for number in range(250):
        world.step()
        if number % 10 == 0:
            check(database, world.discarded | in_flight(database))
    world.settle()
    check(database, world.discarded)
    assert database.jobs() == []
    assert max(world.told.values(), default=0) <= 1
    rows = database.run("select status, name_revision, archive_name_revision from documents where deleted_at is null")
    assert {row["status"] for row in rows} <= {"ready", "failed"}
    assert all(row["name_revision"] == row["archive_name_revision"] for row in rows if row["status"] == "ready")


def in_flight(database: Database) -> set[str]:
    """Archives of documents that are being purged go with them."""
    rows = database.run(
        "select o.name from storage.objects o join documents d on o.name like d.owner_id || '/' || d.id || '/%'"
        " where o.bucket_id = 'archives' and d.purge_started_at is not null"
    )
    return {row["name"] for row in rows}


def test_owners_and_runners_who_work_against_each_other_never_deadlock(database: Database, owner: Person) -> None:
    recipient = database.sign_up("recipient@example.test")
    documents = []
    for _ in range(6):
        document = owner.document()
        owner.store(document)
        documents.append(document)
    stop = threading.Event()
    unexpected: list[psycopg.Error] = []

    def attempt(act: Any) -> None:
        try:
            act()
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith("PT"):
                unexpected.append(error)

    def meddle(seed: int) -> None:
        person, chance = owner.on(database.second()), random.Random(seed)
        for _ in range(150):
            document = chance.choice(documents)
            act = chance.choice(
                ["delete_document", "restore_document", "restore_document", "rename", "share", "cancel"]
            )
            if act == "rename":
                attempt(
                    lambda d=document: person.run(
                        "update documents set name = %s where id = %s", f"{chance.random()}.txt", d
                    )
                )
            elif act == "share":
                attempt(lambda d=document: person.call("share_document", d, recipient.email))
                attempt(lambda: revoke(person, chance))
            elif act == "cancel":
                attempt(lambda d=document: person.database.run(
                    "select jobs.cancel_job(id) from jobs.queue where document_id = %s limit 1", d
                ))  # fmt: skip
            else:
                attempt(lambda d=document, a=act: person.call(a, d))

    def revoke(person: Person, chance: random.Random) -> None:
        rows = person.run("select id from document_access")
        if rows:
            person.call("revoke_share", chance.choice(rows)["id"])

    def work(seed: int) -> None:
        runner, chance = database.second().runner(), random.Random(seed)
        pending: list[dict[str, Any]] = []
        while not stop.is_set():
            entries = []
            for job in pending:
                path = f"{job['owner_id']}/{job['document_id']}/{job['id']}-{job['attempt']}.zip"
                result = {"archive_path": path, "archive_size_bytes": 1}
                if job["payload"]:
                    result["name_revision"] = job["payload"].get("name_revision", 1)
                outcome = "succeeded" if job["payload"] else "superseded"
                entries.append({"id": job["id"], "attempt": job["attempt"], "outcome": outcome, "result": result})
            try:
                answer = runner.exchange(finished=entries, want=4, sweep=chance.random() < 0.3)
            except psycopg.Error as error:
                unexpected.append(error)
                return
            pending = [job for job in pending if job["id"] in answer["busy"]] + answer["claimed"]

    def housekeep() -> None:
        connection = database.second()
        while not stop.is_set():
            for kind in ("expire_shares", "abandon_uploads", "close_accounts"):
                attempt(lambda k=kind: connection.run("select jobs.run_maintenance(%s)", k))

    def owners() -> None:
        raised = in_parallel(*(lambda s=seed: meddle(s) for seed in range(3)))
        stop.set()
        assert raised == [None] * 3, raised

    raised = in_parallel(owners, lambda: work(1), lambda: work(2), housekeep)
    stop.set()
    assert raised == [None] * 4, raised
    assert unexpected == []
