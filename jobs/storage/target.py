"""One new object, written as a stream whose length need not be known.

What fits one chunk goes by one standard upload with its Content-Length: chunked transfer would escape the bucket's
limit. Anything larger goes by TUS 1.0 in chunks of 6 MiB (hosted projects take no other size), with a deferred length
where it is not known. One chunk is on its way while the next is being made. After a fault the service is asked how far
it came.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event

from jobs.storage.connection import BROKEN, Answer, Bytes, Connection
from jobs.storage.errors import (
    SourceMissing,
    StorageError,
    StorageRefused,
    StorageUnavailable,
    TargetExists,
    UploadLost,
)
from jobs.storage.service import Check, Service, passing, quoted, reason_of, refusal, verdict

__all__ = ["CHUNK", "Target"]

CHUNK = 6 * 1024 * 1024
TUS = {"Tus-Resumable": "1.0.0"}
RESUMABLE = "/upload/resumable"
# a farewell to a service that may hang; the whole cancellation has a second
TERMINATE_SECONDS = 0.3


class Stopped(Exception):
    """The sending thread was told to end, since the other one has failed."""


class Target:
    """A key to write once. Raises TooLarge, TargetExists, UploadLost, StorageRefused, StorageUnavailable."""

    def __init__(self, service: Service, bucket: str, key: str, content_type: str, check: Check) -> None:
        self._service, self._bucket, self._key, self._check = service, bucket, key, check
        self._content_type = content_type

    def write(self, pieces: Iterable[Bytes], size: int | None = None) -> int:
        """Store all pieces as one object and tell how many bytes they were; `size` where that is known before.

        Nothing is stored unless all is; a resumable upload that fails is terminated.
        """
        chunks = _chunks(pieces)
        first, last = next(chunks)
        if last:
            self._standard(first)
            return len(first)
        return self._resumable(first, chunks, size)

    def _standard(self, body: bytearray) -> None:
        """Upload in one request. A second try may find the first one's object: its size tells."""
        patience = self._service.patience(self._check)
        headers = {**self._service.headers, "Content-Type": self._content_type}
        line = self._service.connection(self._check)
        tried = False
        try:
            while True:
                try:
                    answer = line.call("POST", f"/object/{quoted(self._bucket, self._key)}", headers, body)
                    if answer.status == 200:
                        return
                    if tried and verdict(answer) == 409 and self._stored() == len(body):
                        return
                    if not passing(answer):
                        raise _refused(answer)
                    reason = reason_of(answer)
                except BROKEN as error:
                    reason = str(error) or type(error).__name__
                tried = True
                if not patience.wait():
                    raise StorageUnavailable(reason)
        finally:
            line.close()

    def _resumable(self, first: bytearray, chunks: Iterator[tuple[bytearray, bool]], size: int | None) -> int:
        stop = Event()

        def check() -> None:
            if stop.is_set():
                raise Stopped
            self._check()

        upload = _Upload(self._service, self._bucket, self._key, self._content_type, check)
        offset, chunk, last = 0, first, False
        sending: Future[None] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="send") as sender:
            try:
                sending = sender.submit(upload.create, size)
                while True:
                    sending.result()
                    total = offset + len(chunk) if last and size is None else None
                    sending = sender.submit(upload.send, chunk, offset, last, total)
                    offset += len(chunk)
                    if last:
                        break
                    chunk, last = next(chunks)
                sending.result()
                return offset
            except BaseException:
                stop.set()
                if sending is not None:
                    with suppress(BaseException):
                        sending.result()
                upload.terminate()
                raise
            finally:
                upload.close()

    def _stored(self) -> int | None:
        try:
            return self._service.info(self._bucket, self._key, check=self._check).size
        except SourceMissing:
            return None


