"""Refreshing sessions: one token is refreshed once, however many ask for it within hosted's reuse interval."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from local.gateway.upstream import Answer

__all__ = ["Refreshes"]

# SECURITY_REFRESH_TOKEN_REUSE_INTERVAL, hosted's default. Two tabs that wake at once both refresh; without this one of
# them would hold a token that was used already, and its next refresh would sign the person out everywhere.
REUSE_SECONDS = 10.0


class Refreshes:
    """Answers of the last seconds by a hash of the refresh token that they were given for."""

    def __init__(self, reuse_seconds: float = REUSE_SECONDS) -> None:
        self._reuse_seconds = reuse_seconds
        self._answers: dict[bytes, asyncio.Task[Answer]] = {}

    async def answer(self, token: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `ask` answers, asked once; a refusal or a failure is kept for nobody. Raises what `ask` raises."""
        if not token:
            return await ask()
        key = hashlib.sha256(token.encode()).digest()
        task = self._answers.get(key)
        if task is None:
            task = asyncio.ensure_future(ask())
            self._answers[key] = task
            task.add_done_callback(lambda done: self._keep(key, done))
        # a client that goes away must not take the refresh away from the others
        return await asyncio.shield(task)

    def _keep(self, key: bytes, done: asyncio.Future[Answer]) -> None:
        good = not done.cancelled() and done.exception() is None and done.result().status == 200
        if good:
            asyncio.get_running_loop().call_later(self._reuse_seconds, self._answers.pop, key, None)
        else:
            self._answers.pop(key, None)
