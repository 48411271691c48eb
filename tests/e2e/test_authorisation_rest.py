"""Attacks on REST: columns that come along, filters that tell, ids of others, huge input, statements without end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.authorisation_prey import Prey, new_prey, rest, send
from tests.e2e.conftest import Account, Stack


@pytest.fixture(scope="module")
def prey(stack: Stack) -> Prey:
    return new_prey(stack)


@pytest.fixture(scope="module")
def thief(stack: Stack) -> Account:
    """Somebody with an account and bad intentions."""
    return stack.person()


@pytest.fixture(autouse=True)
def unharmed(prey: Prey) -> Iterator[None]:
    """Whatever was answered: the document, its shares and its bytes are as they were."""
    yield
    prey.whole()


@pytest.mark.parametrize(
    "row",
    [
        {"status": "ready"}, {"archive_path": "{archive}"}, {"owner_id": "{owner}"}, {"id": "{document}"},
        {"object_version": "v"}, {"deleted_at": None}, {"progress": 1}, {"archive_size_bytes": 1},
        {"created_at": "now"},
        {"name_revision": 7}, {"updated_at": "now"}, {"purge_started_at": None}, {"error": "x"},
    ],
    ids=lambda row: next(iter(row)),
)  # fmt: skip
def test_no_other_column_comes_along(prey: Prey, thief: Account, row: dict[str, Any]) -> None:
    """Mass assignment: on insert, on upsert over another's row, on update of one's own."""
    names = {"archive": prey.document["archive_path"], "owner": prey.owner.id, "document": prey.id}
    row = {key: value.format(**names) if isinstance(value, str) else value for key, value in row.items()}
    own = thief.add("own.txt", 1)
    body = {"name": "a", "size_bytes": 1, **row}
    for method, path, headers in (
        ("POST", "/documents", {}),
        ("POST", "/documents?on_conflict=id", {"Prefer": "resolution=merge-duplicates"}),
        ("POST", "/documents?on_conflict=archive_path", {"Prefer": "resolution=merge-duplicates"}),
        ("POST", "/documents", {"Prefer": "resolution=ignore-duplicates,missing=default"}),
        ("PATCH", f"/documents?id=eq.{own['id']}", {}),
        ("PUT", f"/documents?id=eq.{own['id']}", {}),
    ):
        answer = rest(thief, method, path, json=body, headers=headers)
        assert 400 <= answer.status_code < 500, (method, path, answer.status_code, answer.text)
    hidden = rest(thief, "POST", "/documents?columns=name,size_bytes", json=body)
    assert hidden.status_code == 201  # what is not named is not written
    assert thief.row(own["id"]) == own


LEAKS = [
    "/documents?select=id&id=eq.{document}",
    "/documents?select=count()&id=eq.{document}",
    "/documents?select=id&or=(id.eq.{document},name.like.secret*)",
    "/documents?select=id&not.and=(id.neq.{document},owner_id.neq.{owner})",
    "/documents?select=*,profiles(*)&owner_id=eq.{owner}",
    "/documents?select=*,document_shares(*)&owner_id=eq.{owner}",
    "/documents?select=id&profiles.email=eq.{email}&profiles=not.is.null",
    "/document_shares?select=document_id,documents(*)&document_id=eq.{document}",
    "/document_shares?select=document_id,profiles(email)",
    "/document_shares?select=document_id&order=documents(name)",
    "/shared_with_me?select=*&id=eq.{document}",
    "/document_access?select=*&document_id=eq.{document}",
    "/profiles?select=*&id=eq.{owner}",
    "/profiles?select=email&email=eq.{email}",
    "/profiles?select=id,documents(*)&documents.name=like.secret*&id=eq.{owner}",
    "/profiles?select=id,user_roles(*,roles(*))&id=eq.{owner}",
    "/user_roles?select=user_id,profiles(email)&user_id=eq.{owner}",
    "/roles?select=name,user_roles(user_id)&user_roles.user_id=eq.{owner}&user_roles=not.is.null",
    "/roles?select=name,profiles(email)&profiles.id=eq.{owner}&profiles=not.is.null",
    "/logs?select=*&document_id=eq.{document}",
    "/logs?select=*&owner_id=eq.{owner}",
    "/logs?select=event_description&event_description=like.*secret*",
    "/scheduled_jobs?select=*",
    "/share_invitations?select=*",
    "/admin_documents?select=*&id=eq.{document}",
    "/admin_users?select=email&email=eq.{email}",
    "/admin_logs?select=*",
    "/rpc/search_documents?query=secret-plan",
    "/rpc/search_shared?query=secret-plan",
    "/rpc/search_documents?query=%25&after_id={document}",
    "/rpc/search_documents?query=s&sort=name&after_id={document}&select=owner_id,profiles(email)",
]


@pytest.mark.parametrize("path", LEAKS)
def test_no_embedding_filter_order_or_count_tells_of_it(prey: Prey, thief: Account, path: str) -> None:
    """Rows, exact counts and singular answers: none tells whether the document, its owner or its name is there."""
    names = {"document": prey.id, "owner": prey.owner.id, "email": prey.owner.email}
    there = path.format(**names)
    absent = path.format(document=uuid.uuid4(), owner=uuid.uuid4(), email="nobody@example.test").replace(
        "secret", "zzz"
    )

    def told(asked: str) -> list[tuple[int, str]]:
        answers = [
            rest(thief, "GET", asked),
            rest(thief, "GET", asked, headers={"Prefer": "count=exact", "Range": "0-0"}),
            rest(thief, "GET", asked, headers={"Accept": "application/vnd.pgrst.object+json"}),
            rest(thief, "HEAD", asked, headers={"Prefer": "count=exact"}),
        ]
        for answer in answers:
            assert answer.status_code < 500, answer.text
            for word in (prey.id, prey.owner.email, "secret-plan", prey.document["archive_path"]):
                assert word not in answer.text
        return [(answer.status_code, answer.headers.get("content-range", "")) for answer in answers]

    assert told(there) == told(absent)


CALLS = {
    "delete_document": {"document_id": "{document}"}, "restore_document": {"document_id": "{document}"},
    "purge_document": {"document_id": "{document}"}, "retry_document": {"document_id": "{document}"},
    "request_download": {"document_id": "{document}"}, "leave_share": {"document_id": "{document}"},
    "share_document": {"document_id": "{document}", "email": "accomplice@example.test"},
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calling_with_another_s_id_tells_it_from_no_unknown_one(prey: Prey, thief: Account, name: str) -> None:
    def call(document: str) -> tuple[int, Any]:
        body = {key: value.format(document=document) for key, value in CALLS[name].items()}
        answer = rest(thief, "POST", f"/rpc/{name}", json=body)
        return answer.status_code, answer.json()

    assert call(prey.id) == call(str(uuid.uuid4()))
    assert call(prey.id)[0] == 404


def test_functions_that_are_not_the_api_s_cannot_be_called(stack: Stack, thief: Account) -> None:
    for name in (
        "log_event",
        "refuse",
        "enqueue",
        "exchange",
        "installation_id",
        "may_administer",
        "set_config",
        "pg_sleep",
    ):
        for method in ("POST", "GET"):
            assert rest(thief, method, f"/rpc/{name}").status_code in (401, 403, 404), name
        for profile in ("private", "jobs", "pg_catalog", "auth", "storage"):
            answer = rest(thief, "POST", f"/rpc/{name}", json={}, headers={"Content-Profile": profile})
            assert answer.status_code == 406, (name, profile)


def test_huge_input_is_refused_and_costs_nothing(prey: Prey, thief: Account) -> None:
    megabyte = "x" * 1_000_000
    requests = {
        "a name": ("POST", "/documents", {"name": megabyte, "size_bytes": 1}),
        "a media type": ("POST", "/documents", {"name": "a", "size_bytes": 1, "mime_type": megabyte}),
        "a first name": ("PATCH", f"/profiles?id=eq.{thief.id}", {"first_name": megabyte}),
        "an address": ("POST", "/rpc/share_document", {"document_id": prey.id, "email": f"{megabyte}@example.test"}),
        "a size": ("POST", "/documents", {"name": "a", "size_bytes": 10**30}),
        "a size below nothing": ("POST", "/documents", {"name": "a", "size_bytes": -1}),
        "many rows": ("POST", "/documents", [{"name": "a", "size_bytes": 5_000_000_000}] * 100),
    }
    before = len(rest(thief, "GET", "/documents?select=id").json())
    for what, (method, path, body) in requests.items():
        answer = rest(thief, method, path, json=body)
        assert 400 <= answer.status_code < 500, (what, answer.status_code, answer.text[:300])
    own = thief.add("own.txt", 1)
    assert thief.api("PATCH", f"/documents/{own['id']}", json={"name": megabyte}).status_code == 413
    assert rest(thief, "PATCH", f"/documents?id=eq.{own['id']}", json={"name": megabyte}).status_code == 422
    assert len(rest(thief, "GET", "/documents?select=id").json()) == before + 1
    search = rest(thief, "POST", "/rpc/search_documents", json={"query": megabyte})
    assert search.status_code < 500 and (search.status_code >= 400 or search.json() == [])


def test_a_page_far_beyond_the_end_is_empty(thief: Account) -> None:
    for path in ("documents", "logs", "shared_with_me", "admin_logs", "admin_documents"):
        answer = rest(thief, "GET", f"/{path}?select=*&offset=1000000&limit=1000")
        assert (answer.status_code, answer.text) == (200, "[]")
        beyond = rest(thief, "GET", f"/{path}", headers={"Range-Unit": "items", "Range": "1000000-1000999"})
        assert beyond.status_code in (200, 206, 416) and "id" not in beyond.text
        assert rest(thief, "GET", f"/{path}?limit=100000000").status_code == 200


def test_a_statement_that_takes_too_long_is_ended(stack: Stack, thief: Account) -> None:
    """A table that is held makes everybody wait: the database lets go after 3 s of nobody, 8 s of somebody."""
    with stack.database() as database, ThreadPoolExecutor(2) as pool, database.transaction():
        database.execute("lock table public.scheduled_jobs in access exclusive mode")
        path = "/rest/v1/scheduled_jobs?select=id"
        waiting = [pool.submit(send, stack, token, "GET", path) for token in (None, thief.access_token)]
        answers = [one.result(timeout=60) for one in waiting]
    for answer in answers:
        assert answer.json()["code"] == "57014", answer.text
    assert rest(thief, "GET", "/scheduled_jobs?select=id").json() == []
