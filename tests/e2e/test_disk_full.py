"""A disk that is really full, in each of the places that a stack writes to: one sentence, its cure, nothing left."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import installation
from local.installation import free_port
from tests.e2e.conftest import instashare

MIB = 1024 * 1024


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose stack is gone at the end."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    yield folder
    instashare("down", "--data-dir", str(folder))
    if (folder / "installation.json").exists():
        instashare("reset", "--yes", "--data-dir", str(folder))


class Disk:
    """A small file system of memory at a folder."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.folder = folder
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"this machine lets nobody mount a small disk: {done.stderr.strip()}")

    def fill(self, but_kib: int = 0) -> None:
        """Leave `but_kib` KiB of space."""
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(MIB))
            except OSError:
                file.truncate(max(0, file.tell() - but_kib * 1024))

    def empty(self) -> None:
        """Give the space back."""
        (self.folder / "ballast").unlink()

    def remove(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)


@pytest.fixture
def own_disk(data_dir: Path) -> Iterator[Disk]:
    """The data folder on a disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    disk = Disk(data_dir, 400)
    yield disk
    instashare("down", "--data-dir", str(data_dir))
    disk.remove()


@pytest.fixture
def database_disk(data_dir: Path) -> Iterator[Disk]:
    """The database's folder, which for root lies elsewhere, on a disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    folder = installation._choose_postgres_data(data_dir).parent
    folder.mkdir(parents=True)
    disk = Disk(folder, 400)
    yield disk
    instashare("down", "--data-dir", str(data_dir))
    disk.remove()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def start(data_dir: Path) -> tuple[int, dict[str, str]]:
    """Start the stack of a data folder, Supabase's parts alone; the exit code, and the error if there is one."""
    schema = data_dir.parent / "schema.sql"
    schema.touch()
    options = ["--json", "--data-dir", str(data_dir), "--schema", str(schema)]
    if not (data_dir / "installation.json").exists():
        options += ["--port", str(free_port())]
    done = instashare("up", "--detach", *options)
    told = json.loads(done.stdout)
    return done.returncode, told["error"] or {} if "error" in told else {}


def assert_refused(data_dir: Path, disk: Disk) -> None:
    """`up` fails with the one sentence, names the disk, and leaves nothing running."""
    code, error = start(data_dir)
    assert (code, error.get("code")) == (1, "disk_full"), error
    assert str(disk.folder) in error["message"]
    assert "Free at least" in error["cure"]
    status = json.loads(instashare("status", "--json", "--data-dir", str(data_dir)).stdout)
    assert status["state"] == "stopped"
    assert [one for one in status["services"].values() if one["pid"]] == []


def test_a_full_data_folder(data_dir: Path, own_disk: Disk) -> None:
    own_disk.fill()
    assert_refused(data_dir, own_disk)
    own_disk.empty()
    assert start(data_dir)[0] == 0


def test_no_space_for_a_new_database(data_dir: Path, database_disk: Disk) -> None:
    database_disk.fill(but_kib=100 * 1024)
    assert_refused(data_dir, database_disk)
    database_disk.empty()
    assert start(data_dir)[0] == 0


def test_no_space_left_for_the_database_of_before(data_dir: Path, database_disk: Disk) -> None:
    assert start(data_dir)[0] == 0
    instashare("down", "--data-dir", str(data_dir))
    database_disk.fill()
    (data_dir / "applied").unlink()  # there is something to apply, which takes space
    rows = "create table big as select repeat('x', 100) from generate_series(1, 99999)"
    (data_dir.parent / "schema.sql").write_text(rows)
    assert_refused(data_dir, database_disk)
    database_disk.empty()
    assert start(data_dir)[0] == 0
