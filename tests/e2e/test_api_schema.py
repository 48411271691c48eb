"""The API against its own OpenAPI document: whatever schemathesis makes up, as owner, stranger and nobody, is answered
as the document says; and of two who rename at once by the same revision, one is told."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.e2e.conftest import Account, Stack

EXAMPLES = 25
# what is valid by the document may be no name after all (`CON`, `a/b`), and an unknown document is 404 whatever is sent
UNDECIDED = {"positive_data_acceptance", "negative_data_rejection"}
OPERATIONS = [
    ("PATCH", "/documents/{document_id}"), ("POST", "/documents/{document_id}/download-url"), ("GET", "/healthz"),
    ("GET", "/readyz"), ("GET", "/metrics"),
]  # fmt: skip


@pytest.fixture(scope="module")
def owned(person: Account) -> list[str]:
    """Own documents: one that is ready, one that has no bytes yet, one in the trash."""
    ready, open_one, deleted = person.upload("a.txt", b"a"), person.add("b.txt", 1), person.add("c.txt", 1)
    person.client.rpc("delete_document", {"document_id": deleted["id"]}).execute()
    person.wait(ready["id"])
    return [ready["id"], open_one["id"], deleted["id"]]


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as one:
        yield one


def test_the_document_lists_what_is_tried(stack: Stack) -> None:
    schema = schemathesis.openapi.from_url(f"{stack.backend_url}/openapi.json")
    found = {(operation.ok().method.upper(), operation.ok().path) for operation in schema.get_all_operations()}
    assert found == set(OPERATIONS)


CASES = [
    (who, method, path, mode)
    for method, path in OPERATIONS
    for who in ("owner", "stranger", "anonymous")
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if "{" in path or mode == GenerationMode.POSITIVE  # what takes nothing can be given nothing wrong
]


@pytest.mark.parametrize(
    ("who", "method", "path", "mode"), CASES, ids=[" ".join((*case[:3], case[3].value)) for case in CASES]
)
def test_every_answer_is_as_the_document_says(
    stack: Stack, person: Account, stranger: Account, owned: list[str], session: requests.Session,
    who: str, method: str, path: str, mode: GenerationMode,
) -> None:  # fmt: skip
    schema = schemathesis.openapi.from_url(f"{stack.backend_url}/openapi.json")
    operation = schema[path][method]
    token = {"owner": person.access_token, "stranger": stranger.access_token, "anonymous": None}[who]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    excluded = [check for check in schemathesis.checks.CHECKS.get_all() if check.__name__ in UNDECIDED]
    ids = st.sampled_from([*owned, str(uuid.uuid4())])

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode), document=ids, kept=st.booleans())
    def answered(case: Any, document: str, kept: bool) -> None:
        if not kept and "document_id" in case.path_parameters:
            case.path_parameters["document_id"] = document
        response = case.call(session=session, headers=headers)
        case.validate_response(response, excluded_checks=excluded)
        assert response.status_code < 500
        if who == "anonymous" and path.startswith("/documents"):
            assert response.status_code in (401, 404, 405, 422)
        if who == "stranger" and path.startswith("/documents"):
            assert response.status_code in (404, 405, 413, 422)

    answered()


def test_of_two_who_rename_at_once_one_is_told(person: Account) -> None:
    document = person.add("first.txt", 1)
    for round_number in range(5):
        tag = f'"{person.row(document["id"])["name_revision"]}"'

        def rename(name: str, tag: str = tag) -> int:
            path = f"/documents/{document['id']}"
            return person.api("PATCH", path, json={"name": name}, headers={"If-Match": tag}).status_code

        with ThreadPoolExecutor(2) as pool:
            codes = list(pool.map(rename, (f"a{round_number}.txt", f"b{round_number}.txt")))
        assert sorted(codes) == [200, 412]
        assert person.row(document["id"])["name"] == f"{'ab'[codes.index(200)]}{round_number}.txt"


def test_the_etag_is_the_name_s_revision_and_nothing_else_spoils_it(person: Account, stranger: Account) -> None:
    document = person.add("first.txt", 5)
    path = f"/documents/{document['id']}"
    first = person.api("PATCH", path, json={"name": "second.txt"})
    tag = first.headers["etag"]
    assert tag == f'"{first.json()["name_revision"]}"'
    # status and progress change meanwhile, and a share comes and goes: the tag stays good
    person.store(document, b"12345")
    person.wait(document["id"])
    person.client.rpc("share_document", {"document_id": document["id"], "email": stranger.email}).execute()
    again = person.api("PATCH", path, json={"name": "third.txt"}, headers={"If-Match": tag})
    assert again.status_code == 200 and again.headers["etag"] != tag
    stale = person.api("PATCH", path, json={"name": "fourth.txt"}, headers={"If-Match": tag})
    assert (stale.status_code, stale.headers["etag"]) == (412, again.headers["etag"])
    # whose name it is not, is told that first, whatever the tag
    assert (
        stranger.api("PATCH", path, json={"name": "x.txt"}, headers={"If-Match": again.headers["etag"]}).status_code
        == 403
    )
    assert person.row(document["id"])["name"] == "third.txt"
