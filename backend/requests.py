"""Around every request: an id, one log line without secrets, a measurement, and an answer even to a fault of ours."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.problems import Problem, answer_problem

__all__ = ["RequestLog", "access_log"]

access_log = logging.getLogger("backend.requests")
fault_log = logging.getLogger("backend.faults")

ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds: logged only when they fail


class RequestLog:
    """ASGI middleware. A client's own X-Request-ID is kept if it is plain; the answer bears it in any case."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter(
            "instashare_requests", "Answered requests.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "instashare_request_seconds", "Time to the end of the answer.", ("method", "route"), registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _choose_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception:
            fault_log.exception("request %s failed", request_id)
            if status:
                raise  # the answer has begun: only a broken connection can tell
            problem = Problem(500, "internal_error", "InstaShare failed. The log knows why.", request_id=request_id)
            await answer_problem(problem)(scope, receive, send_marked)
        finally:
            self._note(scope, status, request_id, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, request_id: str, seconds: float) -> None:
        path, method = scope["path"], scope["method"]
        # The template, not the path: a label for every document would never end.
        route = getattr(scope.get("route"), "path", "unmatched")
        method = method if method in ("GET", "HEAD", "POST", "PATCH", "OPTIONS", "PUT", "DELETE") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        if path in QUIET and status < 400:
            return
        line = {
            "request_id": request_id,
            "method": method,
            "path": path[:200],
            "status": status,
            "ms": round(seconds * 1000, 1),
            "user": scope["state"].get("user"),
        }
        access_log.info("%s", json.dumps(line))


def _choose_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if ACCEPTABLE_ID.fullmatch(text):
                return str(text)
    return secrets.token_hex(8)
