"""What goes into one call of jobs.exchange, and when the next one claims."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.runner.slots import Entry, Held
from jobs.runner.wake import jittered

__all__ = ["Message", "Pace"]

MOST_ENTRIES = 1000
ISOLATED_TRIES = 2


@dataclass(slots=True)
class Message:
    """One call's message, for one id of this runner. A job stands in it once, for the answer names jobs by id alone."""

    runner_id: str
    want: int = 0
    sweep: bool = False
    floors: Mapping[str, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    beats: list[Held] = field(default_factory=list)
    _ids: set[int] = field(default_factory=set)

    def end(self, entry: Entry) -> None:
        """Tell how an attempt ended, if there is room; else it waits for the next call.

        An entry that was in a refused message twice travels alone.
        """
        alone = entry.tries >= ISOLATED_TRIES or any(other.tries >= ISOLATED_TRIES for other in self.entries[:1])
        if entry.held.job.id in self._ids or len(self.entries) >= (1 if alone else MOST_ENTRIES):
            return
        self._ids.add(entry.held.job.id)
        self.entries.append(entry)

    def beat(self, held: Held) -> None:
        """Extend a lease, if the job stands nowhere else in the message."""
        if held.job.id not in self._ids:
            self._ids.add(held.job.id)
            self.beats.append(held)

    def text(self) -> str:
        """The JSON that jobs.exchange reads."""
        lists: dict[str, list[dict[str, Any]]] = {"finished": [], "failed": [], "released": []}
        for entry in self.entries:
            lists[entry.list].append(entry.message())
        beats = [
            {"id": held.job.id, "attempt": held.job.attempt, "progress": held.lease.progress} for held in self.beats
        ]
        return json.dumps({"want": self.want, "sweep": self.sweep, "floors": self.floors, "beats": beats, **lists})


class Pace:
    """When to look for jobs, and how many to ask for.

    Jobs are prefetched only while they are short: about 50 ms of work, 90 at most. Looking is due when a job was
    announced, when a scheduled one falls due, and by the clock: every 20 s as a backstop where notifications arrive,
    every second where they do not.
    """

    WORK_SECONDS = 0.05
    MOST_PREFETCHED = 90
    BACKSTOP_SECONDS = 20.0
    POLL_SECONDS = 1.0
    FLOOR_SECONDS = 0.05
    """Inserts that were committing while a lane's clock moved lie behind it: claim from where it was this long ago."""

    def __init__(self, slots: int) -> None:
        self.due_at = 0.0
        """When to look next (time.monotonic)."""
        self._slots = slots
        self._job_seconds = 1.0
        self._woken = False
        self._swept_at = 0.0
        self._clocks: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=64)

    def took(self, seconds: float) -> None:
        """Learn how long a job took: one long one ends the prefetching, many short ones begin it."""
        self._job_seconds = max(seconds, self._job_seconds + 0.05 * (seconds - self._job_seconds))

    def want(self, held: int) -> int:
        """How many more jobs to ask for when `held` are here."""
        prefetch = (
            self._slots * self.WORK_SECONDS / max(self._job_seconds, 1e-6)
            if self._job_seconds < self.WORK_SECONDS
            else 0
        )
        return max(0, self._slots + min(self.MOST_PREFETCHED, int(prefetch)) - held)

    def announced(self) -> None:
        """A notification came."""
        self.due_at, self._woken = 0.0, True

    def look(self, at: float) -> None:
        """Look no later than `at`."""
        self.due_at = min(self.due_at, at)

    def forget(self) -> None:
        """After a broken connection: look at once; the clocks may be another server's."""
        self.due_at, self._woken = 0.0, False
        self._clocks.clear()

    def is_due(self, now: float) -> bool:
        """Whether to look now even if there is nothing else to say."""
        return now >= self.due_at

    def sweeps(self, now: float) -> bool:
        """Whether this call sweeps: when it comes by the clock, about one time in twenty, and every ten seconds."""
        idle = self.is_due(now) and not self._woken
        return idle or now - self._swept_at > 10.0 or random.random() < 0.05

    def floors(self, now: float) -> Mapping[str, int]:
        """From where the claim reads each lane: the youngest clocks that are old enough."""
        while len(self._clocks) > 1 and self._clocks[1][0] <= now - self.FLOOR_SECONDS:
            self._clocks.popleft()
        return self._clocks[0][1] if self._clocks and self._clocks[0][0] <= now - self.FLOOR_SECONDS else {}

    def learn(self, message: Message, claimed: int, answer: Mapping[str, Any], now: float, hears: bool) -> None:
        """Plan the next look from what this call brought."""
        if answer.get("clocks"):
            self._clocks.append((now, answer["clocks"]))
        if message.sweep:
            self._swept_at = now
        if message.want == 0:
            return
        if claimed >= message.want:
            self.due_at, self._woken = now, False
            return
        self.due_at = now + jittered(self.BACKSTOP_SECONDS if hears else self.POLL_SECONDS)
        if self._woken and not message.sweep:
            # what was announced may lie behind the clock, where only a sweeping call looks
            self.look(now + random.uniform(0.1, 0.3))
        self._woken = False
        due = answer.get("next_due_seconds")
        if due is not None:
            self.look(now + max(0.25, due))
