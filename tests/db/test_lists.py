"""Lists: natural order, search, what is shared sorted by its copy of the document, and the counts kept in step."""

from __future__ import annotations

import random

import pytest

from tests.db.conftest import Database, Person, Runner, refused

COUNTED = """
    select count(*) filter (where deleted_at is null) as live, count(deleted_at) as trash,
        count(*) filter (where not abandoned) as counted,
        coalesce(sum(size_bytes) filter (where not abandoned), 0) as counted_bytes
    from (select *, status = 'failed' and object_version is null as abandoned from documents where owner_id = %s) d
"""


def test_names_stand_in_natural_order_and_ilike_works(owner: Person) -> None:
    names = ["report 10", "Report 2", "report 1", "éclair", "zebra", "apple", "Apple 02", "apple 1"]
    for name in names:
        owner.document(name)
    rows = owner.run("select name from documents where owner_id = %s order by name, id", owner.id)
    assert [row["name"] for row in rows] == [
        "apple", "apple 1", "Apple 02", "éclair", "report 1", "Report 2", "report 10", "zebra",
    ]  # fmt: skip
    rows = owner.run("select name from documents where name ilike '%%REPORT%%' order by name")
    assert [row["name"] for row in rows] == ["report 1", "Report 2", "report 10"]


@pytest.mark.parametrize("sort", ["name", "size", "date", "status"])
@pytest.mark.parametrize("descending", [False, True])
def test_a_search_pages_through_every_match_once(owner: Person, stranger: Person, sort: str, descending: bool) -> None:
    wanted = [owner.document(f"Año {number % 3}.txt", number % 2) for number in range(7)]
    owner.document("other.txt")
    stranger.document("Año 1.txt")
    deleted = owner.document("Año 9.txt")
    owner.call("delete_document", deleted)
    found: list[str] = []
    while True:
        rows = owner.run(
            "select id from search_documents('aÑO', %s, %s, false, %s, 3)",
            sort,
            descending,
            found[-1] if found else None,
        )
        found += [str(row["id"]) for row in rows]
        if len(rows) < 3:
            break
    assert sorted(found) == sorted(wanted)
    assert len(found) == 7
    in_trash = owner.run("select id from search_documents('año', %s, %s, true)", sort, descending)
    assert [str(row["id"]) for row in in_trash] == [deleted]


def test_the_signs_of_a_pattern_are_letters_in_a_search(owner: Person) -> None:
    for name in ("100%.txt", "a_b.txt", "a^b.txt", "axb.txt"):
        owner.document(name)
    for query, names in (("%", ["100%.txt"]), ("a_b", ["a_b.txt"]), ("a^b", ["a^b.txt"]), ("", None), (None, None)):
        rows = owner.run("select name from search_documents(%s)", query)
        assert (names is None and len(rows) == 4) or [row["name"] for row in rows] == names
    with refused("PT422", "sort_unknown"):
        owner.run("select name from search_documents('a', 'owner_id')")


def test_a_share_carries_what_its_document_is_sorted_by(
    database: Database, owner: Person, recipient: Person, runner: Runner
) -> None:
    document = owner.document("b.txt")
    owner.call("share_document", document, recipient.email)

    def shown() -> tuple[str, str]:
        (row,) = recipient.run("select name, status from shared_with_me")
        return row["name"], row["status"]

    assert shown() == ("b.txt", "uploading")
    owner.run("update documents set name = 'c.txt'")
    owner.store(document)
    assert shown() == ("c.txt", "queued")
    (job,) = runner.claim()
    assert shown() == ("c.txt", "processing")
    runner.publish(job)
    assert shown() == ("c.txt", "ready")
    for statement in (
        "update documents set deleted_at = now()",
        "update profiles set deleted_at = now() where email = 'owner@example.test'",
        "update document_shares set expires_at = now()",
        "delete from user_roles",
    ):
        with database.superuser.transaction(force_rollback=True):
            database.run(statement)
            assert recipient.run("select * from shared_with_me") == []
            assert recipient.run("select document_name from document_shares") == []


def test_the_counts_are_what_counting_finds_whatever_happens(database: Database, owner: Person, runner: Runner) -> None:
    chance = random.Random(7)
    documents = [owner.document(size=number) for number in range(12)]
    for _ in range(60):
        document = chance.choice(documents)
        act = chance.choice(("store", "publish", "delete", "restore", "abandon", "remove"))
        row = database.run("select status, deleted_at, purge_started_at from documents where id = %s", document)
        if not row:
            continue
        if act == "store" and row[0]["status"] == "uploading" and row[0]["deleted_at"] is None:
            owner.store(document)
        elif act == "publish":
            for job in runner.claim():
                if job["kind"] == "archive_document":
                    runner.publish(job)
        elif act == "delete":
            owner.call("delete_document", document)
        elif act == "restore" and row[0]["deleted_at"] is not None:
            owner.call("restore_document", document)
        elif act == "abandon":
            database.run("update documents set status = 'failed' where id = %s and status = 'uploading'", document)
        elif act == "remove" and chance.random() < 0.3:
            database.run("delete from documents where id = %s", document)
        (expected,) = database.run(COUNTED, owner.id)
        (kept,) = database.run("select live, trash, counted, counted_bytes from private.library_sizes")
        assert kept == expected, act
    (limits,) = owner.run("select documents, used_bytes from limits")
    (counts,) = owner.run("select documents, trash from library_counts")
    (expected,) = database.run(COUNTED, owner.id)
    assert (limits["documents"], limits["used_bytes"]) == (expected["counted"], expected["counted_bytes"])
    assert (counts["documents"], counts["trash"]) == (expected["live"], expected["trash"])


def test_somebody_without_a_document_has_counts_of_nothing(database: Database, owner: Person) -> None:
    assert owner.run("select documents, in_progress, failed, trash, shared_with_me from library_counts") == [
        {"documents": 0, "in_progress": 0, "failed": 0, "trash": 0, "shared_with_me": 0}
    ]
    assert owner.value("select used_bytes from limits") == 0
    owner.call("close_account")
    assert owner.run("select * from library_counts") == owner.run("select * from limits") == []
