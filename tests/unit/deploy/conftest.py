"""A real Caddy with our Caddyfile, in front of stand-ins for the services."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from jobs.cli import keys
from local.installation import free_port
from tests.unit.deploy.upstream import Upstream

ROOT = Path(__file__).resolve().parents[3]
GATEWAY = ROOT / "deploy" / "gateway"


def tool(name: str) -> str:
    """A program beside this Python (the development group brings it) or on PATH; else the test is skipped by name."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@dataclass
class Gateway:
    """A running gateway: where it is, the keys it knows, and what it logs."""

    url: str
    made: dict[str, str]
    upstreams: dict[str, Upstream]
    log: Path
    client: httpx.Client

    @property
    def publishable(self) -> dict[str, str]:
        return {"apikey": self.made["SUPABASE_PUBLISHABLE_KEY"]}

    @property
    def secret(self) -> dict[str, str]:
        return {"apikey": self.made["SUPABASE_SECRET_KEY"]}


def start_caddy(environment: dict[str, str], folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Run deploy/gateway/start as the image does; answers once the health check does, with the file of its output."""
    port = free_port()
    log = folder / "caddy.log"
    known = {
        "PATH": f"{Path(tool('caddy')).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "CADDYFILE": str(GATEWAY / "Caddyfile"),
        "HEALTH_PORT": str(port),
        "HTTP_PORT": str(free_port()),
        "HTTPS_PORT": str(free_port()),
        "INTERNAL_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    with log.open("wb") as output:
        process = subprocess.Popen([GATEWAY / "start"], env={**known, **environment}, stdout=output, stderr=output)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return process, log
        except httpx.TransportError:
            time.sleep(0.05)
    process.kill()
    process.wait()
    raise AssertionError(log.read_text())


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it in peace, else by force."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    web = folder / "web"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text("<title>InstaShare</title>")
    (web / "assets" / "app-1.js").write_text("// " + "x" * 2000)
    (web / "app.webmanifest").write_text("{}")
    (web / "stamp").write_text("secret")
    upstreams = {name: Upstream(name) for name in ("auth", "rest", "storage", "backend")}
    made = keys.make()
    url = f"http://127.0.0.1:{free_port()}"
    environment = {
        **made,
        "PUBLIC_URL": url,
        "SUPABASE_URL": url,
        "WEB_ROOT": str(web),
        **{f"{name.upper()}_UPSTREAM": upstream.address for name, upstream in upstreams.items()},
    }
    process, log = start_caddy(environment, folder)
    try:
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            yield Gateway(url, made, upstreams, log, client)
    finally:
        stop(process)
        for upstream in upstreams.values():
            upstream.stop()
