"""The job threads: each takes a claimed job, runs its kind and reports how it ended."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from logging import ERROR
from typing import Any, Literal

from jobs.errors import InstaShareError
from jobs.kinds.job import Job, JobFailed, JobStopped, JobSuperseded, Kind, Lease, Tools
from jobs.runner.log import note
from jobs.storage import StorageUnavailable

__all__ = ["Entry", "Held", "Slots", "perform"]


@dataclass(slots=True, eq=False)
class Held:
    """A job that this runner has claimed and not yet ended."""

    job: Job
    lease: Lease
    runner_id: str
    """The id it was claimed under: its beats and its end carry that one, whatever the runner calls itself by now."""
    claimed_at: float
    beat_at: float
    """When its lease was last known to be good (time.monotonic, taken before the call that said so)."""
    started_at: float | None = None


@dataclass(slots=True, eq=False)
class Entry:
    """How an attempt ended: one entry of the exchange's message."""

    held: Held
    list: Literal["finished", "failed", "released", "dropped"]
    """Where in the message it goes; `dropped` goes nowhere: the job is no longer ours."""
    body: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    not_before: float = 0.0
    tries: int = 0
    outage: bool = False
    """The attempt ended because Storage answers nobody."""

    @property
    def archive_path(self) -> str | None:
        """The archive that this attempt uploaded, which goes if the attempt is refused."""
        result = self.body.get("result")
        return result.get("archive_path") if result else None

    def message(self) -> dict[str, Any]:
        """The entry as jobs.exchange reads it."""
        return {"id": self.held.job.id, "attempt": self.held.job.attempt, **self.body}


STOPPED: Mapping[str, tuple[Literal["finished", "released", "dropped"], dict[str, Any]]] = {
    "cancelled": ("finished", {"outcome": "cancelled", "result": None}),
    "stopping": ("released", {}),
    # the lease may have seconds left: giving it back costs no crash, and is ignored if somebody has it already
    "lapsed": ("released", {}),
    "lost": ("dropped", {}),
}


def perform(held: Held, kinds: Mapping[str, Kind], tools: Tools) -> Entry:
    """Run one job to its end, whatever that is; never raises."""
    job = held.job
    held.started_at = time.monotonic()
    note("job_started", job=job.id, kind=job.kind, attempt=job.attempt, document=job.document_id)
    entry = _perform(held, kinds, tools)
    entry.seconds = time.monotonic() - held.started_at
    return entry


def _perform(held: Held, kinds: Mapping[str, Kind], tools: Tools) -> Entry:
    job = held.job
    try:
        kind = kinds.get(job.kind)
        if kind is None:
            sentence = f"This runner does not know jobs of the kind {job.kind}. Update the runner."
            raise JobFailed("unknown_kind", sentence, retryable=True)
        held.lease.check()
        return Entry(held, "finished", {"outcome": "succeeded", "result": kind(job, tools)})
    except JobSuperseded:
        return Entry(held, "finished", {"outcome": "superseded", "result": None})
    except JobStopped as stopped:
        where, body = STOPPED[str(stopped)]
        return Entry(held, where, dict(body))
    except JobFailed as failure:
        return Entry(held, "failed", {"error": _plain(str(failure)), "retryable": failure.retryable})
    except StorageUnavailable as error:
        # is it this object that Storage has trouble with, or is Storage down for all?
        if not tools.storage.answers():
            return Entry(held, "released", outage=True)
        return _failed(held, error)
    except InstaShareError as error:  # of the archive or of storage, in words that an owner can read
        return _failed(held, error)
    except Exception as error:
        note("job_broke", level=ERROR, exc_info=True, job=job.id, kind=job.kind, attempt=job.attempt)
        sentence = f"The runner met a fault of its own ({type(error).__name__}). Retry, or tell your administrator."
        return Entry(held, "failed", {"error": f"internal_error: {sentence}", "retryable": True})


def _failed(held: Held, error: InstaShareError) -> Entry:
    retryable = getattr(error, "retryable", True)
    told = f"{error.code}: {error.message}" if retryable else f"{error.code}: {error.message} {error.cure}".rstrip()
    return Entry(held, "failed", {"error": _plain(told), "retryable": retryable})


def _plain(text: str) -> str:
    """Text that jsonb can hold (no NUL, no lone surrogates), of a length that people read."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:500]


class Slots:
    """A fixed number of job threads and the jobs that wait for one. Errands (plain functions) wait in the same line."""

    def __init__(self, count: int, work: Callable[[Held], None]) -> None:
        self.count = count
        self.errands = 0
        """How many errands wait or run: each takes a slot from the jobs."""
        self._counting = threading.Lock()
        self._work = work
        self._line: queue.SimpleQueue[Held | Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, name=f"slot-{n}", daemon=True) for n in range(count)]

    def start(self) -> None:
        """Start the threads. They are daemons: a process that must leave at once does not wait for them."""
        for thread in self._threads:
            thread.start()

    def put(self, item: Held | Callable[[], None]) -> None:
        """Have a job done, or an errand run."""
        if not isinstance(item, Held):
            with self._counting:
                self.errands += 1
        self._line.put(item)

    def withdraw(self) -> list[Held]:
        """Take back the jobs that no thread has begun, in order; errands stay."""
        waiting: list[Held] = []
        errands: list[Callable[[], None] | None] = []
        while True:
            try:
                item = self._line.get_nowait()
            except queue.Empty:
                break
            if isinstance(item, Held):
                waiting.append(item)
            else:
                errands.append(item)
        for errand in errands:
            self._line.put(errand)
        return waiting

    def stop(self, seconds: float) -> bool:
        """Let every thread end after what is in the line; True when all did within `seconds`."""
        until = time.monotonic() + seconds
        for _ in self._threads:
            self._line.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self) -> None:
        while (item := self._line.get()) is not None:
            try:
                if isinstance(item, Held):
                    self._work(item)
                else:
                    self._run_errand(item)
            except Exception:
                note("errand_broke", level=ERROR, exc_info=True)

    def _run_errand(self, errand: Callable[[], None]) -> None:
        try:
            errand()
        finally:
            with self._counting:
                self.errands -= 1
