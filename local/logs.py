"""The services' log files: put aside when they grow long, and quoted when a service fails."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

__all__ = ["last_words", "rotate"]

LIMIT = 10 * 1024**2  # bytes of a log file before it is put aside


def rotate(log: Path) -> None:
    """Put a long log aside as `.log.1`. Copied and cut, since the service holds the file open (for appending)."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LIMIT:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def last_words(log: Path) -> str:
    """The last line of a log, for the sentence that says why a service did not start."""
    try:
        lines = log.read_text(errors="replace")[-4000:].strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].strip()[:300] if lines else "it said nothing"
