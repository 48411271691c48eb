"""Release habits: the version in one place, and a note for every migration."""

from __future__ import annotations

import re
import tomllib

from tests.caddy import ROOT

CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_newest_entry_is_of_this_version() -> None:
    (first, *_) = re.findall(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d|not tagged yet)\)$", CHANGELOG, re.MULTILINE)
    assert first[0] == VERSION


def test_every_migration_tells_what_it_does_to_a_running_installation() -> None:
    rows = [line.strip("|").split("|") for line in CHANGELOG.splitlines() if line.startswith("| `2")]
    noted = {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows}
    there = {file.stem for file in (ROOT / "supabase" / "migrations").glob("*.sql")}
    assert there - set(noted) == set(), "write a row under Upgrading in CHANGELOG.md: what it locks, and what to do"
    assert set(noted) - there == set()
    assert [name for name, cells in noted.items() if len(cells) != 4 or not all(cells)] == []
    assert len(rows) == len(noted)


def test_contributing_begins_with_the_two_commands_and_names_every_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    block = text.split("```sh\n", 1)[1].split("```", 1)[0]
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["./instashare up", "./instashare test"]
    assert text.index("## The house") < text.index("## Rules")
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert [room for room in sorted(rooms - {"docs", "node_modules"}) if f"`{room}/" not in text] == []
