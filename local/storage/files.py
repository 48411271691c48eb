"""The bytes, in files named after the version of their object.

    objects/ab/ab12…   complete and synchronised; an object's row names its version
    incoming/          uploads on their way; whatever lies here when the service starts is left over
    resumable/         open resumable uploads: VERSION.json and VERSION.part

A version's file is written once and never changed, so replacing an object cannot harm the old bytes before the new row
is committed, a copy is a hard link, and a download keeps its file while the object goes. Everything that may block runs
on threads of its own; no function here keeps more than two pieces of a file in memory, smaller ones the more there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from local.storage.names import is_uuid
from local.storage.writeback import start_writing_back

__all__ = ["FileStore", "Incoming", "OpenedFile", "Stored", "Writer"]

T = TypeVar("T")
# Gathered before a thread is woken, for 64 KiB pieces cost a third of the speed: as much as the uploads at hand may
# take together, each of them twice (one part is being written while the next comes).
WRITE_BYTES = range(128 << 10, 4 << 20)
ALL_WRITE_BYTES = 12 << 20
COPY_BYTES = 1 << 20
# The same of downloads: two pieces of each are in memory, and clients may stall.
READ_BYTES = range(64 << 10, 512 << 10)
ALL_READ_BYTES = 12 << 20
SMALL_BYTES = 16 << 10


@dataclass(frozen=True)
class Stored:
    """Bytes that are complete: their number, and the hex MD5 that their etag is."""

    size: int
    md5: str


def share(whole: int, among: int, bounds: range) -> int:
    """What one of so many gets of a whole, within bounds."""
    return min(max(whole // among, bounds.start), bounds.stop)


def synchronise_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileStore:
    """The folder of all bytes, used by one service at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.threads = ThreadPoolExecutor(8, thread_name_prefix="storage-files")
        self.writers = self.readers = 0
        self.lock: int | None = None

    def open(self) -> None:
        """Make the folders and take possession. Raises BlockingIOError when another service has it."""
        for name in ("objects", "incoming", "resumable"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for number in range(256):
            (self.root / "objects" / f"{number:02x}").mkdir(exist_ok=True)
        self.lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Let go of the folder."""
        self.threads.shutdown()
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Do blocking work on a thread; a cancelled caller still waits for it, since it uses the caller's file."""
        task = asyncio.get_running_loop().run_in_executor(self.threads, work, *arguments)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    def path(self, version: str) -> Path:
        """Where the bytes of a version are. Raises FileNotFoundError for a text that no version has."""
        if not is_uuid(version):
            raise FileNotFoundError(version)
        version = version.lower()
        return self.root / "objects" / version[:2] / version

    def part(self, version: str) -> Path:
        """Where the bytes of an open resumable upload are."""
        return self.root / "resumable" / f"{version}.part"

    def publish(self, source: Path, version: str, descriptor: int) -> None:
        """Move complete bytes to their place; afterwards they survive a loss of power. Raises OSError.

        The name comes first, since no row knows it yet: one commit of the file system's journal then holds both.
        """
        target = self.path(version)
        source.replace(target)
        os.fsync(descriptor)
        synchronise_folder(target.parent)

    async def copy(self, version: str, new_version: str) -> None:
        """Give the bytes of a version a second name. Raises FileNotFoundError."""

        def work() -> None:
            source, target = self.path(version), self.path(new_version)
            try:
                os.link(source, target)
            except FileNotFoundError:
                raise
            except OSError:  # a file system without hard links, or too many of them
                incoming = self.root / "incoming" / new_version
                with source.open("rb") as reader, incoming.open("xb") as writer:
                    shutil.copyfileobj(reader, writer, COPY_BYTES)
                    os.fsync(writer.fileno())
                incoming.replace(target)
            synchronise_folder(target.parent)

        await self.run(work)

    async def remove(self, *versions: str | None) -> None:
        """Delete the bytes of these versions, as far as there are any."""

        def work() -> None:
            for version in versions:
                with contextlib.suppress(FileNotFoundError):
                    self.path(version or "").unlink()

        await self.run(work)

    async def opened(self, version: str) -> OpenedFile:
        """The bytes of a version, open for reading. Raises FileNotFoundError."""

        def work() -> OpenedFile:
            descriptor = os.open(self.path(version), os.O_RDONLY)
            try:
                size = os.fstat(descriptor).st_size
                small = os.pread(descriptor, size, 0) if size <= SMALL_BYTES else b""
            except BaseException:
                os.close(descriptor)
                raise
            return OpenedFile(self, descriptor, size, small)

        return await self.run(work)

    def incoming(self) -> Incoming:
        """A place for the bytes of an upload on its way."""
        version = str(uuid.uuid4())
        return Incoming(self, version, self.root / "incoming" / version)


class OpenedFile:
    """An open file, whose name may be gone already; `small` is all of a small one, read while it was opened."""

    def __init__(self, store: FileStore, descriptor: int, size: int, small: bytes = b"") -> None:
        self.store, self.descriptor, self.size, self.small = store, descriptor, size, small

    async def pieces(self, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` on; the next piece is read while the last one is being sent."""
        loop, end = asyncio.get_running_loop(), start + length
        if end <= len(self.small):
            yield self.small[start:end]
            return

        def reading(position: int) -> asyncio.Future[bytes]:
            wanted = min(share(ALL_READ_BYTES, self.store.readers, READ_BYTES), end - position)
            return loop.run_in_executor(self.store.threads, os.pread, self.descriptor, wanted, position)

        self.store.readers += 1
        ahead = reading(start)
        try:
            while start < end:
                piece = await asyncio.shield(ahead)
                if not piece:
                    raise OSError("the file is shorter than it was")
                start += len(piece)
                if start < end:
                    ahead = reading(start)
                yield piece
        finally:
            self.store.readers -= 1
            await asyncio.wait([ahead])  # the thread must be done with the file before it is closed

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


class Writer:
    """Appends pieces to an open file on a thread, gathering small ones; to be closed by whoever made it."""

    def __init__(self, store: FileStore, open_file: Callable[[], int], digest: hashlib._Hash | None) -> None:
        self.store, self.open_file, self.digest = store, open_file, digest
        self.counted = False
        self.descriptor = -1
        self.written = 0
        self.fault: OSError | None = None
        self.gathered: list[bytes] = []
        self.waiting = 0
        self.writing: asyncio.Future[None] | None = None

    def write_all(self, pieces: list[bytes]) -> None:
        """Write them; the file is opened with the first, so that a small upload wakes a thread only once.

        Raises OSError; after one nothing more is written, since the file would have a gap.
        """
        if self.fault:
            raise self.fault
        try:
            if self.descriptor < 0:
                self.descriptor = self.open_file()
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(self.descriptor, view) :]
                if self.digest:
                    self.digest.update(piece)
                self.written += len(piece)
            start_writing_back(self.descriptor)
        except OSError as fault:
            self.fault = fault
            raise

    async def write(self, piece: bytes) -> None:
        """Take a piece; waits when the disk is slower than the client."""
        if not self.counted:
            self.counted = True
            self.store.writers += 1
        self.gathered.append(piece)
        self.waiting += len(piece)
        if self.waiting >= share(ALL_WRITE_BYTES, self.store.writers, WRITE_BYTES):
            await self.flush()

    async def flush(self) -> None:
        """Hand what was gathered to the thread, once it is done with what it had."""
        await self.settle()
        if self.gathered:
            self.writing = asyncio.get_running_loop().run_in_executor(
                self.store.threads, self.write_all, self.take_gathered()
            )

    def take_gathered(self) -> list[bytes]:
        """What nobody has written yet; it is the caller's now."""
        pieces, self.gathered, self.waiting = self.gathered, [], 0
        return pieces

    async def settle(self) -> None:
        """Wait for the thread."""
        if self.writing:
            writing = self.writing
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])
                raise
            self.writing = None

    def end(self) -> None:
        """Count no more among those who write."""
        if self.counted:
            self.counted = False
            self.store.writers -= 1

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Incoming:
    """The bytes of one upload on their way to becoming a version."""

    def __init__(self, store: FileStore, version: str, path: Path) -> None:
        self.store, self.version, self.path = store, version, path
        self.digest = hashlib.md5(usedforsecurity=False)
        self.size = 0

        def open_file() -> int:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

        self.writer = Writer(store, open_file, self.digest)

    async def write(self, piece: bytes) -> None:
        """Append to the file. Raises OSError."""
        self.size += len(piece)
        await self.writer.write(piece)

    async def publish(self) -> Stored:
        """Write what is left and give the bytes their version's name, on disk for good. Raises OSError."""

        def work() -> None:
            self.writer.write_all(self.writer.take_gathered())
            self.store.publish(self.path, self.version, self.writer.descriptor)
            self.writer.close()

        self.writer.end()
        await self.writer.settle()
        await self.store.run(work)
        return Stored(self.size, self.digest.hexdigest())

    async def discard(self) -> None:
        """Throw away what has come so far, published or not."""

        def work() -> None:
            self.writer.close()
            for path in (self.path, self.store.path(self.version)):
                path.unlink(missing_ok=True)

        self.writer.end()
        with contextlib.suppress(OSError):
            await self.writer.settle()
        await self.store.run(work)
