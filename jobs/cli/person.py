"""A signed-in user's program: what a client of InstaShare does, through the official client and the API's address."""

from __future__ import annotations

import hashlib
import mimetypes
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from supabase_auth.errors import AuthError, AuthRetryableError
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from jobs.errors import NotReadyError, OperationFailed
from supabase import AuthApiError, Client, ClientOptions, PostgrestAPIError, StorageException, create_client

__all__ = ["Person", "sign_in", "verify"]

# Supabase's own rules: TUS in chunks of exactly 6 MiB, an empty file by standard upload only
# (https://supabase.com/docs/guides/storage/uploads/resumable-uploads).
CHUNK = 6 * 1024 * 1024
BLOCK = 1024 * 1024

Progress = Callable[[int], None]  # hears how many bytes are done


class Person:
    """One user. Methods may be called from any thread; they raise OperationFailed, NotReadyError without an answer."""

    def __init__(self, client: Client, url: str, key: str, backend_url: str, user_id: str) -> None:
        self._client, self._url, self._key = client, url.rstrip("/"), key
        self._backend_url, self._user_id = backend_url.rstrip("/"), user_id
        self._http = httpx.Client(timeout=httpx.Timeout(60, connect=5))

    def add_document(self, file: Path) -> dict[str, Any]:
        """Insert the row of a file; returns it. The name may come back normalised."""
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        row = {"name": file.name, "size_bytes": file.stat().st_size, "mime_type": kind}
        with _named():
            added: dict[str, Any] = self._client.table("documents").insert(row).execute().data[0]  # type: ignore[assignment]
        return added

    def upload(self, file: Path, document: dict[str, Any], progress: Progress) -> str:
        """Upload the bytes: standard up to 6 MiB, resumable above; returns their SHA-256 as they were sent."""
        key, size = f"{self._user_id}/{document['id']}", document["size_bytes"]
        with _named():
            if size <= CHUNK:
                content = file.read_bytes()
                options = {"content-type": document["mime_type"], "upsert": "false"}
                self._client.storage.from_("documents").upload(key, content, options)  # type: ignore[arg-type]
                progress(len(content))
                return hashlib.sha256(content).hexdigest()
            self._upload_resumable(file, key, document["mime_type"], size, progress)
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def look(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """How documents stand: id, name, status, progress, error."""
        with _named():
            columns = "id,name,name_revision,status,progress,error,archive_name_revision"
            found = self._client.table("documents").select(columns).in_("id", list(ids)).execute()
            return list(found.data)  # type: ignore[arg-type]

    def fetch(self, document: dict[str, Any], target: Path, progress: Progress) -> dict[str, Any]:
        """Ask the API for a download URL and follow it into `target`; returns the API's answer.

        Raises OperationFailed if the answer's length or file name is not what the API announced.
        """
        with _named():
            asked = self._http.post(
                f"{self._backend_url}/documents/{document['id']}/download-url",
                headers={"Authorization": f"Bearer {self._token()}"},
            )
            if asked.status_code != 200:
                raise _refused(asked)
            link: dict[str, Any] = asked.json()
            done = 0
            with self._http.stream("GET", link["url"]) as response, target.open("wb") as out:
                if response.status_code != 200:
                    response.read()
                    raise _refused(response)
                for part in response.iter_bytes(BLOCK):
                    out.write(part)
                    done += len(part)
                    progress(done)
        named = _attachment_name(response.headers.get("content-disposition", ""))
        if done != link["size_bytes"]:
            raise OperationFailed("size_differs", f"{done} bytes came, {link['size_bytes']} were announced.")
        if named != link["filename"]:
            raise OperationFailed("name_differs", f"The download is named {named!r}, not {link['filename']!r}.")
        return link

    def close(self) -> None:
        """End the session and the connections."""
        self._http.close()
        with _quiet():
            self._client.auth.sign_out({"scope": "local"})

    def _upload_resumable(self, file: Path, key: str, kind: str, size: int, progress: Progress) -> None:
        client = TusClient(f"{self._url}/storage/v1/upload/resumable", headers=self._tus_headers())
        metadata = {"bucketName": "documents", "objectName": key, "contentType": kind, "cacheControl": "3600"}
        with file.open("rb") as stream:
            uploader = client.uploader(
                file_stream=stream, chunk_size=CHUNK, metadata=metadata, retries=5, retry_delay=1
            )
            while uploader.offset < size:
                client.set_headers(self._tus_headers())  # a long upload outlives its first token
                uploader.upload_chunk()  # type: ignore[no-untyped-call]
                progress(uploader.offset)

    def _tus_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token()}", "apikey": self._key, "x-upsert": "false"}

    def _token(self) -> str:
        session = self._client.auth.get_session()
        if session is None:
            raise OperationFailed("signed_out", "The session has ended.", "Sign in again.")
        return session.access_token


