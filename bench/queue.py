"""The job queue against PgQueuer, procrastinate and a bare claim-and-delete, durable, in one Postgres in one run.

Ours is the runner itself with jobs that do nothing (10 slots and what it prefetches), fair between 50 owners of whom
one has nine tenths of the jobs. The peers come from PyPI into an environment of their own, which is kept; where they
cannot be had their lines are left out, and stderr says so.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.result import Result, main, report
from jobs.cli import migrations
from local import installation as installations
from local import postgres

ROOT = Path(__file__).parents[1]
PEERS = ("pgqueuer==1.6.0", "procrastinate==3.10.0", "asyncpg==0.32.0", "psycopg[binary]==3.3.9")
SLOTS, PREFETCHED, OWNERS = 10, 90, 50
PASSWORD = "bench"

GOALS = {1: 2.5, 2: 3.3}  # against PgQueuer, by processes
PUBLISHING_GOALS = {1: 1.5, 2: 2.3}


@dataclass(frozen=True)
class Sizes:
    """How much is done of what."""

    jobs: int
    few: int  # of what is slow
    wakes: int
    pending: int
    old_seconds: float


def run(quick: bool) -> dict[str, Any]:
    """Measure all goals; `quick`: fewer jobs, 100,000 pending instead of a million, an old transaction of seconds."""
    sizes = Sizes(6000, 600, 40, 100_000, 5) if quick else Sizes(20_000, 2000, 200, 1_000_000, 120)
    python = _environment()
    with tempfile.TemporaryDirectory(prefix="bench-queue-") as name, _cluster(Path(name)) as cluster:
        bench = Bench(cluster, python, sizes)
        results = [*bench.throughput(), *bench.fairness(), *bench.waking(), *bench.old_transaction(), bench.pending()]
    return report("queue", results)


# the programs that are measured


def _environment() -> Path | None:
    """The peers' Python; None where they cannot be installed."""
    folder = ROOT / ".venv" / "cache" / "bench-queue"
    python = folder / "bin" / "python"
    made = folder / "made"
    if made.exists() and made.read_text() == "\n".join(PEERS):
        return python
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "--quiet", "--python", str(python), *PEERS],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"Not measured against {', '.join(PEERS[:2])}: {done.stderr.strip()[-300:]}", file=sys.stderr)
            return None
    made.write_text("\n".join(PEERS))
    return python


@dataclass
class Workers:
    """Processes that work on a queue until `stop`."""

    processes: list[subprocess.Popen[str]]

    def live(self) -> bool:
        """True. Raises RuntimeError when one has ended by itself."""
        for process in self.processes:
            if process.poll() is not None:
                assert process.stderr is not None
                raise RuntimeError(process.stderr.read()[-2000:])
        return True

    def stop(self) -> list[float]:
        """Let them end; the milliseconds that their told jobs waited."""
        wakes: list[float] = []
        for process in self.processes:
            out, err = process.communicate(timeout=60)
            if process.returncode:
                raise RuntimeError(err[-2000:])
            wakes += json.loads(out.strip().splitlines()[-1])
        return wakes


def _start(command: list[str], count: int) -> Workers:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(count)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(process.stderr.read()[-2000:])
    return Workers(processes)


# the database


@dataclass
class Cluster:
    """A running Postgres with a database of ours, one of the peers and one of the bare table."""

    admin: psycopg.Connection[Any]  # of our database
    peers: psycopg.Connection[Any]
    runner_url: str
    peers_url: str


@contextmanager
def _cluster(folder: Path) -> Iterator[Cluster]:
    installation = installations.create(folder / "data", port=installations.free_port())
    try:
        postgres.create_cluster(installation)
        with postgres.running(installation):
            postgres.prepare_database(installation, "ours")
            with psycopg.connect(installation.database_url("postgres", "ours")) as connection:
                migrations.become_postgres(connection)
                migrations.apply_pending(connection, migrations.read_migrations())
            admin_url = installation.database_url("supabase_admin", "ours")
            with psycopg.connect(admin_url, autocommit=True) as admin:
                admin.execute(f"alter role instashare_runner login password '{PASSWORD}'")
                with admin.transaction():
                    admin.execute("set local session_replication_role = replica")
                    admin.execute("delete from public.scheduled_jobs")
                admin.execute("create database peers")
                peers_url = installation.database_url("supabase_admin", "peers")
                runner_url = f"postgresql://instashare_runner:{PASSWORD}@127.0.0.1:{admin.info.port}/ours"
                with psycopg.connect(peers_url, autocommit=True) as peers:
                    yield Cluster(admin, peers, runner_url, peers_url)
    finally:
        postgres.remove_cluster(installation)


