"""A document as blocks, compressed side by side on a pool of threads and given back in order.

Memory: at most `window` blocks are held at once (their bytes and what became of them), whatever the document's size.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

from isal import isal_zlib

from jobs.archive.presets import Bytes, Preset, encode

__all__ = ["BLOCK", "Block", "compressed_blocks", "in_blocks", "processors", "shared_pool"]

BLOCK = 512 * 1024
# what deflate can look back (RFC 1951)
DICTIONARY = 32 * 1024

_pool_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """One compressed block: its deflate data, the CRC-32 and the length of what went in."""

    data: Bytes
    crc32: int
    size: int


def processors() -> int:
    """Tell how many processors this process may use: a container may allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_pool() -> Executor:
    """Give the process's one pool of compressing threads: as many as processors, however many archives run."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(processors(), thread_name_prefix="compress")
        return _pool


def in_blocks(pieces: Iterable[Bytes]) -> Iterator[Bytes]:
    """Cut pieces of any length into blocks of BLOCK bytes; a piece of just that length is not copied."""
    rest = bytearray()
    for piece in pieces:
        if not rest and len(piece) == BLOCK:
            yield piece
            continue
        rest += piece
        if len(rest) >= BLOCK:
            whole = len(rest) - len(rest) % BLOCK
            view = memoryview(bytes(rest))
            yield from (view[start : start + BLOCK] for start in range(0, whole, BLOCK))
            rest = bytearray(view[whole:])
    if rest:
        yield rest


def compressed_blocks(pieces: Iterable[Bytes], preset: Preset, pool: Executor, window: int) -> Iterator[Block]:
    """Compress pieces, in order, at most `window` blocks at once; the next piece is asked for when there is room."""
    waiting: deque[Future[Block]] = deque()
    dictionary: Bytes = b""
    try:
        for block in in_blocks(pieces):
            waiting.append(pool.submit(_compressed, block, dictionary, preset))
            dictionary = memoryview(block)[-DICTIONARY:]
            while len(waiting) >= window or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _compressed(block: Bytes, dictionary: Bytes, preset: Preset) -> Block:
    return Block(encode(block, dictionary, preset), isal_zlib.crc32(block), len(block))
