"""Replays recorded exchanges of the real Storage service against ours and tells every difference.

The recordings say everything: the world, what must exist before a group, requests and expected answers. Requests are
sent as raw bytes, so a gateway that rewrites paths or gathers bodies shows. Resetting the world deletes every bucket,
object and policy of the target.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import hmac
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

import psycopg

from tests.conformance.marks import JWT, CannotReplay, Marks, b64url, generated

__all__ = ["Failure", "Replayer", "Target", "load"]

RECORDINGS = Path(__file__).parent / "recordings.json"
NEVER_COMPARED = ("date", "connection", "keep-alive", "transfer-encoding")
Entry = dict[str, Any]


def load() -> dict[str, Any]:
    """The recordings: world, shapes, fixtures, groups, and the entries in their order."""
    data: dict[str, Any] = json.loads(RECORDINGS.read_text())
    data["entries"].sort(key=lambda entry: entry["order"])
    return data


@dataclass(frozen=True)
class Target:
    """What is replayed against.

    url: ends in /storage/v1. service_url: the same service without anything before it, None when there is no such way.
    database: a superuser's DSN. door: what stands before the service, by name.
    """

    url: str
    service_url: str | None
    database: str
    jwt_secret: str
    door: str = "service"


class Failure(NamedTuple):
    """An entry that was answered otherwise than recorded."""

    entry: str
    name: str
    lines: list[str]

    def __str__(self) -> str:
        return f"{self.entry} {self.name}: {'; '.join(self.lines)}"


class Answer(NamedTuple):
    """An answer; status None: none came."""

    status: int | None = None
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        with contextlib.suppress(ValueError):
            return json.loads(self.body)
        return None


class Replayer:
    """Replays groups of entries against one target."""

    def __init__(self, data: dict[str, Any], target: Target) -> None:
        self.data, self.world, self.shapes, self.target = data, data["world"], data["shapes"], target
        self.url = urlsplit(target.url)
        self.service_url = urlsplit(target.service_url or "")
        self.background: list[threading.Thread] = []
        self.stalled: list[http.client.HTTPConnection] = []
        constants = {
            "boundary": "----ReplayBoundary",
            "origin": f"{self.url.scheme}://{self.url.netloc}",
            "service-host": self.service_url.netloc,
            **self.world["users"],
            **self.shapes["text"],
        }
        self.marks = Marks(constants, self.shapes["values"])
        for name, recipe in self.world["tokens"].items():
            self.marks.tokens[f"{name}-jwt"] = self.minted(**recipe)
        self.database = psycopg.connect(target.database, autocommit=True)
        self.run_sql(*self.world["prepare"], *self.world["row_log"])

    def close(self) -> None:
        """Leave the world empty and the database alone."""
        self.reset()
        self.run_sql("drop trigger if exists wire_row_log on storage.objects")
        self.database.close()

    def minted(self, claims: dict[str, Any], expires_in: int, secret: str | None = None, alg: str = "HS256") -> str:
        now = int(time.time())
        times = {"iat": now - 10 + min(0, expires_in), "exp": now + expires_in}
        parts = json.dumps({"alg": alg, "typ": "JWT"}), self.marks.fill(json.dumps(claims | times))
        signed = ".".join(b64url(part.encode()) for part in parts)
        signature = hmac.digest((secret or self.target.jwt_secret).encode(), signed.encode(), "sha256")
        return f"{signed}.{b64url(signature) if alg != 'none' else ''}"

    # ---- world and steps

    def run_sql(self, *statements: str) -> None:
        for statement in statements:
            try:
                with self.database.transaction():
                    self.database.execute(statement.encode())
            except psycopg.Error as problem:
                raise CannotReplay(f"SQL failed: {problem}") from problem

    def reset(self) -> None:
        self.run_sql(*self.world["reset"])

    def run_steps(self, steps: list[Entry]) -> None:
        for step in steps:
            match step["do"]:
                case "reset":
                    self.reset()
                case "fixture":
                    self.run_steps(self.data["fixtures"][step["name"]])
                case "wait":
                    time.sleep(step["s"])  # recorded: a token expires, a cut connection is noticed
                case "sql":
                    self.run_sql(self.marks.fill(step["text"]))
                case "upload":
                    headers = {"content-type": step["type"], **step.get("headers", {})}
                    path = "/object/" + quote(self.marks.fill(step["key"]))
                    self.run_request(step | {"method": "POST", "path": path, "headers": headers})
                case "request":
                    self.run_request(step)

    def run_request(self, step: Entry) -> None:
        if step.get("background"):
            self.background.append(threading.Thread(target=self.send, args=(step,)))
            self.background[-1].start()
            time.sleep(0.7)  # recorded so: the one before reaches the service first
            return
        answer = self.send(step)
        if answer.status not in ([step["status"]] if "status" in step else range(200, 300)):
            raise CannotReplay(f"step {step['method']} {step['path']} answered {answer.status} {answer.text()[:200]}")
        self.capture(step, answer)

    def capture(self, source: Entry, answer: Answer) -> None:
        """Keep the values of an answer that later requests refer to."""
        for name, where in source.get("capture", {}).items():
            kind, _, key = where.partition(" ")
            match kind:
                case "location":
                    value = urlsplit(answer.headers.get("location", "")).path.removeprefix(self.url.path)
                case "token":
                    value = (re.findall("ey" + JWT, answer.text()) or [""])[0]
                case _:  # "header NAME" or "json KEY"
                    values = answer.headers if kind == "header" else answer.json()
                    value = values.get(key) if isinstance(values, Mapping) else None
            self.marks.captured[name] = value or None

    # ---- requests

    def send(self, request: Entry) -> Answer:
        """Send one request exactly as described."""
        base = self.service_url if request.get("via") == "service" else self.url
        headers = {name.lower(): self.marks.fill(text) for name, text in request.get("headers", {}).items()}
        if request.get("as", "none") != "none":
            headers.setdefault("authorization", "Bearer " + self.marks.value(f"{request['as']}-jwt"))
        body = self.marks.body(request.get("body"), headers.get("content-type", ""))
        if "transfer" in request:
            headers["transfer-encoding"] = "chunked"
        elif body is not None or request["method"] in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(request.get("declared_length", len(body or b"")))
        return self.exchange(base, request, headers, body or b"")

    def exchange(self, base: SplitResult, request: Entry, headers: dict[str, str], body: bytes) -> Answer:
        assert base.hostname
        with contextlib.closing(http.client.HTTPConnection(base.hostname, base.port, timeout=60)) as connection:
            if request.get("background"):
                self.stalled.append(connection)
            try:
                path = base.path + self.marks.fill(request["path"])
                connection.putrequest(request["method"], path, skip_accept_encoding=True)
                for name, text in headers.items():
                    connection.putheader(name, text.encode())
                connection.endheaders()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may answer before reading it all
                    self.send_body(connection, body, request)
                if request.get("then") == "cut":
                    time.sleep(0.5)  # recorded so: the bytes arrive, then the connection goes
                    return Answer()
                response, received = connection.getresponse(), collections.defaultdict(list)
                for name, text in response.getheaders():
                    received[name.lower()].append(text)
                joined = {name: " , ".join(texts) for name, texts in received.items()}
                return Answer(response.status, joined, response.read())
            except (OSError, http.client.HTTPException) as problem:
                return Answer(body=repr(problem).encode())

    @staticmethod
    def send_body(connection: http.client.HTTPConnection, body: bytes, request: Entry) -> None:
        size, chunked = request.get("piece", 65536), "transfer" in request
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            time.sleep(request.get("pause", 0))
        connection.send(b"0\r\n\r\n" if chunked else b"")

    # ---- comparing

    def header_shape(self, recorded: Any) -> dict[str, str]:
        headers = dict(self.shapes["headers"][recorded] if isinstance(recorded, str) else recorded)
        return (self.header_shape(headers.pop("+")) if "+" in headers else {}) | headers

    def header_differences(self, recorded: Entry, answer: Answer) -> list[str]:
        shape = self.header_shape(recorded["headers"])
        ignored = {*NEVER_COMPARED}
        if "transfer-encoding" in shape or answer.headers.get("content-type", "").startswith("application/json"):
            ignored |= {"content-length"} - set(shape)
        expected = {name: text for name, text in shape.items() if name not in ignored}
        compared = expected if "partial" in recorded else answer.headers
        actual = {name: answer.headers[name] for name in compared if name in answer.headers and name not in ignored}
        return self.marks.differences(expected, actual, "header")

    def body_differences(self, recorded: Entry, answer: Answer) -> list[str]:
        expected, actual = self.marks.expand(recorded["body"]), answer.json()
        if isinstance(expected, dict) and ("gen" in expected or "sha256" in expected):
            wanted = expected.get("sha256") or hashlib.sha256(generated(expected["gen"])).hexdigest()
            return [] if hashlib.sha256(answer.body).hexdigest() == wanted else ["body: other bytes"]
        if isinstance(expected, str) or actual is None:
            return self.marks.differences(expected, answer.text(), "body")
        if "any_order" in recorded and isinstance(actual, list):

            def by_id(item: Any) -> str:
                return str(item.get("id"))

            expected, actual = sorted(map(self.marks.expand, expected), key=by_id), sorted(actual, key=by_id)
        return self.marks.differences(expected, actual, "body")

    def answer_differences(self, recorded: Entry, answer: Answer) -> list[str]:
        lines = self.marks.differences(recorded["status"], answer.status, "status")
        lines += self.header_differences(recorded, answer) if "headers" in recorded else []
        lines += self.body_differences(recorded, answer) if "body" in recorded else []
        etag = answer.headers.get("etag") if answer.status == 200 and "accept-ranges" in answer.headers else None
        if etag and answer.body and etag != f'"{hashlib.md5(answer.body, usedforsecurity=False).hexdigest()}"':
            lines.append(f"header.etag: {etag} is not the md5 of the body")
        return lines

    def row_differences(self, entry: Entry) -> list[str]:
        """Compare the object's row after the request."""
        found = self.database.execute(
            "select row_to_json(o) from storage.objects as o where bucket_id = %s and name = %s",
            self.marks.fill(entry["row"]).split("/", 1),
        ).fetchone()
        row, expected = found[0] if found else None, entry["db_row_after"]
        if expected and row:
            expected = {"owner": expected["owner_id"], "version": "{uuid}", "user_metadata": {}} | expected
            row["new"] = row["updated_at"] == row["created_at"]
            row = {key: row.get(key) for key in expected}
        return self.marks.differences(expected, row, "db_row_after")

    def row_log_differences(self, transactions: list[Entry]) -> list[str]:
        """Compare what an AFTER ROW trigger saw in the transactions that were committed."""
        committed = [transaction for transaction in transactions if transaction["end"] == "COMMIT"]
        steps = [step for transaction in committed for step in transaction["steps"]]
        expected = [step["row"] for step in steps if isinstance(step, dict) and "row" in step]
        seen = [row[0] for row in self.database.execute("select entry from wire.row_log order by seq")]
        pairs = zip(expected, seen, strict=False)
        known_keys = [{key: row.get(key) for key in wanted} for wanted, row in pairs]
        return self.marks.differences(expected, known_keys + seen[len(expected) :], "db_transactions")

    # ---- entries

    def replay(self, entry: Entry) -> list[str]:
        """Carry out one entry and return its differences; none means that it passed."""
        try:
            self.run_steps(entry.get("before", []))
            self.run_sql("delete from wire.row_log")
            lines = self.perform(entry, entry["request"], entry["response"])
            lines += self.row_differences(entry) if "db_row_after" in entry else []
            return lines + (self.row_log_differences(entry["db_transactions"]) if "db_transactions" in entry else [])
        except CannotReplay as problem:
            return [str(problem)]

    def perform(self, entry: Entry, request: Entry, recorded: Entry) -> list[str]:
        if request["method"] == "MATRIX":
            return self.matrix_differences(request, recorded["table"])
        if request["method"] == "SQL":
            return self.marks.differences(recorded["result"], self.statement_result(request), "result")
        answer = self.send(request)
        self.capture(entry, answer)
        lines = self.answer_differences(recorded, answer)
        return [] if lines and "or" in recorded and not self.answer_differences(recorded["or"], answer) else lines

    def statement_result(self, request: Entry) -> str | None:
        """What a statement answers in a client's role; always rolled back."""
        claims = json.dumps({"sub": self.world["users"]["user1"], "role": request["as"]})
        settings = {"role": request["as"], "request.jwt.claims": claims, **request.get("settings", {})}
        try:
            with self.database.transaction(force_rollback=True):
                for setting in settings.items():
                    self.database.execute("select set_config(%s, %s, true)", setting)
                return self.database.execute(self.marks.fill(request["statement"]).encode()).statusmessage
        except psycopg.Error as problem:
            return f"{problem.sqlstate} {problem.diag.message_primary} | hint: {problem.diag.message_hint}"

    def matrix_differences(self, request: Entry, table: Entry) -> list[str]:
        """Make all calls under every set of policies; the table says which outcome each set leads to."""
        lines = []
        for policies in request["sets"]:
            self.run_steps(request["fresh"] + [request["policies"][letter] for letter in policies.removeprefix("none")])
            for name, call in request["calls"].items():
                outcome = next(text for text, sets in table[name].items() if policies in sets.split())
                answer = self.send(call | {"as": request["as"]})
                found = self.answer_differences(self.shapes["outcomes"][outcome], answer)
                lines += [f"{name} with {policies}: {line}" for line in found]
        return lines

    def failures(self, group: str) -> Iterator[Failure]:
        """Replay a group, which stands alone, and yield what differs; entries that this target has no way for pass."""
        self.marks.captured.clear()
        self.reset()
        self.run_steps(self.data["groups"][group].get("setup", []))
        for entry in self.data["entries"]:
            service_lacks = "service" in entry.get("needs", []) and not self.target.service_url
            if entry["group"] == group and not entry.get("replay_why") and not service_lacks:
                lines = self.replay(entry)
                if lines:
                    yield Failure(entry["id"], entry["name"], lines)
        for connection in self.stalled:  # nobody compares their answers, which a proxy keeps until the body has ended
            with contextlib.suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self.background:
            thread.join()
        self.background.clear()
        self.stalled.clear()
