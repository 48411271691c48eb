from __future__ import annotations

import pytest

from jobs.cli.tests import _split, plan
from jobs.errors import NotReadyError, UsageError


def test_the_default_is_checks_and_four_tiers() -> None:
    checks, folders, markers = plan([])
    assert checks
    assert folders[0] == "tests/unit"
    assert "tests/chaos" not in folders
    assert markers == "not chaos and not long"


def test_one_tier_is_only_that() -> None:
    assert plan(["unit"]) == (False, ["tests/unit"], "not chaos and not long")


def test_long_tests_lie_in_every_folder() -> None:
    _, folders, markers = plan(["long"])
    assert "tests/unit" in folders
    assert markers == "long"


def test_long_beside_another_tier_lets_its_long_tests_in() -> None:
    assert plan(["unit", "long"]) == (False, ["tests/unit"], "not chaos")


def test_checks_alone() -> None:
    assert plan(["checks"])[:2] == (True, [])


@pytest.mark.parametrize("tier", ["mobile"])
def test_not_built(tier: str) -> None:
    with pytest.raises(NotReadyError):
        plan(["unit", tier])


def test_unknown() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        plan(["nonsense"])


def test_what_follows_the_dashes_is_pytest_s() -> None:
    argv = ["instashare", "test", "unit", "--", "-k", "name"]
    assert _split(["unit", "-k", "name"], argv) == (["unit"], ["-k", "name"])
    assert _split(["unit"], ["instashare", "test", "unit"]) == (["unit"], [])
