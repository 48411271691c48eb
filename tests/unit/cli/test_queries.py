from __future__ import annotations

from pathlib import Path

import pytest

from jobs import queries


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(queries, "FOLDER", tmp_path)
    queries.load.cache_clear()
    return tmp_path


def test_blocks_by_name(folder: Path) -> None:
    (folder / "topic.sql").write_text(
        "-- about\n\n-- name: one\n-- why\nselect 1;\n\n-- name: two_2\nselect\n    2\n;\n"
    )
    assert dict(queries.load("topic")) == {"one": "-- why\nselect 1", "two_2": "select\n    2\n"}


@pytest.mark.parametrize("text", ["select 1;", "-- name: a\nselect 1;\n-- name: a\nselect 2;"])
def test_a_file_that_cannot_be_meant(folder: Path, text: str) -> None:
    (folder / "topic.sql").write_text(text)
    with pytest.raises(ValueError, match=r"topic\.sql"):
        queries.load("topic")


def test_no_such_topic(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        queries.load("topic")
