"""Lists through REST with row level security on: the time of a page among a million documents to that among 10,000.

Two databases with our migrations in one embedded Postgres, each behind a PostgREST of its own, are asked in turn, so
that whatever else the machine does meets both. In either one owner has a tenth of all documents and a fiftieth in the
trash, another has 1,000, many others have twenty, and one recipient has a hundredth shared with him. Every list is read
at its first page and, by keyset, a third into it: the owner of a tenth has 100,000 documents in the large database and
1,000 in the small one, and his pages must take the same. A search may have to look at all names of a library, so it is
compared twice: between two libraries of 1,000, where only the table's size differs, and between his two, of which one
is a hundred times the other. Plans of the large database, as PostgREST's own statements had them, go to stderr.
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
from urllib.parse import quote

import psycopg

from bench.plans import PLANNED, plan_of
from bench.result import Result, main, report
from jobs.cli import migrations
from local import installation as installations
from local import postgres, rest
from local.service import end, launch, wait_until
from local.tokens import Issuer

PAGE = 50
OWNER, RECIPIENT = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
TYPICAL = "00000000-0000-4000-8000-000000000003"  # has 1,000 documents, whatever the table has
FEW = "00000000-0000-4000-8000-000000000011"  # one of the many with twenty
GOAL = 1.2
LOG_GOAL = 1.2
SEARCH_GOAL = 20.0  # of a library a hundred times as large
MEMORY_GOAL = 2.0
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
            results.append(Result.of(one.case, what, many, few, f"among {small:,}", "most", one.goal))
            _explain(both[1], other)
        few, many = _in_turn(both[0].add, both[1].add, rounds)
        what = f"milliseconds through REST where the owner has {large // 10:,}"
        results.append(Result.of("adding a document", what, many, few, f"where he has {small // 10:,}", "most", GOAL))
        few, many = (side.memory() for side in both)
        what = f"MB of its own, the largest database process, {large:,}"
        results.append(Result.of("memory of all these pages", what, many, few, f"{small:,}", "most", MEMORY_GOAL))
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

    def add(self) -> None:
        """Add a document to the large library, as a client does before an upload."""
        self.ask("POST", "/documents", OWNER, {"name": "Added.pdf", "size_bytes": 1, "mime_type": "application/pdf"})

    def memory(self) -> float:
        """Megabytes beside the shared buffers that the greatest process of PostgREST's connections has taken so far.

        A process gives what it took back to nobody but itself, so this is near its peak.
        """
        pids = self.database.execute(
            "select pid from pg_stat_activity where usename = 'authenticator' and datname = current_database()"
        ).fetchall()
        status = [Path(f"/proc/{pid}/status").read_text(encoding="utf-8") for (pid,) in pids]
        return max(int(text.partition("RssAnon:")[2].split()[0]) for text in status) / 1024

    def ask(self, method: str, path: str, person: str, body: Any = None) -> list[Any]:
        """One request over the kept connection; the rows of its answer."""
        headers = {"Authorization": f"Bearer {self.tokens[person]}", "Content-Type": "application/json"}
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = self.connection.getresponse()
        content = response.read()
        if response.status not in (200, 201, 204):
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
    goal: float = GOAL


# the lists


def _lists(side: Side) -> Iterator[Page]:
    own = f"/documents?select=*&owner_id=eq.{OWNER}&deleted_at=is.null"
    trash = f"/documents?select=*&owner_id=eq.{OWNER}&deleted_at=not.is.null"
    for name, column, descending in (
        ("date", "created_at", True), ("name", "name", False), ("size", "size_bytes", False),
    ):  # fmt: skip
        yield from _ends(side, f"own by {name}", own, "documents", "deleted_at is null", column, descending)
    yield from _by_status(side, "own by status", own, "deleted_at is null", "created_at")
    yield Page("own by status downwards, first page", f"{own}&order=status.desc,created_at.desc,id.desc&limit={PAGE}")
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
    for whose, person, goal in (("of a tenth", OWNER, SEARCH_GOAL), ("of 1,000", TYPICAL, GOAL)):
        yield from _searches(side, f"library {whose}, search", "search_documents", person, goal)
    yield from _searches(side, "shared with me, search", "search_shared", RECIPIENT, SEARCH_GOAL)
    yield Page("own, one by its id", f"/documents?select=*&id=eq.{_one(side, 'bench_owned', OWNER)}", rows=1)
    shared = _one(side, "bench_shared", RECIPIENT)
    yield Page("shared with me, one by its id", f"/documents?select=*&id=eq.{shared}", RECIPIENT, rows=1)
    log = f"order=id.desc&limit={PAGE}"
    yield Page("log of many events", f"/logs?select=*&owner_id=eq.{OWNER}&{log}")
    yield Page("log of few events", f"/logs?select=*&owner_id=eq.{FEW}&{log}", FEW, rows=20)
    yield Page("limits", "/limits?select=*", rows=1)
    yield Page("counts", "/library_counts?select=*", rows=1)


def _searches(side: Side, case: str, function: str, person: str, goal: float) -> Iterator[Page]:
    """A word of every eighth name in both orders, a word with an accent, one name, and nothing there."""
    source = "bench_shared" if function == "search_shared" else "bench_owned"
    row = side.database.execute(
        f"select name from {source} where person_id = %s and deleted_at is null and name like %s limit 1".encode(),
        [person, "Report %"],
    ).fetchone()
    assert row is not None
    few = 5 if function == "search_shared" else PAGE
    for what, query, rows in (
        ("a common word", "query=report", few),
        ("a common word, by name", "query=report&sort=name&descending=false", few),
        ("one name", f"query={quote(row[0])}", 1),
        ("nothing there", "query=zzyzx", 0),
    ):
        yield Page(f"{case} for {what}", f"/rpc/{function}?{query}&page={PAGE}", person, rows, goal)


def _one(side: Side, source: str, person: str) -> str:
    """Some document of a person's."""
    row = side.database.execute(
        f"select id::text from {source} where person_id = %s and deleted_at is null limit 1".encode(), [person]
    ).fetchone()
    assert row is not None
    return str(row[0])


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
    yield replace(first, case=f"{case}, a third in", path=_bounded(ordered, column) + bounds)


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
    yield replace(first, case=f"{case}, a third in", path=_bounded(ordered, date) + bounds)


def _bounded(path: str, column: str) -> str:
    """The same without what a bound of this column says as well: the two are taken for a twentieth of the rows."""
    return path.replace("&deleted_at=not.is.null", "") if column == "deleted_at" else path


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
    """Milliseconds that a quarter of the rounds stay below: what else the machine does lengthens the others.

    Both are warmed up first.
    """
    times: tuple[list[float], list[float]] = [], []
    for number in range(rounds + 5):
        for act, kept in zip((one, other), times, strict=True):
            started = time.perf_counter()
            act()
            if number >= 5:
                kept.append((time.perf_counter() - started) * 1000)
    first, second = (statistics.quantiles(one, n=4)[0] for one in times)
    return first, second


def _explain(side: Side, page: Page) -> None:
    """Show how the database read a page."""
    plan = plan_of(page.path, side.tokens[page.person], page.person, side.connection, side.database)
    print(f"\n{page.case}", *plan.splitlines(), sep="\n  ", file=sys.stderr)


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
    server = replace(
        server, env={**server.env, **PLANNED, "PGRST_DB_URI": installation.database_url("authenticator", name)}
    )
    issuer = Issuer(installation.secrets.signing_key, installation.auth_issuer)
    tokens = {
        person: issuer.access_token({"sub": person, "role": "authenticated"})
        for person in (OWNER, RECIPIENT, TYPICAL, FEW)
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
