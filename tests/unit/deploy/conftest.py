"""A real Caddy with our Caddyfile, in front of stand-ins for the services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from jobs.cli import keys
from tests.caddy import serving
from tests.unit.deploy.upstream import Upstream


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
    environment = {
        **made,
        "WEB_ROOT": str(web),
        **{f"{name.upper()}_UPSTREAM": upstream.address for name, upstream in upstreams.items()},
    }
    try:
        with (
            serving(environment, folder) as door,
            httpx.Client(base_url=door.url, timeout=20, trust_env=False) as client,
        ):
            yield Gateway(door.url, made, upstreams, door.log, client)
    finally:
        for upstream in upstreams.values():
            upstream.stop()
