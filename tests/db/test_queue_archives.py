"""Archives after their first publication: renamed, revoked, replaced, removed."""

from __future__ import annotations

from typing import Any

from tests.db.conftest import Database, Person, Runner


def rename(owner: Person, document: str, name: str) -> None:
    owner.run("update documents set name = %s where id = %s", name, document)


def claim(runner: Runner, kind: str) -> dict[str, Any]:
    """Claim everything, keep the one job of this kind, give back the others."""
    kept = []
    for job in runner.claim(100):
        if job["kind"] == kind:
            kept.append(job)
        else:
            runner.release(job)
    (job,) = kept
    return job


def settle(database: Database, runner: Runner) -> list[str]:
    """Do all the work there is as the runner's kinds would; the archives that were removed."""
    removed = []
    while jobs := runner.claim(100):
        for job in jobs:
            payload = job["payload"]
            if job["kind"] == "remove_archive":
                removed.append(job["args"]["archive_path"])
                runner.finish(job)
            elif job["kind"] == "refresh_archive" and not payload["revoked"] and (
                payload["deleted"] or payload["archive_name_revision"] == payload["name_revision"]
            ):  # fmt: skip
                runner.finish(job, "superseded")
            else:
                runner.publish(job)
    return removed


def test_a_rename_while_processing_enqueues_a_refresh_with_the_publication(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.document("old.txt")
    owner.store(document)
    (job,) = runner.claim()
    rename(owner, document, "new.txt")
    assert database.jobs("refresh_archive") == []
    runner.publish(job)
    row = owner.row(document)
    assert (row["status"], row["name_revision"], row["archive_name_revision"]) == ("ready", 2, 1)
    refresh = claim(runner, "refresh_archive")
    assert (refresh["payload"]["name"], refresh["payload"]["archive_path"]) == ("new.txt", row["archive_path"])
    runner.publish(refresh)
    assert owner.row(document)["archive_name_revision"] == 2
    assert database.jobs("refresh_archive") == []


def test_a_replaced_archive_stays_two_hours_for_running_downloads(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    before = owner.row(document)["archive_path"]
    rename(owner, document, "b.txt")
    runner.publish(claim(runner, "refresh_archive"))
    (removal,) = database.jobs("remove_archive")
    assert removal["args"] == {"archive_path": before}
    assert database.value(
        "select run_at between now() + interval '110 minutes' and now() + interval '2 hours' from jobs.queue"
    )


def test_of_two_refreshes_from_one_archive_the_later_is_superseded(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    rename(owner, document, "b.txt")
    first = claim(runner, "refresh_archive")
    rename(owner, document, "c.txt")
    second = claim(database.runner(), "refresh_archive")
    assert first["args"]["archive_path"] == second["args"]["archive_path"]
    worker = Runner(database, str(database.value("select worker_id from jobs.queue where id = %s", second["id"])))
    assert worker.publish(second)["superseded"] == []
    path = owner.row(document)["archive_path"]
    assert runner.publish(first)["superseded"] == [first["id"]]
    row = owner.row(document)
    assert (row["archive_path"], row["archive_name_revision"]) == (path, 3)
    assert database.jobs("refresh_archive") == []


def test_an_older_refresh_that_wins_leaves_the_newer_name_to_do(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    rename(owner, document, "b.txt")
    first = claim(runner, "refresh_archive")
    rename(owner, document, "c.txt")
    second = claim(database.runner(), "refresh_archive")
    assert runner.publish(first)["superseded"] == []
    other = Runner(database, str(database.value("select worker_id from jobs.queue where id = %s", second["id"])))
    assert other.publish(second)["superseded"] == [second["id"]]
    assert owner.row(document)["archive_name_revision"] == 2
    settle(database, runner)
    assert owner.row(document)["archive_name_revision"] == 3


def test_a_revocation_that_runs_beside_a_rename_loses_neither(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner, "old.txt")
    first_path = owner.row(document)["archive_path"]
    share = owner.call("share_document", document, recipient.email)
    owner.call("revoke_share", share["id"])
    revocation = claim(runner, "refresh_archive")
    rename(owner, document, "new.txt")
    other = database.runner()
    renaming = claim(other, "refresh_archive")
    # the revocation read the old name; publishing finds the key of the rename taken by the one that runs
    runner.publish(revocation)
    assert owner.row(document)["archive_name_revision"] == 1
    assert other.publish(renaming)["superseded"] == [renaming["id"]]
    removed = settle(database, runner)
    row = owner.row(document)
    assert (row["archive_name_revision"], row["name_revision"]) == (2, 2)
    assert first_path in removed


def test_a_rename_that_wins_does_not_swallow_the_revocation(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    first_path = owner.row(document)["archive_path"]
    share = owner.call("share_document", document, recipient.email)
    rename(owner, document, "b.txt")
    renaming = claim(runner, "refresh_archive")
    owner.call("revoke_share", share["id"])
    revocation = claim(database.runner(), "refresh_archive")
    runner.publish(renaming)
    second_path = owner.row(document)["archive_path"]
    other = Runner(database, str(database.value("select worker_id from jobs.queue where id = %s", revocation["id"])))
    assert other.publish(revocation)["superseded"] == [revocation["id"]]
    removed = settle(database, runner)
    # both are gone now, not in two hours: links may have been signed to either
    assert {first_path, second_path} <= set(removed)
    assert owner.row(document)["archive_path"] not in removed
    assert database.jobs() == []


def test_a_revocation_moves_the_archive_of_a_deleted_document_too(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    path = owner.row(document)["archive_path"]
    owner.call("delete_document", document)
    assert path in settle(database, runner)
    row = owner.row(document)
    assert row["archive_path"] != path
    assert row["deleted_at"] is not None
    owner.call("restore_document", document)
    assert owner.call("request_download", document)["archive_path"] == row["archive_path"]


def test_a_revocation_brings_forward_the_removal_of_replaced_archives(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    paths = [owner.row(document)["archive_path"]]
    share = owner.call("share_document", document, recipient.email)
    for name in ("b.txt", "c.txt"):
        rename(owner, document, name)
        runner.publish(claim(runner, "refresh_archive"))
        paths.append(owner.row(document)["archive_path"])
    assert len(database.jobs("remove_archive")) == 2
    assert runner.claim(10) == []
    owner.call("revoke_share", share["id"])
    assert sorted(settle(database, runner)) == sorted(paths)


def test_revocations_of_one_archive_are_done_once(database: Database, owner: Person, runner: Runner) -> None:
    document = owner.ready(runner)
    for _ in range(10):
        owner.call("delete_document", document)
        owner.call("restore_document", document)
    assert len(database.jobs("refresh_archive")) == 1
    running = claim(runner, "refresh_archive")
    owner.call("delete_document", document)
    assert len(database.jobs("refresh_archive")) == 1
    runner.publish(running)
    assert database.jobs("refresh_archive") == []
    # a link signed to the archive of now needs a revocation of its own
    owner.call("restore_document", document)
    owner.call("delete_document", document)
    assert len(database.jobs("refresh_archive")) == 1


def test_a_revocation_does_not_stand_behind_its_owners_uploads(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    for _ in range(30):
        owner.store(owner.document())
    owner.call("delete_document", document)
    assert "refresh_archive" in [job["kind"] for job in runner.claim(4)]


def test_deleting_cancels_a_rename_and_restoring_does_it_after_all(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    rename(owner, document, "b.txt")
    renaming = claim(runner, "refresh_archive")
    owner.call("delete_document", document)
    owner.call("restore_document", document)
    assert runner.beat(renaming)["cancelled"] == [renaming["id"]]
    runner.finish(renaming, "cancelled")
    settle(database, runner)
    assert owner.row(document)["archive_name_revision"] == 2
    assert owner.row(document)["status"] == "ready"


def test_nothing_is_published_once_a_purge_has_begun(database: Database, owner: Person, runner: Runner) -> None:
    document = owner.ready(runner)
    path = owner.row(document)["archive_path"]
    owner.call("delete_document", document)
    revocation = claim(runner, "refresh_archive")
    owner.call("purge_document", document)
    assert runner.publish(revocation)["superseded"] == [revocation["id"]]
    assert database.value("select archive_path from documents where id = %s", document) == path
    assert database.jobs("refresh_archive") == []


def test_a_rename_that_fails_for_good_leaves_the_document_ready(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    rename(owner, document, "b.txt")
    runner.fail(claim(runner, "refresh_archive"), retryable=False)
    row = owner.row(document)
    assert (row["status"], row["error"]) == ("ready", None)
    again = database.value("select jobs.retry_job(id) from jobs.history where outcome = 'dead'")
    assert again is not None
    settle(database, runner)
    assert owner.row(document)["archive_name_revision"] == 2


def test_a_damaged_archive_is_made_again_and_the_damaged_one_removed(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    before = owner.row(document)
    runner.call("finish_expire_original", document, before["object_version"], False)
    assert owner.row(document)["status"] == "queued"
    runner.publish(claim(runner, "archive_document"))
    after = owner.row(document)
    assert (after["status"], after["error"]) == ("ready", None)
    assert after["archive_path"] != before["archive_path"]
    assert [job["args"]["archive_path"] for job in database.jobs("remove_archive")] == [before["archive_path"]]


def test_a_job_whose_document_is_gone_has_no_payload_and_ends(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    owner.call("delete_document", document)
    database.run("delete from documents where id = %s", document)
    (job,) = runner.claim(10)
    assert job["payload"] is None
    assert runner.finish(job, "superseded")["busy"] == []
    assert database.jobs() == []
