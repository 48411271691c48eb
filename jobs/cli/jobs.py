"""`instashare jobs`: run the runner, look at the queue, and steer it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from psycopg.rows import dict_row
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from jobs import queries
from jobs.cli.connection import Connection, open_admin
from jobs.cli.output import DEFAULT_DATA_DIR, ROOT, DataDir, Json, answer, guarded, people, write_json
from jobs.cli.target import find_target
from jobs.cli.units import show_moment, show_seconds
from jobs.errors import OperationFailed, UsageError

__all__ = ["read_stats", "register"]

UNFINISHED = ("scheduled", "pending", "running")
FINISHED = ("succeeded", "dead", "cancelled", "superseded")
ALIVE_SECONDS = 90  # a runner speaks at least every quarter of its lease of 60 s

Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="Job numbers, as `jobs list` shows them.")]


def register(app: typer.Typer) -> None:
    """Add the group `jobs`."""
    jobs = typer.Typer(no_args_is_help=True, help="Run the runner, look at the queue, and steer it.")
    app.add_typer(jobs, name="jobs", rich_help_panel="Operating")
    jobs.command("run")(guarded(run))
    jobs.command("list")(guarded(list_jobs))
    jobs.command("show")(guarded(show_job))
    jobs.command("retry")(guarded(retry))
    jobs.command("cancel")(guarded(cancel))
    jobs.command("pause")(guarded(pause))
    jobs.command("resume")(guarded(resume))
    jobs.command("stats")(guarded(stats))
    jobs.command("watch")(guarded(watch))
    jobs.command("prune")(guarded(prune))


def run(
    slots: Annotated[int | None, typer.Option("--slots", min=1, help="Jobs at once. Default: one a processor.")] = None,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Run a runner in the foreground until Ctrl-C (SIGTERM ends it in good order)."""
    target = find_target(data_dir)
    needed = ("SUPABASE_URL", "SUPABASE_SECRET_KEY", "DATABASE_URL")
    environment = {**os.environ, **{name: target.require(name) for name in needed}}
    if slots is not None:
        environment["RUNNER_SLOTS"] = str(slots)
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, "-m", "jobs.runner"], environment)


