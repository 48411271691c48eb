"""What objects, buckets and types may be called, and what a signed-in search engine may be told.

The rules are the real service's: storage-wire.md, "Upload", and its file backend's for path segments.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from local.storage.errors import StorageError, internal, invalid_bucket_name, invalid_key, invalid_mime_type

__all__ = [
    "check_bucket_name",
    "check_key",
    "check_mime_type",
    "check_path",
    "check_robots",
    "is_key",
    "is_placeholder",
    "is_uuid",
]

KEY = re.compile(r"[\w/!\-.*'() &$@=;:+,?]+", re.ASCII)
BUCKET = re.compile(r"[\w!\-.*'() &$@=;:+,?]{1,100}", re.ASCII)
MIME_TYPE = re.compile(r"[\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+\s*(;.*)?", re.ASCII | re.DOTALL)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
SEGMENT_BYTES = 255  # what file systems take in one name

ROBOTS = ("all", "noindex", "nofollow", "none", "nosnippet", "indexifembedded", "notranslate", "noimageindex")
ROBOTS_WITH_VALUE = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")


def is_uuid(text: str | None) -> bool:
    """Whether this is a uuid in its usual spelling."""
    return bool(text and UUID.fullmatch(text))


def is_placeholder(key: str) -> bool:
    """Whether this object only keeps a folder in sight: such a one must be empty and may have any type."""
    return key.endswith(".emptyFolderPlaceholder")


def is_key(name: str) -> bool:
    """Whether an object may have this name: every character is allowed."""
    return KEY.fullmatch(name) is not None


def check_key(key: str) -> None:
    """Raise InvalidKey unless every character of an object's name is allowed."""
    if not is_key(key):
        raise invalid_key(key)


def check_bucket_name(name: str) -> None:
    """Raise InvalidBucketName unless it is a name that a bucket can have."""
    if not BUCKET.fullmatch(name) or name != name.strip():
        raise invalid_bucket_name()


def check_path(bucket: str, key: str, version: str, prefix: str = "stub/stub") -> None:
    """Refuse the keys that the file backend cannot store: dot segments and segments longer than a file's name."""
    segments = key.split("/")
    if "." in segments or ".." in segments:
        raise invalid_key(f"{prefix}/{bucket}/{key}/{version} contains dot path segment")
    if any(len(segment) > SEGMENT_BYTES for segment in segments):
        raise internal()


def check_mime_type(mime_type: str, allowed: list[str] | None) -> None:
    """Raise InvalidMimeType unless the whole text is one of the allowed types or falls under an allowed `kind/*`."""
    if not MIME_TYPE.fullmatch(mime_type):
        raise invalid_mime_type("Invalid Content-Type header")
    if not allowed or mime_type in allowed:
        return
    if f"{mime_type.partition('/')[0]}/*" not in allowed:
        raise invalid_mime_type(f"mime type {mime_type} is not supported")


def check_robots(value: str) -> None:
    """Raise unless an X-Robots-Tag header holds rules that search engines know."""

    def refused(why: str) -> StorageError:
        return StorageError(400, "invalid_x_robots_tag", f"Invalid X-Robots-Tag header: {why}", "InvalidRequest")

    if not value.strip():
        raise refused("X-Robots-Tag header value must be a non-empty string")
    for rule in robots_rules(value):
        name, colon, argument = (part.strip() for part in rule.partition(":"))
        if not rule:
            raise refused("X-Robots-Tag header contains empty rule")
        if rule in ROBOTS:
            continue
        if not colon:
            raise refused(f'Invalid X-Robots-Tag rule: "{rule}"')
        if name not in ROBOTS_WITH_VALUE:
            if not argument:
                raise refused(f'X-Robots-Tag user agent "{name}" has no rules specified')
            check_robots(argument)
        elif why := fault_of_rule(name, argument):
            raise refused(why)


def robots_rules(value: str) -> list[str]:
    """The rules of the header: at commas, but for those inside the date of `unavailable_after`."""
    rules, rest = [], value.strip()
    while rest:
        end = rest.find(",")
        if rest.startswith("unavailable_after:"):
            next_rule = re.compile(rf",\s*(?:{'|'.join(ROBOTS + ROBOTS_WITH_VALUE)}|[\w-]+:)", re.ASCII).search(rest)
            end = next_rule.start() if next_rule else -1
        rules.append(rest[: end if end >= 0 else None].strip())
        rest = rest[end + 1 :].strip() if end >= 0 else ""
    return rules


def fault_of_rule(name: str, argument: str) -> str:
    """What is wrong with a rule that takes a value; empty when nothing is."""
    if not argument:
        return f'X-Robots-Tag rule "{name}" requires a value'
    if name == "max-image-preview":
        if argument not in ("none", "standard", "large"):
            return f'X-Robots-Tag "{name}" value must be one of: none, standard, large, got: "{argument}"'
    elif name == "unavailable_after":
        try:
            parsedate_to_datetime(argument)
        except ValueError:
            if not re.match(r"\d{4}-\d\d-\d\d", argument):
                return f'X-Robots-Tag "{name}" value must be a valid date, got: "{argument}"'
    else:
        number = re.match(r"-?\d+", argument)
        if not number or int(number[0]) < -1:
            return f'X-Robots-Tag "{name}" value must be a number >= -1, got: "{argument}"'
    return ""
