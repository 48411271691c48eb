"""Written cases of schedules, and a matcher after Vixie's cron (pg_cron's src/entry.c) that asks minute by minute.

The matcher shares nothing with the runner, cronsim or the database: sets of marked numbers, two star flags, a walk.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
WORDS = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC)


def read_cases() -> list[tuple[str, datetime, datetime]]:
    """Schedule, a time, and the next one: the lines of schedule_cases.txt."""
    lines = Path(__file__).with_name("schedule_cases.txt").read_text(encoding="utf-8").splitlines()
    parts = [line.split("|") for line in lines if line and not line.startswith("#")]
    return [(schedule.removesuffix(" "), moment(after), moment(due)) for schedule, after, due in parts]


class Vixie:
    """A readable schedule, as Vixie's cron holds it."""

    def __init__(self, schedule: str) -> None:
        schedule = WORDS.get(schedule.strip().lower(), schedule).lower()
        every = re.fullmatch(r"\s*(\d+)\s+seconds?\s*", schedule)
        self.seconds = int(every[1]) if every else None
        if every:
            return
        minute, hour, day, month, weekday = schedule.split()
        self.minutes = mark(minute, 0, 59)
        self.hours = mark(hour, 0, 23)
        self.last_day = day == "$"
        self.days = set[int]() if self.last_day else mark(day, 1, 31)
        self.months = mark(month, 1, 12, MONTHS)
        self.weekdays = mark(weekday, 0, 7, WEEKDAYS)
        if self.weekdays & {0, 7}:
            self.weekdays |= {0, 7}
        self.star = day[0] == "*" or weekday[0] == "*"

    def on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        if self.last_day:
            return (day + timedelta(days=1)).day == 1
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (of_month and of_week) if self.star else (of_month or of_week)

    def matches(self, moment: datetime) -> bool:
        return moment.minute in self.minutes and moment.hour in self.hours and self.on(moment.date())

    def next(self, after: datetime) -> datetime:
        if self.seconds is not None:
            return after + timedelta(seconds=self.seconds)
        time = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
        while not self.matches(time):
            if not self.on(time.date()):
                time = time.replace(hour=0, minute=0) + timedelta(days=1)
            else:
                time += timedelta(minutes=1)
        return time


def mark(field: str, low: int, high: int, names: list[str] | None = None) -> set[int]:
    def number(word: str) -> int:
        return names.index(word) + low if names and word in names else int(word)

    marked = set[int]()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        start = low if first == "*" else number(first)
        stop = high if first == "*" else number(last) if last else start
        value = start
        while value <= stop:
            marked.add(value)
            value += int(step or 1)
    assert min(marked) >= low and max(marked) <= high
    return marked
