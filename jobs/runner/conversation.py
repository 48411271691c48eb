"""The one thread that speaks with the database, for all of a runner's job threads.

One call, jobs.exchange, ends and publishes what is done, reschedules what failed, extends leases and claims anew, in
one round trip and one transaction. The thread calls when something finished, a notification came or a heartbeat is
due: at once when idle, and coalescing under load (whatever finished during one call goes with the next).
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from logging import ERROR, WARNING
from typing import Any, Protocol

import psycopg

from jobs.errors import SettingsError
from jobs.kinds.job import Ask, JobFailed, Lease
from jobs.runner import schedules
from jobs.runner.connection import WrongCredentials
from jobs.runner.exchange import Message
from jobs.runner.ledger import Ledger
from jobs.runner.log import note
from jobs.runner.outage import Outage
from jobs.runner.slots import Entry, Slots
from jobs.runner.wake import Wake, jittered

__all__ = ["Conversation", "Line"]

SCHEDULE_SECONDS = 20.0
PROBE_SECONDS = 30.0
SIGN_SECONDS = 20.0


class Line(Protocol):
    """What the conversation needs of a connection; see jobs.runner.connection.Connection."""

    @property
    def is_open(self) -> bool: ...
    @property
    def hears(self) -> bool: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def call(self, name: str, *parameters: Any) -> Any: ...
    def probe(self) -> None: ...
    def announced(self) -> bool: ...
    def fileno(self) -> int | None: ...
    def distrust(self, error: psycopg.Error) -> None: ...


@dataclass(slots=True, eq=False)
class Question:
    """A statement that a job thread wants run, and what came of it."""

    query: str
    parameters: tuple[Any, ...]
    answered: threading.Event = field(default_factory=threading.Event)
    answer: Any = None
    failure: JobFailed | None = None


class Conversation:
    """Holds the claimed jobs and everything that is to be told about them.

    `run` is the thread's body; `report`, `ask`, `stop` are for other threads.
    """

    def __init__(
        self,
        line: Line,
        slots: Slots,
        *,
        identify: Callable[[], str],
        discard: Callable[[str], None],
        storage_answers: Callable[[], bool],
        stop_seconds: float = 5.0,
    ) -> None:
        """`identify` reads the installation's id through SUPABASE_URL; `discard` has an archive removed.

        `storage_answers` asks Storage once; it is called by the slots' threads.
        """
        self._line, self._identify = line, identify
        self._slots = slots
        self._stop_seconds = stop_seconds
        self._wake = Wake()
        self._host = f"{socket.gethostname()}:{os.getpid()}"
        self._runner_id = str(uuid.uuid4())
        self._installation: str | None = None
        self._ledger = Ledger(slots, discard)
        self._pace = self._ledger.pace
        self._outage = Outage(storage_answers, self._run_errand)
        self._questions: deque[Question] = deque()
        self._schedules_at = 0.0
        self._probe_at = 0.0
        self._sign_at = 0.0
        self._faults = 0
        self._stop_at: float | None = None
        self._leave_at: float | None = None
        self.started = threading.Event()
        """Both addresses were found to lead to one installation; jobs are claimed from here on."""
        self.turned_at = time.monotonic()
        """When the thread last showed life (time.monotonic)."""

    # for other threads -------------------------------------------------------------------------------------------

    def report(self, entry: Entry) -> None:
        """A job ended, in whatever way."""
        self._ledger.ended(entry)
        self._wake.poke()

    def asker(self, lease: Lease) -> Ask:
        """How the job of `lease` puts statements to the database."""

        def ask(query: str, *parameters: Any) -> Any:
            question = Question(query, parameters)
            self._questions.append(question)
            self._wake.poke()
            while not question.answered.wait(0.25):
                lease.check()
            if question.failure is not None:
                raise question.failure
            return question.answer

        return ask

    def stop(self, at_once: bool = False) -> None:
        """Claim no more, and leave when the jobs have ended or been given back. Harmless in a signal handler."""
        now = time.monotonic()
        self._stop_at = now if at_once else min(self._stop_at or float("inf"), now + self._stop_seconds)
        # what a job needs to notice (1 s), and two calls
        self._leave_at = self._stop_at + (3.0 if at_once else 10.0)
        self._wake.poke()

    # the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Speak until stopped. Raises SettingsError when the settings name two installations, or a wrong key."""
        try:
            while not self._over():
                self.turned_at = time.monotonic()
                try:
                    if self._installation is None or not self._line.is_open:
                        self._connect()
                    self._turn()
                except (psycopg.Error, OSError) as error:
                    self._broke(error)
                except WrongCredentials as error:
                    if self._installation is None:
                        raise SettingsError(
                            "database_refused",
                            f"The database refused the log-in of DATABASE_URL: {error}.",
                            "`instashare db runner-url` prints the right address.",
                        ) from None
                    # a pooler says so too while its database restarts; few tries, for a hosted project bans addresses
                    note("database_refused", level=ERROR, reason=str(error))
                    self._rest(60.0)
        finally:
            if jobs := self._ledger.job_ids:
                note("jobs_left", level=WARNING, jobs=jobs)
            self._line.close()
            self._wake.close()

    def _over(self) -> bool:
        if self._leave_at is None:
            return False
        return self._ledger.is_empty or time.monotonic() > self._leave_at

    def _connect(self) -> None:
        if self._installation is None:
            self._meet()
            return
        self._line.open()
        # claims whose reply was lost stay with the old name, unbeaten, and lapse
        self._runner_id = str(uuid.uuid4())
        self._pace.forget()
        self._probe_at = time.monotonic() + PROBE_SECONDS
        if self._line.call("installation_id") != self._installation:
            raise SettingsError("installation_changed", "DATABASE_URL now leads to another installation.")
        note("database_connected", runner=self._runner_id, notified=self._line.hears)
        self._faults = 0

    def _meet(self) -> None:
        """Start only where SUPABASE_URL and DATABASE_URL lead to one installation."""
        through_rest = self._identify()
        self._line.open()
        through_database = self._line.call("installation_id")
        if through_rest != through_database:
            raise SettingsError(
                "installations_differ",
                "SUPABASE_URL and DATABASE_URL belong to two different installations; working on both would harm one.",
                "Take both addresses from the same project.",
            )
        self._installation = through_database
        self.started.set()
        self._probe_at = time.monotonic() + PROBE_SECONDS
        self._faults = 0
        note("runner_started", runner=self._runner_id, slots=self._slots.count, notified=self._line.hears)

    def _turn(self) -> None:
        now = time.monotonic()
        if self._ledger.collect():
            self._outage.begin(now)
        if self._outage.ends(now):
            self._pace.look(now)
        self._answer_questions()
        if self._stop_at is not None:
            self._ledger.withdraw()
            if now >= self._stop_at:
                self._ledger.stop_jobs()
        elif now >= self._schedules_at:
            self._schedules_at = now + min(jittered(SCHEDULE_SECONDS), self._fire_schedules())
        if now >= self._probe_at:
            self._probe_at = now + PROBE_SECONDS
            self._line.probe()
        if self._line.announced():
            self._pace.announced()
        if self._outage.is_on:
            self._ledger.withdraw()
        self._ledger.relieve(now)
        spoke = False
        looking = self._stop_at is None and not self._outage.is_on
        for message in self._messages(now, looking):
            self._exchange(message)
            spoke = True
        if spoke or self._questions or self._ledger.has_news:
            return
        if self._wake.sleep(self._until_next(), self._line.fileno()) and self._line.announced():
            self._pace.announced()

    def _messages(self, now: float, looking: bool) -> Iterator[Message]:
        """What there is to say; in an outage a sign of life that claims nothing, and sweeps as every runner does."""
        yield from self._ledger.messages(now, self._runner_id, looking)
        if self._outage.is_on and now >= self._sign_at:
            self._sign_at = now + SIGN_SECONDS
            yield Message(self._runner_id, sweep=True)

    def _run_errand(self, errand: Callable[[], None]) -> None:
        def run() -> None:
            try:
                errand()
            finally:
                self._wake.poke()

        self._slots.put(run)

    def _exchange(self, message: Message) -> None:
        sent_at = time.monotonic()
        try:
            answer = self._line.call("exchange", message.runner_id, self._host, message.text())
        except psycopg.Error as error:
            if self._line.is_open and not isinstance(error, psycopg.OperationalError):
                self._ledger.refused(message, plain(error))
            raise
        self._faults = 0
        claimed = self._ledger.read(message, answer, sent_at, self._won)
        if message.runner_id == self._runner_id:
            self._pace.learn(message, len(claimed), answer, time.monotonic(), self._line.hears)

    def _won(self, entry: Entry) -> bool:
        job = entry.held.job
        return bool(self._line.call("find_finished", job.id, job.attempt, entry.held.runner_id) == "succeeded")

    def _answer_questions(self) -> None:
        while self._questions:
            question = self._questions.popleft()
            try:
                question.answer = self._line.call(question.query, *question.parameters)
            except psycopg.Error as error:
                lost = isinstance(error, psycopg.OperationalError) or not self._line.is_open
                question.failure = JobFailed(
                    "database_interrupted" if lost else "database_error",
                    "The database did not answer. It will be tried again."
                    if lost
                    else f"The database refused a step ({error.sqlstate}).",
                    retryable=True,
                )
                if lost:
                    raise
                note("step_refused", level=ERROR, query=question.query, sqlstate=error.sqlstate, reason=str(error))
            finally:
                question.answered.set()

    def _fire_schedules(self) -> float:
        """Fire what is due; seconds until the next may be."""
        try:
            schedules.fire_due(self._line.call)
            return schedules.seconds_to_next(self._line.call)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            if not self._line.is_open:
                raise
            note("schedules_refused", level=ERROR, reason=plain(error))
            return SCHEDULE_SECONDS

    def _broke(self, error: Exception) -> None:
        self._faults += 1
        seconds = jittered(min(5.0, 0.1 * 2 ** min(self._faults, 8)), 0.5)
        event = "waiting_for_start" if self._installation is None else "database_lost"
        note(event, level=WARNING, reason=plain(error), retry_seconds=round(seconds, 1))
        if isinstance(error, psycopg.Error):
            self._line.distrust(error)
        self._line.close()
        self._rest(seconds)

    def _rest(self, seconds: float) -> None:
        """Wait, but not longer than the runner may stay."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._over():
            self.turned_at = time.monotonic()
            self._wake.sleep(min(left, 1.0))

    def _until_next(self) -> float:
        """Seconds until there is something to do by the clock."""
        now = time.monotonic()
        times = [self._probe_at, self._ledger.next_time(now)]
        if self._stop_at is not None:
            times.append(self._stop_at if now < self._stop_at else now + 0.25)
        else:
            times.append(self._schedules_at)
            if self._outage.is_on:
                times += [self._sign_at, self._outage.next_time]
            elif self._ledger.want() > 0:
                times.append(self._pace.due_at)
        return max(0.0, min(times) - now)


def plain(error: Exception) -> str:
    """An error in one line for the log."""
    return " ".join(str(error).split())[:300] or type(error).__name__
