"""Captured mails are read back in the order in which they went out, and nothing in the folder can break the reading."""

from __future__ import annotations

import json
from pathlib import Path

from local.mail import messages


def _put(folder: Path, name: str, to: str, text: str) -> None:
    content = {"to": to, "subject": "Confirm", "sent_at": "2026-11-24T15:00:00.000Z", "text": text, "html": "<p>x</p>"}
    (folder / name).write_text(json.dumps(content))


def test_newest_last_with_their_links(tmp_path: Path) -> None:
    _put(tmp_path, "2026-11-24T15-00-00-000Z-000001-aa.json", "b@example.test", "no link")
    _put(
        tmp_path, "2026-11-24T15-00-00-000Z-000000-bb.json", "a@example.test", "Go: http://127.0.0.1/x?token=1&type=a\n"
    )
    first, second = messages(tmp_path)
    assert [first.to, second.to] == ["a@example.test", "b@example.test"]
    assert first.links == ("http://127.0.0.1/x?token=1&type=a",) and second.links == ()
    assert first.sent_at.utcoffset() is not None


def test_one_address_alone(tmp_path: Path) -> None:
    _put(tmp_path, "1.json", "a@example.test", "")
    _put(tmp_path, "2.json", "b@example.test", "")
    assert [mail.to for mail in messages(tmp_path, "A@Example.test")] == ["a@example.test"]


def test_missing_folder_and_rubbish(tmp_path: Path) -> None:
    assert messages(tmp_path / "none") == []
    for name, content in {"a.json": "{", "b.json": "[]", "c.json": "{}", ".hidden": "x"}.items():
        (tmp_path / name).write_text(content)
    assert messages(tmp_path) == []
