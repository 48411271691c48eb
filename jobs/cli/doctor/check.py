"""What a check says."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Check", "fail", "passed"]


class Check(NamedTuple):
    """One thing that was looked at: `detail` is what was found, `cure` what to do about it (empty where nothing)."""

    name: str
    ok: bool
    detail: str
    cure: str = ""


def passed(name: str, detail: str) -> Check:
    """All is well; `detail` may hold a note."""
    return Check(name, True, detail)


def fail(name: str, detail: str, cure: str) -> Check:
    """A fault, with its cure."""
    return Check(name, False, detail, cure)
