"""What documents cost: documents and bytes an hour by size and preset, statements, bytes of tables, jobs a second.

`.venv/bin/python -m bench.scale [--quick]` starts a stack of its own, prints the figures of docs/scaling.md as one JSON
object on stdout, and removes the stack. It is no comparison, so `instashare bench` does not run it. Rates are those of
this machine, on which clients and all services share the cores; counts and bytes are the same anywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from bench.corpus import text
from local.installation import free_port

ROOT = Path(__file__).resolve().parents[1]
PRESETS = ("fast", "balanced", "small")
# KiB a document: how many of them
SIZES = {64: 400, 1024: 120, 102_400: 4}
QUICK = {64: 60, 1024: 20, 102_400: 1}
TABLES = ("public.documents", "public.logs", "jobs.history", "storage.objects")
SEED = """
    set session_replication_role = replica;
    insert into public.documents (
        owner_id, name, size_bytes, mime_type, status, progress, archive_path, archive_size_bytes,
        archive_name_revision, object_version
    )
    select ('00000000-0000-4000-8000-' || lpad((i % 1000)::text, 12, '0'))::uuid,
        'Report ' || i || ' of the year ' || i % 40 || '.pdf', 100000 + i, 'application/pdf', 'ready', 1,
        '00000000-0000-4000-8000-000000000000/' || gen_random_uuid() || '/' || i || '-1.zip', 90000 + i, 1,
        gen_random_uuid()
    from generate_series(1, {count}) i;
    insert into public.logs (user_id, owner_id, event_name, document_id)
    select d.owner_id, d.owner_id, e.name, d.id
    from public.documents d cross join (values ('document_created'), ('document_queued'), ('document_ready')) e (name);
    insert into storage.objects (bucket_id, name, owner, owner_id, version, metadata)
    select b.name, case when b.name = 'documents' then d.owner_id || '/' || d.id else d.archive_path end, d.owner_id,
        d.owner_id::text, gen_random_uuid()::text, jsonb_build_object(
            'eTag', '"' || md5(d.id::text) || '"', 'size', d.size_bytes, 'mimetype', d.mime_type,
            'cacheControl', 'no-cache', 'lastModified', '2026-11-24T12:00:00.000Z',
            'contentLength', d.size_bytes, 'httpStatusCode', 200)
    from public.documents d cross join (values ('documents'), ('archives')) b (name);
    set session_replication_role = origin;
"""


def call(*arguments: str, data_dir: Path, **settings: str) -> str:
    """Run a verb of the command line; its words."""
    command = [sys.executable, "-m", "jobs.cli", *arguments, "--data-dir", str(data_dir)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


@contextmanager
def running(data_dir: Path, preset: str) -> Iterator[dict[str, Any]]:
    """The stack with a runner of this preset and of two slots, for the time of a `with` block; gives its status."""
    call(
        "up",
        "--detach",
        "--no-web",
        "--port",
        str(free_port()),
        data_dir=data_dir,
        ARCHIVE_PRESET=preset,
        RUNNER_SLOTS="2",
    )
    try:
        yield json.loads(call("status", "--json", data_dir=data_dir))
    finally:
        call("down", data_dir=data_dir)


def sign_up(client: httpx.Client) -> str:
    """A new person's access token."""
    body = {"email": f"{uuid.uuid4().hex}@example.test", "password": uuid.uuid4().hex}
    token: str = client.post("/auth/v1/signup", json=body).raise_for_status().json()["access_token"]
    return token


def upload(client: httpx.Client, data: bytes) -> None:
    """Add one document and store its bytes."""
    row = {"name": f"{uuid.uuid4().hex}.txt", "size_bytes": len(data), "mime_type": "text/plain"}
    answer = client.post("/rest/v1/documents", json=row, headers={"Prefer": "return=representation"})
    document = answer.raise_for_status().json()[0]
    address = f"/storage/v1/object/documents/{document['owner_id']}/{document['id']}"
    client.post(address, content=data).raise_for_status()


def count(database: psycopg.Connection[Any]) -> dict[str, int]:
    """Statements so far, by the role that made them (ours left out)."""
    rows = database.execute(
        """
        select r.rolname, sum(s.calls)
        from pg_stat_statements s join pg_roles r on r.oid = s.userid
        where s.toplevel and r.rolname <> current_user
        group by 1
        """
    ).fetchall()
    return {name: int(calls) for name, calls in rows}


def transactions(database: psycopg.Connection[Any]) -> int:
    """Transactions committed in this database so far."""
    database.execute("select pg_stat_clear_snapshot()")
    row = database.execute("select xact_commit from pg_stat_database where datname = current_database()").fetchone()
    return int(row[0]) if row else 0


def measure_documents(status: dict[str, Any], kilobytes: int, amount: int) -> dict[str, Any]:
    """Upload `amount` documents with the queue paused, then let the runner have them."""
    data = text(kilobytes * 1024)
    headers = {"apikey": status["publishable_key"]}
    with (
        httpx.Client(base_url=status["supabase_url"], headers=headers, timeout=300, trust_env=False) as client,
        psycopg.connect(status["admin_database_url"], autocommit=True) as database,
        ThreadPoolExecutor(8) as pool,
    ):
        client.headers["Authorization"] = f"Bearer {sign_up(client)}"
        database.execute("select jobs.pause()")
        try:
            stored = count(database)
            began = time.monotonic()
            list(pool.map(lambda _: upload(client, data), range(amount)))
            uploaded = time.monotonic() - began
            statements, before = count(database), transactions(database)
            began = time.monotonic()
        finally:
            database.execute("select jobs.resume()")
        waiting = "select count(*) from public.documents where status in ('queued', 'processing')"
        asked = 0
        while (row := database.execute(waiting).fetchone()) and row[0]:
            asked += 1
            time.sleep(0.2)
        archived = time.monotonic() - began
        time.sleep(2)  # the servers' processes report their transactions a second late
        after, ended = count(database), transactions(database)
        found = database.execute("select sum(archive_size_bytes) / sum(size_bytes) from public.documents").fetchone()
        database.execute("delete from public.documents")  # the ratio is each case's own
    return {
        "kilobytes": kilobytes,
        "documents": amount,
        "uploads_per_second": round(amount / uploaded, 2),
        "archived_per_hour": round(3600 * amount / archived),
        "archived_gb_per_hour": round(3600 * amount * len(data) / archived / 1e9, 1),
        "ratio": round(float(found[0]), 3) if found else None,
        "transactions_per_document": round((ended - before - asked) / amount, 1),
        "statements_per_upload": per_document(stored, statements, amount),
        "statements_per_archive": per_document(statements, after, amount),
    }


