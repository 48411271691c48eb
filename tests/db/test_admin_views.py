"""What administrators see and do, and that nobody else does."""

from __future__ import annotations

import psycopg
import pytest

from tests.db.conftest import Database, Person, Runner, in_parallel, refused

VIEWS = (
    "admin_users", "admin_documents", "admin_document_counts", "admin_jobs", "admin_job_rates", "admin_runners",
    "admin_logs",
)  # fmt: skip


@pytest.mark.parametrize("view", VIEWS)
def test_members_read_no_admin_view(database: Database, owner: Person, admin: Person, view: str) -> None:
    owner.ready(database.runner())
    assert admin.run(f"select * from {view}")
    assert owner.run(f"select * from {view}") == []


@pytest.mark.parametrize("view", VIEWS)
def test_an_administrator_who_lost_the_role_reads_nothing(
    database: Database, owner: Person, admin: Person, view: str
) -> None:
    owner.ready(database.runner())
    database.grant(owner, "admin")
    database.run("delete from user_roles where user_id = %s", admin.id)
    assert admin.run(f"select * from {view}") == []


@pytest.mark.parametrize("view", VIEWS)
def test_studio_reads_the_admin_views(database: Database, owner: Person, view: str) -> None:
    owner.ready(database.runner())
    with database.superuser.transaction(force_rollback=True):
        database.run("set local session authorization postgres")
        assert database.run(f"select * from {view}")


def test_administrators_see_people_with_roles_and_storage(database: Database, owner: Person, admin: Person) -> None:
    owner.document(size=7)
    owner.document(size=5)
    rows = {row["email"]: row for row in admin.run("select * from admin_users")}
    assert rows[owner.email]["roles"] == ["member"]
    assert rows[admin.email]["roles"] == ["admin", "member"]
    assert (rows[owner.email]["documents"], rows[owner.email]["used_bytes"]) == (2, 12)
    assert rows[owner.email]["first_name"] == "Olga"


def test_administrators_see_metadata_of_everybody_s_documents_and_no_way_to_bytes(
    database: Database, owner: Person, recipient: Person, admin: Person
) -> None:
    document = owner.ready(database.runner(), "plan.pdf", 7)
    owner.call("share_document", document, recipient.email)
    owner.call("share_document", document, "invited@example.test")
    (row,) = admin.run("select * from admin_documents")
    assert [row[name] for name in ("owner_email", "name", "size_bytes", "status", "shares", "deleted_at")] == [
        owner.email, "plan.pdf", 7, "ready", 2, None,
    ]  # fmt: skip
    assert not {"archive_path", "object_version"} & set(row)
    assert str(owner.row(document)["archive_path"]) not in str(list(row.values()))
    assert admin.run("select * from documents") == []
    assert admin.run("select * from storage.objects", operation="storage.object.sign") == []
    with refused("42501"):
        admin.run("select * from private.admin_documents")
    for statement in ("update admin_documents set name = 'x'", "delete from admin_documents"):
        with pytest.raises(psycopg.Error):
            admin.run(statement)
    owner.call("delete_document", document)
    assert admin.value("select deleted_at is not null from admin_documents")
    counts = admin.run("select * from admin_document_counts")
    assert counts == [{"status": "ready", "in_trash": True, "documents": 1, "size_bytes": 7, "archive_size_bytes": 100}]


def test_a_page_of_documents_reads_no_more_than_the_page(database: Database, owner: Person, admin: Person) -> None:
    database.run("alter table documents disable trigger user")
    database.run(
        "insert into documents (owner_id, name, size_bytes, created_at)"
        " select %s, 'n' || i, i, now() - i * interval '1 second' from generate_series(1, 5000) i",
        owner.id,
    )
    database.run("analyze documents")
    page = (
        "explain (analyze, costs off, timing off)"
        " select * from admin_documents {} order by created_at desc, id desc limit 5"
    )
    for where in ("", "where created_at <= now() - interval '1 hour'"):
        plan = "\n".join(str(*row.values()) for row in admin.run(page.format(where)))
        assert "documents_created_idx" in plan and "Sort" not in plan, plan
        # whoever may not read has no row read, so that no filter of his can look at one
        plan = "\n".join(str(*row.values()) for row in owner.run(page.format(where)))
        assert "One-Time Filter" in plan and "documents_created_idx on documents d (never executed)" in plan, plan


