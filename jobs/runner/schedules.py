"""Firing what is due: rows of scheduled_jobs, by their cron strings, in UTC.

pg_cron may fire the same rows; jobs.fire_schedule is a compare-and-set, so nothing fires twice.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from logging import ERROR
from typing import Any

from cronsim import CronSim, CronSimError

from jobs.runner import cron
from jobs.runner.cron import ScheduleError
from jobs.runner.log import note

__all__ = ["ScheduleError", "fire_due", "next_time", "seconds_to_next"]

SOONEST_SECONDS = 1.0
"""Before what is due is looked for again, whatever is overdue: it may be one that cannot be fired."""


def next_time(schedule: str, after: datetime) -> datetime:
    """The first time behind `after` (aware) that `schedule` names, in UTC. Raises ScheduleError."""
    after = after.astimezone(UTC)
    read = cron.read(schedule)
    if read.seconds is not None:
        return after + timedelta(seconds=read.seconds)
    try:
        # a month's last day is `$` to pg_cron and `L` to cronsim
        return next(CronSim(read.text.replace("$", "L"), after))
    except (CronSimError, StopIteration):
        raise ScheduleError(schedule, 1, "it never comes round", cron.FORM) from None


def fire_due(call: Callable[..., Any]) -> int:
    """Enqueue what is due and set the next times; how many fired. `call` runs named queries. Raises psycopg.Error."""
    answer = call("due_schedules")
    now = datetime.fromisoformat(answer["now"])
    fired = 0
    for row in answer["schedules"] or ():
        due = datetime.fromisoformat(row["due"])
        try:
            # what was missed while nobody ran is made up for once, not once for every time missed
            following = next_time(row["schedule"], max(now, due))
        except ScheduleError as error:
            note("schedule_unreadable", level=ERROR, schedule=row["id"], kind=row["kind"], reason=str(error))
            continue
        if call("fire_schedule", row["id"], due, following):
            note(
                "schedule_fired", schedule=row["id"], kind=row["kind"], due=due.isoformat(), next=following.isoformat()
            )
            fired += 1
    return fired


def seconds_to_next(call: Callable[..., Any]) -> float:
    """How long until a schedule is due, at least a second; infinite if none ever is. Raises psycopg.Error."""
    seconds = call("seconds_to_schedule")
    return float("inf") if seconds is None else max(SOONEST_SECONDS, seconds)
