"""`purge_deleted`: what has been in the trash for its whole time goes for good, the bytes first, then the row."""

from __future__ import annotations

from jobs.kinds.archives import ARCHIVES
from jobs.kinds.job import Job, Result, Tools

__all__ = ["run"]

BATCH = 200


def run(job: Job, tools: Tools) -> Result:
    """Purge batch by batch; a job that names a document purges that one alone.

    jobs.purge_batch closes the way back before a byte goes. A document that keeps an object (an upload that ended
    meanwhile) stays for the next run.
    """
    purged = 0
    seen: set[str] = set()
    while True:
        tools.lease.check()
        batch = [d for d in tools.ask("purge_batch", BATCH, job.document_id) if d["document_id"] not in seen]
        if not batch:
            return {"documents": purged}
        for bucket, keys in (
            ("documents", [key for document in batch for key in document["documents"]]),
            (ARCHIVES, [key for document in batch for key in document["archives"]]),
        ):
            if keys:
                tools.storage.remove(bucket, keys, check=tools.lease.check)
        for document in batch:
            tools.lease.check()
            seen.add(document["document_id"])
            purged += bool(tools.ask("finish_purge", document["document_id"]))
