"""pg_cron, where the database has it: whether it works in this database, in UTC, holds our schedules, and runs them."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from jobs import queries
from jobs.cli.connection import Connection
from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.units import show_seconds

__all__ = ["check_cron", "is_utc"]

SYNC = "Run `instashare schedule sync`; until then runners fire them."
UNSEEN = "Not to be seen by this login: it needs pg_read_all_settings (`grant pg_monitor to …`)."
KNOWS_SECONDS, KNOWS_LAST_DAY = (1, 5), (1, 6)
"""The versions of pg_cron since which it takes `30 seconds`, and `$` as the day."""


def is_utc(zone: str | None) -> bool:
    """Whether a time zone's name means UTC; versions before 1.6 have no setting, and know only GMT."""
    return zone is None or zone.upper() in ("GMT", "UTC", "ETC/UTC", "ETC/GMT", "UCT", "ZULU")


def check_cron(connection: Connection) -> list[Check]:
    """The checks `cron.*`. Runners fire what is due in any case: a fault here delays, and loses nothing."""
    topic = queries.load("pg_cron/doctor")
    cursor = connection.cursor(row_factory=dict_row)
    state = cursor.execute(topic["read_settings"]).fetchone()
    assert state is not None
    if state["version"] is None:
        return [_check_absence(state)]
    steps = cursor.execute(topic["list_steps"]).fetchall()
    runs = cursor.execute(topic["list_last_runs"]).fetchall()
    return [
        passed("cron.installed", f"pg_cron {state['version']}."),
        _check_database(state),
        _check_timezone(state),
        _check_jobs(state, steps),
        _check_runs(state, steps, runs),
    ]


def _check_absence(state: dict[str, Any]) -> Check:
    note = "pg_cron is not installed here; runners fire what is due."
    if state["cron_database"] == state["database"]:
        note += " Note: the server has it (`instashare schedule sync --install`)."
    elif state["cron_database"]:
        note += f" Note: the server's pg_cron works in the database {state['cron_database']} alone."
    return passed("cron.installed", note)


def _check_database(state: dict[str, Any]) -> Check:
    name = "cron.database"
    if not state["may_see"]:
        return passed(name, UNSEEN)
    if state["cron_database"] is None:
        cure = "Add pg_cron to shared_preload_libraries and restart the server, or `instashare schedule sync --remove`."
        return fail(name, "The server does not load pg_cron: nothing of it runs.", cure)
    if state["cron_database"] != state["database"]:
        words = f"pg_cron works in the database {state['cron_database']}, not in {state['database']}: it is idle here."
        return fail(name, words, f"Set cron.database_name = '{state['database']}' and restart the server.")
    if state["launcher"] is False:
        cure = "Read the server's log for `pg_cron`, and restart the server."
        return fail(name, "Its launcher does not run.", cure)
    if state["launches"] == "off":
        return fail(name, "cron.launch_active_jobs is off: it runs nothing.", "Set it to on.")
    return passed(name, f"Works in {state['database']}.")


def _check_timezone(state: dict[str, Any]) -> Check:
    name = "cron.timezone"
    if not state["may_see"]:
        return passed(name, UNSEEN)
    zone: str | None = state["timezone"]
    if not is_utc(zone):
        cure = "Set cron.timezone = 'GMT' and restart the server: schedules are UTC."
        return fail(name, f"pg_cron keeps {zone}: it calls at other times than the schedules name.", cure)
    return passed(name, f"{zone}." if zone else "GMT; this version knows no other.")


def _check_jobs(state: dict[str, Any], steps: list[dict[str, Any]]) -> Check:
    name = "cron.jobs"
    version = _version(state["version"])
    wrong: list[str] = []
    untold: list[str] = []
    for step in steps:
        title, wants, has = step["title"], step["wants"], step["has"]
        if has is None:
            too_old = (step["in_seconds"] and version < KNOWS_SECONDS) or ("$" in wants and version < KNOWS_LAST_DAY)
            (untold if too_old else wrong).append(f"{title} is missing" if not too_old else title)
        elif wants is None:
            wrong.append(f"{title} is there and should not be")
        elif has != wants:
            wrong.append(f"{title} is kept as {has} and should be {wants}")
        elif not step["sound"]:
            wrong.append(f"{title} is inactive, or calls something else")
    if wrong:
        return fail(name, f"cron.job is not in step: {'; '.join(wrong)}.", SYNC)
    note = f" Note: this version cannot say {', '.join(untold)}; runners fire it." if untold else ""
    return passed(name, f"In step with the schedules ({sum(step['has'] is not None for step in steps)}).{note}")


def _check_runs(state: dict[str, Any], steps: list[dict[str, Any]], runs: list[dict[str, Any]]) -> Check:
    name = "cron.runs"
    if not any(step["has"] is not None for step in steps):
        return passed(name, "It holds nothing that could run.")
    if state["log_run"] == "off":
        return passed(name, "cron.log_run is off: it records no runs, so none can be looked at.")
    if not runs:
        return passed(name, "It has run nothing of ours yet. Note: look again once a schedule was due.")
    failed = [run for run in runs if run["status"] == "failed"]
    if failed:
        run = failed[0]
        words = f"The last run of {run['title']} failed: {' '.join((run['message'] or 'no reason').split())[:200]}"
        cure = (
            "pg_cron must reach its own server: look at cron.host, pg_hba.conf and cron.use_background_workers, "
            "and at `instashare schedule history`."
        )
        return fail(name, words.rstrip(".") + ".", cure)
    missed = [run["title"] for run in runs if run["missed"]]
    latest = show_seconds(min(run["age"] for run in runs if run["age"] is not None))
    if missed:
        cure = "Read the server's log for `pg_cron`; restart the server if its launcher hangs."
        return fail(name, f"Idle: {', '.join(missed)} was due and not called. Its last run was {latest} ago.", cure)
    return passed(name, f"The last was {latest} ago.")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("-")[0].split(".") if part.isdigit())
