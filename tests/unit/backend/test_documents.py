from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import respx

from .conftest import ANA, BASE, SigningKey

pytestmark = pytest.mark.anyio
DOCUMENT = "11111111-2222-4333-8444-555555555555"
STRANGER = "99999999-2222-4333-8444-555555555555"
ARCHIVE = f"{ANA}/{DOCUMENT}/7-1.zip"


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": DOCUMENT, "owner_id": str(ANA), "name": "report.pdf", "name_revision": 4, "size_bytes": 10,
        "mime_type": "application/pdf", "status": "ready", "progress": 1.0, "error": None, "archive_size_bytes": 120,
        "created_at": "2026-11-24T10:00:00+00:00", "updated_at": "2026-11-24T10:00:00+00:00", "deleted_at": None,
        **changes,
    }  # fmt: skip


def refused(status: int, code: str, message: str = "No.", hint: str = "") -> httpx.Response:
    """What PostgREST answers when a function of ours refuses."""
    body = {"code": f"PT{status}", "message": message, "details": code, "hint": hint}
    return httpx.Response(status, json=body)


def download(**changes: Any) -> dict[str, Any]:
    return {
        "status": "ready", "archive_path": ARCHIVE, "filename": "report.pdf.zip", "size_bytes": 120,
        "access_until": None, "error": None, **changes,
    }  # fmt: skip


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["title"] and body["detail"]
    return body


# renaming


async def test_a_rename_is_one_call_as_the_caller(
    client: httpx.AsyncClient, supabase: respx.MockRouter, key: SigningKey
) -> None:
    route = supabase.patch("/rest/v1/documents").respond(json=[row(name="new.pdf", name_revision=5)])
    response = await client.patch(f"/documents/{DOCUMENT}", json={"name": "new.pdf"})
    assert response.status_code == 200
    assert response.headers["etag"] == '"5"'
    assert response.json()["name"] == "new.pdf"
    assert "archive_path" not in response.json()
    assert route.call_count == 1
    request = route.calls.last.request
    assert request.headers["authorization"] == client.headers["authorization"]
    assert request.headers["apikey"] == "sb_publishable_test"
    assert request.headers["prefer"] == "return=representation"
    assert json.loads(request.content) == {"name": "new.pdf"}
    query = parse_qs(request.url.query.decode())
    assert query["id"] == [f"eq.{DOCUMENT}"]
    assert "name_revision" not in query


@pytest.mark.parametrize(
    ("header", "sent"),
    [('"4"', "in.(4)"), ('W/"4"', "in.(4)"), ('"3", "4"', "in.(3,4)"), ("*", None)],
)
async def test_if_match_goes_into_the_update(
    client: httpx.AsyncClient, supabase: respx.MockRouter, header: str, sent: str | None
) -> None:
    route = supabase.patch("/rest/v1/documents").respond(json=[row(name_revision=5)])
    response = await client.patch(f"/documents/{DOCUMENT}", json={"name": "new.pdf"}, headers={"If-Match": header})
    assert response.status_code == 200
    assert route.calls.last.request.url.params.get("name_revision") == sent


async def test_another_revision_is_412_with_the_current_etag(
    client: httpx.AsyncClient, supabase: respx.MockRouter
) -> None:
    supabase.patch("/rest/v1/documents").respond(json=[])
    supabase.get("/rest/v1/documents").respond(json=[row()])
    response = await client.patch(f"/documents/{DOCUMENT}", json={"name": "n"}, headers={"If-Match": '"3"'})
    assert_problem(response, 412, "revision_mismatch")
    assert response.headers["etag"] == '"4"'


async def test_a_tag_that_is_no_revision_changes_nothing(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    patch = supabase.patch("/rest/v1/documents").respond(json=[row()])
    supabase.get("/rest/v1/documents").respond(json=[row()])
    response = await client.patch(f"/documents/{DOCUMENT}", json={"name": "n"}, headers={"If-Match": '"abc"'})
    assert_problem(response, 412, "revision_mismatch")
    assert patch.call_count == 0


@pytest.mark.parametrize(
    ("seen", "status", "code"),
    [
        ([], 404, "document_not_found"),
        ([row(owner_id=STRANGER)], 403, "not_allowed"),
        ([row(deleted_at="2026-11-24T10:00:00+00:00")], 404, "document_not_found"),
    ],
)
async def test_why_nothing_was_renamed(
    client: httpx.AsyncClient, supabase: respx.MockRouter, seen: list[Any], status: int, code: str
) -> None:
    supabase.patch("/rest/v1/documents").respond(json=[])
    supabase.get("/rest/v1/documents").respond(json=seen)
    assert_problem(await client.patch(f"/documents/{DOCUMENT}", json={"name": "n"}), status, code)


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a\u0007b", "a\u202eb", "", "x" * 300, "NUL.txt"])
async def test_the_database_refuses_a_name(client: httpx.AsyncClient, supabase: respx.MockRouter, name: str) -> None:
    route = supabase.patch("/rest/v1/documents").mock(
        return_value=refused(422, "name_invalid", "A name cannot contain / or \\.", "Choose another name.")
    )
    body = assert_problem(await client.patch(f"/documents/{DOCUMENT}", json={"name": name}), 422, "name_invalid")
    assert body["detail"] == "A name cannot contain / or \\."
    assert body["hint"] == "Choose another name."
    assert json.loads(route.calls.last.request.content) == {"name": name}


@pytest.mark.parametrize("name", ["\\u0000", "a\\ud800b", "\\udfff"])
async def test_text_that_no_database_holds_is_refused_here(client: httpx.AsyncClient, name: str) -> None:
    response = await client.patch(f"/documents/{DOCUMENT}", content=f'{{"name": "{name}"}}')
    assert_problem(response, 422, "name_invalid")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"name": 1}', b'{"name": "a", "status": "ready"}', b"\xff", b"[" * 9000],
)
async def test_a_body_of_another_shape_is_422(client: httpx.AsyncClient, body: bytes) -> None:
    assert_problem(await client.patch(f"/documents/{DOCUMENT}", content=body), 422, "request_invalid")


