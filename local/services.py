"""The services of an installation, in the order in which they start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from local import postgres, rest, web
from local.installation import Installation
from local.packages import ROOT, clean_environment, node
from local.service import Service, answers

__all__ = ["list_services"]

AUTH = Path(__file__).parent / "auth" / "server.mjs"


def list_services(installation: Installation) -> list[Service]:
    """Postgres, Auth, REST and the gateway (which is Storage); with our migrations also API, runner and web client."""
    supabase = [
        postgres.service(installation),
        _auth(installation),
        rest.service(installation),
        _gateway(installation),
    ]
    if installation.schema_file:
        return supabase
    ours = [_backend(installation), _runner(installation)]
    return [*supabase, *ours, web.service(installation)] if installation.web_url else [*supabase, *ours]


def _auth(installation: Installation) -> Service:
    port = installation.ports.auth
    settings = {
        "AUTH_PORT": str(port),
        "AUTH_DATABASE_URL": installation.database_url("supabase_auth_admin"),
        "AUTH_SECRET": installation.secrets.auth_secret,
        "SITE_URL": installation.web_url or installation.supabase_url,
        "API_URL": installation.supabase_url,
        "MAIL_DIR": str(installation.mail_dir),
        "CONFIRM_EMAIL": "1" if installation.confirm_email else "0",
        "LITE_TELEMETRY": "0",
    }
    return Service(
        name="auth",
        argv=[str(node()), str(AUTH)],
        env={**clean_environment(), **settings},
        cwd=ROOT,
        ready=lambda: answers(f"http://127.0.0.1:{port}/health"),
        url=f"http://127.0.0.1:{port}",
    )


def _gateway(installation: Installation) -> Service:
    return Service(
        name="gateway",
        argv=[sys.executable, "-P", "-m", "local.gateway", "--data-dir", str(installation.data_dir)],
        env=_python_environment(),
        cwd=ROOT,
        ready=lambda: answers(f"{installation.supabase_url}/health"),
        url=installation.supabase_url,
        stop_seconds=8,  # running downloads and uploads get a moment to end
    )


def _backend(installation: Installation) -> Service:
    settings = {
        "SUPABASE_URL": installation.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": installation.secrets.publishable_key,
        "CORS_ORIGINS": ",".join(web.origins(installation)),
        "BACKEND_HOST": "127.0.0.1",
        "BACKEND_PORT": str(installation.ports.backend),
    }
    return Service(
        name="backend",
        argv=[sys.executable, "-P", "-m", "backend"],
        env={**_python_environment(), **settings},
        cwd=ROOT,
        ready=lambda: answers(f"{installation.backend_url}/readyz"),
        url=installation.backend_url,
    )


def _runner(installation: Installation) -> Service:
    heartbeat = installation.data_dir / "runner.heartbeat"
    settings = {
        "SUPABASE_URL": installation.supabase_url,
        "SUPABASE_SECRET_KEY": installation.secrets.secret_key,
        "DATABASE_URL": installation.database_url("instashare_runner"),
        "RUNNER_HEARTBEAT_FILE": str(heartbeat),
    }
    return Service(
        name="runner",
        argv=[sys.executable, "-P", "-m", "jobs.runner"],
        env={**_python_environment(), **settings},
        cwd=ROOT,
        prepare=lambda: heartbeat.unlink(missing_ok=True),  # the last one's would make this one look ready
        ready=heartbeat.exists,
        stop_seconds=float(os.environ.get("RUNNER_STOP_SECONDS") or 5) + 10,
    )


def _python_environment() -> dict[str, str]:
    """Our own Python services: their output reaches the log at once."""
    return {**clean_environment(), "PYTHONUNBUFFERED": "1"}
