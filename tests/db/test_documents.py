"""Documents: who may add, read, rename and nothing else, within which limits."""

from __future__ import annotations

import psycopg
import pytest

from tests.db.conftest import Database, Person, Runner, in_parallel, refused

READ_ONLY = {
    "id": "gen_random_uuid()",
    "owner_id": "auth.uid()",
    "name_revision": "7",
    "status": "'ready'",
    "progress": "1",
    "error": "'x'",
    "archive_path": "'x'",
    "archive_size_bytes": "1",
    "archive_name_revision": "1",
    "object_version": "'x'",
    "purge_started_at": "now()",
    "created_at": "now()",
    "updated_at": "now()",
    "deleted_at": "now()",
}


def share(database: Database, document: str, person: Person) -> None:
    database.run(
        "insert into document_shares (document_id, user_id, shared_by)"
        " select id, %s, owner_id from documents where id = %s",
        person.id, document,
    )  # fmt: skip


def test_a_member_adds_a_document_and_reads_it(owner: Person) -> None:
    document = owner.value(
        "insert into documents (name, size_bytes, mime_type) values ('a.pdf', 7, 'application/pdf') returning id"
    )
    row = owner.row(document)
    assert str(row["owner_id"]) == owner.id
    assert (row["status"], row["size_bytes"], row["mime_type"], row["progress"]) == (
        "uploading", 7, "application/pdf", 0,
    )  # fmt: skip
    assert (row["name_revision"], row["deleted_at"], row["error"], row["archive_path"]) == (1, None, None, None)


def test_clients_write_no_column_but_name_size_and_type(owner: Person) -> None:
    document = owner.document()
    before = owner.row(document)
    for column, value in READ_ONLY.items():
        with refused("42501"):
            owner.run(f"insert into documents (name, size_bytes, {column}) values ('x', 1, {value})")
        with refused("42501"):
            owner.run(f"update documents set {column} = {value} where id = %s", document)
    for column, value in {"size_bytes": "6", "mime_type": "'text/html'"}.items():
        with refused("42501"):
            owner.run(f"update documents set {column} = {value} where id = %s", document)
    with refused("42501"):
        owner.run("delete from documents where id = %s", document)
    with refused("42501"):
        owner.run("truncate documents")
    assert owner.row(document) == before


def test_the_size_must_be_a_number_within_the_limit(database: Database, owner: Person) -> None:
    limit = database.value("select file_size_limit_bytes from private.settings")
    for size in (-1, None):
        with refused("PT422", "size_invalid"):
            owner.run("insert into documents (name, size_bytes) values ('a', %s)", size)
    with refused("PT413", "file_too_large"):
        owner.document("a", limit + 1)
    with refused("PT413", "file_too_large"):
        owner.document("a", 2**63 - 1)
    assert owner.run("select * from documents") == []
    owner.document("empty", 0)
    owner.document("largest", limit)


def test_a_missing_media_type_becomes_the_general_one_and_a_long_one_is_refused(owner: Person) -> None:
    for given in (None, "", "  "):
        document = owner.value(
            "insert into documents (name, size_bytes, mime_type) values ('a', 1, %s) returning id", given
        )
        assert owner.row(document)["mime_type"] == "application/octet-stream"
    with refused("PT422", "mime_type_invalid"):
        owner.run("insert into documents (name, size_bytes, mime_type) values ('a', 1, repeat('x', 256))")


@pytest.mark.parametrize("mime_type", ["text/html\r\nX-Evil: 1", "a\x01b", "text/\u202eplain", "x" * 256])
def test_a_media_type_is_one_line_of_plain_characters(owner: Person, mime_type: str) -> None:
    with refused("PT422", "mime_type_invalid"):
        owner.run("insert into documents (name, size_bytes, mime_type) values ('a', 1, %s)", mime_type)
    owner.run("insert into documents (name, size_bytes, mime_type) values ('a', 1, 'text/plain; charset=\"utf-8\"')")


def test_the_quota_counts_trash_and_unfinished_uploads_but_not_abandoned_ones(
    database: Database, owner: Person, stranger: Person
) -> None:
    database.run("update private.settings set quota_bytes = 100")
    trashed = owner.document("a", 60)
    owner.call("delete_document", trashed)
    owner.document("b", 40)
    with refused("PT413", "quota_exceeded"):
        owner.document("c", 1)
    owner.document("empty", 0)
    # another person's quota is his own
    stranger.document("d", 100)
    database.run("update documents set created_at = now() - interval '3 days' where id = %s", trashed)
    database.run("select jobs.run_maintenance('abandon_uploads')")
    assert owner.value("select used_bytes from limits") == 40
    owner.document("e", 60)
    with refused("PT413", "quota_exceeded"):
        owner.document("f", 1)


