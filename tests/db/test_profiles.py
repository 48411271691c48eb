"""Accounts: a profile for each, whatever Auth sends, and never a sign-up that our triggers break."""

from __future__ import annotations

import json
import warnings

import pytest

from tests.db.conftest import Database, Person, Runner, refused


def sign_up_raw(database: Database, email: str | None, metadata: str | None) -> str:
    with database.superuser.transaction():
        database.run("set local role supabase_auth_admin")
        return str(
            database.value(
                "insert into auth.users (id, email, raw_user_meta_data, email_confirmed_at)"
                " values (gen_random_uuid(), %s, %s, now()) returning id",
                email, metadata,
            )
        )  # fmt: skip


def test_a_sign_up_makes_a_profile_a_member_and_an_event(database: Database) -> None:
    person = database.sign_up(
        "ana@example.test", first_name="Ana", last_name="Almeida", phone="+34 1", responsibility="Accounts"
    )
    (row,) = person.run("select * from profiles")
    assert [row[name] for name in ("first_name", "last_name", "email", "phone", "responsibility", "deleted_at")] == [
        "Ana", "Almeida", "ana@example.test", "+34 1", "Accounts", None,
    ]  # fmt: skip
    assert person.value("select r.name from user_roles u join roles r on r.id = u.role_id") == "member"
    assert [row["event_name"] for row in person.run("select * from logs")] == ["signed_up"]


@pytest.mark.parametrize(
    "metadata",
    [
        None, "null", "[]", "42", '"text"', "{}", '{"first_name": null}', '{"first_name": {"a": [1]}}',
        '{"first_name": 7, "last_name": true}', json.dumps({"first_name": "x" * 10_000, "phone": "9" * 5000}),
        json.dumps({"first_name": "año 💾\n\t", "role": "admin", "is_admin": True}),
    ],
)  # fmt: skip
def test_no_metadata_breaks_a_sign_up_or_gives_more_than_a_name(database: Database, metadata: str | None) -> None:
    person = Person(database, sign_up_raw(database, "a@example.test", metadata), "a@example.test")
    assert person.value("select email from profiles") == "a@example.test"
    assert person.run("select r.name from user_roles u join roles r on r.id = u.role_id") == [{"name": "member"}]


def test_an_account_without_an_address_has_a_profile(database: Database) -> None:
    person = Person(database, sign_up_raw(database, None, None), "")
    assert person.value("select email from profiles") == ""


