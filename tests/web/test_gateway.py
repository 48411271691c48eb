"""The web client as a deployment serves it: Caddy hands out the page, and Auth, REST, Storage and API on one origin.

Journey 1 reads mails on a page that only the local stack has; the rest of the journeys and screens do not differ by who
serves them and run against the stack itself (test_client.py).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local import installation
from tests.caddy import before_stack
from tests.web.conftest import WEB, Outcome, need_chromium, play, titles

# sign-in and cookies, standard and resumable uploads, reloads, refreshed tokens, renames, downloads, sharing, the trash
CHOSEN = (2, 3, 5, 8, 9, 10, 12)
TITLES = [title for title in titles(WEB / "e2e" / "journeys.spec.ts") if title.split()[0] in map(str, CHOSEN)]


@dataclass(frozen=True)
class Played:
    """How the journeys ended, and which of the gateway's ways they took (the first part of each path)."""

    outcomes: dict[tuple[str, str], Outcome]
    ways: set[str]


@pytest.fixture(scope="module")
def played(stack: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The chosen journeys, every address being the gateway's."""
    folder = tmp_path_factory.mktemp("caddy")
    local = installation.load(Path(stack["services"]["gateway"]["log"]).parents[1])
    with before_stack(local, folder / "gateway") as door:
        told = {**stack, "web_url": door.url, "supabase_url": door.url, "backend_url": f"{door.url}/api"}
        pattern = "|".join(re.escape(title) + "$" for title in TITLES)
        outcomes = play(folder, pattern, told)
    lines = [json.loads(line) for line in door.log.read_text().splitlines() if '"uri"' in line]
    return Played(outcomes, {line["request"]["uri"].split("/")[1] for line in lines})


@pytest.mark.parametrize("journey", TITLES)
def test_a_journey_through_the_gateway(request: pytest.FixtureRequest, journey: str) -> None:
    need_chromium(f"{journey}, through the gateway")
    played: Played = request.getfixturevalue("played")
    outcome = played.outcomes["journeys.spec.ts", journey]
    assert outcome.status == "passed", outcome.words


def test_the_journeys_took_every_way_through_the_gateway(request: pytest.FixtureRequest) -> None:
    need_chromium("every way through the gateway")
    played: Played = request.getfixturevalue("played")
    assert played.ways >= {"auth", "rest", "storage", "api", "assets", "config.json"}
