"""A real Postgres with a hosted project's roles; each test works on a clone of a template that holds our migrations."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from jobs.cli import migrations
from local import installation as installations
from local import postgres

TEMPLATE = "template_instashare"
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[installations.Installation]:
    """A running cluster whose database TEMPLATE has every migration applied, as the role `postgres`."""
    installation = installations.create(tmp_path_factory.mktemp("db") / "data", port=installations.free_port())
    try:
        postgres.create_cluster(installation)
        with postgres.running(installation):
            with psycopg.connect(installation.database_url("supabase_admin"), autocommit=True) as admin:
                # nothing here must survive a power cut
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    admin.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(setting)))
                admin.execute("select pg_reload_conf()")
            postgres.prepare_database(installation, TEMPLATE)
            with psycopg.connect(installation.database_url("postgres", TEMPLATE)) as connection:
                migrations.become_postgres(connection)
                migrations.apply_pending(connection, migrations.read_migrations())
            yield installation
    finally:
        postgres.remove_cluster(installation)


@contextmanager
def refused(sqlstate: str, code: str | None = None) -> Iterator[None]:
    """The block is refused with this SQLSTATE (PT422 is HTTP 422 to a client) and this stable code."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert (caught.value.sqlstate, code and caught.value.diag.message_detail) == (sqlstate, code), caught.value


def in_parallel(*tasks: Callable[[], object]) -> list[BaseException | None]:
    """Run every task in a thread of its own, begun at one moment; what each raised."""
    barrier = threading.Barrier(len(tasks))
    raised: list[BaseException | None] = [None] * len(tasks)

    def run(number: int, task: Callable[[], object]) -> None:
        barrier.wait()
        try:
            task()
        except BaseException as error:
            raised[number] = error

    threads = [threading.Thread(target=run, args=(number, task)) for number, task in enumerate(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a task never ended"
    return raised


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Until the condition holds; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.01)


@dataclass
class Person:
    """Speaks to the database as a client with this account's token does."""

    database: Database
    id: str
    email: str
    role: str = "authenticated"

    def run(self, statement: str, *parameters: object, operation: str | None = None) -> list[dict[str, Any]]:
        """Run one statement in a transaction of its own; rows where it has any. Raises psycopg.Error."""
        claims = {"sub": self.id, "role": self.role, "email": self.email} if self.id else {"role": self.role}
        connection = self.database.superuser
        with connection.transaction():
            connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
            if operation:
                connection.execute("select set_config('storage.operation', %s, true)", [operation])
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(self.role)))
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *parameters: object) -> Any:
        """The first column of the first row."""
        rows = self.run(statement, *parameters)
        return next(iter(rows[0].values())) if rows else None

    def on(self, database: Database) -> Person:
        """The same person on another connection."""
        return replace(self, database=database)

    def call(self, function: str, *parameters: object) -> Any:
        """Call a function of public, as PostgREST's RPC does; its one value, or its row as a dict."""
        marks = ", ".join(["%s"] * len(parameters))
        rows = self.run(f"select * from public.{function}({marks})", *parameters)
        return next(iter(rows[0].values())) if len(rows[0]) == 1 else rows[0]

    def row(self, document_id: str) -> dict[str, Any]:
        """A document as this person sees it."""
        (row,) = self.run("select * from documents where id = %s", document_id)
        return row

    def sees(self, document_id: str) -> bool:
        """Whether the document is visible to this person."""
        return bool(self.run("select 1 from documents where id = %s", document_id))

    def ready(self, runner: Runner, name: str = "report.pdf", size: int = 5) -> str:
        """Add a document, store it and have it archived."""
        document = self.document(name, size)
        self.store(document)
        for job in runner.claim(1000):
            if job["kind"] == "archive_document":
                runner.publish(job)
        return document

    def document(self, name: str = "report.pdf", size: int = 5) -> str:
        """Add a document and return its id."""
        return str(self.value("insert into documents (name, size_bytes) values (%s, %s) returning id", name, size))

    def store(self, document_id: str, size: int | None = None, version: str | None = None) -> str:
        """Store the original's bytes as the Storage service does: a probe, rolled back, then the final row."""
        key = f"{self.id}/{document_id}"
        connection = self.database.superuser
        announced = (
            size
            if size is not None
            else self.database.value("select size_bytes from documents where id = %s", document_id)
        )
        with connection.transaction(force_rollback=True):
            self.run(
                "insert into storage.objects (bucket_id, name, owner_id, version, metadata)"
                " values ('documents', %s, %s, '1', %s)",
                key, self.id, json.dumps({"mimetype": "text/plain", "contentLength": announced}),
                operation="storage.object.upload",
            )  # fmt: skip
        version = version or str(uuid.uuid4())
        SERVICE(self.database).run(
            "insert into storage.objects (bucket_id, name, owner_id, version, metadata)"
            " values ('documents', %s, %s, %s, %s)",
            key, self.id, version,
            json.dumps({"size": announced, "contentLength": announced, "mimetype": "text/plain"}),
            operation="storage.object.upload",
        )  # fmt: skip
        return version


def SERVICE(database: Database) -> Person:
    return Person(database, "", "", "service_role")


