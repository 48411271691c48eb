"""Files to measure with, made on any machine: what people store, in seven kinds."""

from __future__ import annotations

import io
import json
import random
import sysconfig
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["KINDS", "text", "write"]


def text(size: int) -> bytes:
    """English prose: the language reference that comes with Python, repeated beyond what deflate can look back."""
    from pydoc_data.topics import topics

    prose = "\n".join(topics[name] for name in sorted(topics)).encode()
    return (prose * (size // len(prose) + 1))[:size]


def _records(size: int) -> Iterator[dict[str, object]]:
    chance = random.Random(1)
    words = text(200_000).decode().split()
    for number in range(size // 60):
        yield {
            "id": number,
            "name": " ".join(chance.choices(words, k=3)),
            "email": f"{chance.choice(words).lower()}.{chance.randrange(10**4)}@example.org",
            "active": chance.random() < 0.7,
            "balance": round(chance.gauss(1000, 400), 2),
            "created_at": f"2026-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}T12:34:56Z",
        }


def _json(size: int) -> bytes:
    return "\n".join(json.dumps(record) for record in _records(size)).encode()[:size]


def _csv(size: int) -> bytes:
    return "\n".join(";".join(map(str, record.values())) for record in _records(size)).encode()[:size]


def _source(size: int) -> bytes:
    parts, have = [], 0
    for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if {"site-packages", "test", "tests", "pydoc_data"} & set(file.parts):
            continue
        parts.append(file.read_bytes())
        have += len(parts[-1])
        if have >= size:
            break
    whole = b"".join(parts)
    return (whole * (size // len(whole) + 1))[:size]


def _office(size: int) -> bytes:
    """A document as word processors write it: a ZIP file of XML and pictures."""
    chance, file = random.Random(2), io.BytesIO()
    prose = text(400_000).decode().split()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        number = 0
        while file.tell() < size:
            runs = (f"<w:r><w:t>{' '.join(chance.choices(prose, k=12))}</w:t></w:r>" for _ in range(3000))
            opened.writestr(f"word/document{number}.xml", "<w:p>" + "</w:p><w:p>".join(runs) + "</w:p>")
            opened.writestr(f"word/media/image{number}.png", _picture(256, number))
            number += 1
    return file.getvalue()[:size]


def _picture(width: int, seed: int) -> bytes:
    """The pixels of a soft gradient with noise, filtered and packed as PNG does it."""
    chance = random.Random(seed)
    noise = chance.randbytes(width * 3)
    rows = bytearray()
    for row in range(width):
        start = chance.randrange(64)
        rows += b"\x01" + bytes((row // 4 + start + (noise[at] & 7)) & 255 for at in range(width * 3))
    return zlib.compress(bytes(rows))


def _image(size: int) -> bytes:
    parts, have, seed = [], 0, 100
    while have < size:
        parts.append(_picture(512, seed))
        have, seed = have + len(parts[-1]), seed + 1
    return b"".join(parts)[:size]


KINDS: dict[str, Callable[[int], bytes]] = {
    "text": text,
    "JSON": _json,
    "CSV": _csv,
    "source code": _source,
    "office file": _office,
    "image": _image,
    "random": lambda size: random.Random(3).randbytes(size),
}


def write(file: Path, size: int) -> None:
    """Write a large text file."""
    turn = text(8_000_000)
    with file.open("wb") as out:
        for start in range(0, size, len(turn)):
            out.write(turn[: min(len(turn), size - start)])
