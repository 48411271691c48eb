from __future__ import annotations

from pathlib import Path

import pytest

from jobs.cli.target import find_target
from jobs.errors import NotReadyError, SettingsError
from local import installation
from local.installation import Installation


@pytest.fixture
def local(tmp_path: Path) -> Installation:
    return installation.create(tmp_path / "data", port=installation.free_port())


def test_the_local_stack_fills_in_everything(local: Installation) -> None:
    target = find_target(local.data_dir, {})
    assert target.is_local
    assert target.require("SUPABASE_URL") == local.supabase_url
    assert target.require("SUPABASE_SECRET_KEY") == local.secrets.secret_key
    assert target.require("ADMIN_DATABASE_URL") == local.database_url("supabase_admin")
    assert target.require("DATABASE_URL") == local.database_url("instashare_runner")
    assert target.require("BACKEND_URL") == local.backend_url


def test_the_environment_wins(local: Installation) -> None:
    target = find_target(
        local.data_dir, {"DATABASE_URL": " postgresql://x \n", "SUPABASE_URL": local.supabase_url + "/"}
    )
    assert target.is_local
    assert target.require("DATABASE_URL") == "postgresql://x"
    assert target.require("SUPABASE_SECRET_KEY") == local.secrets.secret_key


def test_localhost_is_this_machine(local: Installation) -> None:
    named = local.supabase_url.replace("127.0.0.1", "localhost")
    assert find_target(local.data_dir, {"SUPABASE_URL": named}).is_local


def test_another_project_gets_nothing_of_the_local_stack(local: Installation) -> None:
    target = find_target(local.data_dir, {"SUPABASE_URL": "https://other.test"})
    assert target.foreign
    assert not target.is_local
    assert dict(target.values) == {"SUPABASE_URL": "https://other.test"}
    with pytest.raises(SettingsError, match="ADMIN_DATABASE_URL is not set"):
        target.require("ADMIN_DATABASE_URL")


def test_empty_is_not_set(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError):
        find_target(tmp_path, {"SUPABASE_URL": " "}).require("SUPABASE_URL")


def test_no_secret_in_a_repr(local: Installation) -> None:
    assert local.secrets.secret_key not in repr(find_target(local.data_dir, {}))
