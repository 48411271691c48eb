"""What jobs do: one module a kind, and the registry by the names that the queue uses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jobs.kinds import (
    abandon_uploads,
    archive_document,
    close_accounts,
    expire_originals,
    expire_shares,
    prune_history,
    purge_deleted,
    refresh_archive,
    remove_archive,
    sweep_orphans,
)
from jobs.kinds.job import Kind

__all__ = ["KINDS"]

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "archive_document": archive_document.run,
        "refresh_archive": refresh_archive.run,
        "remove_archive": remove_archive.run,
        "purge_deleted": purge_deleted.run,
        "close_accounts": close_accounts.run,
        "expire_shares": expire_shares.run,
        "expire_originals": expire_originals.run,
        "abandon_uploads": abandon_uploads.run,
        "sweep_orphans": sweep_orphans.run,
        "prune_history": prune_history.run,
    }
)
