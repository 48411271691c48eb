from __future__ import annotations

import json
import logging

import httpx
import pytest
import respx
from fastapi import FastAPI

from backend import documents
from backend.app import create_app
from backend.settings import Settings, SettingsError, read_settings

from .conftest import BASE

pytestmark = pytest.mark.anyio
DOCUMENT = "11111111-2222-4333-8444-555555555555"


async def test_alive(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}


def answer_all(supabase: respx.MockRouter) -> None:
    supabase.get("/rest/v1/documents").respond(401, json={"code": "42501"})
    supabase.get("/storage/v1/object/public/archives/readiness").respond(400, json={"statusCode": "404"})


async def test_ready_when_everything_answers(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    answer_all(supabase)
    response = await client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["checks"] == {"auth": True, "rest": True, "storage": True}


@pytest.mark.parametrize("part", ["auth", "rest", "storage"])
async def test_not_ready_names_what_is_missing(
    client: httpx.AsyncClient, supabase: respx.MockRouter, part: str
) -> None:
    answer_all(supabase)
    for route in supabase.routes:
        if f"/{part}/v1/" in str(route.pattern):
            route.respond(503)
    response = await client.get("/readyz")
    assert response.status_code == 503
    body = response.json()
    assert body["code"] == "not_ready"
    assert [name for name, answers in body["checks"].items() if not answers] == [part]


async def test_metrics_name_routes_not_documents(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    supabase.patch("/rest/v1/documents").mock(side_effect=httpx.ConnectError)
    await client.patch(f"/documents/{DOCUMENT}", json={"name": "n"})
    await client.get("/nowhere/at/all")
    text = (await client.get("/metrics")).text
    assert 'instashare_requests_total{method="PATCH",route="/documents/{document_id}",status="503"} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert 'instashare_supabase_seconds_count{call="rest_patch"} 1.0' in text
    assert DOCUMENT not in text


async def test_the_docs_describe_both_calls(client: httpx.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 200
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert "requestBody" in paths["/documents/{document_id}"]["patch"]
    assert set(paths["/documents/{document_id}/download-url"]["post"]["responses"]) >= {
        "200",
        "401",
        "404",
        "409",
        "410",
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/", 404, "not_found"), ("DELETE", f"/documents/{DOCUMENT}", 405, "method_not_allowed")],
)
async def test_routing_errors_are_problems(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == code


async def test_a_fault_of_ours_is_a_problem_that_web_clients_can_read(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(documents, "_read_if_match", fail)
    response = await client.patch(f"/documents/{DOCUMENT}", json={"name": "n"}, headers={"Origin": "https://web.test"})
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert response.headers["access-control-allow-origin"] == "https://web.test"
    assert "secret detail" not in response.text


async def test_cors_for_the_configured_origins_only(client: httpx.AsyncClient) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}
    allowed = await client.options(f"/documents/{DOCUMENT}", headers={"Origin": "http://localhost:5173", **asked})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:5173"
    refused = await client.options(f"/documents/{DOCUMENT}", headers={"Origin": "https://evil.test", **asked})
    assert "access-control-allow-origin" not in refused.headers
    plain = await client.get("/healthz", headers={"Origin": "https://evil.test"})
    assert "access-control-allow-origin" not in plain.headers
    seen = await client.get("/healthz", headers={"Origin": "https://web.test"})
    assert "ETag" in seen.headers["access-control-expose-headers"]


async def test_no_origins_no_cors(settings: Settings, supabase: respx.MockRouter) -> None:
    app = create_app(settings.model_copy(update={"cors_origins": ""}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.test") as client:
        response = await client.get("/healthz", headers={"Origin": "https://web.test"})
    assert "access-control-allow-origin" not in response.headers


async def test_one_line_a_request_without_secrets(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    supabase.patch("/rest/v1/documents").respond(json=[])
    supabase.get("/rest/v1/documents").respond(json=[])
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("backend.requests")
    log.addHandler(handler)
    try:
        await client.patch(
            f"/documents/{DOCUMENT}?apikey=hidden",
            json={"name": "private name"},
            headers={"X-Request-ID": "trace-0001"},
        )
        await client.get("/healthz")
    finally:
        log.removeHandler(handler)
    lines = [json.loads(line) for line in heard]
    assert [(line["method"], line["status"], line["request_id"]) for line in lines] == [("PATCH", 404, "trace-0001")]
    assert lines[0]["user"]
    for secret in ("hidden", "private name", "Bearer", "sb_publishable", "eyJ"):
        assert secret not in heard[0]


@pytest.mark.parametrize("given", ["short", "x" * 65, "with space 123", "ünïcödé-id"])
async def test_a_strange_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/healthz", headers={"X-Request-ID": given.encode()})
    assert response.headers["x-request-id"] not in (given, "")


# settings

GOOD = {"SUPABASE_URL": BASE, "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}
LEGACY_SECRET = "e30." + "eyJyb2xlIjoic2VydmljZV9yb2xlIn0" + ".x"  # {"role":"service_role"}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"SUPABASE_URL": None}, "SUPABASE_URL"),
        ({"SUPABASE_URL": "supabase.test"}, "SUPABASE_URL"),
        ({"SUPABASE_URL": ""}, "SUPABASE_URL"),
        ({"SUPABASE_PUBLISHABLE_KEY": None}, "SUPABASE_PUBLISHABLE_KEY"),
        ({"SUPABASE_PUBLISHABLE_KEY": "sb_secret_leak"}, "secret key"),
        ({"SUPABASE_PUBLISHABLE_KEY": LEGACY_SECRET}, "secret key"),
        ({"SUPABASE_JWT_ALLOW_HS256": "1"}, "SUPABASE_JWT_SECRET"),
        ({"SUPABASE_JWT_ALLOW_HS256": "1", "SUPABASE_JWT_SECRET": "short-leak"}, "SUPABASE_JWT_SECRET"),
    ],
)
async def test_wrong_settings_end_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changes: dict[str, str | None], names: str
) -> None:
    for name, value in {**GOOD, **changes}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError):
        read_settings()
    with pytest.raises(SystemExit) as end:
        create_app()
    assert end.value.code == 2
    words = capsys.readouterr().err
    assert names in words
    assert "leak" not in words


async def test_the_issuer_follows_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value + ("/" if name == "SUPABASE_URL" else ""))
    settings = read_settings()
    assert settings.issuer == f"{BASE}/auth/v1"
    assert settings.public_url == BASE
    assert settings.hs256_secret is None


def test_the_app_needs_no_secret(app: FastAPI) -> None:
    assert app.title == "InstaShare"
