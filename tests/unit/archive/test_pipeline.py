"""A document becomes an archive, is renamed, verified and read back, all over HTTP with faults on the way."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace

import pytest

from jobs.archive import ArchiveDamaged, ArchiveUnreadable, Entry, archive, refresh, verify, verify_whole
from jobs.storage import SourceChanged, SourceMissing, Storage, TooLarge
from tests.unit.archive.fake_storage import SECRET, FakeStorage, Fault
from tests.unit.archive.test_writer import BOUNDARIES, MOMENT, mixed

ENTRY = Entry("Übersicht.txt", MOMENT)
DOCUMENT = ("documents", "owner/document")
ARCHIVE = ("archives", "owner/document/7-1.zip")
RENAMED = ("archives", "owner/document/8-1.zip")


class Cancelled(Exception):
    pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStorage]:
    # waits are looked at oftener, so that stalls cost a test less
    monkeypatch.setattr("jobs.storage.connection.TICK", 0.02)
    fake = FakeStorage()
    yield fake
    fake.close()


@pytest.fixture
def storage(service: FakeStorage) -> Storage:
    return Storage(service.url, SECRET, stall=0.2, tries=3, delay=0.001)


def content(service: FakeStorage, key: tuple[str, str], name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(service.objects[key])) as opened:
        assert opened.namelist() == [name]
        return opened.read(name)


@pytest.mark.parametrize("size", [*BOUNDARIES, 20_000_000])
def test_a_document_is_archived_verified_renamed_and_read_back(
    storage: Storage, service: FakeStorage, size: int
) -> None:
    data = service.objects[DOCUMENT] = mixed(size)
    told: list[int] = []
    source = storage.source(*DOCUMENT, size=size)
    result = archive(source, storage.target(*ARCHIVE), ENTRY, "balanced", on_progress=told.append)
    assert content(service, ARCHIVE, "Übersicht.txt") == data
    assert told == sorted(told) and (told or [0])[-1] == size
    verify(storage.source(*ARCHIVE), result)
    assert verify_whole(storage.source(*ARCHIVE)) == result
    renamed = refresh(storage.source(*ARCHIVE), storage.target(*RENAMED), Entry("neu.md", MOMENT))
    assert content(service, RENAMED, "neu.md") == data
    verify(storage.source(*RENAMED), renamed)
    assert verify_whole(storage.source(*RENAMED)) == renamed
    assert renamed.crc32 == result.crc32 and renamed.name == "neu.md"


def test_faults_on_both_sides_change_nothing(storage: Storage, service: FakeStorage) -> None:
    data = service.objects[DOCUMENT] = mixed(30_000_000)
    service.faults["GET"] += [Fault(status=500), Fault(after=5_000_000), Fault(after=12_345_678, hang=True)]
    service.faults["POST"] += [Fault(status=503)]
    service.faults["PATCH"] += [Fault(status=500), Fault(lost=True), Fault(after=100)]
    service.faults["HEAD"] += [Fault(status=502)]
    result = archive(storage.source(*DOCUMENT, size=len(data)), storage.target(*ARCHIVE), ENTRY, "fast")
    assert content(service, ARCHIVE, "Übersicht.txt") == data
    verify(storage.source(*ARCHIVE), result)


def test_a_document_that_changes_on_the_way_leaves_no_archive(storage: Storage, service: FakeStorage) -> None:
    data = service.objects[DOCUMENT] = mixed(30_000_000)
    other = Fault(do=lambda: service.objects.__setitem__(DOCUMENT, data[::-1]))
    service.faults["GET"] += [Fault(after=25_000_000), other]
    with pytest.raises(SourceChanged):
        archive(storage.source(*DOCUMENT, size=len(data)), storage.target(*ARCHIVE), ENTRY)
    assert ARCHIVE not in service.objects and not service.uploads


def test_a_missing_document_says_so_and_sends_nothing(storage: Storage, service: FakeStorage) -> None:
    with pytest.raises(SourceMissing):
        archive(storage.source(*DOCUMENT, size=5), storage.target(*ARCHIVE), ENTRY)
    assert not service.requests("POST")


def test_an_archive_too_large_leaves_nothing(storage: Storage, service: FakeStorage) -> None:
    data = service.objects[DOCUMENT] = mixed(30_000_000)
    service.limit = 7_000_000
    with pytest.raises(TooLarge):
        archive(storage.source(*DOCUMENT, size=len(data)), storage.target(*ARCHIVE), ENTRY)
    assert not service.uploads and ARCHIVE not in service.objects


@pytest.mark.parametrize("where", ["GET", "PATCH"])
def test_what_check_raises_comes_out_and_leaves_nothing(service: FakeStorage, where: str) -> None:
    patient = Storage(service.url, SECRET, stall=3600)
    data = service.objects[DOCUMENT] = mixed(30_000_000)
    service.faults[where].append(Fault(after=20_000_000 if where == "GET" else 5, hang=True))

    def check() -> None:
        if service.hanging.is_set():
            raise Cancelled

    with pytest.raises(Cancelled):
        source = patient.source(*DOCUMENT, size=len(data), check=check)
        archive(source, patient.target(*ARCHIVE, check=check), ENTRY, check=check)
    assert not service.uploads and ARCHIVE not in service.objects


def test_verification_sees_what_is_wrong(storage: Storage, service: FakeStorage) -> None:
    data = service.objects[DOCUMENT] = mixed(10_000_000)
    result = archive(storage.source(*DOCUMENT, size=len(data)), storage.target(*ARCHIVE), ENTRY)
    good = service.objects[ARCHIVE]
    for other in (
        replace(result, crc32=result.crc32 ^ 1),
        replace(result, name="other.txt"),
        replace(result, size=result.size + 1),
        replace(result, archive_size=result.archive_size + 1),
    ):
        with pytest.raises(ArchiveDamaged):
            verify(storage.source(*ARCHIVE), other)
    service.objects[ARCHIVE] = good[:-10]
    with pytest.raises(ArchiveDamaged, match="no end of central directory") as raised:
        verify(storage.source(*ARCHIVE), result)
    assert raised.value.retryable
    del service.objects[ARCHIVE]
    with pytest.raises(SourceMissing):
        verify(storage.source(*ARCHIVE), result)


@pytest.mark.parametrize("at", [60, 3_000_000])
@pytest.mark.parametrize("size", [10_000_000, 4000])
def test_reading_back_whole_sees_one_wrong_byte(storage: Storage, service: FakeStorage, size: int, at: int) -> None:
    service.objects[DOCUMENT] = mixed(size)
    archive(storage.source(*DOCUMENT), storage.target(*ARCHIVE), ENTRY)
    damaged = bytearray(service.objects[ARCHIVE])
    at = min(at, len(damaged) // 2)
    damaged[at : at + 3] = bytes(byte ^ 0x55 for byte in damaged[at : at + 3])
    service.objects[ARCHIVE] = bytes(damaged)
    with pytest.raises(ArchiveDamaged):
        verify_whole(storage.source(*ARCHIVE))


def test_something_else_is_not_refreshed(storage: Storage, service: FakeStorage) -> None:
    service.objects[ARCHIVE] = b"not an archive"
    with pytest.raises(ArchiveUnreadable):
        refresh(storage.source(*ARCHIVE), storage.target(*RENAMED), ENTRY)
    assert RENAMED not in service.objects
