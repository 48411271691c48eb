"""The doctor's look for proxies that cut what is large or slow, at a stand-in for Storage behind such a proxy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobs.cli.doctor import transfers
from jobs.cli.target import Target


class Storage(ThreadingHTTPServer):
    """Keeps one object. `largest` bytes are let through; `cut_after` bytes of an answer its connection ends."""

    daemon_threads = True

    def __init__(self, largest: int = 1 << 40, cut_after: int | None = None, clean: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.largest, self.cut_after, self.clean = largest, cut_after, clean
        self.kept: dict[str, bytes] = {}
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: connections are cut on purpose."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Storage

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""

    def _answer(self, status: int, body: bytes = b"{}") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        assert self.headers["Transfer-Encoding"] == "chunked"
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        if len(data) > self.server.largest:
            self._answer(413)
            return
        self.server.kept[self.path] = data
        self._answer(200)

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.kept.clear()
        self._answer(200)

    def do_GET(self) -> None:
        if self.path.endswith("/bucket/archives"):
            self._answer(200)
            return
        data, cut = self.server.kept[self.path], self.server.cut_after
        self.close_connection = True
        self.send_response(200)
        if self.server.clean:  # as Envoy does it: a whole answer that is too short
            data = data[:cut]
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:cut])


def target(url: str) -> Target:
    values = {"SUPABASE_URL": url, "SUPABASE_SECRET_KEY": "sb_secret_x"}
    return Target(data_dir=Path("none"), values=values, local=None, foreign=False)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "SLOW_BYTES", 4 << 20)


@pytest.fixture
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    server = Storage(**getattr(request, "param", {}))
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_a_free_way_passes_and_nothing_is_left(storage: Storage, small: None, seconds: float) -> None:
    checks = transfers.check_transfers(target(storage.url), seconds)
    slow = "storage.slow_download" if seconds else "storage.download"
    assert [(check.name, check.ok) for check in checks] == [("storage.large_upload", True), (slow, True)]
    assert storage.kept == {}


@pytest.mark.parametrize("storage", [{"largest": 1 << 20}], indirect=True)
def test_a_limit_of_bodies_is_named_with_its_cure(storage: Storage) -> None:
    (check,) = transfers.check_transfers(target(storage.url))
    assert not check.ok
    assert "413" in check.detail and "client_max_body_size" in check.cure


@pytest.mark.parametrize("storage", [{"cut_after": 1 << 20}, {"cut_after": 1 << 20, "clean": True}], indirect=True)
@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_a_download_that_is_cut_is_named_with_its_cure(storage: Storage, small: None, seconds: float) -> None:
    _, check = transfers.check_transfers(target(storage.url), seconds)
    assert not check.ok
    assert "1024 KiB" in check.detail and "time-outs" in check.cure
    assert storage.kept == {}


def test_where_nobody_answers_another_check_speaks() -> None:
    assert transfers.check_transfers(target("http://127.0.0.1:1")) == []
    assert transfers.check_transfers(target("")) == []
