from __future__ import annotations

import base64
import json
import threading
import time
from pathlib import Path

import httpx
import pytest
import respx

from jobs.cli.doctor import services, settings
from jobs.cli.doctor.check import Check, passed
from jobs.cli.doctor.database import expected_objects
from jobs.cli.doctor.examination import examine
from jobs.cli.migrations import read_migrations
from jobs.cli.target import Target, find_target

BASE = "https://abcdefghijklmnopqrst.supabase.co"
GOOD = {
    "SUPABASE_URL": BASE,
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
    "SUPABASE_SECRET_KEY": "sb_secret_x",
    "BACKEND_URL": "https://api.test",
}


def legacy(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.x"


def target(**environment: str) -> Target:
    return find_target(Path("/nowhere/at/all"), environment)


def find(checks: list[Check], name: str) -> Check:
    (check,) = [check for check in checks if check.name == name]
    return check


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SUPABASE_URL", "abc.supabase.co", "no web address"),
        ("SUPABASE_URL", "https://supabase.com/dashboard/project/abc", "dashboard"),
        ("SUPABASE_URL", f"{BASE}/rest/v1/", "one service"),
        ("SUPABASE_URL", "http://share.example.com", "in the clear"),
        ("SUPABASE_URL", "http://[", "no web address"),
        ("SUPABASE_URL", f"{BASE}\n", "newline"),
        ("SUPABASE_PUBLISHABLE_KEY", "sb_secret_x", "begins with sb_secret_"),
        ("SUPABASE_SECRET_KEY", "sb_publishable_x", "begins with sb_publishable_"),
        ("SUPABASE_SECRET_KEY", "hello", "neither"),
        ("SUPABASE_SECRET_KEY", legacy(role="anon"), "role anon"),
        ("SUPABASE_SECRET_KEY", legacy(role="service_role", iss="supabase-demo"), "published example"),
        ("SUPABASE_SECRET_KEY", legacy(role="service_role", ref="zyxwvutsrqponmlkjihg"), "SUPABASE_URL is of"),
        ("SUPABASE_SECRET_KEY", legacy(role="service_role", exp=time.time() + 86400 * 9), "ends in"),
        ("SUPABASE_SECRET_KEY", legacy(role="service_role", exp=1), "has ended"),
    ],
)
def test_implausible_settings(name: str, value: str, words: str) -> None:
    environment = {**GOOD, name: value}
    check = find(settings.check_settings(target(**environment), environment), f"settings.{name}")
    assert not check.ok
    assert words in check.detail
    assert check.cure
    assert "sb_secret_x" not in check.detail + check.cure


def test_plausible_settings() -> None:
    environment = {**GOOD, "SUPABASE_SECRET_KEY": legacy(role="service_role", exp=time.time() + 86400 * 400)}
    checks = settings.check_settings(target(**environment), environment)
    assert {check.name for check in checks if not check.ok} == {"settings.DATABASE_URL", "settings.ADMIN_DATABASE_URL"}


def test_hs256_is_named() -> None:
    allowed = {**GOOD, "SUPABASE_JWT_ALLOW_HS256": "1"}
    assert not find(settings.check_settings(target(**allowed), allowed), "settings.SUPABASE_JWT_SECRET").ok
    allowed["SUPABASE_JWT_SECRET"] = "x" * 40
    check = find(settings.check_settings(target(**allowed), allowed), "settings.SUPABASE_JWT_SECRET")
    assert check.ok
    assert "asymmetric" in check.detail


def mock_project(router: respx.MockRouter) -> None:
    """A hosted project in good order."""
    router.get(f"{BASE}/auth/v1/.well-known/jwks.json", name="jwks").respond(json={"keys": [{"kty": "EC"}]})
    router.get(f"{BASE}/auth/v1/settings", name="auth").respond(json={"mailer_autoconfirm": False})
    url = f"{BASE}/rest/v1/documents?select=id&limit=0"
    router.get(url, headers={"apikey": "sb_publishable_x"}, name="rest").respond(401, json={"code": "42501"})
    router.get(url, name="strangers").respond(401, json={"message": "Invalid API key"})
    router.post(f"{BASE}/rest/v1/rpc/installation_id", name="secret").respond(json="an id")
    router.get(f"{BASE}/storage/v1/bucket", name="storage").respond(json=[{"id": "documents"}, {"id": "archives"}])
    router.get("https://api.test/readyz", name="backend").respond(json={"status": "ready"})


