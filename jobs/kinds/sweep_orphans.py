"""`sweep_orphans`: stored objects that no document and no running job names, by SQL and never by listing a bucket."""

from __future__ import annotations

from jobs.kinds.archives import ARCHIVES
from jobs.kinds.job import Job, Result, Tools

__all__ = ["run"]

BATCH = 1000
"""As many as the Storage API removes in one call."""


def run(job: Job, tools: Tools) -> Result:
    """Remove the orphans of both buckets, in the order of their keys."""
    removed: Result = {}
    for bucket in ("documents", ARCHIVES):
        removed[bucket] = 0
        after = ""
        while keys := tools.ask("orphan_keys", bucket, after, BATCH):
            removed[bucket] += tools.storage.remove(bucket, keys, check=tools.lease.check)
            after = keys[-1]
    return removed
