"""Lists: natural order, search, what is shared sorted by its copy of the document, and the counts kept in step."""

from __future__ import annotations

import random
import uuid

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


def test_a_search_is_told_when_the_place_to_go_on_from_is_gone(owner: Person, stranger: Person) -> None:
    document, foreign = owner.document("a.txt"), stranger.document("a.txt")
    owner.document("another.txt")
    for place in (foreign, str(uuid.uuid4())):
        with refused("PT404", "place_gone"):
            owner.run("select id from search_documents('a', after_id => %s::uuid)", place)
    owner.call("delete_document", document)
    assert len(owner.run("select id from search_documents('a', 'date', false, after_id => %s::uuid)", document)) == 1
    owner.call("restore_document", document)
    with refused("PT404", "place_gone"):
        owner.run("select id from search_documents('a', trash => true, after_id => %s::uuid)", document)


def test_a_search_finds_what_is_typed_in_pieces(owner: Person) -> None:
    owner.document("Canción.mp3")
    for query in ("canción", "CANCIÓN", "cancio\u0301n"):
        assert len(owner.run("select id from search_documents(%s)", query)) == 1
    assert owner.run("select id from search_documents('cancion')") == []


def test_names_have_the_statistics_that_searches_are_planned_by(database: Database) -> None:
    """Without them the planner takes a common word for a rare one, and reads all of a large library."""
    target = database.value(
        "select attstattarget from pg_attribute where attrelid = 'documents'::regclass and attname = 'name'"
    )
    assert target is None or target != 0


def test_without_the_trigram_index_a_search_finds_the_same(database: Database, owner: Person) -> None:
    """It needs two extensions, which a server may lack."""
    database.run("drop index documents_search_idx")
    database.run("drop extension pg_trgm, btree_gin")
    wanted = owner.document("Budget 2026.ods")
    owner.document("Letter.odt")
    assert [str(row["id"]) for row in owner.run("select id from search_documents('get 2')")] == [wanted]


def test_a_search_within_some_statuses(database: Database, owner: Person) -> None:
    documents = [owner.document(f"{number}.txt") for number in range(3)]
    database.run("update documents set status = 'failed' where id = %s", documents[1])
    rows = owner.run("select id from search_documents('txt', statuses => array['failed', 'ready'])")
    assert [str(row["id"]) for row in rows] == [documents[1]]
    assert len(owner.run("select id from search_documents('txt', statuses => array['uploading'])")) == 2


@pytest.mark.parametrize("sort", ["name", "size", "date", "status"])
@pytest.mark.parametrize("descending", [False, True])
def test_a_search_among_what_is_shared_finds_what_is_live(
    database: Database, owner: Person, recipient: Person, stranger: Person, sort: str, descending: bool
) -> None:
    wanted = [owner.document(f"Plan {number % 3}.txt", number % 2) for number in range(5)]
    gone, expired, other = owner.document("Plan 7.txt"), owner.document("Plan 8.txt"), owner.document("other.txt")
    for document in (*wanted, gone, expired, other):
        owner.call("share_document", document, recipient.email)
    owner.call("delete_document", gone)
    database.run("update document_shares set expires_at = now() where document_id = %s", expired)
    recipient.document("Plan 9.txt")
    found: list[str] = []
    while True:
        rows = recipient.run(
            "select id from search_shared('PLAN', %s, %s, %s, 2)", sort, descending, found[-1] if found else None
        )
        found += [str(row["id"]) for row in rows]
        if len(rows) < 2:
            break
    assert (len(found), sorted(found)) == (5, sorted(wanted))
    assert stranger.run("select id from search_shared('plan')") == []
    with refused("PT404", "place_gone"):
        stranger.run("select id from search_shared('plan', after_id => %s::uuid)", wanted[0])
    database.run("delete from user_roles where user_id = %s", recipient.id)
    assert recipient.run("select id from search_shared('plan')") == []


def test_one_document_is_read_without_reading_every_share(database: Database, owner: Person, recipient: Person) -> None:
    database.run("set session_replication_role = replica")
    database.run(
        "insert into documents (owner_id, name, size_bytes, status) select %s, i || '.txt', 1, 'uploading'"
        " from generate_series(1, 3000) i",
        owner.id,
    )
    database.run(
        "insert into document_shares (document_id, user_id, shared_by, document_name, size_bytes, status, created_at)"
        " select id, %s, owner_id, name, size_bytes, status, created_at from documents",
        recipient.id,
    )
    database.run("set session_replication_role = origin")
    database.run("analyze documents, document_shares")
    document = database.value("select id from documents where name = '1500.txt'")
    rows = recipient.run("explain (analyze, costs off) select * from documents where id = %s", document)
    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    # where many rows are read the planner hashes all shares of the reader; here it must ask for the one
    assert "SubPlan" in plan and "hashed" not in plan
    assert "document_id = documents.id" in plan
    assert "rows=1 " in plan.splitlines()[0]


def test_the_collation_is_deterministic_and_counts_numbers_by_their_value(database: Database) -> None:
    (row,) = database.run(
        "select collprovider, collisdeterministic from pg_collation where oid ="
        " (select attcollation from pg_attribute where attrelid = 'documents'::regclass and attname = 'name')"
    )
    assert row == {"collprovider": "i", "collisdeterministic": True}
    # of two names one always comes first, so that a page has one end; and equal is what is the same to the letter
    row = database.run(
        "select 'a2' < 'a10' collate private.natural_order as numbers,"
        " 'a' = 'A' collate private.natural_order as capitals, 'a01' = 'a1' collate private.natural_order as zeros"
    )[0]
    assert row == {"numbers": True, "capitals": False, "zeros": False}


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