def test_administrators_give_and_take_roles(database: Database, owner: Person, admin: Person) -> None:
    start = database.value("select max(id) from logs")
    admin.call("admin_grant_role", owner.id, "viewer")
    admin.call("admin_grant_role", owner.id, "viewer")
    admin.call("admin_revoke_role", owner.id, "member")
    (row,) = admin.run("select roles from admin_users where id = %s", owner.id)
    assert row["roles"] == ["viewer"]
    with refused("PT403", "not_allowed"):
        owner.document()
    events = database.run("select event_name, user_id::text, owner_id::text from logs where id > %s order by id", start)
    assert [(event["event_name"], event["user_id"], event["owner_id"]) for event in events] == [
        ("role_granted", admin.id, owner.id),
        ("role_revoked", admin.id, owner.id),
    ]


def test_members_change_no_roles(database: Database, owner: Person, stranger: Person, admin: Person) -> None:
    for function in ("admin_grant_role", "admin_revoke_role"):
        for role in ("admin", "member"):
            with refused("PT403", "not_allowed"):
                owner.call(function, owner.id, role)
    assert database.value("select count(*) from user_roles where user_id = %s", owner.id) == 1


def test_unknown_roles_and_people_are_refused(database: Database, owner: Person, admin: Person) -> None:
    with refused("PT422", "role_unknown"):
        admin.call("admin_grant_role", owner.id, "king")
    with refused("PT404", "person_not_found"):
        admin.call("admin_grant_role", "00000000-0000-4000-8000-000000000000", "viewer")
    owner.run("select close_account()")
    with refused("PT409", "account_closed"):
        admin.call("admin_grant_role", owner.id, "admin")


def test_the_last_administrator_stays(database: Database, owner: Person, admin: Person) -> None:
    with refused("PT409", "last_admin"):
        admin.call("admin_revoke_role", admin.id, "admin")
    admin.call("admin_grant_role", owner.id, "admin")
    admin.call("admin_revoke_role", admin.id, "admin")
    with refused("PT403", "not_allowed"):
        admin.call("admin_grant_role", admin.id, "admin")


def test_two_administrators_cannot_unmake_each_other(database: Database, owner: Person, admin: Person) -> None:
    database.grant(owner, "admin")
    first, second = admin.on(database.second()), owner.on(database.second())
    in_parallel(
        lambda: first.call("admin_revoke_role", owner.id, "admin"),
        lambda: second.call("admin_revoke_role", admin.id, "admin"),
    )
    administrators = "select count(*) from user_roles u join roles r on r.id = u.role_id where r.name = 'admin'"
    assert database.value(administrators) == 1


def test_jobs_are_shown_from_waiting_to_finished(database: Database, owner: Person, admin: Person) -> None:
    runner: Runner = database.runner()
    document = owner.document("plan.pdf")
    owner.store(document)
    (job,) = admin.run("select * from admin_jobs")
    assert (job["state"], job["kind"], job["owner_email"], job["document_name"]) == (
        "pending", "archive_document", owner.email, "plan.pdf",
    )  # fmt: skip
    (claimed,) = runner.claim()
    runner.beat(claimed, 0.5)
    (job,) = admin.run("select * from admin_jobs")
    assert (job["state"], job["progress"], job["host"]) == ("running", 0.5, "test")
    assert admin.value("select running from admin_runners") == 1
    runner.publish(claimed)
    (job,) = admin.run("select * from admin_jobs")
    assert job["state"] == "succeeded" and job["finished_at"] is not None
    (rates,) = admin.run("select * from admin_job_rates")
    assert (rates["waiting"], rates["running"], rates["finished_last_minute"], rates["runners"]) == (0, 0, 1, 1)


