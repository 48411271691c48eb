"""What operators and load balancers ask: alive, ready, how much."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from backend.identity import KeySet
from backend.problems import Problem, answer_problem
from backend.supabase import Supabase

__all__ = ["Readiness", "router"]

KEPT_SECONDS = 2  # several probes at once cost Supabase one round of requests

router = APIRouter(tags=["operations"])


class Readiness:
    """Whether everything that the API stands on answers; an answer is kept for two seconds."""

    def __init__(self, keys: KeySet, supabase: Supabase) -> None:
        self._keys, self._supabase = keys, supabase
        self._lock = asyncio.Lock()
        self._found: tuple[float, dict[str, bool]] | None = None

    async def check(self) -> dict[str, bool]:
        """The names `auth`, `rest`, `storage`, each with whether it answers."""
        async with self._lock:
            if self._found is None or time.monotonic() - self._found[0] > KEPT_SECONDS:
                auth, others = await asyncio.gather(self._reach_auth(), self._supabase.reach())
                self._found = time.monotonic(), {"auth": auth, **others}
            return self._found[1]

    async def _reach_auth(self) -> bool:
        try:
            await self._keys.fetch()
        except Problem:
            return False
        return True


@router.get("/healthz", summary="Is the process alive?")
async def tell_health() -> dict[str, str]:
    """Answers as long as the process can answer at all."""
    return {"status": "ok"}


@router.get("/readyz", summary="Can it do its work?", responses={503: {"description": "Something does not answer."}})
async def tell_readiness(request: Request) -> Response:
    """Asks for the project's signing keys, REST with its database, and Storage."""
    readiness: Readiness = request.app.state.readiness
    checks = await readiness.check()
    if all(checks.values()):
        return JSONResponse({"status": "ready", "checks": checks})
    missing = ", ".join(name for name, answers in checks.items() if not answers)
    members: dict[str, Any] = {"checks": checks}
    headers = {"Retry-After": "2"}
    return answer_problem(Problem(503, "not_ready", f"No answer from: {missing}.", headers=headers, **members))


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def tell_metrics(request: Request) -> Response:
    """Requests by route and status, and how long they and the calls to Supabase took."""
    registry: CollectorRegistry = request.app.state.registry
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # one of several processes: their figures together, out of its files
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
