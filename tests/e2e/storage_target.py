"""A bucket where each person has a folder, and unmodified clients on it: supabase-js, tus-js-client, aiotus."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiotus
import httpx
import jwt
import psycopg

from local.packages import node

__all__ = ["CHUNK", "Buckets", "Storage", "buckets_of", "random_file"]

HERE = Path(__file__).parent
CHUNK = 6 << 20


@dataclass(frozen=True)
class Storage:
    """Where a stack's Storage is, and how to get in."""

    url: str
    key: str
    secret_key: str
    jwt_secret: str
    database: str

    def user_token(self, user: str, seconds: int = 3600) -> str:
        """A person's token, signed by the secret that Storage accepts beside the stack's own tokens."""
        now = int(time.time())
        claims = {"sub": user, "role": "authenticated", "aud": "authenticated", "iat": now, "exp": now + seconds}
        return jwt.encode(claims, self.jwt_secret)


@dataclass(frozen=True)
class Buckets:
    """A private bucket, a public one, and a person; rows and bytes are looked at as the operator."""

    storage: Storage
    private: str
    public: str
    person: str
    called: set[str] = field(default_factory=set)  # what the flows have called of supabase-js, as `files.upload`

    @property
    def token(self) -> str:
        return self.storage.user_token(self.person)

    def run_js(self, flow: str, timeout: float = 120, **given: Any) -> Any:
        """Run a flow of storage_flows.mjs and give what it has seen."""
        answer = self.run_node("storage_flows.mjs", timeout, flow=flow, **given)
        self.called.update(answer["called"])
        return answer["seen"]

    def run_page(self, chromium: str, **given: Any) -> Any:
        """Have a page on another origin do what storage_page.mjs says, in that browser, and give what it has seen."""
        answer = self.run_node("storage_browser.mjs", 300, chromium=chromium, folder=f"{self.person}/page", **given)
        assert "seen" in answer, answer
        return answer["seen"]

    def run_node(self, script: str, timeout: float, **given: Any) -> Any:
        """Run a script with our target and give the JSON that it printed."""
        target = {"url": self.storage.url, "key": self.storage.key, "bucket": self.private, "token": self.token}
        done = subprocess.run(
            [str(node()), str(HERE / script)],
            input=json.dumps({**target, **given}),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def resume(self, url: str, name: str, file: Path) -> str | None:
        """Upload by aiotus and give the upload's address."""

        async def go() -> str | None:
            metadata = {"bucketName": self.private.encode(), "objectName": f"{self.person}/{name}".encode()}
            metadata["contentType"] = b"application/octet-stream"
            with file.open("rb") as opened:
                address = await aiotus.upload(
                    f"{url}/storage/v1/upload/resumable",
                    opened,
                    metadata,
                    headers={"authorization": f"Bearer {self.token}"},
                    chunksize=CHUNK,
                )
            return str(address) if address else None

        return asyncio.run(go())

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.storage.database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def digest(self, name: str) -> str:
        """SHA-256 of what a download gives, which must agree with the row's size and etag."""
        key = f"{self.person}/{name}"
        sha, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        headers = {"authorization": f"Bearer {self.token}"}
        with httpx.stream("GET", f"{self.storage.url}/storage/v1/object/{self.private}/{key}", headers=headers) as got:
            assert got.status_code == 200
            for piece in got.iter_bytes():
                sha.update(piece)
                md5.update(piece)
                size += len(piece)
        ((metadata,),) = self.sql(
            "select metadata from storage.objects where bucket_id = %s and name = %s", self.private, key
        )
        assert (metadata["size"], metadata["eTag"]) == (size, f'"{md5.hexdigest()}"')
        return sha.hexdigest()


@contextlib.contextmanager
def buckets_of(storage: Storage) -> Iterator[Buckets]:
    """Two buckets of their own with policies for folders; both and all in them are gone afterwards."""
    mark = uuid.uuid4().hex[:8]
    buckets = Buckets(storage, f"clients-{mark}", f"clients-public-{mark}", str(uuid.uuid4()))
    names = (buckets.private, buckets.public)
    owned = f"bucket_id in ('{names[0]}', '{names[1]}') and (storage.foldername(name))[1] = (select auth.uid()::text)"
    for bucket in names:
        buckets.sql(
            "insert into storage.buckets (id, name, public) values (%s, %s, %s)", bucket, bucket, bucket == names[1]
        )
    for verb, clause in (("select", "using"), ("insert", "with check"), ("update", "using"), ("delete", "using")):
        buckets.sql(f'create policy "{verb} {mark}" on storage.objects for {verb} to authenticated {clause} ({owned})')
    try:
        yield buckets
    finally:
        with httpx.Client(base_url=f"{storage.url}/storage/v1", headers={"apikey": storage.secret_key}) as http:
            for bucket in names:
                http.post(f"/bucket/{bucket}/empty")
                http.delete(f"/bucket/{bucket}")
        for verb in ("select", "insert", "update", "delete"):
            buckets.sql(f'drop policy "{verb} {mark}" on storage.objects')


def random_file(path: Path, size: int) -> str:
    """Fill a file and give its SHA-256."""
    sha = hashlib.sha256()
    with path.open("wb") as file, Path("/dev/urandom").open("rb") as source:
        while size:
            piece = source.read(min(size, 1 << 20))
            sha.update(piece)
            file.write(piece)
            size -= len(piece)
    return sha.hexdigest()
