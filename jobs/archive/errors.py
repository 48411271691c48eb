"""What can be wrong with an archive, or with the document it is made of.

- ArchiveError
  - SourceLength       the document gave more or fewer bytes than it announced
  - ArchiveUnreadable  the bytes are not a ZIP file of one entry as this program writes it
  - ArchiveDamaged     the stored archive is not what was sent, or does not give back its document
"""

from __future__ import annotations

from jobs.errors import InstaShareError

__all__ = ["ArchiveDamaged", "ArchiveError", "ArchiveUnreadable", "SourceLength"]


class ArchiveError(InstaShareError):
    """A fault of an archive. `retryable` says whether doing the same again may help."""

    retryable = False


class SourceLength(ArchiveError):
    """The document gave more or fewer bytes than it announced."""

    def __init__(self, announced: int, given: int) -> None:
        more = "more than the" if given > announced else f"{given} of the"
        super().__init__("source_length", f"The stored file gave {more} {announced} bytes that it announced.")


class ArchiveUnreadable(ArchiveError):
    """The bytes are not a ZIP file of one entry as this program writes it."""

    def __init__(self, reason: str) -> None:
        super().__init__("archive_unreadable", f"The archive cannot be read: {reason}.")


class ArchiveDamaged(ArchiveError):
    """The stored archive is not what was sent, or does not give back its document."""

    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__("archive_damaged", f"The stored archive is damaged: {reason}.")
