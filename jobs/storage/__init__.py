"""Objects in the Storage service, read and written as streams. Knows nothing of ZIP or SQL.

    storage = Storage("https://….supabase.co", secret_key)
    source = storage.source("documents", key, size=5_000_000_000, check=check)
    storage.target("archives", other_key, check=check).write(source.blocks())

`check` is called while work goes on and at least every 0.2 s while it waits, also from the sending thread: it stops the
work by raising, and what it raises comes out. The rules are the service's own (storage-api 1.70): nearly every refusal
is HTTP 400 with the verdict in the body; If-Range is ignored, so that the ETag of a resumed answer must be compared.
"""

from __future__ import annotations

from jobs.storage.errors import (
    SourceChanged,
    SourceMissing,
    StorageError,
    StorageRefused,
    StorageUnavailable,
    TargetExists,
    TooLarge,
    UploadLost,
)
from jobs.storage.service import Check, ObjectInfo, Service, Tail, never
from jobs.storage.source import Source
from jobs.storage.target import Target

__all__ = [
    "ObjectInfo",
    "Source",
    "SourceChanged",
    "SourceMissing",
    "Storage",
    "StorageError",
    "StorageRefused",
    "StorageUnavailable",
    "Tail",
    "Target",
    "TargetExists",
    "TooLarge",
    "UploadLost",
]


class Storage(Service):
    """The Storage API at a project's address, with streams from and to it. One for a whole process: thread-safe."""

    def source(self, bucket: str, key: str, *, size: int | None = None, check: Check = never) -> Source:
        """Give an object to read once; with `size` it must have exactly so many bytes."""
        return Source(self, bucket, key, size, check)

    def target(self, bucket: str, key: str, *, content_type: str = "application/zip", check: Check = never) -> Target:
        """Give a new key to write once; an object that is there already is never overwritten."""
        return Target(self, bucket, key, content_type, check)
