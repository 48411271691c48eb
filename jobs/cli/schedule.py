"""`instashare schedule`: when housekeeping runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from psycopg.rows import dict_row
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs import queries
from jobs.cli.connection import Connection, open_admin
from jobs.cli.output import DEFAULT_DATA_DIR, DataDir, Json, answer, guarded
from jobs.cli.target import find_target
from jobs.cli.units import show_moment
from jobs.errors import NotReadyError, OperationFailed, UsageError
from jobs.runner import schedules

__all__ = ["next_time", "register"]

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


def next_time(schedule: str) -> datetime:
    """When a schedule comes round next (UTC), as the runner reads it; raises UsageError where it cannot."""
    try:
        return schedules.next_time(schedule, datetime.now(UTC))
    except schedules.ScheduleError:
        raise UsageError(
            "schedule_invalid",
            f"{schedule!r} is no schedule.",
            "Use five cron fields (minute hour day month weekday, UTC): '0 3 * * *'; or '1 second' to '59 seconds'.",
        ) from None


def list_schedules(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """List every schedule with its last and next time."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        rows = _read(connection)

    def show(console: Console) -> None:
        table = Table("kind", "title", "schedule", "enabled", "last", "next", box=None)
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
    schedule: Annotated[str, typer.Argument(metavar="CRON", help="Five cron fields in UTC, quoted, or 'N seconds'.")],
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Change when a schedule is due."""
    upcoming = next_time(schedule)
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        row = _find(connection, which)
        values = {"id": row["id"], "schedule": schedule.strip()}
        connection.execute(queries.load("schedules")["set_schedule"], values)
    _tell(row, as_json, f"{row['title']}: {schedule.strip()}, next at {show_moment(upcoming)} UTC.", schedule=schedule)


def enable(which: Which, as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Let a schedule run."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        row = _find(connection, which)
        upcoming = next_time(row["schedule"])
        values = {"id": row["id"], "enabled": True}
        connection.execute(queries.load("schedules")["set_enabled"], values)
    _tell(row, as_json, f"{row['title']} is enabled, next at {show_moment(upcoming)} UTC.", enabled=True)


def disable(which: Which, as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Let a schedule rest."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        row = _find(connection, which)
        values = {"id": row["id"], "enabled": False}
        connection.execute(queries.load("schedules")["set_enabled"], values)
    _tell(row, as_json, f"{row['title']} is disabled.", enabled=False)


def run(which: Which, as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Enqueue a schedule's job now, whether it is due or not."""
    with open_admin(find_target(data_dir).require("ADMIN_DATABASE_URL")) as connection:
        row = _find(connection, which)
        job = connection.execute(queries.load("schedules")["enqueue"], {"id": row["id"]}).fetchone()
    job_id = job[0] if job else None
    if job_id is None:
        raise OperationFailed("already_enqueued", f"{row['title']} is enqueued already, and not finished.")
    _tell(row, as_json, f"{row['title']}: job {job_id} ({row['kind']}) is enqueued.", job_id=job_id)


def sync(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Bring pg_cron in step with the schedules (not built yet)."""
    raise NotReadyError("not_built", "The verb `schedule sync` is not built yet.", "The runner fires what is due.")


def history(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show pg_cron's recent runs (not built yet)."""
    raise NotReadyError(
        "not_built",
        "The verb `schedule history` is not built yet.",
        "`instashare jobs list --finished` shows past jobs.",
    )


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
