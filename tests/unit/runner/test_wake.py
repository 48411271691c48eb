"""Sleeping and being woken."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from jobs.runner.wake import Wake, jittered


@pytest.fixture
def wake() -> Iterator[Wake]:
    wake = Wake()
    yield wake
    wake.close()


def test_it_sleeps_its_time(wake: Wake) -> None:
    started = time.monotonic()
    assert wake.sleep(0.05) is False
    assert time.monotonic() - started >= 0.05


def test_a_poke_from_another_thread_ends_the_sleep(wake: Wake) -> None:
    threading.Timer(0.05, wake.poke).start()
    started = time.monotonic()
    assert wake.sleep(30) is False
    assert time.monotonic() - started < 10


def test_a_poke_before_the_sleep_is_not_lost_and_many_count_once(wake: Wake) -> None:
    for _ in range(100_000):
        wake.poke()
    started = time.monotonic()
    wake.sleep(30)
    assert time.monotonic() - started < 10
    started = time.monotonic()
    wake.sleep(0.05)
    assert time.monotonic() - started >= 0.05


def test_news_from_the_database_ends_the_sleep_and_is_told(wake: Wake) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        assert wake.sleep(30, ours.fileno()) is True


def test_a_poke_after_the_end_is_harmless() -> None:
    wake = Wake()
    wake.close()
    wake.poke()


def test_jitter_stays_within_its_share() -> None:
    assert all(8.0 <= jittered(10.0) <= 12.0 for _ in range(1000))
