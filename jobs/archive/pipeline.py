"""The whole way of one archive: from a source to a target, and proof afterwards that it arrived.

Sources and targets are anything of these shapes; `jobs.storage` has those over the Storage API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Protocol, cast

from isal import isal_zlib

from jobs.archive.errors import ArchiveDamaged, ArchiveUnreadable
from jobs.archive.inspect import TAIL, Member, data_offset, read_directory
from jobs.archive.presets import RAW, Bytes, Preset
from jobs.archive.writer import ArchiveResult, Entry, compress, rewrite, rewritten

__all__ = ["Readable", "Writable", "archive", "refresh", "verify", "verify_whole"]

# deflate makes at most 1032 bytes of one (zlib's technical notes): so much input gives at most 17 MB of output
INFLATE_INPUT = 16 * 1024
_NotDeflate = cast(type[Exception], isal_zlib.error)


class Ending(Protocol):
    """The last bytes of an object, and its size in bytes."""

    @property
    def data(self) -> bytes: ...
    @property
    def total(self) -> int: ...


class Readable(Protocol):
    """An object to read once: its size in bytes, its bytes from the first on, its last bytes."""

    @property
    def size(self) -> int: ...
    def blocks(self) -> Iterator[Bytes]: ...
    def tail(self, length: int) -> Ending: ...
    def close(self) -> None: ...


class Writable(Protocol):
    """An object to write: takes all bytes (`size` of them, where that is known) and gives their number."""

    def write(self, pieces: Iterable[Bytes], size: int | None = None) -> int: ...


def archive(
    source: Readable,
    target: Writable,
    entry: Entry,
    preset: Preset = "balanced",
    *,
    on_progress: Callable[[int], None] | None = None,
    check: Callable[[], None] | None = None,
) -> ArchiveResult:
    """Write the document `source` as a ZIP file to `target`, as one stream, in about 30 MB of memory.

    `on_progress` hears the bytes of the document taken so far; whatever `check` raises stops the work. Raises
    SourceLength, and what source and target raise.
    """
    with closing(source):
        job = compress(source.blocks(), source.size, entry, preset, on_progress=on_progress, check=check)
        written = target.write(job)
    _sent(written, job.result.archive_size)
    return job.result


def refresh(
    source: Readable,
    target: Writable,
    entry: Entry,
    *,
    on_progress: Callable[[int], None] | None = None,
    check: Callable[[], None] | None = None,
) -> ArchiveResult:
    """Write the archive `source` anew to `target` under another entry name, around the same compressed bytes.

    `on_progress` hears the bytes of the old archive taken so far. Raises ArchiveUnreadable when it is not ours.
    """
    with closing(source):
        member = _member(source)[0]
        result = rewritten(member, entry)
        pieces = rewrite(_watched(source.blocks(), on_progress, check), member, entry)
        written = target.write(pieces, result.archive_size)
    _sent(written, result.archive_size)
    return result


def verify(source: Readable, expected: ArchiveResult) -> None:
    """Read an archive's central directory with one request; raise ArchiveDamaged unless it says what was written."""
    try:
        member, total = _member(source)
    except ArchiveUnreadable as error:
        raise ArchiveDamaged(error.message.removeprefix("The archive cannot be read: ").rstrip(".")) from error
    if total != expected.archive_size:
        raise ArchiveDamaged(f"it has {total} bytes where {expected.archive_size} were sent")
    said = (member.name, member.method, member.crc32, member.size, member.compressed_size)
    if said != (expected.name, expected.method, expected.crc32, expected.size, expected.compressed_size):
        raise ArchiveDamaged("its central directory names another name, checksum or size than was written")


def verify_whole(
    source: Readable,
    *,
    on_progress: Callable[[int], None] | None = None,
    check: Callable[[], None] | None = None,
) -> ArchiveResult:
    """Read an archive whole and inflate it; raise ArchiveDamaged unless size and CRC-32 are those of its directory."""
    crc32 = size = 0
    with closing(source):
        member, total = _member(source)
        for piece in _inflated(_data(_watched(source.blocks(), on_progress, check), member), member):
            crc32 = isal_zlib.crc32(piece, crc32)
            size += len(piece)
            if size > member.size:
                break
    if (crc32, size) != (member.crc32, member.size):
        raise ArchiveDamaged("its entry does not give back the document's checksum and size")
    return ArchiveResult(member.name, crc32, size, member.compressed_size, total, member.method)


def _member(source: Readable) -> tuple[Member, int]:
    ending = source.tail(TAIL)
    return read_directory(ending.data, ending.total), ending.total


def _sent(written: int, expected: int) -> None:
    if written != expected:
        raise ArchiveDamaged(f"{written} of its {expected} bytes were taken")


def _watched(
    pieces: Iterable[Bytes], on_progress: Callable[[int], None] | None, check: Callable[[], None] | None
) -> Iterator[Bytes]:
    taken = 0
    for piece in pieces:
        if check is not None:
            check()
        taken += len(piece)
        yield piece
        if on_progress is not None:
            on_progress(taken)


def _data(pieces: Iterable[Bytes], member: Member) -> Iterator[Bytes]:
    """Give the entry's compressed bytes alone."""
    skip, left = -1, member.compressed_size
    for piece in pieces:
        if skip < 0:
            skip = data_offset(bytes(piece[:64]))
        view = memoryview(piece)[skip : skip + left]
        skip = max(skip - len(piece), 0)
        left -= len(view)
        yield view
        if not left:
            return
    raise ArchiveDamaged("it ends before its entry does")


def _inflated(pieces: Iterable[Bytes], member: Member) -> Iterator[Bytes]:
    if member.method == 0:
        yield from pieces
        return
    unpacker = isal_zlib.decompressobj(RAW)
    for piece in pieces:
        for start in range(0, len(piece), INFLATE_INPUT):
            if unpacker.eof:
                raise ArchiveDamaged("its entry's data ends too early")
            try:
                yield unpacker.decompress(piece[start : start + INFLATE_INPUT])
            except _NotDeflate:
                raise ArchiveDamaged("its entry's data is not deflate") from None
    if not unpacker.eof or unpacker.unused_data:
        raise ArchiveDamaged("its entry's data does not end where it should")
