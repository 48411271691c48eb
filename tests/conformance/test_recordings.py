"""The local Storage answers as the real service did, exchange by exchange, and leaves the same rows."""

from __future__ import annotations

import pytest

from tests.conformance.replayer import Replayer, load
from tests.conformance.unserved import ANSWERED_BY, UNSERVED

GROUPS = [group for group in load()["groups"] if group not in ("database-down", "s3-only")]  # neither can be replayed


@pytest.mark.parametrize("group", GROUPS)
def test_group_is_answered_as_recorded(replayer: Replayer, group: str) -> None:
    excused = UNSERVED | ANSWERED_BY[replayer.target.door]
    failures = [failure for failure in replayer.failures(group) if failure.entry not in excused]
    assert not failures, "\n".join(str(failure) for failure in failures)


def test_excuses_are_still_needed(replayer: Replayer) -> None:
    """What is answered as recorded by now must leave the list."""
    excused = UNSERVED | ANSWERED_BY[replayer.target.door]
    groups = {entry["group"] for entry in replayer.data["entries"] if entry["id"] in excused}
    differing = {failure.entry for group in groups for failure in replayer.failures(group)}
    assert differing >= set(excused)
