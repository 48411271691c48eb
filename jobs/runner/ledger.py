"""What a runner holds: the jobs it has claimed, and what is still to be told about those that ended."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from logging import ERROR, INFO, WARNING
from typing import Any

from jobs.kinds.job import Job, Lease
from jobs.runner.exchange import Message, Pace
from jobs.runner.log import note
from jobs.runner.slots import Entry, Held, Slots

__all__ = ["Ledger"]

BEAT_SECONDS = 5.0
"""Between two heartbeats, or a quarter of the lease if that is less: owners watch progress, a cancel comes with one."""
BUSY_SECONDS = 0.05
"""Before an entry whose row was locked is sent again."""
WAITING_SECONDS = 1.0
"""How long a claimed job may wait for a slot before others may have it."""
UNTIL_DROPPED = 5
"""How often the database may refuse an entry by itself before it is left to its lease."""


class Ledger:
    """The conversation's book. Its thread alone uses it; only `ended` is for job threads."""

    def __init__(self, slots: Slots, discard: Callable[[str], None]) -> None:
        """`discard` has an archive removed whose attempt was refused; it only hands the errand over."""
        self.pace = Pace(slots.count)
        self._slots = slots
        self._discard = discard
        self._held: dict[tuple[int, int], Held] = {}
        self._outbox: queue.SimpleQueue[Entry] = queue.SimpleQueue()
        self._pending: list[Entry] = []

    def ended(self, entry: Entry) -> None:
        """A job thread is done with an attempt."""
        self._outbox.put(entry)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held and nothing remains to be told."""
        return not self._held and not self._pending and self._outbox.empty()

    @property
    def has_news(self) -> bool:
        """Whether attempts ended since `collect`."""
        return not self._outbox.empty()

    @property
    def job_ids(self) -> list[int]:
        """The jobs that are held."""
        return [held.job.id for held in self._held.values()]

    def collect(self) -> bool:
        """Take over what ended: its slot is free from here on. Whether an attempt found that Storage is away."""
        outage = False
        while True:
            try:
                entry = self._outbox.get_nowait()
            except queue.Empty:
                return outage
            outage |= entry.outage
            self._held.pop((entry.held.job.id, entry.held.job.attempt), None)
            self.pace.took(entry.seconds)
            if entry.list == "dropped":
                note("job_lost", level=WARNING, job=entry.held.job.id, attempt=entry.held.job.attempt)
            else:
                self._pending.append(entry)

    def want(self) -> int:
        """How many more jobs there is room for."""
        return self.pace.want(len(self._held) + self._slots.errands)

    def withdraw(self) -> None:
        """Give back what is claimed and not begun: no failure, and somebody may do it at once."""
        for held in self._slots.withdraw():
            self._held.pop((held.job.id, held.job.attempt), None)
            self._pending.append(Entry(held, "released"))

    def relieve(self, now: float) -> None:
        """Give back prefetched jobs that wait behind longer ones than was expected."""
        if self._longest_wait(now) > WAITING_SECONDS:
            self.pace.took(WAITING_SECONDS)
            self.withdraw()

    def stop_jobs(self) -> None:
        """Have every running job stop and be given back."""
        for held in self._held.values():
            held.lease.stop("stopping")

    def next_time(self, now: float) -> float:
        """When there is something to tell by the clock (time.monotonic)."""
        times = [entry.not_before for entry in self._pending]
        times += [beat_due(held) for held in self._held.values()]
        if self._longest_wait(now) > 0:
            times.append(now + WAITING_SECONDS)
        return min(times, default=now + 60.0)

    def messages(self, now: float, own_id: str, looking: bool) -> Iterator[Message]:
        """What there is to say now: one message an id that this runner bears or bore, its present one last.

        Jobs keep the id they were claimed under. `looking` is whether to claim as well.
        """
        messages: dict[str, Message] = {}
        for entry in self._pending:
            if entry.not_before <= now:
                messages.setdefault(entry.held.runner_id, Message(entry.held.runner_id)).end(entry)
        for held in self._held.values():
            if now >= beat_due(held):
                messages.setdefault(held.runner_id, Message(held.runner_id)).beat(held)
        own = messages.pop(own_id, None)
        yield from messages.values()
        want = self.want() if looking else 0
        if own is not None or (want > 0 and self.pace.is_due(now)):
            own = own or Message(own_id)
            own.want = want
            own.sweep = looking and self.pace.sweeps(now)
            own.floors = self.pace.floors(now)
            yield own

    def read(
        self, message: Message, answer: Mapping[str, Any], sent_at: float, won: Callable[[Entry], bool]
    ) -> list[Any]:
        """Draw the conclusions from an answer; the claims in it.

        `won` asks whether an attempt whose job is gone had been published by an earlier call, whose reply was lost.
        """
        lost, cancelled = set(answer["lost"]), set(answer["cancelled"])
        busy, superseded = set(answer["busy"]), set(answer["superseded"])
        for held in message.beats:
            held.beat_at = sent_at
            if held.job.id in lost:
                held.lease.stop("lost")
                continue
            if held.job.id in cancelled:
                held.lease.stop("cancelled")
            held.lease.extend(sent_at + 0.75 * held.job.lease_seconds)
        claimed: list[Any] = answer["claimed"]
        for claim in claimed:
            job = Job.from_claim(claim)
            # a worker that could not beat for three quarters of a lease stops by itself
            lease = Lease(sent_at + 0.75 * job.lease_seconds)
            held = Held(job, lease, message.runner_id, claimed_at=sent_at, beat_at=sent_at)
            self._held[job.id, job.attempt] = held
            self._slots.put(held)
        told: dict[Entry, str | None] = {}
        for entry in message.entries:
            if entry.held.job.id in busy:
                entry.not_before = sent_at + BUSY_SECONDS
            elif entry.held.job.id in lost and not (entry.archive_path is not None and won(entry)):
                told[entry] = "lost"
            else:
                told[entry] = "superseded" if entry.held.job.id in superseded else None
        # only now: `won` may have found the connection broken, and then all of it is told again
        self._pending = [entry for entry in self._pending if entry not in told]
        for entry, refusal in told.items():
            self._conclude(entry, refusal)
        return claimed

    def refused(self, message: Message, reason: str) -> None:
        """The database refused a message: one entry may be to blame, and must not silence all the others."""
        for entry in message.entries:
            entry.tries += 1
        if len(message.entries) == 1 and message.entries[0].tries >= UNTIL_DROPPED:
            entry = message.entries[0]
            self._pending.remove(entry)
            note("entry_refused", level=ERROR, job=entry.held.job.id, list=entry.list, reason=reason)

    def _longest_wait(self, now: float) -> float:
        """How long the oldest job without a slot has waited, in seconds (jobs begin in the order of their claims)."""
        first = next((held for held in self._held.values() if held.started_at is None), None)
        return now - first.claimed_at if first is not None else 0.0

    def _conclude(self, entry: Entry, refusal: str | None) -> None:
        """The database has heard how an attempt ended: log it, and clear away the archive of one that was refused."""
        key = entry.archive_path
        if refusal is not None and key is not None:
            self._discard(key)
        job = entry.held.job
        failed = entry.list == "failed"
        note(
            "job_failed" if failed else "job_done",
            level=WARNING if failed or refusal == "lost" else INFO,
            job=job.id,
            kind=job.kind,
            attempt=job.attempt,
            document=job.document_id,
            outcome=refusal or entry.body.get("outcome") or entry.list,
            seconds=round(entry.seconds, 3),
            error=entry.body.get("error"),
            retryable=entry.body.get("retryable"),
        )


def beat_due(held: Held) -> float:
    """When a job's lease is to be extended next (time.monotonic)."""
    return held.beat_at + min(BEAT_SECONDS, held.job.lease_seconds / 4)
