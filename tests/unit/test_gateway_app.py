"""The gateway lets through what a hosted project would, translates keys, and refuses all else with a sentence."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from typing import Any

import httpx
import jwt
import pytest
from starlette.types import Receive, Scope, Send

from local.gateway.answers import Headers
from local.gateway.app import Gateway
from local.gateway.auth import AuthGate
from local.gateway.keys import Keys
from local.gateway.limits import RateLimits
from local.gateway.upstream import Answer, Upstream, UpstreamError
from local.tokens import Issuer, new_signing_key

PUBLISHABLE, SECRET = "sb_publishable_abc", "sb_secret_xyz"
AUTH_SECRET = "the secret between the gateway and Auth"
HOME = "http://127.0.0.1:54321"


class Behind(Upstream):
    """A part that remembers what it was asked and answers what the test wants."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "http://127.0.0.1:1")
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer = Answer(
            200, [(b"content-type", b"application/json"), (b"access-control-allow-origin", b"x")], b"{}"
        )
        self.fault: Exception | None = None

    async def ask(self, method: str, target: str, headers: Headers, body: bytes) -> Answer:
        self.asked.append((method, target, {name.decode(): value.decode() for name, value in headers}, body))
        if self.fault:
            raise self.fault
        return self.answer

    async def pass_on(self, method: str, target: str, headers: Headers, body: bytes, send: Send) -> None:
        answer = await self.ask(method, target, headers, body)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})


class Storage:
    """Answers what it saw."""

    async def startup(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = []
        while True:
            message = await receive()
            parts.append(len(message.get("body", b"")))
            if not message.get("more_body"):
                break
        seen = {
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode(),
            "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
            "parts": parts,
        }
        headers = [(b"location", b"/there")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


class Target:
    """A gateway with remembering parts behind it."""

    def __init__(self, *, rate_limits: bool = False, hosts: Iterable[str] = ()) -> None:
        self.issuer = Issuer(new_signing_key(), f"{HOME}/auth/v1")
        self.keys = Keys(PUBLISHABLE, SECRET, self.issuer, AUTH_SECRET)
        self.auth, self.rest = Behind("Auth"), Behind("REST")
        gate = AuthGate(self.auth, self.keys, self.issuer, RateLimits(enabled=rate_limits))
        self.app = Gateway(self.keys, gate, (self.auth, self.rest), Storage(), tuple(hosts))

    def call(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
                return await client.request(method, path, headers=headers, **options)

        return asyncio.run(go())


@pytest.fixture
def target() -> Target:
    return Target()


def test_health_and_unknown_path(target: Target) -> None:
    assert target.call("GET", "/health").json() == {"status": "ok"}
    for path in ("/", "/graphql/v1", "/pg/tables", "/auth/v2/user", "/authX", "/rest/v1x"):
        answer = target.call("GET", path)
        assert answer.status_code == 404
        assert answer.json()["message"] == "no Route matched with those values"


def test_foreign_host_is_refused_but_for_a_configured_one() -> None:
    answer = Target().call("GET", "/health", {"host": "evil.example:54321"})
    assert answer.status_code == 421 and "evil.example" in answer.json()["message"]
    for host in ("localhost:54321", "127.0.0.1", "[::1]:80"):
        assert Target().call("GET", "/health", {"host": host}).status_code == 200
    assert Target(hosts=["share.example"]).call("GET", "/health", {"host": "Share.example:80"}).status_code == 200


def test_oversized_headers_are_refused(target: Target) -> None:
    assert target.call("GET", "/health", {"x-much": "a" * 40_000}).status_code == 431


@pytest.mark.parametrize("path", ["/auth/v1/user", "/rest/v1/documents"])
def test_key_is_demanded_in_hosted_words(target: Target, path: str) -> None:
    missing, wrong = target.call("GET", path), target.call("GET", path, {"apikey": "sb_publishable_no"})
    assert (missing.status_code, missing.json()["message"]) == (401, "No API key found in request")
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Invalid API key")
    browser = target.call("GET", path, {"apikey": SECRET, "user-agent": "Mozilla/5.0 (X11)"})
    assert (browser.status_code, browser.json()["message"]) == (401, "Forbidden use of secret API key in browser")
    assert not target.auth.asked and not target.rest.asked


@pytest.mark.parametrize("authorization", [None, PUBLISHABLE])
def test_publishable_key_is_anon_to_rest(target: Target, authorization: str | None) -> None:
    extra = {"authorization": f"Bearer {authorization}"} if authorization else {}
    target.call("GET", "/rest/v1/documents?select=*", {"apikey": PUBLISHABLE, **extra})
    ((method, path, headers, _),) = target.rest.asked
    assert (method, path) == ("GET", "/documents?select=*")
    assert "authorization" not in headers and "apikey" not in headers


def test_secret_key_is_a_service_role_token_to_rest(target: Target) -> None:
    target.call("GET", "/rest/v1/documents", {"apikey": SECRET, "authorization": f"Bearer {SECRET}"})
    token = target.rest.asked[0][2]["authorization"].removeprefix("Bearer ")
    claims = target.issuer.verify(token)
    assert claims["role"] == "service_role" and claims["exp"] - claims["iat"] <= 600


@pytest.mark.parametrize("key", [PUBLISHABLE, SECRET])
def test_persons_token_passes_to_rest_with_either_key(target: Target, key: str) -> None:
    target.call("GET", "/rest/v1/documents", {"apikey": key, "authorization": "Bearer a.b.c"})
    assert target.rest.asked[0][2]["authorization"] == "Bearer a.b.c"


def test_key_in_the_query_works_and_goes_no_further(target: Target) -> None:
    target.call("GET", f"/rest/v1/documents?name=eq.a%20b&apikey={PUBLISHABLE}")
    assert target.rest.asked[0][1] == "/documents?name=eq.a%20b"


def test_root_of_rest_needs_the_secret_key(target: Target) -> None:
    assert target.call("GET", "/rest/v1/", {"apikey": PUBLISHABLE}).status_code == 403
    assert target.call("GET", "/rest/v1/", {"apikey": SECRET}).status_code == 200


@pytest.mark.parametrize("path", ["/rest/v1/x/../y", "/auth/v1/verify/%2e%2e/user", "/rest/v1/./x"])
def test_dot_segments_are_refused(target: Target, path: str) -> None:
    status: list[int] = []

    async def go() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            status.append(message.get("status", 0))

        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"apikey", PUBLISHABLE.encode())], "client": ("127.0.0.1", 1),
        }  # fmt: skip
        await target.app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(go())
    assert status[0] == 400


