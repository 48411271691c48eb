"""Transactions in the role of a caller, with the settings that policies and triggers of a hosted project read.

A connection is held for one short transaction and never while bytes travel, so slow clients cannot exhaust the pool.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import select
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import Escaping, TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from local.storage.prepared import Prepared, Values
from local.storage.tokens import Caller

__all__ = ["SERVICE", "Cursor", "Database", "Row", "Scope", "Statement", "unless_refused", "was_rolled_back"]

T = TypeVar("T")
Row: TypeAlias = dict[str, Any]
Statement: TypeAlias = tuple[str, Values]
Connection: TypeAlias = psycopg.AsyncConnection[Row]
Cursor: TypeAlias = psycopg.AsyncCursor[Row]

SERVICE = Caller("service_role", {"role": "service_role"})  # the service itself: no user, no row level security

# Their values are not sent back: headers and token are kilobytes.
SETTINGS = """
    select length(concat(
        set_config('role', %(role)s, true),
        set_config('request.jwt.claim.role', %(role)s, true),
        set_config('request.jwt', %(token)s, true),
        set_config('request.jwt.claim.sub', %(sub)s, true),
        set_config('request.jwt.claims', %(claims)s, true),
        set_config('request.headers', %(headers)s, true),
        set_config('request.method', %(method)s, true),
        set_config('request.path', %(path)s, true),
        set_config('storage.operation', %(operation)s, true),
        set_config('storage.allow_delete_query', 'true', true)
    ))
"""


@dataclass(frozen=True)
class Scope:
    """What a transaction's settings tell of the request it serves; `operation` is what storage.operation() answers."""

    operation: str
    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def was_rolled_back(problem: psycopg.Error) -> bool:
    """Whether the transaction is certainly undone: the server itself said so, and did not just go away."""
    return problem.sqlstate is not None and not problem.sqlstate.startswith(("08", "57P"))


async def unless_refused(answer: Awaitable[T]) -> T | None:
    """The answer, or None where the database refused. Raises psycopg.Error when it did not answer at all."""
    try:
        return await answer
    except psycopg.Error as problem:
        if problem.sqlstate is None:
            raise
        return None


async def check(connection: Connection) -> None:
    """Raise when Postgres has closed an idle connection, as it does when it stops.

    An idle connection with nothing to read is alive as far as anybody can tell: to ask would cost a round trip.
    """
    if select.select([connection.fileno()], [], [], 0)[0]:
        await AsyncConnectionPool.check_connection(connection)


class Database:
    """A pool of connections as supabase_storage_admin."""

    def __init__(self, url: str, connections: int, folder: Path) -> None:
        """`folder` is where the bytes lie: it tells this service's sessions from those of one before it."""
        self.family = f"storage {hashlib.sha256(bytes(folder.resolve())).hexdigest()[:16]}:"
        self.name = self.family + secrets.token_hex(4)
        self.prepared: WeakKeyDictionary[Connection, Prepared] = WeakKeyDictionary()
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=connections,
            timeout=10,
            reconnect_timeout=5,  # longer, and its doubling pauses outlast an outage by a minute
            open=False,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                # the driver's own would have it deallocate all after a rollback, ours too
                "prepare_threshold": None,
                "options": "-c statement_timeout=30s",
                "application_name": self.name,
            },
            check=check,
        )

    async def open(self) -> None:
        """Connect. Raises psycopg_pool.PoolTimeout when the database does not answer."""
        await self.pool.open(wait=True, timeout=20)

    async def end_predecessors(self) -> None:
        """End the sessions of a service that was killed: one may still wait for a lock, with its commit already sent.

        Without this such a row would appear after the sweep had taken its bytes for nobody's.
        """
        async with self.pool.connection() as connection:
            await connection.execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
                " where usename = session_user and starts_with(application_name, %s) and application_name <> %s",
                [self.family, self.name],
            )

    async def close(self) -> None:
        """Give all connections back to the server."""
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self, caller: Caller, scope: Scope, *, undo: bool = False) -> AsyncIterator[Cursor]:
        """One transaction in the caller's role; `undo` rolls it back at its end, as a probe of permissions is."""
        async with self.pool.connection() as connection, connection.transaction(force_rollback=undo):
            cursor = connection.cursor()
            await self.become(cursor, caller, scope)
            yield cursor

    async def at_once(
        self, caller: Caller, scope: Scope, *statements: Statement, first: Sequence[Statement] = (), undo: bool = False
    ) -> list[list[Row]]:
        """One transaction in the caller's role, in one round trip, of statements that need not wait for one another.

        `first` are statements of the service itself, before the role is taken. Answers with the rows of each, `first`
        included; of what is undone with those of `first` alone. A round trip for each step cost small uploads and
        downloads half of their speed.
        """
        every: list[tuple[str | None, str, Values]] = [(None, *statement) for statement in first]
        every += [(caller.role, text, values) for text, values in ((SETTINGS, settings(caller, scope)), *statements)]
        async with self.pool.connection() as connection:
            try:
                return await self.run_at_once(connection, every, len(first), undo)
            except psycopg.errors.FeatureNotSupported as problem:
                if "cached plan" not in str(problem):
                    raise
            # somebody has changed a table's columns; nothing was done yet
            await self.forget_prepared(connection)
            return await self.run_at_once(connection, every, len(first), undo)

    async def run_at_once(
        self, connection: Connection, every: Sequence[tuple[str | None, str, Values]], first: int, undo: bool
    ) -> list[list[Row]]:
        prepared = self.prepared.get(connection)
        if prepared is None:
            prepared = self.prepared[connection] = Prepared(Escaping(connection.pgconn))
        calls = [prepared.call(role, text, values) for role, text, values in every]
        if made := prepared.take_unmade():
            try:
                await connection.cursor().execute("; ".join(made).encode())
            except psycopg.Error:
                await self.forget_prepared(connection)  # nobody knows which of them are there
                raise
        cursor = connection.cursor()
        try:
            await cursor.execute("; ".join(["begin", *calls, "rollback" if undo else "commit"]).encode())
        except psycopg.Error:
            if connection.info.transaction_status != TransactionStatus.UNKNOWN:  # that is: as long as it is open
                await connection.rollback()
            raise
        answers = []
        for place in range(first if undo else len(every)):
            if place == first:  # the settings
                continue
            await cursor.set_result(place + 1)  # behind that of `begin`
            answers.append(await cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else [])
        return answers

    async def forget_prepared(self, connection: Connection) -> None:
        self.prepared.pop(connection, None)
        if not connection.closed:
            await connection.execute("deallocate all")

    async def become(self, cursor: Cursor, caller: Caller, scope: Scope) -> None:
        """Go on in this transaction with another caller's role and claims."""
        await cursor.execute(SETTINGS, settings(caller, scope))

    async def versions(self) -> set[str]:
        """The version of every object there is."""
        async with self.pool.connection() as connection, connection.transaction():
            cursor = connection.cursor(name="versions")
            async with cursor:
                await self.become(connection.cursor(), SERVICE, Scope(""))
                await cursor.execute("select version from storage.objects where version is not null")
                return {row["version"] async for row in cursor}


def settings(caller: Caller, scope: Scope) -> dict[str, str]:
    return {
        "role": caller.role,
        "token": caller.token,
        "sub": caller.owner or "",
        "claims": json.dumps(caller.claims),
        "headers": json.dumps(scope.headers),
        "method": scope.method,
        "path": scope.path,
        "operation": scope.operation,
    }
