"""The log: each event that people hear of is one row, with who, what, when and which document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.db.conftest import SERVICE, Database, Person, Runner, refused


@dataclass
class Scene:
    """Who takes part, and a document that is ready and shared."""

    database: Database
    owner: Person
    recipient: Person
    admin: Person
    runner: Runner

    def __post_init__(self) -> None:
        self.document = self.owner.ready(self.runner)
        self.share = str(self.owner.call("share_document", self.document, self.recipient.email)["id"])

    def upload(self) -> str:
        self.document = self.owner.document("new.pdf")
        self.owner.store(self.document)
        return self.document

    def publish(self) -> None:
        self.upload()
        for job in self.runner.claim(100):
            if job["kind"] == "archive_document":
                self.runner.publish(job)

    def fail(self, retryable: bool = False) -> None:
        self.upload()
        for job in self.runner.claim(100):
            if job["kind"] == "archive_document":
                self.runner.fail(job, "source_missing: It is gone.", retryable=retryable)

    def delete(self) -> None:
        self.owner.call("delete_document", self.document)

    def purge(self) -> None:
        self.delete()
        self.owner.call("purge_document", self.document)
        self.database.run("select set_config('storage.allow_delete_query', 'true', false)")
        self.database.run("delete from storage.objects")
        assert self.runner.call("finish_purge", self.document)

    def restore(self) -> None:
        self.delete()
        self.owner.call("restore_document", self.document)

    def sign_up(self) -> None:
        self.owner = self.database.sign_up("new@example.test")

    def schedule(self) -> str:
        return str(self.database.value("select id from scheduled_jobs where kind = 'sweep_orphans'"))


# event: what brings it about, who did it (by attribute), whether it is about the document, and words of it
EVENTS: dict[str, tuple[Callable[[Scene], object], str | None, bool, str]] = {
    "signed_up": (Scene.sign_up, "owner", False, "Account created"),
    "created": (lambda s: setattr(s, "document", s.owner.document("new.pdf")), "owner", True, "Added new.pdf"),
    "uploaded": (Scene.upload, "owner", True, "Uploaded new.pdf"),
    "ready": (Scene.publish, None, True, "Zipped"),
    "failed": (Scene.fail, None, True, "source_missing: It is gone."),
    "renamed": (
        lambda s: s.owner.run("update documents set name = 'b.pdf' where id = %s", s.document),
        "owner", True, "Renamed report.pdf to b.pdf",
    ),
    "shared": (
        lambda s: s.owner.call("share_document", s.document, "new@example.test"),
        "owner", True, "Shared with new@example.test",
    ),
    "share_changed": (
        lambda s: s.owner.call("change_share", s.share, "2099-01-01"),
        "owner", True, "Access of recipient@example.test ends 2099-01-01",
    ),
    "share_revoked": (
        lambda s: s.owner.call("revoke_share", s.share), "owner", True, "Access of recipient@example.test ended",
    ),
    "share_left": (lambda s: s.recipient.call("leave_share", s.document), "recipient", True, "gave up access"),
    "download_url_made": (
        lambda s: s.recipient.call("request_download", s.document), "recipient", True, "Download of report.pdf",
    ),
    "deleted": (Scene.delete, "owner", True, "Moved report.pdf to the trash"),
    "restored": (Scene.restore, "owner", True, "Restored report.pdf"),
    "purged": (Scene.purge, None, True, "Removed report.pdf for good"),
    "role_granted": (
        lambda s: s.admin.call("admin_grant_role", s.owner.id, "viewer"), "admin", False, "Gave the role viewer",
    ),
    "role_revoked": (
        lambda s: s.admin.call("admin_revoke_role", s.owner.id, "member"), "admin", False, "Took the role member",
    ),
    "schedule_changed": (
        lambda s: s.admin.call("admin_enable_schedule", s.schedule(), False), "admin", False, "runs no more",
    ),
    "account_closed": (lambda s: s.owner.call("close_account"), "owner", False, "Account closed"),
}  # fmt: skip


@pytest.fixture
def scene(database: Database, owner: Person, recipient: Person, admin: Person, runner: Runner) -> Scene:
    return Scene(database, owner, recipient, admin, runner)


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_one_row_with_who_what_when_and_which_document(scene: Scene, event: str) -> None:
    act, by, about_document, words = EVENTS[event]
    database = scene.database
    start = database.value("select max(id) from logs")
    began = database.value("select clock_timestamp()")
    act(scene)
    rows = database.run(
        "select user_id::text, owner_id::text, document_id::text, event_description, created_at from logs"
        " where id > %s and event_name = %s", start, event,
    )  # fmt: skip
    assert len(rows) == 1, rows
    (row,) = rows
    assert row["user_id"] == (getattr(scene, by).id if by else None)
    assert row["document_id"] == (scene.document if about_document else None)
    assert words in row["event_description"]
    assert began.timestamp() - 1 <= row["created_at"].timestamp() <= database.value("select now()").timestamp()
    # whoever it concerns reads it (but a schedule concerns administrators alone), and so do administrators
    if event != "account_closed":
        concerns = None if event == "schedule_changed" else scene.owner.id
        assert row["owner_id"] == concerns
        assert len(scene.owner.run("select 1 from logs where id > %s and event_name = %s", start, event)) == bool(
            concerns
        )
    assert len(scene.admin.run("select 1 from logs where id > %s and event_name = %s", start, event)) == 1


def test_a_retry_that_is_no_end_and_a_rename_to_the_same_name_are_no_events(scene: Scene) -> None:
    database = scene.database
    scene.fail(retryable=True)
    start = database.value("select max(id) from logs")
    scene.owner.run("update documents set name = name")
    scene.owner.call("delete_document", scene.document)
    scene.owner.call("delete_document", scene.document)
    rows = database.run("select event_name from logs where id > %s", start)
    assert [row["event_name"] for row in rows] == ["deleted"]
    assert database.value("select count(*) from logs where event_name = 'failed'") == 0


def test_nobody_forges_an_event(database: Database, owner: Person, admin: Person) -> None:
    """Not its subject, not an administrator, not the secret key, and not through a setting that the pruning uses."""
    owner.document()
    before = database.run("select * from logs order by id")
    for person in (owner, admin, SERVICE(database), Person(database, "", "", "instashare_runner")):
        for statement in (
            "insert into logs (event_name, user_id) values ('deleted', gen_random_uuid())",
            "update logs set created_at = now()",
            "delete from logs",
            "truncate logs",
            "select private.log_event('deleted', 'x', null, null, null)",
            "with on_ as materialized (select set_config('instashare.pruning', 'on', true)) delete from logs",
        ):
            with refused("42501"):
                person.run(statement)
    assert database.run("select * from logs order by id") == before
