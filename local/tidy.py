"""What lies in /var/lib/instashare and nobody uses any more: databases of removed installations, old programs.

Only root keeps anything there (see installation.py). A database is removed when the folder of its installation is
gone: at once where that lay among temporary files, else after a week of being gone, since a folder that was moved
tells of its new place at its next start. Never while its server runs, and never while the disk that the installation
lay on is not there.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
from pathlib import Path

import psutil

from local.installation import FILE, ROOT_DATA, Installation

__all__ = ["claim", "tidy"]

OWNER = "installation"  # within a database's folder: the path of the data folder that it belongs to
ORPHANED = "orphaned"  # within it: since when that data folder is missed (the file's time)
GRACE = 7 * 86400.0  # seconds
UNUSED = 86400.0  # seconds after which a copy of older programs, or of half of them, is not about to be started
CLUSTER = re.compile(r"[0-9a-f]{16}")
PROGRAMS = re.compile(r"embedded-postgres-.+|postgres-new-.+")


def claim(installation: Installation) -> None:
    """Note whose a database is, and that it is not missed."""
    folder = installation.postgres_data.parent
    if folder.parent == ROOT_DATA and folder.is_dir():
        with contextlib.suppress(OSError):  # a full disk must not keep the stack from starting
            (folder / OWNER).write_text(str(installation.data_dir))
            (folder / ORPHANED).unlink(missing_ok=True)


def tidy(programs: Path | None = None, root: Path = ROOT_DATA, now: float | None = None) -> list[Path]:
    """Remove what nobody uses, and return it. `programs` is the copy that this version starts Postgres from."""
    now = time.time() if now is None else now
    removed = []
    with contextlib.suppress(OSError):
        for folder in sorted(root.iterdir()):
            with contextlib.suppress(OSError):
                if _is_abandoned(folder, now) or (programs not in (None, folder) and _is_old(folder, now)):
                    shutil.rmtree(folder)
                    removed.append(folder)
    return removed


def _is_abandoned(folder: Path, now: float) -> bool:
    """Whether this is the database of an installation that is no more; marks one that was not missed before."""
    if not CLUSTER.fullmatch(folder.name) or not (folder / OWNER).is_file():
        return False
    owner = Path((folder / OWNER).read_text())
    mark = folder / ORPHANED
    if (owner / FILE).exists():
        mark.unlink(missing_ok=True)
        return False
    if _runs(folder / "postgres"):
        return False
    if owner.is_relative_to(tempfile.gettempdir()):
        return True
    if not owner.parent.is_dir():  # a disk that is not mounted now
        return False
    if not mark.exists():
        mark.touch()
    return now - mark.stat().st_mtime > GRACE


def _runs(cluster: Path) -> bool:
    """Whether a server has this cluster, or may have."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return psutil.pid_exists(pid)


def _is_old(folder: Path, now: float) -> bool:
    """Whether these are programs of another version that nothing runs and nothing is about to."""
    if not PROGRAMS.fullmatch(folder.name) or now - folder.stat().st_mtime < UNUSED:
        return False
    for process in psutil.process_iter(["exe"]):
        if (program := process.info["exe"]) and Path(program).is_relative_to(folder):
            return False
    return True
