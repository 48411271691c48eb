"""The next time: a table of written cases, and by the thousand against an independent matcher."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from jobs.runner.cron import read
from jobs.runner.schedules import next_time

from .schedule_cases import MONTHS, WEEKDAYS, Vixie, read_cases

CASES = read_cases()


def test_the_table_has_two_hundred_cases() -> None:
    assert len(set(CASES)) == len(CASES) >= 200


@pytest.mark.parametrize(("schedule", "after", "due"), CASES, ids=[f"{case[0]} | {case[1]}" for case in CASES])
def test_the_library_agrees_with_the_table(schedule: str, after: datetime, due: datetime) -> None:
    assert next_time(schedule, after) == due


@pytest.mark.parametrize(("schedule", "after", "due"), CASES, ids=[f"{case[0]} | {case[1]}" for case in CASES])
def test_a_walk_minute_by_minute_agrees_with_the_table(schedule: str, after: datetime, due: datetime) -> None:
    assert Vixie(schedule).next(after) == due


def invent(rng: random.Random) -> str:
    """Some readable schedule."""

    def field(low: int, high: int, names: list[str]) -> str:
        def item() -> str:
            start = rng.randint(low, high)
            stop = rng.randint(start, high)
            step = rng.choice(["", "", f"/{rng.randint(1, max(1, high))}"])
            number = rng.choice(
                [str(start), f"{start:02}", *([names[start - low]] if start - low < len(names) else [])]
            )
            return rng.choice([number, f"{start}-{stop}{step}", f"*{step}"])

        return rng.choice(["*", ",".join(item() for _ in range(rng.choice([1, 1, 1, 2, 3])))])

    sizes = ((0, 59, []), (0, 23, []), (1, 31, []), (1, 12, MONTHS), (0, 7, WEEKDAYS))
    return " ".join(field(low, high, list(names)) for low, high, names in sizes)


@pytest.mark.parametrize("seed", range(20))
def test_invented_schedules_agree_with_the_walk(seed: int) -> None:
    rng = random.Random(seed)
    tried = 0
    while tried < 50:
        schedule = invent(rng)
        try:
            read(schedule)
        except ValueError:
            continue  # a day that never comes
        after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randint(0, 4 * 366 * 86400))
        for _ in range(3):
            due = next_time(schedule, after)
            assert due == Vixie(schedule).next(after), (schedule, after)
            after = due
        tried += 1
