"""One refresh token is refreshed once, however many ask at the same time or shortly after."""

from __future__ import annotations

import asyncio

import pytest

from local.gateway.refresh import Refreshes
from local.gateway.upstream import Answer, UpstreamError


class Auth:
    """Answers a new token each time, after the others have had a chance to ask as well."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.calls = status, 0

    async def ask(self) -> Answer:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(0.01)
        return Answer(self.status, [], f"token {number}".encode())


def test_all_who_ask_at_once_get_the_same_answer() -> None:
    async def go() -> None:
        auth, refreshes = Auth(), Refreshes()
        answers = await asyncio.gather(*(refreshes.answer("r1", auth.ask) for _ in range(20)))
        assert auth.calls == 1 and {answer.body for answer in answers} == {b"token 1"}
        assert (await refreshes.answer("r1", auth.ask)).body == b"token 1"
        assert (await refreshes.answer("r2", auth.ask)).body == b"token 2"

    asyncio.run(go())


def test_answer_is_forgotten_after_the_interval() -> None:
    async def go() -> None:
        auth, refreshes = Auth(), Refreshes(reuse_seconds=0.02)
        await refreshes.answer("r1", auth.ask)
        deadline = asyncio.get_running_loop().time() + 5
        while (await refreshes.answer("r1", auth.ask)).body == b"token 1":
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)

    asyncio.run(go())


def test_refusal_is_kept_for_nobody() -> None:
    async def go() -> None:
        auth, refreshes = Auth(status=400), Refreshes()
        await refreshes.answer("r1", auth.ask)
        assert (await refreshes.answer("r1", auth.ask)).body == b"token 2"

    asyncio.run(go())


def test_failure_reaches_all_and_the_next_asks_anew() -> None:
    async def go() -> None:
        refreshes = Refreshes()

        async def fail() -> Answer:
            await asyncio.sleep(0.01)
            raise UpstreamError(503, "Auth is not running")

        outcomes = await asyncio.gather(*(refreshes.answer("r1", fail) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(outcome, UpstreamError) for outcome in outcomes)
        assert (await refreshes.answer("r1", Auth().ask)).body == b"token 1"

    asyncio.run(go())


def test_client_that_goes_away_takes_the_refresh_from_nobody() -> None:
    async def go() -> None:
        auth, refreshes = Auth(), Refreshes()
        gone = asyncio.ensure_future(refreshes.answer("r1", auth.ask))
        await asyncio.sleep(0)
        other = asyncio.ensure_future(refreshes.answer("r1", auth.ask))
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert (await other).body == b"token 1" and auth.calls == 1

    asyncio.run(go())


def test_missing_token_is_asked_for_each_time() -> None:
    async def go() -> None:
        auth, refreshes = Auth(), Refreshes()
        await asyncio.gather(refreshes.answer("", auth.ask), refreshes.answer("", auth.ask))
        assert auth.calls == 2

    asyncio.run(go())
