"""`instashare schedule`: when housekeeping runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import psycopg
import typer
from psycopg.rows import dict_row
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs import queries
from jobs.cli.connection import Connection, open_admin
from jobs.cli.doctor.cron import is_utc
from jobs.cli.output import DEFAULT_DATA_DIR, DataDir, Json, answer, guarded, notice
from jobs.cli.target import find_target
from jobs.cli.units import show_moment
from jobs.errors import NotReadyError, OperationFailed, UsageError
from jobs.runner import schedules

__all__ = ["register"]

Which = Annotated[str, typer.Argument(metavar="WHICH", help="The schedule's id, kind or title.")]


def register(app: typer.Typer) -> None:
    """Add the group `schedule`."""
    schedule = typer.Typer(no_args_is_help=True, help="When housekeeping runs (times in UTC).")
    app.add_typer(schedule, name="schedule", rich_help_panel="Operating")
    schedule.command("list")(guarded(list_schedules))
    schedule.command("set")(guarded(set_schedule))
    schedule.command("enable")(guarded(enable))
    schedule.command("disable")(guarded(disable))
    schedule.command("run")(guarded(run))
    schedule.command("sync")(guarded(sync))
    schedule.command("history")(guarded(history))


def check(schedule: str) -> None:
    """Refuse a schedule that cannot be read, in the database's own words. Raises UsageError."""
    try:
        schedules.next_time(schedule, datetime.now(UTC))
    except schedules.ScheduleError as fault:
        raise UsageError("schedule_invalid", str(fault), fault.cure) from None


