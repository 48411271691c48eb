"""The slim API against the calls that it makes: what the one more hop adds to a rename and to a download URL.

A stack of its own, with two APIs beside its own one: one process, and as many as this machine has processors. Direct
calls and the API are asked in turn by the same clients, each with a document of its own. Archives are refreshed after
every rename, so the queue is paused meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg

from bench.result import Result, main, report

ROOT = Path(__file__).parents[1]
CLIENTS = 16
WORKERS = max(2, os.cpu_count() or 2)
GOAL = 1.5
SCALING = 1.1  # clients, gateway, REST and Postgres share the processors with the workers, so twice is out of reach
COLUMNS = (
    "id,owner_id,name,name_revision,size_bytes,mime_type,status,progress,error,"
    "archive_size_bytes,created_at,updated_at,deleted_at"
)  # as the API asks for


def run(quick: bool) -> dict[str, Any]:
    """Measure all goals; `quick`: two rounds, else eight."""
    rounds = 2 if quick else 8
    with (
        tempfile.TemporaryDirectory(prefix="bench-api-") as name,
        _stack(Path(name)) as stack,
        _api(stack, 1) as one,
        _api(stack, WORKERS) as several,
    ):
        results = [*_latencies(stack, one, rounds), *_throughput(stack, one, several, rounds)]
    return report("api", results)


# what is compared


@dataclass(frozen=True)
class Document:
    """One client's document."""

    id: str
    archive_path: str


@dataclass(frozen=True)
class Stack:
    """A running stack, a person's token, and a ready document for each client."""

    port: int
    key: str
    token: str
    documents: list[Document]

    def headers(self) -> dict[str, str]:
        return {"apikey": self.key, "authorization": f"Bearer {self.token}", "content-type": "application/json"}


@dataclass(frozen=True)
class Api:
    """A process or some that serve the API, and their memory in MB by `resident`."""

    port: int
    resident: Callable[[], float]


Act = Callable[["Client", Document, int], None]


class Client:
    """Kept connections of one client to whatever ports it asks."""

    def __init__(self, stack: Stack) -> None:
        self.headers = stack.headers()
        self.lines: dict[int, Line] = {}

    def ask(self, port: int, method: str, path: str, body: object, **more: str) -> Any:
        """One request; the JSON of its answer. Raises RuntimeError unless it succeeds."""
        line = self.lines.get(port)
        if line is None:
            line = self.lines[port] = Line(port)
        return line.ask(method, path, self.headers | more, json.dumps(body).encode())

    def close(self) -> None:
        for line in self.lines.values():
            line.sock.close()


class Line:
    """A kept connection, spoken by hand: a library would take more of the processor than the API does."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        head = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
        head += [f"{name}: {text}" for name, text in headers.items()]
        self.sock.sendall("\r\n".join([*head, "", ""]).encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.receive()
        first, _, content = answer.partition(b"\r\n\r\n")
        lines = first.decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        if fields.get("transfer-encoding") == "chunked":
            while not content.endswith(b"0\r\n\r\n"):
                content += self.receive()
            content = unchunked(content)
        else:
            while len(content) < int(fields["content-length"]):
                content += self.receive()
        if lines[0].split(" ")[1] != "200":
            raise RuntimeError(f"{method} {path}: {lines[0]} {content[:300]!r}")
        return json.loads(content)

    def receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise RuntimeError("the server cut the connection")
        return data


def unchunked(content: bytes) -> bytes:
    """A body without the lengths of its chunks."""
    parts = []
    while True:
        size, _, rest = content.partition(b"\r\n")
        if (length := int(size, 16)) == 0:
            return b"".join(parts)
        parts.append(rest[:length])
        content = rest[length + 2 :]


def _renames(stack: Stack, api: Api) -> tuple[Act, Act]:
    """A rename by the API, and by REST alone."""

    def ours(client: Client, document: Document, number: int) -> None:
        client.ask(api.port, "PATCH", f"/documents/{document.id}", {"name": f"Report {number}.txt"})

    def direct(client: Client, document: Document, number: int) -> None:
        path = f"/rest/v1/documents?id=eq.{document.id}&select={COLUMNS}"
        body = {"name": f"Report {number}.txt"}
        if not client.ask(stack.port, "PATCH", path, body, prefer="return=representation"):
            raise RuntimeError("the document was not renamed")

    return ours, direct


def _downloads(stack: Stack, api: Api) -> tuple[Act, Act]:
    """A download URL by the API, and by the function and Storage's signing alone."""

    def ours(client: Client, document: Document, number: int) -> None:
        client.ask(api.port, "POST", f"/documents/{document.id}/download-url", {})

    def direct(client: Client, document: Document, number: int) -> None:
        found = client.ask(stack.port, "POST", "/rest/v1/rpc/request_download", {"document_id": document.id})
        path = f"/storage/v1/object/sign/archives/{found['archive_path']}"
        client.ask(stack.port, "POST", path, {"expiresIn": 60})

    return ours, direct


# measuring


