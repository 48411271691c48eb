"""`remove_archive`: a replaced archive goes once running downloads have ended, or at once after a revocation."""

from __future__ import annotations

from jobs.kinds.archives import ARCHIVES
from jobs.kinds.job import Job, Result, Tools

__all__ = ["run"]


def run(job: Job, tools: Tools) -> Result:
    """Remove the archive that the job names; one that is gone already is no fault."""
    return {"removed": tools.storage.remove(ARCHIVES, [job.args["archive_path"]], check=tools.lease.check)}
