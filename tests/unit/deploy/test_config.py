"""supabase/config.toml: only settings that the Supabase CLI knows, and that agree with the compose file and rows."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.caddy import ROOT

# The part that we use of the CLI's own template (apps/cli-go/pkg/config/templates/config.toml, November 2026), which
# refuses unknown keys with a warning and wrong types altogether. `*` is a name that one chooses.
KNOWN: dict[str, type] = {
    "project_id": str,
    "api.enabled": bool,
    "api.schemas": list,
    "api.extra_search_path": list,
    "api.max_rows": int,
    "db.major_version": int,
    "db.migrations.enabled": bool,
    "db.seed.enabled": bool,
    "db.seed.sql_paths": list,
    "storage.enabled": bool,
    "storage.file_size_limit": str,
    "storage.buckets.*.public": bool,
    "storage.buckets.*.file_size_limit": str,
    "auth.enabled": bool,
    "auth.site_url": str,
    "auth.additional_redirect_urls": list,
    "auth.jwt_expiry": int,
    "auth.enable_refresh_token_rotation": bool,
    "auth.refresh_token_reuse_interval": int,
    "auth.enable_signup": bool,
    "auth.minimum_password_length": int,
    "auth.email.enable_signup": bool,
    "auth.email.double_confirm_changes": bool,
    "auth.email.enable_confirmations": bool,
    "auth.email.max_frequency": str,
    "realtime.enabled": bool,
    "analytics.enabled": bool,
    "edge_runtime.enabled": bool,
}


def flatten(table: dict[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Each setting by its dotted name."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        here = (*path, "*" if path == ("storage", "buckets") else name)
        found |= flatten(value, here) if isinstance(value, dict) else {".".join(here): value}
    return found


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return tomllib.loads((ROOT / "supabase" / "config.toml").read_text())


def test_the_cli_knows_every_setting(config: dict[str, Any]) -> None:
    settings = flatten(config)
    assert settings
    assert {name: type(value) for name, value in settings.items() if KNOWN.get(name) is not type(value)} == {}


def test_what_it_says_is_what_a_deployment_has(config: dict[str, Any]) -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    assert f"image: supabase/postgres:{config['db']['major_version']}." in compose
    assert f'GOTRUE_PASSWORD_MIN_LENGTH: "{config["auth"]["minimum_password_length"]}"' in compose
    assert f'GOTRUE_JWT_EXP: "{config["auth"]["jwt_expiry"]}"' in compose
    assert f'PGRST_DB_MAX_ROWS: "{config["api"]["max_rows"]}"' in compose
    assert f"PGRST_DB_SCHEMAS: {','.join(config['api']['schemas'])}\n" in compose
    assert f"PGRST_DB_EXTRA_SEARCH_PATH: {','.join(config['api']['extra_search_path'])}\n" in compose
    assert config["auth"]["email"]["enable_confirmations"] is True  # sharing by address trusts confirmed addresses
    limits = {
        config["storage"]["file_size_limit"],
        *(b["file_size_limit"] for b in config["storage"]["buckets"].values()),
    }
    template = (ROOT / ".env.example").read_text()
    assert limits == {"5GiB"} and f"STORAGE_FILE_SIZE_LIMIT={5 << 30}" in template
    assert set(config["storage"]["buckets"]) == {"documents", "archives"}
    assert not any(bucket["public"] for bucket in config["storage"]["buckets"].values())


def test_its_seed_and_migrations_are_there(config: dict[str, Any]) -> None:
    folder = ROOT / "supabase"
    assert all((folder / path).is_file() for path in config["db"]["seed"]["sql_paths"])
    names = sorted(path.name for path in (folder / "migrations").iterdir())
    assert names and all(name[:14].isdigit() and name[14] == "_" and name.endswith(".sql") for name in names)
    assert len({name[:14] for name in names}) == len(names)  # the CLI keeps its books by version
