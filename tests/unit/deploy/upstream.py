"""A stand-in for what is behind the gateway: it tells what reached it, trickles, and counts."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Upstream"]

BLOCK = b"x" * 65536


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.arrived.clear()
        received = sum(len(block) for block in self._blocks())
        self._tell({"received": received})

    def do_GET(self) -> None:
        if self.path.startswith("/trickle"):
            self._trickle(*(float(part) for part in self.path.split("/")[2:4]))
        elif self.path.startswith("/big"):
            self._send_big(int(self.path.split("/")[2]))
        else:
            self._tell({})

    do_OPTIONS = do_HEAD = do_DELETE = do_GET
    do_PATCH = do_PUT = do_POST

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: tests read the gateway's log."""

    def _blocks(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self._seen(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            block = self.rfile.read1(min(left, len(BLOCK)))
            if not block:
                return
            left -= len(block)
            yield self._seen(block)

    def _seen(self, block: bytes) -> bytes:
        self.server.arrived.set()
        return block

    def _tell(self, more: dict[str, object]) -> None:
        told = {"method": self.command, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps({"name": self.server.name, **told, **more}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "https://upstream.example")
        self.send_header("Access-Control-Allow-Credentials", "true")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _trickle(self, count: float, pause: float) -> None:
        """`count` blocks, `pause` seconds apart; the length is announced, as Storage does."""
        self.send_response(200)
        self.send_header("Content-Length", str(int(count) * len(BLOCK)))
        self.end_headers()
        for number in range(int(count)):
            if number:
                time.sleep(pause)
            self.wfile.write(BLOCK)
            self.wfile.flush()

    def _send_big(self, count: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(count * len(BLOCK)))
        self.end_headers()
        try:
            for _ in range(count):
                self.wfile.write(BLOCK)
                self.server.sent += 1
        except OSError:
            self.server.cut.set()


class Upstream(ThreadingHTTPServer):
    """One service on a free port of loopback. `arrived` is set as soon as a piece of an upload is here."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.sent = 0
        self.arrived, self.cut = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        """host:port, as Caddy wants it."""
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: the gateway ends a connection as soon as a body is too large."""

    def stop(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()
