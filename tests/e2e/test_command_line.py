"""`instashare try` and `doctor` against the running stack, as a person would call them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import CLI, ROOT, Account, Stack, instashare, wait_for

MEBIBYTE = 1024 * 1024


@pytest.fixture
def settings(stack: Stack, person: Account, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who works on the stack from elsewhere, by settings alone."""
    return {
        "SUPABASE_URL": stack.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key,
        "SUPABASE_SECRET_KEY": stack.secret_key,
        "BACKEND_URL": stack.backend_url,
        "TRY_EMAIL": person.email,
        "TRY_PASSWORD": person.password,
    }


def run(settings: dict[str, str], *arguments: str, code: int = 0) -> Any:
    """Run a verb with --json; its one object."""
    done = instashare(*arguments, "--json", "--data-dir", "/nowhere/at/all", env=settings)
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    return json.loads(done.stdout)


def test_files_of_every_kind_make_the_whole_way(settings: dict[str, str], tmp_path: Path) -> None:
    contents = {
        "empty.dat": b"",
        "one byte.txt": b"x",
        "Ünïcode & 100% #?.txt": b"word " * 1000,
        "e\u0301 decomposed.bin": os.urandom(3 * MEBIBYTE),
        "just standard.bin": bytes(6 * MEBIBYTE),
        "just resumable.bin": bytes(6 * MEBIBYTE + 1),
        "three chunks.bin": os.urandom(14 * MEBIBYTE),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    told = run(settings, "try", *(str(tmp_path / name) for name in contents))
    assert told["ok"] is True
    assert [one["size_bytes"] for one in told["files"]] == [len(content) for content in contents.values()]
    for one in told["files"]:
        assert one["ok"] and one["error"] is None and one["zip_size_bytes"] > 0 and one["seconds"] > 0
    assert told["files"][4]["ratio"] < 0.01


def test_one_refused_file_spoils_the_answer_not_the_others(settings: dict[str, str], tmp_path: Path) -> None:
    for name in ("NUL.txt", "fine.txt"):
        (tmp_path / name).write_text("words")
    told = run(settings, "try", str(tmp_path / "NUL.txt"), str(tmp_path / "fine.txt"), code=1)
    assert [one["ok"] for one in told["files"]] == [False, True]
    assert told["files"][0]["error"]["code"] == "name_invalid"


def test_a_wrong_password_is_told_by_auth(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    told = run({**settings, "TRY_PASSWORD": "wrong"}, "try", str(tmp_path / "a.txt"), code=1)
    assert told["error"]["code"] == "invalid_credentials"


def test_no_answer_is_not_running(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    nobody = "http://127.0.0.1:9"
    told = run({**settings, "SUPABASE_URL": nobody}, "try", str(tmp_path / "a.txt"), code=3)
    assert told["error"]["code"] == "no_answer"


def test_an_interrupt_ends_at_once_and_leaves_no_files(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(os.urandom(64 * MEBIBYTE))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [*CLI, "try", str(tmp_path / "big.bin")],
        cwd=ROOT, env={**os.environ, **settings, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: list(scratch.iterdir()))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert list(scratch.iterdir()) == []


def test_the_doctor_finds_nothing_wrong(stack: Stack) -> None:
    if stack.data_dir is None or os.environ.get("SUPABASE_URL"):
        pytest.skip("this test examines a local stack by its own address")
    done = instashare("doctor", "--json", "--data-dir", str(stack.data_dir))
    told = json.loads(done.stdout)
    assert [check for check in told["checks"] if not check["ok"]] == []
    assert (done.returncode, done.stderr, told["ok"]) == (0, "", True)
    assert len(told["checks"]) > 30


def test_the_doctor_names_swapped_keys(stack: Stack, settings: dict[str, str]) -> None:
    swapped = {
        **settings,
        "SUPABASE_SECRET_KEY": stack.publishable_key,
        "SUPABASE_PUBLISHABLE_KEY": stack.secret_key,
    }
    told = run(swapped, "doctor", code=1)
    faults = {check["name"]: check for check in told["checks"] if not check["ok"]}
    assert "swapped" in faults["settings.SUPABASE_SECRET_KEY"]["cure"]
    assert "keys.secret" in faults
    assert stack.secret_key not in json.dumps(told)
