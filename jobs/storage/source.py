"""One object, read from its first byte to its last as a stream that survives broken connections."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPResponse

from jobs.storage.connection import BROKEN, Connection
from jobs.storage.errors import SourceChanged, StorageUnavailable
from jobs.storage.service import (
    Check,
    Service,
    Tail,
    answer_of,
    content_range,
    is_internal,
    passing,
    quoted,
    reason_of,
    refusal,
)

__all__ = ["BLOCK", "Source"]

# the size of the archive engine's blocks, which then need no copying
BLOCK = 512 * 1024


class Source:
    """An object to read. `size`: what it must be, in bytes, where that is known.

    A read that breaks goes on where it stopped, as often as bytes moved in between; the ETag tells whether it is still
    the same object. Raises SourceMissing, SourceChanged, StorageRefused, and StorageUnavailable when tries run out.
    """

    def __init__(self, service: Service, bucket: str, key: str, size: int | None, check: Check) -> None:
        self._service, self._bucket, self._key, self._check = service, bucket, key, check
        self._path = f"/object/authenticated/{quoted(bucket, key)}"
        self._expected = size
        self._size: int | None = None
        self._etag = ""
        self._connection: Connection | None = None
        self._response: HTTPResponse | None = None
        self._patience = service.patience(check)

    @property
    def size(self) -> int:
        """Its size in bytes, as the service announces it."""
        if self._size is None:
            self._reopen(0)
        assert self._size is not None
        return self._size

    def tail(self, length: int) -> Tail:
        """Read its last bytes; a later read of the whole must be of the same content."""
        tail = self._service.tail(self._bucket, self._key, length, check=self._check)
        self._same(tail.etag, tail.total)
        return tail

    def blocks(self) -> Iterator[bytearray]:
        """Read it once, in blocks of BLOCK bytes but for the last."""
        offset, size = 0, self.size
        try:
            while offset < size:
                block = bytearray(min(BLOCK, size - offset))
                self._fill(memoryview(block), offset)
                offset += len(block)
                yield block
        finally:
            self.close()

    def close(self) -> None:
        """Let the connection go."""
        response, connection = self._response, self._connection
        self._response = self._connection = None
        if response is not None:
            response.close()
        if connection is not None:
            connection.close()

    def _fill(self, view: memoryview, offset: int) -> None:
        filled = 0
        while filled < len(view):
            if self._response is None:
                self._reopen(offset + filled)
            try:
                got = _read(self._response, view[filled:])
                if not got:
                    raise ConnectionError("it ended the answer too early")
            except BROKEN as error:
                self._again(str(error) or type(error).__name__)
            else:
                self._patience.moved()
                filled += got

    def _reopen(self, offset: int) -> None:
        """Ask for the object from `offset` on, until there is an answer."""
        if offset and not self._etag:
            raise StorageUnavailable("the connection broke, and no ETag tells whether the rest is of the same object")
        headers = {**self._service.headers, "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if self._etag:
            headers["If-Match"] = self._etag
        while self._response is None:
            try:
                self._connection = self._service.connection(self._check)
                response = self._connection.ask("GET", self._path, headers)
                if response.status in (200, 206):
                    self._take(response, offset)
                    continue
                answer = answer_of(response)
                if not passing(answer):
                    raise refusal(answer)
                self._again(reason_of(answer), internal=is_internal(answer))
            except BROKEN as error:
                self._again(str(error) or type(error).__name__)
            except BaseException:
                self.close()
                raise

    def _take(self, response: HTTPResponse, offset: int) -> None:
        """Accept an answer if it is the rest of the same object."""
        self._response = response
        if response.getheader("Content-Encoding", "identity") != "identity":
            raise StorageUnavailable("something on the way compresses its answers")
        if response.status == 206:
            start, total = content_range(response.getheader("Content-Range", ""))
        else:
            start, length = 0, response.getheader("Content-Length")
            total = int(length) if length else self._service.info(self._bucket, self._key, check=self._check).size
        self._same(response.getheader("ETag", ""), total)
        if start > offset:
            raise StorageUnavailable("it answered another range than the one asked for")
        # a service or proxy that knows no ranges sends all of it again
        skipped = bytearray(64 * 1024)
        while start < offset:
            got = _read(response, memoryview(skipped)[: offset - start])
            if not got:
                raise ConnectionError("it ended the answer too early")
            start += got

    def _same(self, etag: str, total: int) -> None:
        # a proxy may weaken an ETag on its way
        etag = etag.removeprefix("W/")
        if self._expected is not None and total != self._expected:
            raise SourceChanged(f"it has {total} bytes instead of {self._expected}")
        if self._etag and etag != self._etag:
            raise SourceChanged("its content changed while it was read")
        self._expected = self._size = total
        self._etag = etag

    def _again(self, reason: str, *, internal: bool = False) -> None:
        self.close()
        if not self._patience.wait():
            fault = StorageUnavailable(reason, internal=internal)
            raise self._service.cause(fault, self._bucket, self._key, check=self._check)


def _read(response: HTTPResponse | None, view: memoryview) -> int:
    """Read what has come, straight into the block; 0 at the end."""
    assert response is not None
    if response.chunked:
        data = response.read1(len(view))
        view[: len(data)] = data
        return len(data)
    # http.client would wait for the whole view and lose what came before a fault
    return int(response.fp.readinto1(view)) if response.fp else 0
