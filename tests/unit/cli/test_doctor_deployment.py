"""The doctor's checks of a self-hosted deployment: Location of resumable uploads, the probe of a byte, logins."""

from __future__ import annotations

from pathlib import Path

import httpx
import psycopg
import pytest
import respx

from jobs.cli import keys
from jobs.cli.doctor import deployment
from jobs.cli.target import Target

BASE = "https://docs.example.com"
TUS = f"{BASE}/storage/v1/upload/resumable"


def target(**more: str) -> Target:
    values = {"SUPABASE_URL": BASE, "SUPABASE_SECRET_KEY": "sb_secret_x", **more}
    return Target(data_dir=Path("none"), values=values, local=None, foreign=False)


def routes(router: respx.MockRouter, location: str = f"{TUS}/abc", stored: int = 200) -> None:
    router.get(f"{BASE}/storage/v1/bucket/archives").respond(json={"id": "archives"})
    router.post(url__regex=rf"{BASE}/storage/v1/object/archives/doctor/.*").respond(stored, json={})
    router.get(url__regex=rf"{BASE}/storage/v1/object/archives/doctor/.*").respond(200, content=b"x")
    router.delete(f"{BASE}/storage/v1/object/archives", name="removed").respond(200, json=[])
    router.post(TUS).respond(201, headers={"Location": location})
    router.delete(url__startswith=f"{TUS}/", name="ended").respond(204)


@pytest.mark.parametrize("location", [f"{TUS}/abc", "/storage/v1/upload/resumable/abc"])
def test_a_sound_storage_passes_and_keeps_nothing(location: str) -> None:
    with respx.mock(assert_all_called=True) as router:
        routes(router, location)
        assert [(check.name, check.ok) for check in deployment.check_uploads(target())] == [
            ("storage.probe", True),
            ("storage.resumable", True),
        ]


@pytest.mark.parametrize(
    "location",
    [
        "http://docs.example.com/storage/v1/upload/resumable/abc",
        "https://docs.example.com:8000/storage/v1/upload/resumable/abc",
        "https://storage:5000/storage/v1/upload/resumable/abc",
        "https://docs.example.com/upload/resumable/abc",
        "/upload/resumable/abc",
        "",
    ],
)
def test_a_location_that_clients_cannot_follow_is_named(location: str) -> None:
    with respx.mock(assert_all_called=False) as router:
        routes(router, location)
        check = deployment.check_uploads(target())[1]
    assert not check.ok
    assert "X-Forwarded-Proto" in check.cure


def test_a_volume_that_keeps_nothing_is_named() -> None:
    with respx.mock(assert_all_called=False) as router:
        routes(router, stored=500)
        check = deployment.check_uploads(target())[0]
    assert not check.ok
    assert "extended attributes" in check.cure


def test_a_cut_probe_is_a_failed_check() -> None:
    with respx.mock as router:
        router.get(f"{BASE}/storage/v1/bucket/archives").mock(side_effect=httpx.ReadTimeout("late"))
        assert [check.ok for check in deployment.check_uploads(target())] == [False]


def test_where_storage_refuses_the_key_another_check_speaks() -> None:
    with respx.mock as router:
        router.get(f"{BASE}/storage/v1/bucket/archives").respond(400)
        assert deployment.check_uploads(target()) == []


def test_services_that_know_another_password_are_found_by_one_login(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def connect(**parts: str) -> None:
        tried.append(parts["user"])
        raise psycopg.OperationalError(f'password authentication failed for user "{parts["user"]}"')

    monkeypatch.setattr(psycopg, "connect", connect)
    made = keys.make()
    admin = target(ADMIN_DATABASE_URL=f"postgresql://postgres:{made['POSTGRES_PASSWORD']}@127.0.0.1:5432/postgres")
    secrets, login = deployment.check_logins(admin, made)
    assert secrets.ok
    assert not login.ok
    assert "another password" in login.cure
    assert tried == ["authenticator"]
    assert made["POSTGRES_PASSWORD"] not in str(login)


def test_without_a_deployments_settings_nothing_is_asked() -> None:
    assert deployment.check_logins(target(), {}) == []


def test_secrets_that_do_not_fit_are_named() -> None:
    checks = deployment.check_logins(target(), {**keys.make(), "ANON_KEY": keys.make()["ANON_KEY"]})
    assert [check.ok for check in checks] == [False]
