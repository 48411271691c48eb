"""python -m bench.queue_ours DATABASE_URL SLOTS: InstaShare's runner whose jobs do nothing, until its input is closed.

Everything but the jobs themselves is the runner's own. Prints "ready", and at its end the milliseconds from the sending
of each announced job to its start, as one JSON list.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import psycopg

from jobs.kinds.job import Job, Result, Tools
from jobs.runner import log
from jobs.runner.runner import Runner
from jobs.settings import Settings

WAKES: list[float] = []


def do_nothing(job: Job, tools: Tools) -> Result:
    """Sleep as long as `args` say; note how late the job begins."""
    if sent := job.args.get("sent"):
        WAKES.append((time.monotonic() - sent) * 1000)
    if seconds := job.args.get("seconds"):
        time.sleep(seconds)
    return {}


def pretend(job: Job, tools: Tools) -> Result:
    """What publishing an archive needs, without an archive."""
    payload = job.payload or {}
    return {
        "archive_path": job.archive_key,
        "archive_size_bytes": 100,
        "name_revision": payload["name_revision"],
        "object_version": payload["object_version"],
    }


class Drain(Runner):
    """The runner, which takes the database's word for the installation: there is no REST here."""

    def _identify(self) -> str:
        with psycopg.connect(self._settings.database_url.get_secret_value()) as connection:
            row = connection.execute("select jobs.installation_id()::text").fetchone()
            assert row is not None
            return str(row[0])


def main() -> None:
    """Run until standard input is closed."""
    settings = Settings(
        supabase_url="http://127.0.0.1:1",
        supabase_secret_key="sb_secret_bench",  # type: ignore[arg-type]  # pydantic makes a SecretStr of it
        database_url=sys.argv[1],  # type: ignore[arg-type]
        runner_slots=int(sys.argv[2]),
    )
    log.set_up("warning")
    runner = Drain(settings, {"noop": do_nothing, "archive_document": pretend})

    def attend() -> None:
        runner._conversation.started.wait()
        print("ready", flush=True)
        sys.stdin.read()
        runner.stop()

    threading.Thread(target=attend, daemon=True).start()
    runner.run()
    print(json.dumps(WAKES), flush=True)


if __name__ == "__main__":
    main()
