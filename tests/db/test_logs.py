"""The log: append-only, and read by whom it concerns."""

from __future__ import annotations

from tests.db.conftest import SERVICE, Database, Person, Runner, refused


def test_every_step_of_a_document_is_in_its_owners_log(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    share = owner.call("share_document", document, recipient.email)
    recipient.call("request_download", document)
    owner.call("change_share", share["id"], None)
    owner.run("update documents set name = 'b.txt'")
    recipient.call("leave_share", document)
    owner.call("delete_document", document)
    owner.call("delete_document", document)
    owner.call("restore_document", document)
    owner.call("restore_document", document)
    rows = owner.run("select event_name, user_id, document_id from logs order by id")
    assert [row["event_name"] for row in rows] == [
        "signed_up", "created", "uploaded", "ready", "shared", "download_url_made", "share_changed", "renamed",
        "share_left", "deleted", "restored",
    ]  # fmt: skip
    by = {row["event_name"]: row["user_id"] and str(row["user_id"]) for row in rows}
    assert (by["uploaded"], by["ready"], by["download_url_made"]) == (owner.id, None, recipient.id)
    # a recipient reads what he did himself, not what else happens to the document
    assert [row["event_name"] for row in recipient.run("select * from logs order by id")] == [
        "signed_up", "download_url_made", "share_left",
    ]  # fmt: skip


def test_strangers_and_anonymous_read_nothing_of_it_admins_everything(
    database: Database, owner: Person, stranger: Person, admin: Person, anonymous: Person
) -> None:
    owner.document()
    assert [row["event_name"] for row in stranger.run("select * from logs")] == ["signed_up"]
    assert admin.value("select count(*) from logs") == database.value("select count(*) from logs") == 5
    with refused("42501"):
        anonymous.run("select * from logs")


def test_nobody_writes_changes_or_removes_a_row(database: Database, owner: Person, admin: Person) -> None:
    owner.document()
    before = database.run("select * from logs order by id")
    for person in (owner, admin, SERVICE(database)):
        for statement in (
            "insert into logs (event_name) values ('fake')",
            "update logs set event_name = 'x'",
            "delete from logs",
        ):
            with refused("42501"):
                person.run(statement)
    # the operator's own session too: an accident, not a policy
    for statement in ("update logs set event_name = 'fake'", "delete from logs", "truncate logs"):
        with refused("42501"):
            database.run(statement)
    assert database.run("select * from logs order by id") == before


def test_pruning_removes_what_is_older_than_its_period_and_nothing_else(
    database: Database, owner: Person, runner: Runner
) -> None:
    owner.ready(runner)
    database.run(
        "insert into logs (event_name, owner_id, created_at) values ('old', %s, now() - interval '366 days')", owner.id
    )
    database.run("update jobs.history set finished_at = now() - interval '31 days'")
    database.run("insert into jobs.attempts (job_id, attempt, crashed, error, at)"
                 " values (1, 1, true, 'x', now() - interval '31 days'), (1, 1, true, 'x', now())")  # fmt: skip
    database.run(
        "insert into jobs.runners (id, host, seen_at) values (gen_random_uuid(), 'x', now() - interval '2 days')"
    )
    assert runner.call("run_maintenance", "prune_history").items() >= {"jobs": 1, "attempts": 1, "events": 1}.items()
    assert [row["event_name"] for row in owner.run("select event_name from logs order by id")] == [
        "signed_up", "created", "uploaded", "ready",
    ]  # fmt: skip
    assert database.value("select count(*) from jobs.runners") == 1
    with refused("42501"):
        database.run("delete from logs")


def test_a_long_description_is_cut_not_refused(database: Database, owner: Person) -> None:
    database.run("select private.log_event('long', repeat('x', 5000), null, %s, null)", owner.id)
    assert database.value("select char_length(event_description) from logs where event_name = 'long'") == 1000
