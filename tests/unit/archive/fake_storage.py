"""A small Storage service on loopback that keeps objects in memory and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from base64 import b64decode, urlsafe_b64encode
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

SECRET = "sb_secret_test"
PREFIX = "/storage/v1"


@dataclass
class Upload:
    bucket: str
    key: str
    length: int | None
    content_type: str
    data: bytearray = field(default_factory=bytearray)
    declared: int = 0


class Cut(Exception):
    """Close the connection without a word."""


@dataclass
class Fault:
    """What shall go wrong with the next request of a method.

    status/body: answer this instead. after: let so many bytes of the body through; then hang (until the test ends) or
    close. lost: do the work, then close without an answer. announce: lie about Content-Length. do: run first. close:
    say Connection: close. whole: ignore Range. chunked: send no Content-Length. etag: another ETag than the content's.
    """

    status: int = 0
    body: Any = ""
    after: int | None = None
    hang: bool = False
    lost: bool = False
    announce: int | None = None
    do: Callable[[], None] | None = None
    close: bool = False
    whole: bool = False
    chunked: bool = False
    etag: str | None = None


class FakeStorage:
    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.scheme = "https" if tls else "http"
        self.objects: dict[tuple[str, str], bytes] = {}
        self.types: dict[tuple[str, str], str] = {}
        self.uploads: dict[str, Upload] = {}
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.limit = 10**12
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.hanging = threading.Event()
        self.sent = 0

        class Handler(_Handler):
            storage = self

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def requests(self, method: str) -> list[tuple[str, dict[str, str]]]:
        return [(path, headers) for seen, path, headers in self.seen if seen == method]


class _Handler(BaseHTTPRequestHandler):
    storage: FakeStorage
    protocol_version = "HTTP/1.1"
    fault: Fault | None

    def log_message(self, *_: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (Cut, OSError):
            self.close_connection = True

    def do(self) -> None:
        storage = self.storage
        headers = {name.lower(): text for name, text in self.headers.items()}
        storage.seen.append((self.command, self.path, headers))
        faults = storage.faults[self.command]
        self.fault = faults.popleft() if faults else None
        if self.fault and self.fault.do:
            self.fault.do()
        assert headers["authorization"] == f"Bearer {SECRET}" and headers["apikey"] == SECRET
        assert self.path.startswith(PREFIX + "/")
        self.path = self.path.removeprefix(PREFIX)
        if self.fault and self.fault.status:
            self.rfile.read(int(headers.get("content-length", "0")))
            return self.answer(self.fault.status, self.fault.body)
        return getattr(self, "on_" + self.command.lower())(headers)

    do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = do

    def answer(self, status: int, body: Any = "", **headers: str) -> None:
        if self.fault and self.fault.lost:
            raise Cut
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        if self.fault and self.fault.close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, meant: int, error: str, message: str, code: str) -> None:
        self.answer(400, {"statusCode": str(meant), "error": error, "message": message, "code": code})

    def hang(self) -> None:
        self.storage.hanging.set()
        self.storage.over.wait()
        raise Cut

    def on_get(self, headers: dict[str, str]) -> None:
        if self.path.startswith("/object/info/authenticated/"):
            bucket, _, key = unquote(self.path.removeprefix("/object/info/authenticated/")).partition("/")
            if (bucket, key) not in self.storage.objects:
                return self.refuse(404, "not_found", "Object not found", "NoSuchKey")
            data = self.storage.objects[bucket, key]
            return self.answer(200, {"size": len(data), "version": "v1", "etag": '"x"', "content_type": "a/b"})
        bucket, _, key = unquote(self.path.removeprefix("/object/authenticated/")).partition("/")
        if (bucket, key) not in self.storage.objects:
            return self.refuse(404, "not_found", "Object not found", "NoSuchKey")
        return self.give(self.storage.objects[bucket, key], headers)

    def give(self, data: bytes, headers: dict[str, str]) -> None:
        fault = self.fault or Fault()
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"' if fault.etag is None else fault.etag
        total, status, span = len(data), 200, headers.get("range", "")
        if span and not fault.whole:
            first, _, last = span.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(total - int(last), 0)
            if start >= total:
                return self.refuse(416, "invalid_range", "invalid range provided", "InvalidRange")
            data, status = data[start : int(last) + 1 if first and last else total], 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {total - len(data)}-{total - 1}/{total}")
        if etag:
            self.send_header("ETag", etag)
        if fault.close:
            self.send_header("Connection", "close")
            self.close_connection = True
        if fault.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(data), 70_001):
                piece = data[at : at + 70_001]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return None
        self.send_header("Content-Length", str(len(data) if fault.announce is None else fault.announce))
        self.end_headers()
        self.wfile.write(data if fault.after is None else data[: fault.after])
        self.storage.sent += len(data) if fault.after is None else min(fault.after, len(data))
        if fault.hang:
            self.hang()
        if fault.after is not None or fault.announce is not None:
            raise Cut
        return None

    def take(self, length: int) -> bytes:
        fault = self.fault or Fault()
        if fault.after is None:
            data = self.rfile.read(length)
            if fault.hang:
                self.hang()
            return data
        data = self.rfile.read(min(fault.after, length))
        if fault.hang:
            self.hang()
        return data

    def on_post(self, headers: dict[str, str]) -> None:
        if self.path == "/upload/resumable":
            return self.create(headers)
        bucket, _, key = unquote(self.path.removeprefix("/object/")).partition("/")
        data = self.take(int(headers["content-length"]))
        if len(data) < int(headers["content-length"]):
            raise Cut
        if len(data) > self.storage.limit:
            return self.refuse(
                413, "Payload too large", "The object exceeded the maximum allowed size", "EntityTooLarge"
            )
        if (bucket, key) in self.storage.objects:
            return self.refuse(409, "Duplicate", "The resource already exists", "KeyAlreadyExists")
        self.storage.objects[bucket, key] = data
        self.storage.types[bucket, key] = headers["content-type"]
        return self.answer(200, {"Key": f"{bucket}/{key}", "Id": "1"})

    def create(self, headers: dict[str, str]) -> None:
        assert headers["tus-resumable"] == "1.0.0"
        pairs = dict(pair.split(" ") for pair in headers["upload-metadata"].split(","))
        named = {name: b64decode(text).decode() for name, text in pairs.items()}
        deferred = headers.get("upload-defer-length")
        length = None if deferred else int(headers["upload-length"])
        if length is not None and length > self.storage.limit:
            return self.answer(413, "Maximum size exceeded\n")
        upload = Upload(named["bucketName"], named["objectName"], length, named["contentType"])
        if (upload.bucket, upload.key) in self.storage.objects:
            return self.answer(409, "The resource already exists")
        name = urlsafe_b64encode(f"{upload.bucket}/{upload.key}/{len(self.storage.uploads)}".encode()).decode()
        self.storage.uploads[name] = upload
        return self.answer(201, Location=f"https://elsewhere.example/storage/v1/upload/resumable/{name}")

    def upload(self) -> Upload | None:
        upload = self.storage.uploads.get(self.path.rpartition("/")[2])
        if upload is None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.answer(404, "The file for this url was not found\n")
        return upload

    def on_head(self, headers: dict[str, str]) -> None:
        if upload := self.upload():
            known = {"Upload_Defer_Length": "1"} if upload.length is None else {"Upload_Length": str(upload.length)}
            self.answer(200, Upload_Offset=str(len(upload.data)), **known)

    def on_patch(self, headers: dict[str, str]) -> None:
        upload = self.upload()
        if upload is None:
            return None
        length = int(headers["content-length"])
        if headers["content-type"] != "application/offset+octet-stream" or int(headers["upload-offset"]) != len(
            upload.data
        ):
            self.rfile.read(length)
            return self.answer(409, "Upload-Offset conflict\n")
        if (upload.bucket, upload.key) in self.storage.objects:
            self.rfile.read(length)
            return self.answer(409, "The resource already exists")
        if "upload-length" in headers:
            if upload.length is not None:
                self.rfile.read(length)
                return self.answer(400, "Upload-Length or Upload-Defer-Length header required\n")
            upload.length = int(headers["upload-length"])
        data = self.take(length)
        if len(upload.data) + len(data) > self.storage.limit:
            return self.answer(413, "upload's size exceeded\n")
        upload.data += data
        if len(data) < length:
            raise Cut
        if len(upload.data) == upload.length:
            self.storage.objects[upload.bucket, upload.key] = bytes(upload.data)
            self.storage.types[upload.bucket, upload.key] = upload.content_type
        return self.answer(204, Upload_Offset=str(len(upload.data)))

    def on_delete(self, headers: dict[str, str]) -> None:
        if self.path.startswith("/upload/"):
            del self.storage.uploads[self.path.rpartition("/")[2]]
            return self.answer(204)
        bucket = self.path.removeprefix("/object/")
        keys = json.loads(self.rfile.read(int(headers["content-length"])))["prefixes"]
        assert len(keys) <= 1000
        gone = [key for key in keys if self.storage.objects.pop((bucket, key), None) is not None]
        return self.answer(200, [{"name": key} for key in gone])
