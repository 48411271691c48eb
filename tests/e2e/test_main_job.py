"""The main job through the official clients: sign up, add, upload, wait, download, unzip."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import uuid
import zipfile

import httpx
import pytest

from local.packages import node
from tests.e2e.conftest import ROOT, Account, Stack

MIB = 1024 * 1024
SIZES = {
    "empty": 0,
    "one byte": 1,
    "under a chunk": 6 * MIB - 1,
    "a chunk": 6 * MIB,
    "over a chunk": 6 * MIB + 1,
    "51 MB": 51_000_000,
}
NAMES = [
    "README.md",
    "año ñ 日本.pdf",
    "отчёт за год.docx",
    "تقرير.txt",
    "emoji 🎉 party.png",
    "no extension",
    "a&b=c;d'e.txt",
    "50% #1?.csv",
]


def some_bytes(size: int, seed: int = 1) -> bytes:
    """Half noise, half text, the same for the same seed."""
    noise = random.Random(seed).randbytes((size + 1) // 2)
    return (noise + b"The quick brown fox. " * (size // 21 + 1))[:size]


def unzip(data: bytes) -> tuple[str, bytes]:
    """Name and content of the one entry of a ZIP, its CRC checked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        (entry,) = archive.infolist()
        return entry.filename, archive.read(entry)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_every_size_comes_back_whole(person: Account, size: int) -> None:
    data = some_bytes(size)
    document = person.upload("file.bin", data)
    row = person.wait(document["id"])
    name, content = unzip(person.download(document["id"]))
    assert name == "file.bin"
    assert hashlib.sha256(content).digest() == hashlib.sha256(data).digest()
    assert row["size_bytes"] == size
    assert row["progress"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_name_comes_back_right(person: Account, name: str) -> None:
    document = person.upload(name, b"content of " + name.encode())
    person.wait(document["id"])
    answer = person.api("POST", f"/documents/{document['id']}/download-url").json()
    assert answer["filename"] == name + ".zip"
    response = httpx.get(answer["url"])
    disposition = response.headers["content-disposition"]
    assert httpx.URL("http://x/?n=" + disposition.rpartition("UTF-8''")[2]).params["n"] == name + ".zip"
    assert unzip(response.content) == (name, b"content of " + name.encode())


def test_supabase_js_does_the_main_job(stack: Stack) -> None:
    script = ROOT / "tests" / "e2e" / "main_job.mjs"
    target = {"url": stack.supabase_url, "key": stack.publishable_key, "backend": stack.backend_url}
    done = subprocess.run(
        [node(), script], input=json.dumps(target | {"email": f"{uuid.uuid4().hex}@example.test"}),
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["standard"] == {"name": "año 日本.txt", "same": True, "filename": "año 日本.txt.zip"}
    assert report["resumable"] == {"name": "big.bin", "same": True, "filename": "big.bin.zip"}
