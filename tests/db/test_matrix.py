"""Who may do what to whose rows: every table, view, function and bucket × verb × who asks. One table, run cell by cell.

`python -m tests.db.test_matrix` prints docs/authorisation.md from it; a test holds the two together.
"""

# ruff: noqa: E501 - a table is read across

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.db.conftest import SERVICE, Database, Person

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "authorisation.md"
WHO = {
    "anonymous": "nobody signed in (the publishable key)",
    "owner": "a member, whose rows these are",
    "recipient": "a member with whom the document is shared",
    "expired": "a member whose share of it has ended by its date; the row is still there",
    "stranger": "a member without a share",
    "viewer": "a person with the role viewer alone, with whom the document is shared",
    "admin": "an administrator and member, without a share",
    "closed": "a member with a share who closed the account, its token still being valid",
    "service": "the secret key (the runner and operators)",
}
# y: may; 0: sees and changes nothing, without an error; n: refused with a sentence; x: refused for lack of the privilege
WORDS = {"y": "**yes**", "0": "nothing", "n": "refused", "x": "no"}


@dataclass(frozen=True)
class Line:
    """One line: what is tried, and a letter for each of WHO. `operation` is what the Storage service is about."""

    what: str
    verb: str
    statement: str
    outcomes: str
    operation: str | None = None


def read(relation: str, outcomes: str, where: str = "", what: str = "") -> Line:
    return Line(what or relation, "select", f"select 1 from {relation} {where and 'where ' + where}", outcomes)


def write(relation: str, insert: str, update: str, outcomes: str = "x x x x x x x x x") -> Iterator[Line]:
    """The three verbs that nobody has on this relation."""
    yield Line(relation, "insert", f"insert into {relation} {insert}", outcomes)
    yield Line(relation, "update", f"update {relation} set {update}", outcomes)
    yield Line(relation, "delete", f"delete from {relation}", outcomes)


def call(name: str, arguments: str, outcomes: str, what: str = "") -> Line:
    return Line(f"{name}()" + (what and f", {what}"), "call", f"select * from {name}({arguments})", outcomes)


