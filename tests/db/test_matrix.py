"""Who may do what to whose rows, over SQL: every cell of sql/authorisation.toml, run as that role and taken back.

tests/e2e/test_authorisation_matrix.py runs the same cells over HTTP. `python -m tests.db.test_matrix` writes the table
into docs/authorisation.md; a test holds the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from jobs.cli.authorisation import WORDS, Row, read_authorisation
from tests.db.conftest import SERVICE, Database, Person

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "authorisation.md"
BEGIN, END = "<!-- the table: python -m tests.db.test_matrix -->", "<!-- the table's end -->"
RULES = read_authorisation()
WHO = tuple(RULES.who)
NOBODY = "00000000-0000-4000-8000-000000000000"

# What the Storage service does in the database for a verb: the operation that policies may ask for, and a statement. A
# write is tried as in the probe, before any byte: https://github.com/supabase/storage, src/storage/database.
INSERT = "insert into storage.objects (bucket_id, name, version) values ({into}, {to}, '1')"
SELECT = "select 1 from storage.objects where bucket_id = {bucket} and name = {key}"
UPDATE = "update storage.objects set version = '1' where bucket_id = {bucket} and name = {key}"
STORAGE = {
    "upload": ("storage.object.upload", INSERT),
    "upload by signed URL": ("storage.object.sign_upload_url", INSERT),
    "resumable upload": ("storage.tus.upload.create", INSERT),
    "overwrite": ("storage.object.upload_update", UPDATE),
    "download": ("storage.object.get_authenticated", SELECT),
    "info": ("storage.object.info_authenticated", SELECT),
    "sign": ("storage.object.sign", SELECT),
    "sign many": ("storage.object.sign_many", SELECT),
    "list": (
        "storage.object.list",
        "select 1 from storage.objects where bucket_id = {bucket} and starts_with(name, {key})",
    ),
    "move": (
        "storage.object.move",
        "update storage.objects set name = {to} where bucket_id = {bucket} and name = {key}",
    ),
    "copy": (
        "storage.object.copy",
        "insert into storage.objects (bucket_id, name, version)"
        " select {into}, {to}, '1' from storage.objects where bucket_id = {bucket} and name = {key}",
    ),
    "remove": ("storage.object.delete", "delete from storage.objects where bucket_id = {bucket} and name = {key}"),
    "list buckets": ("storage.bucket.list", "select 1 from storage.buckets"),
    "create a bucket": ("storage.bucket.create", "insert into storage.buckets (id, name) values ('mine', 'mine')"),
    "publish a bucket": ("storage.bucket.update", "update storage.buckets set public = true where id = 'archives'"),
    "empty a bucket": ("storage.bucket.empty", "delete from storage.objects where bucket_id = 'archives'"),
    "remove a bucket": ("storage.bucket.delete", "delete from storage.buckets where id = 'archives'"),
}


def fill(value: Any, names: Mapping[str, str]) -> Any:
    """A value of the file with the names in braces replaced."""
    return value.format(**names) if isinstance(value, str) else value


def statement(row: Row, names: Mapping[str, str]) -> sql.Composable:
    """What a row tries, as SQL."""
    if row.kind == "buckets":
        key = fill(row.key, names)
        bucket = row.on.removeprefix("bucket ")
        literals = {"bucket": bucket, "key": key, "into": row.into or bucket, "to": fill(row.to, names) or key}
        return sql.SQL(STORAGE[row.verb][1]).format(**{name: sql.Literal(value) for name, value in literals.items()})
    given = {name: sql.Literal(fill(value, names)) for name, value in (row.set or {}).items()}
    name = sql.Identifier(row.on.removesuffix("()"))
    if row.verb == "call":
        arguments = [sql.SQL("{} => {}").format(sql.Identifier(key), value) for key, value in given.items()]
        return sql.SQL("select * from {}({})").format(name, sql.SQL(", ").join(arguments))
    conditions = [
        sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(fill(value, names)))
        for key, value in (row.where or {}).items()
    ]
    where = sql.SQL(" where {}").format(sql.SQL(" and ").join(conditions)) if conditions else sql.SQL("")
    if row.verb == "select":
        columns = sql.SQL(", ").join(map(sql.Identifier, row.columns.split(",") if row.columns else []))
        return sql.SQL("select {} from {}{}").format(columns if row.columns else sql.SQL("1"), name, where)
    if row.verb == "insert":
        columns = sql.SQL(", ").join(map(sql.Identifier, given))
        return sql.SQL("insert into {} ({}) values ({})").format(name, columns, sql.SQL(", ").join(given.values()))
    if row.verb == "update":
        changes = [sql.SQL("{} = {}").format(sql.Identifier(key), value) for key, value in given.items()]
        return sql.SQL("update {} set {}{}").format(name, sql.SQL(", ").join(changes), where)
    assert row.verb == "delete", row
    return sql.SQL("delete from {}{}").format(name, where)


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
            "admin_role": database.value("select id from roles where name = 'admin'"),
            "other": "7f1e5c4e-1111-4111-8111-111111111111",
        }  # fmt: skip
        self.names = {name: str(value) for name, value in self.names.items()}
        self.before = self.digest()  # each attempt is taken back

    def attempt(self, name: str, what: sql.Composable | str, operation: str = "") -> str:
        """Do it as this person and take it back: the letter of what came of it. What is denied changes no row."""
        person, connection = self.people[name], self.database.superuser
        query = sql.SQL(what) if isinstance(what, str) else what  # type: ignore[arg-type]
        claims = {"role": person.role, **({"sub": person.id, "email": person.email} if person.id else {})}
        with connection.transaction(force_rollback=True):
            try:
                with connection.transaction():
                    connection.execute(
                        "select set_config('request.jwt.claims', %s, true), set_config('storage.operation', %s, true),"
                        " set_config('storage.allow_delete_query', 'true', true)",
                        [json.dumps(claims), operation],
                    )
                    connection.execute(f"set local role {person.role}".encode())
                    found = "y" if connection.execute(query).rowcount else "0"
                    connection.execute("reset role")
            except psycopg.Error as error:
                state = error.sqlstate or ""
                found = "x" if state == "42501" else "n" if state.startswith("PT4") else str(error)
            if found == "0":  # an error has taken back whatever it did
                assert self.digest() == self.before, f"{name}: {query.as_string()} was denied and changed rows"
        return found

    def names_of(self, name: str) -> dict[str, str]:
        """The world's names, as this person fills them in."""
        return {**self.names, "me": self.people[name].id or NOBODY}

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


