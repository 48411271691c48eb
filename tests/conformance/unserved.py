"""Recorded exchanges that the local Storage answers otherwise on purpose, each with its reason."""

from __future__ import annotations

__all__ = ["ANSWERED_BY_THE_GATEWAY", "UNSERVED"]

UNSERVED = {
    "BK-56": "analytics buckets are another product; a bucket that nobody can use would be a lie",
    "MS-27": "the page of the API's documentation, compared by its hash",
    "MS-29": "the S3 protocol",
}

ANSWERED_BY_THE_GATEWAY = {
    "MS-21": "a browser's preflight; the service alone knows none",
    "MS-22": "a browser's preflight; the service alone knows none",
    "DL-27": "a page on another origin asks; the service alone has no CORS headers for it",
    "MS-25": "a page on another origin asks; the service alone has no CORS headers for it",
}
