"""The web client: its sources, its units, its fifteen journeys in a real browser, and every screen looked at by axe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import WEB, Outcome, need_chromium, run_node, titles

CLASS_NAMES = ("-e", "default", "-n", "camel", "-o", "generated")
TOOLS = {
    "class names": ("node_modules/typed-scss-modules/dist/lib/cli.js", "src", *CLASS_NAMES),
    "types": ("node_modules/typescript/bin/tsc", "--noEmit"),
    "lint and format": ("node_modules/@biomejs/biome/bin/biome", "check", "--error-on-warnings"),
    "styles": ("node_modules/stylelint/bin/stylelint.mjs", "src/**/*.scss"),
}
UNITS = sorted((WEB / "unit").glob("*.test.ts*"))
JOURNEYS = [(spec.name, title) for spec in sorted((WEB / "e2e").glob("*.spec.ts")) for title in titles(spec)]


@pytest.mark.parametrize("tool", TOOLS)
def test_the_sources_pass(tool: str) -> None:
    done = run_node(*TOOLS[tool])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name.split(".")[0])
def test_the_units_pass(units: dict[str, list[str]], file: Path) -> None:
    assert file.name in units, "the file was not run"
    assert units[file.name] == [], "\n".join(units[file.name])


def test_the_types_are_those_of_the_database(stack: dict[str, Any]) -> None:
    done = run_node("types.ts", stack["admin_database_url"], "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("spec", "title"), JOURNEYS, ids=[title for _, title in JOURNEYS])
def test_in_the_browser(request: pytest.FixtureRequest, spec: str, title: str) -> None:
    need_chromium(title)
    journeys: dict[tuple[str, str], Outcome] = request.getfixturevalue("journeys")
    outcome = journeys.get((spec, title))
    assert outcome is not None, "the browser did not get so far"
    assert outcome.status == "passed", outcome.words


def test_the_fifteen_journeys_are_there() -> None:
    numbers = [title.split()[0] for _, title in JOURNEYS if title[0].isdigit()]
    assert numbers == [str(number) for number in range(1, 16)]
