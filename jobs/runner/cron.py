"""Cron strings: what a schedule may say, and what is wrong with one that says something else.

Five fields (minute hour day month weekday) of numbers, names, `*`, ranges, lists and steps; `@hourly`, `@daily` and
their like; `$` for a month's last day; `1 second` to `59 seconds`. Always UTC. The rules are those on which pg_cron's
parser (src/entry.c, Vixie's) and cronsim agree; where one of them reads a string otherwise than the other, or drops
part of it in silence, the string is refused. The database refuses on write by the very same rules and words
(private.read_schedule in supabase/migrations); tests/db/test_schedule_strings.py holds the two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Cron", "ScheduleError", "read"]

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
SECONDS = re.compile(r"[ \t]*([0-9]{1,9})[ \t]*seconds?[ \t]*", re.IGNORECASE)
STRANGE = re.compile(r"[^\t -~]")
ITEM = re.compile(r"([^-/]*)(?:-([^-/]*))?(?:/([^-/]*))?")
SPAN = re.compile(r"\b(\w+)-(\w+)/[0-9]+")
FORM = "Write five fields in UTC (minute hour day month weekday), for example 0 3 * * *."


class ScheduleError(ValueError):
    """A cron string that cannot be read, or that never comes round. `position` counts characters from 1."""

    def __init__(self, schedule: str, position: int, problem: str, cure: str) -> None:
        shown = STRANGE.sub("?", schedule[:100])
        super().__init__(f'The schedule "{shown}" cannot be read at position {position}: {problem}.')
        self.position, self.problem, self.cure = position, problem, cure


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule that was read: either every so many `seconds`, or the minutes that `text` (five fields) names."""

    text: str
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def cure(self) -> str:
        words = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"Write {self.low} to {self.high}{words}, *, a range or a list."

    def value(self, word: str) -> int | None:
        if word.lower() in self.names:
            return self.names.index(word.lower()) + self.low
        if re.fullmatch(r"[0-9]{1,2}", word) and self.low <= int(word) <= self.high:
            return int(word)
        return None


FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("weekday", 0, 7, WEEKDAYS),
)


def read(schedule: str) -> Cron:
    """Read a schedule into the form that pg_cron and cronsim both take. Raises ScheduleError."""

    def fault(position: int, problem: str, cure: str) -> ScheduleError:
        return ScheduleError(schedule, position, problem, cure)

    if strange := STRANGE.search(schedule):
        raise fault(strange.start() + 1, "this character belongs to no schedule", FORM)
    if every := SECONDS.fullmatch(schedule):
        number = int(every[1])
        if not 1 <= number <= 59:
            cure = "Write 1 to 59 seconds, or five fields: */2 * * * * is every two minutes."
            raise fault(every.start(1) + 1, f'"{every[1]}" is not between 1 and 59 seconds', cure)
        return Cron(f"{number} seconds", number)
    fields = [(match.start() + 1, match[0]) for match in re.finditer(r"[^\t ]+", schedule)]
    if not fields:
        raise fault(1, "it is empty", FORM)
    if fields[0][1].startswith("@"):
        position, word = fields[0]
        if len(fields) > 1:
            raise fault(fields[1][0], f'nothing may follow "{word}"', "Write the word alone, or five fields.")
        if word.lower() in ("@reboot", "@restart"):
            cure = "Write a time; what was missed while nothing ran is made up for once, without being asked."
            raise fault(position, f'"{word}" is no time', cure)
        if word.lower() not in MACROS:
            cure = "Write @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually, or five fields."
            raise fault(position, f'"{word}" is unknown', cure)
        return Cron(MACROS[word.lower()])
    if len(fields) < 5:
        end = len(schedule.rstrip(" \t")) + 1
        raise fault(end, f"the {FIELDS[len(fields)].name} is missing", FORM)
    if len(fields) > 5:
        cure = "Write five fields; seconds have a form of their own: 30 seconds."
        raise fault(fields[5][0], "nothing may follow the weekday", cure)
    days, months = set[int](), set[int]()
    for number, (position, text) in enumerate(fields):
        values = _read_field(FIELDS[number], position, text, schedule)
        if number == 2:
            days = values
        if number == 3:
            months = values
    day, weekday = fields[2][1], fields[4][1]
    if day == "$" and weekday != "*":
        raise fault(fields[4][0], "with $ as the day the weekday must be *", "Write * as the weekday.")
    if day != "$" and (day.startswith("*") or weekday.startswith("*")):
        longest = max(LONGEST[month - 1] for month in months)
        if min(days) > longest:
            cure = "Write a day that the month has, or $ for its last day."
            raise fault(fields[2][0], f"day {min(days)} never comes in such a month", cure)
    # to cronsim `9-9/3` is `9/3`, which it reads as 9-12/3; to pg_cron it is 9
    texts = []
    for field, (_, text) in zip(FIELDS, fields, strict=True):
        for span in SPAN.finditer(text):
            if field.value(span[1]) == field.value(span[2]):
                text = text.replace(span[0], span[1])
        texts.append(text)
    return Cron(" ".join(texts))


def _read_field(field: _Field, start: int, text: str, schedule: str) -> set[int]:
    """The values that a field names; none for `$` alone as the day."""
    if text == "$" and field.name == "day":
        return set()
    values = set[int]()
    position = start
    for item in text.split(","):
        if not item:
            raise ScheduleError(schedule, position, f"the {field.name} has an empty entry", field.cure)
        if odd := re.search(r"[#?$]", item):
            cure = "Write numbers, names, *, ranges, lists or steps; $ alone as the day is the month's last."
            at = position + odd.start()
            raise ScheduleError(schedule, at, f'"{odd[0]}" has no meaning here', cure)
        if field.name in ("day", "weekday") and re.search(r"[lw]$", item, re.IGNORECASE):
            cure = "Write $ alone as the day for the month's last day, or a range."
            raise ScheduleError(schedule, position, f'"{item}" has no meaning here', cure)
        parts = ITEM.fullmatch(item)
        if parts is None:
            raise ScheduleError(schedule, position, f'"{item}" is no {field.name}', field.cure)
        first, last, step = parts.groups()
        if first == "*" and last is None:
            low, high = field.low, field.high
        else:
            one = field.value(first)
            if one is None:
                raise ScheduleError(schedule, position, f'"{first}" is no {field.name}', field.cure)
            low = high = one
            if last is not None:
                two = field.value(last)
                if two is None:
                    at = position + len(first) + 1
                    raise ScheduleError(schedule, at, f'"{last}" is no {field.name}', field.cure)
                if two < one:
                    cure = "Write the smaller number first, or two ranges with a comma; Sunday is 0 and 7."
                    raise ScheduleError(schedule, position, f'the range "{first}-{last}" runs backwards', cure)
                high = two
            elif step is not None:
                cure = f"Write a range before the step: {first}-{field.high}/{step}."
                raise ScheduleError(schedule, position, f'the step in "{item}" has no range', cure)
        every = 1
        if step is not None:
            if not re.fullmatch(r"[0-9]{1,2}", step) or not 1 <= int(step) <= field.high:
                at = position + len(item) - len(step)
                raise ScheduleError(schedule, at, f'"{step}" is no step', f"Write a step of 1 to {field.high}.")
            every = int(step)
        values.update(range(low, high + 1, every))
        position += len(item) + 1
    return values
