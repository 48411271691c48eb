"""Resumable upload by TUS 1.0: creation (with upload, with deferred length), termination, HEAD and PATCH.

Every POST, PATCH and DELETE probes the caller's permission again, with that request's token and x-upsert; signed
uploads (below /sign, with an x-signature) are not probed. Refusals have their real HTTP status and plain text: a
newline ends the protocol's own, none ends the service's.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import psycopg

from local.storage.database import SERVICE, Scope
from local.storage.errors import ProtocolError, StorageError, access_denied, invalid_request, of_database
from local.storage.names import check_bucket_name, check_key, check_mime_type, check_path
from local.storage.objects import find_bucket, probe_upload
from local.storage.partial import Hold, PartialUpload, PartialUploads, UploadLocks
from local.storage.request import Answer, Request, json_answer
from local.storage.service import Service
from local.storage.signing import refused, verified
from local.storage.tokens import Caller, InvalidToken
from local.storage.uploads import finish_upload, object_metadata

__all__ = ["Resumable"]

PATH = "/upload/resumable"
CONTENT_TYPE = "application/offset+octet-stream"
TEXT = "text/plain;charset=UTF-8"
NAMES = (
    "Authorization, Content-Type, Location, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Concat, "
    "Upload-Defer-Length, Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override, X-Requested-With, "
    "X-Forwarded-Host, X-Forwarded-Proto, Forwarded,"
)
CORS = {"access-control-allow-origin": "*", "access-control-expose-headers": NAMES}
WHOLE_NUMBER = re.compile(r"0|[1-9]\d*", re.ASCII)
METADATA_KEY = re.compile(r"[!-+\--~]+")  # ASCII without space and comma
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

LENGTH_REQUIRED = ProtocolError(400, "Upload-Length or Upload-Defer-Length header required")
NOT_FOUND = ProtocolError(404, "The file for this url was not found")
GONE = ProtocolError(410, "The file for this url no longer exists")
MAXIMUM_EXCEEDED = ProtocolError(413, "Maximum size exceeded")
SIZE_EXCEEDED = ProtocolError(413, "upload's size exceeded")


def parsed_metadata(text: str) -> dict[str, str | None] | None:
    """The pairs of an Upload-Metadata header, None when it is malformed."""
    pairs: dict[str, str | None] = {}
    for part in text.split(","):
        words = part.split(" ")
        valid = METADATA_KEY.fullmatch(words[0]) and words[0] not in pairs and len(words) <= 2
        if not valid or (len(words) == 2 and not BASE64.fullmatch(words[1])):
            return None
        pairs[words[0]] = base64.b64decode(words[1]).decode("utf-8", "replace") if len(words) == 2 else None
    return pairs


def written_metadata(metadata: dict[str, str | None]) -> str:
    """The header that `parsed_metadata` reads."""
    pairs = ((key, value) for key, value in metadata.items())
    return ",".join(
        key if value is None else f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs
    )


CHECKS: dict[str, Callable[[str], object]] = {
    "upload-offset": lambda text: WHOLE_NUMBER.fullmatch(text),
    "upload-length": lambda text: WHOLE_NUMBER.fullmatch(text),
    "upload-defer-length": lambda text: text.strip() == "1",
    "upload-metadata": lambda text: parsed_metadata(text) is not None,
    "upload-concat": lambda text: text == "partial" or text.startswith("final;"),
    "x-forwarded-proto": lambda text: text in ("http", "https"),
    "tus-version": lambda text: "1.0.0" in [version.strip() for version in text.split(",")],
    "tus-resumable": lambda text: text == "1.0.0",
    "content-type": lambda text: text == CONTENT_TYPE,
}


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
        rest = request.path.removeprefix(PATH)
        signed = rest == "/sign" or rest.startswith("/sign/")
        identity = rest.removeprefix("/sign" if signed else "").removeprefix("/")
        at_root = not identity
        if request.method == "OPTIONS":
            return self.options()
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
        if fault := self.fault_of_headers(request):
            return self.text(*fault, {})
        try:
            return await self.answer(request, identity, caller, signed)
        except ProtocolError as problem:
            return self.text(problem.status, problem.text + "\n")
        except StorageError as problem:
            return self.text(problem.status, problem.message)
        except psycopg.Error as problem:
            if problem.sqlstate is None:
                return self.text(500, "Something went wrong with that request\nThe database does not answer\n")
            denied = of_database(problem)
            return self.text(denied.status, denied.message)

    def fault_of_headers(self, request: Request) -> tuple[int, str] | None:
        """The protocol's first look at the headers; its answers have no CORS headers yet."""
        if "tus-resumable" not in request.headers:
            return 412, "Tus-Resumable Required\n"
        for name, text in request.headers.items():
            if name == "content-type" and request.method != "PATCH":
                continue
            if name in CHECKS and not CHECKS[name](text):
                return 400, f"Invalid {name}\n"
        return None

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

    # ---- answers

    def options(self) -> Answer:
        headers = {
            "access-control-allow-headers": f"{NAMES} Authorization, X-Upsert, Upload-Expires, ApiKey, x-signature",
            "access-control-allow-methods": "POST, HEAD, PATCH, OPTIONS, DELETE",
            "access-control-max-age": "86400",
            "tus-extension": "creation,creation-with-upload,creation-defer-length,termination,expiration",
            "tus-max-size": str(self.service.settings.file_size_limit),
            "tus-resumable": "1.0.0",
            "tus-version": "1.0.0",
        }
        return Answer(204, headers | CORS)

    @staticmethod
    def text(status: int, text: str, more: dict[str, str] = CORS) -> Answer:
        return Answer(status, {"content-type": TEXT, "tus-resumable": "1.0.0", **more}, text.encode())

    @staticmethod
    def done(status: int, **headers: str) -> Answer:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return Answer(status, {"tus-resumable": "1.0.0", **CORS, **named}, sized=False)

    def location(self, attempt: Attempt, upload: PartialUpload) -> str:
        """The upload's address as the client sees it, through the gateway's forwarding headers or the mount."""
        headers = attempt.request.headers
        proto, host = headers.get("x-forwarded-proto", "http"), headers.get("host", "localhost")
        if forwarded := headers.get("forwarded"):
            if found := re.search(r'host="?([^";,]+)', forwarded, re.IGNORECASE):
                host = found[1]
            if found := re.search(r'proto="?(https?)', forwarded, re.IGNORECASE):
                proto = found[1].lower()
        elif headers.get("x-forwarded-host"):
            host = headers["x-forwarded-host"]
            port = headers.get("x-forwarded-port", "")
            if port and port not in ("80", "443"):
                host = re.sub(r":\d+$", "", host) + f":{port}"
        prefix = headers.get("x-forwarded-prefix", attempt.request.mount).rstrip("/")
        path = PATH + ("/sign" if attempt.request.path.endswith("/sign") else "")
        name = f"{upload.bucket}/{upload.key}/{upload.version}"
        return f"{proto}://{host}{prefix}{path}/{base64.urlsafe_b64encode(name.encode()).rstrip(b'=').decode()}"

    # ---- permission

    async def authorise(self, attempt: Attempt, upload: PartialUpload) -> None:
        """Raise unless the request may go on: by its signature, or by what the database says of its caller."""
        if attempt.signed:
            self.check_signature(attempt, upload.bucket, upload.key)
            return
        announced: dict[str, Any] = {}
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
        )

    def check_signature(self, attempt: Attempt, bucket: str, key: str) -> None:
        signature = attempt.request.headers.get("x-signature")
        if not signature:
            raise refused("Missing x-signature header")
        claims = verified(self.service, signature, "upload", bucket, key)
        attempt.owner, attempt.upsert = claims.get("owner"), claims.get("upsert") is True

    async def bucket_limit(self, attempt: Attempt, bucket: str) -> int:
        rules = await find_bucket(self.service.database, attempt.scope, bucket)
        return self.service.size_limit(rules["file_size_limit"])

    # ---- routes

    async def create(self, attempt: Attempt) -> Answer:
        headers = attempt.request.headers
        if "upload-concat" in headers:
            text = "Concatenation extension is not (yet) supported. Disable parallel uploads in the tus client."
            raise ProtocolError(501, text)
        if ("upload-length" in headers) == ("upload-defer-length" in headers):
            raise LENGTH_REQUIRED
        metadata = parsed_metadata(headers["upload-metadata"]) if "upload-metadata" in headers else None
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
            raise MAXIMUM_EXCEEDED
        await self.authorise(attempt, upload)
        rules = await find_bucket(self.service.database, attempt.scope, bucket)
        cache_control = metadata.get("cacheControl") or ""
        metadata["cacheControl"] = f"max-age={cache_control}" if re.fullmatch(r"-?\d+", cache_control) else "no-cache"
        if metadata.get("contentType") and rules["allowed_mime_types"] is not None:
            check_mime_type(metadata["contentType"] or "", rules["allowed_mime_types"])
        check_path(bucket, key, upload.version, "stub")
        answer = {"content_type": TEXT, "location": self.location(attempt, upload)}
        async with self.locks.held(upload.version) as hold:
            await self.uploads.create(upload)
            if headers.get("content-type") == CONTENT_TYPE:
                await self.receive(attempt, upload, limit, hold)
                answer["upload_offset"] = str(upload.offset)
            if upload.offset == size:
                await self.finish(attempt, upload)
                answer["tus_complete"] = "1"
        return self.done(201, **answer)

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
            upload = await self.find(attempt, identity)
            if int(headers["upload-offset"]) != upload.offset:
                raise ProtocolError(409, "Upload-Offset conflict")
            if "upload-length" in headers:
                size = int(headers["upload-length"])
                if upload.size is not None or size < upload.offset:
                    raise LENGTH_REQUIRED
                if size > limit:
                    raise MAXIMUM_EXCEEDED
                await self.uploads.declare_length(upload, size)
            await self.receive(attempt, upload, limit, hold)
            answer = {"upload_offset": str(upload.offset)}
            if upload.offset == upload.size:
                await self.finish(attempt, upload)
                answer["tus_complete"] = "1"
        return self.done(204, **answer)

    async def head(self, attempt: Attempt, identity: str) -> Answer:
        bucket, key, version = self.place(identity)
        if attempt.signed:
            self.check_signature(attempt, bucket, key)
        async with self.locks.held(version):
            upload = await self.find(attempt, identity)
        answer = {"content_type": TEXT, "cache_control": "no-store", "upload_offset": str(upload.offset)}
        answer |= {"upload_defer_length": "1"} if upload.size is None else {"upload_length": str(upload.size)}
        return self.done(200, **answer, upload_metadata=written_metadata(upload.metadata))

    async def terminate(self, attempt: Attempt, identity: str) -> Answer:
        upload = await self.find(attempt, identity)
        await self.authorise(attempt, upload)
        async with self.locks.held(upload.version):
            upload = await self.find(attempt, identity)
            if upload.offset == upload.size:
                raise invalid_request("Cannot terminate an already completed upload")
            await self.uploads.remove(upload.version)
        return self.done(204)

    # ---- steps

    @staticmethod
    def place(identity: str) -> tuple[str, str, str]:
        """Bucket, key and version of an upload's address."""
        try:
            text = base64.urlsafe_b64decode(identity.rstrip("/") + "=" * (-len(identity.rstrip("/")) % 4)).decode()
        except (binascii.Error, ValueError):
            text = ""
        bucket, _, rest = text.partition("/")
        key, _, version = rest.rpartition("/")
        if not (bucket and key and version):
            raise invalid_request("Invalid upload id")
        check_bucket_name(bucket)
        check_key(key)
        return bucket, key, version

    async def find(self, attempt: Attempt, identity: str) -> PartialUpload:
        try:
            upload = await self.uploads.find(*self.place(identity))
        except FileNotFoundError:
            raise GONE from None
        if upload is None:
            raise NOT_FOUND
        return upload

    async def receive(self, attempt: Attempt, upload: PartialUpload, limit: int, hold: Hold) -> None:
        """Append the body to the upload, until its end, the client's or the end of our hold; what came is kept."""
        room = (limit if upload.size is None else upload.size) - upload.offset
        if (attempt.request.content_length or 0) > room:
            raise SIZE_EXCEEDED
        if upload.offset == upload.size and not room:
            return await self.drain(attempt.request)
        ending = asyncio.create_task(hold.must_end())
        try:
            async with self.uploads.writer(upload) as writer:
                while True:
                    reading = asyncio.create_task(attempt.request.piece())
                    await asyncio.wait([reading, ending], return_when=asyncio.FIRST_COMPLETED)
                    if not reading.done():
                        reading.cancel()
                        break
                    piece = reading.result()
                    if piece is None:
                        break
                    if len(piece) > room:
                        raise SIZE_EXCEEDED
                    room -= len(piece)
                    await writer.write(piece)
        finally:
            ending.cancel()

    @staticmethod
    async def drain(request: Request) -> None:
        async for piece in request.pieces():
            if piece:
                raise SIZE_EXCEEDED

    async def finish(self, attempt: Attempt, upload: PartialUpload) -> None:
        """Make a complete upload an object. Refused by the database its bytes go, and its address is gone for good."""
        try:
            stored = await self.uploads.publish(upload)
        except FileNotFoundError:
            raise GONE from None
        mime_type = upload.metadata.get("contentType") or "application/octet-stream"
        metadata = object_metadata(stored, mime_type, upload.metadata.get("cacheControl") or "no-cache")
        own = None
        if text := upload.metadata.get("metadata"):
            try:
                own = json.loads(text)
            except ValueError:
                own = None
        place = upload.bucket, upload.key, upload.version
        await finish_upload(self.service, attempt.scope, *place, attempt.owner, metadata, own)
