"""Peers of the job queue, run by an environment of their own (see bench/queue.py), so it imports nothing of ours.

    python bench/queue_peers.py PEER install DATABASE_URL
    python bench/queue_peers.py PEER fill DATABASE_URL COUNT
    python bench/queue_peers.py PEER send DATABASE_URL COUNT     jobs one by one, each told when it was sent
    python bench/queue_peers.py PEER work DATABASE_URL BATCH     until standard input is closed

A worker prints "ready", and at its end the milliseconds from the sending of each told job to its start.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable

WAKES: list[float] = []
PAUSE = 0.05  # between two jobs that are sent to an idle worker


def note(sent: float | None) -> None:
    if sent:
        WAKES.append((time.monotonic() - sent) * 1000)


async def attend(working: asyncio.Task[None], stop: Callable[[], object]) -> None:
    """Let it work until standard input is closed; raises what it ends with before."""
    closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print("ready", flush=True)
    await asyncio.wait([closed, working], return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
    stop()
    await asyncio.wait([working], timeout=10)


async def pgqueuer(act: str, url: str, number: int) -> None:
    """PgQueuer over asyncpg, the faster of its drivers."""
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.qm import QueueManager
    from pgqueuer.queries import Queries

    connection = await asyncpg.connect(url)
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    if act == "install":
        await queries.install()
    elif act == "fill":
        await queries.enqueue(["noop"] * number, [None] * number, [0] * number)
    elif act == "send":
        for _ in range(number):
            await asyncio.sleep(PAUSE)
            await queries.enqueue("noop", json.dumps(time.monotonic()).encode())
    else:
        manager = QueueManager(queries)

        @manager.entrypoint("noop")
        async def noop(job: object) -> None:
            payload = getattr(job, "payload", None)
            note(json.loads(payload) if payload else None)

        await attend(asyncio.create_task(manager.run(batch_size=number)), manager.shutdown.set)
        return
    await connection.close()


async def procrastinate(act: str, url: str, number: int) -> None:
    """Procrastinate over psycopg; finished jobs are deleted, as they are by the others."""
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url))

    @app.task(name="noop")
    async def noop(sent: float | None = None) -> None:
        note(sent)

    async with app.open_async():
        if act == "install":
            await app.schema_manager.apply_schema_async()
        elif act == "fill":
            await noop.batch_defer_async(*({"sent": None} for _ in range(number)))
        elif act == "send":
            for _ in range(number):
                await asyncio.sleep(PAUSE)
                await noop.defer_async(sent=time.monotonic())
        else:
            working = app.run_worker_async(concurrency=number, delete_jobs="always", install_signal_handlers=False)
            task = asyncio.create_task(working)
            await attend(task, task.cancel)


def main() -> None:
    peer, act, url, *rest = sys.argv[1:]
    act_of = {"pgqueuer": pgqueuer, "procrastinate": procrastinate}[peer]
    asyncio.run(act_of(act, url, int(rest[0]) if rest else 0))
    if act == "work":
        print(json.dumps(WAKES), flush=True)


if __name__ == "__main__":
    main()
