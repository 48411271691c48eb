"""Storage through the gateway against nginx with the same files, and small uploads against the database alone.

A stack of its own with an empty schema; server and peer are asked by the same client in turn, the best of the rounds
counts. Where there is no nginx a small static server in Python stands in, and the peer's name says so.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.result import Result, main, report
from bench.static_server import serving

ROOT = Path(__file__).parents[1]
BUCKET = "bench"
CLIENTS = 8
CHUNK = 6 << 20  # what Supabase's documents prescribe for resumable uploads
BUFFER = 256 << 10
MEMORY_MB = 150


def run(quick: bool) -> dict[str, Any]:
    """Measure all goals; `quick`: one round each and 500 small files, else three rounds and 1,000."""
    rounds, small = (1, 500) if quick else (3, 1000)
    with tempfile.TemporaryDirectory(prefix="bench-storage-") as name:
        folder = Path(name)
        with running_stack(folder) as stack, serving(folder / "peer") as (peer_name, peer_port):
            peer = Server(peer_port, "PUT", lambda key: f"/{key}", {}, (201, 204))
            results = [*_large(stack, peer, peer_name, folder, rounds), *_small(stack, peer, peer_name, small, rounds)]
            results += _crowd(stack)
    return report("storage", results)


# the two servers, asked alike


@dataclass(frozen=True)
class Server:
    """How a server is asked to take and give a file."""

    port: int
    method: str
    path: Callable[[str], str]
    headers: dict[str, str]
    stored: tuple[int, ...]

    def connect(self) -> Connection:
        return Connection(self)


class Connection:
    """A kept connection, read by hand: a library would be slower than the servers are."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sock = socket.create_connection(("127.0.0.1", server.port), timeout=300)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest, self.buffer = b"", bytearray(BUFFER)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send_head(self, method: str, path: str, headers: dict[str, str]) -> None:
        lines = [f"{name}: {text}" for name, text in ({"host": "127.0.0.1"} | self.server.headers | headers).items()]
        self.sock.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode())

    def read_answer(self, *expected: int) -> dict[str, str]:
        """The headers of an answer, whose body is read and thrown away. Raises RuntimeError for another status."""
        while b"\r\n\r\n" not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                raise RuntimeError("the server cut the connection")
            self.rest += data
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":  # only where there is no body to speak of
            while not self.rest.endswith(b"0\r\n\r\n"):
                self.rest += self.sock.recv(65536)
            self.rest = b""
        length = int(headers.get("content-length", "0"))
        taken = min(length, len(self.rest))
        body, self.rest = self.rest[:taken], self.rest[taken:]
        left = length - taken
        while left:
            got = self.sock.recv_into(self.buffer, min(left, BUFFER))
            if not got:
                raise RuntimeError("the server cut the connection")
            left -= got
        if int(first.split(" ")[1]) not in expected:
            raise RuntimeError(f"{first}: {body[:200]!r}")
        return headers

    def put(self, key: str, file: Path) -> None:
        with file.open("rb") as opened:
            headers = {"content-length": str(file.stat().st_size), "content-type": "application/octet-stream"}
            self.send_head(self.server.method, self.server.path(key), headers)
            self.sock.sendfile(opened)
        self.read_answer(*self.server.stored)

    def put_bytes(self, key: str, data: bytes) -> None:
        headers = {"content-length": str(len(data)), "content-type": "application/octet-stream"}
        self.send_head(self.server.method, self.server.path(key), headers)
        self.sock.sendall(data)
        self.read_answer(*self.server.stored)

    def put_resumably(self, key: str, file: Path) -> None:
        size = file.stat().st_size
        pairs = {"bucketName": BUCKET, "objectName": key, "contentType": "application/octet-stream"}
        metadata = ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in pairs.items())
        always = {"tus-resumable": "1.0.0"}
        headers = {**always, "upload-length": str(size), "upload-metadata": metadata, "content-length": "0"}
        self.send_head("POST", "/storage/v1/upload/resumable", headers)
        path = "/" + self.read_answer(201)["location"].split("/", 3)[3]
        with file.open("rb") as opened:
            for offset in range(0, size, CHUNK):
                length = min(CHUNK, size - offset)
                headers = {
                    **always,
                    "content-type": "application/offset+octet-stream",
                    "upload-offset": str(offset),
                    "content-length": str(length),
                }
                self.send_head("PATCH", path, headers)
                self.sock.sendfile(opened, offset, length)
                self.read_answer(204)

    def get(self, key: str) -> None:
        self.send_head("GET", self.server.path(key), {})
        self.read_answer(200)


