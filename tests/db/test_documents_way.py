"""The way of a document through the database: added, stored, claimed, published, renamed, deleted."""

from __future__ import annotations

from tests.db.conftest import Database, Person, Runner


def test_a_document_becomes_ready(database: Database, owner: Person, runner: Runner) -> None:
    document = owner.document("año ñ.pdf")
    version = owner.store(document)
    row = owner.run("select * from documents where id = %s", document)[0]
    assert (row["status"], row["object_version"], str(row["owner_id"])) == ("queued", version, owner.id)

    (job,) = runner.claim()
    assert job["kind"] == "archive_document"
    assert job["payload"]["object_key"] == f"{owner.id}/{document}"
    assert job["lease_seconds"] == 60
    assert owner.value("select status from documents where id = %s", document) == "processing"
    assert runner.claim() == []

    runner.exchange(beats=[{"id": job["id"], "attempt": job["attempt"], "progress": 0.5}])
    assert owner.value("select progress from documents where id = %s", document) == 0.5

    answer = runner.publish(job)
    assert (answer["lost"], answer["busy"], answer["superseded"]) == ([], [], [])
    row = owner.run("select * from documents where id = %s", document)[0]
    assert (row["status"], row["progress"], row["archive_name_revision"]) == ("ready", 1, 1)
    assert database.value("select count(*) from jobs.queue") == 0
    assert database.value("select outcome from jobs.history") == "succeeded"
    events = [row["event_name"] for row in owner.run("select event_name from logs order by id")]
    assert events == ["signed_up", "created", "uploaded", "ready"]
