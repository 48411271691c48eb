"""What every route works with: settings, database, files and the verifier of tokens."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from local.storage.database import Database
from local.storage.errors import access_denied, invalid_schema
from local.storage.files import FileStore
from local.storage.request import Request
from local.storage.settings import StorageSettings
from local.storage.tokens import Caller, InvalidToken, TokenVerifier

__all__ = ["Service"]


@dataclass
class Service:
    """One running Storage service."""

    settings: StorageSettings
    database: Database
    files: FileStore
    tokens: TokenVerifier

    def caller(self, request: Request) -> Caller:
        """Who asks. Raises InvalidRequest without an Authorization header, AccessDenied for a bad token."""
        if "authorization" not in request.headers:
            raise invalid_schema("headers must have required property 'authorization'")
        return self.token_caller(request)

    def token_caller(self, request: Request) -> Caller:
        """Who asks, on routes that do not demand the header itself. Raises AccessDenied."""
        try:
            return self.tokens.caller(request.headers.get("authorization", ""))
        except InvalidToken as problem:
            raise access_denied(str(problem)) from None

    def optional_caller(self, request: Request) -> Caller | None:
        """Who asks, or None: here a bad token counts as none."""
        with contextlib.suppress(InvalidToken):
            return self.tokens.caller(request.headers.get("authorization", ""))
        return None

    def size_limit(self, bucket_limit: int | None) -> int:
        """The bytes an object may have in a bucket with this limit of its own."""
        limit = self.settings.file_size_limit
        return limit if bucket_limit is None else min(limit, bucket_limit)
