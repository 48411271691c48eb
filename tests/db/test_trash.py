"""The trash: out of sight at once, back on demand, and gone for good bytes first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.db.conftest import Database, Person, Runner, in_parallel, refused


def remove_objects(database: Database, bucket: str, keys: list[str]) -> None:
    """What the Storage service does when the runner has it remove keys."""
    with database.superuser.transaction():
        database.run("set local storage.allow_delete_query = 'true'")
        database.run("delete from storage.objects where bucket_id = %s and name = any (%s)", bucket, keys)


def purge(database: Database, runner: Runner, document: str | None = None) -> list[dict[str, Any]]:
    batch: list[dict[str, Any]] = runner.call("purge_batch", 100, document)
    for entry in batch:
        for bucket in ("documents", "archives"):
            remove_objects(database, bucket, entry[bucket])
        assert runner.call("finish_purge", entry["document_id"]) is True
    return batch


def test_a_deleted_document_is_seen_by_its_owner_alone(
    owner: Person, recipient: Person, admin: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    owner.call("share_document", document, recipient.email)
    row = owner.call("delete_document", document)
    assert (str(row["id"]), row["deleted_at"] is not None) == (document, True)
    assert owner.row(document)["deleted_at"] is not None
    assert not recipient.sees(document)
    assert not admin.sees(document)
    assert recipient.run("select * from shared_with_me") == []
    with refused("PT404", "document_not_found"):
        recipient.call("restore_document", document)
    owner.call("restore_document", document)
    assert recipient.sees(document)
    assert owner.row(document)["status"] == "ready"


def test_deleting_and_restoring_twice_change_nothing(database: Database, owner: Person, runner: Runner) -> None:
    document = owner.ready(runner)
    first = owner.call("delete_document", document)
    assert owner.call("delete_document", document)["deleted_at"] == first["deleted_at"]
    owner.call("restore_document", document)
    assert owner.call("restore_document", document)["deleted_at"] is None
    assert database.jobs("archive_document") == []


@pytest.mark.parametrize("claimed", [False, True])
def test_a_document_restored_before_it_was_archived_is_enqueued_anew(
    database: Database, owner: Person, runner: Runner, claimed: bool
) -> None:
    document = owner.document()
    owner.store(document)
    if claimed:
        runner.claim()
    owner.call("delete_document", document)
    owner.call("restore_document", document)
    assert [job["cancel_requested_at"] is None for job in database.jobs("archive_document")] == [False] * claimed + [
        True
    ]
    (job,) = database.runner().claim()
    Runner(database, str(database.value("select worker_id from jobs.queue where id = %s", job["id"]))).publish(job)
    assert owner.row(document)["status"] == "ready"


def test_an_open_upload_is_restored_open(owner: Person) -> None:
    document = owner.document()
    owner.call("delete_document", document)
    owner.call("restore_document", document)
    owner.store(document)
    assert owner.row(document)["status"] == "queued"


def test_only_what_lies_in_the_trash_is_purged_and_then_there_is_no_way_back(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    with refused("PT409", "document_not_deleted"):
        owner.call("purge_document", document)
    owner.call("delete_document", document)
    owner.call("purge_document", document)
    owner.call("purge_document", document)
    assert len(database.jobs("purge_deleted")) == 1
    with refused("PT409", "purge_started"):
        owner.call("restore_document", document)
    (job,) = [job for job in runner.claim(10) if job["kind"] == "purge_deleted"]
    assert job["document_id"] == document
    purge(database, runner, document)
    runner.finish(job)
    with refused("PT404", "document_not_found"):
        owner.call("restore_document", document)
    assert database.value("select count(*) from storage.objects") == 0
    assert owner.run("select event_name from logs order by id desc limit 1") == [{"event_name": "purged"}]


def test_the_row_outlives_its_bytes_and_not_the_other_way_round(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    owner.call("delete_document", document)
    assert runner.call("finish_purge", document) is False
    owner.call("purge_document", document)
    (entry,) = runner.call("purge_batch", 10, document)
    assert entry["documents"] == [f"{owner.id}/{document}"]
    assert entry["archives"] == [owner.row(document)["archive_path"]]
    assert runner.call("finish_purge", document) is False
    remove_objects(database, "documents", entry["documents"])
    assert runner.call("finish_purge", document) is False
    assert owner.sees(document)
    remove_objects(database, "archives", entry["archives"])
    assert runner.call("finish_purge", document) is True
    assert not owner.sees(document)
    assert runner.call("finish_purge", document) is False


def test_a_purge_takes_every_archive_of_the_document_and_no_neighbours(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    prefix = f"{owner.id}/{document}"
    own = {f"{prefix}/old-1.zip", f"{prefix}/r2.zip", f"{prefix}/~.zip"}
    neighbours = {f"{prefix}0/1-1.zip", f"{prefix}.zip", f"{prefix}-x/1.zip", f"{owner.id}/{document.upper()}/1.zip"}
    for name in own | neighbours:
        database.run("insert into storage.objects (bucket_id, name, version) values ('archives', %s, 'v')", name)
    owner.call("delete_document", document)
    owner.call("purge_document", document)
    (entry,) = runner.call("purge_batch", 10, document)
    current = {owner.row(document)["archive_path"]}
    assert set(entry["archives"]) == own | current


def test_the_trash_is_emptied_after_its_period_and_not_before(
    database: Database, owner: Person, runner: Runner
) -> None:
    old, young, live = owner.ready(runner), owner.ready(runner), owner.ready(runner)
    owner.call("delete_document", old)
    owner.call("delete_document", young)
    database.run("update documents set deleted_at = now() - interval '31 days' where id = %s", old)
    assert [entry["document_id"] for entry in purge(database, runner)] == [old]
    assert owner.sees(young)
    assert owner.sees(live)
    assert runner.call("purge_batch", 100, live) == []
    assert runner.call("purge_batch", 100, young) == []
    owner.call("restore_document", young)


def test_a_restore_and_a_purge_at_one_moment_leave_one_truth(database: Database, owner: Person, runner: Runner) -> None:
    for _ in range(6):
        document = owner.ready(runner)
        owner.call("delete_document", document)
        database.run("update documents set deleted_at = now() - interval '31 days' where id = %s", document)
        person, other = owner.on(database.second()), runner.on(database.second())
        batch: list[Any] = []
        raised = in_parallel(
            lambda p=person, d=document: p.call("restore_document", d),  # type: ignore[misc]
            lambda o=other, b=batch, d=document: b.extend(o.call("purge_batch", 100, d)),  # type: ignore[misc]
        )
        restored = raised[0] is None
        assert restored != bool(batch)  # who comes second is refused, or passes the locked row over
        assert raised[1] is None
        row = owner.row(document)
        assert (row["deleted_at"] is None, row["purge_started_at"] is None) == (restored, restored)
        database.run("delete from jobs.queue")


def test_orphans_are_old_keys_that_no_document_and_no_live_attempt_names(
    database: Database, owner: Person, runner: Runner
) -> None:
    ready, processing = owner.ready(runner), owner.document()
    owner.store(processing)
    (job,) = runner.claim()
    attempt = f"{owner.id}/{processing}/{job['id']}-1.zip"
    waiting = f"{owner.id}/{ready}/old.zip"
    orphans = {f"{owner.id}/{ready}/9-9.zip", "nonsense", "a/b/c", f"{owner.id}/x/1-1.zip"}
    for name in {attempt, waiting, *orphans, "young"}:
        database.run("insert into storage.objects (bucket_id, name, version) values ('archives', %s, 'v')", name)
    database.run("select jobs.enqueue('remove_archive', %s, %s, jsonb_build_object('archive_path', %s::text))",
                 owner.id, ready, waiting)  # fmt: skip
    lost = f"{owner.id}/{job['owner_id']}"
    with database.superuser.transaction():
        database.run("set local session_replication_role = 'replica'")
        database.run("insert into storage.objects (bucket_id, name, version) values ('documents', %s, 'v')", lost)
    database.run("insert into storage.buckets (id, name) values ('avatars', 'avatars')")
    database.run("insert into storage.objects (bucket_id, name, version) values ('avatars', 'mine.png', 'v')")
    with database.superuser.transaction():
        database.run("update storage.objects set created_at = now() - interval '25 hours' where name <> 'young'")

    def keys(bucket: str, after: str = "", batch: int = 100) -> list[str]:
        with database.superuser.transaction():
            database.run("set local role instashare_runner")
            rows = database.run("select * from jobs.orphan_keys(%s, %s, %s) as key", bucket, after, batch)
        return [row["key"] for row in rows]

    assert set(keys("archives")) == orphans
    assert keys("documents") == [lost]
    assert keys("avatars") == []
    found: list[str] = []
    while page := keys("archives", found[-1] if found else "", 1):
        found += page
    assert set(found) == orphans
    assert len(found) == len(orphans)
    # the attempt ends: what it left is an orphan
    runner.fail(job, retryable=False)
    assert attempt in keys("archives")


def test_originals_go_only_where_a_retention_is_set_and_their_archive_is_proven(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    database.run("update storage.objects set created_at = now() - interval '3 days'")
    assert runner.call("expire_originals_batch", 10) == []
    database.run("update private.settings set original_period = '2 days'")
    (entry,) = runner.call("expire_originals_batch", 10)
    row = owner.row(document)
    assert entry == {
        "document_id": document, "object_key": f"{owner.id}/{document}", "archive_path": row["archive_path"],
        "size_bytes": 5, "object_version": row["object_version"],
    }  # fmt: skip
    remove_objects(database, "documents", [entry["object_key"]])
    runner.call("finish_expire_original", document, row["object_version"], True)
    assert runner.call("expire_originals_batch", 10) == []
    assert owner.row(document)["status"] == "ready"
    assert "original_removed" in [row["event_name"] for row in owner.run("select event_name from logs")]


def test_a_damaged_archive_of_another_version_or_a_deleted_document_is_left_alone(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    version = owner.row(document)["object_version"]
    runner.call("finish_expire_original", document, "another", False)
    assert owner.row(document)["status"] == "ready"
    owner.call("delete_document", document)
    runner.call("finish_expire_original", document, version, False)
    assert owner.row(document)["status"] == "ready"
    assert database.jobs("archive_document") == []


def test_uploads_are_abandoned_after_two_days_and_not_before(database: Database, owner: Person, runner: Runner) -> None:
    young, old, stored = owner.document(), owner.document(), owner.document()
    owner.store(stored)
    database.run("update documents set created_at = now() - interval '47 hours' where id = %s", young)
    database.run(
        "update documents set created_at = now() - interval '49 hours' where id = any (%s::uuid[])", [old, stored]
    )
    assert runner.call("run_maintenance", "abandon_uploads") == {"uploads": 1}
    states = [owner.row(document)["status"] for document in (young, old, stored)]
    assert states == ["uploading", "failed", "queued"]
    assert "failed" in [row["event_name"] for row in owner.run("select event_name from logs")]