async def test_a_huge_body_is_413(client: httpx.AsyncClient) -> None:
    response = await client.patch(f"/documents/{DOCUMENT}", json={"name": "x" * 20_000})
    assert_problem(response, 413, "body_too_large")


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_what_is_no_uuid_names_no_document(client: httpx.AsyncClient, method: str) -> None:
    path = "/documents/nonsense" + ("/download-url" if method == "POST" else "")
    assert_problem(await client.request(method, path, json={"name": "n"}), 404, "document_not_found")


@pytest.mark.parametrize("path", [f"/documents/{DOCUMENT}", "/documents/nonsense"])
async def test_the_caller_comes_first(client: httpx.AsyncClient, path: str) -> None:
    del client.headers["authorization"]
    response = await client.patch(path, content=b"{")
    assert_problem(response, 401, "token_missing")
    assert response.headers["www-authenticate"] == "Bearer"


# downloading


async def test_a_download_url_is_absolute_public_and_named(
    client: httpx.AsyncClient, supabase: respx.MockRouter
) -> None:
    asked = supabase.post("/rest/v1/rpc/request_download").respond(json=download(filename="Ä & ü?#100%.pdf.zip"))
    signed = supabase.post(f"/storage/v1/object/sign/archives/{ARCHIVE}").respond(
        json={"signedURL": f"/object/sign/archives/{ARCHIVE}?token=t.o.k"}
    )
    before = datetime.now(UTC)
    response = await client.post(f"/documents/{DOCUMENT}/download-url")
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert (body["filename"], body["size_bytes"]) == ("Ä & ü?#100%.pdf.zip", 120)
    assert timedelta(seconds=58) <= datetime.fromisoformat(body["expires_at"]) - before <= timedelta(seconds=61)
    parts = urlsplit(body["url"])
    assert (parts.scheme, parts.netloc) == ("https", "share.test")
    assert parts.path == f"/storage/v1/object/sign/archives/{ARCHIVE}"
    assert parse_qs(parts.query) == {"token": ["t.o.k"], "download": ["Ä & ü?#100%.pdf.zip"]}
    assert parts.fragment == ""
    assert json.loads(asked.calls.last.request.content) == {"document_id": DOCUMENT}
    assert json.loads(signed.calls.last.request.content) == {"expiresIn": 60}
    for route in (asked, signed):
        assert route.calls.last.request.headers["authorization"] == client.headers["authorization"]


@pytest.mark.parametrize("seconds", [30, 3600])
async def test_a_wished_time(client: httpx.AsyncClient, supabase: respx.MockRouter, seconds: int) -> None:
    supabase.post("/rest/v1/rpc/request_download").respond(json=download())
    signed = supabase.post(f"/storage/v1/object/sign/archives/{ARCHIVE}").respond(json={"signedURL": "/x?token=t"})
    response = await client.post(f"/documents/{DOCUMENT}/download-url", json={"expires_in": seconds})
    assert response.status_code == 200
    assert json.loads(signed.calls.last.request.content) == {"expiresIn": seconds}


@pytest.mark.parametrize("body", [{"expires_in": 29}, {"expires_in": 3601}, {"expires_in": "60"}, {"x": 1}, []])
async def test_a_wish_that_cannot_be(client: httpx.AsyncClient, body: object) -> None:
    response = await client.post(f"/documents/{DOCUMENT}/download-url", json=body)
    assert_problem(response, 422, "request_invalid")