NONE = "x x x x x x x x x"
UPLOAD, SIGN, LIST = "storage.object.upload", "storage.object.sign", "storage.object.list"
ORIGINAL = "insert into storage.objects (bucket_id, name, version) values ('documents', '{owner}/{upload}', '1')"
#                                                                        anon own rec exp str view adm clo serv
MATRIX = [
    read("documents",                                                    "x   y   y   0   0   y    0   0   y", "id = '{document}'", "documents, live"),
    read("documents",                                                    "x   y   0   0   0   0    0   0   y", "id = '{trash}'", "documents, in the trash"),
    Line("documents", "insert",
         "insert into documents (name, size_bytes) values ('a', 1)",     "x   y   y   y   y   n    y   n   x"),
    Line("documents, the name", "update",
         "update documents set name = 'b' where id = '{document}'",      "x   y   0   0   0   0    0   0   x"),
    Line("documents, in the trash", "update",
         "update documents set name = 'b' where id = '{trash}'",         "x   0   0   0   0   0    0   0   x"),
    Line("documents", "delete", "delete from documents",                 NONE),
    read("profiles",                                                     "x   y   0   0   0   0    y   0   y", "id = '{owner}'"),
    Line("profiles, the names", "update",
         "update profiles set first_name = 'b' where id = '{owner}'",    "x   y   0   0   0   0    0   0   x"),
    Line("profiles", "insert",
         "insert into profiles (id) values (gen_random_uuid())",         NONE),
    Line("profiles", "delete", "delete from profiles",                   NONE),
    read("roles",                                                        "x   y   y   y   y   y    y   0   y"),
    *write("roles", "(name, description) values ('king', '')", "description = ''"),
    read("user_roles",                                                   "x   y   0   0   0   0    y   0   y", "user_id = '{owner}'"),
    *write("user_roles", "(user_id, role_id) select '{me}', id from roles", "user_id = '{me}'"),
    read("logs",                                                         "x   y   0   0   0   0    y   0   y", "document_id = '{document}' and event_name = 'ready'"),
    *write("logs", "(event_name) values ('fake')", "event_name = 'fake'"),
    read("scheduled_jobs",                                               "x   0   0   0   0   0    y   0   y"),
    *write("scheduled_jobs", "(title, schedule, description, kind) values ('a', '* * * * *', '', 'expire_shares')", "enabled = false"),
    Line("document_shares, one's own", "select",
         "select document_id from document_shares where user_id = '{me}' and document_id = '{document}'",
                                                                         "x   0   y   0   0   y    0   0   0"),
    Line("document_shares, the columns id and shared_by", "select",
         "select id, shared_by from document_shares",                    "x   x   x   x   x   x    x   x   y"),
    *write("document_shares", "(document_id, user_id, shared_by) values ('{document}', '{me}', '{me}')", "expires_at = null"),
    read("share_invitations",                                            "x   x   x   x   x   x    x   x   y"),
    *write("share_invitations", "(document_id, email, shared_by) values ('{document}', 'x@y.z', '{me}')", "expires_at = null"),
    read("shared_with_me",                                               "x   0   y   0   0   y    0   0   x", "id = '{document}'"),
    read("document_access",                                              "x   y   0   0   0   0    0   0   x", "document_id = '{document}'"),
    read("limits",                                                       "x   y   y   y   y   y    y   0   x"),
    read("library_counts",                                               "x   y   y   y   y   y    y   0   x"),
    read("admin_users",                                                  "x   0   0   0   0   0    y   0   x"),
    read("admin_documents",                                              "x   0   0   0   0   0    y   0   x"),
    read("admin_document_counts",                                        "x   0   0   0   0   0    y   0   x"),
    read("admin_jobs",                                                   "x   0   0   0   0   0    y   0   x"),
    read("admin_job_rates",                                              "x   0   0   0   0   0    y   0   x"),
    read("admin_runners",                                                "x   0   0   0   0   0    y   0   x"),
    read("admin_logs",                                                   "x   0   0   0   0   0    y   0   x"),
    call("delete_document", "'{document}'",                              "x   y   n   n   n   n    n   n   x"),
    call("restore_document", "'{trash}'",                                "x   y   n   n   n   n    n   n   x"),
    call("purge_document", "'{trash}'",                                  "x   y   n   n   n   n    n   n   x"),
    call("retry_document", "'{failed}'",                                 "x   y   n   n   n   n    n   n   x"),
    call("request_download", "'{document}'",                             "x   y   y   n   n   y    n   n   x"),
    call("request_download", "'{trash}'",                                "x   n   n   n   n   n    n   n   x", "in the trash"),
    call("search_documents", "'report'",                                 "x   y   0   0   0   0    0   0   x"),
    call("share_document", "'{document}', 'new@example.test'",           "x   y   n   n   n   n    n   n   x"),
    call("change_share", "'{share}', null",                              "x   y   n   n   n   n    n   n   x"),
    call("revoke_share", "'{share}'",                                    "x   y   n   n   n   n    n   n   x"),
    call("leave_share", "'{document}'",                                  "x   n   y   n   n   y    n   n   x"),
    call("close_account", "",                                            "x   y   y   y   y   y    n   n   x"),
    call("installation_id", "",                                          "x   x   x   x   x   x    x   x   y"),
    call("admin_grant_role", "'{me}', 'admin'",                          "x   n   n   n   n   n    y   n   x"),
    call("admin_revoke_role", "'{owner}', 'member'",                     "x   n   n   n   n   n    y   n   x"),
    call("admin_retry_job", "{dead}",                                    "x   n   n   n   n   n    y   n   x"),
    call("admin_cancel_job", "{pending}",                                "x   n   n   n   n   n    y   n   x"),
    call("admin_run_schedule", "'{schedule}'",                           "x   n   n   n   n   n    y   n   x"),
    call("admin_enable_schedule", "'{schedule}', false",                 "x   n   n   n   n   n    y   n   x"),
    Line("bucket documents, an open document's key", "insert", ORIGINAL, "x   y   x   x   x   x    x   x   y", UPLOAD),
    Line("bucket documents, an original", "select",
         "select 1 from storage.objects where bucket_id = 'documents'",  "0   0   0   0   0   0    0   0   y", SIGN),
    Line("bucket documents, an original", "update",
         "update storage.objects set name = '{me}/a' where name = '{owner}/{document}'",
                                                                         "0   0   0   0   0   0    0   0   y", UPLOAD),
    Line("bucket archives, the document's", "select",
         "select 1 from storage.objects where name = '{archive}'",       "0   y   y   0   0   y    0   0   y", SIGN),
    Line("bucket archives, one of the trash", "select",
         "select 1 from storage.objects where name = '{gone}'",          "0   0   0   0   0   0    0   0   y", SIGN),
    Line("bucket archives, listing", "select",
         "select 1 from storage.objects where bucket_id = 'archives'",   "0   0   0   0   0   0    0   0   y", LIST),
    Line("bucket archives", "insert",
         "insert into storage.objects (bucket_id, name, version) values ('archives', '{me}/a', '1')",
                                                                         "x   x   x   x   x   x    x   x   y", UPLOAD),
    Line("bucket archives", "update",
         "update storage.objects set name = '{me}/a' where name = '{archive}'",
                                                                         "0   0   0   0   0   0    0   0   y", UPLOAD),
    Line("buckets", "select", "select 1 from storage.buckets",           "0   0   0   0   0   0    0   0   y", LIST),
]  # fmt: skip
WRITABLE = {
    "documents": {"insert": {"name", "size_bytes", "mime_type"}, "update": {"name"}},
    "profiles": {"insert": set(), "update": {"first_name", "last_name", "phone", "responsibility"}},
}


