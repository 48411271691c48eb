"""A ZIP file of one entry, written as a stream.

Layout after PKWARE's APPNOTE 6.3.10. Two forms, both read by sixteen readers (Info-ZIP, 7-Zip, Java, .NET, Go …):

- exact: sizes and CRC in the local header, method 0 or 8, no data descriptor. Documents up to SMALL, and every
  rewritten archive.
- streamed: method 8 and a data descriptor with its signature, since the CRC is known only at the end. Everything
  larger. Never method 0 here: a reader that streams could not find the end.

ZIP64 only where a size may pass 4 GiB: some old readers know neither it nor need it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime

import deflate
from isal import isal_zlib

from jobs.archive.blocks import compressed_blocks, processors, shared_pool
from jobs.archive.errors import ArchiveUnreadable, SourceLength
from jobs.archive.inspect import CENTRAL, END, END64, FULL, LOCAL, LOCATOR, UTF8, Member, data_offset
from jobs.archive.names import entry_name
from jobs.archive.presets import Bytes, Preset

__all__ = ["SMALL", "ArchiveResult", "Compression", "Entry", "compress", "rewrite", "rewritten"]

# up to this many bytes one buffer is compressed at once, and the header tells the truth
SMALL = 4 * 1024 * 1024
SMALL_LEVEL = 6

STORED, DEFLATED = 0, 8
DESCRIPTOR = 0x8
VERSION, VERSION64 = 20, 45
# made on Unix, so that the mode below counts: a plain file, rw-r--r--
UNIX = 3 << 8
FILE_MODE = 0o100644 << 16
# an empty deflate block that is the last one: after blocks that end on a byte boundary it closes the stream
DEFLATE_END = b"\x03\x00"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the archive says of the document: its display name (made safe here) and an aware time."""

    name: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """What was written: the entry's safe name, CRC-32, sizes in bytes (the document's first), method (0 or 8)."""

    name: str
    crc32: int
    size: int
    compressed_size: int
    archive_size: int
    method: int


class Compression:
    """An archive on its way: iterate over it once for its bytes, then read `result`."""

    def __init__(self, pieces: Callable[[Compression], Iterator[Bytes]]) -> None:
        self._pieces = pieces(self)
        self._result: ArchiveResult | None = None

    def __iter__(self) -> Iterator[Bytes]:
        return self._pieces

    @property
    def result(self) -> ArchiveResult:
        if self._result is None:
            raise RuntimeError("the archive has not been written to its end")
        return self._result


def compress(
    pieces: Iterable[Bytes],
    size: int,
    entry: Entry,
    preset: Preset = "balanced",
    *,
    on_progress: Callable[[int], None] | None = None,
    check: Callable[[], None] | None = None,
    pool: Executor | None = None,
) -> Compression:
    """Make a ZIP file of `pieces`, a document of `size` bytes altogether.

    `on_progress` hears how many bytes of the document have been taken; `check` is called before each piece and stops
    the work by raising. The same bytes, entry and preset give the same archive on any pool. Memory: about
    6 + 2 × processors blocks of 512 KiB. Raises SourceLength when the pieces are not `size` bytes.
    """
    taken = _counted(pieces, size, on_progress, check)
    if size <= SMALL:
        return Compression(lambda job: _exact(job, taken, entry))
    return Compression(lambda job: _streamed(job, taken, size, entry, preset, pool or shared_pool()))


def _counted(
    pieces: Iterable[Bytes],
    size: int,
    on_progress: Callable[[int], None] | None,
    check: Callable[[], None] | None,
) -> Iterator[Bytes]:
    taken = 0
    for piece in pieces:
        if check is not None:
            check()
        taken += len(piece)
        if taken > size:
            raise SourceLength(size, taken)
        yield piece
        if on_progress is not None:
            on_progress(taken)
    if taken != size:
        raise SourceLength(size, taken)


def _exact(job: Compression, pieces: Iterable[Bytes], entry: Entry) -> Iterator[Bytes]:
    data: Bytes = b"".join(pieces)
    size, crc32, method = len(data), isal_zlib.crc32(data), STORED
    packed = deflate.deflate_compress(data, SMALL_LEVEL) if size else data
    if len(packed) < size:
        data, method = packed, DEFLATED
    form = _Form(entry, method, streamed=False, wide=False)
    head, tail = form.head(crc32, size, len(data)), form.tail(crc32, size, len(data))
    job._result = form.result(crc32, size, len(data))
    yield b"".join((head, data, tail))