def list_jobs(
    finished: Annotated[bool, typer.Option("--finished", help="Past jobs, the latest first.")] = False,
    state: Annotated[
        str | None, typer.Option("--state", help=f"{', '.join(UNFINISHED)}; {', '.join(FINISHED)}.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only this kind, such as archive_document.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many.")] = 50,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List the jobs that are not finished, in the order in which they will run."""
    if state is not None and state not in UNFINISHED + FINISHED:
        raise UsageError("unknown_state", f"There is no state {state!r}.", f"{', '.join(UNFINISHED + FINISHED)}.")
    finished = finished or state in FINISHED
    if finished and state in UNFINISHED:
        raise UsageError("wrong_usage", f"A finished job is not {state}.", "Leave out --finished.")
    text = queries.load("queue")["list_finished" if finished else "list_unfinished"]
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        values = {"state": state, "kind": kind, "limit": limit}
        rows = connection.cursor(row_factory=dict_row).execute(text, values).fetchall()

    def show(console: Console) -> None:
        table = Table(
            "id", "kind", "state", "attempt", "document", "finished" if finished else "due", "error", box=None
        )
        for row in rows:
            table.add_row(
                str(row["id"]),
                row["kind"],
                _show_state(row),
                str(row["attempt"]),
                escape(row["document"] or "–"),
                show_moment(row["finished_at"] if finished else row["run_at"]),
                escape((row["error"] or "")[:100]),
            )
        console.print(table if rows else "No jobs.")

    answer({"jobs": rows}, as_json, show)


def show_job(
    job_id: Annotated[int, typer.Argument(metavar="ID", help="The job's number.")],
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show all there is to know of one job, finished or not."""
    texts = queries.load("queue")
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        row = connection.execute(texts["show_unfinished"], {"id": job_id}).fetchone()
        row = row or connection.execute(texts["show_finished"], {"id": job_id}).fetchone()
        if row is None:
            raise OperationFailed("unknown_job", f"There is no job {job_id}.", "`instashare jobs list --finished`")
        cursor = connection.cursor(row_factory=dict_row)
        attempts = cursor.execute(texts["list_attempts"], {"id": job_id}).fetchall()
    job: dict[str, Any] = {**row[0], "attempts": attempts}

    def show(console: Console) -> None:
        table = Table(box=None, show_header=False)
        for key, value in job.items():
            if key == "document" and value:
                table.add_row("document", escape(f"{value['name']} ({value['status']}, {value['id']})"))
            elif key == "runner" and value:
                table.add_row("runner", escape(f"{value['host']}, last seen {value['seen_at']}"))
            elif key not in ("attempts", "document", "runner") and value is not None:
                table.add_row(key, escape(str(value)))
        console.print(table)
        for attempt in attempts:
            how = "crashed" if attempt["crashed"] else "failed"
            console.print(
                f"attempt {attempt['attempt']} {how} at {show_moment(attempt['at'])}: {escape(attempt['error'])}"
            )

    answer(job, as_json, show)


def retry(ids: Ids, as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Enqueue dead or cancelled jobs again, as new jobs."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        found = {one: _call(connection, "retry", {"id": one}) for one in ids}
    results = [{"id": one, "new_id": new_id} for one, new_id in found.items()]

    def show(console: Console) -> None:
        for one, new_id in found.items():
            console.print(
                f"Job {one} goes on as job {new_id}."
                if new_id is not None
                else f"Job {one}: nothing to retry; it neither died nor was cancelled, or its document has gone on."
            )

    answer({"results": results}, as_json, show)
    if None in found.values():
        raise typer.Exit(1)


def cancel(ids: Ids, as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Cancel waiting jobs, and ask the runners of running ones to stop."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        found = {one: _call(connection, "cancel", {"id": one}) for one in ids}

    def show(console: Console) -> None:
        for one, outcome in found.items():
            console.print(f"Job {one}: {outcome or 'there is no such unfinished job'}.")

    answer({"results": [{"id": one, "state": outcome} for one, outcome in found.items()]}, as_json, show)
    if None in found.values():
        raise typer.Exit(1)


def pause(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Let no runner begin another job; running ones end."""
    _steer("pause", data_dir)
    answer({"paused": True}, as_json, lambda console: console.print("The queue rests: `instashare jobs resume`."))


def resume(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Let the runners go on."""
    _steer("resume", data_dir)
    answer({"paused": False}, as_json, lambda console: console.print("The queue goes on."))


def stats(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Count the jobs, and tell which runners are alive."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        data = read_stats(connection)
    answer(data, as_json, lambda console: console.print(_draw(data)))


def watch(
    every: Annotated[float, typer.Option("--every", min=0.2, metavar="SECONDS", help="How often to look.")] = 1.0,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many looks.")] = None,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Keep showing what `stats` shows until Ctrl-C; with --json one object a line, a single one without --count."""
    looks = count or (1 if as_json else None)
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        connection.rollback()
        connection.autocommit = True  # each look at its own time, and no transaction left open between
        with Live(console=people, auto_refresh=False, transient=False) as live:
            done = 0
            while True:
                data = read_stats(connection)
                if as_json:
                    write_json(data)
                else:
                    live.update(_draw(data), refresh=True)
                done += 1
                if done == looks:
                    return
                time.sleep(every)


def prune(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Remove history and logs that are older than the settings keep them."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        removed = _call(connection, "prune", {})

    def show(console: Console) -> None:
        counts = ", ".join(f"{number} {name}" for name, number in (removed or {}).items())
        console.print(f"Pruned: {counts or 'nothing'}.", markup=False)

    answer({"removed": removed}, as_json, show)


def read_stats(connection: Connection) -> dict[str, Any]:
    """Count jobs by kind and state, those finished within the hour, and the runners of that hour."""
    texts = queries.load("queue")
    queues = connection.execute(texts["list_queues"]).fetchall()
    return {
        "paused": any(paused for _, paused, *_ in queues),
        "unfinished": [
            {"kind": kind, "state": state, "count": number, "oldest_seconds": round(age, 1)}
            for kind, state, number, age in connection.execute(texts["count_unfinished"])
        ],
        "finished_last_hour": [
            {"kind": kind, "outcome": outcome, "count": number, "mean_run_seconds": ran, "mean_wait_seconds": waited}
            for kind, outcome, number, ran, waited in connection.execute(texts["count_finished"])
        ],
        "runners": [
            {
                "id": runner,
                "host": host,
                "started_at": started,
                "seen_at": seen,
                "alive": age < ALIVE_SECONDS,
                "running": n,
            }
            for runner, host, started, seen, age, n in connection.execute(texts["list_runners"])
        ],
    }


def _draw(data: dict[str, Any]) -> Group:
    waiting = Table("kind", "state", "jobs", "oldest", title="Unfinished", title_justify="left", box=None)
    for row in data["unfinished"]:
        waiting.add_row(row["kind"], row["state"], str(row["count"]), show_seconds(row["oldest_seconds"]))
    past = Table(
        "kind", "outcome", "jobs", "ran", "waited", title="Finished within the hour", title_justify="left", box=None
    )
    for row in data["finished_last_hour"]:
        outcome = f"[red]{row['outcome']}[/]" if row["outcome"] == "dead" else row["outcome"]
        ran, waited = show_seconds(row["mean_run_seconds"]), show_seconds(row["mean_wait_seconds"])
        past.add_row(row["kind"], outcome, str(row["count"]), ran, waited)
    runners = Table("host", "since", "seen", "alive", "running", title="Runners", title_justify="left", box=None)
    for row in data["runners"]:
        alive = "[green]yes[/]" if row["alive"] else "[red]no[/]"
        since, seen = show_moment(row["started_at"]), show_moment(row["seen_at"])
        runners.add_row(escape(row["host"]), since, seen, alive, str(row["running"]))
    parts: list[Any] = ["[yellow]The queue is paused.[/]"] if data["paused"] else []
    parts.append(waiting if data["unfinished"] else "No unfinished jobs.")
    parts.append(past if data["finished_last_hour"] else "Nothing finished within the hour.")
    parts.append(runners if data["runners"] else "[yellow]No runner was seen within the hour.[/]")
    return Group(*parts)


def _show_state(row: dict[str, Any]) -> str:
    if row.get("cancelling"):
        return "cancelling"
    state = str(row["state"])
    if state == "running" and row.get("progress"):
        return f"running {row['progress']:.0%}"
    return f"[red]{state}[/]" if state == "dead" else state


def _call(connection: Connection, name: str, values: dict[str, object]) -> Any:
    row = connection.execute(queries.load("queue")[name], values).fetchone()
    return row[0] if row else None


def _steer(name: str, data_dir: Path) -> None:
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        _call(connection, name, {})
