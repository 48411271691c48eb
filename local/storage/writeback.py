"""Having the kernel write a file's pages to disk while more of them come, so that the last fsync waits for few."""

from __future__ import annotations

import contextlib
import ctypes
import sys

__all__ = ["start_writing_back"]

SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2): start writing the dirty pages of a range, do not wait


def start_writing_back(descriptor: int) -> None:
    """Begin to write all of an open file's dirty pages. Where there is no such call nothing happens."""
    if CALL is not None:
        CALL(descriptor, 0, 0, SYNC_FILE_RANGE_WRITE)


def find_call() -> ctypes._NamedFuncPointer | None:
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError, AttributeError):
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
        call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
        return call
    return None


CALL = find_call()
