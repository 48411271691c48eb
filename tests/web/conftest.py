"""The web client's tests: what Node's tools find, test by test; journeys run in the system's Chromium on two stacks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.installation import free_port
from local.packages import node

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
PICTURES = Path(__file__).parent / "pictures"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
RUN_SECONDS = 1800


def run_node(*arguments: str, seconds: float = 300, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one of the client's own tools in web/."""
    environment = {**os.environ, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", **more}
    return subprocess.run(
        [str(node()), *arguments],
        cwd=WEB,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def titles(spec: Path) -> list[str]:
    """The tests that a file of Playwright's holds."""
    return re.findall(r'^test\("([^"]+)"', spec.read_text(), re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How one of Playwright's tests ended: passed, failed, timedOut or skipped, and why."""

    status: str
    words: str


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium; without one the journeys are skipped by name."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip("There is no Chromium on this machine (Debian, Ubuntu: apt-get install chromium).")
    return found


def _instashare(*words: str) -> Any:
    command = [sys.executable, "-P", "-m", "jobs.cli", *words, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _stack(data_dir: Path, *options: str) -> Iterator[dict[str, Any]]:
    where = ("--data-dir", str(data_dir))
    try:
        _instashare("up", "--detach", "--port", str(free_port()), *options, *where)
        yield _instashare("status", *where)
    finally:
        if (data_dir / "installation.json").exists():
            _instashare("reset", "--yes", *where)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A stack of these tests' own, as `status --json` tells of it."""
    yield from _stack(tmp_path_factory.mktemp("web") / "data")


@pytest.fixture(scope="session")
def confirming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Another one, where addresses must be confirmed."""
    yield from _stack(tmp_path_factory.mktemp("confirming") / "data", "--confirm-email")


@pytest.fixture(scope="session")
def journeys(
    request: pytest.FixtureRequest,
    chromium: str,
    stack: dict[str, Any],
    confirming: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str], Outcome]:
    """Run the chosen ones of Playwright's tests, in one browser, one after the other."""
    chosen = [item.callspec.params for item in request.session.items if "title" in getattr(item, "fixturenames", ())]
    pattern = "|".join(sorted({re.escape(one["title"]) + "$" for one in chosen}))
    return play(tmp_path_factory.mktemp("playwright"), pattern, chromium, stack, confirming)


def play(
    folder: Path, pattern: str, chromium: str, stack: dict[str, Any], confirming: dict[str, Any] | None
) -> dict[tuple[str, str], Outcome]:
    """Run those of Playwright's tests whose title the pattern finds; their outcomes by file and title."""
    for name, told in (("stack", stack), ("confirming", confirming)):
        (folder / f"{name}.json").write_text(json.dumps(told))
    report = folder / "report.json"
    done = run_node(
        "node_modules/@playwright/test/cli.js",
        "test",
        "--grep",
        pattern,
        seconds=RUN_SECONDS,
        CHROMIUM=chromium,
        WEB_TEST_STACK=str(folder / "stack.json"),
        WEB_TEST_CONFIRMING=str(folder / "confirming.json"),
        WEB_TEST_REPORT=str(report),
        WEB_TEST_PICTURES=str(PICTURES),
        WEB_TEST_PYTHON=sys.executable,
    )
    assert report.exists(), done.stdout + done.stderr
    outcomes: dict[tuple[str, str], Outcome] = {}

    def walk(suite: dict[str, Any]) -> None:
        for inner in suite.get("suites", ()):
            walk(inner)
        for spec in suite.get("specs", ()):
            result = spec["tests"][0]["results"][-1]
            words = "\n".join(str(error.get("message", "")) for error in result.get("errors", ()))
            outcomes[spec["file"], spec["title"]] = Outcome(result["status"], words)

    for suite in json.loads(report.read_text())["suites"]:
        walk(suite)
    return outcomes
