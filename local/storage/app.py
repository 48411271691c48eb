"""The Storage service as an ASGI application that clients cannot tell from Supabase's storage-api.

The gateway mounts it below /storage/v1 with the prefix removed from `path` and `raw_path`; the prefix itself reaches it
as `root_path` or X-Forwarded-Prefix, for the addresses of resumable uploads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import MutableMapping
from typing import Any

import psycopg

from local.storage.database import SERVICE, Database, Scope
from local.storage.errors import ClientGone, StorageError, access_denied, internal, of_database, of_disk
from local.storage.files import FileStore
from local.storage.request import Answer, Receive, Request, Send, json_answer
from local.storage.resumable import Resumable
from local.storage.routes import decoded_path, dispatch
from local.storage.service import Service
from local.storage.settings import HEADER_LIMIT, VERSION, StorageSettings
from local.storage.sweep import sweep
from local.storage.tokens import InvalidToken, TokenVerifier
from local.storage.tus import PATH as RESUMABLE_PATH
from local.storage.unserved import answer_unserved

__all__ = ["StorageApp", "create_app"]

LOG = logging.getLogger(__name__)
SWEEP_SECONDS = 3600
API_PATHS = ("/object", "/bucket", "/render", "/cdn", "/vector")  # here an unknown route has the API's own 404


class StorageApp:
    """One Storage service; `startup` and `shutdown` are called by whoever mounts it, or by the lifespan protocol."""

    def __init__(self, settings: StorageSettings) -> None:
        database = Database(settings.database_url, settings.database_connections, settings.root)
        tokens = TokenVerifier(settings.jwt_secret, settings.jwks)
        self.service = Service(settings, database, FileStore(settings.root), tokens)
        self.resumable = Resumable(self.service)
        self.sweeping: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Take the folder, connect, and clear away what a crash left.

        Raises BlockingIOError when another service has the folder, psycopg_pool.PoolTimeout without a database.
        """
        self.service.files.open()
        try:
            await self.service.database.open()
            await self.service.database.end_predecessors()
            await sweep(self.service.files, self.resumable.uploads, self.service.database)
        except BaseException:
            await self.service.database.close()
            self.service.files.close()
            raise
        self.sweeping = asyncio.create_task(self.keep_sweeping())

    async def shutdown(self) -> None:
        """Let go of the database and of the folder."""
        if self.sweeping:
            self.sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.sweeping
        await self.service.database.close()
        self.service.files.close()

    async def keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.service.files.run(self.resumable.uploads.sweep)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        elif scope["type"] == "http":
            await self.http(Request(scope, receive, send))

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.startup()
        except Exception as problem:
            await send({"type": "lifespan.startup.failed", "message": str(problem)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def http(self, request: Request) -> None:
        try:
            answer = await self.answer(request)
        except ClientGone:
            return
        except StorageError as problem:
            answer = self.refusal(problem)
        except psycopg.Error as problem:
            answer = self.refusal(of_database(problem))
            if problem.sqlstate is None:
                LOG.warning("%s %s: %s", request.method, request.path, problem)
        except Exception as problem:
            LOG.exception("%s %s", request.method, request.path)
            if request.answered:
                raise
            answer = self.refusal(of_disk(problem) if isinstance(problem, OSError) else internal())
        if answer:
            await request.answer(answer)

    @staticmethod
    def refusal(problem: StorageError) -> Answer:
        return json_answer(problem.body(), problem.http_status)

    async def answer(self, request: Request) -> Answer | None:
        """The answer to a request; None when it has been sent already."""
        if request.header_bytes > HEADER_LIMIT:
            text = {
                "error": "Request Header Fields Too Large",
                "message": "Exceeded maximum allowed HTTP header size",
                "statusCode": 431,
            }
            return json_answer(text, 431, "application/json")
        try:
            decoded_path(request.path)
        except ValueError:
            message = f"'{request.path}' is not a valid url component"
            text = {"error": "Bad Request", "code": "FST_ERR_BAD_URL", "message": message, "statusCode": 400}
            return json_answer(text, 400, "application/json")
        if request.path.startswith(("/object/", "/bucket", "/cdn")):
            with contextlib.suppress(LookupError):
                return await dispatch(self.service, request)
        elif request.path == RESUMABLE_PATH or request.path.startswith(f"{RESUMABLE_PATH}/"):
            if answer := await self.resumable.handle(request):
                return answer
        elif answer := answer_unserved(request):
            return answer
        elif request.method in ("GET", "HEAD"):
            match request.path:
                case "/status":
                    return Answer(200)
                case "/version":
                    return Answer(200, {"content-type": "text/plain; charset=utf-8"}, VERSION.encode())
                case "/health":
                    return await self.health(request)
        return self.no_route(request)

    async def health(self, request: Request) -> Answer:
        try:
            self.service.tokens.caller(request.headers.get("authorization", ""))
        except InvalidToken as problem:
            body = access_denied(str(problem)).body()
            return json_answer({name: body[name] for name in ("statusCode", "code", "error", "message")}, 400)
        try:
            async with self.service.database.transaction(SERVICE, Scope("")) as cursor:
                await cursor.execute("select id from storage.buckets limit 1")
        except psycopg.Error:
            return json_answer({"healthy": False})
        return json_answer({"healthy": True})

    @staticmethod
    def no_route(request: Request) -> Answer:
        message = f"Route {request.method}:{request.url} not found"
        if any(request.path == path or request.path.startswith(f"{path}/") for path in API_PATHS):
            problem = StorageError(404, "Not Found", message, "InvalidRequest", 404)
            return json_answer(problem.body(), 404, "application/json")
        return json_answer({"message": message, "error": "Not Found", "statusCode": 404}, 404)


def create_app(settings: StorageSettings) -> StorageApp:
    """The Storage service with these settings, not started yet."""
    return StorageApp(settings)
