"""A stack that another version of InstaShare runs: found by its lock, ended, and named when it cannot be understood."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local import control, state
from local.errors import StackError
from local.packages import ROOT, clean_environment

# what another version's supervisor does as far as we know it: holds the lock, records what it likes
SUPERVISOR = """
import fcntl, os, sys, time
folder, words, signed = sys.argv[1:4]
lock = os.open(f"{folder}/stack.lock", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
if signed == "signed":
    from local.state import _sign
    _sign(lock)
open(f"{folder}/stack.json", "w").write(words)
print("up", flush=True)
time.sleep(60)
"""
WORDS = {"another form": '{"version": 9, "processes": []}', "damaged": "{", "nothing": ""}
Start = Callable[[str, bool], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start such a supervisor of `tmp_path`."""
    started: list[subprocess.Popen[str]] = []

    def run(words: str, signed: bool) -> subprocess.Popen[str]:
        argv = [sys.executable, "-P", "-c", SUPERVISOR, str(tmp_path), words, "signed" if signed else "plain", "up"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=clean_environment(), cwd=ROOT)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
def test_down_ends_it(start: Start, tmp_path: Path, words: str, signed: bool) -> None:
    if not signed and sys.platform != "linux":
        pytest.skip("only Linux tells who holds a lock")
    process = start(words, signed)
    assert control.stop(tmp_path, lambda told: None)
    assert process.wait(10) != 0
    assert not control.stop(tmp_path, lambda told: None)


def test_up_and_status_name_it(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(WORDS["another form"], True)
    assert control.describe(tmp_path)["state"] == "starting"  # it may be about to record itself
    monkeypatch.setattr(control, "SILENT", 0.0)
    told = control.describe(tmp_path)
    assert told["state"] == "degraded"
    assert told["error"]["code"] == "other_version"
    with pytest.raises(StackError) as refused:
        control.wait_for(tmp_path, lambda told: None)
    assert refused.value.code == "other_version"


def test_another_down_is_no_supervisor(tmp_path: Path) -> None:
    with state.supervision(tmp_path) as ours:
        assert ours
        assert state.find_supervisor(tmp_path) is None


def test_a_signature_outlives_nobody(start: Start, tmp_path: Path) -> None:
    process = start("{", True)
    found = state.find_supervisor(tmp_path)
    assert found is not None
    assert found.pid == process.pid
    process.kill()
    process.wait()
    assert state.find_supervisor(tmp_path) is None


def test_what_a_newer_version_records_is_understood_as_far_as_it_goes(tmp_path: Path) -> None:
    own = state.ProcessId.of(psutil.Process().pid)
    assert own is not None
    process = {"pid": own.pid, "birth": own.birth}
    service = {"name": "rest", "state": "ready", "process": process, "colour": "blue"}
    kept = {"state": "ready", "supervisor": process, "services": {"rest": service, "cache": {}}, "since": time.time()}
    (tmp_path / "stack.json").write_text(json.dumps(kept))
    told = state.read(tmp_path)
    assert told is not None
    assert told.services["rest"].process == own
    assert told.services["cache"].process is None
