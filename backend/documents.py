"""The two routes: rename a document, mint a download URL."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.identity import CallerDependency
from backend.problems import Problem, invalid, unavailable
from backend.supabase import ArchiveMissing, Supabase

__all__ = ["Document", "DownloadUrl", "router"]

LARGEST_BODY = 16 * 1024  # bytes; a name has 255 at most
DEFAULT_SECONDS = 60
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL's text holds neither NUL nor half a surrogate pair
ENTITY_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')

router = APIRouter(tags=["documents"])
Body = TypeVar("Body", bound=BaseModel)


class Rename(BaseModel):
    """The new name, extension included."""

    model_config = ConfigDict(extra="forbid")
    name: str


class DownloadRequest(BaseModel):
    """For how many seconds the URL shall work."""

    model_config = ConfigDict(extra="forbid")
    expires_in: int = Field(DEFAULT_SECONDS, ge=30, le=3600, strict=True)


class Document(BaseModel):
    """A document as its reader sees it; sizes in bytes, progress from 0 to 1."""

    id: UUID
    owner_id: UUID
    name: str
    name_revision: int
    size_bytes: int
    mime_type: str
    status: str
    progress: float
    error: str | None
    archive_size_bytes: int | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class DownloadUrl(BaseModel):
    """A link to the ZIP: anybody who has it may download until `expires_at`."""

    url: str
    filename: str
    size_bytes: int
    expires_at: datetime


async def find_id(
    caller: CallerDependency,
    document_id: Annotated[str, Path(description="The document's id.", json_schema_extra={"format": "uuid"})],
) -> UUID:
    """The id in the path, asked for after the caller is known; what is no uuid names no document."""
    try:
        return UUID(document_id)
    except ValueError:
        raise _not_found() from None


async def get_supabase(request: Request) -> Supabase:  # a plain function would be called on a thread
    """The process's calls to Supabase."""
    supabase: Supabase = request.app.state.supabase
    return supabase


async def read_rename(caller: CallerDependency, request: Request) -> Rename:
    """The body of a rename, read after the caller is known."""
    return await _read_body(request, Rename)


async def read_download_request(caller: CallerDependency, request: Request) -> DownloadRequest:
    """The body of a download request, which may be missing."""
    return await _read_body(request, DownloadRequest, optional=True)


Id = Annotated[UUID, Depends(find_id)]
Upstream = Annotated[Supabase, Depends(get_supabase)]

ANSWERS: dict[int | str, dict[str, Any]] = {
    401: {"description": "No valid token (token_missing, token_invalid, token_expired)."},
    404: {"description": "No such document, as far as the caller can see (document_not_found)."},
    422: {"description": "The request or the name is not valid (request_invalid, name_invalid)."},
    503: {"description": "Supabase does not answer (supabase_unavailable, auth_unavailable)."},
}


