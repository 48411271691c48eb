"""A queue in memory that answers like jobs.exchange, behind a line that can break in every way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg
import pytest

from jobs.kinds.job import Kind, Tools
from jobs.runner.conversation import Conversation
from jobs.runner.slots import Held, Slots, perform

INSTALLATION = "5f6f9d0e-9a53-4c67-8b6b-0d8f7f1f0b01"


@dataclass
class FakeLine:
    """Jobs in memory behind the conversation's end of a connection."""

    kinds: list[str] = field(default_factory=list)
    lease_seconds: float = 60.0
    is_open: bool = False
    hears: bool = True
    opened: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    running: dict[int, dict[str, Any]] = field(default_factory=dict)
    history: dict[int, tuple[str, int, str]] = field(default_factory=dict)
    failed: list[dict[str, Any]] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    cancelling: set[int] = field(default_factory=set)
    superseding: set[int] = field(default_factory=set)
    busy_once: set[int] = field(default_factory=set)
    schedules: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    before: Callable[[dict[str, Any]], None] = lambda message: None
    """Called with each exchange's message before it takes effect; may raise."""
    after: Callable[[dict[str, Any]], None] = lambda message: None
    """Called when it has taken effect and before the answer arrives; may raise."""
    refuse_to_open: list[Exception] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    news: bool = False
    next_id: int = 1

    def add(self, kind: str, **claim: Any) -> int:
        with self.lock:
            job_id, self.next_id = self.next_id, self.next_id + 1
            self.waiting.append({"id": job_id, "kind": kind, "attempt": 0, **claim})
            self.news = True
            return job_id

    def open(self) -> None:
        if self.refuse_to_open:
            raise self.refuse_to_open.pop(0)
        self.opened += 1
        self.is_open = True
        self.news = False

    def close(self) -> None:
        self.is_open = False

    def probe(self) -> None:
        pass

    def announced(self) -> bool:
        news, self.news = self.news, False
        return news

    def fileno(self) -> int | None:
        return None

    def distrust(self, error: psycopg.Error) -> None:
        pass

    def drop(self) -> None:
        """Break the connection under the call that runs."""
        self.is_open = False
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def call(self, name: str, *parameters: Any) -> Any:
        if not self.is_open:
            raise psycopg.OperationalError("the connection is closed")
        if name == "exchange":
            return self.exchange(parameters[0], json.loads(parameters[2]))
        self.asked.append((name, parameters))
        if name == "installation_id":
            return self.answers.get("installation_id", INSTALLATION)
        if name == "find_finished":
            outcome, attempt, runner_id = self.history.get(parameters[0], ("", 0, ""))
            return outcome if (attempt, runner_id) == parameters[1:] else None
        if name == "seconds_to_schedule":
            return self.answers.get(name)
        if name == "due_schedules":
            return {"now": "2026-11-24T10:00:30+00:00", "schedules": self.schedules}
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer(*parameters) if callable(answer) else answer

    def exchange(self, runner_id: str, message: dict[str, Any]) -> dict[str, Any]:
        message["runner_id"] = runner_id
        self.before(message)
        with self.lock:
            answer = self._exchange(runner_id, message)
        self.messages.append(message)
        self.after(message)
        return answer

    def _exchange(self, runner_id: str, message: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {name: [] for name in ("claimed", "lost", "busy", "superseded", "cancelled")}

        def mine(entry: Mapping[str, Any]) -> bool:
            job = self.running.get(entry["id"])
            return job is not None and (job["attempt"], job["runner_id"]) == (entry["attempt"], runner_id)

        for name in ("finished", "failed", "released", "beats"):
            for entry in message[name]:
                job_id = entry["id"]
                if not mine(entry):
                    if name != "released":
                        answer["lost"].append(job_id)
                elif job_id in self.busy_once and name != "beats":
                    self.busy_once.discard(job_id)
                    answer["busy"].append(job_id)
                elif name == "beats":
                    if job_id in self.cancelling:
                        answer["cancelled"].append(job_id)
                elif name == "released":
                    self.waiting.append(self.running.pop(job_id))
                    self.released.append(job_id)
                elif name == "failed":
                    self.running.pop(job_id)
                    self.failed.append(entry)
                else:
                    outcome = "superseded" if job_id in self.superseding else entry["outcome"]
                    if outcome == "superseded" and entry["outcome"] == "succeeded":
                        answer["superseded"].append(job_id)
                    self.running.pop(job_id)
                    self.history[job_id] = (outcome, entry["attempt"], runner_id)
        for _ in range(min(message["want"], len(self.waiting))):
            job = self.waiting.pop(0)
            job |= {"attempt": job["attempt"] + 1, "runner_id": runner_id}
            self.running[job["id"]] = job
            answer["claimed"].append({"lease_seconds": self.lease_seconds, "args": {}, "payload": None, **job})
        return {**answer, "next_due_seconds": None, "paused": False, "clocks": {"0": 1}}


@dataclass
class FakeStorage:
    """A Storage that is there or is not, and counts how often it is asked."""

    up: bool = True
    asked: int = 0

    def answers(self) -> bool:
        self.asked += 1
        return self.up


class Stand:
    """A conversation on a FakeLine with real slots, running until the test is over."""

    def __init__(self, slots: int = 2, stop_seconds: float = 5.0) -> None:
        self.line = FakeLine()
        self.kinds: dict[str, Kind] = {}
        self.discarded: list[str] = []
        self.identify: Callable[[], str] = lambda: INSTALLATION
        self.storage = FakeStorage()
        self.slots = Slots(slots, self._work)
        self.conversation = Conversation(
            self.line,
            self.slots,
            identify=lambda: self.identify(),
            discard=self.discarded.append,
            storage_answers=lambda: self.storage.answers(),
            stop_seconds=stop_seconds,
        )
        self.fault: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.conversation.run()
        except BaseException as fault:
            self.fault = fault

    def _work(self, held: Held) -> None:
        tools = Tools(
            held.lease,
            self.conversation.asker(held.lease),
            cast(Any, self.storage),
            "balanced",
            self.discarded.append,
        )
        self.conversation.report(perform(held, self.kinds, tools))

    def start(self) -> None:
        self.slots.start()
        self.thread.start()

    def add(self, kind: str, **claim: Any) -> int:
        job_id = self.line.add(kind, **claim)
        self.conversation._wake.poke()
        return job_id

    def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.005)

    def close(self) -> None:
        self.conversation.stop(at_once=True)
        if self.thread.is_alive():
            self.thread.join(10)
        assert self.slots.stop(5)


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.close()
