"""Calls to Supabase as the caller: his token, his rights, one shared connection pool."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

from prometheus_client import Histogram

from backend.identity import Caller
from backend.problems import Problem, unavailable
from backend.settings import Settings
from backend.upstream import Reply, Unreachable, Upstream

__all__ = ["ArchiveMissing", "Supabase"]

DOCUMENT_COLUMNS = (
    "id,owner_id,name,name_revision,size_bytes,mime_type,status,progress,error,"
    "archive_size_bytes,created_at,updated_at,deleted_at"
)


class ArchiveMissing(Exception):
    """Storage does not show the caller this archive: replaced a moment ago, or no longer his to read."""


class Supabase:
    """REST and Storage, with a caller's token. What they refuse becomes a Problem with the database's own code."""

    def __init__(self, settings: Settings, upstream: Upstream, seconds: Histogram) -> None:
        self._settings, self._upstream, self._seconds = settings, upstream, seconds

    async def rename(self, caller: Caller, document_id: UUID, name: str, revisions: Sequence[int] | None) -> Any:
        """Set the name of a document whose revision is among `revisions` (None: any).

        Returns the row, or None where the database changed nothing: not visible, not the caller's, or another revision.
        """
        where = {"id": f"eq.{document_id}", "select": DOCUMENT_COLUMNS}
        if revisions is not None:
            where["name_revision"] = f"in.({','.join(map(str, revisions))})"
        rows = await self._rest(
            caller, "PATCH", "documents", where, {"name": name}, {"Prefer": "return=representation"}
        )
        return rows[0] if rows else None

    async def read_document(self, caller: Caller, document_id: UUID) -> Any:
        """The row as the caller sees it, or None."""
        where = {"id": f"eq.{document_id}", "select": DOCUMENT_COLUMNS}
        rows = await self._rest(caller, "GET", "documents", where)
        return rows[0] if rows else None

    async def request_download(self, caller: Caller, document_id: UUID) -> Any:
        """What `request_download` tells of a readable document, which logs the event; Problem 404 for any other."""
        return await self._rest(caller, "POST", "rpc/request_download", {}, {"document_id": str(document_id)})

    async def sign_archive(self, caller: Caller, path: str, seconds: int, filename: str) -> str:
        """An absolute URL that downloads the archive under `filename` for `seconds`; raises ArchiveMissing."""
        url = f"{self._settings.base_url}/storage/v1/object/sign/archives/{quote(path)}"
        response = await self._send(caller, "POST", url, "storage_sign", {"expiresIn": seconds})
        if response.succeeded:
            signed = str(_read_json(response)["signedURL"])
            return f"{self._settings.public_url}/storage/v1{signed}&download={quote(filename, safe='')}"
        body = _read_json(response)
        # Storage often answers 400 with the real status inside
        status = str(body.get("statusCode", response.status))
        if status in ("401", "403") or response.status == 401:
            raise _refused_token()
        if status in ("400", "404"):
            raise ArchiveMissing(str(body.get("message", "")))
        raise unavailable("storage_unavailable", "Storage could not sign the download.")

    async def reach(self) -> dict[str, bool]:
        """Whether REST (with its database) and Storage answer at all; as nobody, so a refusal is an answer."""
        base = self._settings.base_url
        found = {}
        for name, url in (
            ("rest", f"{base}/rest/v1/documents?select=id&limit=0"),
            ("storage", f"{base}/storage/v1/object/public/archives/readiness"),
        ):
            try:
                response = await self._upstream.ask("GET", url, self._key_header(), seconds=3)
                found[name] = response.status < 500
            except Unreachable:
                found[name] = False
        return found

    async def _rest(
        self,
        caller: Caller,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        url = f"{self._settings.base_url}/rest/v1/{path}"
        if query:
            url += "?" + "&".join(f"{name}={quote(value, safe=',.()')}" for name, value in query.items())
        response = await self._send(caller, method, url, f"rest_{method.lower()}", body, headers)
        if response.succeeded:
            return _read_json(response)
        raise _translate(response)

    async def _send(
        self,
        caller: Caller,
        method: str,
        url: str,
        what: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        own = {**self._key_header(), "Authorization": f"Bearer {caller.token}", **(headers or {})}
        started = time.perf_counter()
        try:
            response = await self._upstream.ask(method, url, own, body)
        except Unreachable as error:
            raise unavailable("supabase_unavailable", "Supabase does not answer. Try again in a moment.") from error
        finally:
            self._seconds.labels(what).observe(time.perf_counter() - started)
        if response.status >= 500:
            raise unavailable("supabase_unavailable", "Supabase cannot answer just now. Try again in a moment.")
        if response.status == 429:
            retry = response.headers.get("Retry-After", "5")
            raise Problem(429, "rate_limited", "Too many requests. Try again later.", headers={"Retry-After": retry})
        return response

    def _key_header(self) -> dict[str, str]:
        return {"apikey": self._settings.supabase_publishable_key}


def _read_json(response: Reply) -> Any:
    try:
        return response.json()
    except ValueError:
        raise unavailable("supabase_unavailable", "Supabase answered something that is no JSON.") from None


def _translate(response: Reply) -> Problem:
    """What PostgREST refused. Our functions raise PTxyz with a stable code in `details` and advice in `hint`."""
    body = _read_json(response)
    body = body if isinstance(body, dict) else {}
    code, status = str(body.get("code") or ""), response.status
    message, details = str(body.get("message") or ""), body.get("details")
    if code.startswith("PT") and details:
        return Problem(status, str(details), message, hint=body.get("hint"))
    if status == 401:
        return _refused_token()
    if code == "42501" or status == 403:
        return Problem(403, "not_allowed", "You may not do this.")
    if code in ("23514", "22P05", "22P02", "22021"):
        return Problem(422, "request_invalid", "The database does not accept this value.")
    if status == 404:  # a missing table or function: the migrations are not there
        return unavailable("not_migrated", "InstaShare's tables are not in this project yet.")
    return unavailable("supabase_unavailable", "Supabase refused the request in a way that was not foreseen.")


def _refused_token() -> Problem:
    return Problem(
        401,
        "token_refused",
        "Supabase does not accept this token any more. Sign in again.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
