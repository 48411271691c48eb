"""The name of an archive's entry: the document's own, made safe on every system that may unpack it.

The rules are those of Windows' "Naming Files, Paths, and Namespaces" (reserved device names, trailing dots and
spaces) and of Unicode's bidirectional algorithm (TR9: marks that make `gpj.exe` look like `exe.jpg`).
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["MAX_BYTES", "entry_name"]

# what ext4, APFS and NTFS take as one name
MAX_BYTES = 255
FALLBACK = "document"

_SEPARATORS = re.compile(r"[/\\]")
# C0, DEL, C1, line and paragraph separators, lone surrogates
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*(\.|$)", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_ -]*(\.[A-Za-z0-9_-]+)*")


def entry_name(name: str) -> str:
    """Give the safe form of a document's name: NFC, base name only, at most 255 bytes of UTF-8, never empty.

    Control characters become `_`, bidirectional marks go, reserved device names get a `_` in front, dots and spaces
    at the end go. Whatever is safe already comes back unchanged; the function is idempotent.
    """
    if len(name) <= MAX_BYTES and _PLAIN.fullmatch(name) and not _RESERVED.match(name) and name[-1] != " ":
        return name
    name = _SEPARATORS.split(unicodedata.normalize("NFC", name).rstrip("/\\"))[-1]
    # NFC once more: taking a mark away can bring a letter and its accent together
    name = unicodedata.normalize("NFC", _BIDI.sub("", _CONTROL.sub("_", name))).rstrip(" .")
    if _RESERVED.match(name):
        name = "_" + name
    return _shortened(name) or FALLBACK


def _shortened(name: str) -> str:
    """Cut a name to MAX_BYTES of UTF-8 before its extension, between two characters."""
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > 32:
        stem, dot, extension = name, "", ""
    room = MAX_BYTES - len((dot + extension).encode())
    stem = stem.encode()[:room].decode(errors="ignore")
    # without an extension the cut itself may leave a dot or a space at the end
    return stem + dot + extension if dot else stem.rstrip(" .")
