"""Names: what they may be, how they are kept, and what renaming does."""

from __future__ import annotations

import unicodedata

import pytest

from tests.db.conftest import Database, Person, Runner, refused

INVALID = [
    "",
    " ",
    "\u00a0",
    "\u3000 \u2003",
    "\u200b",
    "\ufeff\u2060",
    "\U000e0041",
    "a" * 256,
    "ñ" * 128,
    "💾" * 64,
    "a/b",
    "a\\b",
    "/",
    "tab\there",
    "line\nbreak",
    "bell\u0007",
    "del\u007f",
    "c1\u0085",
    "sep\u2028",
    "gpj.\u202eexe",
    "\u2066iso\u2069",
    "lrm\u200e",
    "alm\u061c",
    ".",
    "..",
    "CON",
    "con",
    "Aux.txt",
    "nul.tar.gz",
    "COM1",
    "com9.log",
    "COM¹",
    "LPT3.pdf",
    "CON .txt",
    "CONIN$",
    " prn ",
]
VALID = [
    ("a", "a"),
    ("a" * 255, "a" * 255),
    ("ñ" * 127 + "a", "ñ" * 127 + "a"),
    ("  report.pdf  ", "report.pdf"),
    ("\u00a0report.pdf\u3000", "report.pdf"),
    ("in the middle.txt", "in the middle.txt"),
    ("mañana.txt", "mañana.txt"),
    ("man\u0303ana.txt", "ma\u00f1ana.txt"),
    ("한글.txt", "한글.txt"),
    ("👩\u200d👩\u200d👧 family.png", "👩\u200d👩\u200d👧 family.png"),
    ("نص.txt", "نص.txt"),
    (".gitignore", ".gitignore"),
    ("...", "..."),
    ("console.log", "console.log"),
    ("COM10", "COM10"),
    ("my.con", "my.con"),
    ("100% 'done'; drop table documents;--.txt", "100% 'done'; drop table documents;--.txt"),
    ("<b>&amp;.html", "<b>&amp;.html"),
]


def test_names_that_no_disk_takes_are_refused_before_a_byte_moves(owner: Person) -> None:
    document = owner.document("keep.txt")
    for name in INVALID:
        with refused("PT422", "name_invalid"):
            owner.document(name)
        with refused("PT422", "name_invalid"):
            owner.run("update documents set name = %s where id = %s", name, document)
    with refused("PT422", "name_invalid"):
        owner.run("insert into documents (size_bytes) values (1)")
    with refused("PT422", "name_invalid"):
        owner.run("update documents set name = null where id = %s", document)
    assert owner.value("select count(*) from documents") == 1
    assert (owner.row(document)["name"], owner.row(document)["name_revision"]) == ("keep.txt", 1)


def test_other_names_are_kept_normalised_and_trimmed(owner: Person) -> None:
    for given, kept in VALID:
        document = owner.document(given)
        assert owner.row(document)["name"] == unicodedata.normalize("NFC", kept)


def test_the_length_is_that_of_the_normalised_name_in_bytes(owner: Person) -> None:
    decomposed = "n\u0303" * 127  # 381 bytes as sent, 254 as kept
    assert owner.row(owner.document(decomposed))["name"] == "ñ" * 127


def test_the_table_itself_refuses_a_bad_name_from_anybody(database: Database, owner: Person) -> None:
    document = owner.document()
    with database.superuser.transaction(force_rollback=True):
        database.run("alter table documents disable trigger prepare_document_change")
        with refused("23514"):
            database.run("update documents set name = 'a/b' where id = %s", document)


def test_two_documents_may_bear_one_name(owner: Person) -> None:
    first, second = owner.document("same.txt"), owner.document("same.txt")
    assert first != second
    third = owner.document("other.txt")
    owner.run("update documents set name = 'same.txt' where id = %s", third)
    assert owner.value("select count(*) from documents where name = 'same.txt'") == 3


def test_a_rename_raises_the_revision_and_is_logged(database: Database, owner: Person) -> None:
    document = owner.document("old.txt")
    owner.run("update documents set name = 'new.pdf' where id = %s", document)
    row = owner.row(document)
    assert (row["name"], row["name_revision"]) == ("new.pdf", 2)
    assert (
        owner.value("select event_description from logs where event_name = 'renamed'") == "Renamed old.txt to new.pdf"
    )
    # there is no archive whose entry could be renamed
    assert database.jobs() == []


@pytest.mark.parametrize("same", ["mañana.txt", " mañana.txt ", "man\u0303ana.txt"])
def test_a_rename_to_the_name_it_has_changes_nothing(
    database: Database, owner: Person, runner: Runner, same: str
) -> None:
    document = owner.ready(runner, "mañana.txt")
    owner.run("update documents set name = %s where id = %s", same, document)
    assert (owner.row(document)["name"], owner.row(document)["name_revision"]) == ("mañana.txt", 1)
    assert database.jobs() == []


def test_a_rename_of_a_ready_document_enqueues_one_refresh_a_revision(
    database: Database, owner: Person, runner: Runner
) -> None:
    document = owner.ready(runner, "a.txt")
    for name in ("b.txt", "c.txt"):
        owner.run("update documents set name = %s where id = %s", name, document)
    assert [job["dedupe_key"] for job in database.jobs("refresh_archive")] == [
        f"refresh:{document}:2",
        f"refresh:{document}:3",
    ]


def test_the_name_of_the_download_fits_every_disk(owner: Person, runner: Runner) -> None:
    document = owner.ready(runner, "ñ" * 127)
    filename = owner.call("request_download", document)["filename"]
    assert filename == "ñ" * 125 + ".zip"
    short = owner.ready(runner, "report.pdf")
    assert owner.call("request_download", short)["filename"] == "report.pdf.zip"