def test_administrators_retry_a_dead_job(database: Database, owner: Person, admin: Person) -> None:
    runner = database.runner()
    document = owner.document()
    owner.store(document)
    (claimed,) = runner.claim()
    runner.fail(claimed, "source_missing: The uploaded file is no longer in storage.", retryable=False)
    (job,) = admin.run("select * from admin_jobs where state = 'dead'")
    assert job["error"].startswith("source_missing")
    with refused("PT403", "not_allowed"):
        owner.call("admin_retry_job", job["id"])
    assert admin.call("admin_retry_job", job["id"]) != job["id"]
    assert owner.row(document)["status"] == "queued"
    with refused("PT409", "not_retryable"):
        admin.call("admin_retry_job", job["id"])


def test_administrators_cancel_a_waiting_job(database: Database, owner: Person, admin: Person) -> None:
    owner.store(owner.document())
    job_id = admin.value("select id from admin_jobs")
    with refused("PT403", "not_allowed"):
        owner.call("admin_cancel_job", job_id)
    admin.call("admin_cancel_job", job_id)
    assert admin.value("select state from admin_jobs where id = %s", job_id) == "cancelled"
    with refused("PT404", "job_not_found"):
        admin.call("admin_cancel_job", job_id)


def test_administrators_run_and_switch_schedules(database: Database, owner: Person, admin: Person) -> None:
    schedule = database.value("select id from scheduled_jobs where kind = 'prune_history'")
    with refused("PT403", "not_allowed"):
        owner.call("admin_run_schedule", schedule)
    job_id = admin.call("admin_run_schedule", schedule)
    assert admin.value("select kind from admin_jobs where id = %s", job_id) == "prune_history"
    with refused("PT409", "already_running"):
        admin.call("admin_run_schedule", schedule)
    with refused("PT403", "not_allowed"):
        owner.call("admin_enable_schedule", schedule, False)
    admin.call("admin_enable_schedule", schedule, False)
    assert database.value("select enabled from scheduled_jobs where id = %s", schedule) is False
    with refused("PT404", "schedule_not_found"):
        admin.call("admin_enable_schedule", owner.id, True)


def test_the_log_names_who_did_what(database: Database, owner: Person, admin: Person) -> None:
    owner.document("plan.pdf")
    (event,) = admin.run("select * from admin_logs where event_name = 'created'")
    assert (event["user_email"], event["event_description"]) == (owner.email, "Added plan.pdf")


def test_counts_tell_each_his_own(database: Database, owner: Person, recipient: Person, anonymous: Person) -> None:
    runner = database.runner()
    document = owner.ready(runner)
    owner.document("second.pdf")
    owner.call("delete_document", owner.document("third.pdf"))
    owner.call("share_document", document, recipient.email)
    (counts,) = owner.run("select * from library_counts")
    assert counts == {"documents": 2, "in_progress": 1, "failed": 0, "trash": 1, "shared_with_me": 0}
    (counts,) = recipient.run("select * from library_counts")
    assert counts == {"documents": 0, "in_progress": 0, "failed": 0, "trash": 0, "shared_with_me": 1}
    with refused("42501"):
        anonymous.run("select * from library_counts")
    owner.run("select close_account()")
    assert owner.run("select * from library_counts") == []


def test_files_of_one_request_keep_their_order(owner: Person) -> None:
    owner.run("insert into documents (name, size_bytes) values ('a', 1), ('b', 1), ('c', 1)")
    rows = owner.run("select name from documents order by created_at, id")
    assert [row["name"] for row in rows] == ["a", "b", "c"]
