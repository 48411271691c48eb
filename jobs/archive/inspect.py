"""What an archive says of itself: the central directory read back from the end of the file.

Layout after PKWARE's APPNOTE 6.3.10: 4.3.7 local header, 4.3.12 central directory, 4.3.14–4.3.16 its ends, 4.5.3 ZIP64.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from jobs.archive.errors import ArchiveUnreadable

__all__ = ["TAIL", "Member", "data_offset", "read_directory"]

# more than the directory and both ends of an archive of one entry ever take
TAIL = 4096

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
FULL = 0xFFFF_FFFF
UTF8 = 0x800


@dataclass(frozen=True, slots=True)
class Member:
    """The one entry of an archive; sizes in bytes."""

    name: str
    method: int
    crc32: int
    size: int
    compressed_size: int


def read_directory(tail: bytes, total: int) -> Member:
    """Read the central directory out of `tail`, the last bytes of an archive of `total` bytes.

    Raises ArchiveUnreadable when there is no directory of exactly one entry, at the archive's start, in these bytes.
    """
    start = total - len(tail)
    end_at = tail.rfind(b"PK\x05\x06")
    if end_at < 0 or len(tail) - end_at < END.size:
        raise ArchiveUnreadable("it has no end of central directory")
    _, _, _, _, entries, length, offset, comment = END.unpack_from(tail, end_at)
    if end_at + END.size + comment != len(tail):
        raise ArchiveUnreadable("bytes follow its end")
    directory_end = start + end_at
    if FULL in (length, offset) or entries == 0xFFFF:
        directory_end, entries, length, offset = _end64(tail, start, end_at)
    if entries != 1:
        raise ArchiveUnreadable(f"it has {entries} entries instead of one")
    if offset + length != directory_end or offset < start:
        raise ArchiveUnreadable("its central directory is not where it should be")
    return _member(tail[offset - start : offset - start + length])


def _end64(tail: bytes, start: int, end_at: int) -> tuple[int, int, int, int]:
    at = end_at - LOCATOR.size
    if at < 0 or tail[at : at + 4] != b"PK\x06\x07":
        raise ArchiveUnreadable("its ZIP64 locator is missing")
    where = LOCATOR.unpack_from(tail, at)[2] - start
    if not 0 <= where <= at - END64.size or tail[where : where + 4] != b"PK\x06\x06":
        raise ArchiveUnreadable("its ZIP64 end of central directory is missing")
    fields = END64.unpack_from(tail, where)
    return start + where, fields[7], fields[8], fields[9]


def _member(record: bytes) -> Member:
    if len(record) < CENTRAL.size or record[:4] != b"PK\x01\x02":
        raise ArchiveUnreadable("its central directory is broken")
    fields = CENTRAL.unpack_from(record)
    flags, method, crc32, compressed_size, size = fields[3], fields[4], fields[7], fields[8], fields[9]
    name_length, extra_length, comment_length, local_offset = fields[10], fields[11], fields[12], fields[16]
    name_end = CENTRAL.size + name_length
    if len(record) != name_end + extra_length + comment_length:
        raise ArchiveUnreadable("its central directory is broken")
    wide = _zip64(record[name_end : name_end + extra_length])
    needed = [size, compressed_size, local_offset].count(FULL)
    if len(wide) < needed:
        raise ArchiveUnreadable("its ZIP64 sizes are missing")
    size, compressed_size, local_offset = (
        wide.pop(0) if field == FULL else field for field in (size, compressed_size, local_offset)
    )
    if local_offset != 0:
        raise ArchiveUnreadable("its entry does not lie at the start")
    if method not in (0, 8):
        raise ArchiveUnreadable(f"its compression method {method} is not one of ours")
    try:
        name = record[CENTRAL.size : name_end].decode("utf-8" if flags & UTF8 else "cp437")
    except UnicodeDecodeError:
        raise ArchiveUnreadable("its entry's name is not UTF-8") from None
    return Member(name, method, crc32, size, compressed_size)


def _zip64(extra: bytes) -> list[int]:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = extra[4 : 4 + length]
            return list(struct.unpack_from(f"<{len(wide) // 8}Q", wide))
        extra = extra[4 + length :]
    return []


def data_offset(head: bytes) -> int:
    """Tell where the entry's data begins, out of the archive's first bytes (at least 30 of them)."""
    if len(head) < LOCAL.size or head[:4] != b"PK\x03\x04":
        raise ArchiveUnreadable("it does not begin with a local header")
    fields = LOCAL.unpack_from(head)
    return LOCAL.size + int(fields[9]) + int(fields[10])