def test_the_quota_holds_within_one_statement_of_many_rows(database: Database, owner: Person) -> None:
    database.run("update private.settings set quota_bytes = 100")
    with refused("PT413", "quota_exceeded"):
        owner.run("insert into documents (name, size_bytes) select 'a', 30 from generate_series(1, 4)")
    assert owner.value("select count(*) from documents") == 0
    owner.run("insert into documents (name, size_bytes) select 'a', 25 from generate_series(1, 4)")
    assert owner.value("select used_bytes from limits") == 100


def test_the_quota_holds_when_two_documents_are_added_at_once(database: Database, owner: Person) -> None:
    database.run("update private.settings set quota_bytes = 100")
    persons = [owner.on(database.second()) for _ in range(4)]
    raised = in_parallel(*(lambda person=person: person.document("a", 60) for person in persons))
    assert sorted(getattr(error, "sqlstate", "") for error in raised) == ["", "PT413", "PT413", "PT413"]
    assert owner.value("select sum(size_bytes) from documents") == 60


def test_the_second_of_two_additions_waits_for_the_first_to_commit(database: Database, owner: Person) -> None:
    database.run("update private.settings set documents_limit = 1")
    second = owner.on(database.second())
    second.database.run("set lock_timeout = '200ms'")
    with database.superuser.transaction():
        owner.document("a")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.document("b")
    with refused("PT413", "too_many_documents"):
        second.document("b")


def test_the_number_of_documents_is_limited(database: Database, owner: Person) -> None:
    database.run("update private.settings set documents_limit = 2")
    first = owner.document()
    owner.document()
    with refused("PT413", "too_many_documents"):
        owner.document()
    owner.call("delete_document", first)
    with refused("PT413", "too_many_documents"):
        owner.document()
    assert owner.value("select documents from limits") == 2


def test_limits_show_what_is_used(database: Database, owner: Person, anonymous: Person) -> None:
    owner.document("a", 5)
    (row,) = owner.run("select * from limits")
    shown = [row[name] for name in ("used_bytes", "documents", "file_size_limit_bytes", "quota_bytes", "trash_days")]
    assert shown == [5, 1, 5_000_000_000, 100_000_000_000, 30]
    database.run("update profiles set deleted_at = now() where id = %s", owner.id)
    assert owner.run("select * from limits") == []


def test_a_stranger_neither_reads_nor_changes(owner: Person, stranger: Person, runner: Runner) -> None:
    document = owner.ready(runner)
    assert not stranger.sees(document)
    assert stranger.run("update documents set name = 'mine' where id = %s returning 1", document) == []
    for function in ("delete_document", "restore_document", "purge_document", "retry_document", "request_download"):
        with refused("PT404", "document_not_found"):
            stranger.call(function, document)
    assert owner.row(document)["name"] == "report.pdf"
    assert owner.row(document)["deleted_at"] is None


