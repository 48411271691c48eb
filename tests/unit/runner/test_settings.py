"""Settings are checked before anything starts, and no value is ever repeated."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from jobs.errors import SettingsError
from jobs.settings import load

GOOD = {
    "SUPABASE_URL": "https://abcdefgh.supabase.co/",
    "SUPABASE_SECRET_KEY": "sb_secret_hush",
    "DATABASE_URL": "postgresql://instashare_runner:hush@db.example.test:5432/postgres",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("RUNNER_SLOTS", "RUNNER_WAKE", "ARCHIVE_PRESET", "RUNNER_HEARTBEAT_FILE", "RUNNER_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_good_settings_are_frozen_and_hide_their_secrets() -> None:
    settings = load()
    assert settings.supabase_url == "https://abcdefgh.supabase.co"
    assert settings.runner_slots >= 1 and settings.archive_preset == "balanced"
    assert "hush" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.runner_slots = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SUPABASE_URL", None, "is not set"),
        ("SUPABASE_URL", "abcdefgh.supabase.co", "no http(s) address"),
        ("SUPABASE_SECRET_KEY", None, "is not set"),
        ("SUPABASE_SECRET_KEY", "sb_publishable_hush", "publishable"),
        ("SUPABASE_SECRET_KEY", "sb_secret_hush\n", "line break"),
        ("DATABASE_URL", None, "is not set"),
        ("DATABASE_URL", "postgresql+psycopg://u:hush@h/d", "must begin with postgresql://"),
        ("DATABASE_URL", "postgresql://u:hush@h/d\n", "line break"),
        ("DATABASE_URL", "postgresql://u:hu#sh@h:5432/d", "percent-encoded"),
        ("RUNNER_SLOTS", "0", "greater than or equal to 1"),
        ("RUNNER_WAKE", "sometimes", "'auto', 'listen' or 'poll'"),
        ("ARCHIVE_PRESET", "tiny", "'fast', 'balanced' or 'small'"),
    ],
)
def test_a_bad_setting_is_named_and_not_repeated(
    environment: pytest.MonkeyPatch, name: str, value: str | None, told: str
) -> None:
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert name in refused.value.message and told in refused.value.message
    assert "hush" not in refused.value.message and "hu#sh" not in refused.value.message
    assert refused.value.exit_code == 2
