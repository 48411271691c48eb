"""What documents cost a running stack: documents an hour, transactions and rows a document, bytes of tables.

`.venv/bin/python bench/scale.py [--data-dir DIR] [--documents N] [--kilobytes K]` uploads N documents of K KiB as a new
person, waits until all are archived, and prints the figures of docs/scaling.md as one JSON object. It is no comparison,
so `instashare bench` does not run it. The stack should do nothing else meanwhile; the documents stay in it.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("public.documents", "public.logs", "jobs.queue", "jobs.history", "jobs.attempts", "storage.objects")


def read_status(data_dir: Path) -> dict[str, Any]:
    """What `instashare status --json` tells of the stack."""
    command = [sys.executable, "-m", "jobs.cli", "status", "--json", "--data-dir", str(data_dir)]
    status: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    return status


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
    client.post(
        f"/storage/v1/object/documents/{document['owner_id']}/{document['id']}", content=data
    ).raise_for_status()


def measure(database: psycopg.Connection[Any]) -> dict[str, Any]:
    """Transactions so far, and rows, heap and index bytes of each table."""
    database.execute("select pg_stat_clear_snapshot()")
    row = database.execute("select xact_commit from pg_stat_database where datname = current_database()").fetchone()
    found: dict[str, Any] = {"transactions": row[0] if row else 0}
    for table in TABLES:
        sizes = database.execute(
            f"select count(*), pg_table_size('{table}'), pg_indexes_size('{table}') from {table}"
        ).fetchone()
        found[table] = sizes
    return found


def main() -> None:
    """Run it and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=ROOT / ".instashare")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--kilobytes", type=int, default=10)
    arguments = parser.parse_args()
    status = read_status(arguments.data_dir)
    words = random.Random(1).choices([uuid.UUID(int=number).hex[-5:] for number in range(3000)], k=20_000)
    text = (" ".join(words) + "\n").encode()
    data = (text * (arguments.kilobytes * 1024 // len(text) + 1))[: arguments.kilobytes * 1024]
    with (
        httpx.Client(
            base_url=status["supabase_url"], headers={"apikey": status["publishable_key"]}, timeout=60
        ) as client,
        psycopg.connect(status["admin_database_url"], autocommit=True) as database,
        ThreadPoolExecutor(8) as pool,
    ):
        client.headers["Authorization"] = f"Bearer {sign_up(client)}"
        database.execute("select jobs.pause()")
        try:
            began = time.monotonic()
            list(pool.map(lambda _: upload(client, data), range(arguments.documents)))
            uploaded = time.monotonic() - began
            before = measure(database)
            began = time.monotonic()
        finally:
            database.execute("select jobs.resume()")
        waiting = "select count(*) from public.documents where status in ('queued', 'processing')"
        while True:
            row = database.execute(waiting).fetchone()
            if row and not row[0]:
                break
            time.sleep(0.2)
        archived = time.monotonic() - began
        time.sleep(2)  # the servers' processes report their transactions a second late
        after = measure(database)
    count = arguments.documents
    report = {
        "documents": count,
        "kilobytes": arguments.kilobytes,
        "uploads_per_second": round(count / uploaded, 1),
        "archived_per_second": round(count / archived, 1),
        "archived_mb_per_second": round(count * len(data) / archived / 1e6, 1),
        "transactions_per_archive": round((after["transactions"] - before["transactions"]) / count, 2),
        "tables": {
            table: {
                "rows": after[table][0],
                "heap_bytes_per_row": round(after[table][1] / max(after[table][0], 1)),
                "index_bytes_per_row": round(after[table][2] / max(after[table][0], 1)),
            }
            for table in TABLES
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