def _latencies(stack: Stack, one: Api, rounds: int) -> Iterator[Result]:
    for case, pair, peer in (
        ("rename", _renames(stack, one), "REST alone"),
        ("download URL", _downloads(stack, one), "function and signing alone"),
    ):
        for clients, requests in ((1, 60), (CLIENTS, 15)):
            times: tuple[list[float], list[float]] = [], []
            for turn in range(rounds + 1):  # the first warms up
                for act, kept in zip(pair, times, strict=True):
                    found, _ = _busy(stack, act, clients, requests)
                    if turn:
                        kept += found
            ours, direct = (statistics.median(kept) * 1000 for kept in times)
            many = f"{clients} client{'s' if clients > 1 else ''}"
            yield Result.of(f"{case}, {many}", "milliseconds, median", ours, direct, peer, "most", GOAL)
    yield Result.of("one process", "memory, MB", one.resident(), 150, "what is allowed, MB", "most", 1)


def _throughput(stack: Stack, one: Api, several: Api, rounds: int) -> Iterator[Result]:
    for case, acts in (
        ("rename", (_renames(stack, several)[0], _renames(stack, one)[0])),
        ("download URL", (_downloads(stack, several)[0], _downloads(stack, one)[0])),
    ):
        best = [0.0, 0.0]
        for _ in range(rounds + 1):
            for place, act in enumerate(acts):
                found, seconds = _busy(stack, act, CLIENTS, 15)
                best[place] = max(best[place], len(found) / seconds)
        what = f"{case}, {CLIENTS} clients, {WORKERS} processes"
        yield Result.of(what, "requests a second", best[0], best[1], "one process", "least", SCALING)
    yield Result.of(f"{WORKERS} processes", "memory, MB", several.resident(), 150 * (WORKERS + 1), "allowed", "most", 1)


def _busy(stack: Stack, act: Act, clients: int, requests: int) -> tuple[list[float], float]:
    """Seconds of each request of so many clients at once, and of all of it."""
    times: list[float] = []
    faults: list[Exception] = []
    ready = threading.Barrier(clients + 1)

    def work(document: Document) -> None:
        client, own = Client(stack), []
        try:
            for number in range(requests + 1):
                if number == 1:  # the first has made the connections
                    ready.wait(60)
                started = time.perf_counter()
                act(client, document, time.perf_counter_ns())
                if number:
                    own.append(time.perf_counter() - started)
            times.extend(own)
        except Exception as fault:
            faults.append(fault)
            ready.abort()
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(document,)) for document in stack.documents[:clients]]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        ready.wait(60)
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return times, time.perf_counter() - started


# the servers


@contextmanager
def _stack(folder: Path) -> Iterator[Stack]:
    data = folder / "data"
    _instashare("up", "--no-web", "--detach", "--port", str(_free_port()), data_dir=data)
    try:
        status = _instashare("status", data_dir=data)
        port = int(status["supabase_url"].rsplit(":", 1)[1])
        stack = Stack(port, status["publishable_key"], _sign_up(port, status["publishable_key"]), [])
        with psycopg.connect(status["admin_database_url"], autocommit=True) as database:
            stack.documents.extend(_documents(stack, database))
            database.execute("select jobs.pause()")
        yield stack
    finally:
        _instashare("reset", "--yes", data_dir=data)


@contextmanager
def _api(stack: Stack, workers: int) -> Iterator[Api]:
    port = _free_port()
    settings = {
        "SUPABASE_URL": f"http://127.0.0.1:{stack.port}",
        "SUPABASE_PUBLISHABLE_KEY": stack.key,
        "BACKEND_HOST": "127.0.0.1",
        "BACKEND_PORT": str(port),
        "BACKEND_WORKERS": str(workers),
    }
    command = [sys.executable, "-m", "backend"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stdout=quiet, stderr=quiet) as process:
        try:
            _wait(lambda: _is_up(port), "the API did not start")
            yield Api(port, lambda: _resident_mb(process.pid))
        finally:
            process.terminate()


def _is_up(port: int) -> bool:
    with contextlib.suppress(OSError):
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    return False


def _resident_mb(parent: int) -> float:
    """The memory of a process and of those it started."""
    import psutil

    process = psutil.Process(parent)
    return float(sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 1e6)


def _sign_up(port: int, key: str) -> str:
    body = json.dumps({"email": f"{uuid.uuid4().hex}@example.test", "password": uuid.uuid4().hex})
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/auth/v1/signup", body, {"apikey": key, "content-type": "application/json"})
    token: str = json.loads(connection.getresponse().read())["access_token"]
    return token


def _documents(stack: Stack, database: psycopg.Connection[Any]) -> list[Document]:
    connection, data = HTTPConnection("127.0.0.1", stack.port, timeout=30), b"A short report.\n" * 60

    def post(path: str, body: bytes, **more: str) -> Any:
        connection.request("POST", path, body, stack.headers() | more)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path}: {answer.status} {content!r}")
        return json.loads(content)

    ids = []
    for number in range(CLIENTS):
        row = {"name": f"Report {number}.txt", "size_bytes": len(data), "mime_type": "text/plain"}
        (made,) = post("/rest/v1/documents", json.dumps(row).encode(), prefer="return=representation")
        post(f"/storage/v1/object/documents/{made['owner_id']}/{made['id']}", data)
        ids.append(made["id"])
    query = "select id::text, archive_path from public.documents where id = any (%s::uuid[]) and status = 'ready'"
    _wait(lambda: database.execute(query, [ids]).rowcount == CLIENTS, "the documents did not get ready")
    return [Document(*row) for row in database.execute(query, [ids])]


def _wait(done: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _instashare(*arguments: str, data_dir: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "jobs.cli", *arguments, "--data-dir", str(data_dir), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"instashare {arguments[0]}: {done.stdout}{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    main("api", run)
