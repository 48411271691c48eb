"""How one block is compressed: three presets over isal and zlib-ng, and what is done where nothing shrinks.

Every encoder takes a block and the bytes before it (at most the 32 KiB that deflate can look back, RFC 1951) and gives
raw deflate that ends on a byte boundary (Z_SYNC_FLUSH), so that the blocks of one stream can be made in any order. All
three codecs release the GIL. The result depends on nothing but block, dictionary and preset.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from isal import isal_zlib
from zlib_ng import zlib_ng

__all__ = ["PRESETS", "Bytes", "Preset", "encode", "stored"]

Bytes: TypeAlias = bytes | bytearray | memoryview
Preset = Literal["fast", "balanced", "small"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

RAW = -15
MEMORY = 8
# a stored block of deflate holds at most this much and costs 5 bytes (RFC 1951, 3.2.4)
STORED_MAX = 65_535

# 8 samples of 4 KiB foretell how a block will shrink; they choose the codec and cost 0.1 ms, nothing else rests on them
SAMPLES = 8
SAMPLE_BYTES = 4096
# above this (office files, pictures, random) more effort saves 1 % where isal level 2 is 3 to 10 times as fast
HARDLY = 0.85
# below this (source code, JSON) isal level 3 is up to 16 % larger than `zip -6`, zlib-ng level 3 11 % at 4/5 the speed
GREATLY = 0.34


def encode(block: Bytes, dictionary: Bytes, preset: Preset) -> Bytes:
    """Compress a block (not empty) after `dictionary`, the end of the block before it; it grows by 0.01 % at most."""
    ratio = 1.0 if preset == "fast" else _sampled_ratio(block)
    if preset == "small" and ratio < HARDLY:
        data = _zlib_ng(block, dictionary, 6)
    elif preset == "balanced" and ratio < HARDLY:
        data = _zlib_ng(block, dictionary, 3) if ratio < GREATLY else _isal(block, dictionary, 3)
    else:
        data = _isal(block, dictionary, 2)
        # samples see no repeats further than 4 KiB away, the whole block does
        if preset == "small" and len(data) < len(block) * HARDLY:
            data = _zlib_ng(block, dictionary, 6)
    return data if len(data) < len(block) else stored(block)


def stored(block: Bytes) -> bytes:
    """Give a block as it is, in stored blocks of deflate."""
    view = memoryview(block)
    parts: list[Bytes] = []
    for start in range(0, len(view), STORED_MAX):
        part = view[start : start + STORED_MAX]
        length = len(part).to_bytes(2, "little")
        parts += [b"\x00", length, bytes(255 - byte for byte in length), part]
    return b"".join(parts)


def _isal(block: Bytes, dictionary: Bytes, level: int) -> bytes:
    packer = isal_zlib.compressobj(level, isal_zlib.DEFLATED, RAW, MEMORY, isal_zlib.Z_DEFAULT_STRATEGY, dictionary)
    return packer.compress(block) + packer.flush(isal_zlib.Z_SYNC_FLUSH)


def _zlib_ng(block: Bytes, dictionary: Bytes, level: int) -> bytes:
    packer = zlib_ng.compressobj(level, zlib_ng.DEFLATED, RAW, MEMORY, zlib_ng.Z_DEFAULT_STRATEGY, dictionary)
    return packer.compress(block) + packer.flush(zlib_ng.Z_SYNC_FLUSH)


def _sampled_ratio(block: Bytes) -> float:
    view = memoryview(block)
    step = max(len(view) // SAMPLES, 1)
    samples = b"".join(view[start : start + SAMPLE_BYTES] for start in range(0, len(view), step))
    return len(isal_zlib.compress(samples, 2, RAW)) / len(samples)