def test_storage_needs_no_key_and_sees_the_request_unchanged(target: Target) -> None:
    seen = target.call("POST", "/storage/v1/object/b/a%2Fb%20c?x=1", content=b"hello").json()
    assert (seen["path"], seen["raw_path"]) == ("/object/b/a/b c", "/object/b/a%2Fb%20c")
    assert "authorization" not in seen["headers"]
    assert seen["parts"][0] == 5


def test_storage_streams_part_by_part(target: Target) -> None:
    async def parts() -> Any:
        for _ in range(3):
            yield b"x" * 1000

    assert target.call("POST", "/storage/v1/object/b/k", content=parts()).json()["parts"] == [1000, 1000, 1000, 0]


@pytest.mark.parametrize(("key", "role"), [(PUBLISHABLE, "anon"), (SECRET, "service_role")])
@pytest.mark.parametrize("form", [None, "Bearer {}", "{}"])
def test_storage_gets_a_token_for_a_key(target: Target, key: str, role: str, form: str | None) -> None:
    headers = {"apikey": key, **({"authorization": form.format(key)} if form else {})}
    seen = target.call("GET", "/storage/v1/bucket", headers).json()["headers"]
    assert target.issuer.verify(seen["authorization"].removeprefix("Bearer "))["role"] == role


@pytest.mark.parametrize(
    "headers",
    [
        {"apikey": SECRET, "authorization": "Bearer a.b.c"},
        {"apikey": "sb_secret_other"},
        {"apikey": PUBLISHABLE, "authorization": f"Bearer {SECRET}"},
    ],
)
def test_storage_gets_all_else_as_it_came(target: Target, headers: dict[str, str]) -> None:
    seen = target.call("GET", "/storage/v1/bucket", headers).json()["headers"]
    assert seen.get("authorization") == headers.get("authorization")


def test_forwarded_headers_are_the_gateways_own(target: Target) -> None:
    lies = {
        "x-forwarded-host": "evil",
        "x-forwarded-for": "6.6.6.6",
        "x-forwarded-secret": "x",
        "forwarded": "host=evil",
    }
    seen = target.call("GET", "/storage/v1/upload/resumable/abc?q=1", lies).json()["headers"]
    forwarded = {name: value for name, value in seen.items() if "forwarded" in name}
    assert forwarded == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "127.0.0.1",
        "x-forwarded-port": "54321",
        "x-forwarded-path": "/storage/v1/upload/resumable/abc",
        "x-forwarded-prefix": "/storage/v1/",
    }


