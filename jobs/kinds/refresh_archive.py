"""`refresh_archive`: the archive anew at a fresh key, under the document's present name, around the same bytes.

It follows a rename; as a revocation it also ends every link that was signed to the old key, for deleted documents too.
"""

from __future__ import annotations

from jobs.archive import refresh, verify
from jobs.kinds.archives import ARCHIVES, entry_of, own_key
from jobs.kinds.job import Job, JobFailed, JobSuperseded, Result, Tools
from jobs.storage import StorageError

__all__ = ["run"]


def run(job: Job, tools: Tools) -> Result:
    """Rewrite the archive without decompressing it. Raises JobSuperseded when there is nothing (more) to do."""
    payload = job.payload
    if payload is None or payload["archive_path"] is None:
        raise JobSuperseded
    if not payload["revoked"] and (payload["deleted"] or payload["archive_name_revision"] == payload["name_revision"]):
        raise JobSuperseded
    lease, storage = tools.lease, tools.storage
    size: int = payload["archive_size_bytes"]

    def progressed(taken: int) -> None:
        lease.progress = min(taken / size, 1.0) if size else 0.0

    with own_key(job, tools) as key:
        try:
            made = refresh(
                storage.source(ARCHIVES, payload["archive_path"], check=lease.check),
                storage.target(ARCHIVES, key, check=lease.check),
                entry_of(payload),
                on_progress=progressed,
                check=lease.check,
            )
        except StorageError as error:
            if error.code != "source_missing":
                raise
            # another refresh may have won and removed it: the next attempt starts from the archive of that one
            sentence = "The stored ZIP is gone. It may have been replaced meanwhile."
            raise JobFailed("archive_missing", sentence, retryable=True) from None
        verify(storage.source(ARCHIVES, key, check=lease.check), made)
    return {
        "archive_path": key,
        "archive_size_bytes": made.archive_size,
        "name_revision": payload["name_revision"],
    }
