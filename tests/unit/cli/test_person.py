from __future__ import annotations

import hashlib
import unicodedata
import zipfile
from pathlib import Path

import pytest

from jobs.cli.person import _attachment_name, verify
from jobs.errors import OperationFailed

CONTENT = b"some bytes" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def archive(folder: Path, **entries: bytes) -> Path:
    file = folder / "a.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in entries.items():
            out.writestr(name, content)
    return file


def code_of(file: Path, name: str = "report", digest: str = DIGEST) -> str:
    with pytest.raises(OperationFailed) as caught:
        verify(file, name, digest)
    return caught.value.code


def test_the_right_archive(tmp_path: Path) -> None:
    verify(archive(tmp_path, report=CONTENT), "report", DIGEST)


def test_a_decomposed_name_is_the_same_name(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "é")
    verify(archive(tmp_path, **{name: CONTENT}), unicodedata.normalize("NFC", "é"), DIGEST)


def test_each_difference(tmp_path: Path) -> None:
    assert code_of(archive(tmp_path, report=CONTENT + b"!")) == "content_differs"
    assert code_of(archive(tmp_path, other=CONTENT)) == "name_differs"
    assert code_of(archive(tmp_path, report=CONTENT, more=b"")) == "entries_differ"
    assert code_of(archive(tmp_path)) == "entries_differ"


def test_a_damaged_archive(tmp_path: Path) -> None:
    file = archive(tmp_path, report=CONTENT)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert code_of(file) == "archive_damaged"
    # one bit within the stored bytes: the entry's CRC tells
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as out:
        out.writestr("report", CONTENT)
    changed = bytearray(file.read_bytes())
    changed[changed.index(CONTENT)] ^= 1
    file.write_bytes(changed)
    assert code_of(file) == "archive_damaged"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.zip"', "a b.zip"),
        ("attachment; filename=\"?.zip\"; filename*=UTF-8''%C3%BC%20%26%2B%25%3B.zip;", "ü &+%;.zip"),
        ("attachment; filename*=utf-8''a+b&c.zip", "a+b&c.zip"),
        ("attachment", ""),
        ("", ""),
    ],
)
def test_the_name_in_a_header(header: str, name: str) -> None:
    assert _attachment_name(header) == name
