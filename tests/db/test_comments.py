"""Studio is the administrators' place: whatever they find there says in plain words what it is."""

from __future__ import annotations

import re

from jobs.kinds import KINDS
from tests.db.conftest import Database

OURS = "n.nspname in ('public', 'private', 'jobs')"


def words(database: Database, of: str) -> dict[str, str | None]:
    """Name → comment."""
    return {row["name"]: row["text"] for row in database.run(of)}


def test_every_table_view_and_column_says_what_it_is(database: Database) -> None:
    relations = words(
        database,
        "select c.oid::regclass::text as name, obj_description(c.oid, 'pg_class') as text"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        f" where {OURS} and c.relkind in ('r', 'v', 'm', 'p')",
    )
    columns = words(
        database,
        "select c.oid::regclass || '.' || a.attname as name, col_description(c.oid, a.attnum) as text"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        f" where {OURS} and c.relkind in ('r', 'v', 'm', 'p')",
    )
    assert len(relations) > 20 and len(columns) > 200
    assert [name for name, text in {**relations, **columns}.items() if not text] == []
    assert [name for name, text in {**relations, **columns}.items() if text and not re.match("[A-Z0-9a-z]", text)] == []


def test_every_function_says_what_it_does(database: Database) -> None:
    functions = words(
        database,
        "select p.oid::regprocedure::text as name, obj_description(p.oid, 'pg_proc') as text"
        f" from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {OURS}",
    )
    assert len(functions) > 100
    assert [name for name, text in functions.items() if not text] == []


def test_every_value_of_an_enumeration_is_explained(database: Database) -> None:
    """Values are written as checks; the column's comment names each. Types of our own would be listed here as well."""
    types = database.run(
        "select t.typname from pg_type t join pg_namespace n on n.oid = t.typnamespace"
        f" where {OURS} and t.typtype in ('e', 'd')"
    )
    assert types == []
    checks = database.run(
        "select c.conrelid::regclass || '.' || a.attname as name, pg_get_constraintdef(c.oid) as text,"
        " col_description(c.conrelid, a.attnum) as comment"
        " from pg_constraint c join pg_namespace n on n.oid = c.connamespace"
        " join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]"
        f" where {OURS} and c.contype = 'c' and cardinality(c.conkey) = 1"
        " and pg_get_constraintdef(c.oid) like '%ANY (ARRAY%'"
    )
    assert {row["name"] for row in checks} == {"documents.status", "jobs.queue.state", "jobs.history.outcome"}
    for row in checks:
        for value in re.findall("'([a-z]+)'::text", row["text"]):
            assert f"{value}:" in row["comment"], (row["name"], value)
    for row in database.run("select name, description from roles"):
        assert len(row["description"]) > 20


def test_the_names_of_events_and_kinds_are_all_explained(database: Database) -> None:
    sources = "\n".join(
        row["text"]
        for row in database.run(
            "select pg_get_functiondef(p.oid) as text from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
            f" where {OURS} and p.prokind = 'f'"
        )
    )
    logged = set(re.findall(r"log_event\(\s*'([a-z_]+)'", sources))
    # and what is written in bulk: the one literal of such an insert that is a name alone
    for insert in re.findall(r"insert into public\.logs \((?:[a-z_, ]+)\)\s+(?:select|values) ([^;]+)", sources):
        logged |= set(re.findall(r"'([a-z_]+)'", insert))
    assert len(logged) > 15
    told = of_column(database, "logs", "event_name")
    assert logged == set(re.findall("[a-z_]+", told))
    kinds = of_column(database, "scheduled_jobs", "kind")
    scheduled = {row["kind"] for row in database.run("select kind from scheduled_jobs")}
    assert scheduled <= set(KINDS)
    assert all(kind in kinds for kind in scheduled)


def of_column(database: Database, table: str, column: str) -> str:
    return str(
        database.value(
            "select col_description(attrelid, attnum) from pg_attribute where attrelid = %s::regclass and attname = %s",
            table, column,
        )
    )  # fmt: skip
