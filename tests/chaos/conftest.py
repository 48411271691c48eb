"""A stack to break, with short leases, and runners that can be killed, stalled and counted."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local import control
from local.installation import free_port
from tests.e2e.conftest import ROOT, Account, Stack, instashare, wait_for

LEASE_SECONDS = 4
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here provokes real faults on a stack of its own: the tier chaos."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.chaos)
            # supabase-py gives no way to close the connections of its clients
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
            # and it sets options of its own parts that they deprecate
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:supabase"))
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:postgrest"))
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:storage3"))


@dataclass
class Runner:
    """One runner process of the test's own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of its log about one event."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in map(json.loads, filter(_is_whole, lines)) if line["event"] == name]


def _is_whole(line: str) -> bool:
    return line.startswith("{") and line.endswith("}")


@dataclass
class Arena:
    """The stack under test."""

    stack: Stack
    folder: Path
    database: psycopg.Connection[dict[str, Any]]
    runners: list[Runner] = field(default_factory=list)

    def start_runner(self, slots: int = 1, **settings: str) -> Runner:
        """Start a runner beside the stack's own; it is ended with the test."""
        environment = {
            **os.environ,
            "SUPABASE_URL": self.stack.supabase_url,
            "SUPABASE_SECRET_KEY": self.stack.secret_key,
            "DATABASE_URL": self.stack.status["database_url"],
            "RUNNER_SLOTS": str(slots),
            **settings,
        }
        log = self.folder / f"runner-{uuid.uuid4().hex[:8]}.log"
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-m", "jobs.runner"], cwd=ROOT, env=environment, stderr=output)
        runner = Runner(process, log)
        self.runners.append(runner)
        return runner

    def end_runners(self) -> None:
        for runner in self.runners:
            if runner.process.poll() is None:
                runner.process.send_signal(signal.SIGCONT)
                runner.process.kill()
            runner.process.wait()
        self.runners.clear()

    def service(self, name: str) -> dict[str, Any]:
        """What `status` says of one service now."""
        assert self.stack.data_dir is not None
        service: dict[str, Any] = control.describe(self.stack.data_dir)["services"][name]
        return service

    def is_ready(self, name: str, not_pid: int) -> bool:
        """Whether the service was started anew since `not_pid` and serves."""
        service = self.service(name)
        return service["pid"] not in (None, not_pid) and service["state"] == "ready"

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return self.database.execute(query, parameters or None).fetchall()

    def running(self, document_id: str) -> dict[str, Any] | None:
        """The running archive job of a document, with the process that holds it as `pid`."""
        rows = self.rows(
            "select q.*, split_part(r.host, ':', 2)::int as pid"
            " from jobs.queue q join jobs.runners r on r.id = q.worker_id"
            " where q.document_id = %s and q.kind = 'archive_document' and q.state = 'running'",
            document_id,
        )
        return rows[0] if rows else None

    def wait_running(self, document_id: str) -> dict[str, Any]:
        return wait_for(lambda: self.running(document_id), 20)

    def history(self, document_id: str) -> list[dict[str, Any]]:
        query = "select * from jobs.history where document_id = %s and kind = 'archive_document' order by finished_at"
        return self.rows(query, document_id)

    def archives(self, document: dict[str, Any]) -> list[str]:
        """The keys in the bucket of archives that belong to a document."""
        like = f"{document['owner_id']}/{document['id']}/%"
        query = "select name from storage.objects where bucket_id = 'archives' and name like %s order by name"
        return [row["name"] for row in self.rows(query, like)]

    def assert_published_once(self, person: Account, document: dict[str, Any], data: bytes) -> dict[str, Any]:
        """The document is ready, its ZIP gives back the bytes, and exactly one attempt was published. Its job's end."""
        row = person.row(document["id"])
        assert (row["status"], row["progress"], row["error"]) == ("ready", 1, None)
        with zipfile.ZipFile(io.BytesIO(person.download(document["id"]))) as archive:
            assert archive.namelist() == [document["name"]]
            assert archive.read(document["name"]) == data
        ended = self.history(document["id"])
        assert [job["outcome"] for job in ended] == ["succeeded"]
        events = self.rows("select 1 from logs where document_id = %s and event_name = 'ready'", document["id"])
        assert len(events) == 1
        unfinished = "select 1 from jobs.queue where document_id = %s and kind = 'archive_document'"
        assert not self.rows(unfinished, document["id"])
        return ended[0]

    def upload_in_background(self, person: Account, name: str, data: bytes) -> dict[str, Any]:
        """Add a document and store its bytes over a plain connection; a client of gigabytes would keep them thrice."""
        document = person.add(name, len(data))
        url = f"{self.stack.supabase_url}/storage/v1/object/documents/{document['owner_id']}/{document['id']}"
        headers = {"Authorization": f"Bearer {person.access_token}", "Content-Type": "application/octet-stream"}
        httpx.post(url, content=data, headers=headers, timeout=120).raise_for_status()
        return document


@pytest.fixture(scope="session")
def arena_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A stack of these tests' own, whatever the settings name: nobody else's is to be broken."""
    folder = tmp_path_factory.mktemp("chaos")
    where = ["--data-dir", str(folder / "data")]
    started = instashare("up", "--detach", "--no-web", "--port", str(free_port()), *where)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        status = json.loads(instashare("status", "--json", *where).stdout)
        stack = Stack(
            status["supabase_url"], status["backend_url"], status["publishable_key"], status["secret_key"],
            status["admin_database_url"], folder / "data", status,
        )  # fmt: skip
        with stack.database() as database:
            database.execute(
                "update jobs.queues set lease = make_interval(secs => %s), backoff_base = '1 second',"
                " backoff_cap = '2 seconds'",
                [LEASE_SECONDS],
            )
        yield Arena(stack, folder, database)
    finally:
        instashare("down", *where)
        instashare("reset", "--yes", *where)
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()


@pytest.fixture
def arena(arena_stack: Arena) -> Iterator[Arena]:
    """The stack, with a fresh connection behind it (a test may have broken the last one) and no runner but its own."""
    wait_for(lambda: arena_stack.service("runner")["state"] == "ready", 60)
    with arena_stack.stack.database() as database:
        arena_stack.database = database
        try:
            yield arena_stack
        finally:
            arena_stack.end_runners()


@pytest.fixture
def person(arena: Arena) -> Account:
    return arena.stack.person()


@contextlib.contextmanager
def stalled(pid: int) -> Iterator[None]:
    """A process that stands still, as under a debugger or on a frozen machine."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def is_alive(pid: int) -> bool:
    """Whether a process that need not be ours exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def reconnect(arena: Arena, seconds: float = 30) -> None:
    """A new connection behind the stack, once its database answers again."""
    until = time.monotonic() + seconds
    while True:
        try:
            arena.database = arena.stack.database()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < until, "the database did not come back"
            time.sleep(0.1)
