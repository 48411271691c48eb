from __future__ import annotations

import pytest

from jobs.cli.target import SETTINGS

MORE = ("SUPABASE_JWT_SECRET", "SUPABASE_JWT_ALLOW_HS256", "TRY_EMAIL", "TRY_PASSWORD")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of ours in the environment."""
    for name in (*SETTINGS, *MORE):
        monkeypatch.delenv(name, raising=False)
