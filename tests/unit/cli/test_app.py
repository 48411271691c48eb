from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.cli.app import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command line; its exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out, err


VERBS = [
    "up", "down", "status", "reset", "mail", "try", "doctor", "keys", "version", "test", "bench",
    *(f"db {verb}" for verb in ("migrate", "status", "matrix", "runner-url")),
    *(f"jobs {verb}" for verb in (
        "run", "list", "show", "retry", "cancel", "pause", "resume", "stats", "watch", "prune")),
    *(f"schedule {verb}" for verb in ("list", "set", "enable", "disable", "run", "sync", "history")),
    *(f"users {verb}" for verb in ("list", "grant", "revoke")),
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_json_and_data_dir(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    code, out, _ = run(capsys, *verb.split(), "--help")
    assert code == 0
    assert "--json" in out
    assert "--data-dir" in out


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    assert "Usage: instashare" in out
    for verb in VERBS:
        assert verb.split()[0] in out


WRONG = [
    ["nonsense"],
    ["db", "nonsense"],
    ["jobs", "list", "--limit", "many"],
    ["jobs", "list", "--state", "asleep"],
    ["jobs", "list", "--finished", "--state", "running"],
    ["jobs", "show"],
    ["try"],
    ["try", "/nowhere/at/all"],
    ["bench", "nonsense"],
    ["test", "nonsense"],
    ["schedule", "set", "prune_history", "every day"],
    ["version", "--nonsense"],
]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err
    code, out, err = run(capsys, *arguments, "--json")
    assert (code, err) == (2, "")
    error = json.loads(out)["error"]
    assert error["code"] and error["message"]


def test_what_is_not_built_is_3(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "test", "mobile")
    assert (code, out) == (3, "")
    assert "not built" in err
    code, out, err = run(capsys, "test", "mobile", "--json")
    assert (code, err) == (3, "")
    assert json.loads(out)["error"]["code"] == "not_built"


NEEDING_A_STACK = [
    ["db", "migrate"], ["db", "status"], ["db", "matrix"], ["db", "runner-url"], ["jobs", "run"], ["jobs", "list"],
    ["jobs", "show", "1"], ["jobs", "retry", "1"], ["jobs", "cancel", "1"], ["jobs", "pause"], ["jobs", "resume"],
    ["jobs", "stats"], ["jobs", "watch"], ["jobs", "prune"], ["schedule", "list"], ["schedule", "run", "prune_history"],
    ["schedule", "sync"], ["schedule", "history"], ["users", "list"],
    ["users", "grant", "ana@instashare.test", "admin"], ["try", __file__],
]  # fmt: skip


@pytest.mark.parametrize("arguments", NEEDING_A_STACK)
def test_without_a_stack_it_is_3(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, bare: None, arguments: list[str]
) -> None:
    code, out, err = run(capsys, *arguments, "--json", "--data-dir", str(tmp_path))
    assert (code, err) == (3, "")
    error = json.loads(out)["error"]
    assert error["code"] == "not_installed"
    assert "instashare up" in error["cure"]


def test_doctor_without_anything_names_every_missing_setting(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, bare: None
) -> None:
    code, out, err = run(capsys, "doctor", "--json", "--data-dir", str(tmp_path))
    assert (code, err) == (1, "")
    told = json.loads(out)
    assert told["ok"] is False
    assert all(set(check) == {"name", "ok", "detail", "cure"} for check in told["checks"])
    missing = {check["name"] for check in told["checks"] if not check["ok"]}
    names = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY", "DATABASE_URL", "ADMIN_DATABASE_URL")
    assert missing == {f"settings.{name}" for name in names}
    assert all(check["cure"] for check in told["checks"] if not check["ok"])


def test_version_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "version", "--json")
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert json.loads(out)["version"]