@dataclass
class Runner:
    """Speaks the runner's one conversation, as the role `instashare_runner`."""

    database: Database
    id: str

    def on(self, database: Database) -> Runner:
        """The same runner on another connection."""
        return replace(self, database=database)

    def exchange(self, **message: Any) -> dict[str, Any]:
        connection = self.database.superuser
        with connection.transaction():
            connection.execute("set local role instashare_runner")
            row = connection.execute(
                "select jobs.exchange(%s, 'test', %s) as answer", [self.id, json.dumps(message)]
            ).fetchone()
            assert row is not None
            answer: dict[str, Any] = row["answer"]
            return answer

    def call(self, function: str, *parameters: object) -> Any:
        connection = self.database.superuser
        with connection.transaction():
            connection.execute("set local role instashare_runner")
            marks = ", ".join(["%s"] * len(parameters))
            row = connection.execute(f"select jobs.{function}({marks}) as answer", parameters).fetchone()
            assert row is not None
            return row["answer"]

    def claim(self, want: int = 1) -> list[dict[str, Any]]:
        claimed: list[dict[str, Any]] = self.exchange(want=want, sweep=True)["claimed"]
        return claimed

    def finish(self, job: dict[str, Any], outcome: str = "succeeded", **result: Any) -> dict[str, Any]:
        return self.exchange(
            finished=[{"id": job["id"], "attempt": job["attempt"], "outcome": outcome, "result": result}]
        )

    def fail(self, job: dict[str, Any], error: str = "storage_down: Storage is down.", **more: Any) -> dict[str, Any]:
        entry = {"id": job["id"], "attempt": job["attempt"], "error": error, "retryable": True, **more}
        return self.exchange(failed=[entry])

    def beat(self, job: dict[str, Any], progress: float | None = None) -> dict[str, Any]:
        return self.exchange(beats=[{"id": job["id"], "attempt": job["attempt"], "progress": progress}])

    def release(self, job: dict[str, Any]) -> dict[str, Any]:
        return self.exchange(released=[{"id": job["id"], "attempt": job["attempt"]}])

    def publish(self, job: dict[str, Any], path: str | None = None) -> dict[str, Any]:
        payload = job["payload"]
        path = path or f"{job['owner_id']}/{job['document_id']}/{job['id']}-{job['attempt']}.zip"
        self.database.run(
            "insert into storage.objects (bucket_id, name, version, metadata) values ('archives', %s, %s, '{}')",
            path, str(uuid.uuid4()),
        )  # fmt: skip
        return self.finish(
            job, archive_path=path, archive_size_bytes=100, name_revision=payload["name_revision"],
            object_version=payload.get("object_version"),
        )  # fmt: skip


@dataclass
class Database:
    """A clone of the template; `superuser` is its one connection, on which roles are taken statement by statement."""

    superuser: psycopg.Connection[dict[str, Any]]
    url: str
    others: ExitStack = field(default_factory=ExitStack)

    def second(self) -> Database:
        """The same database over a connection of its own; a lock that it waits for too long is an error."""
        connection = psycopg.connect(self.url, autocommit=True, row_factory=dict_row)
        self.others.callback(connection.close)
        connection.execute("set lock_timeout = '10s'")
        return Database(connection, self.url, self.others)

    def lapse(self, *jobs: dict[str, Any]) -> None:
        """Let leases lapse, as if their time had passed."""
        self.run(
            "update jobs.queue set lease_until = now() - interval '1 second' where id = any (%s)",
            [job["id"] for job in jobs],
        )

    def jobs(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The unfinished jobs in the order of their ids."""
        return self.run("select * from jobs.queue where %s::text is null or kind = %s order by id", kind, kind)

    def outcomes(self, kind: str | None = None) -> list[str]:
        """How the finished jobs ended, in that order."""
        rows = self.run(
            "select outcome from jobs.history where %s::text is null or kind = %s order by finished_at, id", kind, kind
        )
        return [row["outcome"] for row in rows]

    def run(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        cursor = self.superuser.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *parameters: object) -> Any:
        rows = self.run(statement, *parameters)
        return next(iter(rows[0].values())) if rows else None

    def sign_up(self, email: str, confirmed: bool = True, **metadata: str) -> Person:
        """Make an account as Auth does: a row of auth.users, written by supabase_auth_admin."""
        with self.superuser.transaction():
            self.superuser.execute("set local role supabase_auth_admin")
            row = self.superuser.execute(
                "insert into auth.users (id, email, raw_user_meta_data, email_confirmed_at)"
                " values (gen_random_uuid(), %s, %s, case when %s then now() end) returning id",
                [email, json.dumps(metadata), confirmed],
            ).fetchone()
        assert row is not None
        return Person(self, str(row["id"]), email)

    def grant(self, person: Person, role: str) -> Person:
        self.run("insert into user_roles (user_id, role_id) select %s, id from roles where name = %s", person.id, role)
        return person

    def runner(self) -> Runner:
        return Runner(self, str(uuid.uuid4()))


@pytest.fixture
def database(cluster: installations.Installation) -> Iterator[Database]:
    """A database of this test's own."""
    name = f"test_{next(numbers)}"
    with psycopg.connect(cluster.database_url("supabase_admin", "template1"), autocommit=True) as admin:
        identifier, template = sql.Identifier(name), sql.Identifier(TEMPLATE)
        admin.execute(sql.SQL("create database {} template {} owner postgres").format(identifier, template))
        url = cluster.database_url("supabase_admin", name)
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            made = Database(connection, url)
            with made.others:
                yield made
        admin.execute(sql.SQL("drop database {} with (force)").format(identifier))


@pytest.fixture
def owner(database: Database) -> Person:
    return database.sign_up("owner@example.test", first_name="Olga")


@pytest.fixture
def stranger(database: Database) -> Person:
    return database.sign_up("stranger@example.test")


@pytest.fixture
def recipient(database: Database) -> Person:
    return database.sign_up("recipient@example.test")


@pytest.fixture
def admin(database: Database) -> Person:
    return database.grant(database.sign_up("admin@example.test"), "admin")


@pytest.fixture
def anonymous(database: Database) -> Person:
    return Person(database, "", "", "anon")


@pytest.fixture
def runner(database: Database) -> Runner:
    return database.runner()


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).resolve().parents[2]
