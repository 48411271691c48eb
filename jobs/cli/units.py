"""Sizes and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["show_moment", "show_seconds", "show_size"]


def show_size(size: int) -> str:
    """A number of bytes with a decimal unit: 999 B, 1.2 MB, 5.0 GB."""
    if size < 1000:
        return f"{size} B"
    power = next((power for power in (1, 2, 3) if size < 999.95 * 1000**power), 4)
    return f"{size / 1000**power:.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def show_seconds(seconds: float) -> str:
    """A duration in its two greatest units: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 4 d 3 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def show_moment(moment: datetime | None) -> str:
    """A time in UTC to the second, or a dash."""
    return "–" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
