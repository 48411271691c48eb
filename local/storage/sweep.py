"""What a crash leaves behind: uploads that never ended, and bytes whose row was never committed or is gone."""

from __future__ import annotations

import logging
import os

from local.storage.database import Database
from local.storage.files import FileStore
from local.storage.partial import PartialUploads

__all__ = ["sweep"]

LOG = logging.getLogger(__name__)
SUSPICIOUS = 10


def stored_versions(files: FileStore) -> list[str]:
    folders = [entry.path for entry in os.scandir(files.root / "objects") if entry.is_dir()]
    return [entry.name for folder in folders for entry in os.scandir(folder)]


async def sweep(files: FileStore, uploads: PartialUploads, database: Database) -> int:
    """Delete what belongs to nothing and answer how many files that were; called before any request is served.

    When not one of more than ten files has a row, the folder belongs to another database rather than to none: then
    nothing is deleted.
    """

    def leftovers() -> int:
        strays = list((files.root / "incoming").iterdir())
        for path in strays:
            path.unlink()
        uploads.sweep(at_start=True)
        return len(strays)

    strays = await files.run(leftovers)
    present = await files.run(stored_versions, files)
    known = await database.versions() if present else set()
    orphans = [version for version in present if version not in known]
    if len(orphans) == len(present) > SUSPICIOUS:
        LOG.warning("none of the %d stored files has a row in this database; nothing is deleted", len(present))
        return strays
    orphans = [version for version in orphans if not await files.run(uploads.reclaim, version)]
    await files.remove(*orphans)
    if orphans or strays:
        LOG.info("swept %d unfinished uploads and %d files without a row", strays, len(orphans))
    return strays + len(orphans)