@respx.mock(assert_all_called=True)
def test_a_project_in_good_order(respx_mock: respx.MockRouter) -> None:
    mock_project(respx_mock)
    checks = services.check_services(target(**GOOD))
    assert [check for check in checks if not check.ok] == []
    assert len(checks) == 9


@pytest.mark.parametrize(
    ("route", "answer", "name", "words"),
    [
        ("jwks", httpx.Response(404), "jwks", "no key set"),
        ("jwks", httpx.Response(200, json={"keys": []}), "jwks", "HS256"),
        ("jwks", httpx.Response(200, json={"keys": [{"kty": "oct"}]}), "jwks", "symmetric secret"),
        ("auth", httpx.Response(200, json={"mailer_autoconfirm": True}), "auth.confirmation", "automatically"),
        ("auth", httpx.Response(500), "reach.auth", "500"),
        ("rest", httpx.Response(200, json=[]), "reach.rest", "Without signing in"),
        ("rest", httpx.Response(404, json={"code": "PGRST205"}), "reach.rest", "does not know"),
        ("rest", httpx.Response(401, json={"message": "Invalid API key"}), "keys.publishable", "refused"),
        ("rest", httpx.Response(503, json={"code": "PGRST000"}), "reach.rest", "503 PGRST000"),
        ("strangers", httpx.Response(200, json=[]), "gateway.refuses_strangers", "without a key"),
        ("secret", httpx.Response(401, json={"code": "PGRST301"}), "keys.secret", "refused"),
        ("secret", httpx.Response(403, json={"code": "42501"}), "keys.secret", "rights"),
        ("storage", httpx.Response(400, json={"statusCode": "403"}), "reach.storage", "400"),
        ("storage", httpx.Response(200, json=[{"id": "documents"}]), "reach.storage", "archives"),
        (
            "backend",
            httpx.Response(503, json={"detail": "No answer from: rest."}),
            "reach.backend",
            "No answer from: rest.",
        ),
    ],
)
@respx.mock(assert_all_called=False)
def test_each_fault_of_a_service(
    respx_mock: respx.MockRouter, route: str, answer: httpx.Response, name: str, words: str
) -> None:
    mock_project(respx_mock)
    respx_mock[route].mock(return_value=answer)
    faults = [check for check in services.check_services(target(**GOOD)) if not check.ok]
    assert [check.name for check in faults] == [name]
    assert words in faults[0].detail
    assert faults[0].cure


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.InvalidURL("x")])
@respx.mock(assert_all_called=False)
def test_no_answer(respx_mock: respx.MockRouter, error: type[httpx.HTTPError]) -> None:
    mock_project(respx_mock)
    respx_mock["storage"].mock(side_effect=error)
    faults = [check for check in services.check_services(target(**GOOD)) if not check.ok]
    assert [check.name for check in faults] == ["reach.storage"]
    assert "No answer" in faults[0].detail


def test_a_group_that_hangs_or_breaks_is_a_failed_check() -> None:
    hung = threading.Event()

    def hang(_: Target) -> list[Check]:
        hung.wait(30)
        return []

    def break_down(_: Target) -> list[Check]:
        raise RuntimeError("secret detail")

    started = time.monotonic()
    checks = examine(target(), {"hang": hang, "break": break_down, "fine": lambda _: [passed("fine", "Yes.")]}, 0.3)
    hung.set()
    assert time.monotonic() - started < 10
    assert [(check.name, check.ok) for check in checks] == [("hang", False), ("break", False), ("fine", True)]
    assert "secret detail" not in str(checks)


def test_what_the_migrations_make_is_expected() -> None:
    expected = expected_objects(read_migrations())
    assert ("trigger", "instashare_receive_original", "storage.objects") in expected
    assert ("policy", "People store the originals of their own open documents", "storage.objects") in expected
    assert ("policy", "Owners rename their live documents", "public.documents") in expected
