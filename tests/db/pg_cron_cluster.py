"""A cluster of the system's own Postgres with the real pg_cron in it, and a clock that tests may set.

Needs Debian's `postgresql-15-cron` (or another version's); the clock needs `faketime`, too. Where they are missing the
tests say so and are skipped.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import Popen
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from jobs.cli import migrations
from local import installation as installations
from local import postgres
from local.service import Service, end, launch, wait_until

SETTINGS = {
    "shared_preload_libraries": "pg_cron", "cron.host": "127.0.0.1", "cron.max_running_jobs": "20",
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
}  # fmt: skip


def find_programs() -> Path | None:
    """The folder of `postgres` of a version that has pg_cron; the newest."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/lib/pg_cron.so"), key=lambda path: int(path.parts[-3]))
    return found[-1].parents[1] / "bin" if found else None


def find_faketime() -> Path | None:
    """The library that gives a program another clock."""
    return next(iter(sorted(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"))), None)


@dataclass
class Clock:
    """The server's clock: real, or shifted by what a file says."""

    folder: Path
    library: Path | None

    @property
    def file(self) -> Path:
        return self.folder / "offset"

    def environment(self) -> dict[str, str]:
        if self.library is None:
            return {}
        return {
            "LD_PRELOAD": str(self.library), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip

    def set(self, moment: datetime) -> None:
        """Let the server's clock stand at `moment` now, and go on from there; skips the test without faketime."""
        if self.library is None:
            pytest.skip(
                "faketime is not installed (Debian: apt-get install faketime): the server's clock cannot be set"
            )
        self._write((moment - datetime.now(UTC)).total_seconds())

    def reset(self) -> None:
        self._write(0)

    def _write(self, seconds: float) -> None:
        fresh = self.folder / "offset.new"
        fresh.write_text(f"{seconds:+.3f}\n")
        fresh.chmod(0o644)
        fresh.rename(self.file)


@dataclass
class CronServer:
    """The server, with our migrations and with the extension not yet made."""

    installation: installations.Installation
    service: Service
    clock: Clock
    process: Popen[bytes] | None = None
    connections: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return self.installation.database_url("supabase_admin")

    def start(self) -> None:
        self.process = launch(self.service, self.installation.log_dir / "postgres.log")
        assert wait_until(self.service.ready, self.process, 60), (
            self.installation.log_dir / "postgres.log"
        ).read_text()

    def stop(self) -> None:
        self.connections.close()
        if self.process is not None:
            end(self.process, self.service)
            self.process = None

    def let_launcher_follow(self, connection: psycopg.Connection[dict[str, Any]], at: datetime | None = None) -> None:
        """Have pg_cron's launcher heed the clock, which stands at `at` then (ahead of the real one).

        The server forks it inside a signal handler, where faketime is switched off for good. After an error it is
        forked in the main loop, so it is given one: for a moment it finds no table. The extension must be there.
        """
        at = at or datetime.now(UTC) + timedelta(hours=1)
        query = "select pid, backend_start from pg_stat_activity where backend_type = 'pg_cron launcher'"
        for _ in range(5):
            first = wait_for(lambda: connection.execute(query).fetchone(), what="pg_cron's launcher")
            # ahead, so that the second between error and start is over at once
            self.clock.set(at)
            connection.execute("alter table cron.job rename to job_away")
            wait_for(lambda old=first: connection.execute(query).fetchone() != old, what="the launcher's error")  # type: ignore[misc]
            connection.execute("alter table cron.job_away rename to job")
            # one that began before that fails as well
            anew = wait_for(lambda: self._settled(connection, query), what="pg_cron's launcher anew")
            if abs(anew["backend_start"] - at) < timedelta(minutes=10):
                return
        pytest.skip("faketime does not reach pg_cron's launcher on this machine")

    def _settled(self, connection: psycopg.Connection[dict[str, Any]], query: str) -> dict[str, Any] | None:
        """The launcher that is there, and is still there after more than a turn of its loop."""
        first = connection.execute(query).fetchone()
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            time.sleep(0.1)
            if first is None or connection.execute(query).fetchone() != first:
                return None
        return first

    def connect(self, role: str = "supabase_admin") -> psycopg.Connection[dict[str, Any]]:
        """A connection that is closed before the server stops."""
        connection = psycopg.connect(self.installation.database_url(role), autocommit=True, row_factory=dict_row)
        self.connections.callback(connection.close)
        return connection


def wait_for(condition: Any, seconds: float = 20, what: str = "it") -> Any:
    """What the condition came to, once it is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.05)


@contextmanager
def cron_server(folder: Path) -> Iterator[CronServer]:
    programs = find_programs()
    if programs is None:
        pytest.skip("pg_cron is not installed (Debian: apt-get install postgresql-15-cron): nothing of it is tested")
    installation = installations.create(folder / "data", port=installations.free_port())
    # the server's user must read it, and pytest's own folders are closed to others
    shared = Path(tempfile.mkdtemp(prefix="instashare-clock-"))
    shared.chmod(0o755)
    clock = Clock(shared, find_faketime())
    clock.reset()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(postgres.SYSTEM_POSTGRES, str(programs))
            postgres.create_cluster(installation)
            usual = postgres.service(installation)
        # pg_cron calls over a connection of the role whose job it is
        rules = installation.postgres_data / "pg_hba.conf"
        rules.write_text(f"host postgres postgres 127.0.0.1/32 trust\n{rules.read_text()}")
        flags = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        service = replace(usual, argv=[*usual.argv, *flags], env={**usual.env, **clock.environment()})
        installation.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        server = CronServer(installation, service, clock)
        server.start()
        try:
            postgres.prepare_database(installation)
            with psycopg.connect(installation.database_url("postgres")) as connection:
                migrations.become_postgres(connection)
                migrations.apply_pending(connection, migrations.read_migrations())
            # pg_cron's launcher lives in the database that was made anew, and went with the old one
            server.stop()
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        postgres.remove_cluster(installation)
        shutil.rmtree(shared, ignore_errors=True)
