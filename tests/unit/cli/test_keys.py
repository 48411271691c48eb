"""`instashare keys`: forms that fit Supabase's services, a file nobody else reads, and examples that are refused."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
import typer
from typer.testing import CliRunner, Result

from jobs.cli import keys

Call = Callable[..., Result]


@pytest.fixture
def call() -> Call:
    app = typer.Typer()
    keys.register(app)
    return lambda *words, **env: CliRunner(env=env).invoke(app, list(words))


def read_env(path: Path) -> dict[str, str]:
    """The names and values of an .env file as compose reads those that we write."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def test_made_keys_fit_together() -> None:
    for _ in range(50):  # the random parts differ: a `_` or `-` in them must not matter
        assert keys.find_faults(keys.make()) == []


def test_the_role_tokens_are_signed_with_the_shared_secret_and_auth_signs_with_one_other_key() -> None:
    made = keys.make()
    for name, role in (("ANON_KEY", "anon"), ("SERVICE_ROLE_KEY", "service_role")):
        claims = jwt.decode(made[name], made["JWT_SECRET"], algorithms=["HS256"])
        assert (claims["role"], claims["iss"]) == (role, "supabase")
    private = [key for key in json.loads(made["JWT_KEYS"]) if "sign" in key["key_ops"]]
    public = {key["kid"]: key for key in json.loads(made["JWT_JWKS"])["keys"]}
    token = jwt.encode({"sub": "x"}, jwt.PyJWK(private[0]).key, algorithm="ES256", headers={"kid": private[0]["kid"]})
    assert jwt.decode(token, jwt.PyJWK(public[private[0]["kid"]]).key, algorithms=["ES256"]) == {"sub": "x"}
    assert not any("d" in key for key in public.values())


def test_the_file_is_private_whole_and_never_written_over(call: Call, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    first = call("--write", str(file), "--url", "https://docs.example.com/")
    assert first.exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made = read_env(file)
    assert made["PUBLIC_URL"] == "https://docs.example.com"
    assert (made["SMTP_HOST"], made["COMPOSE_PROFILES"]) == ("", "")
    assert all(made[name] for name in keys.SECRETS)
    assert not any(made[name] in first.output for name in keys.SECRETS)
    before = file.read_bytes()
    second = call("--write", str(file), "--json")
    assert second.exit_code == 1
    assert json.loads(second.stdout)["error"]["code"] == "file_exists"
    assert file.read_bytes() == before


def test_on_this_machine_mails_are_caught(call: Call, tmp_path: Path) -> None:
    answer = call("--write", str(tmp_path / ".env"), "--json")
    assert json.loads(answer.stdout)["names"] == list(keys.SECRETS)
    made = read_env(tmp_path / ".env")
    assert (made["PUBLIC_URL"], made["SMTP_HOST"], made["COMPOSE_PROFILES"]) == ("http://localhost", "mailpit", "dev")
    assert not any(made[name] in answer.output for name in keys.SECRETS)


def test_secrets_are_shown_when_asked_for(call: Call) -> None:
    told = json.loads(call("--show", "--json").stdout)
    assert keys.find_faults(told) == []
    assert "POSTGRES_PASSWORD=" in call("--show").stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--show", "--check"],
        ["--show", "--url", "docs.example.com"],
        ["--show", "--url", "https://example.com/docs"],
        ["--show", "--url", "http://a:x"],
    ],
)
def test_wrong_calls_are_told(call: Call, words: list[str]) -> None:
    assert call(*words).exit_code == 2


def test_the_environment_is_checked(call: Call) -> None:
    made = keys.make()
    assert call("--check", **made).exit_code == 0
    assert call("--check").exit_code == 2
    refused = call("--check", **{**made, "POSTGRES_PASSWORD": "your-super-secret-and-long-postgres-password"})
    assert refused.exit_code == 2
    assert "POSTGRES_PASSWORD is a published example" in refused.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"JWT_SECRET": "your-super-secret-jwt-token-with-at-least-32-characters-long"}, "published"),
        ({"JWT_SECRET": "short"}, "32 characters"),
        ({"POSTGRES_PASSWORD": "with@sign/and-more-than-sixteen"}, "hexadecimal"),
        ({"ANON_KEY": keys.make()["ANON_KEY"]}, "ANON_KEY is not signed with JWT_SECRET"),
        ({"SERVICE_ROLE_KEY": keys.make()["ANON_KEY"]}, "not of the role service_role"),
        ({"ANON_KEY": jwt.encode({"iss": "supabase-demo", "role": "anon"}, "x" * 32)}, "ANON_KEY is a published"),
        ({"SUPABASE_SECRET_KEY": keys.make()["SUPABASE_SECRET_KEY"][:-1]}, "SUPABASE_SECRET_KEY is no key"),
        ({"JWT_JWKS": keys.make()["JWT_JWKS"]}, "lacks a key of JWT_KEYS"),
        ({"JWT_JWKS": json.dumps({"keys": json.loads(keys.make()["JWT_KEYS"])})}, "private key"),
        ({"JWT_KEYS": "not json"}, "no key set"),
        ({"JWT_KEYS": "[]"}, "exactly one key that signs"),
    ],
)
def test_what_does_not_fit_is_named_and_never_repeated(change: dict[str, str], words: str) -> None:
    faults = keys.find_faults({**keys.make(), **change})
    assert any(words in fault for fault in faults), faults
    assert not any(value in fault for fault in faults for value in change.values())
