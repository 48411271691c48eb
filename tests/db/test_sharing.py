"""Sharing: by address, without telling who has an account, and gone the moment it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.db.conftest import Database, Person, Runner, in_parallel, refused

SOON = timedelta(hours=1)


def revocations(database: Database) -> int:
    return len([job for job in database.jobs("refresh_archive") if job["args"]["revoke"]])


def later(**delta: float) -> datetime:
    return datetime.now(UTC) + timedelta(**delta)


def test_a_recipient_reads_what_is_shared_until_it_is_revoked(
    database: Database, owner: Person, recipient: Person, stranger: Person, runner: Runner
) -> None:
    document, other = owner.ready(runner), owner.ready(runner)
    share = owner.call("share_document", document, recipient.email)
    assert recipient.sees(document)
    assert not recipient.sees(other)
    assert not stranger.sees(document)
    (row,) = recipient.run("select * from shared_with_me")
    assert (str(row["id"]), row["owner_name"], row["owner_email"], row["status"]) == (
        document, "Olga", owner.email, "ready",
    )  # fmt: skip
    assert stranger.run("select * from shared_with_me") == owner.run("select * from shared_with_me") == []
    owner.call("revoke_share", share["id"])
    assert not recipient.sees(document)
    assert recipient.run("select * from shared_with_me") == []
    with refused("PT404", "document_not_found"):
        recipient.call("request_download", document)
    assert revocations(database) == 1
    with refused("PT404", "share_not_found"):
        owner.call("revoke_share", share["id"])


def test_the_answer_is_alike_whether_or_not_the_address_has_an_account(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    """Neither the answer, nor the view, the log, the jobs nor the document tell the owner."""
    database.sign_up("unconfirmed@example.test", confirmed=False)
    closed = database.sign_up("closed@example.test")
    closed.call("close_account")
    addresses = [recipient.email, "nobody@example.test", "unconfirmed@example.test", closed.email]
    seen: list[Any] = []
    for address in addresses:
        document = owner.ready(runner)
        before = owner.row(document)
        answer = owner.call("share_document", document, f"  {address.upper()} ", later(hours=1))
        changed = owner.call("change_share", answer["id"], later(hours=2))
        listed = owner.run("select * from document_access where document_id = %s", document)
        owner.call("revoke_share", answer["id"])
        again = owner.call("share_document", document, address, later(hours=1))
        database.run("update document_shares set expires_at = now()")
        database.run("update share_invitations set expires_at = now()")
        expired = database.value("select jobs.run_maintenance('expire_shares')")
        moved = [job for job in runner.claim(10) if job["kind"] == "refresh_archive"]
        for job in moved:
            runner.publish(job)
        after = owner.row(document)
        events = owner.run(
            "select event_name, replace(event_description, %s, 'X') as text, user_id is null as by_system from logs"
            " where document_id = %s order by id",
            address, document,
        )  # fmt: skip
        seen.append(
            (
                [sorted(made) for made in (answer, changed, again, listed[0])],
                [made["email"] == address for made in (answer, changed, again, listed[0])],
                str(listed[0]["id"]) == answer["id"],
                expired,
                len(moved),
                before["archive_path"] == after["archive_path"],
                [(row["event_name"], row["by_system"]) for row in events],
            )
        )
        assert owner.run("select * from document_access where document_id = %s", document) == []
    assert seen[0][1] == [True] * 4
    assert seen[0][4:6] == (1, False)
    assert seen[1:] == [seen[0]] * 3


def test_an_invitation_becomes_a_share_when_its_address_is_confirmed_and_keeps_its_number(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    share = owner.call("share_document", document, "New@Example.test", later(hours=1))
    newcomer = database.sign_up("new@example.test", confirmed=False)
    assert not newcomer.sees(document)
    assert len(owner.run("select * from document_access")) == 1
    with database.superuser.transaction():
        database.run("set local role supabase_auth_admin")
        database.run("update auth.users set email_confirmed_at = now() where id = %s", newcomer.id)
    assert newcomer.sees(document)
    (row,) = owner.run("select * from document_access")
    assert (str(row["id"]), row["email"]) == (share["id"], "new@example.test")
    owner.call("revoke_share", share["id"])
    assert not newcomer.sees(document)


def test_an_account_that_is_confirmed_from_the_start_finds_its_invitations(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    expired = owner.document()
    owner.call("share_document", document, "new@example.test")
    owner.call("share_document", expired, "new@example.test", later(hours=1))
    database.run("update share_invitations set expires_at = now() - interval '1 s' where document_id = %s", expired)
    newcomer = database.sign_up("new@example.test")
    assert newcomer.sees(document)
    assert not newcomer.sees(expired)
    assert database.value("select count(*) from share_invitations") == 0


def test_a_new_address_takes_invitations_once_it_is_confirmed_and_not_before(
    database: Database, owner: Person, stranger: Person
) -> None:
    document = owner.document()
    owner.call("share_document", document, "other@example.test")
    database.run("update auth.users set email = 'third@example.test' where id = %s", stranger.id)
    assert not stranger.sees(document)
    database.run("update auth.users set email = 'other@example.test' where id = %s", stranger.id)
    assert stranger.sees(document)


def test_an_invitation_that_was_missed_is_claimed_at_the_next_sign_in(
    database: Database, owner: Person, stranger: Person
) -> None:
    document = owner.document()
    # made in the very moment in which the address was confirmed
    database.run(
        "insert into share_invitations (document_id, email, shared_by) values (%s, %s, %s)",
        document, stranger.email, owner.id,
    )  # fmt: skip
    assert not stranger.sees(document)
    database.run("update auth.users set last_sign_in_at = now() where id = %s", stranger.id)
    assert stranger.sees(document)


def test_an_owner_is_never_his_own_recipient(database: Database, owner: Person) -> None:
    document = owner.document()
    for address in (owner.email, f" {owner.email.upper()} "):
        with refused("PT422", "share_with_self"):
            owner.call("share_document", document, address)
    owner.call("share_document", document, "alias@example.test")
    database.run("update auth.users set email = 'alias@example.test' where id = %s", owner.id)
    assert database.value("select count(*) from document_shares") == 0


@pytest.mark.parametrize("address", ["", " ", "nobody", "@", "a@", "@b", "a b@c.d", "a@b@c", "a" * 320 + "@b.c", None])
def test_what_is_no_address_is_refused(owner: Person, address: str | None) -> None:
    document = owner.document()
    with refused("PT422", "email_invalid"):
        owner.call("share_document", document, address)
    assert owner.run("select * from document_access") == []


def test_a_share_ends_by_its_date_at_once_and_its_links_within_a_minute(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    ends = later(hours=1)
    owner.call("share_document", document, recipient.email, ends)
    assert datetime.fromisoformat(recipient.call("request_download", document)["access_until"]) == ends
    assert owner.call("request_download", document)["access_until"] is None
    database.run("update document_shares set expires_at = now() - interval '1 second'")
    assert not recipient.sees(document)
    assert recipient.run("select * from shared_with_me") == []
    with refused("PT404", "document_not_found"):
        recipient.call("request_download", document)
    assert revocations(database) == 0
    assert runner.call("run_maintenance", "expire_shares") == {"shares": 1}
    assert revocations(database) == 1
    assert runner.call("run_maintenance", "expire_shares") == {"shares": 0}


def test_expiry_passes_over_a_document_that_is_held_and_comes_back(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    owner.call("share_document", document, recipient.email, later(hours=1))
    database.run("update document_shares set expires_at = now() - interval '1 second'")
    other = database.second()
    with database.superuser.transaction():
        database.run("select 1 from documents for update")
        assert other.runner().call("run_maintenance", "expire_shares") == {"shares": 0}
    assert runner.call("run_maintenance", "expire_shares") == {"shares": 1}


def test_the_end_of_a_share_can_be_moved_but_not_into_the_past(
    database: Database, owner: Person, recipient: Person, stranger: Person
) -> None:
    document = owner.document()
    with refused("PT422", "expiry_past"):
        owner.call("share_document", document, recipient.email, later(seconds=-5))
    share = owner.call("share_document", document, recipient.email, later(hours=1))
    for end in (later(days=3), None):
        changed = owner.call("change_share", share["id"], end)
        assert (changed["id"], changed["email"]) == (share["id"], recipient.email)
        assert database.value("select expires_at from document_shares") == end
    for end in ("infinity", "-infinity"):
        if end == "infinity":
            assert owner.call("change_share", share["id"], end)["expires_at"] is None
        else:
            with refused("PT422", "expiry_past"):
                owner.call("change_share", share["id"], end)
    with refused("PT422", "expiry_past"):
        owner.call("change_share", share["id"], later(seconds=-5))
    for person in (stranger, recipient):
        with refused("PT404", "share_not_found"):
            person.call("change_share", share["id"], None)
        with refused("PT404", "share_not_found"):
            person.call("revoke_share", share["id"])
    assert recipient.sees(document)


def test_sharing_again_moves_the_end_and_makes_no_second_share(
    database: Database, owner: Person, recipient: Person
) -> None:
    document = owner.document()
    first = owner.call("share_document", document, recipient.email)
    second = owner.call("share_document", document, recipient.email, later(hours=1))
    assert first["id"] == second["id"]
    assert len(owner.run("select * from document_access")) == 1


def test_only_the_owner_shares_and_only_what_lives(
    owner: Person, recipient: Person, stranger: Person, admin: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    owner.call("share_document", document, recipient.email)
    with refused("PT403", "not_owner"):
        recipient.call("share_document", document, stranger.email)
    for person in (stranger, admin):
        with refused("PT404", "document_not_found"):
            person.call("share_document", document, "x@example.test")
    owner.call("delete_document", document)
    with refused("PT409", "document_deleted"):
        owner.call("share_document", document, stranger.email)
    assert len(owner.run("select * from document_access")) == 1


def test_the_number_of_shares_is_limited_and_counts_invitations(database: Database, owner: Person) -> None:
    database.run("update private.settings set shares_limit = 2, invitations_a_day_limit = 2")
    document, other = owner.document(), owner.document()
    first = owner.call("share_document", document, "a@example.test")
    owner.call("share_document", document, "b@example.test")
    with refused("PT413", "too_many_shares"):
        owner.call("share_document", document, "c@example.test")
    # the same again is no new one, but a change
    for hours in (1, 2, 3):
        owner.call("share_document", document, "a@example.test", later(hours=hours))
    with refused("PT413", "too_many_shares_today"):
        owner.call("share_document", other, "d@example.test")
    owner.call("revoke_share", first["id"])
    assert len(owner.run("select * from document_access")) == 1


def test_leaving_ends_a_recipients_own_access_only(
    database: Database, owner: Person, recipient: Person, stranger: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    for person in (recipient, stranger):
        owner.call("share_document", document, person.email)
    recipient.call("leave_share", document)
    assert not recipient.sees(document)
    assert stranger.sees(document)
    assert revocations(database) == 1
    for person in (recipient, owner):
        with refused("PT404", "share_not_found"):
            person.call("leave_share", document)


def test_nobody_reads_or_writes_the_tables_of_shares(
    database: Database, owner: Person, recipient: Person, admin: Person
) -> None:
    document = owner.document()
    owner.call("share_document", document, recipient.email)
    for person in (owner, recipient, admin):
        for table in ("document_shares", "share_invitations"):
            for statement in (
                f"select * from {table}",
                f"delete from {table}",
                f"update {table} set expires_at = null",
            ):
                with refused("42501"):
                    person.run(statement)
    assert recipient.run("select * from document_access") == admin.run("select * from document_access") == []
    assert recipient.sees(document)


def test_revoking_and_sharing_at_one_moment_leave_one_truth(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    for _ in range(5):
        share = owner.call("share_document", document, recipient.email)
        one, other, third = (owner.on(database.second()) for _ in range(3))
        raised = in_parallel(
            lambda p=one, s=share: p.call("revoke_share", s["id"]),  # type: ignore[misc]
            lambda p=other, s=share: p.call("revoke_share", s["id"]),  # type: ignore[misc]
            lambda p=third: p.call("share_document", document, recipient.email),  # type: ignore[misc]
        )
        codes = [getattr(error, "sqlstate", None) for error in raised]
        assert codes[2] is None
        assert sorted(str(code) for code in codes[:2]) == ["None", "PT404"]
        listed = owner.run("select * from document_access")
        assert recipient.sees(document) == bool(listed)


def test_a_recipient_without_a_receiving_role_reads_nothing_and_his_links_die(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    owner.call("share_document", document, recipient.email)
    database.grant(recipient, "viewer")
    database.run(
        "delete from user_roles u using roles r where r.id = u.role_id and r.name = 'member' and u.user_id = %s",
        recipient.id,
    )
    assert recipient.sees(document)
    assert revocations(database) == 0
    database.run("delete from user_roles where user_id = %s", recipient.id)
    assert not recipient.sees(document)
    with refused("PT404", "document_not_found"):
        recipient.call("request_download", document)
    assert runner.call("run_maintenance", "close_accounts")["documents"] == 1
    assert revocations(database) == 1
    database.grant(recipient, "viewer")
    assert recipient.sees(document)


def test_a_viewer_receives_but_shares_nothing_of_his_own(database: Database, owner: Person, recipient: Person) -> None:
    own = recipient.document()
    database.run("delete from user_roles where user_id = %s", recipient.id)
    database.grant(recipient, "viewer")
    document = owner.document()
    owner.call("share_document", document, recipient.email)
    assert recipient.sees(document)
    with refused("PT403", "not_allowed"):
        recipient.call("share_document", own, owner.email)


def test_what_a_closed_account_shared_or_received_is_closed_too(
    database: Database, owner: Person, recipient: Person, stranger: Person, runner: Runner
) -> None:
    shared, received = owner.ready(runner), stranger.ready(runner)
    owner.call("share_document", shared, recipient.email)
    stranger.call("share_document", received, owner.email)
    assert owner.sees(received)
    owner.call("close_account")
    assert not recipient.sees(shared)
    assert recipient.run("select * from shared_with_me") == []
    assert not owner.sees(received)
    # links that he signed to either die
    assert [job["kind"] for job in runner.claim(10)] == ["close_accounts"]
    assert runner.call("run_maintenance", "close_accounts")["documents"] == 2
    assert runner.call("run_maintenance", "close_accounts")["documents"] == 0
    assert {str(job["document_id"]) for job in database.jobs("refresh_archive")} == {shared, received}
