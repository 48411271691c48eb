"""Open resumable uploads on disk, and the lock that gives one request at a time an upload.

An upload is VERSION.json, written once at creation (and when a deferred length is told), and VERSION.part, whose length
is the offset. A finished one keeps its description for an hour, so that HEAD still answers; its bytes are the object's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from local.storage.files import FileStore, Stored, Writer
from local.storage.names import is_uuid
from local.storage.settings import FINISHED_UPLOAD_SECONDS, LOCK_GRACE_SECONDS, UNFINISHED_UPLOAD_SECONDS

__all__ = ["Hold", "PartialUpload", "PartialUploads", "UploadLocks"]

DIGESTS_KEPT = 256
HASH_BYTES = 4 << 20


@dataclass
class PartialUpload:
    """An upload that was created: where it goes, its length if known, and the client's metadata (None: no value)."""

    bucket: str
    key: str
    version: str
    size: int | None
    metadata: dict[str, str | None]
    offset: int = 0
    finished: bool = False  # its row was committed


class PartialUploads:
    """The folder of open uploads. Digests run along in memory; after a restart they are computed from the file."""

    def __init__(self, files: FileStore) -> None:
        self.files = files
        self.digests: OrderedDict[str, tuple[int, hashlib._Hash]] = OrderedDict()

    def description(self, version: str) -> Path:
        return self.files.root / "resumable" / f"{version}.json"

    def save(self, upload: PartialUpload) -> None:
        path = self.description(upload.version)
        new = path.with_suffix(".new")
        with new.open("w") as file:
            json.dump(asdict(upload), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    async def create(self, upload: PartialUpload) -> None:
        """Make room for an upload."""

        def work() -> None:
            self.files.part(upload.version).touch(0o600, exist_ok=False)
            self.save(upload)

        await self.files.run(work)
        self.remember(upload.version, 0, hashlib.md5(usedforsecurity=False))

    async def find(self, bucket: str, key: str, version: str) -> PartialUpload | None:
        """The upload with its offset, None when there is none. Raises FileNotFoundError when its bytes are gone."""
        if not is_uuid(version):
            return None

        def work() -> PartialUpload | None:
            try:
                upload = PartialUpload(**json.loads(self.description(version).read_text()))
            except (FileNotFoundError, ValueError):
                return None
            if (upload.bucket, upload.key) != (bucket, key):
                return None
            with contextlib.suppress(FileNotFoundError):
                upload.offset = self.files.part(version).stat().st_size
                return upload
            upload.offset = self.files.path(version).stat().st_size
            return upload

        return await self.files.run(work)

    async def mark_finished(self, upload: PartialUpload) -> None:
        """Note that the upload is an object now."""
        upload.finished = True
        await self.files.run(self.save, upload)

    async def reopen(self, upload: PartialUpload) -> None:
        """Make complete bytes without a row an open upload again that lacks its last byte.

        A client that is told the whole length by HEAD takes its upload for stored and never asks again.
        """

        offset = max(0, upload.offset - 1)

        def work() -> None:
            self.make_open(upload.version)
            os.truncate(self.files.part(upload.version), offset)

        self.digests.pop(upload.version, None)
        await self.files.run(work)
        upload.offset = offset

    async def declare_length(self, upload: PartialUpload, size: int) -> None:
        """Keep the length of an upload that was created without."""
        upload.size = size
        await self.files.run(self.save, upload)

    async def remove(self, version: str) -> None:
        """Forget an upload and its bytes."""

        def work() -> None:
            self.files.part(version).unlink(missing_ok=True)
            self.description(version).unlink(missing_ok=True)

        self.digests.pop(version, None)
        await self.files.run(work)

    @asynccontextmanager
    async def writer(self, upload: PartialUpload) -> AsyncIterator[Writer]:
        """Append to the upload; what was written stays when the block is left early."""
        path = self.files.part(upload.version)
        offset, digest = self.digests.pop(upload.version, (-1, None))
        if offset != upload.offset:
            digest = None
        writer = Writer(self.files, lambda: os.open(path, os.O_WRONLY | os.O_APPEND), digest)

        def finish() -> None:
            try:
                writer.write_all(writer.take_gathered())
            finally:
                upload.offset = path.stat().st_size
                writer.close()

        try:
            yield writer
        finally:
            writer.end()
            try:
                await writer.settle()
            finally:
                reached = upload.offset
                await self.files.run(finish)
                if digest and upload.offset == reached + writer.written:
                    self.remember(upload.version, upload.offset, digest)

    def remember(self, version: str, offset: int, digest: hashlib._Hash) -> None:
        self.digests[version] = (offset, digest)
        while len(self.digests) > DIGESTS_KEPT:
            self.digests.popitem(last=False)

    async def publish(self, upload: PartialUpload) -> Stored:
        """Make the complete bytes a version. A second time, after a crash before the commit, they are one already."""
        offset, digest = self.digests.pop(upload.version, (-1, None))
        if offset != upload.offset:
            digest = None

        def work() -> Stored:
            part = self.files.part(upload.version)
            path = part if part.exists() else self.files.path(upload.version)
            md5 = digest or digest_of(path)
            if path == part:
                with part.open("rb") as file:
                    self.files.publish(part, upload.version, file.fileno())
            return Stored(upload.offset, md5.hexdigest())

        return await self.files.run(work)

    def sweep(self, *, at_start: bool = False) -> None:
        """Delete descriptions of stored uploads after an hour, open uploads that nobody has touched for two days.

        And what a crash has left half made: at the start at once, later only what is too old to be just being made.
        """
        now = time.time()
        made_before = now + 1 if at_start else now - FINISHED_UPLOAD_SECONDS
        for path in list((self.files.root / "resumable").iterdir()):
            with contextlib.suppress(FileNotFoundError):
                part, described = path.with_suffix(".part"), path.with_suffix(".json").exists()
                touched = max((file.stat().st_mtime for file in (path, part) if file.exists()), default=now)
                if path.suffix == ".new" or not described:
                    wanted_since = made_before
                elif self.is_finished(path.stem):
                    wanted_since = now - FINISHED_UPLOAD_SECONDS
                else:
                    wanted_since = now - UNFINISHED_UPLOAD_SECONDS
                if touched < wanted_since:
                    path.unlink(missing_ok=True)

    def make_open(self, version: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.files.path(version).replace(self.files.part(version))

    def reclaim(self, version: str) -> bool:
        """Whether bytes without a row are those of an upload whose last step was lost; then it is open again."""
        if not self.description(version).exists() or self.is_finished(version):
            return False
        self.make_open(version)
        return True

    def is_finished(self, version: str) -> bool:
        """Whether an upload's row was committed, or its description says nothing at all."""
        try:
            return bool(json.loads(self.description(version).read_text())["finished"])
        except (FileNotFoundError, ValueError, KeyError):
            return True


def digest_of(path: Path) -> hashlib._Hash:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(HASH_BYTES):
            digest.update(piece)
    return digest


class Hold:
    """The only right to an upload; `asked` is set when another request wants it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    async def must_end(self) -> None:
        """Return when the holder has had its grace and has to end."""
        await self.asked.wait()
        await asyncio.sleep(LOCK_GRACE_SECONDS)


class UploadLocks:
    """Who holds which upload. One process owns the folder, so memory is enough."""

    def __init__(self) -> None:
        self.holds: dict[str, Hold] = {}

    @asynccontextmanager
    async def held(self, version: str) -> AsyncIterator[Hold]:
        """Hold an upload, once those who hold it have ended; they are asked to within three seconds."""
        while holder := self.holds.get(version):
            holder.asked.set()
            await holder.released.wait()
        hold = self.holds[version] = Hold()
        try:
            yield hold
        finally:
            del self.holds[version]
            hold.released.set()
