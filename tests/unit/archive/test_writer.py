"""Archives are right: every size at a boundary, every form, given back by the readers that people have."""

from __future__ import annotations

import io
import random
import shutil
import struct
import subprocess
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.archive import PRESETS, ArchiveResult, Entry, Preset, SourceLength, compress, entry_name
from jobs.archive.blocks import BLOCK, in_blocks
from jobs.archive.inspect import FULL, read_directory
from jobs.archive.presets import encode, stored
from jobs.archive.writer import SMALL, _Form, rewrite, rewritten

MOMENT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
ENTRY = Entry("Grüße – 你好 مرحبا.txt", MOMENT)
MIB = 1024 * 1024
BOUNDARIES = [0, 1, 2, 31, BLOCK - 1, BLOCK, BLOCK + 1, SMALL - 1, SMALL, SMALL + 1, 6 * MIB - 1, 6 * MIB, 6 * MIB + 1]

_WORDS = [random.Random(1).randbytes(random.Random(n).randint(2, 9)) for n in range(3000)]
_TEXT = b" ".join(random.Random(2).choices(_WORDS, [1 / (n + 1) for n in range(3000)], k=40_000))
_NOISE = random.Random(3).randbytes(700_001)


def mixed(size: int) -> bytes:
    """Text, noise, zeros and text again in turn, so that every way of a block is gone."""
    turn = _TEXT + _NOISE + bytes(600_000) + _TEXT[::-1]
    return (turn * (size // len(turn) + 1))[:size]


def zipped(
    data: bytes, entry: Entry = ENTRY, preset: Preset = "balanced", piece: int = BLOCK, threads: int | None = None
) -> tuple[bytes, ArchiveResult]:
    pieces = (data[start : start + piece] for start in range(0, len(data), piece))
    if threads is None:
        job = compress(pieces, len(data), entry, preset)
        return b"".join(job), job.result
    with ThreadPoolExecutor(threads) as pool:
        job = compress(pieces, len(data), entry, preset, pool=pool)
        return b"".join(job), job.result


def checked(archive: bytes, data: bytes, result: ArchiveResult) -> zipfile.ZipInfo:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        (info,) = opened.infolist()
        assert opened.read(info) == data
    assert (info.filename, info.CRC, info.file_size) == (result.name, result.crc32, result.size)
    assert (info.compress_size, info.compress_type) == (result.compressed_size, result.method)
    assert len(archive) == result.archive_size
    return info


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", BOUNDARIES)
def test_every_boundary_comes_back(size: int, preset: Preset) -> None:
    data = mixed(size)
    archive, result = zipped(data, preset=preset)
    info = checked(archive, data, result)
    assert bool(info.flag_bits & 0x8) is (size > SMALL)
    assert info.flag_bits & 0x800
    member = read_directory(archive[-4096:], len(archive))
    assert (member.name, member.size, member.crc32) == (result.name, size, result.crc32)


@pytest.mark.parametrize("preset", PRESETS)
def test_fifty_one_megabytes_come_back(preset: Preset) -> None:
    data = mixed(51_000_000)
    archive, result = zipped(data, preset=preset)
    checked(archive, data, result)
    assert result.compressed_size < len(data)


def test_what_does_not_shrink_is_stored_exactly_or_in_stored_blocks() -> None:
    small, large = random.Random(4).randbytes(1000), random.Random(4).randbytes(5 * MIB)
    assert zipped(small)[1].method == 0 and zipped(small)[1].compressed_size == 1000
    for preset in PRESETS:
        archive, result = zipped(large, preset=preset)
        checked(archive, large, result)
        assert result.method == 8 and result.compressed_size < len(large) * 1.0002


def test_repeats_across_blocks_are_found() -> None:
    # noise that comes again shrinks only if a block may look back into the one before it
    block, before = _NOISE[:20_000], _NOISE[:20_000]
    for preset in PRESETS:
        assert len(encode(block, before, preset)) < 1000 < len(encode(block, b"", preset))
        assert zipped(_NOISE[: BLOCK - 20_000] + _NOISE[:9000] * 400, preset=preset)[1].compressed_size < BLOCK * 1.2


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=3000), st.sampled_from(PRESETS), st.binary(max_size=100), st.integers(1, 700))
def test_any_block_inflates_after_its_dictionary(block: bytes, preset: Preset, before: bytes, times: int) -> None:
    block, before = block * times or b"x", before * times
    data = bytes(encode(block, before[-32768:], preset))
    unpacker = zlib.decompressobj(-15, zdict=before[-32768:]) if before else zlib.decompressobj(-15)
    assert unpacker.decompress(data + b"\x03\x00") == block and unpacker.eof
    assert len(data) <= len(block) + 5 * (len(block) // 65535 + 1)
    assert zlib.decompressobj(-15).decompress(stored(block)) == block


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 3 * BLOCK), max_size=8))
def test_pieces_of_any_length_become_whole_blocks(lengths: list[int]) -> None:
    data = _NOISE * 40
    pieces, at = [], 0
    for length in lengths:
        pieces.append(data[at : at + length])
        at += length
    blocks = [bytes(block) for block in in_blocks(iter(pieces))]
    assert b"".join(blocks) == b"".join(pieces)
    assert all(len(block) == BLOCK for block in blocks[:-1])
    assert not blocks or 0 < len(blocks[-1]) <= BLOCK


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_document_makes_the_same_archive_however_it_comes(preset: Preset) -> None:
    data = mixed(7 * MIB + 12_345)
    made = {zipped(data, preset=preset, threads=threads, piece=piece)[0] for threads, piece in
            [(1, BLOCK), (2, BLOCK), (7, BLOCK), (3, 1000), (2, 10 * MIB), (2, BLOCK - 1)]}  # fmt: skip
    assert len(made) == 1