@dataclass(frozen=True)
class Stack(Server):
    """The stack's gateway, with the secret key."""

    database: str
    pid: int


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """A stack of its own with an empty schema and the bucket BUCKET."""
    schema, data = folder / "empty.sql", folder / "data"
    schema.touch()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    up = ["up", "--schema", str(schema), "--storage-limit", str(6 << 30), "--no-web", "--detach", "--port", str(port)]
    _instashare(*up, data_dir=data)
    try:
        status = _instashare("status", data_dir=data)
        with psycopg.connect(status["admin_database_url"], autocommit=True) as connection:
            connection.execute("insert into storage.buckets (id, name) values (%s, %s)", [BUCKET, BUCKET])
        headers = {"apikey": status["secret_key"], "x-upsert": "true"}
        pid = status["services"]["gateway"]["pid"]
        yield Stack(port, "POST", _object, headers, (200,), status["admin_database_url"], pid)
    finally:
        _instashare("reset", "--yes", data_dir=data)


def _object(key: str) -> str:
    return f"/storage/v1/object/{BUCKET}/{key}"


def _instashare(*arguments: str, data_dir: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "jobs.cli", *arguments, "--data-dir", str(data_dir), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"instashare {arguments[0]}: {done.stdout}{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


# one large file


def _large(stack: Stack, peer: Server, peer_name: str, folder: Path, rounds: int) -> Iterator[Result]:
    size = 10**9
    file = folder / "large.bin"
    block = os.urandom(10**6)
    with file.open("wb") as opened:
        for _ in range(size // len(block)):
            opened.write(block)
        os.fsync(opened.fileno())
    _forget_peak(stack.pid)
    best: dict[str, float] = {}
    for _ in range(rounds):
        for who, server in (("ours", stack), ("peer", peer)):
            with server.connect() as connection:
                for what, act in (("up", connection.put), ("resumable", connection.put_resumably)):
                    if what == "resumable" and server is peer:
                        continue
                    _settle()
                    took = _timed(lambda act=act: act("large.bin", file))  # type: ignore[misc]
                    best[what + who] = min(best.get(what + who, math.inf), took)
                _settle()
                for _ in range(2):
                    took = _timed(lambda connection=connection: connection.get("large.bin"))  # type: ignore[misc]
                    best["down" + who] = min(best.get("down" + who, math.inf), took)
    peak = _peak_mb(stack.pid)
    speed = {name: size / 1e6 / seconds for name, seconds in best.items()}
    case, put = "1 GB", f"{peer_name}, plain PUT"
    yield Result.of(case, "download, MB/s", speed["downours"], speed["downpeer"], peer_name, "least", 0.5)
    yield Result.of(case, "upload, MB/s", speed["upours"], speed["uppeer"], put, "least", 0.5)
    yield Result.of(f"{case}, 6 MiB pieces", "upload, MB/s", speed["resumableours"], speed["uppeer"], put, "least", 0.2)
    if peak:
        allowed = "what is allowed, MB"
        yield Result.of(case, "peak memory of gateway and Storage, MB", peak, MEMORY_MB, allowed, "most", 1)
    file.unlink()


def _settle() -> None:
    """Let the disk come to rest, so that nobody pays for another's bytes."""
    os.sync()


def _forget_peak(pid: int) -> None:
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_mb(pid: int) -> float | None:
    """The process's peak of resident memory since `_forget_peak`; None where the system does not tell."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1000
    return None


# many small files


def _small(stack: Stack, peer: Server, peer_name: str, count: int, rounds: int) -> Iterator[Result]:
    data = os.urandom(1000)
    best: dict[str, float] = {}
    for turn in range(rounds):
        keys = [f"small-{turn}-{number}" for number in range(count)]
        for who, server in (("ours", stack), ("peer", peer)):
            _settle()
            took = _at_once(server, keys, lambda connection, key: connection.put_bytes(key, data))
            best["up" + who] = min(best.get("up" + who, math.inf), took)
            took = _at_once(server, keys, Connection.get)
            best["down" + who] = min(best.get("down" + who, math.inf), took)
        best["database"] = min(best.get("database", math.inf), _transactions(stack.database, count, turn))
    rate = {name: count / seconds for name, seconds in best.items()}
    case, alone = f"1 KB × {count:,}, {CLIENTS} at once", "the two transactions alone"
    yield Result.of(case, "uploads a second", rate["upours"], rate["database"], alone, "least", 0.33)
    yield Result.of(case, "uploads a second", rate["upours"], rate["uppeer"], f"{peer_name}, plain PUT", "least", 0.02)
    yield Result.of(case, "downloads a second", rate["downours"], rate["downpeer"], peer_name, "least", 0.02)


def _at_once(server: Server, keys: list[str], act: Callable[[Connection, str], None]) -> float:
    """Seconds until `act` is done for all keys, by a few connections at once."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for key in keys:
        waiting.put(key)
    faults: list[Exception] = []

    def work() -> None:
        try:
            with server.connect() as connection:
                while True:
                    act(connection, waiting.get_nowait())
        except queue.Empty:
            return
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]

    def all_of_it() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    took = _timed(all_of_it)
    if faults:
        raise faults[0]
    return took


# many people


def _crowd(stack: Stack) -> Iterator[Result]:
    """200 downloads and 50 uploads of 4 MB at once."""
    data = os.urandom(4_000_000)
    with stack.connect() as connection:
        connection.put_bytes("crowd", data)
    _forget_peak(stack.pid)
    acts: list[Callable[[Connection], None]] = [lambda connection: connection.get("crowd")] * 200
    acts += [lambda connection, n=n: connection.put_bytes(f"crowd-{n}", data) for n in range(50)]  # type: ignore[misc]
    faults: list[Exception] = []
    ready = threading.Barrier(len(acts))

    def work(act: Callable[[Connection], None]) -> None:
        try:
            with stack.connect() as connection:
                ready.wait()
                act(connection)
        except Exception as fault:
            faults.append(fault)
            ready.abort()

    threads = [threading.Thread(target=work, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    if peak := _peak_mb(stack.pid):
        case, allowed = "200 downloads and 50 uploads at once", "what is allowed, MB"
        yield Result.of(case, "peak memory of gateway and Storage, MB", peak, MEMORY_MB, allowed, "most", 1)


# the database alone

PROBE = """
    insert into storage.objects (bucket_id, name, version, metadata) values (%s, %s, '1', '{}')
    on conflict (name, bucket_id) do update set version = excluded.version returning *
"""
FINAL = """
    insert into storage.objects (bucket_id, name, version, metadata) values (%s, %s, gen_random_uuid()::text, '{}')
    on conflict (name, bucket_id) do update set version = excluded.version returning *
"""
_TRANSACTIONS_PROGRAM = """
import sys, threading, time, psycopg
dsn, count, turn, clients, bucket, probe, final = sys.argv[1:]
count, clients = int(count), int(clients)
role = "select set_config('role', 'service_role', true), set_config('storage.allow_delete_query', 'true', true)"
connections = [psycopg.connect(dsn, autocommit=True) for _ in range(clients)]
done = []

def work(place):
    connection = connections[place]
    for number in range(place, count, clients):
        key = f"alone-{turn}-{number}"
        with connection.transaction(force_rollback=True):
            connection.execute(role)
            connection.execute(probe, [bucket, key])
        with connection.transaction():
            connection.execute(role)
            connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
            connection.execute("select id from storage.objects where bucket_id = %s and name = %s for update",
                               [bucket, key])
            connection.execute(final, [bucket, key])
        done.append(key)

threads = [threading.Thread(target=work, args=(place,)) for place in range(clients)]
started = time.perf_counter()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
seconds = time.perf_counter() - started
if len(done) != count:
    sys.exit(f"only {len(done)} of {count} were stored")
print(seconds)
"""


def _transactions(database: str, count: int, turn: int) -> float:
    """Seconds that the two transactions of so many uploads take by psycopg, with nothing around them."""
    arguments = [database, str(count), str(turn), str(CLIENTS), BUCKET, PROBE, FINAL]
    done = subprocess.run(
        [sys.executable, "-c", _TRANSACTIONS_PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    main("storage", run)
