"""`abandon_uploads`: uploads that did not end in two days are given up."""

from __future__ import annotations

from jobs.kinds.job import Job, Result, Tools
from jobs.kinds.maintenance import maintain

__all__ = ["run"]


def run(job: Job, tools: Tools) -> Result:
    """SQL alone: jobs.run_maintenance does it, a bounded piece at a time."""
    return maintain(job.kind, tools)
