"""Storage behind its gateway while connections are cut, tokens expire, processes die, disks fill and clients stall."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.installation import free_port
from tests.conformance.alone import AloneService
from tests.e2e.conftest import instashare, wait_for
from tests.e2e.storage_target import CHUNK, Buckets, buckets_of, random_file

from .storage_faults import cutting
from .storage_stack import Gateway

LARGE = 300_000_000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("storage-faults")
    with started(folder) as gateway:
        yield gateway


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Gateway]:
    schema, data_dir = folder / "empty.sql", folder / "data"
    schema.touch()
    where = ["--data-dir", str(data_dir)]
    done = instashare("up", "--schema", str(schema), "--no-web", "--detach", "--port", str(free_port()), *where)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield Gateway(data_dir)
    finally:
        instashare("down", *where)
        instashare("reset", "--yes", *where)


@pytest.fixture
def buckets(gateway: Gateway) -> Iterator[Buckets]:
    with buckets_of(gateway.storage) as made:
        yield made


def resumable(buckets: Buckets, name: str, file: Path, **given: Any) -> Any:
    return buckets.run_js(
        given.pop("flow", "resumable"), 500, object=f"{buckets.person}/{name}", file=str(file), **given
    )


def only_whole_objects_are_left(gateway: Gateway, buckets: Buckets) -> None:
    """Every row has its bytes, every file its row, and nothing else lies about."""
    rows = dict(buckets.sql("select version, (metadata ->> 'size')::bigint from storage.objects"))
    files = {path.name: path.stat().st_size for path in (gateway.data_dir / "storage" / "objects").glob("*/*")}
    assert files == rows
    assert not gateway.folder("incoming")
    assert not [name for name in gateway.folder("resumable") if name.endswith((".part", ".new"))]


# ---- resumable uploads


def test_upload_whose_connection_is_cut_ten_times(gateway: Gateway, buckets: Buckets, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    digest = random_file(file, LARGE)
    with cutting(gateway.port, cuts=10, seed=4) as proxy:
        done = resumable(buckets, "cut.bin", file, url=f"http://127.0.0.1:{proxy.port}")
        assert not proxy.cuts_left
        assert done["url"].startswith(f"http://127.0.0.1:{proxy.port}/storage/v1/upload/resumable/")
    assert "HEAD 200" in done["requests"]
    assert buckets.digest("cut.bin") == digest
    only_whole_objects_are_left(gateway, buckets)


def test_upload_whose_token_expires_half_way(gateway: Gateway, buckets: Buckets, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    digest = random_file(file, 4 * CHUNK)
    tokens = [buckets.storage.user_token(buckets.person, seconds=4), buckets.token]
    done = resumable(buckets, "expired.bin", file, flow="expiring", tokens=tokens, expires=int(time.time()) + 4)
    assert done["requests"].count("PATCH 400") == 1 and "HEAD 200" in done["requests"]
    assert buckets.digest("expired.bin") == digest


def test_upload_during_which_the_gateway_is_killed(gateway: Gateway, buckets: Buckets, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    digest = random_file(file, LARGE)
    before = gateway.pid
    done: list[Any] = []
    sender = threading.Thread(target=lambda: done.append(resumable(buckets, "killed.bin", file)))
    sender.start()

    def is_under_way() -> bool:
        parts = list((gateway.data_dir / "storage" / "resumable").glob("*.part"))
        return any(part.stat().st_size > 5 * CHUNK for part in parts)

    wait_for(is_under_way)
    gateway.kill()
    sender.join()
    gateway.wait_until_back(before)
    assert done and "HEAD 200" in done[0]["requests"]
    assert buckets.digest("killed.bin") == digest
    only_whole_objects_are_left(gateway, buckets)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_aiotus_goes_on_after_cuts(gateway: Gateway, buckets: Buckets, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    digest = random_file(file, 5 * CHUNK)
    with cutting(gateway.port, cuts=2, seed=1) as proxy:
        assert buckets.resume(f"http://127.0.0.1:{proxy.port}", "aiotus.bin", file)
    assert buckets.digest("aiotus.bin") == digest


def test_nothing_is_left_of_an_upload_that_was_cut_while_it_was_created(gateway: Gateway, buckets: Buckets) -> None:
    """Nobody has been told its address."""
    lines = [
        "POST /storage/v1/upload/resumable HTTP/1.1",
        f"host: 127.0.0.1:{gateway.port}",
        f"authorization: Bearer {buckets.token}",
        "tus-resumable: 1.0.0",
        "upload-length: 1000000",
        "content-length: 1000000",
        "content-type: application/offset+octet-stream",
        f"upload-metadata: {metadata(buckets.private, f'{buckets.person}/c')}",
    ]
    before = gateway.folder("resumable")
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall("\r\n".join([*lines, "", "x" * 100_000]).encode())
        wait_for(lambda: gateway.folder("resumable") - before)
    wait_for(lambda: gateway.folder("resumable") == before)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# ---- crashes


def test_killed_at_random_moments(gateway: Gateway, buckets: Buckets) -> None:
    """Uploads, upserts, moves, copies and removals run when the gateway dies; each object is old or new, and whole."""
    chosen = random.Random(7)
    contents = {hashlib.md5(data, usedforsecurity=False).hexdigest() for data in bodies()}
    for _ in range(5):
        ended = threading.Event()
        workers = [threading.Thread(target=change_at_random, args=(buckets, seed, ended)) for seed in range(4)]
        for worker in workers:
            worker.start()
        time.sleep(chosen.uniform(0.3, 1.5))  # the moment of the crash; any will do
        before = gateway.pid
        gateway.kill()
        ended.set()
        for worker in workers:
            worker.join()
        gateway.wait_until_back(before)
        only_whole_objects_are_left(gateway, buckets)
        rows = buckets.sql(
            "select name, metadata ->> 'eTag' from storage.objects where bucket_id = %s", buckets.private
        )
        with client(buckets) as http:
            for name, etag in rows:
                answer = http.get(f"/object/{buckets.private}/{name}")
                digest = hashlib.md5(answer.content, usedforsecurity=False).hexdigest()
                assert answer.status_code == 200 and etag == f'"{digest}"' and digest in contents


class Resuming(threading.Thread):
    """Uploads resumably, replaces, terminates, until it is told to end or its connection goes."""

    def __init__(self, buckets: Buckets, seed: float) -> None:
        super().__init__()
        self.buckets, self.chosen, self.ended = buckets, random.Random(seed), threading.Event()
        self.known: dict[str, bytes] = {}  # addresses of uploads that were neither finished nor terminated, and bodies

    def run(self) -> None:
        with resuming(self.buckets) as http, contextlib.suppress(httpx.TransportError):
            while not self.ended.is_set():
                body = self.chosen.choice(bodies())
                key = f"{self.buckets.person}/tus/{self.chosen.randrange(3)}"
                headers = {"upload-length": str(len(body)), "upload-metadata": metadata(self.buckets.private, key)}
                if self.chosen.randrange(3) == 0:  # all at once
                    http.post("/upload/resumable", headers={**headers, "content-type": PART}, content=body)
                    continue
                address = http.post("/upload/resumable", headers=headers).headers["location"]
                self.known[address] = body
                middle = self.chosen.randrange(len(body))
                append(http, address, 0, body[:middle])
                if self.chosen.randrange(4) == 0:
                    del self.known[address]  # whether it was terminated in time nobody knows
                    http.delete(address)
                elif append(http, address, middle, body[middle:]).status_code == 204:
                    del self.known[address]


PART = "application/offset+octet-stream"


def metadata(bucket: str, key: str) -> str:
    return f"bucketName {b64(bucket)},objectName {b64(key)}"


def resuming(buckets: Buckets) -> httpx.Client:
    http = client(buckets)
    http.headers.update({"tus-resumable": "1.0.0", "x-upsert": "true"})
    return http


def append(http: httpx.Client, address: str, offset: int, data: bytes) -> httpx.Response:
    return http.patch(address, headers={"content-type": PART, "upload-offset": str(offset)}, content=data)


def test_killed_at_random_moments_of_resumable_uploads(gateway: Gateway, buckets: Buckets) -> None:
    """Creation, parts, the last part and termination: what a client knows of goes on, and all objects are whole."""
    chosen = random.Random(11)
    contents = {hashlib.md5(data, usedforsecurity=False).hexdigest() for data in bodies()}
    folder = gateway.data_dir / "storage" / "resumable"
    resumed = 0
    for _ in range(3):
        workers = [Resuming(buckets, chosen.random()) for _ in range(4)]
        for worker in workers:
            worker.start()
        time.sleep(chosen.uniform(0.3, 1.5))  # the moment of the crash; any will do
        before = gateway.pid
        gateway.kill()
        for worker in workers:
            worker.ended.set()
            worker.join()
        gateway.wait_until_back(before)
        assert not gateway.folder("incoming")
        # a part has its description, and nothing is half written
        assert {path.suffix for path in folder.iterdir()} <= {".json", ".part"}
        assert {path.stem for path in folder.glob("*.part")} <= {path.stem for path in folder.glob("*.json")}
        with resuming(buckets) as http:
            for address, body in (known for worker in workers for known in worker.known.items()):
                found = http.head(address)
                assert found.status_code == 200, found.status_code
                reached = int(found.headers["upload-offset"])
                if reached < len(body):
                    done = append(http, address, reached, body[reached:])
                    assert (done.status_code, done.headers["tus-complete"]) == (204, "1"), done.text
                    resumed += 1
            for part in folder.glob("*.part"):  # made, and nobody was told of it; or its termination came too late
                said = json.loads(part.with_suffix(".json").read_text())
                name = f"{said['bucket']}/{said['key']}/{said['version']}"
                address = f"/upload/resumable/{base64.urlsafe_b64encode(name.encode()).decode().rstrip('=')}"
                assert http.delete(address).status_code == 204
            for name, etag in buckets.sql("select name, metadata ->> 'eTag' from storage.objects"):
                got = http.get(f"/object/{buckets.private}/{name}").content
                digest = hashlib.md5(got, usedforsecurity=False).hexdigest()
                assert etag == f'"{digest}"' and digest in contents
        only_whole_objects_are_left(gateway, buckets)
    assert resumed


def bodies() -> list[bytes]:
    return [random.Random(seed).randbytes(size) for seed, size in enumerate((10, 70_000, 700_000, 3_000_000))]


def client(buckets: Buckets) -> httpx.Client:
    headers = {"authorization": f"Bearer {buckets.token}"}
    return httpx.Client(base_url=f"{buckets.storage.url}/storage/v1", headers=headers, timeout=60)


def change_at_random(buckets: Buckets, seed: int, ended: threading.Event) -> None:
    chosen, all_bodies = random.Random(f"{seed}{time.time()}"), bodies()
    bucket = buckets.private

    def key() -> str:
        return f"{buckets.person}/{seed % 2}/{chosen.randrange(4)}"

    with client(buckets) as http, contextlib.suppress(httpx.TransportError):
        while not ended.is_set():
            places = {"bucketId": bucket, "sourceKey": key(), "destinationKey": key()}
            match chosen.randrange(6):
                case 0 | 1 | 2:
                    http.post(
                        f"/object/{bucket}/{key()}", content=chosen.choice(all_bodies), headers={"x-upsert": "true"}
                    )
                case 3:
                    http.post("/object/move", json=places)
                case 4:
                    http.post("/object/copy", json=places)
                case _:
                    http.request("DELETE", f"/object/{bucket}", json={"prefixes": [key()]})


# ---- a full disk

FULL = "The disk of the Storage service is full"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB; skips the test where none may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a full disk needs a small file system, and none may be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_answers_an_error_and_keeps_the_old_version(
    gateway: Gateway, buckets: Buckets, small_disk: Path, tmp_path: Path
) -> None:
    limit = 1 << 30
    service = AloneService(buckets.storage.database, buckets.storage.jwt_secret, small_disk / "storage", limit)
    old, new = b"old" * 1_000_000, os.urandom(40_000_000)
    url = f"/object/{buckets.private}/{buckets.person}/full.bin"
    headers = {"authorization": f"Bearer {buckets.token}", "x-upsert": "true", "tus-resumable": "1.0.0"}
    with service.running(), httpx.Client(base_url=service.url, headers=headers, timeout=60) as http:
        assert http.post(url, content=old).status_code == 200
        for content in (new, chunks(new)):
            refused = http.post(url, content=content)
            assert refused.status_code == 500 and refused.json()["message"] == FULL
        form = http.post(url, files={"": ("full.bin", new)})
        assert form.status_code == 500 and form.json()["message"] == FULL
        assert http.get(url).content == old
        # a resumable one is told the same, keeps what fits and may be ended
        named = metadata(buckets.private, f"{buckets.person}/full.bin")
        made = http.post("/upload/resumable", headers={"upload-length": str(len(new)), "upload-metadata": named})
        stopped = append(http, made.headers["location"], 0, new)
        assert (stopped.status_code, stopped.text) == (500, FULL)
        reached = int(http.head(made.headers["location"]).headers["upload-offset"])
        assert 0 < reached < len(new)
        assert http.get(url).content == old
        assert http.delete(made.headers["location"]).status_code == 204
        assert not list((small_disk / "storage" / "incoming").iterdir())
        assert http.post(url, content=b"new" * 1_000_000).status_code == 200  # there is room again
        assert http.get(url).content == b"new" * 1_000_000
        http.request("DELETE", url)


def chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]


# ---- load


def test_two_hundred_downloads_and_fifty_uploads_at_once(
    gateway: Gateway, buckets: Buckets, record_property: Any
) -> None:
    data = os.urandom(4_000_000)
    headers = {"authorization": f"Bearer {buckets.token}"}
    before = gateway.pid
    gateway.kill()  # a fresh process: its peak of memory is this test's alone
    gateway.wait_until_back(before)
    base = f"/object/{buckets.private}/{buckets.person}"
    with client(buckets) as http:
        assert http.post(f"{base}/source.bin", content=data).status_code == 200

    async def go() -> None:
        limits = httpx.Limits(max_connections=300)
        options: dict[str, Any] = {"limits": limits, "timeout": 300, "headers": headers}
        async with httpx.AsyncClient(base_url=f"{buckets.storage.url}/storage/v1", **options) as http:

            async def download() -> None:
                got = await http.get(f"{base}/source.bin")
                assert got.status_code == 200 and got.content == data

            async def upload(number: int) -> None:
                sent = await http.post(f"{base}/up-{number}.bin", content=data)
                assert sent.status_code == 200, sent.text

            await asyncio.gather(*(download() for _ in range(200)), *(upload(number) for number in range(50)))

    asyncio.run(go())
    expected = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    rows = buckets.sql("select metadata ->> 'eTag' from storage.objects where bucket_id = %s", buckets.private)
    assert [etag for (etag,) in rows] == [expected] * 51
    only_whole_objects_are_left(gateway, buckets)
    peak = gateway.memory_mb()
    record_property("peak memory of the gateway, MB", peak)
    if peak is not None:
        assert peak < 150, f"the gateway took {peak:.0f} MB"


def test_slow_clients_hold_no_database_connection(gateway: Gateway, buckets: Buckets) -> None:
    """Sixty of them stall, up and down; the pool has ten connections, and another client is served meanwhile."""
    base = f"/object/{buckets.private}/{buckets.person}"
    with client(buckets) as http:
        assert http.post(f"{base}/large.bin", content=os.urandom(20_000_000)).status_code == 200
        with contextlib.ExitStack() as stalled:
            for number in range(20):
                named = metadata(buckets.private, f"{buckets.person}/part-{number}")
                made = {"tus-resumable": "1.0.0", "upload-length": "1000", "upload-metadata": named}
                address = http.post("/upload/resumable", headers=made).headers["location"]
                requests = (
                    f"GET /storage/v1{base}/large.bin",
                    f"POST /storage/v1{base}/slow-{number}",
                    f"PATCH {address.removeprefix(buckets.storage.url)}",
                )
                for first in requests:
                    lines = [
                        f"{first} HTTP/1.1",
                        f"host: 127.0.0.1:{gateway.port}",
                        f"authorization: Bearer {buckets.token}",
                        f"content-length: {0 if first.startswith('GET') else 1000}",
                        "tus-resumable: 1.0.0",
                        f"content-type: {PART}",
                        "upload-offset: 0",
                    ]
                    connection = stalled.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
                    connection.sendall("\r\n".join([*lines, "", ""]).encode())
            busy = """
                select count(*) from pg_stat_activity
                where usename = 'supabase_storage_admin' and (state <> 'idle' or xact_start is not null)
            """
            wait_for(lambda: buckets.sql(busy) == [(0,)], 30)
            name = uuid.uuid4().hex
            assert http.post(f"{base}/{name}", content=b"served").status_code == 200
            assert http.get(f"{base}/{name}").content == b"served"
