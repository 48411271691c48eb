"""Forms: fields before the file count, fields after it only when it is small."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from local.storage.errors import StorageError
from local.storage.files import FileStore
from local.storage.forms import Form
from local.storage.request import Request

KIND = "multipart/form-data; boundary=b"


def part(name: str, body: bytes, *more: str) -> bytes:
    head = "; ".join(["content-disposition: form-data", f'name="{name}"', *more[:1]])
    return "\r\n".join(["--b", head, *more[1:], "", ""]).encode() + body + b"\r\n"


def file(body: bytes, kind: str = "application/zip") -> bytes:
    return part("", body, 'filename="x"', f"content-type: {kind}")


def read(folder: Path, body: bytes, limit: int = 10**9, step: int = 10_000) -> tuple[Form, bytes]:
    pieces = [body[start : start + step] for start in range(0, len(body), step)]

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0) if pieces else b"", "more_body": bool(pieces)}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    async def run() -> tuple[Form, bytes]:
        store = FileStore(folder)
        store.open()
        try:
            request = Request({"method": "POST", "path": "/", "headers": []}, receive, send)
            form, incoming = Form(request, KIND), store.incoming()
            await form.open()
            await form.store(incoming, limit)
            await incoming.publish()
            return form, store.path(incoming.version).read_bytes()
        finally:
            store.close()

    return asyncio.run(run())


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_file_and_fields(tmp_path: Path, step: int) -> None:
    body = part("cacheControl", b"60") + part("metadata", b'{"a": 1}') + file(b"\r\n--hello--\r\n") + b"--b--\r\n"
    form, stored = read(tmp_path, body, step=step)
    assert stored == b"\r\n--hello--\r\n"
    assert (form.mime_type, form.cache_control, form.user_metadata) == ("application/zip", "max-age=60", {"a": 1})


@pytest.mark.parametrize(("size", "cache_control"), [(1000, "max-age=60"), (400_000, "no-cache")])
def test_fields_after_the_file(tmp_path: Path, size: int, cache_control: str) -> None:
    form, stored = read(tmp_path, file(b"x" * size) + part("cacheControl", b"60") + b"--b--\r\n")
    assert len(stored) == size
    assert form.cache_control == cache_control


def test_the_first_of_two_files_counts(tmp_path: Path) -> None:
    _, stored = read(tmp_path, file(b"first") + file(b"second") + b"--b--\r\n")
    assert stored == b"first"


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_file_above_the_limit_is_refused_at_its_end(tmp_path: Path, size: int) -> None:
    assert read(tmp_path, file(b"x" * size) + b"--b--\r\n", limit=size)
    with pytest.raises(StorageError, match="maximum allowed size"):
        read(tmp_path, file(b"x" * size) + b"--b--\r\n", limit=size - 1)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (part("cacheControl", b"60") + b"--b--\r\n", "No content provided"),
        (file(b"hello"), "Request stream closed"),
        (file(b"x" * 200_000), "Request stream closed"),
        (b"".join(part(f"f{n}", b"1") for n in range(11)) + file(b"") + b"--b--\r\n", "Request stream closed"),
        (b"garbage", "Request stream closed"),
    ],
)
def test_broken_forms(tmp_path: Path, body: bytes, message: str) -> None:
    with pytest.raises(StorageError, match=message):
        read(tmp_path, body)


def test_a_form_without_boundary(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Boundary not found"):
        Form(Request({"method": "POST", "path": "/", "headers": []}, None, None), "multipart/form-data")  # type: ignore[arg-type]
