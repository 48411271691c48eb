"""A running stack and people on it. The target comes from the settings, so the same tests run against any Supabase.

With SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, SUPABASE_SECRET_KEY and BACKEND_URL set they use that project (and
ADMIN_DATABASE_URL for the tests that look behind it); otherwise they start a stack of their own and stop it at the end.
E2E_DATA_DIR tells that the addresses lead to the local stack of that folder, and SUPABASE_JWT_ISSUER an issuer that is
not at SUPABASE_URL: so a gateway can be put in front of one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from local.installation import free_port
from supabase import Client, ClientOptions, create_client

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
CLI = [sys.executable, "-m", "jobs.cli"]


def instashare(
    *arguments: str, timeout: float = 180, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a verb of the command line and return what it printed."""
    return subprocess.run(
        [*CLI, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
        env={**os.environ, **(env or {})},
    )  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """What tests may know of their target; `data_dir` is None where it is not a local stack of theirs."""

    supabase_url: str
    backend_url: str
    publishable_key: str
    secret_key: str
    admin_database_url: str | None = None
    data_dir: Path | None = None
    status: dict[str, Any] = field(default_factory=dict)
    # one for all clients, closed at the end: supabase-py has no way to close its own
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, follow_redirects=True))

    @property
    def issuer(self) -> str:
        """Auth's own address: in tokens, and in the links that it makes."""
        return os.environ.get("SUPABASE_JWT_ISSUER") or f"{self.supabase_url}/auth/v1"

    def database(self) -> psycopg.Connection[dict[str, Any]]:
        """A superuser's connection; skips the test where the target gives none."""
        if self.admin_database_url is None:
            pytest.skip("ADMIN_DATABASE_URL is not set: this test looks behind the services")
        return psycopg.connect(self.admin_database_url, autocommit=True, row_factory=dict_row)

    def admin(self) -> Client:
        """A supabase-py client with the secret key."""
        return self._client(self.secret_key)

    def anonymous(self) -> Client:
        """A supabase-py client with the publishable key, signed in as nobody."""
        return self._client(self.publishable_key)

    def _client(self, key: str) -> Client:
        return create_client(self.supabase_url, key, ClientOptions(httpx_client=self.http, persist_session=False))

    def person(self, **metadata: str) -> Account:
        """Make a confirmed account and sign in."""
        email, password = f"{uuid.uuid4().hex[:12]}@example.test", uuid.uuid4().hex
        self.admin().auth.admin.create_user(
            {"email": email, "password": password, "email_confirm": True, "user_metadata": metadata}
        )
        client = self.anonymous()
        session = client.auth.sign_in_with_password({"email": email, "password": password}).session
        assert session is not None
        assert session.user is not None
        return Account(self, client, session.user.id, email, password, session.access_token)


@dataclass(frozen=True)
class Account:
    """A person who is signed in through an unmodified supabase-py."""

    stack: Stack
    client: Client
    id: str
    email: str
    password: str
    access_token: str

    def add(self, name: str, size: int, mime_type: str = "application/octet-stream") -> dict[str, Any]:
        """Insert the document's row."""
        row = {"name": name, "size_bytes": size, "mime_type": mime_type}
        added: dict[str, Any] = self.client.table("documents").insert(row).execute().data[0]
        return added

    def store(self, document: dict[str, Any], data: bytes) -> None:
        """Upload the bytes by the client's own standard upload."""
        self.client.storage.from_("documents").upload(f"{document['owner_id']}/{document['id']}", data)

    def upload(self, name: str, data: bytes) -> dict[str, Any]:
        """Add a document and store its bytes."""
        document = self.add(name, len(data))
        self.store(document, data)
        return document

    def row(self, document_id: str) -> dict[str, Any]:
        """The document's row as this person reads it."""
        row: dict[str, Any] = self.client.table("documents").select("*").eq("id", document_id).single().execute().data
        return row

    def wait(self, document_id: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """Poll the row until its status is one of these (by default ready)."""
        wanted = statuses or ("ready",)

        def reached() -> dict[str, Any] | None:
            row = self.row(document_id)
            assert row["status"] != "failed" or "failed" in wanted, row["error"]
            return row if row["status"] in wanted else None

        return wait_for(reached, seconds)

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the slim API with this person's token."""
        headers = {"Authorization": f"Bearer {self.access_token}", **options.pop("headers", {})}
        return httpx.request(method, self.stack.backend_url + path, headers=headers, timeout=30, **options)

    def download(self, document_id: str) -> bytes:
        """The ZIP's bytes by a URL of the API."""
        answer = self.api("POST", f"/documents/{document_id}/download-url")
        assert answer.status_code == 200, answer.text
        return httpx.get(answer.json()["url"], timeout=60).raise_for_status().content


def wait_for(reached: Callable[[], T | None], seconds: float = 60) -> T:
    """Wait for a condition with a deadline and return what it found."""
    deadline = time.monotonic() + seconds
    while True:
        found = reached()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition was not reached in time"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The target of the settings, or a local stack of this session's own."""
    if os.environ.get("SUPABASE_URL"):
        target = Stack(
            os.environ["SUPABASE_URL"].rstrip("/"),
            os.environ["BACKEND_URL"].rstrip("/"),
            os.environ["SUPABASE_PUBLISHABLE_KEY"],
            os.environ["SUPABASE_SECRET_KEY"],
            os.environ.get("ADMIN_DATABASE_URL"),
            *_behind(os.environ.get("E2E_DATA_DIR")),
        )
        with target.http:
            yield target
        return
    data_dir = tmp_path_factory.mktemp("stack") / "data"
    where = ["--data-dir", str(data_dir)]
    started = instashare("up", "--detach", "--port", str(free_port()), *where, env=LOCAL_TEST_SETTINGS)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        status = json.loads(instashare("status", "--json", *where).stdout)
        target = Stack(
            status["supabase_url"],
            status["backend_url"],
            status["publishable_key"],
            status["secret_key"],
            status["admin_database_url"],
            data_dir,
            status,
        )
        with target.http:
            yield target
    finally:
        instashare("down", *where)
        instashare("reset", "--yes", *where)


def _behind(data_dir: str | None) -> tuple[Path | None, dict[str, Any]]:
    """The folder and the status of the local stack that the settings lead to, if they lead to one."""
    if not data_dir:
        return None, {}
    return Path(data_dir), json.loads(instashare("status", "--json", "--data-dir", data_dir).stdout)


# cheap passwords: dear ones would only slow these tests
LOCAL_TEST_SETTINGS = {"BCRYPT_COST": "4"}


@pytest.fixture(scope="session")
def person(stack: Stack) -> Account:
    """Somebody with an account."""
    return stack.person(first_name="Ana", last_name="Almeida")


@pytest.fixture(scope="session")
def stranger(stack: Stack) -> Account:
    """Somebody else with an account."""
    return stack.person()
