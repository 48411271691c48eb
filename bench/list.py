"""Lists through REST with row level security on: the time of a page among a million documents to that among 10,000.

Two databases with our migrations in one embedded Postgres, each behind a PostgREST of its own, are asked in turn, so
that whatever else the machine does meets both. In either one owner has a tenth of all documents and a fiftieth in the
trash, many others have twenty, and one recipient has a hundredth shared with him. Every list is read at its first page
and, by keyset, a third into it. Plans of the large database go to stderr.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import psycopg
from psycopg import sql

from bench.result import Result, main, report
from jobs.cli import migrations
from local import installation as installations
from local import postgres, rest
from local.service import end, launch, wait_until
from local.tokens import Issuer

PAGE = 50
OWNER, RECIPIENT = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
FEW = "00000000-0000-4000-8000-000000000011"  # one of the many with twenty
GOAL = 1.2
LOG_GOAL = 1.2
FILL = Path(__file__).with_suffix(".sql")


def run(quick: bool) -> dict[str, Any]:
    """Measure all lists; `quick`: 100,000 documents instead of a million."""
    small, large = 10_000, 100_000 if quick else 1_000_000
    rounds = 30 if quick else 60
    with tempfile.TemporaryDirectory(prefix="bench-list-") as name, _databases(Path(name), (small, large)) as both:
        places = [list(_lists(side)) for side in both]
        results = []
        for one, other in zip(*places, strict=True):
            few, many = _in_turn(partial(both[0].read, one), partial(both[1].read, other), rounds)
            what = f"milliseconds a page among {large:,} documents"
            results.append(Result.of(one.case, what, many, few, f"among {small:,}", "most", GOAL))
            _explain(both[1], other)
        results.append(_added_by_the_log(both[0], 5 if quick else 10))
    return report("list", results)


@dataclass(frozen=True)
class Side:
    """One database, filled, and its PostgREST."""

    database: psycopg.Connection[Any]
    connection: HTTPConnection
    tokens: dict[str, str]

    def read(self, page: Page) -> None:
        """Read one page and see that there is one."""
        if len(self.ask("GET", page.path, page.person)) < page.rows:
            raise RuntimeError(f"{page.case}: fewer than {page.rows} rows came from {page.path}")

    def ask(self, method: str, path: str, person: str, body: Any = None) -> list[Any]:
        """One request over the kept connection; the rows of its answer."""
        headers = {"Authorization": f"Bearer {self.tokens[person]}", "Content-Type": "application/json"}
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = self.connection.getresponse()
        content = response.read()
        if response.status not in (200, 204):
            raise RuntimeError(f"{method} {path}: {response.status} {content.decode()}")
        rows: list[Any] = json.loads(content) if content else []
        return rows


@dataclass(frozen=True)
class Page:
    """A page of a list, as one person asks for it."""

    case: str
    path: str
    person: str = OWNER
    rows: int = PAGE


# the lists


def _lists(side: Side) -> Iterator[Page]:
    own = f"/documents?select=*&owner_id=eq.{OWNER}&deleted_at=is.null"
    trash = f"/documents?select=*&owner_id=eq.{OWNER}&deleted_at=not.is.null"
    for name, column, descending in (
        ("date", "created_at", True), ("name", "name", False), ("size", "size_bytes", False),
    ):  # fmt: skip
        yield from _ends(side, f"own by {name}", own, "documents", "deleted_at is null", column, descending)
    yield from _by_status(side, "own by status", own, "deleted_at is null", "created_at")
    yield Page(
        "own, failed only, by date", f"{own}&status=eq.failed&order=created_at.desc,id.desc&limit={PAGE}", rows=5
    )
    for name, column, descending in (
        ("date", "deleted_at", True), ("name", "name", False), ("size", "size_bytes", False),
    ):  # fmt: skip
        yield from _ends(side, f"trash by {name}", trash, "documents", "deleted_at is not null", column, descending)
    yield from _by_status(side, "trash by status", trash, "deleted_at is not null", "deleted_at")
    for name, column, descending in (
        ("date of sharing", "shared_at", True), ("date", "created_at", True), ("name", "name", False),
        ("size", "size_bytes", False),
    ):  # fmt: skip
        yield from _ends(
            side, f"shared with me by {name}", "/shared_with_me?select=*", "shared", "true", column, descending
        )
    yield from _by_status(side, "shared with me by status", "/shared_with_me?select=*", "true", "shared_at", "shared")
    search = "/rpc/search_documents?query="
    yield Page("own, search for a common word", f"{search}report&page={PAGE}")
    yield Page("own, search for a common word, by name", f"{search}report&sort=name&descending=false&page={PAGE}")
    yield Page("own, search for one name", f"{search}{quote('Report 520 ')}&page={PAGE}", rows=1)
    yield Page("own, search for nothing there", f"{search}zzyzx&page={PAGE}", rows=0)
    log = f"order=id.desc&limit={PAGE}"
    yield Page("log of many events", f"/logs?select=*&owner_id=eq.{OWNER}&{log}")
    yield Page("log of few events", f"/logs?select=*&owner_id=eq.{FEW}&{log}", FEW, rows=20)
    yield Page("limits", "/limits?select=*", rows=1)
    yield Page("counts", "/library_counts?select=*", rows=1)


def _ends(
    side: Side, case: str, path: str, relation: str, condition: str, column: str, descending: bool
) -> Iterator[Page]:
    """The first page, and one in the middle that goes on from the row before it."""
    direction, beyond = ("desc", "lt") if descending else ("asc", "gt")
    person = RECIPIENT if relation == "shared" else OWNER
    ordered = f"{path}&order={column}.{direction},id.{direction}&limit={PAGE}"
    first = Page(f"{case}, first page", ordered, person)
    yield first
    value, key = _middle(side, relation, condition, f"{column} {direction}, id {direction}", column)
    bounds = f"&{column}={beyond}e.{quote(value)}&or=({column}.{beyond}.{_quoted(value)},id.{beyond}.{key})"
    yield replace(first, case=f"{case}, a third in", path=ordered + bounds)


def _by_status(
    side: Side, case: str, path: str, condition: str, date: str, relation: str = "documents"
) -> Iterator[Page]:
    """By status, then date: within one status the place is found by date; what follows it is another request."""
    ordered = f"{path}&order=status.asc,{date}.desc,id.desc&limit={PAGE}"
    first = Page(f"{case}, first page", ordered, RECIPIENT if relation == "shared" else OWNER)
    yield first
    value, key = _middle(side, relation, condition, f"status, {date} desc, id desc", date)
    row = side.database.execute("select status from documents where id = %s", [key]).fetchone()
    assert row is not None
    bounds = f"&status=eq.{row[0]}&{date}=lte.{quote(value)}&or=({date}.lt.{_quoted(value)},id.lt.{key})"
    yield replace(first, case=f"{case}, a third in", path=ordered + bounds)


def _middle(side: Side, relation: str, condition: str, order: str, column: str) -> tuple[str, str]:
    """What a page goes on from: the sort key and the id of the last row before it."""
    source, person = ("bench_shared", RECIPIENT) if relation == "shared" else ("bench_owned", OWNER)
    text = f"""
        with rows as (select * from {source} where person_id = '{person}' and {condition})
        select {column}::text, id::text from rows order by {order} limit 1 offset (select count(*) / 3 from rows)
    """
    row = side.database.execute(text.encode()).fetchone()
    assert row is not None
    return row[0], row[1]


def _quoted(value: str) -> str:
    """A value inside `or=(…)`, where commas and points mean something."""
    return quote('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"')


# what the log adds


def _added_by_the_log(side: Side, rounds: int) -> Result:
    """Renames through REST with the log and without it, in turn."""
    ids = [
        row[0]
        for row in side.database.execute(
            "select id from documents where owner_id = %s and deleted_at is null limit 100", [OWNER]
        )
    ]
    text = side.database.execute("select pg_get_functiondef('private.log_event'::regproc)").fetchone()
    assert text is not None
    silent = text[0][: text[0].index("AS $function$")] + "AS $function$ select null::void $function$"
    number = 0
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for logged in (True, False):
            side.database.execute(text[0] if logged else silent)
            for document in ids:
                number += 1
                started = time.perf_counter()
                side.ask("PATCH", f"/documents?id=eq.{document}", OWNER, {"name": f"Renamed {number}.pdf"})
                times[logged].append(time.perf_counter() - started)
    side.database.execute(text[0])
    with_log, without = (statistics.median(times[logged]) * 1000 for logged in (True, False))
    return Result.of("rename", "milliseconds through REST", with_log, without, "without the log", "most", LOG_GOAL)


# measuring


def _in_turn(one: Callable[[], None], other: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Medians in milliseconds; both are warmed up first."""
    times: tuple[list[float], list[float]] = [], []
    for number in range(rounds + 5):
        for act, kept in zip((one, other), times, strict=True):
            started = time.perf_counter()
            act()
            if number >= 5:
                kept.append((time.perf_counter() - started) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def _explain(side: Side, page: Page) -> None:
    """Show the plan of what PostgREST asks, as near as SQL can be written by hand: its own filters and order."""
    relation, _, query = page.path.removeprefix("/").partition("?")
    if relation.startswith("rpc/"):
        return
    conditions, order = [], ""
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name == "order":
            order = " order by " + ", ".join(term.replace(".", " ") for term in value.split(","))
        elif name not in ("select", "limit", "or"):
            operator, _, literal = value.partition(".")
            sign = {"eq": "=", "lte": "<=", "gte": ">="}.get(operator)
            if sign:
                conditions.append(f"{name} {sign} {sql.Literal(unquote(literal)).as_string()}")
            else:
                conditions.append(f"{name} is {'not ' if operator == 'not' else ''}null")
    where = f" where {' and '.join(conditions)}" if conditions else ""
    with side.database.transaction(force_rollback=True):
        side.database.execute(
            "select set_config('request.jwt.claims', %s, true)",
            [json.dumps({"sub": page.person, "role": "authenticated"})],
        )
        side.database.execute("set local role authenticated")
        text = f"explain (analyze, buffers, costs off) select * from {relation}{where}{order} limit {PAGE}"
        plan = side.database.execute(text.encode()).fetchall()
    print(f"\n{page.case}", *(row[0] for row in plan), sep="\n  ", file=sys.stderr)


# the databases


@contextlib.contextmanager
def _databases(folder: Path, sizes: tuple[int, int]) -> Iterator[tuple[Side, Side]]:
    installation = installations.create(folder / "data", port=installations.free_port())
    try:
        postgres.create_cluster(installation)
        with postgres.running(installation), contextlib.ExitStack() as stack:
            first, second = (stack.enter_context(_side(installation, size)) for size in sizes)
            yield first, second
    finally:
        postgres.remove_cluster(installation)


@contextlib.contextmanager
def _side(installation: installations.Installation, size: int) -> Iterator[Side]:
    name = f"documents_{size}"
    postgres.prepare_database(installation, name)
    with psycopg.connect(installation.database_url("postgres", name)) as connection:
        migrations.become_postgres(connection)
        migrations.apply_pending(connection, migrations.read_migrations())
    ports = replace(installation.ports, rest=installations.free_port(), rest_admin=installations.free_port())
    server = rest.service(replace(installation, ports=ports))
    server = replace(server, env={**server.env, "PGRST_DB_URI": installation.database_url("authenticator", name)})
    issuer = Issuer(installation.secrets.signing_key, installation.auth_issuer)
    tokens = {
        person: issuer.access_token({"sub": person, "role": "authenticated"}) for person in (OWNER, RECIPIENT, FEW)
    }
    with psycopg.connect(installation.database_url("supabase_admin", name), autocommit=True) as database:
        _fill(database, size)
        process = launch(server, installation.log_dir / f"{name}.log")
        http = HTTPConnection("127.0.0.1", ports.rest)
        try:
            if not wait_until(server.ready, process, 60):
                raise RuntimeError("PostgREST did not start")
            yield Side(database, http, tokens)
        finally:
            http.close()
            end(process, server)


def _fill(database: psycopg.Connection[Any], size: int) -> None:
    started = time.perf_counter()
    indexes = database.execute(
        "select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) from pg_index i"
        " where i.indrelid = any (array['documents', 'document_shares', 'logs']::regclass[])"
        " and not exists (select from pg_constraint c where c.conindid = i.indexrelid)"
    ).fetchall()
    database.execute("set session_replication_role = replica")  # no trigger, no foreign key
    database.execute("set maintenance_work_mem = '512MB'")
    for name, _ in indexes:
        database.execute(f"drop index {name}".encode())
    database.execute("select set_config('bench.size', %s, false)", [str(size)])
    database.execute(FILL.read_bytes())
    for _, definition in indexes:
        database.execute(definition.encode())
    database.execute("set session_replication_role = origin")
    database.execute("vacuum analyze")
    print(f"{size:,} documents in {time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main("list", run)
