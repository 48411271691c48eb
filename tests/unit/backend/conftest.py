"""An API in front of a Supabase that answers what a test tells it to."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import httpx
import jwt
import pytest
import respx
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from jwt.algorithms import ECAlgorithm

from backend.app import create_app
from backend.settings import Settings

PORT = socket.create_server(("127.0.0.1", 0))  # held from here on, so that BASE is nobody else's
BASE = f"http://127.0.0.1:{PORT.getsockname()[1]}"
ISSUER = f"{BASE}/auth/v1"
ANA = uuid.UUID("6d7f2d4c-0d51-4b3a-9a4c-1f0a7b3c2d10")


class SigningKey:
    """A project's signing key and the tokens it makes."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> dict[str, Any]:
        jwk: dict[str, Any] = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**jwk, "kid": self.kid, "alg": "ES256", "use": "sig"}

    def token(self, **claims: Any) -> str:
        """A token as Auth makes it; a claim of None is left out."""
        now = int(time.time())
        every = {
            "sub": str(ANA),
            "aud": "authenticated",
            "role": "authenticated",
            "iss": ISSUER,
            "iat": now,
            "exp": now + 3600,
        }
        kept = {name: value for name, value in {**every, **claims}.items() if value is not None}
        return jwt.encode(kept, self.private, algorithm="ES256", headers={"kid": self.kid})


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey("first")


@pytest.fixture
def settings() -> Settings:
    return Settings(
        supabase_url=BASE,
        supabase_publishable_key="sb_publishable_test",
        supabase_public_url="https://share.test",
        cors_origins="https://web.test, http://localhost:5173",
    )


class Supabase(ThreadingHTTPServer):
    """A real server that answers as a test's routes say; a route that raises breaks the connection."""

    daemon_threads = True
    router: respx.MockRouter | None = None

    def __init__(self) -> None:
        super().__init__(PORT.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = PORT


class Handler(BaseHTTPRequestHandler):
    """One connection, kept as Supabase's gateways keep theirs."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        router = cast(Supabase, self.server).router
        assert router is not None
        request = httpx.Request(self.command, f"{BASE}{self.path}", headers=list(self.headers.items()), content=body)
        try:
            response = router.handler(request)
        except (httpx.HTTPError, respx.models.AllMockedAssertionError):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = response.read()
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = answer  # the names that http.server looks for

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def server() -> Iterator[Supabase]:
    server = Supabase()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def supabase(server: Supabase, key: SigningKey) -> Iterator[respx.MockRouter]:
    """The upstream's routes; it publishes the signing key."""
    with respx.mock(base_url=BASE, assert_all_called=False) as router:
        router.get("/auth/v1/.well-known/jwks.json", name="jwks").respond(json={"keys": [key.public]})
        server.router = router
        yield router


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(app: FastAPI, supabase: respx.MockRouter, key: SigningKey) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API that sends Ana's token."""
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {key.token()}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as client,
    ):
        yield client
