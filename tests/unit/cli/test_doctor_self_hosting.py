"""The doctor on a Docker host of one's own: signing keys, links in mails, room on the disk, the machine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jwt
import pytest
import respx

from jobs.cli import keys
from jobs.cli.doctor import disk, mail_links, signing_keys
from jobs.cli.doctor.check import Check
from jobs.cli.target import Target

BASE = "https://docs.example.com"
API = f"{BASE}/api"


def target(**more: str) -> Target:
    values = {"SUPABASE_URL": BASE, "SUPABASE_SECRET_KEY": "sb_secret_x", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable",
              "BACKEND_URL": API}  # fmt: skip
    return Target(data_dir=Path("none"), values={**values, **more}, local=None, foreign=False)


def states(checks: list[Check]) -> dict[str, bool]:
    return {check.name: check.ok for check in checks}


# ---- signing keys


class Services:
    """Auth that publishes a key set, and verifiers that know one."""

    def __init__(self, router: respx.MockRouter, published: str, known: str) -> None:
        public = [key for key in json.loads(published)["keys"] if key["kty"] != "oct"]
        router.get(f"{BASE}/auth/v1/.well-known/jwks.json").respond(json={"keys": public})
        self.known = {key["kid"]: key for key in json.loads(known)["keys"]}
        router.get(url__startswith=f"{BASE}/rest/v1/documents").mock(side_effect=lambda r: self.judge(r, 200, 401))
        router.get(f"{BASE}/storage/v1/bucket").mock(side_effect=lambda r: self.judge(r, 200, 400))
        router.post(url__startswith=f"{API}/documents/").mock(side_effect=lambda r: self.judge(r, 404, 401))

    def judge(self, request: httpx.Request, good: int, bad: int) -> httpx.Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        key = self.known.get(jwt.get_unverified_header(token)["kid"])
        if key is None:
            return httpx.Response(bad, json={})
        issuer = f"{BASE}/auth/v1"
        claims = jwt.decode(token, jwt.PyJWK(key).key, algorithms=["ES256"], audience="authenticated", issuer=issuer)
        assert claims["role"] == "authenticated" and claims["exp"] - claims["iat"] <= 65
        return httpx.Response(good, json=[])


def test_services_that_share_one_key_set_pass() -> None:
    made = keys.make()
    with respx.mock as router:
        Services(router, made["JWT_JWKS"], made["JWT_JWKS"])
        found = signing_keys.check_signing_keys(target(), made)
    names = ("auth", "rest", "storage", "backend")
    assert states(found) == {f"signing_key.{name}": True for name in names}


def test_a_verifier_without_the_key_set_is_named_with_its_cure() -> None:
    made = keys.make()
    with respx.mock as router:
        Services(router, made["JWT_JWKS"], keys.make()["JWT_JWKS"])
        found = signing_keys.check_signing_keys(target(), made)
    assert [check.name for check in found if not check.ok] == [
        "signing_key.rest",
        "signing_key.storage",
        "signing_key.backend",
    ]
    kid = json.loads(made["JWT_KEYS"])[0]["kid"]
    assert all(kid in check.detail for check in found if not check.ok)
    assert "PGRST_JWT_SECRET" in found[1].cure and "JWT_JWKS" in found[2].cure


def test_an_auth_that_signs_with_another_key_is_named() -> None:
    made = keys.make()
    with respx.mock as router:
        Services(router, keys.make()["JWT_JWKS"], made["JWT_JWKS"])
        found = signing_keys.check_signing_keys(target(), made)
    assert [check.name for check in found if not check.ok] == ["signing_key.auth"]
    assert "GOTRUE_JWT_KEYS" in found[0].cure
    assert json.loads(made["JWT_KEYS"])[0]["d"] not in str(found)


def test_without_a_deployments_keys_none_are_compared() -> None:
    assert signing_keys.check_signing_keys(target(), {}) == []
    assert signing_keys.check_signing_keys(target(), {"JWT_KEYS": "no key set"}) == []


# ---- mails


@pytest.fixture
def auth() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


def redirecting(router: respx.MockRouter, site: str, *allowed: str) -> None:
    def verify(request: httpx.Request) -> httpx.Response:
        wanted = request.url.params.get("redirect_to", "")
        place = wanted if wanted.startswith(allowed) else site
        return httpx.Response(303, headers={"Location": f"{place}#error=access_denied&error_code=otp_expired"})

    router.get(f"{BASE}/auth/v1/verify").mock(side_effect=verify)


def test_links_that_lead_to_the_web_client_pass(auth: respx.MockRouter) -> None:
    redirecting(auth, BASE, BASE)
    found = mail_links.check_mail_links(target(), {})
    assert states(found) == {"mail.route": True, "mail.site_url": True, "mail.redirects": True}


@pytest.mark.parametrize("site", ["http://localhost:3000", "https://elsewhere.example.com"])
def test_links_that_end_elsewhere_are_named(auth: respx.MockRouter, site: str) -> None:
    redirecting(auth, site)
    check = mail_links.check_mail_links(target(), {})[-1]
    assert (check.name, check.ok) == ("mail.site_url", False)
    assert site in check.detail and "GOTRUE_SITE_URL" in check.cure


def test_a_page_that_auth_does_not_send_people_back_to_is_named(auth: respx.MockRouter) -> None:
    redirecting(auth, BASE, "https://other.example.com")
    check = mail_links.check_mail_links(target(), {})[-1]
    assert (check.name, check.ok) == ("mail.redirects", False)
    assert "redirect URLs" in check.cure


def test_a_gateway_that_asks_a_link_for_a_key_is_named(auth: respx.MockRouter) -> None:
    auth.get(f"{BASE}/auth/v1/verify").respond(401)
    (check,) = mail_links.check_mail_links(target(), {})
    assert (check.name, check.ok) == ("mail.route", False)
    assert "401" in check.detail


def test_without_a_web_address_it_only_tells(auth: respx.MockRouter) -> None:
    redirecting(auth, "https://site.example.com")
    found = mail_links.check_mail_links(target(BACKEND_URL=""), {})
    assert states(found) == {"mail.route": True, "mail.site_url": True}
    assert "WEB_URL" in found[-1].detail
    assert not mail_links.check_mail_links(target(), {"WEB_URL": "https://web.example.com"})[-1].ok


@pytest.mark.parametrize(
    ("link", "sound"),
    [
        (f"{BASE}/auth/v1/verify?token=secret", True),
        (f"{BASE}/verify?token=secret", False),
        ("http://auth:9999/auth/v1/verify?token=secret", False),
        ("", False),
    ],
)
def test_a_link_is_made_looked_at_and_forgotten(auth: respx.MockRouter, link: str, sound: bool) -> None:
    redirecting(auth, BASE, BASE)
    auth.post(f"{BASE}/auth/v1/admin/users").respond(json={"id": "7f1c"})
    auth.post(f"{BASE}/auth/v1/admin/generate_link").respond(json={"action_link": link})
    gone = auth.delete(f"{BASE}/auth/v1/admin/users/7f1c").respond(json={})
    check = mail_links.check_mail_links(target(), {}, make_one=True)[-1]
    assert (check.name, check.ok) == ("mail.link", sound)
    assert gone.called
    assert "secret" not in str(check)
    if not sound:
        assert "GOTRUE_MAILER_URLPATHS" in check.cure


# ---- the disk and the machine


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("total", "free", "sound"), [(100 << 30, 50 << 30, True), (100 << 30, 4 << 30, False),
                                                      (10 << 30, 900 << 20, False)])  # fmt: skip
def test_a_disk_that_fills_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int, sound: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(total, total - free, free))
    (check,) = disk.check_disk(target(), {"STORAGE_FOLDER": str(tmp_path)})
    assert (check.name, check.ok) == ("disk.space", sound)
    assert sound or "larger disk" in check.cure


class Answering:
    """A database that knows what all objects have together."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing."""

    def execute(self, text: str) -> Any:
        assert "storage.objects" in text
        return self

    def fetchone(self) -> tuple[int]:
        return (self.size,)


