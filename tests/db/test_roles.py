"""Roles: they add up, count at the next statement, and nobody gives them to himself."""

from __future__ import annotations

from tests.db.conftest import Database, Person, in_parallel, refused


def test_a_role_taken_away_counts_at_the_next_statement_whatever_the_token_says(
    database: Database, owner: Person
) -> None:
    owner.document()
    database.run("delete from user_roles where user_id = %s", owner.id)
    with refused("PT403", "not_allowed"):
        owner.document()
    database.grant(owner, "member")
    owner.document()


def test_rights_are_the_union_of_roles(database: Database, owner: Person, stranger: Person) -> None:
    database.grant(owner, "viewer")
    database.grant(owner, "admin")
    assert owner.sees(owner.document())
    assert owner.value("select count(*) from profiles") == 2


def test_nobody_writes_roles_through_the_api(
    database: Database, owner: Person, admin: Person, anonymous: Person
) -> None:
    before = database.run("select * from user_roles order by id")
    for person in (owner, admin, anonymous, Person(database, "", "", "service_role")):
        for statement in (
            f"insert into user_roles (user_id, role_id) select '{owner.id}', id from roles",
            "update user_roles set user_id = user_id",
            "delete from user_roles",
            "insert into roles (name, description) values ('god', '')",
            "update roles set name = 'admin2'",
            "delete from roles",
        ):
            with refused("42501"):
                person.run(statement)
    assert database.run("select * from user_roles order by id") == before


def test_people_read_their_own_roles_and_admins_everybodys(owner: Person, admin: Person, stranger: Person) -> None:
    assert [str(row["user_id"]) for row in owner.run("select user_id from user_roles")] == [owner.id]
    assert {str(row["user_id"]) for row in admin.run("select user_id from user_roles")} == {
        owner.id, admin.id, stranger.id,
    }  # fmt: skip
    assert [row["name"] for row in owner.run("select name from roles order by name")] == ["admin", "member", "viewer"]


def test_an_admin_whose_account_is_closed_is_no_admin(database: Database, admin: Person, owner: Person) -> None:
    database.run("update profiles set deleted_at = now() where id = %s", admin.id)
    assert admin.run("select * from profiles") == admin.run("select * from logs") == []
    assert admin.run("select * from scheduled_jobs") == []


def test_the_last_administrator_does_not_close_his_account(database: Database, admin: Person) -> None:
    with refused("PT409", "last_admin"):
        admin.call("close_account")
    assert admin.run("select * from profiles") != []
    second = database.grant(database.sign_up("second@example.test"), "admin")
    admin.call("close_account")
    with refused("PT409", "last_admin"):
        second.call("close_account")


def test_of_two_last_administrators_who_close_at_once_one_stays(database: Database) -> None:
    admins = [database.grant(database.sign_up(f"{n}@example.test"), "admin") for n in range(2)]
    people = [person.on(database.second()) for person in admins]
    raised = in_parallel(*(lambda p=person: p.call("close_account") for person in people))
    assert sorted(str(getattr(error, "sqlstate", None)) for error in raised) == ["None", "PT409"]
