"""The Storage service as one key may use it: where it is, how it is asked, what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote

from jobs.errors import SettingsError
from jobs.storage.connection import BROKEN, Answer, Bytes, Connection, Endpoint, Patience
from jobs.storage.errors import (
    SourceChanged,
    SourceMissing,
    StorageError,
    StorageRefused,
    StorageUnavailable,
    TargetExists,
    TooLarge,
)

__all__ = [
    "ObjectInfo",
    "Service",
    "Tail",
    "content_range",
    "is_internal",
    "passing",
    "reason_of",
    "refusal",
    "verdict",
]

# the service takes no more keys in one call of a removal
REMOVE_KEYS = 1000

Check = Callable[[], None]


def never() -> None:
    """Let all work go on."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the service's database says of an object; `size` in bytes, `version` the uuid of this very content."""

    size: int
    version: str
    etag: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Tail:
    """The last bytes of an object, the object's whole size in bytes, and the ETag of its content."""

    data: bytes
    total: int
    etag: str


class Service:
    """The Storage API at a project's address. Thread-safe: it holds no connection.

    `stall`: seconds without a moving byte until a connection is given up; `tries` and `delay` (seconds, doubling): how
    faults of network and service are retried. Raises SettingsError when `supabase_url` is no address.
    """

    def __init__(
        self, supabase_url: str, secret_key: str, *, stall: float = 30.0, tries: int = 5, delay: float = 0.2
    ) -> None:
        try:
            self._endpoint = Endpoint.of(supabase_url.rstrip("/") + "/storage/v1")
        except ValueError as error:
            raise SettingsError("supabase_url_invalid", f"SUPABASE_URL: {error}.") from error
        self.headers = {"apikey": secret_key, "Authorization": f"Bearer {secret_key}"}
        self._stall, self._tries, self._delay = stall, tries, delay

    def connection(self, check: Check, stall: float | None = None) -> Connection:
        return Connection(self._endpoint, self._stall if stall is None else stall, check)

    def patience(self, check: Check) -> Patience:
        return Patience(self._tries, self._delay, check)

    def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Bytes | None = None,
        *,
        check: Check = never,
        connection: Connection | None = None,
    ) -> Answer:
        """Ask something that may be asked twice, until there is an answer that is no fault of network or service.

        Raises StorageUnavailable when tries run out.
        """
        patience = self.patience(check)
        line = connection or self.connection(check)
        try:
            while True:
                try:
                    answer = line.call(method, path, {**self.headers, **(headers or {})}, body)
                    if not passing(answer):
                        return answer
                    reason, internal = reason_of(answer), is_internal(answer)
                except BROKEN as error:
                    reason, internal = str(error) or type(error).__name__, False
                if not patience.wait():
                    raise StorageUnavailable(reason, internal=internal)
        finally:
            if connection is None:
                line.close()

    def info(self, bucket: str, key: str, *, check: Check = never) -> ObjectInfo:
        """Ask the service's database for an object. Raises SourceMissing and other StorageErrors."""
        answer = self.call("GET", f"/object/info/authenticated/{quoted(bucket, key)}", check=check)
        said = parsed(answer)
        if answer.status != 200 or not isinstance(said, dict):
            raise refusal(answer)
        return ObjectInfo(
            int(said.get("size") or 0),
            str(said.get("version") or ""),
            str(said.get("etag") or ""),
            str(said.get("content_type") or ""),
        )

    def cause(self, fault: StorageUnavailable, bucket: str, key: str, *, check: Check = never) -> StorageError:
        """Tell why an object's bytes cannot be read: `fault` itself, or that they are gone while their row is there.

        A service that keeps its bytes in files answers 500 then, as it does while its database is away (hosted it is a
        404). So they are gone when the row can be had and the bytes still cannot.
        """
        if not fault.internal:
            return fault
        line = self.connection(check)
        try:
            self.info(bucket, key, check=check)
            path = f"/object/authenticated/{quoted(bucket, key)}"
            again = line.call("GET", path, {**self.headers, "Range": "bytes=0-0"})
        except StorageError as error:
            return error
        except BROKEN:
            return fault
        finally:
            line.close()
        return SourceMissing() if is_internal(again) else fault

    def answers(self) -> bool:
        """Ask once for anything at all: whether the service and its database are there. Any verdict will do."""
        line = self.connection(never, min(self._stall, 10.0))
        try:
            return not passing(line.call("GET", "/bucket/archives", self.headers, None))
        except BROKEN:
            return False
        finally:
            line.close()

    def tail(self, bucket: str, key: str, length: int, *, check: Check = never) -> Tail:
        """Read the last `length` bytes (or all, where there are fewer) with one Range request."""
        headers = {"Accept-Encoding": "identity", "Range": f"bytes=-{length}"}
        try:
            answer = self.call("GET", f"/object/authenticated/{quoted(bucket, key)}", headers, check=check)
        except StorageUnavailable as fault:
            raise self.cause(fault, bucket, key, check=check) from fault
        etag = answer.headers.get("etag", "")
        if answer.status == 200:
            return Tail(answer.body[-length:], len(answer.body), etag)
        if answer.status != 206:
            raise refusal(answer)
        start, total = content_range(answer.headers.get("content-range", ""))
        if start + len(answer.body) != total:
            raise StorageUnavailable("it answered another range than the one asked for")
        return Tail(answer.body, total, etag)

    def remove(self, bucket: str, keys: Sequence[str], *, check: Check = never) -> int:
        """Remove objects and tell how many there were; a key without object is no fault."""
        removed = 0
        for start in range(0, len(keys), REMOVE_KEYS):
            body = json.dumps({"prefixes": list(keys[start : start + REMOVE_KEYS])}).encode()
            headers = {"Content-Type": "application/json"}
            answer = self.call("DELETE", f"/object/{quote(bucket)}", headers, body, check=check)
            rows = parsed(answer)
            if answer.status != 200 or not isinstance(rows, list):
                raise refusal(answer)
            removed += len(rows)
        return removed