def test_a_recipient_reads_but_changes_nothing(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    share(database, document, recipient)
    assert recipient.sees(document)
    assert recipient.run("update documents set name = 'mine' where id = %s returning 1", document) == []
    for function in ("delete_document", "restore_document", "purge_document", "retry_document"):
        with refused("PT403", "not_owner"):
            recipient.call(function, document)
    assert recipient.call("request_download", document)["status"] == "ready"
    assert (owner.row(document)["name"], owner.row(document)["deleted_at"]) == ("report.pdf", None)


def test_an_admin_sees_and_changes_no_document_of_others(admin: Person, owner: Person, runner: Runner) -> None:
    document = owner.ready(runner)
    assert not admin.sees(document)
    assert admin.run("update documents set name = 'x' where id = %s returning 1", document) == []
    for function in ("delete_document", "purge_document", "retry_document", "request_download"):
        with refused("PT404", "document_not_found"):
            admin.call(function, document)


def test_a_viewer_adds_nothing_and_keeps_what_he_has(database: Database, owner: Person) -> None:
    document = owner.document()
    database.run("delete from user_roles where user_id = %s", owner.id)
    database.grant(owner, "viewer")
    with refused("PT403", "not_allowed"):
        owner.document()
    assert owner.sees(document)
    owner.run("update documents set name = 'b.txt' where id = %s", document)
    owner.call("delete_document", document)
    owner.call("restore_document", document)
    assert owner.row(document)["name"] == "b.txt"


def test_a_person_without_a_role_adds_nothing(database: Database, owner: Person) -> None:
    database.run("delete from user_roles where user_id = %s", owner.id)
    with refused("PT403", "not_allowed"):
        owner.document()
    assert owner.run("select * from documents") == []


def test_a_closed_account_is_out_at_its_next_statement(database: Database, owner: Person, runner: Runner) -> None:
    document = owner.ready(runner)
    owner.call("close_account")
    assert owner.run("select * from documents") == []
    for view in ("shared_with_me", "document_access", "limits", "logs", "profiles", "user_roles", "roles"):
        assert owner.run(f"select * from {view}") == [], view
    with refused("PT403", "not_allowed"):
        owner.document()
    assert owner.run("update documents set name = 'x' where id = %s returning 1", document) == []
    assert owner.run("update profiles set first_name = 'x' where id = %s returning 1", owner.id) == []
    for function in ("delete_document", "restore_document", "purge_document", "retry_document", "request_download"):
        with refused("PT404", "document_not_found"):
            owner.call(function, document)
    with refused("PT404", "account_not_found"):
        owner.call("close_account")
    assert database.value("select name from documents where id = %s", document) == "report.pdf"


def test_anonymous_does_nothing_to_documents(owner: Person, anonymous: Person) -> None:
    document = owner.document()
    for statement in (
        "select * from documents",
        "insert into documents (name, size_bytes) values ('a', 1)",
        "update documents set name = 'x'",
        "delete from documents",
    ):
        with refused("42501"):
            anonymous.run(statement)
    assert owner.row(document)["name"] == "report.pdf"


def test_a_deleted_document_cannot_be_renamed(owner: Person) -> None:
    document = owner.document("a.txt")
    owner.call("delete_document", document)
    assert owner.run("update documents set name = 'b.txt' where id = %s returning 1", document) == []
    assert owner.row(document)["name"] == "a.txt"


def test_a_failed_document_is_retried_by_its_owner(database: Database, owner: Person, runner: Runner) -> None:
    document = owner.document()
    with refused("PT409", "not_failed"):
        owner.call("retry_document", document)
    owner.store(document)
    (job,) = runner.claim()
    runner.fail(job, "source_missing: The uploaded file is no longer in storage.", retryable=False)
    row = owner.row(document)
    assert (row["status"], row["error"]) == ("failed", "source_missing: The uploaded file is no longer in storage.")
    row = owner.call("retry_document", document)
    assert (row["status"], row["error"], str(row["id"])) == ("queued", None, document)
    with refused("PT409", "not_failed"):
        owner.call("retry_document", document)
    (job,) = runner.claim()
    runner.publish(job)
    assert owner.row(document)["status"] == "ready"


def test_an_abandoned_upload_is_not_retried(database: Database, owner: Person) -> None:
    document = owner.document()
    database.run("update documents set created_at = now() - interval '3 days'")
    database.run("select jobs.run_maintenance('abandon_uploads')")
    assert owner.row(document)["error"].startswith("upload_abandoned: ")
    with refused("PT409", "nothing_stored"):
        owner.call("retry_document", document)


def test_a_download_is_told_and_logged_only_when_ready(database: Database, owner: Person, runner: Runner) -> None:
    document = owner.document("a.txt")
    answer = owner.call("request_download", document)
    assert (answer["status"], answer["archive_path"], answer["filename"], answer["access_until"]) == (
        "uploading", None, "a.txt.zip", None,
    )  # fmt: skip
    owner.store(document)
    assert owner.call("request_download", document)["archive_path"] is None
    assert database.value("select count(*) from logs where event_name = 'download_url_made'") == 0
    (job,) = runner.claim()
    runner.publish(job)
    answer = owner.call("request_download", document)
    assert (answer["status"], answer["size_bytes"], answer["error"]) == ("ready", 100, None)
    assert answer["archive_path"] == owner.row(document)["archive_path"]
    assert database.value("select count(*) from logs where event_name = 'download_url_made'") == 1
    owner.call("delete_document", document)
    with refused("PT404", "document_not_found"):
        owner.call("request_download", document)
