"""`archive_document`: one stored document becomes one ZIP, under a key of this attempt, read back before it counts."""

from __future__ import annotations

from typing import cast

from jobs.archive import Preset, archive, verify
from jobs.kinds.archives import ARCHIVES, entry_of, own_key
from jobs.kinds.job import Job, JobSuperseded, Result, Tools

__all__ = ["run"]

STREAMED = 0.98
"""How far the progress is when the last byte is on its way; the rest is storing, reading back and publishing."""


def run(job: Job, tools: Tools) -> Result:
    """Stream the object, compress, upload, verify. The queue publishes the result.

    Raises JobSuperseded when the document went or its version changed before the start, and what the streams raise.
    """
    payload = job.payload
    if payload is None or payload["deleted"] or payload["object_version"] != job.args.get("object_version"):
        raise JobSuperseded
    size: int = payload["size_bytes"]
    lease, storage = tools.lease, tools.storage

    def progressed(taken: int) -> None:
        lease.progress = min(taken / size, 1.0) * STREAMED if size else 0.0

    with own_key(job, tools) as key:
        source = storage.source(payload["bucket"], payload["object_key"], size=size, check=lease.check)
        target = storage.target(ARCHIVES, key, check=lease.check)
        made = archive(
            source,
            target,
            entry_of(payload),
            cast(Preset, tools.preset),
            on_progress=progressed,
            check=lease.check,
        )
        verify(storage.source(ARCHIVES, key, check=lease.check), made)
    return {
        "archive_path": key,
        "archive_size_bytes": made.archive_size,
        "name_revision": payload["name_revision"],
        "object_version": payload["object_version"],
    }
