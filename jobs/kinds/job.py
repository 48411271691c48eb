"""A job as its kind sees it: what to do, when to stop, and how to end.

A kind is a function `run(job, tools) -> result`. It returns the result that the queue publishes, or raises

- JobFailed        a fault with the reason that the document's owner reads; retryable or final
- JobSuperseded    the document went or changed meanwhile: nothing to publish, nobody's fault
- JobStopped       the lease told it to stop (cancelled, lost, or the runner is stopping)

and has then already handed over what it half wrote for removal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from jobs.storage import Storage

__all__ = ["Ask", "Job", "JobFailed", "JobStopped", "JobSuperseded", "Kind", "Lease", "Result", "StopReason", "Tools"]

Result = dict[str, Any]
StopReason = Literal["cancelled", "lost", "lapsed", "stopping"]


class JobFailed(Exception):
    """The job failed. `str()` gives `code: sentence`, the form of documents.error."""

    def __init__(self, code: str, sentence: str, *, retryable: bool) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code, self.sentence, self.retryable = code, sentence, retryable


class JobSuperseded(Exception):
    """The document was deleted or its version changed while the job ran."""


class JobStopped(Exception):
    """The job's lease ended before the job did; the message is the reason."""


class Lease:
    """One attempt's right to go on, shared between its job thread and the conversation.

    The job calls `check` often (several times a second) and sets `progress`; the conversation extends and stops.
    A lease that could not be extended in time stops its job by itself, whatever the conversation is waiting for.
    """

    __slots__ = ("_deadline", "_reason", "progress")

    def __init__(self, deadline: float) -> None:
        self.progress: float | None = None
        """How much of the work is done, 0 to 1; None until it is known."""
        self._deadline = deadline
        self._reason: StopReason | None = None

    @property
    def reason(self) -> StopReason | None:
        """Why the job must stop, or None while it may go on."""
        if self._reason is None and time.monotonic() > self._deadline:
            self._reason = "lapsed"
        return self._reason

    def check(self) -> None:
        """Raise JobStopped when the job must stop."""
        if (reason := self.reason) is not None:
            raise JobStopped(reason)

    def stopped(self) -> bool:
        """Whether the job must stop."""
        return self.reason is not None

    def extend(self, deadline: float) -> None:
        """Let the job go on until `deadline` (time.monotonic)."""
        self._deadline = deadline

    def stop(self, reason: StopReason) -> None:
        """Tell the job to stop; the first reason stands."""
        if self._reason is None:
            self._reason = reason

    def pause(self, seconds: float) -> None:
        """Sleep, but wake within a quarter of a second of being told to stop. Raises JobStopped."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.25))
        self.check()


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed attempt of a job, as jobs.exchange hands it out."""

    id: int
    kind: str
    attempt: int
    failures: int
    crashes: int
    owner_id: str | None
    document_id: str | None
    args: Mapping[str, Any]
    payload: Mapping[str, Any] | None
    lease_seconds: float

    @classmethod
    def from_claim(cls, claim: Mapping[str, Any]) -> Job:
        """Read one entry of the exchange's `claimed`."""
        return cls(
            id=claim["id"],
            kind=claim["kind"],
            attempt=claim["attempt"],
            failures=claim.get("failures") or 0,
            crashes=claim.get("crashes") or 0,
            owner_id=claim.get("owner_id"),
            document_id=claim.get("document_id"),
            args=claim.get("args") or {},
            payload=claim.get("payload"),
            lease_seconds=claim.get("lease_seconds") or 60.0,
        )

    @property
    def archive_key(self) -> str:
        """The key in bucket `archives` that belongs to this attempt alone."""
        return f"{self.owner_id}/{self.document_id}/{self.id}-{self.attempt}.zip"


class Ask(Protocol):
    """Put one named query of sql/runner.sql to the database, through the one conversation."""

    def __call__(self, query: str, *parameters: Any) -> Any:
        """The first column of the first row. Raises JobFailed (retryable) when the connection breaks meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a kind works with."""

    lease: Lease
    ask: Ask
    storage: Storage
    preset: str
    discard: Callable[[str], None]
    """Have an archive removed, later and by somebody else: a job must end in time when Storage does not answer."""


Kind = Callable[[Job, Tools], Result]
