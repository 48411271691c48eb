"""The runner as a process: start, watch, stop, signals."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from logging import ERROR, WARNING
from pathlib import Path
from types import FrameType

from jobs.errors import SettingsError
from jobs.kinds import KINDS
from jobs.kinds.archives import discard
from jobs.kinds.job import Kind, Tools
from jobs.runner import log
from jobs.runner.connection import Connection
from jobs.runner.conversation import Conversation
from jobs.runner.identity import installation_at
from jobs.runner.slots import Held, Slots, perform
from jobs.settings import Settings, load
from jobs.storage import Storage

__all__ = ["Runner", "main"]

HUNG_SECONDS = 30.0
"""A call to the database that takes longer is cut: half a lease, so that the leases can still be saved."""


class Runner:
    """One process's runner: a conversation, its slots, and the main thread that watches both."""

    def __init__(self, settings: Settings, kinds: Mapping[str, Kind] = KINDS) -> None:
        self._settings = settings
        self._kinds = kinds
        self._storage = Storage(settings.supabase_url, settings.supabase_secret_key.get_secret_value())
        self._connection = Connection(settings.database_url.get_secret_value(), settings.runner_wake)
        self._slots = Slots(settings.runner_slots, self._work)
        self._conversation = Conversation(
            self._connection,
            self._slots,
            identify=self._identify,
            discard=self._discard,
            storage_answers=self._storage.answers,
            stop_seconds=settings.runner_stop_seconds,
        )
        self._fault: BaseException | None = None
        self._signals = 0

    def run(self) -> int:
        """Work until told to stop; the exit code. Call it from the main thread.

        The first SIGTERM or SIGINT lets jobs end for a while and gives the rest back, the second gives all back at
        once, the third leaves as it is (the leases lapse).
        """
        conversing = threading.Thread(target=self._converse, name="conversation", daemon=True)
        with self._handling_signals():
            self._slots.start()
            conversing.start()
            while conversing.is_alive():
                conversing.join(1.0 if self._conversation.started.is_set() else 0.1)
                if self._connection.busy_seconds() > HUNG_SECONDS:
                    log.note("database_hangs", level=WARNING)
                    self._connection.cut()
                self._show_life()
            # archives of refused attempts that are still to be removed; the sweep of orphans would find them too
            self._slots.stop(2.0)
        if self._settings.runner_heartbeat_file is not None:
            self._settings.runner_heartbeat_file.unlink(missing_ok=True)
        if isinstance(self._fault, SettingsError):
            fault = self._fault
            log.note("settings_refused", level=ERROR, code=fault.code, reason=fault.message, cure=fault.cure or None)
            return fault.exit_code
        if self._fault is not None:
            log.note("runner_broke", level=ERROR, reason=repr(self._fault))
            return 1
        log.note("runner_stopped")
        return 0

    def stop(self, at_once: bool = False) -> None:
        """Have `run` return, from any thread."""
        self._conversation.stop(at_once)

    def _work(self, held: Held) -> None:
        ask = self._conversation.asker(held.lease)
        tools = Tools(held.lease, ask, self._storage, self._settings.archive_preset, self._discard)
        self._conversation.report(perform(held, self._kinds, tools))

    def _discard(self, key: str) -> None:
        self._slots.put(lambda: discard(self._storage, key))

    def _converse(self) -> None:
        try:
            self._conversation.run()
        except SettingsError as fault:
            self._fault = fault
        except BaseException as fault:
            log.note("conversation_broke", level=ERROR, exc_info=True)
            self._fault = fault

    def _identify(self) -> str:
        return installation_at(self._settings.supabase_url, self._settings.supabase_secret_key.get_secret_value())

    def _show_life(self) -> None:
        """Touch the heartbeat file from the start of work on, while the conversation turns.

        It turns while the database is away, too: a restart would help nobody then.
        """
        path: Path | None = self._settings.runner_heartbeat_file
        if path is None or not self._conversation.started.is_set():
            return
        if time.monotonic() - self._conversation.turned_at < 2 * HUNG_SECONDS:
            try:
                path.touch()
            except OSError as error:
                log.note("heartbeat_unwritable", level=WARNING, reason=str(error))

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 2:
            os._exit(128 + number)
        self.stop(at_once=self._signals == 2)

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._signalled) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def main() -> int:
    """Run with the environment's settings; the exit code (2 when they cannot be right)."""
    try:
        settings = load()
    except SettingsError as fault:
        sys.stderr.write(f"{fault.code}: {fault.message}\n  {fault.cure}\n")
        return fault.exit_code
    log.set_up(settings.runner_log_level)
    return Runner(settings).run()
