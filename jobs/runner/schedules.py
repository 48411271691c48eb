"""Firing what is due: rows of scheduled_jobs, by their cron strings, in UTC.

pg_cron may fire the same rows; jobs.fire_schedule is a compare-and-set, so nothing fires twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from logging import ERROR
from typing import Any

from cronsim import CronSim, CronSimError

from jobs.runner.log import note

__all__ = ["ScheduleError", "fire_due", "next_time"]

EVERY_SECONDS = re.compile(r"\s*([1-9]|[1-5][0-9])\s+seconds?\s*", re.IGNORECASE)


class ScheduleError(ValueError):
    """A cron string that cannot be read, or that never comes round."""


def next_time(schedule: str, after: datetime) -> datetime:
    """The first time behind `after` (aware) that `schedule` names, in UTC.

    Understands what pg_cron does: five fields, `$` for a month's last day, and `1 second` to `59 seconds`.
    Raises ScheduleError.
    """
    after = after.astimezone(UTC)
    if every := EVERY_SECONDS.fullmatch(schedule):
        return after + timedelta(seconds=int(every[1]))
    try:
        return next(CronSim(schedule.replace("$", "L"), after))
    except (CronSimError, StopIteration) as error:
        raise ScheduleError(f"“{schedule}” is no schedule: {error}") from None


def fire_due(call: Callable[..., Any]) -> int:
    """Enqueue what is due and set the next times; how many fired. `call` runs named queries. Raises psycopg.Error."""
    answer = call("due_schedules")
    now = datetime.fromisoformat(answer["now"])
    fired = 0
    for row in answer["schedules"] or ():
        due = datetime.fromisoformat(row["due"]) if row.get("due") else None
        try:
            # what was missed while nobody ran is made up for once, not once for every time missed
            following = next_time(row["schedule"], max(now, due) if due else now)
        except ScheduleError as error:
            note("schedule_unreadable", level=ERROR, schedule=row["id"], kind=row["kind"], reason=str(error))
            continue
        if due is None:
            call("set_next_execution", row["id"], row["schedule"], following)
        elif call("fire_schedule", row["id"], due, following):
            note(
                "schedule_fired", schedule=row["id"], kind=row["kind"], due=due.isoformat(), next=following.isoformat()
            )
            fired += 1
    return fired
