"""The script at the root: which Python it takes, what it installs, and what it says when it cannot."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local import bootstrap
from local.bootstrap import Setup, SetupFailed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that tell what to install, and a `.venv` that looks finished."""
    root = tmp_path / "a checkout"
    for name in ("uv.lock", "pyproject.toml", "local/package.json", "local/package-lock.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    node = [f"{folder}/{file}" for folder in ("tests/clients", "web") for file in ("package.json", "package-lock.json")]
    for name in (*node, ".venv/pyvenv.cfg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    (root / ".venv" / "bin").mkdir()
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return root


def stamp(setup: Setup, *parts: str) -> None:
    setup._stamp(*parts)


def test_a_finished_environment_lacks_nothing(checkout: Path) -> None:
    setup = Setup(checkout, quiet=True)
    assert setup._list_missing(testing=False) == ["python", "local", "web"]
    stamp(setup, "python", "local", "web")
    assert setup._list_missing(testing=False) == []
    assert setup._list_missing(testing=True) == ["dev", "clients", "webdev"]


@pytest.mark.parametrize(("changed", "missing"), [("uv.lock", "python"), ("local/package-lock.json", "local")])
def test_a_changed_lock_is_installed_anew(checkout: Path, changed: str, missing: str) -> None:
    setup = Setup(checkout, quiet=True)
    stamp(setup, "python", "local", "web")
    with (checkout / changed).open("a") as file:
        file.write("\n")
    assert setup._list_missing(testing=False) == [missing]


def test_a_python_that_was_removed_is_missing(checkout: Path) -> None:
    setup = Setup(checkout, quiet=True)
    stamp(setup, "python", "local", "web")
    setup.python.unlink()
    setup.python.symlink_to(checkout / "removed")
    assert setup._list_missing(testing=False) == ["python", "local", "web"]


def test_a_moved_checkout_is_set_up_anew(checkout: Path) -> None:
    stamp(Setup(checkout, quiet=True), "python", "local", "web")
    moved = checkout.rename(checkout.with_name("moved"))
    assert Setup(moved, quiet=True)._list_missing(testing=False) == ["python", "local", "web"]


def test_uv_is_pinned_with_the_hashes_of_the_lock_file(checkout: Path) -> None:
    lock = Setup(checkout, quiet=True)._lock_of_uv()
    assert re.match(r"uv==\d+\.\d+\.\d+( --hash=sha256:[0-9a-f]{64}){5,}\n$", lock)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("error: failed to write: No space left on device (os error 28)", "disk_full"),
        ("invalid peer certificate: UnknownIssuer", "certificate_refused"),
        ("npm error code EINTEGRITY", "package_altered"),
        ("error sending request for url (https://packages.example/simple/uv/)", "registry_unreachable"),
        ("npm error code ENOTFOUND", "registry_unreachable"),
        ("npm error code EACCES", "folder_unwritable"),
        ("Temporary failure in name resolution", "registry_unreachable"),
    ],
)
def test_a_tools_failure_is_said_in_one_sentence_with_its_cure(checkout: Path, said: str, code: str) -> None:
    with pytest.raises(SetupFailed) as caught:
        Setup(checkout, quiet=True)._run(["sh", "-c", f"echo '{said}'; exit 2"])
    assert caught.value.code == code
    assert caught.value.cure
    assert said in caught.value.log


def test_an_unknown_failure_repeats_the_tools_last_words(checkout: Path) -> None:
    with pytest.raises(SetupFailed, match="something odd") as caught:
        Setup(checkout, quiet=True)._run(["sh", "-c", "echo something odd; exit 2"])
    assert caught.value.code == "setup_failed"


def test_too_little_disk_space_is_said_before_anything_is_fetched(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(checkout / ".venv")
    usage = type(shutil.disk_usage(checkout))(10**12, 10**12, 10**8)
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SetupFailed, match="95 MiB of disk space left"):
        Setup(checkout, quiet=True).ensure(testing=False)
    assert not (checkout / ".venv").exists()


def test_a_failure_is_one_json_object_where_json_was_asked_for(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Setup, testing: bool) -> None:
        raise SetupFailed("disk_full", "The disk is full.", "Free some space.", "much text")

    monkeypatch.setattr(Setup, "ensure", fail)
    with pytest.raises(SystemExit) as caught:
        bootstrap.main(str(checkout), ["status", "--json"])
    assert caught.value.code == 1
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["code"] == "disk_full"
    assert err == ""


@pytest.mark.parametrize(
    ("words", "testing"), [(["test"], True), (["test", "unit"], True), (["up"], False), ([], False)]
)
def test_the_clients_of_the_tests_are_installed_for_tests_alone(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], testing: bool
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(Setup, "ensure", lambda self, testing: asked.append(testing))
    monkeypatch.setattr(bootstrap.os, "execve", lambda *_: sys.exit(0))
    with pytest.raises(SystemExit):
        bootstrap.main(str(checkout), words)
    assert asked == [testing]


def run_script(path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "instashare", "version"], env={"PATH": path}, capture_output=True, text=True, check=False
    )


def make_python(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_without_any_python_it_says_what_to_install(tmp_path: Path) -> None:
    done = run_script(str(tmp_path))
    assert done.returncode == 1
    assert "needs Python 3.11" in done.stderr


def test_it_takes_whichever_python_there_is(tmp_path: Path) -> None:
    make_python(tmp_path, "python3.13", 'echo "started: $0 $2"')
    assert run_script(str(tmp_path)).stdout == f"started: {tmp_path}/python3.13 version\n"
