"""Whatever happens to the service, an object is its old bytes or its new ones, whole, and nothing is left about."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest

from jobs import storage
from tests.conformance.alone import AloneService

BUCKET = "crashes"


class Crashed:
    """A service that may be killed, its bucket, and a client with the service's key."""

    def __init__(self, service: AloneService, database: str, secret: str) -> None:
        self.service, self.database = service, database
        token = jwt.encode({"role": "service_role", "exp": int(time.time()) + 3600}, secret)
        self.headers = {"authorization": f"Bearer {token}", "x-upsert": "true"}
        self.http = httpx.Client(base_url=service.url, headers=self.headers, trust_env=False, timeout=30)

    def sql(self, statement: str) -> list[Any]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        self.service.end(signal.SIGKILL)

    def files(self) -> set[str]:
        return {path.name for path in (self.service.folder / "objects").glob("*/*")}

    def strays(self) -> list[Path]:
        return list((self.service.folder / "incoming").iterdir())

    def stored(self, key: str) -> bytes:
        """The object's bytes, which must be what their etag says."""
        answer = self.http.get(f"/object/{BUCKET}/{key}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["etag"] == f'"{hashlib.md5(answer.content, usedforsecurity=False).hexdigest()}"'
        return answer.content

    def put(self, key: str, body: bytes) -> None:
        headers = {"content-type": "application/octet-stream"}
        assert self.http.post(f"/object/{BUCKET}/{key}", content=body, headers=headers).status_code == 200

    @contextlib.contextmanager
    def half_sent(self, key: str, body: bytes) -> Iterator[None]:
        """An upload of which the service has had the first half."""
        lines = [f"POST /object/{BUCKET}/{key} HTTP/1.1", "host: storage", f"content-length: {len(body)}"]
        lines += [f"{name}: {text}" for name, text in self.headers.items()]
        with socket.create_connection(("127.0.0.1", self.service.port)) as connection:
            connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body[: len(body) // 2])
            deadline = time.monotonic() + 10
            while not any(path.stat().st_size for path in self.strays()):
                assert time.monotonic() < deadline, "nothing arrived"
                time.sleep(0.01)  # a condition with a deadline
            yield


@pytest.fixture
def crashed(stack: dict[str, Any], new_service: Any, tmp_path: Path) -> Iterator[Crashed]:
    target = Crashed(new_service(tmp_path / "storage"), stack["admin_database_url"], stack["jwt_secret"])
    empty = "set local storage.allow_delete_query = 'true'; delete from storage.objects"
    target.sql(
        f"{empty}; insert into storage.buckets (id, name) values ('{BUCKET}', '{BUCKET}') on conflict do nothing"
    )
    with target.service.running():
        yield target
    target.http.close()
    target.sql(f"{empty}; delete from storage.buckets where id = '{BUCKET}'")


def test_killed_during_an_upload_keeps_the_old_bytes(crashed: Crashed) -> None:
    old, new = random.randbytes(3 << 20), random.randbytes(24 << 20)  # more than is written at a time
    crashed.put("a.bin", old)
    with crashed.half_sent("a.bin", new):
        crashed.kill()
    assert crashed.strays()
    crashed.service.start()
    assert not crashed.strays()
    assert crashed.stored("a.bin") == old
    assert len(crashed.files()) == 1


def test_killed_at_any_moment_leaves_old_or_new(crashed: Crashed) -> None:
    bodies = [random.randbytes(1 << 20) for _ in range(4)]
    crashed.put("a.bin", bodies[0])
    for attempt in range(3):
        ended = threading.Event()

        def keep_replacing(ended: threading.Event = ended) -> None:
            with contextlib.suppress(httpx.TransportError), httpx.Client(headers=crashed.headers) as client:
                while not ended.is_set():
                    body = random.choice(bodies)
                    client.post(f"{crashed.service.url}/object/{BUCKET}/a.bin", content=body, timeout=10)

        writers = [threading.Thread(target=keep_replacing) for _ in range(2)]
        for writer in writers:
            writer.start()
        time.sleep(0.2 + 0.13 * attempt)  # the moment of the crash; any will do
        crashed.kill()
        ended.set()
        for writer in writers:
            writer.join()
        crashed.service.start()
        assert crashed.stored("a.bin") in bodies
        versions = {row[0] for row in crashed.sql("select version from storage.objects")}
        assert crashed.files() == versions
        assert not crashed.strays()


def metadata(key: str) -> str:
    pairs = {"bucketName": BUCKET, "objectName": key, "contentType": "application/zip"}
    return ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in pairs.items())


def append(crashed: Crashed, address: str, offset: int, body: bytes) -> httpx.Response:
    kind = {"content-type": "application/offset+octet-stream", "upload-offset": str(offset), "tus-resumable": "1.0.0"}
    return crashed.http.patch(address, content=body, headers=kind)


def create(crashed: Crashed, key: str, size: int) -> str:
    headers = {"tus-resumable": "1.0.0", "upload-length": str(size), "upload-metadata": metadata(key)}
    answer = crashed.http.post("/upload/resumable", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def offset(crashed: Crashed, address: str) -> int:
    answer = crashed.http.head(address, headers={"tus-resumable": "1.0.0"})
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["upload-offset"])


def test_resumable_upload_goes_on_after_a_crash(crashed: Crashed) -> None:
    body = random.randbytes(5 << 20)
    address = create(crashed, "b.bin", len(body))
    assert append(crashed, address, 0, body[: 2 << 20]).status_code == 204
    crashed.kill()
    crashed.service.start()
    reached = offset(crashed, address)
    assert reached == 2 << 20
    assert append(crashed, address, reached, body[reached:]).headers["tus-complete"] == "1"
    assert crashed.stored("b.bin") == body


def test_resumable_upload_whose_last_step_was_lost_is_not_told_as_whole(crashed: Crashed) -> None:
    body = random.randbytes(1 << 20)
    crashed.sql("""
        create or replace function storage.lose_connection() returns trigger language plpgsql security definer as $$
        begin
            if new.version <> '1' then perform pg_terminate_backend(pg_backend_pid()); end if;
            return null;
        end $$;
        create trigger lose_connection after insert on storage.objects
        for each row execute function storage.lose_connection()
    """)
    try:
        address = create(crashed, "c.bin", len(body))
        assert append(crashed, address, 0, body).status_code == 500
    finally:
        crashed.sql("drop trigger lose_connection on storage.objects; drop function storage.lose_connection")
    reached = offset(crashed, address)
    assert reached < len(body)
    assert append(crashed, address, reached, body[reached:]).headers["tus-complete"] == "1"
    assert crashed.stored("c.bin") == body


def test_resumable_upload_killed_before_its_commit_can_be_finished(crashed: Crashed) -> None:
    body = random.randbytes(1 << 20)
    with psycopg.connect(crashed.database) as blocking:  # its row waits for ours
        blocking.execute("insert into storage.objects (bucket_id, name, version) values (%s, 'd.bin', '1')", [BUCKET])
        address = create_without_probe(crashed, "d.bin", len(body), blocking)
        sender = threading.Thread(target=append_until_killed, args=(crashed, address, body))
        sender.start()
        deadline = time.monotonic() + 10
        while not crashed.files():  # published, and waiting to be committed
            assert time.monotonic() < deadline, "the upload was never published"
            time.sleep(0.01)  # a condition with a deadline
        crashed.kill()
        sender.join()
        crashed.service.start()  # while the dead one's transaction, its commit already sent, still waits in Postgres
        blocking.rollback()
    assert not crashed.files()
    reached = offset(crashed, address)
    assert append(crashed, address, reached, body[reached:]).headers["tus-complete"] == "1"
    assert crashed.stored("d.bin") == body


def create_without_probe(crashed: Crashed, key: str, size: int, blocking: psycopg.Connection[Any]) -> str:
    """A signed upload: it is not probed, so nothing waits for the blocked row before the bytes are stored."""
    blocking.rollback()
    answer = crashed.http.post(f"/object/upload/sign/{BUCKET}/{key}")
    crashed.http.headers["x-signature"] = answer.json()["token"]
    headers = {"tus-resumable": "1.0.0", "upload-length": str(size), "upload-metadata": metadata(key)}
    address = crashed.http.post("/upload/resumable/sign", headers=headers).headers["location"]
    blocking.execute("insert into storage.objects (bucket_id, name, version) values (%s, %s, '1')", [BUCKET, key])
    return address


def append_until_killed(crashed: Crashed, address: str, body: bytes) -> None:
    with contextlib.suppress(httpx.TransportError):
        append(crashed, address, 0, body)


def test_bytes_without_a_row_are_swept_at_the_start(crashed: Crashed) -> None:
    crashed.put("a.bin", b"kept")
    orphan = str(uuid.uuid4())
    crashed.kill()
    (crashed.service.folder / "objects" / orphan[:2] / orphan).write_bytes(b"orphan")
    crashed.service.start()
    assert orphan not in crashed.files()
    assert crashed.stored("a.bin") == b"kept"


def test_nothing_is_swept_when_no_file_at_all_has_a_row(crashed: Crashed) -> None:
    """Then the folder is rather another database's."""
    crashed.kill()
    orphans = {str(uuid.uuid4()) for _ in range(11)}
    for orphan in orphans:
        (crashed.service.folder / "objects" / orphan[:2] / orphan).write_bytes(b"orphan")
    crashed.service.start()
    assert crashed.files() == orphans


def test_lost_bytes_are_a_missing_source_to_the_runner(crashed: Crashed) -> None:
    """The service answers 500, as the real one does with its files on a disk; a runner must not wait for a cure."""
    crashed.put("a.bin", b"lost")
    token = crashed.headers["authorization"].removeprefix("Bearer ")
    runner = storage.Storage(crashed.service.url, token, tries=1, delay=0.01)
    assert b"".join(runner.source(BUCKET, "a.bin").blocks()) == b"lost"
    (name,) = crashed.files()
    (crashed.service.folder / "objects" / name[:2] / name).unlink()
    assert crashed.http.get(f"/object/{BUCKET}/a.bin").status_code == 500
    with pytest.raises(storage.SourceMissing):
        list(runner.source(BUCKET, "a.bin").blocks())


def test_two_services_never_share_a_folder(crashed: Crashed, new_service: Any) -> None:
    second = new_service(crashed.service.folder)
    with pytest.raises(AssertionError, match="ended at once"):
        second.start()
