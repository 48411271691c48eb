"""The main job where PostgREST has no package for the machine: REST by Supabase Lite, on a stack of its own.

What that REST cannot do right it refuses; see local/rest_lite.
"""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from postgrest.exceptions import APIError

from local import installation
from local.installation import free_port
from local.signing_key import new_signing_key
from local.tokens import Issuer
from tests.e2e.conftest import LOCAL_TEST_SETTINGS, Account, Stack, instashare

SIGNED_OUT = (401, 403)
GRANTS = """
    select grantee, table_schema || '.' || table_name as object, privilege_type
    from information_schema.role_table_grants where grantee in ('anon', 'authenticated')
    union all
    select grantee, table_schema || '.' || table_name || '.' || column_name, privilege_type
    from information_schema.column_privileges where grantee in ('anon', 'authenticated')
    union all
    select grantee, routine_schema || '.' || specific_name, privilege_type
    from information_schema.role_routine_grants where grantee in ('anon', 'authenticated')
    union all
    select grantee, object_schema || '.' || object_name, privilege_type
    from information_schema.role_usage_grants where grantee in ('anon', 'authenticated')
    union all
    select coalesce(nspname, ''), defaclobjtype::text, defaclacl::text
    from pg_default_acl left join pg_namespace on pg_namespace.oid = defaclnamespace
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A local stack whose REST is the fallback."""
    data_dir = tmp_path_factory.mktemp("lite") / "data"
    where = ["--data-dir", str(data_dir)]
    settings = {**LOCAL_TEST_SETTINGS, "INSTASHARE_REST": "lite"}
    started = instashare("up", "--detach", "--no-web", "--port", str(free_port()), *where, env=settings)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        assert "REST is Supabase Lite's" in started.stderr
        status = json.loads(instashare("status", "--json", *where).stdout)
        target = Stack(
            status["supabase_url"],
            status["backend_url"],
            status["publishable_key"],
            status["secret_key"],
            status["admin_database_url"],
            data_dir,
            status,
        )
        with target.http:
            yield target
    finally:
        instashare("down", *where)
        instashare("reset", "--yes", *where)


@pytest.fixture(scope="module")
def grants(stack: Stack) -> set[tuple[Any, ...]]:
    """What anon and authenticated may do before this module asks REST for anything."""
    return _read_grants(stack)


@pytest.fixture(scope="module")
def person(stack: Stack, grants: set[tuple[Any, ...]]) -> Account:
    """Somebody with an account."""
    return stack.person(first_name="Ana", last_name="Almeida")


@pytest.fixture(scope="module")
def document(person: Account) -> dict[str, Any]:
    """A document of that person whose archive is ready."""
    document = person.upload("año 日本.txt", b"the bytes")
    return person.wait(document["id"])


def test_the_main_job_through_supabase_py(person: Account, document: dict[str, Any]) -> None:
    assert document["name"] == "año 日本.txt"
    assert document["created_at"].endswith("+00:00")
    with zipfile.ZipFile(io.BytesIO(person.download(document["id"]))) as archive:
        assert archive.read("año 日本.txt") == b"the bytes"
    assert person.api("PATCH", f"/documents/{document['id']}", json={"name": "other.txt"}).status_code == 200
    assert person.row(document["id"])["name_revision"] == document["name_revision"] + 1


