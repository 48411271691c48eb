"""The web client's tests: what Node's tools find, test by test; journeys run in the system's Chromium on one stack."""

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
RUN_SECONDS = 1800  # a deadline, ten times what it takes on a machine that does nothing else

UNSTEADY: list[str] = []
"""What the browser passed only at its second try."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was unsteady."""
    for title in UNSTEADY:
        terminalreporter.write_line(f"Unsteady: {title} passed only at its second try.")


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


def find_chromium() -> str | None:
    """The system's Chromium; null where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)


def need_chromium(title: str) -> None:
    """Skip what cannot be done without a browser, by its name: pytest folds skips of one reason into a number."""
    if find_chromium() is None:
        pytest.skip(f"{title}: there is no Chromium on this machine (Debian, Ubuntu: apt-get install chromium).")


@pytest.fixture(scope="session")
def units(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What failed in each file of the unit tests; they run once, together. A file that did not run is missing."""
    report = tmp_path_factory.mktemp("vitest") / "report.json"
    done = run_node("node_modules/vitest/vitest.mjs", "run", "--reporter=json", f"--outputFile={report}")
    assert report.exists(), done.stdout + done.stderr
    failed: dict[str, list[str]] = {}
    for file in json.loads(report.read_text())["testResults"]:
        tests = [one for one in file["assertionResults"] if one["status"] == "failed"]
        words = [f"{one['fullName']}: {' '.join(one['failureMessages'])}" for one in tests]
        if file["status"] != "passed" and not words:
            words = [file.get("message") or "the file could not be run"]
        failed[Path(file["name"]).name] = words
    return failed


def _instashare(*words: str) -> Any:
    command = [sys.executable, "-P", "-m", "jobs.cli", *words, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A stack of these tests' own, as `status --json` tells of it: addresses are confirmed by mail, as hosted."""
    where = ("--data-dir", str(tmp_path_factory.mktemp("web") / "data"))
    try:
        _instashare("up", "--detach", "--port", str(free_port()), "--confirm-email", *where)
        yield _instashare("status", *where)
    finally:
        if (Path(where[1]) / "installation.json").exists():
            _instashare("reset", "--yes", *where)


@pytest.fixture(scope="session")
def journeys(
    request: pytest.FixtureRequest, stack: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Outcome]:
    """Run the chosen ones of Playwright's tests on one stack, some beside each other: each has its own people."""
    chosen = [item.callspec.params for item in request.session.items if "title" in getattr(item, "fixturenames", ())]
    pattern = "|".join(sorted({re.escape(one["title"]) + "$" for one in chosen}))
    return play(tmp_path_factory.mktemp("playwright"), pattern, stack)


def play(folder: Path, pattern: str, stack: dict[str, Any]) -> dict[tuple[str, str], Outcome]:
    """Run those of Playwright's tests whose title the pattern finds; their outcomes by file and title."""
    (folder / "stack.json").write_text(json.dumps(stack))
    report = folder / "report.json"
    done = run_node(
        "node_modules/@playwright/test/cli.js",
        "test",
        "--grep",
        pattern,
        seconds=RUN_SECONDS,
        CHROMIUM=find_chromium() or "",
        WEB_TEST_STACK=str(folder / "stack.json"),
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
            *earlier, result = spec["tests"][0]["results"]
            if earlier and result["status"] == "passed":
                UNSTEADY.append(spec["title"])
            words = "\n".join(str(error.get("message", "")) for error in result.get("errors", ()))
            outcomes[spec["file"], spec["title"]] = Outcome(result["status"], words)

    for suite in json.loads(report.read_text())["suites"]:
        walk(suite)
    return outcomes
