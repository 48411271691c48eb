"""Transactions in the role of a caller, with the settings that policies and triggers of a hosted project read.

A connection is held for one short transaction and never while bytes travel, so slow clients cannot exhaust the pool.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import select
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from local.storage.tokens import Caller

__all__ = ["SERVICE", "Cursor", "Database", "Row", "Scope", "Statement", "was_rolled_back"]

Row: TypeAlias = dict[str, Any]
Statement: TypeAlias = tuple[str, Sequence[Any] | Mapping[str, Any]]
Connection: TypeAlias = psycopg.AsyncConnection[Row]
Cursor: TypeAlias = psycopg.AsyncCursor[Row]

SERVICE = Caller("service_role", {"role": "service_role"})  # the service itself: no user, no row level security

SETTINGS = """
    select
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
        self, caller: Caller, scope: Scope, *statements: Statement, undo: bool = False
    ) -> list[list[Row]]:
        """One transaction in the caller's role, in one round trip, of statements that need not wait for one another.

        Answers with the rows of each. A round trip for each step cost small uploads and downloads half of their speed.
        """
        async with self.pool.connection() as connection:
            cursor = psycopg.AsyncClientCursor(connection)
            texts = [
                cursor.mogrify(text, values) for text, values in ((SETTINGS, settings(caller, scope)), *statements)
            ]
            whole = "; ".join(["begin", *texts, "rollback" if undo else "commit"])
            try:
                await cursor.execute(whole.encode())
            except psycopg.Error:
                if connection.info.transaction_status != TransactionStatus.UNKNOWN:  # that is: as long as it is open
                    await connection.rollback()
                raise
            answers = []
            for place in range(2, 2 + len(statements)):  # behind those of `begin` and of the settings
                await cursor.set_result(place)
                answers.append(await cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else [])
            return answers

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
