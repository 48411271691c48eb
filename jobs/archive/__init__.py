"""The archive engine: documents become ZIP files as a stream. Knows nothing of HTTP or SQL.

    result = archive(source, target, Entry("Sommer 2026.pdf", uploaded_at), "balanced", on_progress=…, check=…)
    verify(stored_archive, result)

`check` is called at least once per 512 KiB block, and by sources and targets while they wait: it stops the work by
raising. All archives of a process share one pool of compressing threads.
"""

from __future__ import annotations

from jobs.archive.errors import ArchiveDamaged, ArchiveError, ArchiveUnreadable, SourceLength
from jobs.archive.names import entry_name
from jobs.archive.pipeline import Readable, Writable, archive, refresh, verify, verify_whole
from jobs.archive.presets import PRESETS, Preset
from jobs.archive.writer import ArchiveResult, Compression, Entry, compress

__all__ = [
    "PRESETS",
    "ArchiveDamaged",
    "ArchiveError",
    "ArchiveResult",
    "ArchiveUnreadable",
    "Compression",
    "Entry",
    "Preset",
    "Readable",
    "SourceLength",
    "Writable",
    "archive",
    "compress",
    "entry_name",
    "refresh",
    "verify",
    "verify_whole",
]