def per_document(before: dict[str, int], after: dict[str, int], amount: int) -> dict[str, float]:
    """Statements a document between two counts, by the role that made them."""
    made = {role: (calls - before.get(role, 0)) / amount for role, calls in sorted(after.items())}
    return {role: round(number, 1) for role, number in made.items() if number >= 0.05}


def measure_tables(database: psycopg.Connection[Any], amount: int) -> dict[str, Any]:
    """Rows of `amount` archived documents, as they lie after vacuum; bytes a row of table and of indexes."""
    database.execute(SEED.format(count=amount))
    database.execute(
        """
        insert into jobs.history (
            id, queue, kind, owner_id, document_id, args, outcome, result, attempt, failures, crashes, worker_id,
            created_at, claimed_at
        )
        select row_number() over (), 'default', 'archive_document', d.owner_id, d.id,
            jsonb_build_object('object_version', d.object_version), 'succeeded',
            jsonb_build_object('archive_path', d.archive_path, 'archive_size_bytes', d.archive_size_bytes), 1, 0, 0,
            gen_random_uuid(), now(), now()
        from public.documents d
        """
    )
    found: dict[str, Any] = {}
    for table in TABLES:
        database.execute(f"vacuum analyze {table}")
        row = database.execute(
            f"select count(*), pg_table_size('{table}'), pg_indexes_size('{table}') from {table}"
        ).fetchone()
        assert row is not None
        rows, heap, indexes = row
        found[table] = {
            "rows_per_document": round(rows / amount, 2),
            "table_bytes_per_row": round(heap / rows),
            "index_bytes_per_row": round(indexes / rows),
        }
    return found


def measure_queue(status: dict[str, Any], amount: int) -> dict[str, Any]:
    """Jobs that do nothing, claimed and finished by one conversation as the runner speaks it; 50 owners."""
    with psycopg.connect(status["admin_database_url"], autocommit=True) as database:
        database.execute("select jobs.pause()")
        owners = [uuid.uuid4() for _ in range(50)]
        picked = random.Random(1).choices(owners, k=amount)
        began = time.monotonic()
        with database.cursor() as cursor:
            cursor.executemany(
                "select jobs.enqueue('remove_archive', %s, null, '{}', gen_random_uuid()::text)",
                [[one] for one in picked],
            )
        enqueued = time.monotonic() - began
        database.execute("select jobs.resume()")
    rates = {}
    with psycopg.connect(status["database_url"], autocommit=True) as runner:
        me, done, finished = uuid.uuid4(), 0, []
        began = time.monotonic()
        while done < amount:
            message = {"finished": finished, "want": 50, "sweep": not done}
            row = runner.execute("select jobs.exchange(%s, 'bench', %s)", [me, json.dumps(message)]).fetchone()
            done += len(finished)
            finished = [
                {"id": job["id"], "attempt": job["attempt"], "outcome": "succeeded"} for job in row[0]["claimed"]
            ]
            if not finished and done < amount:
                sys.exit(f"the queue gave out {done} of {amount}: another runner took part")
        rates["jobs_per_second_one_conversation"] = round(amount / (time.monotonic() - began))
    rates["enqueued_per_second"] = round(amount / enqueued)
    return rates


def main() -> None:
    """Run it and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the documents")
    arguments = parser.parse_args()
    sizes, amount = (QUICK, 20_000) if arguments.quick else (SIZES, 200_000)
    report: dict[str, Any] = {"cores": os.cpu_count(), "load_before": [round(one, 1) for one in os.getloadavg()]}
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        data_dir = Path(folder) / "data"
        try:
            with (
                running(data_dir, "balanced") as status,
                psycopg.connect(status["admin_database_url"], autocommit=True) as database,
            ):
                database.execute("alter system set shared_preload_libraries = 'pg_stat_statements'")
            report["documents"] = []
            for preset in PRESETS:
                with running(data_dir, preset) as status:
                    with psycopg.connect(status["admin_database_url"], autocommit=True) as database:
                        database.execute("create extension if not exists pg_stat_statements")
                    for kilobytes, number in sizes.items():
                        case = {"preset": preset, **measure_documents(status, kilobytes, number)}
                        report["documents"].append(case)
                        print(json.dumps(case), file=sys.stderr)
            with running(data_dir, "balanced") as status:
                pid = status["services"]["runner"]["pid"]
                os.kill(pid, 19)  # SIGSTOP: the conversation measured is the only one
                try:
                    report["queue"] = measure_queue(status, 20_000)
                    with psycopg.connect(status["admin_database_url"], autocommit=True) as database:
                        database.execute("delete from jobs.history")
                        report["tables"] = measure_tables(database, amount)
                finally:
                    os.kill(pid, 18)
        finally:
            call("reset", "--yes", data_dir=data_dir)
    report["load_after"] = [round(one, 1) for one in os.getloadavg()]
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
