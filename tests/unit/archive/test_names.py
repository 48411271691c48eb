"""Entry names: the document's own, safe on every system."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.archive import entry_name

KEPT = [
    "a.txt",
    "Grüße aus Köln.pdf",
    "你好，世界.docx",
    "مرحبا.txt",
    "שלום עולם.txt",
    "हिन्दी.txt",
    "ภาษาไทย.txt",
    "🎉 family 👨\u200d👩\u200d👧.png",
    ".gitignore",
    "archive.tar.gz",
    "console.txt",
    "com10.txt",
    "auxiliary.md",
    "a - b (2).txt",
    "what? yes: *.txt",
    "x" * 255,
]


@pytest.mark.parametrize("name", KEPT)
def test_good_names_stay(name: str) -> None:
    assert entry_name(name) == name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("e\u0301te\u0301.txt", "été.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("folder/", "folder"),
        ("line\nbreak\x00\x7f.txt", "line_break__.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("\u200fשלום.txt", "שלום.txt"),
        ("CON", "_CON"),
        ("aux.txt", "_aux.txt"),
        ("Nul .tar.gz", "_Nul .tar.gz"),
        ("com¹.txt", "_com¹.txt"),
        ("lpt0", "_lpt0"),
        ("name. . .", "name"),
        ("name ", "name"),
        ("con ", "_con"),
        ("", "document"),
        ("..", "document"),
        ("///", "document"),
        ("\u202e", "document"),
        ("\ud800.txt", "_.txt"),
        ("ü" * 200 + ".jpeg", "ü" * 125 + ".jpeg"),
        ("🎉" * 100, "🎉" * 63),
        ("x" * 254 + ".", "x" * 254),
        ("a." + "b" * 300, "a." + "b" * 253),
    ],
)
def test_others_are_made_safe(name: str, safe: str) -> None:
    assert entry_name(name) == safe


@given(st.text(st.characters(), max_size=400) | st.text("./\\ conau:x\u0301e\u202e\ud800", max_size=300))
def test_any_name_becomes_safe_and_stays_so(name: str) -> None:
    safe = entry_name(name)
    assert entry_name(safe) == safe
    assert 0 < len(safe.encode()) <= 255
    assert not set(safe) & set("/\\\x00\u202e") and safe not in (".", "..")
    assert safe[-1] not in " ."
    assert safe == unicodedata.normalize("NFC", safe)
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in safe)
