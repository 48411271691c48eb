"""What can go wrong between the runner and the Storage service.

- StorageError
  - SourceMissing       no such object
  - SourceChanged       the object is not the announced one, or became another while it was read
  - StorageUnavailable  faults of network or service that outlasted all tries
  - StorageRefused      the service does not let this key do this
  - TooLarge            the bucket or the project does not take so many bytes
  - TargetExists        there is an object under the new key already
  - UploadLost          the service has forgotten a resumable upload
"""

from __future__ import annotations

from jobs.errors import InstaShareError

__all__ = [
    "SourceChanged",
    "SourceMissing",
    "StorageError",
    "StorageRefused",
    "StorageUnavailable",
    "TargetExists",
    "TooLarge",
    "UploadLost",
]


class StorageError(InstaShareError):
    """A fault of the Storage service or of what it holds. `retryable` says whether the whole job may help again."""

    retryable = True


class SourceMissing(StorageError):
    """No such object."""

    retryable = False

    def __init__(self) -> None:
        super().__init__("source_missing", "The uploaded file is no longer in storage.", "Upload it again.")


class SourceChanged(StorageError):
    """The object is not the announced one, or became another while it was read."""

    retryable = False

    def __init__(self, reason: str) -> None:
        super().__init__("source_changed", f"The stored file is not the one that was uploaded: {reason}.")


class StorageUnavailable(StorageError):
    """Faults of network or service that outlasted all tries; `internal`: the service answered, and blamed itself."""

    def __init__(self, reason: str, *, internal: bool = False) -> None:
        self.internal = internal
        super().__init__("storage_unavailable", f"Storage could not be used: {reason}.", "It is tried again later.")


class StorageRefused(StorageError):
    """The service does not let this key do this. Retryable, since an operator can put the key or the bucket right."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "storage_refused", f"Storage refused the request: {reason}.", "Check SUPABASE_SECRET_KEY and the buckets."
        )


class TooLarge(StorageError):
    """The bucket or the project does not take so many bytes."""

    retryable = False

    def __init__(self) -> None:
        super().__init__(
            "archive_too_large",
            "The archive is larger than its bucket or the project allows.",
            "Raise the storage limits, then retry.",
        )


class TargetExists(StorageError):
    """There is an object under the new key already."""

    def __init__(self) -> None:
        super().__init__("target_exists", "There is an object under the archive's key already.")


class UploadLost(StorageError):
    """The service has forgotten a resumable upload."""

    def __init__(self, reason: str) -> None:
        super().__init__("upload_lost", f"Storage lost the archive's upload: {reason}.", "It is tried again later.")