async def test_never_past_the_end_of_a_share(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    until = datetime.now(UTC) + timedelta(seconds=20)
    supabase.post("/rest/v1/rpc/request_download").respond(json=download(access_until=until.isoformat()))
    signed = supabase.post(f"/storage/v1/object/sign/archives/{ARCHIVE}").respond(json={"signedURL": "/x?token=t"})
    response = await client.post(f"/documents/{DOCUMENT}/download-url")
    assert response.status_code == 200
    assert json.loads(signed.calls.last.request.content)["expiresIn"] in (18, 19, 20)
    assert datetime.fromisoformat(response.json()["expires_at"]) <= until


async def test_a_share_that_has_just_ended_is_404(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    until = datetime.now(UTC) + timedelta(milliseconds=300)
    supabase.post("/rest/v1/rpc/request_download").respond(json=download(access_until=until.isoformat()))
    assert_problem(await client.post(f"/documents/{DOCUMENT}/download-url"), 404, "document_not_found")


@pytest.mark.parametrize("status", ["uploading", "queued", "processing"])
async def test_not_ready_is_409(client: httpx.AsyncClient, supabase: respx.MockRouter, status: str) -> None:
    supabase.post("/rest/v1/rpc/request_download").respond(json=download(status=status, archive_path=None))
    response = await client.post(f"/documents/{DOCUMENT}/download-url")
    assert assert_problem(response, 409, "document_not_ready")["document_status"] == status
    assert int(response.headers["retry-after"]) > 0


async def test_failed_is_410_with_the_reason(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    reason = "source_missing: The uploaded file is no longer in storage. Upload it again."
    supabase.post("/rest/v1/rpc/request_download").respond(
        json=download(status="failed", archive_path=None, error=reason)
    )
    body = assert_problem(await client.post(f"/documents/{DOCUMENT}/download-url"), 410, "document_failed")
    assert body["error"] == reason


async def test_an_invisible_document_is_404(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    supabase.post("/rest/v1/rpc/request_download").mock(
        return_value=refused(404, "document_not_found", "There is no such document.")
    )
    assert_problem(await client.post(f"/documents/{DOCUMENT}/download-url"), 404, "document_not_found")


async def test_an_archive_that_was_replaced_between_is_asked_for_again(
    client: httpx.AsyncClient, supabase: respx.MockRouter
) -> None:
    fresh = ARCHIVE.replace("7-1", "8-1")
    missing = {"statusCode": "404", "error": "not_found", "message": "Object not found"}
    answers = [httpx.Response(200, json=download()), httpx.Response(200, json=download(archive_path=fresh))]
    supabase.post("/rest/v1/rpc/request_download").mock(side_effect=answers)
    supabase.post(f"/storage/v1/object/sign/archives/{ARCHIVE}").respond(400, json=missing)
    supabase.post(f"/storage/v1/object/sign/archives/{fresh}").respond(json={"signedURL": "/x?token=fresh"})
    response = await client.post(f"/documents/{DOCUMENT}/download-url")
    assert response.status_code == 200
    assert "token=fresh" in response.json()["url"]


async def test_an_archive_that_stays_missing_is_503(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    supabase.post("/rest/v1/rpc/request_download").respond(json=download())
    missing = {"statusCode": "404", "error": "not_found", "message": "Object not found"}
    supabase.post(f"/storage/v1/object/sign/archives/{ARCHIVE}").respond(400, json=missing)
    assert_problem(await client.post(f"/documents/{DOCUMENT}/download-url"), 503, "archive_unavailable")


# what Supabase may do to us


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (httpx.Response(401, json={"code": "PGRST301", "message": "JWT expired"}), 401, "token_refused"),
        (httpx.Response(403, json={"code": "42501", "message": "permission denied"}), 403, "not_allowed"),
        (httpx.Response(404, json={"code": "PGRST202", "message": "no function"}), 503, "not_migrated"),
        (httpx.Response(400, json={"code": "22P05", "message": "x"}), 422, "request_invalid"),
        (httpx.Response(400, json={"code": "XX000", "message": "x"}), 503, "supabase_unavailable"),
        (httpx.Response(500, json={"message": "x"}), 503, "supabase_unavailable"),
        (httpx.Response(503, json={"code": "PGRST000"}), 503, "supabase_unavailable"),
        (httpx.Response(502, text="<html>"), 503, "supabase_unavailable"),
        (httpx.Response(200, text="<html>"), 503, "supabase_unavailable"),
        (httpx.Response(429, headers={"Retry-After": "9"}), 429, "rate_limited"),
    ],
)
async def test_what_rest_refuses(
    client: httpx.AsyncClient, supabase: respx.MockRouter, answer: httpx.Response, status: int, code: str
) -> None:
    supabase.post("/rest/v1/rpc/request_download").mock(return_value=answer)
    response = await client.post(f"/documents/{DOCUMENT}/download-url")
    body = assert_problem(response, status, code)
    assert "permission denied" not in json.dumps(body)
    if status == 503:
        assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
async def test_no_supabase_is_503(
    client: httpx.AsyncClient, supabase: respx.MockRouter, error: type[httpx.HTTPError]
) -> None:
    supabase.patch("/rest/v1/documents").mock(side_effect=error)
    response = await client.patch(f"/documents/{DOCUMENT}", json={"name": "n"})
    assert_problem(response, 503, "supabase_unavailable")


async def test_nothing_goes_elsewhere(client: httpx.AsyncClient, supabase: respx.MockRouter) -> None:
    """The address of Supabase is the setting's, whatever the path holds."""
    response = await client.patch("/documents/..%2F..%2Fauth%2Fv1", json={"name": "n"})
    assert_problem(response, 404, "not_found")
    assert {call.request.url.path for call in supabase.calls} <= {"/auth/v1/.well-known/jwks.json"}
    assert all(str(call.request.url).startswith(BASE) for call in supabase.calls)
