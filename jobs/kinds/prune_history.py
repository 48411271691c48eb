"""`prune_history`: old job history, attempts and log rows go."""

from __future__ import annotations

from jobs.kinds.job import Job, Result, Tools
from jobs.kinds.maintenance import maintain

__all__ = ["run"]


def run(job: Job, tools: Tools) -> Result:
    """SQL alone: jobs.run_maintenance does it, a bounded piece at a time."""
    return maintain(job.kind, tools)
