"""A closed account: out at once, its documents gone after the grace period, and then whatever is personal."""

from __future__ import annotations

import warnings

import pytest

from tests.db.conftest import Database, Person, Runner

PERSONAL = "first_name, last_name, email, phone, responsibility"


def close_long_ago(database: Database, person: Person) -> None:
    person.call("close_account")
    database.run("update profiles set deleted_at = now() - interval '31 days' where id = %s", person.id)


def erase(runner: Runner) -> int:
    people: int = runner.call("run_maintenance", "close_accounts")["people"]
    return people


def personal(database: Database, person: Person) -> set[str]:
    (row,) = database.run(f"select {PERSONAL} from profiles where id = %s", person.id)
    return set(row.values())


def test_personal_data_go_after_the_documents_and_the_address_is_free_again(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    owner.run("update profiles set last_name = 'Ortiz', phone = '+34 1', responsibility = 'Accounts'")
    owner.call("close_account")
    assert erase(runner) == 0
    database.run("update profiles set deleted_at = now() - interval '31 days' where id = %s", owner.id)
    # not before the bytes are gone: their removal may fail for days
    assert erase(runner) == 0
    assert "Ortiz" in personal(database, owner)
    database.run("select set_config('storage.allow_delete_query', 'true', false)")
    database.run("delete from storage.objects")
    assert runner.call("finish_purge", document) is True
    assert erase(runner) == 1
    assert personal(database, owner) == {""}
    assert database.value("select erased_at is not null from profiles where id = %s", owner.id)
    assert database.value("select count(*) from auth.users where id = %s", owner.id) == 0
    assert erase(runner) == 0
    events = database.run("select event_name from logs where owner_id = %s order by id desc limit 2", owner.id)
    assert [row["event_name"] for row in events] == ["account_erased", "purged"]
    again = database.sign_up("owner@example.test")
    assert again.id != owner.id
    assert again.run("select * from documents") == []


def test_an_owner_does_not_see_that_a_recipient_s_account_is_gone(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.document()
    owner.call("share_document", document, recipient.email)
    before = owner.run("select * from document_access")
    close_long_ago(database, recipient)
    assert erase(runner) == 1
    assert owner.run("select * from document_access") == before
    assert database.value("select count(*) from document_shares") == 0
    owner.call("revoke_share", before[0]["id"])
    assert owner.run("select * from document_access") == []


def test_an_account_that_something_holds_on_to_is_erased_all_the_same_and_tried_again(
    database: Database, owner: Person, stranger: Person, runner: Runner
) -> None:
    database.run("create table public.orders (id int, user_id uuid references auth.users (id))")
    database.run("insert into orders values (1, %s)", owner.id)
    for person in (owner, stranger):
        close_long_ago(database, person)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert erase(runner) == 1
    assert personal(database, owner) == personal(database, stranger) == {""}
    # signing in to what is left brings nothing back
    database.run("update auth.users set last_sign_in_at = now() where id = %s", owner.id)
    assert personal(database, owner) == {""}
    database.run("drop table orders")
    assert erase(runner) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "select close_account()",
        "update profiles set deleted_at = now() where email = 'owner@example.test'",
        "delete from auth.users where email = 'owner@example.test'",
    ],
)
def test_closing_is_one_event_whatever_the_way(database: Database, owner: Person, statement: str) -> None:
    by_owner = statement.startswith("select")
    (owner.run if by_owner else database.run)(statement)
    rows = database.run("select user_id::text, owner_id::text from logs where event_name = 'account_closed'")
    assert rows == [{"user_id": owner.id if by_owner else None, "owner_id": owner.id}]


def test_the_grace_period_is_a_setting(database: Database, owner: Person, runner: Runner) -> None:
    owner.call("close_account")
    database.run("update private.settings set account_grace_period = '2 days'")
    database.run("update profiles set deleted_at = now() - interval '47 hours' where id = %s", owner.id)
    assert erase(runner) == 0
    database.run("update profiles set deleted_at = now() - interval '49 hours' where id = %s", owner.id)
    assert erase(runner) == 1