@pytest.mark.parametrize("fault", ["profiles", "logs", "user_roles", "share_invitations"])
def test_a_fault_of_ours_never_breaks_a_sign_up_and_is_made_up_for_at_the_next_sign_in(
    database: Database, owner: Person, fault: str
) -> None:
    document = owner.document()
    owner.call("share_document", document, "a@example.test")
    database.run("create function public.fail() returns trigger language plpgsql as $$begin raise 'broken'; end$$")
    database.run(
        f"create trigger broken before insert or delete on {fault} for each row execute function public.fail()"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        person = Person(database, sign_up_raw(database, "a@example.test", '{"first_name": "Ana"}'), "a@example.test")
    assert database.value("select count(*) from auth.users where id = %s", person.id) == 1
    database.run(f"drop trigger broken on {fault}")
    database.run("update auth.users set last_sign_in_at = now() where id = %s", person.id)
    assert person.value("select first_name from profiles") == "Ana"
    assert person.sees(person.document())
    assert person.sees(document)


def test_the_address_is_kept_in_step(database: Database, owner: Person) -> None:
    with database.superuser.transaction():
        database.run("set local role supabase_auth_admin")
        database.run("update auth.users set email = 'new@example.test' where id = %s", owner.id)
    assert owner.value("select email from profiles") == "new@example.test"
    assert database.value("select count(*) from user_roles where user_id = %s", owner.id) == 1


def test_a_change_of_metadata_does_not_overwrite_the_profile(database: Database, owner: Person) -> None:
    owner.run("update profiles set first_name = 'Own'")
    database.run("""update auth.users set raw_user_meta_data = '{"first_name": "Other"}' where id = %s""", owner.id)
    assert owner.value("select first_name from profiles") == "Own"


def test_people_edit_their_own_profile_and_no_other_column(database: Database, owner: Person, stranger: Person) -> None:
    owner.run("update profiles set first_name = 'A', last_name = 'B', phone = 'C', responsibility = 'D'")
    (row,) = owner.run("select * from profiles")
    assert (row["first_name"], row["last_name"], row["phone"], row["responsibility"]) == ("A", "B", "C", "D")
    assert row["updated_at"] >= row["created_at"]
    assert database.value("select first_name from profiles where id = %s", stranger.id) == ""
    for column, value in {
        "id": "gen_random_uuid()", "email": "'x'", "created_at": "now()", "updated_at": "now()", "deleted_at": "null",
    }.items():  # fmt: skip
        with refused("42501"):
            owner.run(f"update profiles set {column} = {value}")
    for statement in ("insert into profiles (id) values (gen_random_uuid())", "delete from profiles"):
        with refused("42501"):
            owner.run(statement)
    with refused("23514"):
        owner.run("update profiles set first_name = repeat('x', 101)")


def test_people_read_their_own_profile_and_admins_everybodys(
    owner: Person, stranger: Person, admin: Person, anonymous: Person
) -> None:
    assert [str(row["id"]) for row in owner.run("select id from profiles")] == [owner.id]
    assert owner.run("select * from profiles where id = %s", stranger.id) == []
    assert {str(row["id"]) for row in admin.run("select id from profiles")} == {owner.id, stranger.id, admin.id}
    assert admin.run("update profiles set first_name = 'x' where id = %s returning 1", owner.id) == []
    with refused("42501"):
        anonymous.run("select * from profiles")


def test_deleting_the_auth_user_closes_the_account_and_cascades_into_nothing(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.ready(runner)
    owner.call("share_document", document, recipient.email)
    with database.superuser.transaction():
        database.run("set local role supabase_auth_admin")
        database.run("delete from auth.users where id = %s", owner.id)
    assert database.value("select deleted_at is not null from profiles where id = %s", owner.id)
    assert owner.run("select * from documents") == []
    assert not recipient.sees(document)
    assert database.value("select status from documents where id = %s", document) == "ready"
    assert database.value("select count(*) from storage.objects") == 2
    assert runner.call("run_maintenance", "close_accounts")["documents"] == 1
    assert [job["args"]["revoke"] for job in database.jobs("refresh_archive")] == [True]


def test_closing_twice_at_once_logs_once(database: Database, owner: Person) -> None:
    owner.call("close_account")
    with refused("PT404", "account_not_found"):
        owner.call("close_account")
    assert database.value("select count(*) from logs where event_name = 'account_closed'") == 1


def test_the_documents_of_a_closed_account_go_after_its_grace(
    database: Database, owner: Person, stranger: Person, runner: Runner
) -> None:
    documents = [owner.ready(runner), owner.document()]
    kept = stranger.ready(runner)
    owner.call("close_account")
    assert runner.call("run_maintenance", "close_accounts")["documents"] == 1
    database.run("update profiles set deleted_at = now() - interval '31 days' where id = %s", owner.id)
    assert runner.call("run_maintenance", "close_accounts")["documents"] == 2
    assert runner.call("run_maintenance", "close_accounts")["documents"] == 0
    rows = database.run("select id from documents where purge_started_at is not null and deleted_at is not null")
    assert {str(row["id"]) for row in rows} == set(documents)
    assert stranger.sees(kept)
    assert {str(job["document_id"]) for job in database.jobs("purge_deleted")} == set(documents)


def test_closing_a_large_account_is_a_job_done_piece_by_piece(
    database: Database, owner: Person, runner: Runner
) -> None:
    database.run("alter table documents disable trigger user")
    database.run(
        "insert into documents (owner_id, name, size_bytes, status, progress, archive_path, archive_size_bytes,"
        " archive_name_revision, object_version)"
        " select %s, 'a', 1, 'ready', 1, 'a/' || i, 1, 1, 'v' from generate_series(1, 1001) i",
        owner.id,
    )
    owner.call("close_account")
    assert [job["kind"] for job in database.jobs()] == ["close_accounts"]
    pieces = [runner.call("run_maintenance", "close_accounts")["documents"] for _ in range(3)]
    assert pieces == [1000, 1, 0]
    assert database.value("select count(distinct document_id) from jobs.queue where kind = 'refresh_archive'") == 1001


def test_an_anonymous_sign_in_is_nobody_until_it_has_an_address(database: Database) -> None:
    with database.superuser.transaction():
        database.run("set local role supabase_auth_admin")
        made = database.value("insert into auth.users (id, is_anonymous) values (gen_random_uuid(), true) returning id")
    nobody = Person(database, str(made), "")
    for relation in ("profiles", "documents", "limits", "roles", "logs"):
        assert nobody.run(f"select * from {relation}") == []
    with refused("PT403", "not_allowed"):
        nobody.document()
    database.run(
        "update auth.users set is_anonymous = false, email = 'new@example.test', email_confirmed_at = now()"
        " where id = %s",
        nobody.id,
    )
    assert nobody.sees(nobody.document())