def sign_in(url: str, key: str, backend_url: str, email: str, password: str) -> Person:
    """Sign in; raises OperationFailed if address or password are refused, NotReadyError without an answer."""
    with _named():
        client = create_client(url, key, ClientOptions(persist_session=False, storage_client_timeout=120))
        answer = client.auth.sign_in_with_password({"email": email, "password": password})
        if answer.user is None:
            raise OperationFailed("not_signed_in", f"{email} could not be signed in.")
        # These are made when first asked for, which threads must not do at once.
        _ = client.postgrest, client.storage
        return Person(client, url, key, backend_url, answer.user.id)


def verify(archive: Path, name: str, digest: str) -> None:
    """Check that the ZIP holds one entry, of this name and SHA-256; reading it checks its CRC too.

    Raises OperationFailed that says what differs.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            if len(entries) != 1:
                raise OperationFailed("entries_differ", f"The ZIP has {len(entries)} entries instead of one.")
            inside = unicodedata.normalize("NFC", entries[0].filename)
            if inside != name:
                raise OperationFailed("name_differs", f"The ZIP holds {inside!r}, not {name!r}.")
            found = hashlib.sha256()
            with opened.open(entries[0]) as stream:
                while part := stream.read(BLOCK):
                    found.update(part)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise OperationFailed("archive_damaged", f"The ZIP cannot be read: {error}.") from error
    if found.hexdigest() != digest:
        raise OperationFailed("content_differs", "The file inside the ZIP is not the one that was uploaded.")


@contextmanager
def _named() -> Iterator[None]:
    """Turn the clients' errors into ours, with the sentence that the service gave."""
    try:
        yield
    except AuthApiError as error:
        raise OperationFailed(str(error.code or "auth_refused"), f"Auth: {error.message}.") from error
    except PostgrestAPIError as error:
        raise OperationFailed(str(error.details or error.code), str(error.message), str(error.hint or "")) from error
    except StorageException as error:
        told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        words = told.get("message", getattr(error, "message", str(error)))
        raise OperationFailed("storage_refused", f"Storage: {words}") from error
    except TusCommunicationError as error:
        content = error.response_content or b""
        words = content.decode(errors="replace") if isinstance(content, bytes) else str(content)
        raise OperationFailed("storage_refused", f"Storage: {words or error}") from error
    except (httpx.TransportError, AuthRetryableError) as error:
        raise NotReadyError(
            "no_answer", f"There is no answer ({type(error).__name__}).", "Is the stack up? `./instashare status`"
        ) from error
    except AuthError as error:
        raise OperationFailed(str(error.code or "signed_out"), f"Auth: {error.message}.", "Sign in again.") from error
    except OSError as error:
        raise OperationFailed("file_unreadable", f"{error.filename}: {error.strerror}.") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """What cannot be helped when the work is done."""
    try:
        yield
    except (httpx.HTTPError, AuthError):
        return


def _refused(response: httpx.Response) -> OperationFailed:
    try:
        body = response.json()
    except ValueError:
        body = {}
    code = body.get("code") or body.get("error") or f"http_{response.status_code}"
    return OperationFailed(str(code), str(body.get("detail") or body.get("message") or f"HTTP {response.status_code}"))


def _attachment_name(header: str) -> str:
    """The file name of a Content-Disposition header; `filename*` (RFC 8187) wins, as in browsers."""
    plain = ""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name.lower() == "filename*" and value.upper().startswith("UTF-8''"):
            return unquote(value[7:])
        if name.lower() == "filename":
            plain = value.strip('"')
    return plain
