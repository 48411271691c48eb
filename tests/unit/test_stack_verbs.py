"""`up`, `down`, `status`, `reset` and `mail` where nothing runs: what they say, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from jobs.cli import stack
from local import installation as installations
from local.installation import Installation

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    app = typer.Typer()
    stack.register(app)
    return lambda *words: CliRunner().invoke(app, [*words, "--data-dir", str(tmp_path / "data")])


@pytest.fixture
def made(tmp_path: Path) -> Installation:
    return installations.create(tmp_path / "data", port=installations.free_port())


def told(result: Result) -> dict[str, Any]:
    """The one JSON object on stdout; stderr stays empty."""
    assert result.stderr == ""
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_the_status_of_nothing_has_every_key_and_exit_code_3(call: Call) -> None:
    result = call("status", "--json")
    facts = told(result)
    assert result.exit_code == 3
    assert facts["state"] == "stopped"
    assert facts["services"] == {} == dict.fromkeys(facts["demo_users"])
    keys = "supabase_url backend_url web_url publishable_key secret_key jwt_secret database_url admin_database_url"
    assert all(facts[key] is None for key in keys.split())


def test_the_status_of_a_stopped_stack_tells_its_settings(call: Call, made: Installation) -> None:
    result = call("status", "--json")
    facts = told(result)
    assert result.exit_code == 3
    assert facts["supabase_url"] == made.supabase_url
    assert facts["database_url"] == made.database_url("instashare_runner")
    assert facts["admin_database_url"] == made.database_url("supabase_admin")
    assert facts["web_url"] == made.web_url
    assert [user["role"] for user in facts["demo_users"]] == ["admin", "member", "member"]


def test_a_person_sees_no_secret_in_the_status(call: Call, made: Installation) -> None:
    shown = call("status").stdout
    secrets = made.secrets
    for secret in (secrets.secret_key, secrets.jwt_secret, *secrets.passwords.values()):
        assert secret not in shown


def test_stopping_nothing_is_no_failure(call: Call) -> None:
    result = call("down", "--json")
    assert (result.exit_code, told(result)) == (0, {"state": "stopped", "was_running": False})


def test_reset_wants_to_be_sure(call: Call, made: Installation) -> None:
    result = call("reset", "--json")
    assert (result.exit_code, told(result)["error"]["code"]) == (2, "not_confirmed")
    assert installations.load(made.data_dir) == made


def test_reset_deletes_what_is_ours_and_nothing_else(call: Call, made: Installation) -> None:
    (made.data_dir / "storage").mkdir()
    (made.data_dir / "mail").mkdir()
    (made.data_dir / "notes.txt").write_text("mine")
    assert call("reset", "--yes").exit_code == 0
    assert [path.name for path in made.data_dir.iterdir()] == ["notes.txt"]


def test_reset_of_nothing_says_so(call: Call) -> None:
    result = call("reset", "--yes", "--json")
    assert (result.exit_code, told(result)["error"]["code"]) == (3, "not_installed")


def test_the_web_client_is_served_from_its_sources_or_not_at_all(call: Call) -> None:
    result = call("up", "--dev", "--no-web", "--json")
    assert (result.exit_code, told(result)["error"]["code"]) == (2, "web_twice")


def test_a_schema_file_must_exist(call: Call, tmp_path: Path) -> None:
    assert call("up", "--schema", str(tmp_path / "none.sql")).exit_code == 2
    assert not (tmp_path / "data").exists()


def write_mail(installation: Installation, number: int, to: str) -> None:
    installation.mail_dir.mkdir(exist_ok=True)
    mail = {"to": to, "subject": f"Subject {number}", "sent_at": f"2026-11-0{number}T00:00:00Z", "text": "[link](x)"}
    (installation.mail_dir / f"{number}.json").write_text(json.dumps(mail))


def test_mails_are_shown_newest_last_and_by_address(call: Call, made: Installation) -> None:
    for number, to in enumerate(("ana@example.test", "luis@example.test", "ana@example.test"), start=1):
        write_mail(made, number, to)
    (made.mail_dir / "4.json").write_text("{")
    assert [mail["subject"] for mail in told(call("mail", "--json"))["mails"]] == [
        "Subject 1",
        "Subject 2",
        "Subject 3",
    ]
    assert len(told(call("mail", "--json", "--to", "Ana@example.test"))["mails"]) == 2
    assert [mail["subject"] for mail in told(call("mail", "--json", "--limit", "1"))["mails"]] == ["Subject 3"]
    assert "[link](x)" in call("mail").stdout
