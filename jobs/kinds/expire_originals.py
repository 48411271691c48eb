"""`expire_originals`: an original goes when its retention is over and its archive was proven to hold it, whole."""

from __future__ import annotations

from jobs.archive import ArchiveError, verify_whole
from jobs.kinds.archives import ARCHIVES
from jobs.kinds.job import Job, Result, Tools
from jobs.storage import StorageError

__all__ = ["run"]

BATCH = 20


def run(job: Job, tools: Tools) -> Result:
    """Read each archive whole and compare CRC and size; a document whose archive fails is queued again instead."""
    removed = damaged = 0
    seen: set[str] = set()
    while True:
        batch = [d for d in tools.ask("expire_originals_batch", BATCH) if d["document_id"] not in seen]
        if not batch:
            return {"removed": removed, "damaged": damaged}
        for document in batch:
            seen.add(document["document_id"])
            intact = _holds(document["archive_path"], document["size_bytes"], tools)
            if intact:
                tools.storage.remove("documents", [document["object_key"]], check=tools.lease.check)
            tools.ask("finish_expire_original", document["document_id"], document["object_version"], intact)
            removed += intact
            damaged += not intact


def _holds(archive_path: str, size: int, tools: Tools) -> bool:
    """Whether the stored archive gives back `size` bytes that agree with its CRC. Raises StorageError, JobStopped."""
    check = tools.lease.check
    try:
        return verify_whole(tools.storage.source(ARCHIVES, archive_path, check=check), check=check).size == size
    except ArchiveError:
        return False
    except StorageError as error:
        if error.code == "source_missing":
            return False
        raise
