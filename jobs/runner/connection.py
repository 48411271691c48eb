"""The runner's one database connection: statements by name, notifications, and an end to every wait.

Poolers: behind a transaction pooler there is no LISTEN and no prepared statement (`pooled`); the hosted one is known
by its port, 6543, any other by RUNNER_WAKE=poll.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from jobs import queries

__all__ = ["CHANNEL", "Connection", "WrongCredentials"]

CHANNEL = "instashare_jobs"

# A peer that vanished without a word is noticed in about 25 s, well within three quarters of a lease.
TRANSPORT: Mapping[str, int | str] = {
    "application_name": "instashare runner",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

# libpq gives no SQLSTATE for a refused log-in, only words (the last are the hosted poolers').
REFUSALS = (
    "password authentication failed",
    "is not permitted to log in",
    "no pg_hba.conf entry",
    "Tenant or user not found",
    "no password supplied",
)


class WrongCredentials(Exception):
    """The database refused the log-in. Trying again and again gets the address banned on a hosted project."""


class Connection:
    """One connection at a time, for the conversation's thread alone; only `cut` and `busy_seconds` are for others."""

    def __init__(self, url: str, wake: Literal["auto", "listen", "poll"] = "auto") -> None:
        self.pooled = wake == "poll" or (wake == "auto" and urlsplit(url).port == 6543)
        """No notifications can be had: poll."""
        self._url = url
        given = conninfo_to_dict(url)
        self._transport = {name: value for name, value in TRANSPORT.items() if given.get(name) is None}
        self._connection: psycopg.Connection[Any] | None = None
        self._statements = {name: text.encode() for name, text in queries.load("runner").items()}
        self._busy_since: float | None = None
        self._news = False
        self._probe_channel = f"instashare_probe_{uuid.uuid4().hex}"
        self._probed = False
        self.listening = False
        """Notifications were seen to arrive on this connection."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that was not seen to break."""
        return self._connection is not None and not self._connection.closed

    @property
    def hears(self) -> bool:
        """Whether notifications arrive, by the last probe; where they do not, poll."""
        return self.listening and not self.pooled

    def distrust(self, error: psycopg.Error) -> None:
        """Learn from an error that only a transaction pooler brings about: prepared statements that come and go."""
        if isinstance(error, psycopg.errors.InvalidSqlStatementName | psycopg.errors.DuplicatePreparedStatement):
            self.pooled = True

    def open(self) -> None:
        """Connect, and listen unless pooled. Raises psycopg.Error, or WrongCredentials."""
        self.close()
        try:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                prepare_threshold=None if self.pooled else 5,
                **self._transport,  # type: ignore[arg-type]  # libpq's parameters, not psycopg's own
            )
        except psycopg.OperationalError as error:
            if any(words in str(error) for words in REFUSALS):
                raise WrongCredentials(str(error).rpartition("FATAL:")[2].strip()) from None
            raise
        if not self.pooled:
            self._connection.add_notify_handler(self._hear)
            self._execute(f"listen {CHANNEL}; listen {self._probe_channel}".encode())
            self.probe()

    def close(self) -> None:
        """Drop the connection, if there is one."""
        self.listening = self._news = False
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                self._connection.close()
        self._connection = None

    def call(self, name: str, *parameters: Any) -> Any:
        """Run the query `name` of sql/runner.sql; the first column of its first row. Raises psycopg.Error."""
        return self._execute(self._statements[name], *parameters)

    def probe(self) -> None:
        """See whether notifications arrive: send one to ourselves. `listening` tells the outcome."""
        self._probed = False
        self._execute(b"select pg_notify(%s, '')", self._probe_channel)
        self._read_notices()
        self.listening = self._probed

    def announced(self) -> bool:
        """Read what came in by itself; True when a job was announced since last asked. Raises psycopg.Error."""
        self._read_notices()
        news, self._news = self._news, False
        return news

    def fileno(self) -> int | None:
        """The socket's file number for select, or None while there is nothing to wait for on it."""
        return self._connection.fileno() if self._connection is not None and self.is_open else None

    def busy_seconds(self) -> float:
        """How long the running call has taken; 0 without one. For the watching thread."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    def cut(self) -> None:
        """End a call that hangs, from another thread: it raises psycopg.OperationalError in its own.

        A server that is stopped but still reachable answers keepalives for ever; nothing else ends that wait.
        """
        connection = self._connection
        if connection is None:
            return
        with contextlib.suppress(psycopg.Error, OSError):
            line = socket.socket(fileno=os.dup(connection.fileno()))
            with line:
                line.shutdown(socket.SHUT_RDWR)

    def _execute(self, statement: bytes, *parameters: Any) -> Any:
        if self._connection is None:
            raise psycopg.OperationalError("there is no connection")
        self._busy_since = time.monotonic()
        try:
            cursor = self._connection.execute(statement, parameters or None)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
        finally:
            self._busy_since = None

    def _read_notices(self) -> None:
        if self._connection is None:
            return
        pgconn = self._connection.pgconn
        pgconn.consume_input()
        while notice := pgconn.notifies():
            if notice.relname == CHANNEL.encode():
                self._news = True
            elif notice.relname == self._probe_channel.encode():
                self._probed = True

    def _hear(self, notice: psycopg.Notify) -> None:
        if notice.channel == CHANNEL:
            self._news = True
        elif notice.channel == self._probe_channel:
            self._probed = True
