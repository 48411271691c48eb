"""A Storage that answers nobody: jobs are given back without a failure, and none is claimed until it answers again.

A job that fails because of what it works on spends its budget and ends; one that fails because Storage is down for all
must not, or an outage of twenty minutes would fail every document of that time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from logging import ERROR, INFO

from jobs.runner.log import note
from jobs.runner.wake import jittered

__all__ = ["Outage"]

MOST_SECONDS = 30.0
"""Between two questions whether Storage is back; the first comes after a second, and each wait is twice the last."""


class Outage:
    """Whether Storage is away. The conversation's thread uses it; a job thread asks Storage, as an errand."""

    def __init__(self, answers: Callable[[], bool], errand: Callable[[Callable[[], None]], None]) -> None:
        """`answers` asks Storage once; `errand` has a function run by another thread, and the conversation woken."""
        self._answers, self._errand = answers, errand
        self._began_at: float | None = None
        self._ask_at = float("inf")
        self._tries = 0
        self._back = threading.Event()

    @property
    def is_on(self) -> bool:
        """Whether jobs must wait."""
        return self._began_at is not None

    def begin(self, now: float) -> None:
        """A job found that Storage answers nobody."""
        if not self.is_on:
            self._began_at, self._tries = now, 0
            self._back.clear()
            self._plan(now)
            note("storage_lost", level=ERROR)

    def ends(self, now: float) -> bool:
        """Ask when it is time to; whether Storage has come back since the last call."""
        if self._began_at is None:
            return False
        if self._back.is_set():
            note("storage_back", level=INFO, seconds=round(now - self._began_at, 1))
            self._began_at, self._ask_at = None, float("inf")
            return True
        if now >= self._ask_at:
            self._ask_at = float("inf")
            self._errand(self._ask)
        return False

    @property
    def next_time(self) -> float:
        """When to call `ends` (time.monotonic), if nothing else is to be done before."""
        return self._ask_at

    def _ask(self) -> None:
        back = False
        try:
            back = self._answers()
        finally:
            if back:
                self._back.set()
            else:
                self._plan(time.monotonic())

    def _plan(self, now: float) -> None:
        self._ask_at = now + jittered(min(MOST_SECONDS, 2.0**self._tries), 0.5)
        self._tries += 1
