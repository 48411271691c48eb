"""docs/hosted.md, followed by settings alone: the project is a local stack without our schema, and what the doctor says
at each step is what the page says.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from local import installation
from local.installation import free_port
from tests.caddy import ROOT
from tests.e2e.conftest import LOCAL_TEST_SETTINGS, instashare, wait_for

PAGE = (ROOT / "docs" / "hosted.md").read_text()
SAID = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
NAMES = (
    "SUPABASE_URL",
    "SUPABASE_PUBLISHABLE_KEY",
    "SUPABASE_SECRET_KEY",
    "DATABASE_URL",
    "ADMIN_DATABASE_URL",
    "BACKEND_URL",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A project as the dashboard makes it: addresses are confirmed, and there is nothing of ours; its settings."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "empty.sql").touch()
    where = ["--data-dir", str(folder / "data")]
    options = ["--schema", str(folder / "empty.sql"), "--confirm-email", "--detach", "--port", str(free_port())]
    started = instashare("up", *options, *where, env=LOCAL_TEST_SETTINGS)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        local = installation.load(folder / "data")
        yield {
            "SUPABASE_URL": local.supabase_url,
            "SUPABASE_PUBLISHABLE_KEY": local.secrets.publishable_key,
            "SUPABASE_SECRET_KEY": local.secrets.secret_key,
            "ADMIN_DATABASE_URL": local.database_url("postgres"),
        }
    finally:
        instashare("reset", "--yes", *where)


def run(settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A verb, for somebody who has these settings and no local stack."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments, "--data-dir", "/nowhere/at/all"],
        cwd=ROOT, env={**environment, **settings}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def examine(settings: dict[str, str]) -> str:
    """The faults that the doctor names, as it prints them; the number of migrations is left open."""
    lines = [line for line in run(settings, "doctor").stdout.splitlines() if not line.startswith("✓")]
    return _open("\n".join(lines) + "\n")


def _open(text: str) -> str:
    return re.sub(r"\d+ of \d+", "N of N", text)


@contextmanager
def serving(settings: dict[str, str], folder: Path) -> Iterator[str]:
    """API and runner, started as the page does without Docker; gives the API's address."""
    port = free_port()
    heartbeat = folder / "heartbeat"
    environment = {**os.environ, **settings, "RUNNER_HEARTBEAT_FILE": str(heartbeat)}
    api = ["-m", "uvicorn", "--factory", "backend.app:create_app", "--host", "127.0.0.1", "--port", str(port)]
    started = []
    try:
        for arguments in (api, ["-m", "jobs.runner"]):
            started.append(subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))  # fmt: skip

        def ready() -> bool:
            assert all(process.poll() is None for process in started)
            try:
                return heartbeat.exists() and httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        wait_for(ready, 90)
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def test_the_doctor_says_at_each_step_what_the_page_says(project: dict[str, str], tmp_path: Path) -> None:
    nothing, unmigrated, swapped, migrated, no_runner, well = map(_open, SAID)
    assert examine({}) == nothing
    assert examine(project) == unmigrated
    mixed = {
        **project,
        "SUPABASE_PUBLISHABLE_KEY": project["SUPABASE_SECRET_KEY"],
        "SUPABASE_SECRET_KEY": project["SUPABASE_PUBLISHABLE_KEY"],
    }
    assert swapped in examine(mixed)
    assert run(project, "db", "migrate").returncode == 0
    assert examine(project) == migrated
    told = run(project, "db", "runner-url")
    settings = {**project, "DATABASE_URL": told.stdout.strip()}
    assert examine(settings) == no_runner
    with serving(settings, tmp_path) as backend:
        settings["BACKEND_URL"] = backend
        assert examine(settings) == well
        _do_the_main_job(settings, tmp_path)


def _do_the_main_job(settings: dict[str, str], folder: Path) -> None:
    """Step 6, from the command line: somebody whose address is confirmed."""
    person = {"email": "you@example.com", "password": "correct horse battery", "email_confirm": True}
    headers = {"apikey": settings["SUPABASE_SECRET_KEY"]}
    made = httpx.post(f"{settings['SUPABASE_URL']}/auth/v1/admin/users", headers=headers, json=person)
    assert made.status_code == 200, made.text
    assert run(settings, "users", "grant", "you@example.com", "admin").returncode == 0
    (folder / "some.pdf").write_bytes(os.urandom(100_000))
    tried = {**settings, "TRY_EMAIL": "you@example.com", "TRY_PASSWORD": "correct horse battery"}
    told: dict[str, Any] = json.loads(run(tried, "try", str(folder / "some.pdf"), "--json").stdout)
    assert told["ok"] is True