class World:
    """An owner's documents in every state, and everybody who might ask for them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        signed_up = [name for name in WHO if name not in ("anonymous", "service")]
        self.people = {name: database.sign_up(f"{name}@example.test") for name in signed_up}
        self.people |= {"anonymous": Person(database, "", "", "anon"), "service": SERVICE(database)}
        owner, runner = self.people["owner"], database.runner()
        document, trash, failed = (owner.ready(runner, "report.pdf") for _ in range(3))
        upload, pending = owner.document("open.pdf"), owner.document("waiting.pdf")
        for name in ("recipient", "expired", "viewer", "closed"):
            owner.call("share_document", document, self.people[name].email)
        owner.call("share_document", document, "invited@example.test")
        database.run("update document_shares set expires_at = now() where user_id = %s", self.people["expired"].id)
        database.run("delete from user_roles where user_id = %s", self.people["viewer"].id)
        database.grant(self.people["viewer"], "viewer")
        database.grant(self.people["admin"], "admin")
        self.people["closed"].call("close_account")
        owner.call("delete_document", trash)
        database.run("delete from jobs.queue")
        owner.store(pending)
        dead = database.value(
            "select id from jobs.history where document_id = %s and kind = 'archive_document'", failed
        )
        database.run("update documents set status = 'failed' where id = %s", failed)
        database.run("update jobs.history set outcome = 'dead' where id = %s", dead)
        self.names = {
            "owner": owner.id, "document": document, "trash": trash, "failed": failed, "upload": upload, "dead": dead,
            "pending": database.value("select id from jobs.queue where document_id = %s", pending),
            "archive": owner.row(document)["archive_path"], "gone": owner.row(trash)["archive_path"],
            "share": database.value("select id from document_shares where user_id = %s", self.people["recipient"].id),
            "schedule": database.value("select id from scheduled_jobs where kind = 'sweep_orphans'"),
        }  # fmt: skip
        self.before = self.digest()  # each attempt is taken back

    def attempt(self, name: str, statement: str, operation: str | None = None) -> str:
        """Do it as this person and take it back: the letter of what came of it. What is denied changes no row."""
        person, connection = self.people[name], self.database.superuser
        statement = statement.format(**self.names, me=person.id or "00000000-0000-0000-0000-000000000000")
        claims = {"role": person.role, **({"sub": person.id, "email": person.email} if person.id else {})}
        with connection.transaction(force_rollback=True):
            try:
                with connection.transaction():
                    connection.execute(
                        "select set_config('request.jwt.claims', %s, true), set_config('storage.operation', %s, true)",
                        [json.dumps(claims), operation or ""],
                    )
                    connection.execute(f"set local role {person.role}".encode())
                    found = "y" if connection.execute(statement.encode()).rowcount else "0"
                    connection.execute("reset role")
            except psycopg.Error as error:
                state = error.sqlstate or ""
                found = "x" if state == "42501" else "n" if state.startswith("PT4") else str(error)
            if found == "0":  # an error has taken back whatever it did
                assert self.digest() == self.before, f"{name}: {statement} was denied and changed rows"
        return found

    def digest(self) -> Any:
        """What every table holds."""
        one = "select coalesce(md5(string_agg(t::text, '' order by t::text)), '') as hash from {} t"
        return self.database.run(" union all ".join(one.format(table) for table in self.tables))

    @cached_property
    def tables(self) -> list[str]:
        rows = self.database.run(
            "select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind = 'r' and n.nspname in ('public', 'private', 'jobs', 'storage') order by 1"
        )
        return [row["name"] for row in rows]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_every_cell_is_as_the_table_says(world: World) -> None:
    wrong = []
    for line in MATRIX:
        for name, expected in zip(WHO, line.outcomes.split(), strict=True):
            found = world.attempt(name, line.statement, line.operation)
            if found != expected:
                wrong.append(f"{line.verb} {line.what}, {name}: {expected} expected, {found} found ({line.statement})")
    assert not wrong, "\n" + "\n".join(wrong)


def test_nobody_writes_a_column_that_is_not_for_writing(world: World) -> None:
    columns = world.database.run(
        "select table_name, column_name from information_schema.columns"
        " where table_schema = 'public' and table_name = any (%s)", list(WRITABLE),
    )  # fmt: skip
    tried = 0
    for row in columns:
        table, column = row["table_name"], row["column_name"]
        statements = {
            "insert": f"insert into {table} ({column}) values (default)",
            "update": f"update {table} set {column} = default",
        }
        for verb, statement in statements.items():
            if column not in WRITABLE[table][verb]:
                for name in WHO:
                    assert world.attempt(name, statement) == "x", f"{name}: {statement}"
                    tried += 1
    assert tried > 300


def test_nobody_reaches_a_table_of_the_unexposed_schemas(world: World) -> None:
    hidden = [table for table in world.tables if table.startswith(("private.", "jobs."))]
    assert len(hidden) >= 8
    for table in hidden:
        for statement in (f"select 1 from {table}", f"delete from {table}", f"insert into {table} default values"):
            for name in WHO:
                assert world.attempt(name, statement) == "x", f"{name}: {statement}"


def test_no_table_view_or_function_is_without_its_lines(database: Database) -> None:
    relations = database.run(
        "select c.relname as name, c.relkind = 'v' as view from pg_class c"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'f')"
    )
    covered = {(line.what.split(",")[0], line.verb) for line in MATRIX}
    for row in relations:
        for verb in ("select",) if row["view"] else ("select", "insert", "update", "delete"):
            assert (row["name"], verb) in covered, f"{verb} {row['name']}"
    functions = database.run(
        "select p.proname as name from pg_proc p where p.pronamespace = 'public'::regnamespace"
        " and p.prorettype <> 'trigger'::regtype"
        " and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"
    )
    for row in functions:
        assert (f"{row['name']}()", "call") in covered, row["name"]


def test_the_document_shows_this_table() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python -m tests.db.test_matrix"


def document() -> str:
    """The text of docs/authorisation.md."""
    lines = [
        "# Who may do what", "",
        "Every table, view, function and bucket, each verb, and everybody who might ask for rows that are the owner's.",
        "The database alone decides; this page is written from the table in `tests/db/test_matrix.py`, whose every cell",
        "the tests run. `instashare db matrix` prints the privileges and policies of a running installation.", "",
        *(f"- {name}: {meaning}." for name, meaning in WHO.items()), "",
        "**yes**: may. nothing: sees and changes no row. refused: an error with a sentence. no: lacks the privilege.", "",
        f"| what | verb | {' | '.join(WHO)} |", "|---" * (len(WHO) + 2) + "|",
    ]  # fmt: skip
    for line in MATRIX:
        cells = " | ".join(WORDS[letter] for letter in line.outcomes.split())
        lines.append(f"| {line.what} | {line.verb} | {cells} |")
    lines += ["", "Nobody of them reaches a table of the schemas `private` and `jobs`. Of the writable tables these columns alone", "can be written:", ""]  # fmt: skip
    for table, verbs in WRITABLE.items():
        for verb, columns in verbs.items():
            lines.append(f"- {table}, {verb}: {', '.join(sorted(columns)) or 'none'}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
