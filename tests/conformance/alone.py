"""The Storage service alone in a process of its own: at /, and as a gateway mounts it at /storage/v1."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from local.installation import free_port
from local.storage.app import create_app
from local.storage.settings import StorageSettings

__all__ = ["PREFIX", "AloneService"]

ROOT = Path(__file__).parents[2]
PREFIX = "/storage/v1"


class Mounted:
    """The service at both places."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            paths = {name: scope[name][len(PREFIX) :] for name in ("path", "raw_path")}
            scope = {**scope, **paths, "root_path": PREFIX}
        await self.app(scope, receive, send)


class AloneService:
    """Starts, kills and stops the service; its port and its folder stay the same."""

    def __init__(self, database: str, jwt_secret: str, folder: Path, size_limit: int) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {"database_url": database, "root": str(folder), "jwt_secret": jwt_secret}
        self.arguments = [str(self.port), json.dumps({**settings, "file_size_limit": size_limit})]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        module = ["-m", "tests.conformance.alone"]
        self.process = subprocess.Popen([sys.executable, *module, *self.arguments], cwd=ROOT)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the service ended at once"
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/status", trust_env=False).status_code == 200:
                    return
            time.sleep(0.05)  # a condition with a deadline
        raise AssertionError("the service did not answer within 30 s")

    def end(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """End it; SIGKILL is a crash."""
        if self.process:
            self.process.send_signal(with_signal)
            self.process.wait(30)
            self.process = None

    @contextlib.contextmanager
    def running(self) -> Iterator[AloneService]:
        self.start()
        try:
            yield self
        finally:
            self.end()


def main() -> None:
    port, text = sys.argv[1:]
    settings = json.loads(text)
    app = create_app(StorageSettings(**{**settings, "root": Path(settings["root"])}))
    uvicorn.run(Mounted(app), port=int(port), http="httptools", server_header=False, log_level="warning")


if __name__ == "__main__":
    main()
