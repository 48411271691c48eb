"""The kinds that are SQL alone: the database does a bounded piece in one statement, as often as it takes."""

from __future__ import annotations

from jobs.kinds.job import JobFailed, Result, Tools

__all__ = ["maintain"]

PIECE = 1000
"""What jobs.run_maintenance does at most at a time of anything; so many mean that there may be more."""
MOST_PIECES = 100


def maintain(kind: str, tools: Tools) -> Result:
    """Run pieces until one was not full; the sums of what they did.

    Raises JobFailed (final) when the database does not know the kind.
    """
    sums: Result = {}
    for _ in range(MOST_PIECES):
        tools.lease.check()
        piece = tools.ask("run_maintenance", kind)
        if piece is None:
            raise JobFailed("unknown_kind", f"The database does not know {kind}. Migrate it.", retryable=False)
        for name, count in piece.items():
            sums[name] = sums.get(name, 0) + count
        if max(piece.values(), default=0) < PIECE:
            break
    return sums