def _value(connection: psycopg.Connection[Any], query: str, *parameters: object) -> Any:
    row = connection.execute(query.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


def _wait(done: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError("the jobs were not done in time")
        time.sleep(0.01)


# the cases


class Bench:
    """All cases, on one cluster."""

    def __init__(self, cluster: Cluster, python: Path | None, sizes: Sizes) -> None:
        self.ours, self.peers, self.cluster = cluster.admin, cluster.peers, cluster
        self.python, self.sizes = python, sizes
        if python:
            for peer in ("pgqueuer", "procrastinate"):
                self.peer(peer, "install")

    # filling

    def fill(self, jobs: int, document: bool = False) -> None:
        """Pause the queue and add jobs of 50 owners, nine tenths of them one owner's."""
        self.ours.execute("select jobs.pause()")
        self.ours.execute("truncate jobs.queue, jobs.history, jobs.attempts")
        kind = "archive_document" if document else "noop"
        self.ours.execute(
            """
            with numbered as (
                select i, case when i %% 10 < 9 then 0 else (i / 10) %% %(others)s + 1 end as owner
                from generate_series(1, %(jobs)s) as i
            ),
            owned as (
                select i, ('00000000-0000-4000-8000-' || lpad(owner::text, 12, '0'))::uuid as owner_id from numbered
            )
            select jobs.enqueue(
                %(kind)s, o.owner_id, d.id,
                case when d.id is null then '{}' else jsonb_build_object('object_version', d.object_version) end
            )
            from owned o
                left join (
                    select row_number() over () as number, d.id, d.object_version from public.documents d
                ) as d on d.number = o.i and %(kind)s = 'archive_document'
            order by o.i
            """,
            {"jobs": jobs, "others": OWNERS - 1, "kind": kind},
        )
        self.ours.execute("analyze jobs.queue, public.documents")
        self.ours.execute("checkpoint")
        os.sync()

    def documents(self, count: int) -> None:
        """Documents that wait to be archived, without what makes them so."""
        with self.ours.transaction():
            self.ours.execute("set local session_replication_role = replica")
            self.ours.execute("delete from public.documents")
            self.ours.execute(
                "insert into public.documents (owner_id, name, size_bytes, mime_type, status, object_version)"
                " select gen_random_uuid(), 'Report ' || i, 1000, 'text/plain', 'queued', gen_random_uuid()"
                " from generate_series(1, %s) as i",
                [count],
            )

    # draining

    def drain(self, processes: int, jobs: int, slots: int = SLOTS) -> float:
        """Jobs a second of our runner on a filled queue."""
        workers = _start([sys.executable, "-m", "bench.queue_ours", self.cluster.runner_url, str(slots)], processes)
        began = _value(self.ours, "select clock_timestamp()")
        self.ours.execute("select jobs.resume()")
        self.ours.execute("notify instashare_jobs")
        _wait(lambda: workers.live() and _value(self.ours, "select count(*) from jobs.history") >= jobs)
        workers.stop()
        seconds = _value(self.ours, "select extract(epoch from max(finished_at) - %s)::float8 from jobs.history", began)
        return float(jobs / seconds)

    def peer(self, peer: str, act: str, number: int = 0) -> None:
        program = [str(self.python), "-P", str(ROOT / "bench" / "queue_peers.py")]
        subprocess.run([*program, peer, act, self.cluster.peers_url, str(number)], check=True, capture_output=True)

    def peer_workers(self, peer: str, processes: int, batch: int) -> Workers:
        program = [str(self.python), "-P", str(ROOT / "bench" / "queue_peers.py")]
        return _start([*program, peer, "work", self.cluster.peers_url, str(batch)], processes)

    def drain_peer(self, peer: str, processes: int, jobs: int, batch: int) -> float:
        """Jobs a second of a peer: its workers wait while the jobs are added under a lock, in one transaction."""
        table = {"pgqueuer": "pgqueuer", "procrastinate": "procrastinate_jobs"}[peer]
        self.peer(peer, "fill", jobs)
        self.peers.execute(f"analyze {table}".encode())
        self.peers.execute("checkpoint")
        os.sync()
        began = time.monotonic()
        workers = self.peer_workers(peer, processes, batch)
        ready = time.monotonic()
        left = _value(self.peers, f"select count(*) from {table}")
        _wait(lambda: workers.live() and not _value(self.peers, f"select exists (select from {table})"))
        seconds = time.monotonic() - ready
        workers.stop()
        # what was done while the last of the workers started counts by its time
        return float(left / seconds) if left > jobs / 2 else float(jobs / (time.monotonic() - began))

    def throughput(self) -> Iterator[Result]:
        jobs, few = self.sizes.jobs, self.sizes.few
        per_job = self.per_job(few)
        for processes in (1, 2):
            self.fill(jobs)
            ours = self.drain(processes, jobs)
            self.documents(jobs)
            self.fill(jobs, document=True)
            publishing = self.drain(processes, jobs)
            many = f"{processes} process{'es' if processes > 1 else ''}"
            if self.python:
                best = max(self.drain_peer("pgqueuer", processes, jobs, batch) for batch in (100, 500))
                peer, goal = "PgQueuer, its best batch", GOALS[processes]
                yield Result.of(many, "jobs a second", ours, best, peer, "least", goal)
                goal = PUBLISHING_GOALS[processes]
                yield Result.of(f"{many}, ours publishes", "jobs a second", publishing, best, peer, "least", goal)
            if processes > 1:
                continue
            yield Result.of(many, "jobs a second", ours, per_job, "ours, each job completed alone", "least", 12)
            if self.python:
                slow = self.drain_peer("procrastinate", 1, few, SLOTS)
                yield Result.of(many, "jobs a second", ours, slow, "procrastinate", "least", 40)
            yield Result.of(many, "jobs a second", ours, self.bare(jobs), "bare claim of 50 and delete", "least", 0.85)

    def per_job(self, jobs: int) -> float:
        """Jobs a second when a call ends one job, as most queues do."""
        self.fill(jobs)
        self.ours.execute("select jobs.resume()")
        runner, began, ended = str(uuid.uuid4()), time.monotonic(), 0
        with psycopg.connect(self.cluster.runner_url, autocommit=True) as connection:
            while claimed := _exchange(connection, runner, want=SLOTS + PREFETCHED)["claimed"]:
                for job in claimed:
                    _exchange(connection, runner, finished=[_succeeded(job)])
                    ended += 1
        return ended / (time.monotonic() - began)

    def bare(self, jobs: int) -> float:
        """A table of numbers: claim 50 by an update that skips what is locked, delete them."""
        self.peers.execute("drop table if exists bare")
        self.peers.execute("create table bare (id bigint primary key, state text not null, args jsonb)")
        self.peers.execute("insert into bare select i, 'pending', '{}' from generate_series(1, %s) as i", [jobs])
        self.peers.execute("analyze bare")
        self.peers.execute("checkpoint")
        os.sync()
        began = time.monotonic()
        with psycopg.connect(self.cluster.peers_url, autocommit=True) as connection:
            while True:
                ids = connection.execute(
                    "update bare set state = 'running' where id = any (array("
                    "select id from bare where state = 'pending' order by id limit 50 for update skip locked"
                    ")) returning id, args"
                ).fetchall()
                if not ids:
                    return jobs / (time.monotonic() - began)
                connection.execute("delete from bare where id = any (%s)", [[row[0] for row in ids]])

    def fairness(self) -> Iterator[Result]:
        first = OWNERS * 5
        self.fill(OWNERS * 100)
        self.ours.execute("select jobs.resume()")
        owners: Counter[str] = Counter()
        with psycopg.connect(self.cluster.runner_url, autocommit=True) as connection:
            for _ in range(5):
                owners.update(
                    job["owner_id"] for job in _exchange(connection, str(uuid.uuid4()), want=OWNERS)["claimed"]
                )
        counts = owners.values()
        jain = sum(counts) ** 2 / (OWNERS * sum(count**2 for count in counts))
        yield Result.of(f"first {first} of 50 owners' jobs", "Jain's index", jain, 1, "all alike", "least", 0.99)
        self.fill(0)
        self.ours.execute(
            "select jobs.enqueue('noop', '00000000-0000-4000-8000-000000000000', null, '{\"seconds\": 0.001}')"
            " from generate_series(1, %s)",
            [self.sizes.few * 5],
        )
        workers = _start([sys.executable, "-m", "bench.queue_ours", self.cluster.runner_url, str(SLOTS)], 1)
        self.ours.execute("select jobs.resume()")
        self.ours.execute("notify instashare_jobs")
        _wait(lambda: _value(self.ours, "select count(*) from jobs.history") > self.sizes.few)
        job = _value(self.ours, "select jobs.enqueue('noop', '00000000-0000-4000-8000-000000000999', null)")
        _wait(lambda: bool(_value(self.ours, "select count(*) from jobs.history where id = %s", job)))
        before = _value(
            self.ours,
            "select count(*) from jobs.history h, jobs.history j"
            " where j.id = %s and h.claimed_at < j.claimed_at and h.finished_at > j.created_at",
            job,
        )
        _wait(lambda: not _value(self.ours, "select exists (select from jobs.queue)"))
        workers.stop()
        case, most = "a newcomer behind one owner's backlog", "prefetched and in slots"
        yield Result.of(case, "jobs before it", before, SLOTS + PREFETCHED, most, "most", 1)

    def waking(self) -> Iterator[Result]:
        self.fill(0)
        self.ours.execute("select jobs.resume()")
        workers = _start([sys.executable, "-m", "bench.queue_ours", self.cluster.runner_url, str(SLOTS)], 1)
        for _ in range(self.sizes.wakes):
            time.sleep(0.05)
            sent = json.dumps({"sent": time.monotonic()})
            self.ours.execute("select jobs.enqueue('noop', gen_random_uuid(), null, %s)", [sent])
        _wait(lambda: not _value(self.ours, "select exists (select from jobs.queue)"))
        wakes = sorted(workers.stop())
        middle, late = statistics.median(wakes), wakes[min(len(wakes) - 1, int(len(wakes) * 0.99))]
        if self.python:
            peer = self.peer_workers("pgqueuer", 1, 10)
            self.peer("pgqueuer", "send", self.sizes.wakes)
            _wait(lambda: not _value(self.peers, "select exists (select from pgqueuer)"))
            theirs = statistics.median(peer.stop())
            yield Result.of("idle wake", "milliseconds, median", middle, theirs, "PgQueuer", "most", 1)
        yield Result.of("idle wake", "milliseconds, 99th percentile", late, 10, "what is allowed", "most", 1)

    def old_transaction(self) -> Iterator[Result]:
        jobs = self.sizes.jobs
        self.fill(jobs)
        before = self.drain(1, jobs)
        with psycopg.connect(self.ours.info.dsn, password=self.ours.info.password) as old:
            old.execute("set transaction isolation level repeatable read")
            old.execute("select count(*) from jobs.queue")
            began = time.monotonic()
            while True:
                self.fill(jobs)
                during = self.drain(1, jobs)
                if time.monotonic() - began > self.sizes.old_seconds:
                    break
        case = f"a transaction of {self.sizes.old_seconds:g} seconds stays open"
        yield Result.of(case, "jobs a second", during, before, "without it", "least", 0.4)

    def pending(self) -> Result:
        """A call that ends and claims ten jobs, among many that wait and among few."""
        self.ours.execute("vacuum jobs.queue")
        self.fill(2000)
        few = self.call_milliseconds()
        with self.ours.transaction():
            self.ours.execute(
                "insert into jobs.queue (id, kind, owner_id, state, pos) overriding system value"
                " select i, 'noop', gen_random_uuid(), 'pending', ((c.clock + 1 + i / 1000) << 32) | (i & 4294967295)"
                " from (select jobs.clock('default', 0::smallint) as clock) as c,"
                " generate_series(100000000, 100000000 + %s) as i",
                [self.sizes.pending],
            )
        self.ours.execute("vacuum analyze jobs.queue")
        many = self.call_milliseconds()
        what = f"{self.sizes.pending:,} jobs wait"
        return Result.of(what, "milliseconds a call of 10 jobs", many, few, "2,000 wait", "most", 1.2)

    def call_milliseconds(self) -> float:
        self.ours.execute("checkpoint")
        os.sync()  # nobody pays for what was filled in
        self.ours.execute("select jobs.resume()")
        runner, times, ended = str(uuid.uuid4()), [], []
        with psycopg.connect(self.cluster.runner_url, autocommit=True) as connection:
            for _ in range(130):
                began = time.perf_counter()
                claimed = _exchange(connection, runner, want=10, finished=ended)["claimed"]
                times.append((time.perf_counter() - began) * 1000)
                ended = [_succeeded(job) for job in claimed]
            _exchange(connection, runner, finished=ended)
        self.ours.execute("select jobs.pause()")
        return statistics.median(times[30:])


def _exchange(connection: psycopg.Connection[Any], runner: str, **message: Any) -> Any:
    return _value(connection, "select jobs.exchange(%s, 'bench', %s)", runner, json.dumps(message))


def _succeeded(job: dict[str, Any]) -> dict[str, Any]:
    return {"id": job["id"], "attempt": job["attempt"], "outcome": "succeeded", "result": {}}


if __name__ == "__main__":
    main("queue", run)
