"""Originals come in once, by their owner, whole; archives go out to whoever may read; nothing else moves a byte.

Each write of the Storage service is played as it is: a probe in the caller's role (version '1', rolled back), then the
final statement as service_role, without a user.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg
import pytest

from tests.db.conftest import SERVICE, Database, Person, Runner, in_parallel, refused

INSERT = "insert into storage.objects (bucket_id, name, owner_id, version, metadata) values (%s, %s, %s, %s, %s)"
UPLOADS = ["storage.object.upload", "storage.tus.upload.create", "storage.tus.upload.part", "storage.tus.upload.delete"]
READS = ["storage.object.sign", "storage.object.sign_many", "storage.object.get_authenticated"]
OTHERS = [
    None, "", "storage.object.list", "storage.object.list_v2", "storage.object.copy", "storage.object.move",
    "storage.object.delete", "storage.object.delete_many", "storage.object.info_authenticated",
    "storage.object.sign_upload_url", "storage.object.upload_update", "storage.object.get_public",
]  # fmt: skip


def probe(
    person: Person, key: str, announced: Any = 5, bucket: str = "documents", operation: str | None = UPLOADS[0]
) -> None:
    """What the service asks before it takes bytes; raises what the client would be told."""
    with person.database.superuser.transaction(force_rollback=True):
        metadata = json.dumps({"mimetype": "text/plain", "contentLength": announced})
        person.run(INSERT, bucket, key, person.id or None, "1", metadata, operation=operation)


def finish(
    database: Database, key: str, size: Any = 5, version: str | None = None, owner: str | None = None,
    bucket: str = "documents",
) -> str:  # fmt: skip
    """What the service commits once the bytes are stored."""
    version = version or str(uuid.uuid4())
    metadata = json.dumps({"size": size, "contentLength": size, "mimetype": "text/plain"})
    SERVICE(database).run(INSERT, bucket, key, owner, version, metadata, operation=UPLOADS[0])
    return version


def untouched(database: Database, document: str) -> bool:
    """Whether nothing was stored for a document: no object, no job, still open."""
    return (
        database.value("select count(*) from storage.objects") == 0
        and database.jobs() == []
        and database.value("select status from documents where id = %s", document) == "uploading"
    )


def key_of(owner: Person, document: str) -> str:
    return f"{owner.id}/{document}"


def test_an_owner_stores_the_original_of_his_open_document_by_any_way_of_uploading(
    database: Database, owner: Person
) -> None:
    document = owner.document()
    for operation in UPLOADS:
        probe(owner, key_of(owner, document), operation=operation)
    assert untouched(database, document)


def test_no_other_operation_stores_an_original(database: Database, owner: Person) -> None:
    document = owner.document()
    for operation in [*OTHERS, *READS]:
        with refused("42501"):
            probe(owner, key_of(owner, document), operation=operation)
    assert untouched(database, document)


def test_a_stored_version_becomes_exactly_one_job(database: Database, owner: Person) -> None:
    document = owner.document()
    version = owner.store(document)
    (job,) = database.jobs()
    assert (job["kind"], str(job["document_id"]), str(job["owner_id"])) == ("archive_document", document, owner.id)
    assert job["args"] == {"object_version": version}
    # the service touches its own row: metadata, last access
    database.run("update storage.objects set last_accessed_at = now(), metadata = metadata || '{}'")
    database.run("update storage.objects set version = version")
    assert len(database.jobs()) == 1
    assert owner.row(document)["object_version"] == version


def test_a_second_upload_is_refused_by_policy_and_by_trigger(database: Database, owner: Person) -> None:
    document = owner.document()
    version = owner.store(document)
    with refused("42501"):
        probe(owner, key_of(owner, document))
    # racing, or by an overwrite: the same row with a new version
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="has its bytes already"):
        SERVICE(database).run("update storage.objects set version = %s", str(uuid.uuid4()))
    assert database.value("select version from storage.objects") == version
    assert len(database.jobs()) == 1


def test_of_two_uploads_that_end_at_once_one_wins(database: Database, owner: Person) -> None:
    document = owner.document()
    key = key_of(owner, document)
    upsert = INSERT + " on conflict (name, bucket_id) do update set version = excluded.version"

    def store(connection: Database) -> None:
        version = str(uuid.uuid4())
        SERVICE(connection).run(upsert, "documents", key, owner.id, version, json.dumps({"size": 5}))

    connections = [database.second() for _ in range(3)]
    raised = in_parallel(*(lambda c=c: store(c) for c in connections))
    assert sorted(getattr(error, "sqlstate", "") for error in raised) == ["", "42501", "42501"]
    (job,) = database.jobs()
    assert database.value("select version from storage.objects") == job["args"]["object_version"]


def test_nobody_stores_into_somebody_elses_document(
    database: Database, owner: Person, stranger: Person, admin: Person, anonymous: Person
) -> None:
    document = owner.document()
    database.run(
        "insert into document_shares (document_id, user_id, shared_by) values (%s, %s, %s)",
        document, stranger.id, owner.id,
    )  # fmt: skip
    for person in (stranger, admin, anonymous):
        for key in (key_of(owner, document), f"{person.id}/{document}"):
            with refused("42501"):
                probe(person, key)
    assert untouched(database, document)


def test_odd_keys_are_refused_and_never_an_error_of_the_database(database: Database, owner: Person) -> None:
    document = owner.document()
    keys = [
        document,
        "",
        "/",
        f"/{owner.id}/{document}",
        f"{owner.id}/{document}/",
        f"{owner.id}/{document}/x",
        f"{owner.id}//{document}",
        f"{owner.id}/{document.upper()}",
        f"{owner.id.upper()}/{document}",
        f"{owner.id}/{document.replace('-', '')}",
        f"{owner.id}/{{{document}}}",
        f"{owner.id}/{document}\n",
        f" {owner.id}/{document}",
        f"{owner.id}/not-a-uuid",
        f"../{owner.id}/{document}",
        "x" * 1024,
        f"{owner.id}/{uuid.uuid4()}",
    ]
    for key in keys:
        with refused("42501"):
            probe(owner, key)
        with refused("42501"):
            finish(database, key)
    assert untouched(database, document)


def test_an_announcement_far_above_the_documents_size_ends_at_the_first_request(
    database: Database, owner: Person
) -> None:
    document = owner.document(size=1000)
    key = key_of(owner, document)
    for announced in (1000, 1000 + 65536, 0, None, "nonsense", 1000.5):
        probe(owner, key, announced)
    for announced in (1000 + 65537, 5_000_000_000, 10**30):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="announced with 1000 bytes"):
            probe(owner, key, announced)
    assert untouched(database, document)


def test_a_size_that_is_not_the_documents_is_refused_at_the_end(database: Database, owner: Person) -> None:
    document = owner.document(size=1000)
    for size in (999, 1001, 0, None, "1000", 10**30):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="announced with 1000 bytes"):
            finish(database, key_of(owner, document), size)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="none arrived"):
        SERVICE(database).run(INSERT, "documents", key_of(owner, document), owner.id, str(uuid.uuid4()), None)
    assert untouched(database, document)
    owner.store(document)
    assert owner.row(document)["status"] == "queued"


def test_an_empty_file_is_a_file(owner: Person) -> None:
    document = owner.document(size=0)
    owner.store(document)
    assert owner.row(document)["status"] == "queued"


def test_a_document_deleted_meanwhile_takes_no_bytes_until_it_is_restored(database: Database, owner: Person) -> None:
    document = owner.document()
    owner.call("delete_document", document)
    with refused("42501"):
        probe(owner, key_of(owner, document))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"The document was deleted\."):
        finish(database, key_of(owner, document))
    assert untouched(database, document)
    owner.call("restore_document", document)
    owner.store(document)
    assert len(database.jobs()) == 1


def test_an_account_closed_meanwhile_takes_no_bytes(database: Database, owner: Person) -> None:
    document = owner.document()
    owner.call("close_account")
    with refused("42501"):
        probe(owner, key_of(owner, document))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="account of this document's owner is closed"):
        finish(database, key_of(owner, document))
    database.run("delete from jobs.queue where kind = 'close_accounts'")
    assert untouched(database, document)


def test_an_abandoned_document_takes_no_bytes(database: Database, owner: Person) -> None:
    document = owner.document()
    database.run("update documents set created_at = now() - interval '3 days'")
    database.run("select jobs.run_maintenance('abandon_uploads')")
    with refused("42501"):
        probe(owner, key_of(owner, document))
    with refused("42501"):
        finish(database, key_of(owner, document))
    assert database.value("select count(*) from storage.objects") == 0


def test_a_person_who_may_not_upload_stores_nothing(database: Database, owner: Person) -> None:
    document = owner.document()
    database.run("delete from user_roles where user_id = %s", owner.id)
    database.grant(owner, "viewer")
    with refused("42501"):
        probe(owner, key_of(owner, document))


def test_clients_put_nothing_into_other_buckets(database: Database, owner: Person) -> None:
    document = owner.document()
    for bucket in ("archives", "avatars"):
        with refused("42501"):
            probe(owner, key_of(owner, document), bucket=bucket)
        with refused("42501"):
            probe(owner, f"{owner.id}/{document}/1-1.zip", bucket=bucket)


def test_originals_are_never_read_signed_listed_moved_copied_or_removed_by_a_client(
    database: Database, owner: Person, recipient: Person, admin: Person, anonymous: Person
) -> None:
    document = owner.document()
    owner.store(document)
    database.run(
        "insert into document_shares (document_id, user_id, shared_by) values (%s, %s, %s)",
        document, recipient.id, owner.id,
    )  # fmt: skip
    for person in (owner, recipient, admin, anonymous):
        for operation in [*READS, *OTHERS, *UPLOADS]:
            assert person.run("select * from storage.objects", operation=operation) == []
            moved = person.run(
                "update storage.objects set name = name || 'x', version = 'y' returning 1", operation=operation
            )
            assert moved == []
            with refused("42501"):
                person.run("delete from storage.objects", operation=operation)
            with database.superuser.transaction(force_rollback=True):
                # as the service deletes
                database.run("set local storage.allow_delete_query = 'true'")
                assert person.run("delete from storage.objects returning 1", operation=operation) == []
            with refused("42501"):
                probe(person, f"{person.id}/copy", operation=operation)
    assert database.value("select name from storage.objects") == key_of(owner, document)


def test_an_upsert_is_refused_whatever_is_there(database: Database, owner: Person) -> None:
    document = owner.document()
    statement = INSERT + " on conflict (name, bucket_id) do update set version = excluded.version"
    for _ in range(2):
        with refused("42501"), database.superuser.transaction(force_rollback=True):
            owner.run(
                statement, "documents", key_of(owner, document), owner.id, "1", '{"contentLength": 5}',
                operation=UPLOADS[0],
            )  # fmt: skip
        if database.value("select count(*) from storage.objects") == 0:
            owner.store(document)


def test_an_archive_is_signed_and_downloaded_by_owner_and_live_recipient_only(
    database: Database,
    owner: Person,
    recipient: Person,
    stranger: Person,
    admin: Person,
    anonymous: Person,
    runner: Runner,
) -> None:
    document = owner.ready(runner)
    path = owner.row(document)["archive_path"]
    query = "select name from storage.objects where bucket_id = 'archives' and name = %s"

    def readers() -> list[Person]:
        people = [owner, recipient, stranger, admin, anonymous]
        found = [[person for person in people if person.run(query, path, operation=operation)] for operation in READS]
        assert found[0] == found[1] == found[2]
        return found[0]

    assert readers() == [owner]
    owner.call("share_document", document, recipient.email)
    assert readers() == [owner, recipient]
    database.run("update document_shares set expires_at = now() - interval '1 second'")
    assert readers() == [owner]
    database.run("update document_shares set expires_at = now() + interval '1 hour'")
    assert readers() == [owner, recipient]
    database.run("delete from user_roles where user_id = %s", recipient.id)
    assert readers() == [owner]
    database.grant(recipient, "viewer")
    assert readers() == [owner, recipient]
    database.run("update profiles set deleted_at = now() where id = %s", recipient.id)
    assert readers() == [owner]
    database.run("update profiles set deleted_at = null where id = %s", recipient.id)
    owner.call("delete_document", document)
    assert readers() == []
    owner.call("restore_document", document)
    database.run("update profiles set deleted_at = now() where id = %s", owner.id)
    assert readers() == []


def test_listing_archives_gives_nothing_to_anybody(database: Database, owner: Person, runner: Runner) -> None:
    owner.ready(runner)
    for operation in [*OTHERS, *UPLOADS]:
        assert owner.run("select * from storage.objects", operation=operation) == []
        assert owner.run("select * from storage.search('', 'archives')", operation=operation) == []
    assert len(owner.run("select * from storage.objects", operation=READS[0])) == 1


def test_an_archive_that_is_not_the_current_one_is_read_by_nobody(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    other = f"{owner.id}/{document}/999-1.zip"
    finish(database, other, bucket="archives")
    assert owner.run("select * from storage.objects where name = %s", other, operation=READS[0]) == []


def test_archives_are_not_changed_or_removed_by_clients(database: Database, owner: Person, runner: Runner) -> None:
    owner.ready(runner)
    for operation in [*READS, *OTHERS]:
        assert owner.run("update storage.objects set version = 'x' returning 1", operation=operation) == []
        with database.superuser.transaction(force_rollback=True):
            database.run("set local storage.allow_delete_query = 'true'")
            assert owner.run("delete from storage.objects returning 1", operation=operation) == []
    assert database.value("select count(*) from storage.objects where bucket_id = 'archives'") == 1


def test_clients_see_no_bucket_and_make_none(owner: Person) -> None:
    assert owner.run("select * from storage.buckets") == []
    with refused("42501"):
        owner.run("insert into storage.buckets (id, name, public) values ('mine', 'mine', true)")
    assert owner.run("update storage.buckets set public = true returning 1") == []


def test_both_buckets_are_private(database: Database) -> None:
    rows = database.run("select id, public from storage.buckets order by id")
    assert [(row["id"], row["public"]) for row in rows] == [("archives", False), ("documents", False)]


def test_other_buckets_of_the_project_are_none_of_our_business(database: Database, owner: Person) -> None:
    database.run("insert into storage.buckets (id, name) values ('avatars', 'avatars')")
    finish(database, "whatever.png", bucket="avatars")
    assert database.jobs() == []


def test_an_upload_and_a_deletion_at_one_moment_leave_one_truth(database: Database, owner: Person) -> None:
    for _ in range(8):
        document = owner.document()
        key = key_of(owner, document)
        one, deleter = database.second(), owner.on(database.second())
        raised = in_parallel(
            lambda c=one, k=key: finish(c, k),  # type: ignore[misc]
            lambda p=deleter, d=document: p.call("delete_document", d),  # type: ignore[misc]
        )
        assert raised[1] is None
        stored = database.value("select count(*) from storage.objects where name = %s", key)
        assert (getattr(raised[0], "sqlstate", None), stored) in ((None, 1), ("42501", 0))
        # stored first: its job was cancelled by the deletion; deleted first: there never was one
        assert database.value("select count(*) from jobs.queue where document_id = %s", document) == 0
