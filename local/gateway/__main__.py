"""`python -m local.gateway --data-dir DIR`: serves one installation on its port of 127.0.0.1 until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import uvicorn

from local.errors import StackError
from local.gateway.app import Gateway
from local.gateway.auth import AuthGate
from local.gateway.keys import Keys
from local.gateway.limits import RateLimits
from local.gateway.server import configuration
from local.gateway.upstream import Upstream
from local.installation import Installation, load
from local.storage.app import create_app
from local.storage.settings import StorageSettings
from local.tokens import Issuer

__all__ = ["build", "main"]


def build(installation: Installation, *, rate_limits: bool = True, hosts: tuple[str, ...] = ()) -> Gateway:
    """The gateway of an installation; `hosts` are names beside loopback's that it answers for."""
    kept, ports = installation.secrets, installation.ports
    issuer = Issuer(kept.signing_key, installation.auth_issuer)
    keys = Keys(kept.publishable_key, kept.secret_key, issuer, kept.auth_secret)
    auth = Upstream("Auth", f"http://127.0.0.1:{ports.auth}", silence=20)
    rest = Upstream("REST", f"http://127.0.0.1:{ports.rest}")
    storage = create_app(
        StorageSettings(
            database_url=installation.database_url("supabase_storage_admin"),
            root=installation.storage_dir,
            jwt_secret=kept.jwt_secret,
            jwks=issuer.public_jwks(),
            file_size_limit=installation.storage_limit,
        )
    )
    gate = AuthGate(auth, keys, issuer, RateLimits(enabled=rate_limits))
    return Gateway(keys, gate, (auth, rest), storage, hosts)


def main() -> None:
    """Read the installation and serve.

    Environment: AUTH_RATE_LIMITS=on for a hosted project's limits (off, since all of loopback is one address),
    GATEWAY_HOSTS (comma-separated names) where a tunnel leads here.
    """
    parser = argparse.ArgumentParser(prog="python -m local.gateway", description="The gateway of a local stack.")
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stdout)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        installation = load(arguments.data_dir)
    except StackError as error:
        sys.exit(str(error))
    hosts = tuple(name.strip() for name in os.environ.get("GATEWAY_HOSTS", "").split(",") if name.strip())
    app = build(installation, rate_limits=os.environ.get("AUTH_RATE_LIMITS") == "on", hosts=hosts)
    server = uvicorn.Server(configuration(app, installation.ports.gateway))
    server.run()
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main()
