"""The folder of bytes: nothing is visible before it is whole, and nobody's file is changed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from local.storage.files import FileStore
from local.storage.partial import PartialUpload, PartialUploads, UploadLocks

T = TypeVar("T")


def in_store(folder: Path, work: Callable[[FileStore], Awaitable[T]]) -> T:
    async def run() -> T:
        store = FileStore(folder)
        store.open()
        try:
            return await work(store)
        finally:
            store.close()

    return asyncio.run(run())


async def read(store: FileStore, version: str, start: int = 0, length: int | None = None) -> bytes:
    opened = await store.opened(version)
    try:
        return b"".join([piece async for piece in opened.pieces(start, opened.size if length is None else length)])
    finally:
        opened.close()


def test_published_bytes_are_read_back(tmp_path: Path) -> None:
    body = os.urandom(3_000_001)

    async def work(store: FileStore) -> None:
        incoming = store.incoming()
        for start in range(0, len(body), 65_536):
            await incoming.write(body[start : start + 65_536])
        with pytest.raises(FileNotFoundError):
            await store.opened(incoming.version)
        stored = await incoming.publish()
        assert stored.size == len(body)
        assert stored.md5 == hashlib.md5(body, usedforsecurity=False).hexdigest()
        assert await read(store, incoming.version) == body
        assert await read(store, incoming.version, 1_000_000, 5) == body[1_000_000:1_000_005]
        assert not list((tmp_path / "incoming").iterdir())

    in_store(tmp_path, work)


def test_discarded_bytes_leave_nothing(tmp_path: Path) -> None:
    async def work(store: FileStore) -> None:
        incoming = store.incoming()
        await incoming.write(b"x" * 2_000_000)
        await incoming.discard()
        assert not list((tmp_path / "incoming").iterdir())

    in_store(tmp_path, work)


def test_a_copy_outlives_its_original_and_a_reader_both(tmp_path: Path) -> None:
    async def work(store: FileStore) -> None:
        incoming, copy = store.incoming(), str(uuid.uuid4())
        await incoming.write(b"bytes")
        await incoming.publish()
        await store.copy(incoming.version, copy)
        opened = await store.opened(copy)
        await store.remove(incoming.version, None, "no version")
        assert await read(store, copy) == b"bytes"
        await store.remove(copy)
        assert b"".join([piece async for piece in opened.pieces(0, 5)]) == b"bytes"
        opened.close()

    in_store(tmp_path, work)


def test_a_version_that_is_no_uuid_has_no_file(tmp_path: Path) -> None:
    async def work(store: FileStore) -> None:
        for version in ("", "../../etc/passwd", "1"):
            with pytest.raises(FileNotFoundError):
                await store.opened(version)

    in_store(tmp_path, work)


def test_one_service_at_a_time_has_the_folder(tmp_path: Path) -> None:
    async def work(store: FileStore) -> None:
        with pytest.raises(BlockingIOError):
            FileStore(tmp_path).open()

    in_store(tmp_path, work)


def test_an_upload_s_digest_survives_a_restart(tmp_path: Path) -> None:
    version = str(uuid.uuid4())

    async def begin(store: FileStore) -> None:
        uploads = PartialUploads(store)
        upload = PartialUpload("documents", "a", version, 10, {})
        await uploads.create(upload)
        async with uploads.writer(upload) as writer:
            await writer.write(b"01234")
        assert upload.offset == 5

    async def end(store: FileStore) -> None:
        uploads = PartialUploads(store)
        upload = await uploads.find("documents", "a", version)
        assert upload is not None
        assert upload.offset == 5
        assert await uploads.find("documents", "b", version) is None
        async with uploads.writer(upload) as writer:
            await writer.write(b"56789")
        stored = await uploads.publish(upload)
        assert stored.md5 == hashlib.md5(b"0123456789", usedforsecurity=False).hexdigest()
        assert await uploads.publish(upload) == stored  # once more, as after a crash before the commit

    in_store(tmp_path, begin)
    in_store(tmp_path, end)


def test_uploads_that_nobody_touched_for_two_days_go(tmp_path: Path) -> None:
    async def work(store: FileStore) -> None:
        uploads = PartialUploads(store)
        old, new = (PartialUpload("documents", "a", str(uuid.uuid4()), 10, {}) for _ in range(2))
        for upload in (old, new):
            await uploads.create(upload)
        age(store, old.version, 49)
        age(store, new.version, 47)
        uploads.sweep()
        assert {path.stem for path in (tmp_path / "resumable").iterdir()} == {new.version}

    in_store(tmp_path, work)


def test_finished_uploads_are_remembered_for_an_hour(tmp_path: Path) -> None:
    async def work(store: FileStore) -> None:
        uploads = PartialUploads(store)
        done, fresh = (PartialUpload("documents", "a", str(uuid.uuid4()), 0, {}) for _ in range(2))
        for upload in (done, fresh):
            await uploads.create(upload)
            await uploads.publish(upload)
            await uploads.mark_finished(upload)
        age(store, done.version, 2)
        uploads.sweep(at_start=True)
        assert [path.name for path in (tmp_path / "resumable").iterdir()] == [f"{fresh.version}.json"]

    in_store(tmp_path, work)


def test_half_made_uploads_go_at_the_start_and_later_only_when_they_are_old(tmp_path: Path) -> None:
    async def work(store: FileStore) -> None:
        uploads = PartialUploads(store)
        names = [f"{uuid.uuid4()}{suffix}" for suffix in (".part", ".new")]
        for name in names:
            (tmp_path / "resumable" / name).touch()
        uploads.sweep()
        assert {path.name for path in (tmp_path / "resumable").iterdir()} == set(names)
        uploads.sweep(at_start=True)
        assert not list((tmp_path / "resumable").iterdir())

    in_store(tmp_path, work)


def test_nothing_is_written_behind_a_gap(tmp_path: Path) -> None:
    """After a failed write the disk may have room again; what follows must not be taken for what is missing."""

    async def work(store: FileStore) -> None:
        uploads = PartialUploads(store)
        upload = PartialUpload("documents", "a", str(uuid.uuid4()), 30, {})
        await uploads.create(upload)
        with pytest.raises(OSError, match="full"):
            async with uploads.writer(upload) as writer:
                await writer.write(b"0123456789")
                await writer.flush()
                await writer.settle()
                writer.fault = OSError("the disk is full")
                await writer.write(b"abc")
        assert store.part(upload.version).read_bytes() == b"0123456789"
        assert upload.offset == 10

    in_store(tmp_path, work)


def age(store: FileStore, version: str, hours: float) -> None:
    moment = time.time() - hours * 3600
    for path in (store.root / "resumable").glob(f"{version}.*"):
        os.utime(path, (moment, moment))


def test_the_second_holder_asks_the_first_to_end() -> None:
    async def work() -> list[str]:
        locks, told = UploadLocks(), []

        async def first() -> None:
            async with locks.held("v") as hold:
                await hold.asked.wait()
                told.append("first ended")

        async def second() -> None:
            async with locks.held("v"):
                told.append("second has it")

        one = asyncio.create_task(first())
        await asyncio.sleep(0)
        await asyncio.gather(one, second(), second())
        return told

    assert asyncio.run(work()) == ["first ended", "second has it", "second has it"]