def _streamed(
    job: Compression, pieces: Iterable[Bytes], size: int, entry: Entry, preset: Preset, pool: Executor
) -> Iterator[Bytes]:
    # stored blocks add under 0.01 %, so a thousandth is room enough; the offset of the directory must fit as well
    form = _Form(entry, DEFLATED, streamed=True, wide=size + size // 1000 + 1024 >= FULL)
    yield form.head(0, 0, 0)
    crc32 = compressed_size = 0
    for block in compressed_blocks(pieces, preset, pool, window=6 + 2 * processors()):
        crc32 = isal_zlib.crc32_combine(crc32, block.crc32, block.size)
        compressed_size += len(block.data)
        yield block.data
    compressed_size += len(DEFLATE_END)
    job._result = form.result(crc32, size, compressed_size)
    yield DEFLATE_END + form.tail(crc32, size, compressed_size)


def rewritten(member: Member, entry: Entry) -> ArchiveResult:
    """Tell beforehand what `rewrite` will write."""
    return _rewritten_form(member, entry).result(member.crc32, member.size, member.compressed_size)


def rewrite(pieces: Iterable[Bytes], member: Member, entry: Entry) -> Iterator[Bytes]:
    """Write an archive anew under another name, around the same compressed bytes, without decompressing.

    `pieces` is the old archive from its first byte, `member` what its directory says. Raises ArchiveUnreadable when it
    ends too early or does not begin with a local header.
    """
    form = _rewritten_form(member, entry)
    yield form.head(member.crc32, member.size, member.compressed_size)
    left = member.compressed_size
    head, skip = bytearray(), -1
    source = iter(pieces)
    while skip < 0 or left or skip:
        piece = next(source, None)
        if piece is None:
            raise ArchiveUnreadable("it ends before its entry does")
        if skip < 0:
            head += piece
            if len(head) < LOCAL.size:
                continue
            skip, piece = data_offset(bytes(head[: LOCAL.size])), head
        view = memoryview(piece)[skip : skip + left]
        skip = max(skip - len(piece), 0)
        left -= len(view)
        if view:
            yield view
    yield form.tail(member.crc32, member.size, member.compressed_size)


def _rewritten_form(member: Member, entry: Entry) -> _Form:
    return _Form(entry, member.method, streamed=False, wide=max(member.size, member.compressed_size) >= FULL)


class _Form:
    """The records around one entry's data. `wide`: sizes stand in ZIP64 extra fields, in header and directory alike."""

    def __init__(self, entry: Entry, method: int, *, streamed: bool, wide: bool) -> None:
        self.name = entry_name(entry.name)
        self.encoded = self.name.encode()
        self.flags = UTF8 | (DESCRIPTOR if streamed else 0)
        self.method, self.streamed, self.wide = method, streamed, wide
        self.version = VERSION64 if wide else VERSION
        self.time, self.date = _dos_time(entry.modified)

    def head(self, crc32: int, size: int, compressed_size: int) -> bytes:
        extra = self._extra(size, compressed_size)
        if self.wide:
            size = compressed_size = FULL
        return (
            LOCAL.pack(
                b"PK\x03\x04", self.version, self.flags, self.method, self.time, self.date,
                crc32, compressed_size, size, len(self.encoded), len(extra),
            )
            + self.encoded
            + extra
        )  # fmt: skip

    def tail(self, crc32: int, size: int, compressed_size: int) -> bytes:
        """Give all that follows the data: descriptor (if streamed), central directory and its end."""
        descriptor = b""
        if self.streamed:
            descriptor = struct.pack("<4sLQQ" if self.wide else "<4s3L", b"PK\x07\x08", crc32, compressed_size, size)
        offset = LOCAL.size + len(self.encoded) + len(self._extra(0, 0)) + compressed_size + len(descriptor)
        extra = self._extra(size, compressed_size)
        if self.wide:
            size = compressed_size = FULL
        directory = (
            CENTRAL.pack(
                b"PK\x01\x02", UNIX | self.version, self.version, self.flags, self.method, self.time, self.date,
                crc32, compressed_size, size, len(self.encoded), len(extra), 0, 0, 0, FILE_MODE, 0,
            )
            + self.encoded
            + extra
        )  # fmt: skip
        end = b""
        if offset >= FULL:
            end = END64.pack(
                b"PK\x06\x06", END64.size - 12, UNIX | VERSION64, VERSION64, 0, 0, 1, 1, len(directory), offset
            )
            end += LOCATOR.pack(b"PK\x06\x07", 0, offset + len(directory), 1)
        end += END.pack(b"PK\x05\x06", 0, 0, 1, 1, len(directory), min(offset, FULL), 0)
        return descriptor + directory + end

    def result(self, crc32: int, size: int, compressed_size: int) -> ArchiveResult:
        around = len(self.head(crc32, size, compressed_size)) + len(self.tail(crc32, size, compressed_size))
        return ArchiveResult(self.name, crc32, size, compressed_size, around + compressed_size, self.method)

    def _extra(self, size: int, compressed_size: int) -> bytes:
        return struct.pack("<2H2Q", 1, 16, size, compressed_size) if self.wide else b""


def _dos_time(moment: datetime) -> tuple[int, int]:
    """Give MS-DOS time and date of a moment in UTC, clamped to what they can say: 1980 to 2107, even seconds."""
    moment = moment.astimezone(UTC)
    if moment.year < 1980:
        return 0, 1 << 5 | 1
    if moment.year > 2107:
        return 23 << 11 | 59 << 5 | 29, 127 << 9 | 12 << 5 | 31
    return (
        moment.hour << 11 | moment.minute << 5 | moment.second // 2,
        (moment.year - 1980) << 9 | moment.month << 5 | moment.day,
    )
