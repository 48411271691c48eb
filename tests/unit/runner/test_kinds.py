"""What each kind does with Storage and the database, on a Storage in memory."""

from __future__ import annotations

import io
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from jobs.archive import ArchiveDamaged
from jobs.kinds import KINDS
from jobs.kinds.archives import discard
from jobs.kinds.job import Job, JobFailed, JobStopped, JobSuperseded, Lease, Result, Tools
from jobs.storage import SourceMissing, StorageError, StorageUnavailable

OWNER, DOCUMENT = str(uuid.uuid4()), str(uuid.uuid4())
ORIGINAL = f"{OWNER}/{DOCUMENT}"
TEXT = b"the quick brown fox " * 100_000


@dataclass
class Tail:
    data: bytes
    start: int
    total: int


@dataclass
class Memory:
    """Two buckets in memory, with the streams that the engine wants."""

    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    removed: list[tuple[str, str]] = field(default_factory=list)
    after_block: Callable[[], None] = lambda: None
    spoil: bool = False
    down: bool = False

    def source(self, bucket: str, key: str, *, size: int | None = None, check: Callable[[], None]) -> Stream:
        return Stream(self, bucket, key, check)

    def target(self, bucket: str, key: str, *, check: Callable[[], None]) -> Stream:
        return Stream(self, bucket, key, check)

    def remove(self, bucket: str, keys: Sequence[str], *, check: Callable[[], None] = lambda: None) -> int:
        if self.down:
            raise StorageUnavailable("Storage does not answer")
        there = [key for key in keys if self.objects.pop((bucket, key), None) is not None]
        self.removed += [(bucket, key) for key in there]
        return len(there)


@dataclass
class Stream:
    memory: Memory
    bucket: str
    key: str
    check: Callable[[], None]

    def _data(self) -> bytes:
        data = self.memory.objects.get((self.bucket, self.key))
        if data is None:
            raise SourceMissing
        return data

    @property
    def size(self) -> int:
        return len(self._data())

    def blocks(self) -> Iterator[bytes]:
        data = self._data()
        for start in range(0, len(data), 64 * 1024):
            self.check()
            yield data[start : start + 64 * 1024]
            self.memory.after_block()

    def tail(self, length: int) -> Tail:
        data = self._data()
        start = max(0, len(data) - length)
        return Tail(data[start:], start, len(data))

    def close(self) -> None:
        pass

    def write(self, pieces: Iterable[Any], size: int | None = None) -> int:
        data = b"".join(bytes(piece) for piece in pieces)
        stored = data[:-200] + bytes(200) if self.memory.spoil else data
        self.memory.objects[self.bucket, self.key] = stored
        return len(data)


@dataclass
class Bench:
    """A job with its tools."""

    storage: Memory = field(default_factory=Memory)
    lease: Lease = field(default_factory=lambda: Lease(time.monotonic() + 60))
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def ask(self, query: str, *parameters: Any) -> Any:
        self.asked.append((query, *parameters))
        answer = self.answers[query]
        return answer(*parameters) if callable(answer) else answer

    def run(self, kind: str, payload: dict[str, Any] | None = None, **args: Any) -> Result:
        job = Job(7, kind, 3, 0, 0, OWNER, DOCUMENT, args, payload, 60.0)
        return KINDS[kind](job, Tools(self.lease, self.ask, cast(Any, self.storage), "balanced", self.discard))

    def discard(self, key: str) -> None:
        discard(cast(Any, self.storage), key)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def document(**changes: Any) -> dict[str, Any]:
    return {
        "bucket": "documents",
        "object_key": ORIGINAL,
        "object_version": "v1",
        "name": "Zusammenfassung.txt",
        "name_revision": 2,
        "size_bytes": len(TEXT),
        "mime_type": "text/plain",
        "uploaded_at": "2026-11-24T10:00:00.5+00:00",
        "status": "processing",
        "deleted": False,
        **changes,
    }


def archived(**changes: Any) -> dict[str, Any]:
    return {
        "archive_path": "old.zip",
        "archive_size_bytes": 1,
        "archive_name_revision": 1,
        "name": "Neu.txt",
        "name_revision": 2,
        "size_bytes": len(TEXT),
        "uploaded_at": "2026-11-24T10:00:00+00:00",
        "deleted": False,
        "revoked": False,
        **changes,
    }


