"""The rules of deploy/gateway/Caddyfile, asked of a real Caddy: who gets through, as whom, and what is not cut."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.installation import free_port
from tests.caddy import GATEWAY, start, stop, tool
from tests.unit.deploy.conftest import Gateway

MIB = 1 << 20


def told(response: httpx.Response) -> dict[str, Any]:
    """What the stand-in saw."""
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize(
    ("path", "name", "inner"),
    [
        ("/auth/v1/user", "auth", "/user"),
        ("/rest/v1/documents?select=id,name&name=eq.a%2Fb", "rest", "/documents?select=id,name&name=eq.a%2Fb"),
        ("/storage/v1/object/a%2Fb", "storage", "/object/a%2Fb"),
        ("/api/documents/1", "backend", "/documents/1"),
    ],
)
def test_each_prefix_leads_to_its_service_with_its_encoding(gateway: Gateway, path: str, name: str, inner: str) -> None:
    seen = told(gateway.client.get(path, headers=gateway.publishable))
    assert (seen["name"], seen["path"]) == (name, inner)


@pytest.mark.parametrize("kind", ["publishable", "secret"])
@pytest.mark.parametrize("path", ["/auth/v1/user", "/rest/v1/documents", "/storage/v1/bucket"])
@pytest.mark.parametrize("form", ["absent", "bearer", "bare"])
def test_a_key_becomes_the_token_of_its_role(gateway: Gateway, kind: str, path: str, form: str) -> None:
    headers = dict(getattr(gateway, kind))
    if form != "absent":
        headers["Authorization"] = ("Bearer " if form == "bearer" else "") + headers["apikey"]
    token = gateway.made["ANON_KEY" if kind == "publishable" else "SERVICE_ROLE_KEY"]
    assert told(gateway.client.get(path, headers=headers))["headers"]["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize("path", ["/auth/v1/user", "/rest/v1/documents", "/storage/v1/bucket"])
def test_a_persons_token_stays(gateway: Gateway, path: str) -> None:
    headers = {**gateway.secret, "Authorization": "Bearer a.persons.token"}
    assert told(gateway.client.get(path, headers=headers))["headers"]["authorization"] == "Bearer a.persons.token"


@pytest.mark.parametrize("path", ["/auth/v1/user", "/auth/v1/verify/../admin/users", "/rest/v1/documents", "/rest/v1/"])
@pytest.mark.parametrize(
    "key", [None, "", " ", "none", "sb_publishable_", "sb_secret_invented", "eyJhbGciOiJub25lIn0.e30."]
)
def test_without_a_known_key_nobody_gets_through(gateway: Gateway, path: str, key: str | None) -> None:
    headers = {} if key is None else {"apikey": key}
    answer = raw(gateway, path, headers)
    assert answer == 401


def raw(gateway: Gateway, path: str, headers: dict[str, str] | None = None) -> int:
    """The status of a GET whose path reaches the gateway as it is written here."""
    return int(_exchange(gateway, path, headers or {}).split(None, 2)[1])


def raw_answer(gateway: Gateway, path: str) -> bytes:
    """The body of one."""
    return _exchange(gateway, path, {}).partition(b"\r\n\r\n")[2]


def _exchange(gateway: Gateway, path: str, headers: dict[str, str]) -> bytes:
    host, port = gateway.url.removeprefix("http://").split(":")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n{lines}\r\n".encode())
        return connection.makefile("rb").read()


def test_storage_asks_for_no_key_and_translates_none(gateway: Gateway) -> None:
    assert "authorization" not in told(gateway.client.get("/storage/v1/object/sign/a?token=t"))["headers"]
    assert "authorization" not in told(gateway.client.get("/storage/v1/bucket", headers={"apikey": "x"}))["headers"]


@pytest.mark.parametrize("path", ["verify?token=1", "callback", "authorize", ".well-known/jwks.json"])
def test_what_a_browser_or_verifier_calls_is_open(gateway: Gateway, path: str) -> None:
    assert told(gateway.client.get(f"/auth/v1/{path}"))["path"] == f"/{path}"


def test_a_key_may_stand_in_the_query_and_goes_no_further(gateway: Gateway) -> None:
    key = gateway.publishable["apikey"]
    seen = told(gateway.client.get(f"/rest/v1/documents?select=id&apikey={key}"))
    assert seen["path"] == "/documents?select=id"
    assert seen["headers"]["authorization"] == f"Bearer {gateway.made['ANON_KEY']}"


def test_the_root_of_rest_needs_the_secret_key(gateway: Gateway) -> None:
    for path in ("/rest/v1", "/rest/v1/", "/rest/v1//", "/rest/v1/?a=b"):
        assert gateway.client.get(path, headers=gateway.publishable).status_code == 403
        assert told(gateway.client.get(path, headers=gateway.secret))["name"] == "rest"


@pytest.mark.parametrize("path", ["/pg/query", "/mcp", "/graphql/v1", "/realtime/v1/websocket", "/functions/v1/x"])
def test_what_we_do_not_have_has_no_route(gateway: Gateway, path: str) -> None:
    assert gateway.client.get(path, headers=gateway.secret).status_code == 404


@pytest.mark.parametrize("path", ["/auth/v1/user", "/rest/v1/documents", "/storage/v1/bucket", "/api/healthz"])
def test_forwarded_headers_are_the_gateways_own(gateway: Gateway, path: str) -> None:
    spoofed = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Port": "666",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Path": "/evil",
        "X-Real-Ip": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
    }
    seen = told(gateway.client.get(path, headers={**gateway.publishable, **spoofed}))["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-host"] == gateway.url.removeprefix("http://")
    assert seen["x-forwarded-proto"] == "http"
    assert seen.get("x-forwarded-prefix") == ("/storage/v1" if path.startswith("/storage") else None)
    assert not {"x-forwarded-port", "x-forwarded-path", "x-real-ip", "forwarded"} & set(seen)


def test_cors_is_the_gateways_own_and_lists_authorization(gateway: Gateway) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization,apikey"}  # fmt: skip
    for path in ("/auth/v1/token", "/rest/v1/documents", "/storage/v1/object/documents/a"):
        preflight = gateway.client.options(path, headers=asked)
        assert preflight.status_code == 204
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        answer = gateway.client.get(path, headers={**gateway.publishable, "Origin": "https://a.example"})
        assert answer.headers.get_list("access-control-allow-origin") == ["*"]
        assert "access-control-allow-credentials" not in answer.headers
        assert "Upload-Offset" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("path", ["/storage/v1/upload/resumable", "/storage/v1/upload/resumable/abc"])
def test_of_resumable_uploads_storage_tells_itself_to_browsers_too(gateway: Gateway, path: str) -> None:
    page = {"Origin": "https://a.example"}
    for headers in ({}, page, {**page, "Access-Control-Request-Method": "POST"}):
        answer = gateway.client.options(path, headers=headers)
        assert told(answer)["name"] == "storage"
        assert answer.headers.get_list("access-control-allow-origin") == ["https://upstream.example"]
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "path",
    ["/object/documents/a//b", "/bucket//", "/object/documents/./a", "/object/documents/x/../a", "/object/a%2F..%2Fb"],
)
def test_storage_judges_keys_as_they_were_sent(gateway: Gateway, path: str) -> None:
    seen = json.loads(raw_answer(gateway, f"/storage/v1{path}"))
    assert (seen["name"], seen["path"]) == ("storage", path)


@pytest.mark.parametrize("path", ["/storage/v1/../../etc/passwd", "/storage/v1/..%2F..%2Fstamp", "/storage/v1/../x"])
def test_a_path_that_climbs_out_of_storage_reaches_no_service(gateway: Gateway, path: str) -> None:
    assert b'"name": "' not in raw_answer(gateway, path)


@pytest.mark.parametrize(("path", "limit"), [("/auth/v1/token", MIB), ("/rest/v1/documents", 16 * MIB)])
def test_bodies_of_rest_and_auth_have_a_limit(gateway: Gateway, path: str, limit: int) -> None:
    fits = told(gateway.client.post(path, headers=gateway.publishable, content=b"x" * (limit - 100_000)))
    assert fits["received"] == limit - 100_000
    assert gateway.client.post(path, headers=gateway.publishable, content=b"x" * (limit + MIB)).status_code == 413


def test_bodies_of_storage_have_none_and_arrive_as_they_are_sent(gateway: Gateway) -> None:
    storage = gateway.upstreams["storage"]
    pieces = 0
    arrived_before_the_end = False

    def upload() -> Iterator[bytes]:
        nonlocal pieces, arrived_before_the_end
        storage.arrived.clear()
        for _ in range(40):
            yield b"x" * MIB
            pieces += 1
        arrived_before_the_end = storage.arrived.wait(10)
        yield b"x" * MIB

    answer = gateway.client.post("/storage/v1/object/documents/a", headers=gateway.publishable, content=upload())
    assert told(answer)["received"] == 41 * MIB
    assert arrived_before_the_end


def test_downloads_come_as_they_are_sent_and_end_when_the_client_goes(gateway: Gateway) -> None:
    with gateway.client.stream("GET", "/storage/v1/trickle/3/1.5") as answer:
        began = time.monotonic()
        stream = answer.iter_raw()
        next(stream)
        assert time.monotonic() - began < 1.4  # the second block is not even sent yet
        assert sum(len(block) for block in stream) > 2 * 65536
    storage = gateway.upstreams["storage"]
    storage.cut.clear()
    with gateway.client.stream("GET", f"/storage/v1/big/{64 * 1024}") as answer:
        next(answer.iter_raw())
    assert storage.cut.wait(10)
    assert storage.sent < 64 * 1024


@pytest.mark.long
def test_a_download_of_45_seconds_is_whole(gateway: Gateway) -> None:
    with gateway.client.stream("GET", "/storage/v1/trickle/10/5") as answer:
        assert sum(len(block) for block in answer.iter_raw()) == 10 * 65536


def test_the_log_holds_no_key_token_or_session(gateway: Gateway) -> None:
    token = "a-token-that-nobody-may-read"
    headers = {**gateway.secret, "Authorization": f"Bearer {token}", "X-Signature": token, "Cookie": f"a={token}",
               "Referer": f"https://a.example/?token={token}"}  # fmt: skip
    gateway.client.get(f"/storage/v1/object/sign/a?token={token}&download=b", headers=headers)
    gateway.client.get(f"/auth/v1/verify?token={token}&token_hash={token}&code={token}", headers=headers)
    gateway.client.get(f"/rest/v1/logged?apikey={gateway.secret['apikey']}")
    deadline = time.monotonic() + 5
    while "/rest/v1/logged" not in gateway.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    log = gateway.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if '"uri":"/storage/v1/object/sign' in line]
    assert lines and "download=b" in lines[-1]["request"]["uri"]
    secrets = [token, *(gateway.made[name] for name in ("SUPABASE_SECRET_KEY", "ANON_KEY", "SERVICE_ROLE_KEY"))]
    assert [secret for secret in secrets if secret in log] == []


def test_the_web_client_is_served_with_its_settings(gateway: Gateway) -> None:
    config = gateway.client.get("/config.json")
    assert config.json() == {
        "supabaseUrl": gateway.url,
        "publishableKey": gateway.made["SUPABASE_PUBLISHABLE_KEY"],
        "backendUrl": f"{gateway.url}/api",
    }
    for path in ("/", "/trash", "/documents/1"):
        page = gateway.client.get(path)
        assert (page.status_code, "InstaShare" in page.text) == (200, True)
        assert page.headers["cache-control"] == "no-cache"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert gateway.client.get("/app.webmanifest").headers["content-type"] == "application/manifest+json"
    script = gateway.client.get("/assets/app-1.js")
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-encoding"] in ("gzip", "zstd")
    for path in ("/assets/app-2.js", "/missing.png", "/stamp"):
        assert gateway.client.get(path).status_code == 404, path
    assert gateway.client.post("/share-target").status_code == 303


ENOUGH = {
    "PUBLIC_URL": "http://127.0.0.1:1",
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
    "SUPABASE_SECRET_KEY": "sb_secret_x",
    "ANON_KEY": "x",
    "SERVICE_ROLE_KEY": "x",
}


@pytest.mark.parametrize("name", list(ENOUGH))
@pytest.mark.parametrize("absent", [True, False])
def test_it_does_not_start_without_a_key(name: str, absent: bool) -> None:
    environment = {key: value for key, value in ENOUGH.items() if key != name} | ({} if absent else {name: ""})
    done = subprocess.run(
        [GATEWAY / "start"], env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert name in done.stderr


def test_tls_comes_with_the_address(tmp_path: Path) -> None:
    """`https://` in PUBLIC_URL is all; on localhost Caddy is its own authority."""
    port = free_port()
    url = f"https://localhost:{port}"
    process, _ = start({**ENOUGH, "PUBLIC_URL": url, "SUPABASE_URL": url, "WEB_ROOT": str(tmp_path)}, tmp_path)
    try:
        authority = tmp_path / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        deadline = time.monotonic() + 20
        while True:  # it makes its authority and its certificate after it has begun to listen
            try:
                context = ssl.create_default_context(cafile=str(authority))
                answer = httpx.get(f"{url}/config.json", verify=context, trust_env=False)
                break
            except (FileNotFoundError, httpx.ConnectError):
                assert time.monotonic() < deadline, "no certificate in time"
                time.sleep(0.1)
        assert answer.json()["supabaseUrl"] == url
        assert "max-age" in answer.headers["strict-transport-security"]
    finally:
        stop(process)


def test_beside_a_hosted_project_nothing_of_supabase_passes(gateway: Gateway, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    environment = {
        "CADDYFILE": str(GATEWAY / "hosted.caddy"),
        "PUBLIC_URL": url,
        "SUPABASE_URL": "https://abcdefghijklmnopqrst.supabase.co",
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
        "WEB_ROOT": str(tmp_path),
        "BACKEND_UPSTREAM": gateway.upstreams["backend"].address,
    }
    (tmp_path / "index.html").write_text("InstaShare")
    process, _ = start(environment, tmp_path)
    try:
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.get("/config.json").json()["supabaseUrl"] == environment["SUPABASE_URL"]
            assert told(client.get("/api/healthz"))["name"] == "backend"
            assert "https://abcdefghijklmnopqrst.supabase.co" in client.get("/").headers["content-security-policy"]
            assert client.get("/rest/v1/documents").text == "InstaShare"
    finally:
        stop(process)


@pytest.mark.parametrize("name", ["Caddyfile", "hosted.caddy", "shared.caddy"])
def test_the_files_are_formatted(name: str) -> None:
    done = subprocess.run([tool("caddy"), "fmt", "--diff", GATEWAY / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
