"""What the runner must be told: read once from the environment, checked, and frozen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.errors import SettingsError

__all__ = ["Settings", "load"]


def usable_cpus() -> int:
    """How many processors this process may use (a container or `taskset` may allow fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """The runner's settings. Each field is the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    supabase_url: str
    supabase_secret_key: SecretStr
    database_url: SecretStr
    runner_slots: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=usable_cpus)
    runner_wake: Literal["auto", "listen", "poll"] = "auto"
    """`poll` behind any transaction pooler; `auto` knows the hosted one by its port, 6543."""
    runner_stop_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """How long a stopping runner lets its jobs work on before it gives them back."""
    runner_heartbeat_file: Path | None = None
    runner_log_level: Literal["debug", "info", "warning", "error"] = "info"
    archive_preset: Literal["fast", "balanced", "small"] = "balanced"

    @field_validator("supabase_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is no http(s) address; it looks like https://<ref>.supabase.co")
        return value.strip().rstrip("/")

    @field_validator("supabase_secret_key")
    @classmethod
    def _is_the_secret_key(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if key.startswith("sb_publishable_"):
            raise ValueError("is a publishable key; the runner needs the secret one (sb_secret_…)")
        if not key or key != key.strip():
            raise ValueError("is empty or has blanks or a line break around it")
        return value

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if url != url.strip():
            raise ValueError("has blanks or a line break around it")
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql:// (without a driver's name such as +psycopg)")
        try:
            port = urlsplit(url).port
        except ValueError:
            raise ValueError("cannot be read; a password with signs such as @ / # must be percent-encoded") from None
        if port == 0:
            raise ValueError("names port 0")
        return value


def load() -> Settings:
    """Read the settings from the environment.

    Raises SettingsError with every fault in one sentence; a value is never repeated, for it may be a secret.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # pydantic-settings fills the fields from the environment
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            name = str(fault["loc"][0]).upper()
            told = "is not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
            faults.append(f"{name} {told}")
        raise SettingsError(
            "settings_invalid",
            "; ".join(faults) + ".",
            "`instashare status --json` shows a local stack's settings; for a hosted project see docs/hosted.md.",
        ) from None
