"""Whether something on the way to Storage cuts what is large or slow: body limits and time limits of proxies.

The default check sends 3 MiB without a length, which shows the usual limit of 1 MiB. A limit of time shows only in
time, so `doctor --thorough` sends 32 MiB and reads them for 40 s: the usual limits are 15 and 30 s.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
import uuid
from collections.abc import Iterator

import httpx

from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.target import Target

__all__ = ["SLOW_SECONDS", "check_transfers"]

SECONDS = 10.0
PIECE = 64 * 1024
PROBE_BYTES = 3 << 20
# more than sockets and proxies hold between them, or Storage would be done long before the reader is
SLOW_BYTES = 32 << 20
SLOW_SECONDS = 40.0
UPLOAD_CURE = (
    "Let the proxies before Storage pass bodies of any size on as they come (nginx: client_max_body_size 0 and "
    "proxy_request_buffering off), and look at Storage's FILE_SIZE_LIMIT."
)
DOWNLOAD_CURE = (
    "Let no proxy end an answer by the clock while it flows: route and response time-outs of /storage/v1 must be off "
    "(Supabase's own Envoy ends it after 30 s; the gateway of deploy/ does not)."
)


def check_transfers(target: Target, slow_seconds: float = 0.0) -> list[Check]:
    """Store bytes of unknown length and read them again, within `slow_seconds` if that is more than nothing."""
    url, key = (target.get("SUPABASE_URL") or "").rstrip("/"), target.get("SUPABASE_SECRET_KEY") or ""
    if not url.startswith(("http://", "https://")) or not key or not key.isascii() or not key.isprintable():
        return []
    # a small buffer here, so that a slow reader is felt at the other end
    transport = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)])
    with httpx.Client(timeout=SECONDS, headers={"apikey": key}, transport=transport) as client:
        try:
            if client.get(f"{url}/storage/v1/bucket/archives").status_code != 200:
                return []  # the check of Storage itself says why
        except (httpx.HTTPError, httpx.InvalidURL):
            return []
        return list(_probe(client, f"{url}/storage/v1/object/archives", slow_seconds))


def _probe(client: httpx.Client, bucket: str, slow_seconds: float) -> Iterator[Check]:
    size = SLOW_BYTES if slow_seconds else PROBE_BYTES
    key, digest = f"doctor/{uuid.uuid4()}", hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for _ in range(size // PIECE):
            piece = os.urandom(PIECE)
            digest.update(piece)
            yield piece

    name = "storage.large_upload"
    try:
        stored = client.post(f"{bucket}/{key}", content=pieces())
        if stored.status_code != 200:
            words = f"Storage answers {stored.status_code} to {size >> 20} MiB that come without a length."
            yield fail(name, words, UPLOAD_CURE)
            return
        yield passed(name, f"{size >> 20} MiB came through, their length not announced.")
        yield _read(client, f"{bucket}/{key}", size, digest.hexdigest(), slow_seconds)
    except httpx.HTTPError as error:
        yield fail(name, f"An upload of {size >> 20} MiB was cut ({type(error).__name__}).", UPLOAD_CURE)
    finally:
        with contextlib.suppress(httpx.HTTPError):  # the sweep of orphans takes it after a day
            client.request("DELETE", bucket, json={"prefixes": [key]})


def _read(client: httpx.Client, address: str, size: int, digest: str, seconds: float) -> Check:
    name, began = "storage.slow_download" if seconds else "storage.download", time.monotonic()
    received, seen = 0, hashlib.sha256()
    try:
        with client.stream("GET", address) as answer:
            for piece in answer.iter_raw(PIECE):
                received += len(piece)
                seen.update(piece)
                time.sleep(max(0.0, began + seconds * received / size - time.monotonic()))
    except httpx.HTTPError as error:
        words = f"It was cut after {time.monotonic() - began:.0f} s and {received >> 10} KiB ({type(error).__name__})."
        return fail(name, words, DOWNLOAD_CURE)
    if answer.status_code != 200 or received != size or seen.hexdigest() != digest:
        words = f"{received >> 10} KiB of {size >> 10} came, with status {answer.status_code}"
        return fail(name, f"{words}, after {time.monotonic() - began:.0f} s.", DOWNLOAD_CURE)
    if seconds:
        return passed(name, f"Whole after {time.monotonic() - began:.0f} s.")
    return passed(name, "Whole. Note: what is cut by the clock shows only with `--thorough`, which takes a minute.")
