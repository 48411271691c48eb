"""Cron strings as pg_cron reads them, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobs.runner.schedules import ScheduleError, next_time

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * * * *", "2026-11-24T12:01:00+00:00"),
        ("17 * * * *", "2026-11-24T12:17:00+00:00"),
        ("0 12 * * *", "2026-11-25T12:00:00+00:00"),
        ("37 2 * * 0", "2026-11-29T02:37:00+00:00"),
        ("5 4 $ * *", "2026-11-30T04:05:00+00:00"),
        ("30 seconds", "2026-11-24T12:00:30+00:00"),
        ("1 second", "2026-11-24T12:00:01+00:00"),
    ],
)
def test_the_next_time(schedule: str, expected: str) -> None:
    assert next_time(schedule, NOON).isoformat() == expected


def test_times_are_utc_whatever_zone_one_asks_in() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    assert next_time("0 13 * * *", there) == datetime(2026, 11, 24, 13, 0, tzinfo=UTC)


@pytest.mark.parametrize("schedule", ["", "often", "60 seconds", "0 seconds", "61 * * * *", "0 0 30 2 *", "* * * *"])
def test_what_cannot_be_read_or_never_comes(schedule: str) -> None:
    with pytest.raises(ScheduleError):
        next_time(schedule, NOON)