@pytest.mark.parametrize("path", ["/auth/v1/token", "/rest/v1/documents", "/storage/v1/object/a/b"])
def test_preflight_is_answered_without_a_key(target: Target, path: str) -> None:
    asked = {
        "origin": "http://app.example",
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "authorization,apikey,tus-resumable,upload-offset",
    }
    answer = target.call("OPTIONS", path, asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == asked["access-control-request-headers"]
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert not target.auth.asked and not target.rest.asked


@pytest.mark.parametrize("path", ["/upload/resumable", "/upload/resumable/abc", "/upload/resumable/sign/abc"])
def test_tus_answers_its_own_options(target: Target, path: str) -> None:
    asked = {"origin": "http://app.example", "access-control-request-method": "PATCH"}
    for headers in ({}, asked, {**asked, "access-control-request-private-network": "true"}):
        answer = target.call("OPTIONS", f"/storage/v1{path}", headers)
        assert answer.json()["path"] == path
        allowed = answer.headers.get("access-control-allow-private-network")
        assert allowed == ("true" if len(headers) == 3 else None)


PAGE, BROWSER = {"origin": "http://app.example"}, {"user-agent": "Mozilla/5.0 (X11; Linux x86_64)"}


@pytest.mark.parametrize("asker", [PAGE, BROWSER])
@pytest.mark.parametrize("path", ["/health", "/nowhere", "/auth/v1/user", "/storage/v1/bucket"])
def test_browsers_get_cors_headers_where_there_are_none(target: Target, path: str, asker: dict[str, str]) -> None:
    target.auth.answer = Answer(200, [(b"content-type", b"application/json")], b"{}")
    answer = target.call("GET", path, {"apikey": PUBLISHABLE, **asker})
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    assert {"location", "upload-offset", "upload-length", "tus-resumable", "content-range"} <= set(exposed)


def test_cors_headers_of_a_part_are_its_own(target: Target) -> None:
    answer = target.call("GET", "/rest/v1/x", {"apikey": PUBLISHABLE, **PAGE})
    assert answer.headers.get_list("access-control-allow-origin") == ["x"]
    assert "access-control-expose-headers" not in answer.headers


def test_other_clients_get_no_cors_headers(target: Target) -> None:
    answer = target.call("GET", "/storage/v1/bucket", {"user-agent": "python-httpx/0.28.1"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("name", "path"), [("auth", "/auth/v1/user"), ("rest", "/rest/v1/documents")])
def test_part_that_is_down_is_503_with_a_sentence(target: Target, name: str, path: str) -> None:
    part: Behind = getattr(target, name)
    part.fault = UpstreamError(503, f"{part.name} is not running at the moment. Try again in a few seconds.")
    answer = target.call("GET", path, {"apikey": PUBLISHABLE})
    assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
    assert part.name in answer.json()["message"]


def test_fault_of_ours_is_500_without_its_details(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    target.rest.fault = RuntimeError("with a secret in it")
    answer = target.call("GET", "/rest/v1/documents", {"apikey": PUBLISHABLE})
    assert answer.status_code == 500 and "secret" not in answer.text
    assert any(record.exc_info for record in caplog.records)


def test_too_large_a_body_is_413(target: Target) -> None:
    answer = target.call("POST", "/auth/v1/signup", {"apikey": PUBLISHABLE}, content=b"x" * (1 << 21))
    assert answer.status_code == 413


def test_log_has_one_line_a_request_and_nothing_secret(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")
    token = jwt.encode({"sub": "x"}, "k" * 32)
    target.call("GET", f"/rest/v1/documents?apikey={PUBLISHABLE}&token=hidden", {"authorization": f"Bearer {token}"})
    target.call("GET", "/storage/v1/a%0Ab", {"apikey": SECRET})
    target.call("GET", "/health")
    lines = [record.getMessage() for record in caplog.records if record.name == "gateway"]
    assert len(lines) == 2
    assert lines[0].startswith("GET /rest/v1/documents 200 ")
    assert "\n" not in lines[1] and "/storage/v1/a%0Ab" in lines[1]
    assert not any(secret in line for line in lines for secret in (PUBLISHABLE, SECRET, token, "hidden"))


def test_empty_key_is_refused_at_start(target: Target) -> None:
    with pytest.raises(ValueError, match="empty API key"):
        Keys("", SECRET, target.issuer, AUTH_SECRET)
