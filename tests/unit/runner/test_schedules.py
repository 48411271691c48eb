"""What a schedule may say, and how a bad one is refused. The next times: test_schedule_cases.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobs.runner.schedules import ScheduleError, fire_due, next_time, seconds_to_next

from .bad_schedules import BAD

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_times_are_utc_whatever_zone_one_asks_in() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    assert next_time("0 13 * * *", there) == datetime(2026, 11, 24, 13, 0, tzinfo=UTC)


@pytest.mark.parametrize("microsecond", [1, 500_000, 999_999])
def test_parts_of_a_second_change_nothing(microsecond: int) -> None:
    assert next_time("* * * * *", NOON.replace(microsecond=microsecond)) == NOON + timedelta(minutes=1)
    assert next_time("0 12 * * *", (NOON - timedelta(seconds=1)).replace(microsecond=microsecond)) == NOON


@pytest.mark.parametrize(("schedule", "position", "problem"), BAD, ids=[repr(bad[0]) for bad in BAD])
def test_a_bad_one_is_refused_with_the_place_of_its_fault(schedule: str, position: int, problem: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        next_time(schedule, NOON)
    fault = caught.value
    assert (fault.position, fault.problem) == (position, problem)
    assert fault.cure.endswith(".")
    assert str(fault).replace("\t", " ").isprintable()


def test_what_was_missed_is_made_up_for_once() -> None:
    asked: list[tuple[object, ...]] = []

    def call(name: str, *parameters: object) -> object:
        asked.append((name, *parameters))
        if name == "due_schedules":
            row = {"id": "a", "kind": "k", "schedule": "*/5 * * * *", "due": "2026-11-20T00:05:00+00:00"}
            return {"now": NOON.isoformat(), "schedules": [row]}
        return True

    assert fire_due(call) == 1
    due = datetime(2026, 11, 20, 0, 5, tzinfo=UTC)
    assert asked[1:] == [("fire_schedule", "a", due, NOON + timedelta(minutes=5))]


def test_what_another_fired_does_not_count() -> None:
    row = {"id": "a", "kind": "k", "schedule": "* * * * *", "due": "2026-11-24T12:00:00+00:00"}
    answers: dict[str, object] = {
        "due_schedules": {"now": NOON.isoformat(), "schedules": [row]},
        "fire_schedule": False,
    }
    assert fire_due(lambda name, *_: answers[name]) == 0


@pytest.mark.parametrize(("told", "seconds"), [(None, float("inf")), (-5.0, 1.0), (0.0, 1.0), (7.5, 7.5)])
def test_what_is_overdue_is_looked_for_again_but_not_at_once(told: float | None, seconds: float) -> None:
    assert seconds_to_next(lambda name: {"seconds_to_schedule": told}[name]) == seconds