def _describe_body(model: type[BaseModel], required: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


@router.patch(
    "/documents/{document_id}",
    summary="Rename a document",
    response_model=Document,
    responses={
        **ANSWERS,
        403: {"description": "The document is visible to the caller, but not his (not_allowed)."},
        412: {"description": "The name was changed since (revision_mismatch); the ETag is the current one."},
    },
    openapi_extra=_describe_body(Rename, required=True),
)
async def rename(
    caller: CallerDependency,
    document_id: Id,
    change: Annotated[Rename, Depends(read_rename)],
    request: Request,
    response: Response,
    supabase: Upstream,
) -> Any:
    """Give a document another name, with `If-Match` only over the revision that the caller has seen.

    The ETag is the name's revision, so progress and status never spoil it. The ZIP follows by itself.
    """
    revisions = _read_if_match(request.headers.getlist("if-match"))
    if UNSTORABLE.search(change.name):
        raise Problem(422, "name_invalid", "A name cannot contain control characters.")
    row = None
    if revisions != []:
        row = await supabase.rename(caller, document_id, change.name, revisions)
    if row is None:
        raise _explain_unchanged(caller.id, await supabase.read_document(caller, document_id), revisions)
    response.headers["ETag"] = f'"{row["name_revision"]}"'
    response.headers["Cache-Control"] = "no-store"
    return row


@router.post(
    "/documents/{document_id}/download-url",
    summary="Get a download URL",
    response_model=DownloadUrl,
    responses={
        **ANSWERS,
        409: {"description": "The ZIP is not ready yet (document_not_ready); `document_status` says how far it is."},
        410: {"description": "The ZIP could not be made (document_failed); `error` says why."},
    },
    openapi_extra=_describe_body(DownloadRequest, required=False),
)
async def make_download_url(
    caller: CallerDependency,
    document_id: Id,
    wish: Annotated[DownloadRequest, Depends(read_download_request)],
    response: Response,
    supabase: Upstream,
) -> DownloadUrl:
    """Sign a short-lived link to the document's ZIP, never past the end of the caller's access; the event is logged."""
    response.headers["Cache-Control"] = "no-store"
    # An archive may be replaced between the two calls (a rename, a revoked share): then ask once more for its place.
    for _ in range(2):
        found = await supabase.request_download(caller, document_id)
        _require_ready(found)
        now = datetime.now(UTC)
        seconds = wish.expires_in
        if found["access_until"] is not None:
            # Storage counts from its own present second, which may be the next one: not a moment past the share's end
            end = datetime.fromisoformat(found["access_until"]).timestamp()
            seconds = min(seconds, math.floor(end) - math.ceil(now.timestamp()))
        if seconds < 1:
            raise _not_found()
        try:
            url = await supabase.sign_archive(caller, found["archive_path"], seconds, found["filename"])
        except ArchiveMissing:
            continue
        return DownloadUrl(
            url=url,
            filename=found["filename"],
            size_bytes=found["size_bytes"],
            expires_at=(now + timedelta(seconds=seconds)).replace(microsecond=0),
        )
    raise unavailable("archive_unavailable", "The ZIP cannot be reached just now. Try again in a moment.")


def _require_ready(found: Any) -> None:
    status = found["status"]
    if status == "failed":
        raise Problem(
            410,
            "document_failed",
            "The ZIP could not be made. Its owner can retry it.",
            document_status=status,
            error=found["error"],
        )
    if status != "ready":
        raise Problem(
            409,
            "document_not_ready",
            f"The ZIP is not ready yet: the document is {status}.",
            headers={"Retry-After": "2"},
            document_status=status,
        )


def _explain_unchanged(caller_id: UUID, row: Any, revisions: list[int] | None) -> Problem:
    """Why a rename changed no row: the document's state, as the caller sees it, tells."""
    if row is None:
        return _not_found()
    if row["owner_id"] != str(caller_id):
        return Problem(403, "not_allowed", "Only the owner can rename a document.")
    if row["deleted_at"] is not None:
        return Problem(404, "document_not_found", "The document is in the trash. Restore it to rename it.")
    if revisions is not None and row["name_revision"] not in revisions:
        return Problem(
            412,
            "revision_mismatch",
            "The name was changed meanwhile.",
            headers={"ETag": f'"{row["name_revision"]}"'},
            name=row["name"],
            name_revision=row["name_revision"],
        )
    return unavailable("document_busy", "The document was being changed. Try again.")


def _read_if_match(headers: list[str]) -> list[int] | None:
    """The revisions of an If-Match header (RFC 9110, 13.1.1); None where any will do, [] where none can match.

    A weak tag counts like a strong one: proxies that compress weaken tags, and a revision is equal or it is not.
    """
    if not headers:
        return None
    text = ", ".join(headers)
    if text.strip() == "*":
        return None
    return [int(tag) for tag in ENTITY_TAG.findall(text) if re.fullmatch(r"[0-9]{1,9}", tag)]


async def _read_body(request: Request, model: type[Body], optional: bool = False) -> Body:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise Problem(413, "body_too_large", f"A request has {LARGEST_BODY} bytes at most.")
    if not body.strip() and optional:
        return model()
    try:
        return model.model_validate(json.loads(body))
    except ValidationError as error:
        raise invalid(error.errors(include_input=False, include_url=False)) from None
    except (ValueError, RecursionError):
        raise Problem(422, "request_invalid", "The body is not JSON.") from None


def _not_found() -> Problem:
    return Problem(404, "document_not_found", "There is no such document.")
