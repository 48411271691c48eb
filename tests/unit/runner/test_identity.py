"""Asking SUPABASE_URL which installation it is: what is worth waiting for, and what is not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from jobs.errors import SettingsError
from jobs.runner.identity import Unreachable, installation_at


class Rest(HTTPServer):
    """Answers every call alike and keeps what it heard."""

    status = 200
    body: bytes = b'"5f6f9d0e-9a53-4c67-8b6b-0d8f7f1f0b01"'
    heard: dict[str, Any]


class Handler(BaseHTTPRequestHandler):
    server: Rest

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard = {
            "path": self.path,
            "body": json.loads(body),
            **{k.lower(): v for k, v in self.headers.items()},
        }
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def rest() -> Iterator[Rest]:
    server = Rest(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(rest: Rest, key: str = "sb_secret_x") -> str:
    return installation_at(f"http://127.0.0.1:{rest.server_port}", key, timeout=5)


def test_it_asks_with_the_key_alone(rest: Rest) -> None:
    assert ask(rest) == "5f6f9d0e-9a53-4c67-8b6b-0d8f7f1f0b01"
    assert rest.heard["path"] == "/rest/v1/rpc/installation_id" and rest.heard["body"] == {}
    assert rest.heard["apikey"] == "sb_secret_x" and "authorization" not in rest.heard


def test_a_legacy_key_is_itself_the_token(rest: Rest) -> None:
    ask(rest, "eyJ.legacy.key")
    assert rest.heard["authorization"] == "Bearer eyJ.legacy.key"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_waited_for(rest: Rest, status: int) -> None:
    rest.status = status
    with pytest.raises(SettingsError) as refused:
        ask(rest)
    assert refused.value.code == "secret_key_refused" and "sb_secret_x" not in refused.value.message


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, b"{}", "not migrated"),
        (500, b"", "answered 500"),
        (503, b"{}", "answered 503"),
        (200, b"<html>", "does not answer"),
        (200, b"null", "does not answer as"),
    ],
)
def test_everything_else_may_come_right(rest: Rest, status: int, body: bytes, told: str) -> None:
    rest.status, rest.body = status, body
    with pytest.raises(Unreachable, match=told):
        ask(rest)


def test_nobody_there(rest: Rest) -> None:
    with pytest.raises(Unreachable, match="refused"):
        installation_at("http://127.0.0.1:1", "sb_secret_x", timeout=5)