def test_at_most_a_window_of_blocks_is_taken_ahead() -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield bytes(BLOCK)

    with ThreadPoolExecutor(2) as pool:
        job = iter(compress(pieces(), 200 * BLOCK, ENTRY, pool=pool))
        next(job), next(job)
        assert taken < 40


@pytest.mark.parametrize("size", [10, SMALL, SMALL + 1, 6 * MIB])
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_document_that_lies_about_its_length_is_refused(size: int, difference: int) -> None:
    job = compress([mixed(size)], size + difference, ENTRY)
    with pytest.raises(SourceLength) as raised:
        list(job)
    assert raised.value.code == "source_length"
    with pytest.raises(RuntimeError):
        _ = job.result


def test_progress_is_told_and_check_stops() -> None:
    told: list[int] = []
    list(compress(in_blocks([mixed(6 * MIB)]), 6 * MIB, ENTRY, on_progress=told.append))
    assert told == [BLOCK * (n + 1) for n in range(12)]

    class Cancelled(Exception):
        pass

    def check() -> None:
        if told[-1] >= 3 * BLOCK:
            raise Cancelled

    told[:] = [0]
    with pytest.raises(Cancelled):
        list(compress(in_blocks([mixed(6 * MIB)]), 6 * MIB, ENTRY, on_progress=told.append, check=check))
    assert told[-1] == 3 * BLOCK


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        (datetime(2026, 5, 4, 23, 59, 59, tzinfo=UTC), (2026, 5, 4, 23, 59, 58)),
        (datetime(2026, 5, 5, 1, 0, 2, tzinfo=timezone(timedelta(hours=2))), (2026, 5, 4, 23, 0, 2)),
        (datetime(1969, 7, 20, tzinfo=UTC), (1980, 1, 1, 0, 0, 0)),
        (datetime(2999, 1, 1, tzinfo=UTC), (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_the_time_is_the_uploads_in_utc(moment: datetime, told: tuple[int, ...]) -> None:
    archive, result = zipped(b"hello", Entry("a.txt", moment))
    assert checked(archive, b"hello", result).date_time == told


# rewriting


@pytest.mark.parametrize("size", [0, 1, 1000, SMALL, SMALL + 1, 6 * MIB + 1])
@pytest.mark.parametrize("piece", [1, 29, 4096, BLOCK, 8 * MIB])
def test_a_renamed_archive_holds_the_same_compressed_bytes(size: int, piece: int) -> None:
    if size > 1000 and piece < 4096:
        pytest.skip("a large archive in tiny pieces shows nothing more")
    data = mixed(size)
    archive, result = zipped(data)
    member = read_directory(archive[-4096:], len(archive))
    entry = Entry("Ein neuer, viel längerer Name.md", MOMENT)
    pieces = (archive[start : start + piece] for start in range(0, len(archive), piece))
    renamed = b"".join(rewrite(pieces, member, entry))
    foretold = rewritten(member, entry)
    info = checked(renamed, data, foretold)
    assert foretold.name == "Ein neuer, viel längerer Name.md" and foretold.crc32 == result.crc32
    assert not info.flag_bits & 0x8
    again = b"".join(rewrite([renamed], read_directory(renamed[-4096:], len(renamed)), entry))
    assert again == renamed


# ZIP64, with made-up sizes: the records alone


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("size", [FULL - 1, FULL, FULL + 1, FULL + 2, 5_000_000_001])
@pytest.mark.parametrize("compressed_size", [5, FULL - 200, FULL - 1, FULL, 5_000_100_000])
def test_records_beyond_four_gibibytes_say_what_is_meant(size: int, compressed_size: int, streamed: bool) -> None:
    wide = streamed or max(size, compressed_size) >= FULL
    form = _Form(ENTRY, 8, streamed=streamed, wide=wide)
    head, tail = form.head(7, size, compressed_size), form.tail(7, size, compressed_size)
    total = len(head) + compressed_size + len(tail)
    assert form.result(7, size, compressed_size).archive_size == total
    member = read_directory(tail, total)
    assert (member.crc32, member.size, member.compressed_size) == (7, size, compressed_size)
    assert struct.unpack_from("<H", head, 4)[0] == (45 if wide else 20)
    if streamed:
        assert struct.unpack_from("<4sLQQ", tail) == (b"PK\x07\x08", 7, compressed_size, size)

    class Sparse(io.RawIOBase):
        """The archive with nothing between its records, as zipfile seeks in it."""

        at = 0

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            self.at = offset + (0, self.at, total)[whence]
            return self.at

        def tell(self) -> int:
            return self.at

        def read(self, length: int = -1) -> bytes:
            length = total - self.at if length < 0 else length
            start = self.at - (total - len(tail))
            assert start >= 0
            self.at += min(length, len(tail) - start)
            return tail[start : start + length]

    with zipfile.ZipFile(Sparse()) as opened:  # type: ignore[type-var]
        (info,) = opened.infolist()
    assert (info.file_size, info.compress_size, info.header_offset) == (size, compressed_size, 0)


def test_zip64_is_used_only_where_four_gibibytes_may_be_passed() -> None:
    def head_of(size: int) -> bytes:
        return bytes(next(iter(compress([], size, ENTRY))))

    largest = next(size for size in range(4_290_676_000, FULL) if b"\x01\x00\x10\x00" in head_of(size)) - 1
    assert FULL - largest * 1.001 < 2048
    assert b"\x01\x00\x10\x00" in head_of(FULL)


# other readers

NAMES = [
    "plain.txt",
    "Grüße.txt",
    "你好，世界.txt",
    "שלום.txt",
    "Ελληνικά κείμενο.txt",
    "日本語 ファイル.txt",
    "emoji 🎉.txt",
    'a\'b "c" $d.txt',
]


def unpack(reader: str, archive: Path, folder: Path) -> None:
    commands = {
        "unzip": ["unzip", "-q", str(archive), "-d", str(folder)],
        "7z": ["7z", "x", f"-o{folder}", str(archive)],
        "bsdtar": ["bsdtar", "-x", "-f", str(archive), "-C", str(folder)],
        "jar": ["jar", "-x", "-f", str(archive)],
    }
    tests = {"unzip": ["unzip", "-tq", str(archive)], "7z": ["7z", "t", str(archive)]}
    folder.mkdir()
    for command in (tests.get(reader), commands[reader]):
        if command:
            environment = {"LC_ALL": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
            done = subprocess.run(command, capture_output=True, cwd=folder, env=environment, timeout=60, check=False)
            assert done.returncode == 0, (command, done.stdout, done.stderr)


@pytest.mark.parametrize("reader", ["unzip", "7z", "bsdtar", "jar"])
@pytest.mark.parametrize("size", [0, 1000, SMALL + 1])
def test_other_readers_give_back_bytes_and_name(reader: str, size: int, tmp_path: Path) -> None:
    if shutil.which(reader) is None:
        pytest.skip(f"{reader} is not installed")
    data = mixed(size)
    for number, name in enumerate(NAMES if size == 1000 and reader != "jar" else NAMES[1:2]):
        archive, folder = tmp_path / f"{number}.zip", tmp_path / str(number)
        archive.write_bytes(zipped(data, Entry(name, MOMENT))[0])
        unpack(reader, archive, folder)
        (file,) = folder.iterdir()
        assert unicodedata.normalize("NFC", file.name) == name
        assert file.read_bytes() == data


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(1, 40_000), st.text(min_size=1, max_size=40), st.sampled_from(PRESETS))
def test_zipfile_and_unzip_give_back_anything(
    tmp_path: Path, data: bytes, times: int, name: str, preset: Preset
) -> None:
    archive, result = zipped(data * times, Entry(name, MOMENT), preset)
    assert result.name == entry_name(name)
    checked(archive, data * times, result)
    file = tmp_path / "any.zip"
    file.write_bytes(archive)
    done = subprocess.run(["unzip", "-p", str(file)], capture_output=True, timeout=60, check=False)
    assert done.stdout == data * times and done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [FULL, FULL + 1, FULL + 2, 5_000_000_001])
def test_documents_of_four_gibibytes_and_more(size: int, preset: Preset, tmp_path: Path) -> None:
    turn = mixed(8 * MIB)
    pieces = (turn[: min(len(turn), size - start)] for start in range(0, size, len(turn)))
    job, file = compress(pieces, size, ENTRY, preset), tmp_path / "large.zip"
    with file.open("wb") as out:
        for piece in job:
            out.write(piece)
    assert file.stat().st_size == job.result.archive_size
    with zipfile.ZipFile(file) as opened:
        (info,) = opened.infolist()
        assert (info.filename, info.file_size, info.CRC) == (ENTRY.name, size, job.result.crc32)
        assert opened.testzip() is None
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tq", str(file)], check=True, timeout=600)
    renamed, entry = tmp_path / "renamed.zip", Entry("renamed.txt", MOMENT)
    with file.open("rb") as old, renamed.open("wb") as new:
        member = read_directory(_tail(file), file.stat().st_size)
        for part in rewrite(iter(lambda: old.read(BLOCK), b""), member, entry):
            new.write(part)
    assert renamed.stat().st_size == rewritten(member, entry).archive_size
    with zipfile.ZipFile(renamed) as opened:
        assert opened.testzip() is None and opened.namelist() == ["renamed.txt"]


def _tail(file: Path) -> bytes:
    with file.open("rb") as opened:
        opened.seek(-4096, io.SEEK_END)
        return opened.read()