def unzip(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_document_becomes_an_archive_under_the_attempts_own_key(bench: Bench) -> None:
    bench.storage.objects["documents", ORIGINAL] = TEXT
    result = bench.run("archive_document", document(), object_version="v1")
    key = f"{OWNER}/{DOCUMENT}/7-3.zip"
    stored = bench.storage.objects["archives", key]
    assert result == {
        "archive_path": key,
        "archive_size_bytes": len(stored),
        "name_revision": 2,
        "object_version": "v1",
    }
    assert unzip(stored) == {"Zusammenfassung.txt": TEXT}
    assert bench.lease.progress == pytest.approx(0.98)


def test_an_empty_document_has_an_archive_too(bench: Bench) -> None:
    bench.storage.objects["documents", ORIGINAL] = b""
    result = bench.run("archive_document", document(size_bytes=0), object_version="v1")
    assert unzip(bench.storage.objects["archives", result["archive_path"]]) == {"Zusammenfassung.txt": b""}


@pytest.mark.parametrize("payload", [None, document(deleted=True), document(object_version="v2")])
def test_a_document_that_went_or_changed_supersedes_its_job(bench: Bench, payload: dict[str, Any] | None) -> None:
    with pytest.raises(JobSuperseded):
        bench.run("archive_document", payload, object_version="v1")
    assert bench.storage.objects == {}


def test_a_missing_source_is_a_final_failure_of_that_name(bench: Bench) -> None:
    with pytest.raises(StorageError) as failed:
        bench.run("archive_document", document(), object_version="v1")
    assert (failed.value.code, failed.value.retryable) == ("source_missing", False)


@pytest.mark.parametrize("reason", ["cancelled", "lost", "stopping"])
def test_a_job_that_is_stopped_leaves_no_archive(bench: Bench, reason: Any) -> None:
    bench.storage.objects["documents", ORIGINAL] = TEXT
    bench.storage.after_block = lambda: bench.lease.stop(reason)
    with pytest.raises(JobStopped, match=reason):
        bench.run("archive_document", document(), object_version="v1")
    assert list(bench.storage.objects) == [("documents", ORIGINAL)]


def test_an_archive_that_reads_back_wrong_is_removed_and_tried_again(bench: Bench) -> None:
    bench.storage.objects["documents", ORIGINAL] = TEXT
    bench.storage.spoil = True
    with pytest.raises(ArchiveDamaged) as failed:
        bench.run("archive_document", document(), object_version="v1")
    assert failed.value.retryable
    assert list(bench.storage.objects) == [("documents", ORIGINAL)]


def test_what_cannot_be_removed_hides_no_reason(bench: Bench) -> None:
    bench.storage.down = True
    with pytest.raises(SourceMissing):
        bench.run("archive_document", document(), object_version="v1")


def make_archive(bench: Bench) -> bytes:
    bench.storage.objects["documents", ORIGINAL] = TEXT
    made = bench.run("archive_document", document(), object_version="v1")
    data = bench.storage.objects.pop(("archives", made["archive_path"]))
    bench.storage.objects["archives", "old.zip"] = data
    bench.storage.removed.clear()
    return data


def test_a_renamed_document_gets_a_fresh_archive_under_its_name(bench: Bench) -> None:
    old = make_archive(bench)
    result = bench.run("refresh_archive", archived(archive_size_bytes=len(old)))
    assert result["name_revision"] == 2 and result["archive_path"] == f"{OWNER}/{DOCUMENT}/7-3.zip"
    stored = bench.storage.objects["archives", result["archive_path"]]
    assert unzip(stored) == {"Neu.txt": TEXT} and result["archive_size_bytes"] == len(stored)
    assert bench.storage.objects["archives", "old.zip"] == old  # the queue has it removed later


@pytest.mark.parametrize(
    "changes",
    [{"archive_path": None}, {"deleted": True}, {"archive_name_revision": 2}, {"archive_path": None, "revoked": True}],
)
def test_a_refresh_with_nothing_to_do_is_superseded(bench: Bench, changes: dict[str, Any]) -> None:
    make_archive(bench)
    with pytest.raises(JobSuperseded):
        bench.run("refresh_archive", archived(**changes))


@pytest.mark.parametrize("changes", [{}, {"deleted": True}, {"archive_name_revision": 2}])
def test_a_revocation_moves_the_archive_whatever_the_document_is(bench: Bench, changes: dict[str, Any]) -> None:
    old = make_archive(bench)
    result = bench.run("refresh_archive", archived(archive_size_bytes=len(old), revoked=True, **changes))
    assert ("archives", result["archive_path"]) in bench.storage.objects


def test_a_refresh_whose_archive_is_gone_is_tried_again_from_the_present_one(bench: Bench) -> None:
    with pytest.raises(JobFailed) as failed:
        bench.run("refresh_archive", archived(revoked=True))
    assert (failed.value.code, failed.value.retryable) == ("archive_missing", True)


def test_a_replaced_archive_is_removed_and_a_second_time_is_no_fault(bench: Bench) -> None:
    bench.storage.objects["archives", "old.zip"] = b"x"
    assert bench.run("remove_archive", archive_path="old.zip") == {"removed": 1}
    assert bench.run("remove_archive", archive_path="old.zip") == {"removed": 0}


def test_a_purge_removes_bytes_first_and_then_rows_and_ends(bench: Bench) -> None:
    bench.storage.objects = {("documents", "d1"): b"", ("archives", "a1"): b"", ("archives", "a2"): b""}
    rows = {
        "1": {"document_id": "1", "documents": ["d1"], "archives": ["a1", "a2"]},
        "2": {"document_id": "2", "documents": [], "archives": []},
    }

    def finish(document_id: str) -> bool:
        assert bench.storage.objects == {}
        if document_id == "2":
            return False  # an upload that ended meanwhile: it stays for the next run
        del rows[document_id]
        return True

    bench.answers = {"purge_batch": lambda batch, only: list(rows.values()), "finish_purge": finish}
    assert bench.run("purge_deleted") == {"documents": 1}
    assert all(only == DOCUMENT for name, *_, only in bench.asked if name == "purge_batch")


def test_an_original_goes_only_when_its_archive_holds_it_whole(bench: Bench) -> None:
    make_archive(bench)
    good = {"document_id": "1", "object_key": ORIGINAL, "archive_path": "old.zip", "size_bytes": len(TEXT)}
    bench.storage.objects["documents", "short"] = b"x"
    bench.storage.objects["documents", "lost"] = b"x"
    bench.storage.objects["documents", "bad"] = b"x"
    bench.storage.objects["archives", "bad.zip"] = bench.storage.objects["archives", "old.zip"][:100] + bytes(9000)
    batch = [
        {**good, "object_version": "v1"},
        {**good, "document_id": "2", "object_key": "short", "size_bytes": 1, "object_version": "v2"},
        {**good, "document_id": "3", "object_key": "lost", "archive_path": "none.zip", "object_version": "v3"},
        {**good, "document_id": "4", "object_key": "bad", "archive_path": "bad.zip", "object_version": "v4"},
    ]
    bench.answers = {"expire_originals_batch": batch, "finish_expire_original": None}
    assert bench.run("expire_originals") == {"removed": 1, "damaged": 3}
    assert bench.storage.removed == [("documents", ORIGINAL)]
    finished = [entry[1:] for entry in bench.asked if entry[0] == "finish_expire_original"]
    assert finished == [("1", "v1", True), ("2", "v2", False), ("3", "v3", False), ("4", "v4", False)]


def test_orphans_of_both_buckets_go_in_the_order_of_their_keys(bench: Bench) -> None:
    bench.storage.objects = {("documents", "a"): b"", ("documents", "b"): b"", ("archives", "z"): b""}
    orphans = {("documents", ""): ["a"], ("documents", "a"): ["b", "gone"], ("archives", ""): ["z"]}
    bench.answers = {"orphan_keys": lambda bucket, after, batch: orphans.get((bucket, after), [])}
    assert bench.run("sweep_orphans") == {"documents": 2, "archives": 1}
    assert bench.storage.objects == {}


@pytest.mark.parametrize("kind", ["expire_shares", "abandon_uploads", "close_accounts", "prune_history"])
def test_kinds_of_sql_alone_go_on_until_a_piece_is_not_full(bench: Bench, kind: str) -> None:
    pieces = iter([{"rows": 1000}, {"rows": 1000}, {"rows": 17}])
    bench.answers = {"run_maintenance": lambda name: next(pieces)}
    assert bench.run(kind) == {"rows": 2017}
    assert bench.asked == [("run_maintenance", kind)] * 3


def test_a_kind_that_the_database_does_not_know_fails_for_good(bench: Bench) -> None:
    bench.answers = {"run_maintenance": None}
    with pytest.raises(JobFailed) as failed:
        bench.run("expire_shares")
    assert not failed.value.retryable