class _Upload:
    """One TUS upload, used by the sending thread."""

    def __init__(self, service: Service, bucket: str, key: str, content_type: str, check: Check) -> None:
        self._service, self._bucket, self._key, self._check = service, bucket, key, check
        self._content_type = content_type
        self._line: Connection = service.connection(check)
        self._path = ""
        self._length_known = False

    def create(self, size: int | None) -> None:
        named = {"bucketName": self._bucket, "objectName": self._key, "contentType": self._content_type}
        headers = {
            **TUS,
            "Upload-Metadata": ",".join(f"{name} {b64encode(text.encode()).decode()}" for name, text in named.items()),
            **({"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}),
        }
        answer = self._service.call("POST", RESUMABLE, headers, b"", check=self._check, connection=self._line)
        if answer.status != 201:
            raise _refused(answer)
        # the address may name another host than ours, as a proxy before the service made it: only its end counts
        _, found, name = answer.headers.get("location", "").partition(f"{RESUMABLE}/")
        if not found:
            raise StorageUnavailable("it gave no address for the upload")
        self._path = f"{RESUMABLE}/{name}"
        self._length_known = size is not None

    def send(self, chunk: bytearray, offset: int, last: bool, total: int | None) -> None:
        """Send one chunk, which begins at `offset` of the object; `total` declares its size, with the last one."""
        patience = self._service.patience(self._check)
        view, sent = memoryview(chunk), 0
        while sent < len(view):
            try:
                answer = self._line.call("PATCH", self._path, self._patch_headers(offset + sent, total), view[sent:])
                reached = _number(answer, "upload-offset")
                if answer.status in (200, 204) and reached is not None and reached > offset + sent:
                    patience.moved()
                    self._length_known = self._length_known or total is not None
                    sent = reached - offset
                    continue
                # 409 may mean that the service took more than it could answer for: it is asked below
                if not passing(answer) and verdict(answer) != 409 and answer.status not in (200, 204):
                    raise _refused_upload(answer)
                refused, reason = answer if verdict(answer) == 409 else None, reason_of(answer)
            except BROKEN as error:
                refused, reason = None, str(error) or type(error).__name__
            if not patience.wait():
                raise TargetExists if refused is not None else StorageUnavailable(reason)
            before, sent = sent, self._reached(offset, len(view), last)
            if refused is not None and sent == before:
                raise TargetExists
            if sent > before:
                patience.moved()

    def _patch_headers(self, offset: int, total: int | None) -> dict[str, str]:
        headers = {
            **self._service.headers,
            **TUS,
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
        }
        # declaring it twice is refused
        if total is not None and not self._length_known:
            headers["Upload-Length"] = str(total)
        return headers

    def _reached(self, offset: int, length: int, last: bool) -> int:
        """Ask how much of the chunk at `offset` the service has."""
        answer = self._service.call("HEAD", self._path, TUS, check=self._check, connection=self._line)
        reached = _number(answer, "upload-offset")
        if answer.status in (200, 204) and reached is not None:
            self._length_known = _number(answer, "upload-length") is not None
            if offset <= reached <= offset + length:
                return reached - offset
            raise UploadLost(f"it has {reached} bytes where {offset} to {offset + length} were sent")
        if last and self._finished(offset + length):
            return length
        raise UploadLost(f"it answers HTTP {answer.status} when asked how far it came")

    def _finished(self, total: int) -> bool:
        """Tell whether the object is there: the last answer may be lost, and a finished upload be forgotten."""
        try:
            return self._service.info(self._bucket, self._key, check=self._check).size == total
        except StorageError:
            return False

    def terminate(self) -> None:
        """Give up the upload, so that its bytes do not stay; best effort, within TERMINATE_SECONDS."""
        self._line.close()
        if not self._path:
            return
        line = self._service.connection(lambda: None, stall=TERMINATE_SECONDS)
        try:
            line.call("DELETE", self._path, {**self._service.headers, **TUS})
        except BROKEN:
            pass
        finally:
            line.close()

    def close(self) -> None:
        self._line.close()


def _chunks(pieces: Iterable[Bytes]) -> Iterator[tuple[bytearray, bool]]:
    """Gather pieces into chunks of CHUNK bytes, each with whether it is the last one; only a lone one may be empty."""
    chunk = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        while view:
            if len(chunk) == CHUNK:
                yield chunk, False
                chunk = bytearray()
            room = CHUNK - len(chunk)
            chunk += view[:room]
            view = view[room:]
    yield chunk, True


def _number(answer: Answer, header: str) -> int | None:
    text = answer.headers.get(header, "")
    return int(text) if text.isascii() and text.isdigit() else None


def _refused(answer: Answer) -> StorageError:
    """Here a 404 means the bucket, not an object."""
    return StorageRefused(reason_of(answer)) if verdict(answer) == 404 else refusal(answer)


def _refused_upload(answer: Answer) -> StorageError:
    return UploadLost(reason_of(answer)) if verdict(answer) in (404, 410) else refusal(answer)
