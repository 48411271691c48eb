"""Resumable upload by TUS 1.0: creation (with upload, with deferred length), termination, HEAD and PATCH.

Every POST, PATCH and DELETE probes the caller's permission again, with that request's token and x-upsert; signed
uploads (below /sign, with an x-signature) are not probed. Refusals have their real HTTP status and plain text: a
newline ends the protocol's own, none ends the service's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import uuid
from typing import Any

import psycopg

from local.storage import tus
from local.storage.database import SERVICE, Scope
from local.storage.errors import ProtocolError, StorageError, access_denied, invalid_request, of_database, of_disk
from local.storage.files import Writer
from local.storage.metadata import object_metadata
from local.storage.names import check_bucket_name, check_key, check_mime_type, check_path
from local.storage.objects import find_bucket, is_current, probe_upload
from local.storage.partial import Hold, PartialUpload, PartialUploads, UploadLocks
from local.storage.request import Answer, Request, json_answer, parsed_json
from local.storage.service import Service
from local.storage.signing import refused, verified
from local.storage.tokens import Caller, InvalidToken
from local.storage.uploads import finish_upload

__all__ = ["Resumable"]

LOG = logging.getLogger(__name__)


class Attempt:
    """One request about one upload: in whose name it is made, and whether that name is probed."""

    def __init__(self, request: Request, operation: str, caller: Caller, signed: bool) -> None:
        self.request, self.caller, self.signed = request, caller, signed
        self.scope: Scope = request.scope(operation + ("_signed" if signed else ""))
        self.owner, self.upsert = caller.owner, request.upsert


class Resumable:
    """The routes below /upload/resumable."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.uploads = PartialUploads(service.files)
        self.locks = UploadLocks()

    async def handle(self, request: Request) -> Answer | None:
        """Answer a request whose path begins with /upload/resumable; None when there is no such route."""
        rest = request.path.removeprefix(tus.PATH)
        signed = rest == "/sign" or rest.startswith("/sign/")
        identity = rest.removeprefix("/sign" if signed else "").removeprefix("/")
        at_root = not identity
        if request.method == "OPTIONS":
            return tus.options(self.service.settings.file_size_limit)
        if request.method not in ("POST", "PATCH", "HEAD", "DELETE", "PUT") or (at_root and request.method != "POST"):
            return None
        caller = SERVICE
        if not signed:
            try:
                caller = self.service.tokens.caller(request.headers.get("authorization", ""))
            except InvalidToken as problem:
                denied = access_denied(str(problem))
                body = denied.body()
                return json_answer({key: body[key] for key in ("statusCode", "code", "error", "message")}, 400)
        if fault := tus.fault_of_headers(request):
            return tus.text_answer(*fault, {})
        try:
            return await self.answer(request, identity, caller, signed)
        except ProtocolError as problem:
            return tus.text_answer(problem.status, problem.text + "\n")
        except StorageError as problem:
            return tus.text_answer(problem.status, problem.message)
        except psycopg.Error as problem:
            if problem.sqlstate is None:
                return tus.text_answer(500, "Something went wrong with that request\nThe database does not answer\n")
            denied = of_database(problem)
            return tus.text_answer(denied.status, denied.message)
        except OSError as problem:
            LOG.exception("%s %s", request.method, request.path)
            return tus.text_answer(500, of_disk(problem).message)

    async def answer(self, request: Request, identity: str, caller: Caller, signed: bool) -> Answer:
        match request.method:
            case "POST":
                return await self.create(Attempt(request, "storage.tus.upload.create", caller, signed))
            case "PATCH":
                return await self.append(Attempt(request, "storage.tus.upload.part", caller, signed), identity)
            case "HEAD":
                return await self.head(Attempt(request, "storage.tus.upload.get", caller, signed), identity)
            case "DELETE":
                return await self.terminate(Attempt(request, "storage.tus.upload.delete", caller, signed), identity)
        raise ProtocolError(404, "Not found")

    # ---- permission

    async def authorise(self, attempt: Attempt, upload: PartialUpload) -> None:
        """Raise unless the request may go on: by its signature, or by what the database says of its caller."""
        if attempt.signed:
            self.check_signature(attempt, upload.bucket, upload.key)
            return
        announced: dict[str, Any] = {}
        own = user_metadata(upload)
        if content_type := upload.metadata.get("contentType"):
            announced["mimetype"] = content_type
        if upload.size is not None:
            announced["contentLength"] = upload.size
        await probe_upload(
            self.service.database,
            attempt.caller,
            attempt.scope,
            upload.bucket,
            upload.key,
            owner=attempt.owner,
            upsert=attempt.upsert,
            metadata=announced,
            user_metadata=own,
        )

    def check_signature(self, attempt: Attempt, bucket: str, key: str) -> None:
        signature = attempt.request.headers.get("x-signature")
        if not signature:
            raise refused("Missing x-signature header")
        claims = verified(self.service, signature, "upload", bucket, key)
        attempt.owner, attempt.upsert = claims.get("owner"), claims.get("upsert") is True

    async def bucket_limit(self, attempt: Attempt, bucket: str) -> int:
        rules = await find_bucket(self.service.database, attempt.scope, bucket)
        return self.service.size_limit(rules["file_size_limit"] or None)  # 0 is no limit here, alone

    # ---- routes

    async def create(self, attempt: Attempt) -> Answer:
        headers = attempt.request.headers
        if "upload-concat" in headers:
            text = "Concatenation extension is not (yet) supported. Disable parallel uploads in the tus client."
            raise ProtocolError(501, text)
        if ("upload-length" in headers) == ("upload-defer-length" in headers):
            raise ProtocolError(*tus.LENGTH_REQUIRED)
        metadata = tus.parsed_metadata(headers["upload-metadata"]) if "upload-metadata" in headers else None
        if metadata is None:
            raise invalid_request("Metadata header is required")
        size = int(headers["upload-length"]) if "upload-length" in headers else None
        bucket, key = metadata.get("bucketName") or "", metadata.get("objectName") or ""
        upload = PartialUpload(bucket, key, str(uuid.uuid4()), size, metadata)
        check_bucket_name(bucket)
        check_key(key)
        if attempt.signed:
            self.check_signature(attempt, bucket, key)
        limit = await self.bucket_limit(attempt, bucket)
        if size is not None and size > limit:
            raise ProtocolError(*tus.MAXIMUM_EXCEEDED)
        await self.authorise(attempt, upload)
        rules = await find_bucket(self.service.database, attempt.scope, bucket)
        cache_control = metadata.get("cacheControl") or ""
        metadata["cacheControl"] = f"max-age={cache_control}" if re.fullmatch(r"-?\d+", cache_control) else "no-cache"
        if metadata.get("contentType") and rules["allowed_mime_types"] is not None:
            check_mime_type(metadata["contentType"] or "", rules["allowed_mime_types"])
        check_path(bucket, key, upload.version, "stub")
        answer = {
            "content_type": tus.TEXT,
            "location": tus.location(attempt.request, f"{bucket}/{key}/{upload.version}"),
        }
        async with self.locks.held(upload.version) as hold:
            try:
                await self.uploads.create(upload)
                if headers.get("content-type") == tus.CONTENT_TYPE:
                    await self.receive(attempt, upload, limit, hold)
                    answer["upload_offset"] = str(upload.offset)
                if upload.offset == size:
                    await self.finish(attempt, upload)
                    answer["tus_complete"] = "1"
            except BaseException:
                await self.uploads.remove(upload.version)  # nobody was told its address
                raise
        return tus.done(201, **answer)

    async def append(self, attempt: Attempt, identity: str) -> Answer:
        headers = attempt.request.headers
        if "upload-offset" not in headers:
            raise ProtocolError(403, "Upload-Offset header required")
        if "content-type" not in headers:
            raise ProtocolError(403, "Content-Type header required")
        upload = await self.find(attempt, identity)
        await self.authorise(attempt, upload)
        limit = await self.bucket_limit(attempt, upload.bucket)
        async with self.locks.held(upload.version) as hold:
            upload = await self.find_settled(attempt, identity)
            if int(headers["upload-offset"]) != upload.offset:
                raise ProtocolError(409, "Upload-Offset conflict")
            if "upload-length" in headers:
                size = int(headers["upload-length"])
                if upload.size is not None or size < upload.offset:
                    raise ProtocolError(*tus.LENGTH_REQUIRED)
                if size > limit:
                    raise ProtocolError(*tus.MAXIMUM_EXCEEDED)
                await self.uploads.declare_length(upload, size)
            await self.receive(attempt, upload, limit, hold)
            answer = {"upload_offset": str(upload.offset)}
            if upload.offset == upload.size:
                await self.finish(attempt, upload)
                answer["tus_complete"] = "1"
        return tus.done(204, **answer)

    async def head(self, attempt: Attempt, identity: str) -> Answer:
        bucket, key, version = tus.place(identity)
        if attempt.signed:
            self.check_signature(attempt, bucket, key)
        async with self.locks.held(version):
            upload = await self.find_settled(attempt, identity)
        answer = {"content_type": tus.TEXT, "cache_control": "no-store", "upload_offset": str(upload.offset)}
        answer |= {"upload_defer_length": "1"} if upload.size is None else {"upload_length": str(upload.size)}
        return tus.done(200, **answer, upload_metadata=tus.written_metadata(upload.metadata))

    async def terminate(self, attempt: Attempt, identity: str) -> Answer:
        upload = await self.find(attempt, identity)
        await self.authorise(attempt, upload)
        async with self.locks.held(upload.version):
            upload = await self.find_settled(attempt, identity)
            if upload.offset == upload.size:
                raise invalid_request("Cannot terminate an already completed upload")
            await self.uploads.remove(upload.version)
        return tus.done(204)

    # ---- steps

    async def find(self, attempt: Attempt, identity: str) -> PartialUpload:
        try:
            upload = await self.uploads.find(*tus.place(identity))
        except FileNotFoundError:
            raise ProtocolError(*tus.GONE) from None
        if upload is None:
            raise ProtocolError(*tus.NOT_FOUND)
        return upload

    async def find_settled(self, attempt: Attempt, identity: str) -> PartialUpload:
        """The upload, held by us; one that is complete without a row, for its last step failed, is open again."""
        upload = await self.find(attempt, identity)
        if upload.offset == upload.size and not upload.finished:
            place = upload.bucket, upload.key, upload.version
            if await is_current(self.service.database, *place):
                await self.uploads.mark_finished(upload)
            else:
                await self.uploads.reopen(upload)
        return upload

    async def receive(self, attempt: Attempt, upload: PartialUpload, limit: int, hold: Hold) -> None:
        """Append the body to the upload, until its end, the client's or the end of our hold; what came is kept."""
        room = (limit if upload.size is None else upload.size) - upload.offset
        if (attempt.request.content_length or 0) > room:
            raise ProtocolError(*tus.SIZE_EXCEEDED)
        if upload.offset == upload.size and not room:
            return await self.drain(attempt.request)
        ending = asyncio.create_task(hold.must_end())
        try:
            async with self.uploads.writer(upload) as writer:
                receiving = asyncio.create_task(copy(attempt.request, writer, room))
                try:
                    await asyncio.wait([receiving, ending], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    receiving.cancel()  # what it has handed to the writer is kept
                    await asyncio.wait([receiving])
                if not receiving.cancelled():
                    receiving.result()
        finally:
            ending.cancel()

    @staticmethod
    async def drain(request: Request) -> None:
        async for piece in request.pieces():
            if piece:
                raise ProtocolError(*tus.SIZE_EXCEEDED)

    async def finish(self, attempt: Attempt, upload: PartialUpload) -> None:
        """Make a complete upload an object. Refused by the database its bytes go, and its address is gone for good."""
        try:
            stored = await self.uploads.publish(upload)
        except FileNotFoundError:
            raise ProtocolError(*tus.GONE) from None
        mime_type = upload.metadata.get("contentType") or "application/octet-stream"
        metadata = object_metadata(stored, mime_type, upload.metadata.get("cacheControl") or "no-cache")
        own = user_metadata(upload)
        place = upload.bucket, upload.key, upload.version
        await finish_upload(
            self.service, attempt.scope, *place, attempt.owner, metadata, own, keep_user_metadata=own is None
        )
        await self.uploads.mark_finished(upload)


def user_metadata(upload: PartialUpload) -> Any:
    """The client's own metadata, JSON in the upload's; None when there is none or it is no such."""
    with contextlib.suppress(ValueError, RecursionError):
        return parsed_json(upload.metadata.get("metadata") or "")
    return None


async def copy(request: Request, writer: Writer, room: int) -> None:
    """Append the body. Raises ProtocolError for more than `room` bytes, ClientGone, OSError."""
    async for piece in request.pieces():
        room -= len(piece)
        if room < 0:
            raise ProtocolError(*tus.SIZE_EXCEEDED)
        await writer.write(piece)
