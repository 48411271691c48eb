"""Stacks of Auth, REST, Storage and gateway alone, for tests that change Auth's settings or break what is behind it.

The tests of Auth that hold for any Supabase take the fixture `stack`; those here need mails, a database to look into,
or `confirm_email`, so they always start a stack of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import psycopg
from supabase.lib.client_options import SyncClientOptions

from local.installation import free_port
from local.mail import Mail, messages
from local.packages import node
from supabase import Client, create_client

ROOT = Path(__file__).resolve().parents[2]
# cheap passwords; Auth inherits it
QUICK = {"BCRYPT_COST": "4"}
PASSWORD = "correct horse"


@dataclass(frozen=True)
class AuthTarget:
    """One running stack."""

    supabase_url: str
    publishable_key: str
    secret_key: str
    admin_database_url: str
    mail_dir: Path
    # one for all clients, closed at the end: supabase-py has no way to close its own
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, follow_redirects=True))

    def anonymous(self, flow: Literal["implicit", "pkce"] = "implicit") -> Client:
        """A supabase-py client with the publishable key; `flow` is how mailed links come back."""
        options = SyncClientOptions(flow_type=flow, httpx_client=self.http)
        return create_client(self.supabase_url, self.publishable_key, options)

    def admin(self) -> Client:
        """A supabase-py client with the secret key."""
        return create_client(self.supabase_url, self.secret_key, SyncClientOptions(httpx_client=self.http))

    def database(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A superuser's connection."""
        return psycopg.connect(self.admin_database_url, autocommit=True)

    def call(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        """Call Auth without a client; redirects are not followed."""
        headers = {"apikey": self.publishable_key, **({"authorization": f"Bearer {token}"} if token else {})}
        return httpx.request(method, f"{self.supabase_url}/auth/v1{path}", headers=headers, timeout=30, **options)

    def mail(self, to: str) -> Mail:
        """The newest mail to an address."""
        return messages(self.mail_dir, to)[-1]

    def run_js(self, script: str, **more: Any) -> Any:
        """Run a script beside this file in Node with this target on its stdin; answers what it prints (JSON)."""
        given = {"url": self.supabase_url, "key": self.publishable_key, "secret": self.secret_key, **more}
        done = subprocess.run(
            [node(), Path(__file__).with_name(script)],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def address() -> str:
    """An e-mail address that nobody has."""
    return f"{uuid.uuid4().hex[:12]}@example.test"


@contextmanager
def running(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[AuthTarget]:
    """A stack in `folder` without our migrations, for the time of a `with` block."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = folder / "empty.sql"
    schema.write_text("")
    where = ["--data-dir", str(folder / "data")]

    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobs.cli", *arguments, *where],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            env={**os.environ, **QUICK, **(environment or {})},
        )

    try:
        started = cli("up", "--detach", "--port", str(free_port()), "--schema", str(schema), *options)
        assert started.returncode == 0, started.stdout + started.stderr
        status = json.loads(cli("status", "--json").stdout)
        target = AuthTarget(
            status["supabase_url"],
            status["publishable_key"],
            status["secret_key"],
            status["admin_database_url"],
            folder / "data" / "mail",
        )
        with target.http:
            yield target
    finally:
        cli("down")
        cli("reset", "--yes")
