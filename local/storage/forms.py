"""An upload as multipart/form-data: a few small fields and one file, which streams.

Fields after a small file still count, after a large one they are lost, as with the real service's parser: it reads
ahead as far as it can hold the file back.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Any

import python_multipart.multipart as multipart
from python_multipart.exceptions import MultipartParseError

from local.storage.errors import StorageError, invalid_request, too_large
from local.storage.files import Incoming
from local.storage.request import Request, parsed_json

__all__ = ["Form"]

READ_AHEAD_BYTES = 64 << 10
MOST_FIELDS = 10
FIELD_BYTES = 1 << 20


def cut_short() -> StorageError:
    return invalid_request("Request stream closed before upload could begin")


class Form:
    """Reads a form as far as its file's first 64 KiB, then the rest of the file."""

    def __init__(self, request: Request, content_type: str) -> None:
        _, options = multipart.parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise invalid_request("Multipart: Boundary not found")
        self.request = request
        self.fields: dict[str, str] = {}
        self.count = 0
        self.file_type: str | None = None
        self.ahead: deque[bytes] = deque()
        self.ahead_bytes = 0
        self.ended = False
        self.fields_before_file: dict[str, str] = {}
        self.known = self.fields
        # the part being read
        self.headers: dict[bytes, bytes] = {}
        self.header_name = self.header_value = b""
        self.name: str | None = None
        self.text = bytearray()
        self.in_file = False
        self.parser = multipart.MultipartParser(
            boundary,
            {
                "on_part_begin": self.part_began,
                "on_header_field": self.header_field,
                "on_header_value": self.header_text,
                "on_header_end": self.header_ended,
                "on_headers_finished": self.headers_ended,
                "on_part_data": self.part_data,
                "on_part_end": self.part_ended,
                "on_end": self.form_ended,
            },
        )

    # ---- what the parser tells

    def part_began(self) -> None:
        self.headers, self.header_name, self.header_value = {}, b"", b""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.header_name += data[start:end]

    def header_text(self, data: bytes, start: int, end: int) -> None:
        self.header_value += data[start:end]

    def header_ended(self) -> None:
        self.headers[self.header_name.lower()] = self.header_value
        self.header_name = self.header_value = b""

    def headers_ended(self) -> None:
        _, options = multipart.parse_options_header(self.headers.get(b"content-disposition", b""))
        kind = multipart.parse_options_header(self.headers.get(b"content-type", b""))[0].decode("latin-1").lower()
        self.name, self.text, self.in_file = None, bytearray(), False
        if b"filename" in options or kind == "application/octet-stream":
            self.in_file = self.file_type is None
            if self.in_file:
                self.file_type = kind or "text/plain"
                self.fields_before_file = dict(self.fields)
        else:
            self.count += 1
            if self.count > MOST_FIELDS:
                raise cut_short()
            self.name = options.get(b"name", b"").decode("utf-8", "replace")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self.in_file:
            self.ahead.append(data[start:end])
            self.ahead_bytes += end - start
        elif self.name is not None and len(self.text) < FIELD_BYTES:
            self.text += data[start:end]

    def part_ended(self) -> None:
        if not self.in_file and self.name is not None:
            self.fields.setdefault(self.name, self.text.decode("utf-8", "replace"))

    def form_ended(self) -> None:
        self.ended = True

    # ---- reading

    async def feed(self) -> bool:
        """Read one more piece; False at the end. Raises InvalidRequest when the form is cut or is none."""
        piece = await self.request.piece()
        if piece is None:
            if not self.ended:
                raise cut_short()
            return False
        if not self.ended:
            try:
                self.parser.write(piece)
            except MultipartParseError:
                raise cut_short() from None
        return True

    async def open(self) -> None:
        """Read on until the file's type is known and what follows a small file too. Raises InvalidRequest."""
        while self.ahead_bytes <= READ_AHEAD_BYTES and await self.feed():
            pass
        if self.file_type is None:
            raise invalid_request("No content provided")
        self.known = self.fields if self.ahead_bytes <= READ_AHEAD_BYTES else self.fields_before_file

    async def store(self, incoming: Incoming, limit: int) -> None:
        """Write the file. Raises EntityTooLarge at the end of a file that is longer than `limit` bytes."""
        too_long = False
        while True:
            while self.ahead:
                piece = self.ahead.popleft()
                too_long = too_long or incoming.size + len(piece) > limit
                if not too_long:
                    await incoming.write(piece)
            if not await self.feed():
                break
        if too_long:
            raise too_large()

    # ---- what the fields say

    @property
    def mime_type(self) -> str:
        """The field contentType, else the file's own type."""
        return self.known.get("contentType") or self.file_type or "text/plain"

    @property
    def cache_control(self) -> str:
        """What is served as Cache-Control."""
        value = self.known.get("cacheControl")
        return f"max-age={value}" if value else "no-cache"

    @property
    def user_metadata(self) -> Any:
        """The client's own metadata: JSON, or None when it is no such."""
        with contextlib.suppress(ValueError):
            known = self.known
            return parsed_json(known["metadata"] if "metadata" in known else known.get("userMetadata", ""))
        return None
