"""What a Storage service has to be told, and the figures that are the real service's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "FINISHED_UPLOAD_SECONDS",
    "JSON_BODY_LIMIT",
    "LOCK_GRACE_SECONDS",
    "SIGNED_UPLOAD_SECONDS",
    "UNFINISHED_UPLOAD_SECONDS",
    "VERSION",
    "StorageSettings",
]

VERSION = "1.70.6"  # the release of Supabase's storage-api whose behaviour this is
JSON_BODY_LIMIT = 1 << 20
HEADER_LIMIT = 16 << 10  # Node's own, all header lines together
SIGNED_UPLOAD_SECONDS = 2 * 3600  # as hosted
LOCK_GRACE_SECONDS = 3.0  # a second request for a resumable upload takes it over after so long
FINISHED_UPLOAD_SECONDS = 3600  # as long HEAD still answers for one that is stored; a self-hosted address's own life
UNFINISHED_UPLOAD_SECONDS = 48 * 3600  # documents in `uploading` are abandoned after as long


@dataclass(frozen=True)
class StorageSettings:
    """The settings of one Storage service.

    database_url: a DSN as supabase_storage_admin, which may `set role` to anon, authenticated and service_role.
    root: the folder of the bytes; one service at a time may use it.
    jwt_secret: HS256; signs URLs, and tokens signed by it are accepted.
    jwks: a JWK set of public keys whose tokens are accepted as well.
    file_size_limit: bytes an object may have, the installation's limit.
    """

    database_url: str
    root: Path
    jwt_secret: str
    jwks: dict[str, Any] = field(default_factory=dict)
    file_size_limit: int = 6 << 30
    database_connections: int = 10
