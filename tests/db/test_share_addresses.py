"""The address of a share: an owner sees what he wrote, whatever becomes of the account behind it, and no more."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.db.conftest import Database, Person, Runner, in_parallel


def shown(owner: Person) -> list[tuple[str, str]]:
    """Number and address of every access that the owner sees."""
    return [(str(row["id"]), row["email"]) for row in owner.run("select * from document_access order by shared_at, id")]


def change_address(database: Database, person: Person, email: str) -> None:
    with database.superuser.transaction():
        database.run("set local role supabase_auth_admin")
        database.run("update auth.users set email = %s where id = %s", email, person.id)


def test_a_recipient_who_changes_the_address_keeps_the_share_and_the_owner_sees_the_old_one(
    database: Database, owner: Person, recipient: Person
) -> None:
    document = owner.document()
    share = owner.call("share_document", document, recipient.email)
    change_address(database, recipient, "new@example.test")
    assert recipient.sees(document)
    assert shown(owner) == [(share["id"], "recipient@example.test")]
    changed = owner.call("change_share", share["id"], datetime.now(UTC) + timedelta(hours=1))
    again = owner.call("share_document", document, "Recipient@example.test")
    assert (changed["id"], changed["email"]) == (again["id"], again["email"]) == (share["id"], "recipient@example.test")
    owner.call("revoke_share", share["id"])
    assert not recipient.sees(document)
    assert "new@" not in str(owner.run("select * from logs"))


def test_a_second_address_of_the_same_person_is_told_from_no_unknown_one(
    database: Database, owner: Person, recipient: Person
) -> None:
    document = owner.document()
    first = owner.call("share_document", document, recipient.email)
    change_address(database, recipient, "second@example.test")
    second = owner.call("share_document", document, "second@example.test")
    assert second["id"] != first["id"]
    both = [(first["id"], "recipient@example.test"), (second["id"], "second@example.test")]
    assert shown(owner) == both
    database.run("update auth.users set last_sign_in_at = now() where id = %s", recipient.id)
    assert shown(owner) == both
    # revoking one leaves the other, at once
    owner.call("revoke_share", first["id"])
    assert shown(owner) == both[1:]
    assert recipient.sees(document)
    owner.call("revoke_share", second["id"])
    assert not recipient.sees(document)
    assert shown(owner) == []


def test_whoever_leaves_leaves_by_every_address(database: Database, owner: Person, recipient: Person) -> None:
    document = owner.document()
    owner.call("share_document", document, recipient.email)
    change_address(database, recipient, "second@example.test")
    owner.call("share_document", document, "second@example.test")
    recipient.call("leave_share", document)
    assert not recipient.sees(document)
    assert shown(owner) == []


def test_what_waits_behind_an_expired_share_takes_its_place(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.document()
    first = owner.call("share_document", document, recipient.email, datetime.now(UTC) + timedelta(hours=1))
    change_address(database, recipient, "second@example.test")
    owner.call("share_document", document, "second@example.test")
    database.run("update document_shares set expires_at = now() where id = %s", first["id"])
    assert not recipient.sees(document)
    runner.call("run_maintenance", "expire_shares")
    assert recipient.sees(document)
    assert [email for _, email in shown(owner)] == ["second@example.test"]


def test_an_address_that_changed_hands_is_shared_with_who_has_it_now(
    database: Database, owner: Person, recipient: Person
) -> None:
    document = owner.document()
    owner.call("share_document", document, recipient.email)
    change_address(database, recipient, "new@example.test")
    heir = database.sign_up("recipient@example.test")
    assert not heir.sees(document)
    owner.call("share_document", document, "recipient@example.test")
    assert heir.sees(document)
    assert len(shown(owner)) == 2  # both in sight, so that both can be revoked


def test_purging_a_document_with_shares_and_what_waits_behind_them_leaves_neither(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.document()
    owner.call("share_document", document, recipient.email)
    change_address(database, recipient, "second@example.test")
    owner.call("share_document", document, "second@example.test")
    owner.call("delete_document", document)
    owner.call("purge_document", document)
    assert runner.call("finish_purge", document) is True
    assert database.value("select count(*) from document_shares") == 0
    assert database.value("select count(*) from share_invitations") == 0


def test_the_daily_limit_holds_when_two_documents_are_shared_at_once(database: Database, owner: Person) -> None:
    database.run("update private.settings set invitations_a_day_limit = 1")
    documents = [owner.document(), owner.document()]
    people = [owner.on(database.second()) for _ in documents]
    raised = in_parallel(
        *(
            lambda p=person, d=document: p.call("share_document", d, "new@example.test")
            for person, document in zip(people, documents, strict=True)
        )
    )
    assert sorted(str(getattr(error, "sqlstate", None)) for error in raised) == ["None", "PT413"]


def test_sharing_does_the_same_work_for_an_address_with_an_account_as_without(
    database: Database, owner: Person, recipient: Person
) -> None:
    """Not a clock but what takes its time: how often each table is looked into, that of the access itself apart."""
    database.sign_up("unconfirmed@example.test", confirmed=False)

    def work(function: str, *parameters: object) -> tuple[Counter[str], Any]:
        with database.superuser.transaction():
            before = touched(database)
            answer = owner.call(function, *parameters)
            return touched(database) - before, answer

    done = []
    for address in (recipient.email, "nobody@example.test", "unconfirmed@example.test"):
        document = owner.document()
        made, share = work("share_document", document, address)
        again, _ = work("share_document", document, address)
        changed, _ = work("change_share", share["id"], datetime.now(UTC) + timedelta(hours=1))
        revoked, _ = work("revoke_share", share["id"])
        assert all((made, again, changed, revoked))
        done.append({"made": made, "again": again, "changed": changed, "revoked": revoked})
    assert done[1:] == [done[0]] * 2


def test_the_place_in_the_list_does_not_tell_who_has_an_account(
    database: Database, owner: Person, recipient: Person, stranger: Person
) -> None:
    document = owner.document()
    addresses = ["zoe@example.test", recipient.email, "nobody@example.test", stranger.email, "ann@example.test"]
    for address in addresses:
        owner.call("share_document", document, address)
    for order in ("", "order by document_id", "order by expires_at"):
        rows = owner.run(f"select email from document_access {order}")
        assert [row["email"] for row in rows] == addresses, order


def test_the_planner_keeps_no_values_that_an_estimate_could_tell(database: Database, owner: Person) -> None:
    """`Prefer: count=planned` of REST shows estimates that know of rows which the reader may not see."""
    for number in range(300):
        database.sign_up(f"person{number}@example.test", first_name=f"Name {number}")
    database.run("analyze")
    kept = {
        (row["tablename"], row["attname"])
        for row in database.run("select tablename, attname from pg_stats where schemaname = 'public'")
    }
    assert ("profiles", "created_at") in kept
    personal = {"email", "first_name", "last_name", "phone", "responsibility", "event_description", "archive_path"}
    assert {column for _, column in kept} & personal == {"email"} & {c for t, c in kept if t == "share_invitations"}
    plans = {
        str(database_plan(owner, f"select * from profiles where email {condition}"))
        for condition in ("= 'person7@example.test'", "= 'nobody@example.test'")
    }
    assert len(plans) == 1
    halves = {
        str(database_plan(owner, f"select * from profiles where email > 'person{digit}'")) for digit in (0, 3, 5, 9)
    }
    assert len(halves) == 1


def database_plan(person: Person, query: str) -> int:
    """How many rows the planner expects, as this person."""
    (row,) = person.run(f"explain (format json) {query}")
    return int(row["QUERY PLAN"][0]["Plan"]["Plan Rows"])


def touched(database: Database) -> Counter[str]:
    """Scans of each table within this transaction; the two tables of access count as one."""
    rows = database.run(
        "select case when relname in ('document_shares', 'share_invitations') then 'access' else relname end as name,"
        " sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0))::integer as scans from pg_stat_xact_all_tables"
        " where schemaname in ('public', 'private', 'auth', 'jobs') group by 1"
    )
    return Counter({row["name"]: row["scans"] for row in rows})
