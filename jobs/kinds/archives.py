"""What the kinds that write archives share: a key of the attempt's own, and its removal when the attempt fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from logging import WARNING
from typing import TYPE_CHECKING, Any

from jobs.archive import Entry
from jobs.errors import InstaShareError
from jobs.kinds.job import Job, Tools
from jobs.runner.log import note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobs.storage import Storage

__all__ = ["ARCHIVES", "discard", "entry_of", "own_key"]

ARCHIVES = "archives"
"""The bucket of what people download."""


def discard(storage: Storage, key: str) -> None:
    """Remove an archive that nobody will read. Never raises: what stays is swept as an orphan after a day."""
    try:
        storage.remove(ARCHIVES, [key])
    except InstaShareError as error:
        note("archive_left", level=WARNING, key=key, reason=f"{error.code}: {error.message}")


@contextlib.contextmanager
def own_key(job: Job, tools: Tools) -> Iterator[str]:
    """The key for this attempt's archive; whatever lies there goes when the block raises.

    An upload whose answer was lost may have stored the archive all the same, so it goes whatever was raised.
    """
    key = job.archive_key
    try:
        yield key
    except BaseException:
        tools.discard(key)
        raise


def entry_of(payload: Mapping[str, Any]) -> Entry:
    """How the document stands in its archive: its present name, and the time of its upload."""
    return Entry(name=payload["name"], modified=datetime.fromisoformat(payload["uploaded_at"]))
