from __future__ import annotations

import pytest

from jobs.cli.units import show_seconds, show_size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"),
     (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (5_000_000_000, "5.0 GB"),
     (7 * 10**12, "7.0 TB"), (7 * 10**15, "7000.0 TB")],
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert show_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12, "12 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"),
     (90000, "1 d 1 h")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text
