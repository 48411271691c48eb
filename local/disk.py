"""Whether a disk is full: what then fails says so in many ways, of which a person needs one."""

from __future__ import annotations

import shutil
from pathlib import Path

from local.errors import StackError

__all__ = ["LOW_MIB", "NEW_CLUSTER_MIB", "check_space", "find_full_disk"]

NEW_CLUSTER_MIB = 150  # a new cluster with its first write-ahead log (64) and our migrations, and some air
LOW_MIB = 48  # with less than this Postgres may be unable to write its next 16 MiB of log, or even to restart


def find_full_disk(*folders: Path, mib: int = LOW_MIB) -> StackError | None:
    """The error for the first of these folders (or where it would lie) with less than `mib` MiB of space, if any."""
    for folder in folders:
        there = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
        try:
            free = shutil.disk_usage(there).free // 1024**2
        except OSError:  # it went away meanwhile
            continue
        if free < mib:
            return StackError(
                "disk_full",
                f"The disk of {folder} is full: {free} MiB are left.",
                f"Free at least {NEW_CLUSTER_MIB} MiB and start again, or name a folder elsewhere with --data-dir.",
            )
    return None


def check_space(folder: Path, mib: int) -> None:
    """Raise StackError (disk_full) unless the disk of a folder has `mib` MiB of space."""
    if (full := find_full_disk(folder, mib=mib)) is not None:
        raise full