def list_schedules(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """List every schedule with its last and next time."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        rows = _read(connection)

    def show(console: Console) -> None:
        table = Table("kind", "title", "schedule (UTC)", "enabled", "last", "next", box=None)
        for row in rows:
            table.add_row(
                row["kind"],
                escape(row["title"]),
                row["schedule"],
                "yes" if row["enabled"] else "[yellow]no[/]",
                show_moment(row["last_execution_at"]),
                show_moment(row["next_execution_at"]) if row["enabled"] else "–",
            )
        console.print(table)

    answer({"schedules": rows}, as_json, show)


def set_schedule(
    which: Which,
    schedule: Annotated[
        str,
        typer.Argument(metavar="CRON", help="Five cron fields in UTC, quoted; @daily and its like; or 'N seconds'."),
    ],
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Change when a schedule is due."""
    schedule = schedule.strip()
    check(schedule)
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        row = _find(connection, which)
        upcoming = _change(connection, "set_schedule", as_json, id=row["id"], schedule=schedule)
    when = "it is disabled" if upcoming is None else f"next at {show_moment(upcoming)} UTC"
    _tell(row, as_json, f"{row['title']}: {schedule}, {when}.", schedule=schedule, next_execution_at=upcoming)


def enable(which: Which, as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Let a schedule run."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        row = _find(connection, which)
        check(row["schedule"])
        upcoming = _change(connection, "set_enabled", as_json, id=row["id"], enabled=True)
    sentence = f"{row['title']} is enabled, next at {show_moment(upcoming)} UTC."
    _tell(row, as_json, sentence, enabled=True, next_execution_at=upcoming)


def disable(which: Which, as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Let a schedule rest."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        row = _find(connection, which)
        _change(connection, "set_enabled", as_json, id=row["id"], enabled=False)
    _tell(row, as_json, f"{row['title']} is disabled.", enabled=False)


def run(
    which: Which,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end, and show what it came to.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="SECONDS", help="How long to wait at most.")
    ] = 600.0,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Enqueue a schedule's job now, whether it is due or not."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        row = _find(connection, which)
        job = connection.execute(queries.load("schedules")["enqueue"], {"id": row["id"]}).fetchone()
        job_id = job[0] if job else None
        if job_id is None:
            raise OperationFailed("already_enqueued", f"{row['title']} is enqueued already, and not finished.")
        connection.commit()
        end = _follow(connection, job_id, timeout, as_json) if wait else None
    if end is None:
        _tell(row, as_json, f"{row['title']}: job {job_id} ({row['kind']}) is enqueued.", job_id=job_id)
        return
    done = ", ".join(f"{key} {value}" for key, value in (end["result"] or {}).items())
    words = f"{row['title']}: job {job_id} {end['state']}: {end['error'] or done or 'nothing to do'}."
    _tell(row, as_json, words, job_id=job_id, state=end["state"], result=end["result"], error=end["error"])
    if end["state"] != "succeeded":
        raise typer.Exit(1)


def sync(
    install: Annotated[
        bool, typer.Option("--install", help="Make the extension first, where the server has it.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take every schedule away from pg_cron instead.")] = False,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Bring pg_cron in step with the schedules, where the database has it."""
    if install and remove:
        raise UsageError("contradiction", "--install and --remove exclude each other.", "Name one of them.")
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        if remove:
            row = connection.execute(queries.load("pg_cron/remove")["remove"]).fetchone()
            removed = row[0] if row else 0
            done = f"Took {removed} schedules away from pg_cron; runners fire what is due."
            answer({"removed": removed}, as_json, lambda console: console.print(done))
            return
        if install:
            _install(connection)
        row = connection.execute(queries.load("pg_cron/sync")["sync"]).fetchone()
    state: dict[str, Any] = row[0] if row else {}

    def show(console: Console) -> None:
        if not state["installed"]:
            console.print("pg_cron is not installed in this database; runners fire what is due.")
            console.print("Where the server has it, `instashare schedule sync --install` installs it.", markup=False)
            return
        console.print(
            f"pg_cron {state['version']} keeps {state['scheduled']} schedules; {state['removed']} were removed."
        )
        for one in state["refused"]:
            console.print(
                f"Not kept: {one['title']} ({one['schedule']}): {one['reason']}. Runners fire it.", markup=False
            )
        if not is_utc(state["timezone"]):
            console.print(
                f"pg_cron's cron.timezone is {state['timezone']}; set it to GMT: schedules are UTC.", markup=False
            )

    answer(state, as_json, show)


def history(
    which: Annotated[str | None, typer.Argument(metavar="[WHICH]", help="The schedule's id, kind or title.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="How many of each at most.")] = 20,
    prune: Annotated[
        int | None,
        typer.Option("--prune", min=0, max=36500, metavar="DAYS", help="First remove pg_cron's older records."),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show what the schedules' jobs came to, and pg_cron's own runs where there is one."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        values = {"id": _find(connection, which)["id"] if which else None, "limit": limit}
        pruned = None
        if prune is not None:
            row = connection.execute(queries.load("pg_cron/prune")["prune"], {"days": prune}).fetchone()
            pruned = row[0] if row else 0
        cursor = connection.cursor(row_factory=dict_row)
        runs = cursor.execute(queries.load("schedules")["history"], values).fetchall()
        row = connection.execute(queries.load("pg_cron/history")["is_installed"]).fetchone()
        calls = None
        if row and row[0]:
            calls = cursor.execute(queries.load("pg_cron/history")["history"], values).fetchall()

    def show(console: Console) -> None:
        if pruned is not None:
            console.print(f"Removed {pruned} of pg_cron's records.")
        table = Table("job", "title", "state", "fired", "finished", "result", box=None)
        for run in runs:
            outcome = run["error"] or ", ".join(f"{key} {value}" for key, value in (run["result"] or {}).items())
            moments = show_moment(run["fired_at"]), show_moment(run["finished_at"])
            table.add_row(str(run["job_id"]), escape(run["title"]), run["state"], *moments, escape(outcome))
        console.print(table if runs else "No job of a schedule yet.")
        if calls is None:
            console.print("pg_cron is not installed in this database; runners fire what is due.")
            return
        table = Table("pg_cron run", "title", "status", "started", "ended", "message", box=None)
        for call in calls:
            moments = show_moment(call["started_at"]), show_moment(call["ended_at"])
            message = escape((call["message"] or "").strip())
            table.add_row(str(call["run_id"]), escape(call["title"]), call["status"], *moments, message)
        console.print(table if calls else "pg_cron has run nothing of ours yet.")

    answer({"runs": runs, "pg_cron": calls, "pruned": pruned}, as_json, show)


def _install(connection: Connection) -> None:
    try:
        connection.execute(queries.load("pg_cron/install")["install"])
    except psycopg.Error as error:
        raise OperationFailed(
            "pg_cron_unavailable",
            f"pg_cron cannot be installed here: {error.diag.message_primary or error}",
            error.diag.message_hint
            or "It must be on the server and in its shared_preload_libraries; without it the runner fires what is due.",
        ) from error


def _follow(connection: Connection, job_id: int, timeout: float, as_json: bool) -> dict[str, Any]:
    """Look at a job until it has ended, and tell people how it goes. Raises OperationFailed when time is up."""
    connection.autocommit = True  # each look at its own time
    cursor = connection.cursor(row_factory=dict_row)
    until, shown = time.monotonic() + timeout, ""
    while True:
        now = cursor.execute(queries.load("schedules")["follow"], {"job_id": job_id}).fetchone()
        if now is None:
            raise OperationFailed("job_gone", f"Job {job_id} is gone; its history was pruned.")
        if now["ended"]:
            return now
        words = f"Job {job_id} is {now['state']}" + (f" after {now['failures']} failures" if now["failures"] else "")
        if words != shown:
            shown = words
            notice(f"{words}…", as_json)
        if time.monotonic() > until:
            cure = "Is a runner alive (`instashare doctor`)? `instashare schedule history` shows the end when it comes."
            raise OperationFailed("not_finished", f"{words}; it has not ended within {timeout:g} s.", cure)
        time.sleep(0.2)


def _change(connection: Connection, query: str, as_json: bool, **values: object) -> datetime | None:
    """Run an update; the schedule's next time. What the database warns of goes to stderr, for people."""
    warnings: list[str] = []
    connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    row = connection.execute(queries.load("schedules")[query], values).fetchone()
    for warning in warnings:
        notice(f"[yellow]{escape(warning)}[/]", as_json)
    return row[0] if row else None


def _read(connection: Connection) -> list[dict[str, Any]]:
    exists = connection.execute("select to_regclass('public.scheduled_jobs') is not null").fetchone()
    if not exists or not exists[0]:
        raise NotReadyError("not_migrated", "This database has no schedules yet.", "Run `instashare db migrate` first.")
    return connection.cursor(row_factory=dict_row).execute(queries.load("schedules")["list"]).fetchall()


def _find(connection: Connection, which: str) -> dict[str, Any]:
    rows = _read(connection)
    wanted = which.strip().lower()
    found = [row for row in rows if wanted in (str(row["id"]), row["kind"].lower(), row["title"].lower())]
    if len(found) != 1:
        kinds = ", ".join(sorted({row["kind"] for row in rows}))
        what = "There is no schedule" if not found else "There are several schedules"
        raise UsageError("unknown_schedule", f"{what} {which!r}.", f"Name one by its id or title, or by kind: {kinds}.")
    return found[0]


def _tell(row: dict[str, Any], as_json: bool, sentence: str, **data: object) -> None:
    answer(
        {"id": row["id"], "kind": row["kind"], "title": row["title"], **data},
        as_json,
        lambda console: console.print(sentence, markup=False),
    )