@pytest.mark.parametrize(("kept", "sound"), [(2 << 30, True), (0, False)])
def test_bytes_that_belong_to_no_object_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int, sound: bool
) -> None:
    (tmp_path / "documents" / "a").mkdir(parents=True)
    with (tmp_path / "documents" / "a" / "version").open("wb") as file:
        os.truncate(file.fileno(), 2 << 30)  # it takes no room
    monkeypatch.setattr(disk, "connect", lambda url, seconds: Answering(kept))
    admin = target(ADMIN_DATABASE_URL="postgresql://postgres:0123456789abcdef@127.0.0.1:5432/postgres")
    check = disk.check_disk(admin, {"STORAGE_FOLDER": str(tmp_path)})[-1]
    assert (check.name, check.ok) == ("disk.unfinished_uploads", sound)
    assert sound or "two days" in check.cure


def test_a_folder_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    assert disk.check_disk(target(), {}) == []
    assert disk.check_disk(target(), {"STORAGE_FOLDER": str(tmp_path / "missing")}) == []


@pytest.mark.parametrize(
    ("machine", "forced", "sound"),
    [
        ("x86_64", "", True),
        ("aarch64", "", True),
        ("arm64", "linux/arm64/v8", True),
        ("armv7l", "", False),
        ("riscv64", "", False),
        ("aarch64", "linux/amd64", False),
    ],
)
def test_a_machine_without_images_is_named(machine: str, forced: str, sound: bool) -> None:
    given = {"POSTGRES_PASSWORD": "x", "DOCKER_DEFAULT_PLATFORM": forced}
    (check,) = disk.check_machine(given, machine)
    assert check.ok is sound
    assert sound or check.cure
    assert disk.check_machine({}, machine) == []