def test_the_command_line_does_the_main_job(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "some file.txt"
    file.write_bytes(b"some bytes")
    done = instashare("try", str(file), "--json", "--data-dir", str(stack.data_dir))
    assert done.returncode == 0, done.stdout + done.stderr


def test_status_warns_of_it(stack: Stack) -> None:
    assert "REST is Supabase Lite's" in stack.status["services"]["rest"]["detail"]
    told = instashare("status", "--data-dir", str(stack.data_dir))
    assert "REST is Supabase Lite's" in told.stderr


def test_anonymous_callers_see_nothing(stack: Stack, document: dict[str, Any]) -> None:
    headers = {"apikey": stack.publishable_key}
    for table in ("documents", "profiles", "logs", "limits", "admin_users"):
        answer = httpx.get(f"{stack.supabase_url}/rest/v1/{table}", headers=headers)
        assert answer.status_code in SIGNED_OUT, (table, answer.text)
    call = f"{stack.supabase_url}/rest/v1/rpc/request_download"
    answer = httpx.post(call, headers=headers, json={"document_id": document["id"]})
    assert answer.status_code in (*SIGNED_OUT, 404)
    assert "archive_path" not in answer.text


def test_strangers_see_nothing_and_change_nothing(stack: Stack, person: Account, document: dict[str, Any]) -> None:
    stranger = stack.person()
    assert stranger.client.table("documents").select("*").execute().data == []
    assert stranger.client.table("documents").update({"name": "mine.txt"}).eq("id", document["id"]).execute().data == []
    with pytest.raises(APIError) as refused:
        stranger.client.rpc("delete_document", {"document_id": document["id"]}).execute()
    assert refused.value.code == "PT404"
    assert person.row(document["id"])["deleted_at"] is None


def test_no_grants_were_added(stack: Stack, document: dict[str, Any], grants: set[tuple[Any, ...]]) -> None:
    assert ("authenticated", "public.documents.name", "UPDATE") in grants
    assert _read_grants(stack) == grants


def test_errors_of_the_database_keep_status_code_and_hint(person: Account) -> None:
    answer = _rest(person, "POST", "documents", json={"name": "a/b.txt", "size_bytes": 1, "mime_type": "text/plain"})
    assert (answer.status_code, answer.json()["code"], answer.json()["details"]) == (422, "PT422", "name_invalid")
    assert answer.json()["hint"]
    answer = _rest(person, "POST", "rpc/restore_document", json={"document_id": str(uuid.uuid4())})
    assert (answer.status_code, answer.json()["details"]) == (404, "document_not_found")
    answer = _rest(person, "POST", "rpc/restore_document", json={"document_id": "no uuid"})
    assert (answer.status_code, answer.json()["code"]) == (400, "22P02")


def test_arguments_come_through_whole(stack: Stack, person: Account) -> None:
    with stack.database() as database:
        database.execute("""
            create function public.fallback_echo(j jsonb, u uuid, t timestamptz, n bigint default 9007199254740993)
            returns jsonb language sql as $$
                select jsonb_build_object('kind', jsonb_typeof(j), 'j', j, 'u', u, 't', t, 'n', n)
            $$
        """)
        try:
            database.execute("grant execute on function public.fallback_echo to authenticated")
            database.execute("notify pgrst, 'reload schema'")
            named = {"u": str(uuid.uuid4()), "t": "2026-01-02T03:04:05+02:00"}
            deadline = time.monotonic() + 20
            while _echo(person, {"j": None, **named}).status_code == 404:  # until the new schema is read
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for value, kind in (
                ({"a": [1, None]}, "object"),
                ([1], "array"),
                ("text", "string"),
                ('{"a": 1}', "string"),
            ):
                told = _echo(person, {"j": value, **named}).json()
                assert (told["j"], told["kind"]) == (value, kind)
                assert (told["u"], told["t"]) == (named["u"], "2026-01-02T01:04:05+00:00")
                assert told["n"] == 9007199254740993
            assert _echo(person, {"j": 1, "n": 9007199254740993, **named}).status_code == 400
        finally:
            database.execute("drop function public.fallback_echo")


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "two words", "tampered", "expired", "foreign", "unsigned"])
def test_a_bad_token_is_refused_and_never_anonymous(stack: Stack, person: Account, token: str) -> None:
    assert stack.data_dir is not None
    found = installation.load(stack.data_dir)
    issuer = Issuer(found.secrets.signing_key, found.auth_issuer)
    claims = {"sub": person.id, "role": "authenticated"}
    head, body, signature = person.access_token.split(".")
    known = {
        "tampered": f"{head}.{body}.{signature[::-1]}",
        "expired": issuer.access_token({**claims, "exp": int(time.time()) - 3600}),
        "foreign": Issuer(new_signing_key(), found.auth_issuer).access_token(claims),
        "unsigned": f"eyJhbGciOiJub25lIn0.{body}.",
    }
    # past the gateway, which refuses some of these by itself
    answer = httpx.get(
        f"{stack.status['services']['rest']['url']}/documents",
        headers={"Authorization": f"Bearer {known.get(token, token)}"},
    )
    assert answer.status_code == 401
    assert answer.json()["code"] == "PGRST301"


@pytest.mark.parametrize("role", ["postgres", "supabase_admin", "authenticator", "instashare_runner"])
def test_a_token_of_another_role_is_refused(stack: Stack, role: str) -> None:
    assert stack.data_dir is not None
    found = installation.load(stack.data_dir)
    token = Issuer(found.secrets.signing_key, found.auth_issuer).role_token(role, 60)
    answer = httpx.get(
        f"{stack.status['services']['rest']['url']}/documents", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 401


def test_what_it_cannot_do_right_is_refused(person: Account) -> None:
    row = {"name": "x.txt", "size_bytes": 1, "mime_type": "text/plain"}
    upsert = _rest(person, "POST", "documents", json=row, headers={"Prefer": "resolution=merge-duplicates"})
    assert (upsert.status_code, upsert.json()["code"]) == (501, "not_supported_locally")
    uneven = _rest(person, "POST", "documents", json=[row, {"name": "y.txt"}])
    assert (uneven.status_code, uneven.json()["code"]) == (400, "PGRST102")
    assert _rest(person, "GET", "documents?select=name&name=in.(x.txt,y.txt)").json() == []


def test_a_refused_change_is_rolled_back(person: Account) -> None:
    rows = [{"name": f"{name}.txt", "size_bytes": 1, "mime_type": "text/plain"} for name in ("one", "two")]
    assert _rest(person, "POST", "documents", json=rows).status_code == 201
    answer = _rest(
        person,
        "PATCH",
        "documents?name=in.(one.txt,two.txt)",
        json={"name": "same.txt"},
        headers={"Accept": "application/vnd.pgrst.object+json", "Prefer": "return=representation"},
    )
    assert answer.status_code == 406
    assert _rest(person, "GET", "documents?select=id&name=eq.same.txt").json() == []


def _echo(person: Account, arguments: dict[str, Any]) -> httpx.Response:
    return _rest(person, "POST", "rpc/fallback_echo", json=arguments)


def _rest(person: Account, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {
        "apikey": person.stack.publishable_key,
        "Authorization": f"Bearer {person.access_token}",
        **options.pop("headers", {}),
    }
    return httpx.request(method, f"{person.stack.supabase_url}/rest/v1/{path}", headers=headers, timeout=30, **options)


def _read_grants(stack: Stack) -> set[tuple[Any, ...]]:
    assert stack.admin_database_url is not None
    with psycopg.connect(stack.admin_database_url) as database:
        return set(database.execute(GRANTS).fetchall())