def cells() -> Iterator[tuple[Row, str, str]]:
    """Every cell that SQL can tell: what the secret key may do to buckets is the service's to answer."""
    for row in RULES.rows:
        for name, letter in row.cells.items():
            if row.kind != "buckets" or name != "service":
                yield row, name, letter


def test_every_cell_is_as_the_file_says(world: World) -> None:
    wrong, tried = [], 0
    for row, name, letter in cells():
        what = statement(row, world.names_of(name))
        found = world.attempt(name, what, STORAGE[row.verb][0] if row.kind == "buckets" else "")
        if row.kind == "buckets" and found == "0":
            found = "x"
        tried += 1
        if found != letter:
            wrong.append(f"{row.verb} {row.title}, {name}: {letter} expected, {found} found ({what.as_string()})")
    assert not wrong, "\n" + "\n".join(wrong)
    assert tried > 800


def test_nobody_writes_a_column_that_is_not_for_writing(world: World) -> None:
    columns = world.database.run(
        "select c.relname as table_name, a.attname as column_name"
        " from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0"
        " and not a.attisdropped and a.attidentity = ''"
    )
    tried = 0
    for row in columns:
        table, column = row["table_name"], row["column_name"]
        statements = {
            "insert": f'insert into {table} ("{column}") values (default)',
            "update": f'update {table} set "{column}" = default',
        }
        for verb, text in statements.items():
            if column not in RULES.writable.get(table, {}).get(verb, ()):
                for name in WHO:
                    assert world.attempt(name, text) == "x", f"{name}: {text}"
                    tried += 1
    assert tried > 900


def test_nobody_writes_through_a_view(world: World) -> None:
    views = world.database.run(
        "select c.relname as name, a.attname as first"
        " from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum = 1"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'm')"
    )
    assert {row["name"] for row in views} == {row.on for row in RULES.rows if row.kind == "views"}
    for row in views:
        view, first = row["name"], row["first"]
        for text in (
            f'insert into {view} ("{first}") values (null)',
            f'update {view} set "{first}" = null',
            f"delete from {view}",
        ):
            for name in WHO:
                # 55000: not a view that Postgres could write through, whoever asks
                found = world.attempt(name, text)
                assert found == "x" or re.match("cannot (insert into|update|delete from) view", found), (
                    f"{name}: {text}"
                )


def test_nobody_reaches_a_table_of_the_unexposed_schemas(world: World) -> None:
    hidden = [table for table in world.tables if table.startswith(("private.", "jobs."))]
    assert len(hidden) >= 8
    for table in hidden:
        for text in (f"select 1 from {table}", f"delete from {table}", f"insert into {table} default values"):
            for name in WHO:
                assert world.attempt(name, text) == "x", f"{name}: {text}"


def test_no_table_view_function_or_bucket_is_without_its_rows(database: Database) -> None:
    covered = {(row.on, row.verb) for row in RULES.rows}
    wanted = set()
    for row in database.run(
        "select c.relname as name, c.relkind in ('v', 'm') as view from pg_class c"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'f')"
    ):
        wanted |= {
            (row["name"], verb) for verb in (("select",) if row["view"] else ("select", "insert", "update", "delete"))
        }
    for row in database.run(
        "select p.proname as name from pg_proc p where p.pronamespace = 'public'::regnamespace"
        " and p.prorettype <> 'trigger'::regtype"
        " and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"
    ):
        wanted.add((f"{row['name']}()", "call"))
    for row in database.run("select id from storage.buckets"):
        wanted |= {(f"bucket {row['id']}", verb) for verb in STORAGE if "bucket" not in verb}
    wanted |= {("buckets", verb) for verb in STORAGE if "bucket" in verb}
    assert wanted - covered == set()
    assert covered - wanted == set()


def test_the_document_shows_this_table() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert shown == f"\n{table()}", "run: python -m tests.db.test_matrix"


def table() -> str:
    """The rules as Markdown."""
    lines = [f"| what | verb | {' | '.join(WHO)} |", "|---" * (len(WHO) + 2) + "|"]
    words = {**WORDS, "y": "**yes**"}
    for row in RULES.rows:
        letters = " | ".join(words[letter] for letter in row.cells.values())
        lines.append(f"| {row.title} | {row.verb} | {letters} |")
    lines += ["", "The columns that can be written, of all tables:", ""]
    for name, verbs in RULES.writable.items():
        for verb, columns in verbs.items():
            lines.append(f"- {name}, {verb}: {', '.join(columns) or 'none'}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}{END}{rest.partition(END)[2]}", encoding="utf-8")
