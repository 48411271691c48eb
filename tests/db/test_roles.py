"""Roles: they add up, count at the next statement, and nobody gives them to himself."""

from __future__ import annotations

import pytest

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
    database.grant(owner, "admin")
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


@pytest.mark.parametrize(
    "statement",
    [
        "delete from user_roles where user_id = '{}'",
        "delete from user_roles u using roles r where r.id = u.role_id and r.name = 'admin'",
        "update user_roles set role_id = (select id from roles where name = 'viewer') where user_id = '{}'"
        " and role_id = (select id from roles where name = 'admin')",
        "update user_roles set user_id = (select id from profiles where email = 'owner@example.test')"
        " where user_id = '{}' and role_id = (select id from roles where name = 'admin')",
        "update profiles set deleted_at = now() where id = '{}'",
        "delete from profiles where id = '{}'",
        "delete from auth.users where id = '{}'",
    ],
)
def test_the_last_administrator_cannot_be_removed_by_any_statement(
    database: Database, admin: Person, owner: Person, statement: str
) -> None:
    with refused("PT409", "last_admin"):
        database.run(statement.format(admin.id))
    assert admin.value("select count(*) from profiles") == 2
    second = database.grant(database.sign_up("second@example.test"), "admin")
    if "using roles" in statement:
        # not both at once either
        with refused("PT409", "last_admin"):
            database.run(statement)
        assert second.value("select count(*) from profiles") == 3
    else:
        database.run(statement.format(admin.id))
        assert admin.run("select * from admin_users") == []


def test_two_operators_who_unmake_two_administrators_at_once_leave_one(database: Database) -> None:
    admins = [database.grant(database.sign_up(f"{n}@example.test"), "admin") for n in range(2)]
    operators = [database.second() for _ in admins]
    remove = "delete from user_roles where user_id = %s"
    raised = in_parallel(
        *(lambda o=one, p=person: o.run(remove, p.id) for one, person in zip(operators, admins, strict=True))
    )
    assert sorted(str(getattr(error, "sqlstate", None)) for error in raised) == ["None", "PT409"]


@pytest.mark.parametrize(
    "statement",
    [
        "delete from roles",
        "update roles set name = 'god' where name = 'member'",
        "truncate user_roles",
        "truncate roles cascade",
    ],
)
def test_the_three_roles_stay_as_they_are(database: Database, statement: str) -> None:
    with refused("42501"):
        database.run(statement)
    database.run("update roles set description = 'Reads what is shared.' where name = 'viewer'")
    assert database.value("select count(*) from roles") == 3


def test_no_sign_up_makes_an_administrator_not_even_the_first_of_all(database: Database) -> None:
    people = [database.sign_up(f"{n}@example.test", role="admin", roles="admin") for n in range(3)]
    for person in people:
        assert person.run("select r.name from user_roles u join roles r on r.id = u.role_id") == [{"name": "member"}]


def test_roles_given_and_taken_are_logged_once_whatever_the_way(
    database: Database, owner: Person, admin: Person
) -> None:
    start = database.value("select max(id) from logs")
    database.grant(owner, "viewer")
    admin.call("admin_grant_role", owner.id, "admin")
    admin.call("admin_grant_role", owner.id, "admin")
    admin.call("admin_revoke_role", owner.id, "admin")
    database.run(
        "delete from user_roles where user_id = %s and role_id = (select id from roles where name = 'viewer')", owner.id
    )
    rows = database.run(
        "select event_name, event_description, user_id::text, owner_id::text from logs where id > %s order by id", start
    )
    assert [tuple(row.values()) for row in rows] == [
        ("role_granted", "Gave the role viewer to owner@example.test", None, owner.id),
        ("role_granted", "Gave the role admin to owner@example.test", admin.id, owner.id),
        ("role_revoked", "Took the role admin from owner@example.test", admin.id, owner.id),
        ("role_revoked", "Took the role viewer from owner@example.test", None, owner.id),
    ]
