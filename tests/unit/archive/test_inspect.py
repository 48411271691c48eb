"""Reading a central directory back: ours is understood, anything else is refused by name."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.archive import ArchiveUnreadable, Entry, compress
from jobs.archive.inspect import data_offset, read_directory
from tests.unit.archive.test_writer import MOMENT, zipped

ARCHIVE, RESULT = zipped(b"hello " * 1000, Entry("a.txt", MOMENT))


def others(*names: str, comment: bytes = b"", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name in names:
            opened.writestr(name, b"hello")
        opened.comment = comment
    return file.getvalue()


def test_a_short_tail_is_enough() -> None:
    for length in range(46 + 5 + 22, len(ARCHIVE)):
        member = read_directory(ARCHIVE[-length:], len(ARCHIVE))
        assert (member.name, member.size, member.crc32) == ("a.txt", 6000, RESULT.crc32)


def test_an_archive_of_zipfile_with_a_comment_is_read() -> None:
    data = others("b.txt", comment=b"made elsewhere")
    assert read_directory(data, len(data)).name == "b.txt"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no end of central directory"),
        (b"not a zip", "no end of central directory"),
        (ARCHIVE[:-1], "no end of central directory"),
        (ARCHIVE + b"x", "bytes follow its end"),
        (others(), "0 entries"),
        (others("a", "b"), "2 entries"),
        (others("a", method=zipfile.ZIP_BZIP2), "compression method 12"),
        (b"#!/bin/sh\n" + others("a"), "not where it should be"),
    ],
)
def test_anything_else_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ArchiveUnreadable, match=reason):
        read_directory(data, len(data))


def test_a_wrong_total_is_refused() -> None:
    with pytest.raises(ArchiveUnreadable):
        read_directory(ARCHIVE, len(ARCHIVE) + 1)


@given(st.integers(0, len(ARCHIVE) - 1), st.integers(0, 255), st.integers(0, 60))
def test_damage_is_refused_or_seen_but_never_a_crash(at: int, byte: int, cut: int) -> None:
    data = bytearray(ARCHIVE)
    data[at] = byte
    try:
        read_directory(bytes(data[: len(data) - cut]), len(data) - cut)
        data_offset(bytes(data))
    except ArchiveUnreadable:
        pass


def test_a_local_header_is_needed() -> None:
    assert data_offset(ARCHIVE[:64]) == 35
    with pytest.raises(ArchiveUnreadable):
        data_offset(b"PK\x03\x04")
    assert len(list(compress([b""], 0, Entry("a", MOMENT)))) == 1
