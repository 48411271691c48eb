"""One installation: what is made, how it is kept, and which ports it gets."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import installation as installations
from local.errors import NotInstalled, PortTaken, StackError
from local.installation import Installation, Ports
from local.ports import settle_ports
from local.stack import Options, settle


@pytest.fixture
def made(tmp_path: Path) -> Installation:
    return installations.create(tmp_path / "data", port=installations.free_port())


@pytest.fixture
def held_port() -> Iterator[int]:
    """A port of 127.0.0.1 on which this process listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_what_was_made_is_read_again(made: Installation) -> None:
    assert installations.load(made.data_dir) == made


def test_nobody_else_can_read_its_secrets(made: Installation) -> None:
    assert stat.S_IMODE(made.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((made.data_dir / "installation.json").stat().st_mode) == 0o600
    assert [path.name for path in made.data_dir.iterdir()] == ["installation.json"]


def test_two_installations_share_no_secret(tmp_path: Path, made: Installation) -> None:
    other = installations.create(tmp_path / "other", port=installations.free_port()).secrets
    for field in dataclasses.fields(other):
        assert getattr(other, field.name) != getattr(made.secrets, field.name)
    assert not set(other.passwords.values()) & set(made.secrets.passwords.values())


@pytest.mark.parametrize("name", ["publishable_key", "secret_key"])
def test_keys_have_the_form_and_checksum_of_a_self_hosted_supabase(made: Installation, name: str) -> None:
    key: str = getattr(made.secrets, name)
    prefix = "sb_publishable_" if name == "publishable_key" else "sb_secret_"
    assert key.startswith(prefix)
    random, checksum = key[len(prefix) : len(prefix) + 22], key[len(prefix) + 23 :]
    digest = hashlib.sha256(f"supabase-self-hosted|{prefix}{random}".encode()).digest()
    assert checksum == base64.urlsafe_b64encode(digest).decode()[:8]
    assert key[len(prefix) + 22] == "_"


def test_a_folder_without_one_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match="no local stack") as caught:
        installations.load(tmp_path)
    assert "instashare up" in caught.value.cure


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"ports": {}}'])
def test_a_damaged_file_is_named(made: Installation, text: str) -> None:
    (made.data_dir / "installation.json").write_text(text)
    with pytest.raises(StackError) as caught:
        installations.load(made.data_dir)
    assert caught.value.code == "installation_damaged"


def test_an_installation_is_not_made_twice(made: Installation) -> None:
    with pytest.raises(StackError) as caught:
        installations.create(made.data_dir)
    assert caught.value.code == "installation_exists"
    assert installations.load(made.data_dir) == made


def test_an_installation_for_another_schema_has_no_demo_users(tmp_path: Path) -> None:
    made = installations.create(tmp_path / "data", port=installations.free_port(), schema_file=tmp_path / "empty.sql")
    assert made.demo_users == ()
    assert installations.load(made.data_dir).schema_file == tmp_path / "empty.sql"


def test_with_a_port_by_name_all_others_are_free_ones_and_differ() -> None:
    gateway = installations.free_port()
    ports = dataclasses.astuple(installations.choose_ports(gateway))
    assert ports[0] == gateway
    assert len(set(ports)) == len(ports)
    assert all(installations.is_free(port) for port in ports)
    assert not set(ports[1:]) & {54321, 54380, 54322}


def test_without_one_the_ports_that_people_know_are_the_documented_ones() -> None:
    ports = installations.choose_ports(None)
    assert (ports.gateway, ports.backend, ports.postgres) == (54321, 54380, 54322)


def test_another_gateway_port_keeps_the_others_while_they_are_free(made: Installation) -> None:
    kept = made.ports
    moved = installations.choose_ports(installations.free_port(dataclasses.astuple(kept)), kept)
    assert dataclasses.replace(moved, gateway=kept.gateway) == kept


def test_a_taken_gateway_port_is_said_with_its_holder_and_cure(held_port: int) -> None:
    ports = installations.choose_ports(held_port)
    with pytest.raises(PortTaken, match=rf"Port {held_port} \(gateway\) is taken") as caught:
        settle_ports(ports)
    assert "--port N" in caught.value.cure


def test_a_taken_inner_port_moves_silently(held_port: int) -> None:
    ports = dataclasses.replace(installations.choose_ports(installations.free_port()), rest=held_port)
    settled = settle_ports(ports)
    assert settled.rest != held_port
    assert dataclasses.replace(settled, rest=held_port) == ports


def test_free_ports_do_not_move(made: Installation) -> None:
    assert settle_ports(made.ports) == made.ports


def test_the_file_names_ports_by_service(made: Installation) -> None:
    kept = json.loads((made.data_dir / "installation.json").read_text())
    assert Ports(**kept["ports"]) == made.ports


def test_a_start_without_options_changes_nothing(made: Installation) -> None:
    assert settle(made.data_dir, Options()) == made


def test_the_options_of_a_start_are_kept_for_the_next(made: Installation) -> None:
    changed = settle(made.data_dir, Options(confirm_email=True, storage_limit=1000))
    assert (changed.confirm_email, changed.storage_limit) == (True, 1000)
    assert settle(made.data_dir, Options()) == changed
    assert settle(made.data_dir, Options(confirm_email=False)).confirm_email is False


def test_the_gateway_moves_where_it_is_asked_to(made: Installation) -> None:
    port = installations.free_port(dataclasses.astuple(made.ports))
    assert settle(made.data_dir, Options(port=port)).ports == dataclasses.replace(made.ports, gateway=port)


def test_a_start_makes_what_is_not_there(tmp_path: Path) -> None:
    port = installations.free_port()
    settled = settle(tmp_path / "data", Options(port=port, storage_limit=1000))
    assert (settled.ports.gateway, settled.storage_limit, settled.confirm_email) == (port, 1000, False)
    assert installations.load(tmp_path / "data") == settled


def test_a_schema_cannot_be_put_over_another(made: Installation, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="our own migrations") as caught:
        settle(made.data_dir, Options(schema_file=tmp_path / "schema.sql"))
    assert "--data-dir" in caught.value.cure


def test_a_moved_data_folder_is_the_same_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installations.os, "geteuid", lambda: 1000)
    made = installations.create(tmp_path / "data", port=installations.free_port())
    assert made.postgres_data == tmp_path / "data" / "postgres"
    made.data_dir.rename(tmp_path / "moved")
    moved = installations.load(tmp_path / "moved")
    assert moved.postgres_data == tmp_path / "moved" / "postgres"
    assert moved.secrets == made.secrets


def test_roots_database_lies_where_its_unprivileged_user_can_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installations.os, "geteuid", lambda: 0)
    made = installations.create(tmp_path / "data", port=installations.free_port())
    assert made.postgres_data.parent.parent == Path("/var/lib/instashare")
    made.data_dir.rename(tmp_path / "moved")
    assert installations.load(tmp_path / "moved").postgres_data == made.postgres_data
