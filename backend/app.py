"""The slim API: rename a document, mint a download URL. Everything else clients ask of Supabase itself."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from prometheus_client import CollectorRegistry, Histogram

from backend import documents, operations, problems
from backend.identity import KeySet, Verifier
from backend.requests import RequestLog
from backend.settings import Settings, SettingsError, read_settings
from backend.supabase import Supabase
from backend.upstream import Upstream

__all__ = ["create_app"]

DESCRIPTION = """\
Renames documents and mints download URLs, with the rights of the user whose access token comes along
(`Authorization: Bearer …`). Everything else is Supabase's own API: accounts, documents, sharing and uploads.
Errors are problem documents (RFC 9457) with a stable `code`.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the ASGI application (`uvicorn backend.app:create_app --factory`).

    Settings come from the environment unless given; a fault in them ends the process with a sentence and status 2.
    """
    if settings is None:
        try:
            settings = read_settings()
        except SettingsError as error:
            print(f"The API cannot start. {error}", file=sys.stderr)
            raise SystemExit(2) from None
    _set_up_logs()
    registry = CollectorRegistry()
    upstream = Upstream()
    seconds = Histogram("instashare_supabase_seconds", "Time of calls to Supabase.", ("call",), registry=registry)
    keys = KeySet(upstream, f"{settings.base_url}/auth/v1/.well-known/jwks.json")

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        async with upstream:
            yield

    app = FastAPI(
        title="InstaShare", version="1", description=DESCRIPTION, lifespan=live, redoc_url=None, redirect_slashes=False
    )
    app.state.registry = registry
    app.state.verifier = Verifier(settings, keys)
    app.state.supabase = Supabase(settings, upstream, seconds)
    app.state.readiness = operations.Readiness(keys, app.state.supabase)
    problems.install(app)
    app.include_router(documents.router)
    app.include_router(operations.router)
    app.add_middleware(RequestLog, registry=registry)
    # Outermost, so that a web client can read every answer, refusals and faults included.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=["GET", "POST", "PATCH"],
        allow_headers=["Authorization", "Content-Type", "If-Match", "X-Request-ID", "apikey", "x-client-info"],
        expose_headers=["ETag", "Retry-After", "X-Request-ID"],
        max_age=600,
    )
    return app


def _set_up_logs() -> None:
    """One line a request on stdout, ours instead of the server's, which would hold what stands in a query."""
    logging.getLogger("uvicorn.access").disabled = True
    log = logging.getLogger("backend")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