def quoted(bucket: str, key: str) -> str:
    """Give bucket and key as a path."""
    return f"{quote(bucket, safe='')}/{quote(key)}"


def parsed(answer: Answer) -> Any:
    """Give a JSON body, or None for anything else."""
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def verdict(answer: Answer) -> int:
    """Give the status that is meant: the service answers 400 and says 403, 404, 409 or 413 in the body."""
    said = parsed(answer) if answer.status >= 400 else None
    try:
        return int(said["statusCode"]) if isinstance(said, dict) else answer.status
    except (KeyError, TypeError, ValueError):
        return answer.status


def passing(answer: Answer) -> bool:
    """Tell whether the answer is a fault that may pass: too many requests, a lock, any 5xx (a full disk, a restart)."""
    meant = verdict(answer)
    return meant >= 500 or meant in (408, 423, 425, 429)


def is_internal(answer: Answer) -> bool:
    """Tell whether the service says that the fault is its own and no client's business."""
    said = parsed(answer)
    return verdict(answer) == 500 and isinstance(said, dict) and said.get("code") == "InternalError"


def reason_of(answer: Answer) -> str:
    """Give the service's own words, short enough for a row."""
    said = parsed(answer)
    text = str(said.get("message") or "") if isinstance(said, dict) else answer.body.decode(errors="replace")
    return f"HTTP {verdict(answer)} {' '.join(text.split())[:200]}".rstrip(" .")


def refusal(answer: Answer) -> StorageError:
    """Turn an answer that is not what was hoped for into the error it means."""
    meant = verdict(answer)
    said = parsed(answer)
    if passing(answer):
        return StorageUnavailable(reason_of(answer))
    if meant == 404 and not (isinstance(said, dict) and said.get("code") == "NoSuchBucket"):
        return SourceMissing()
    if meant == 409:
        return TargetExists()
    if meant in (412, 416):
        return SourceChanged("it is shorter than it was, or another")
    if meant == 413:
        return TooLarge()
    return StorageRefused(reason_of(answer))


def content_range(text: str) -> tuple[int, int]:
    """Take `bytes 5-9/10` apart: where the bytes begin and how many there are altogether."""
    try:
        unit, _, rest = text.partition(" ")
        span, _, total = rest.partition("/")
        if unit != "bytes":
            raise ValueError
        return int(span.partition("-")[0]), int(total)
    except ValueError:
        raise StorageUnavailable(f"its Content-Range {text!r} cannot be understood") from None


def answer_of(response: HTTPResponse) -> Answer:
    """Read an answer whole."""
    headers = {name.lower(): text for name, text in response.getheaders()}
    return Answer(response.status, headers, response.read())
