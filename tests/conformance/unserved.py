"""What the local Storage does not serve, and recorded exchanges that it answers otherwise on purpose, with reasons."""

from __future__ import annotations

__all__ = ["ANSWERED_BY", "REFUSED", "UNSERVED"]

# a path below it, the status that says so, and why it is not served
REFUSED = {
    "/s3/bucket/key": (501, "the S3 protocol; resumable uploads do what it is wanted for"),
    "/documentation/json": (501, "the pages of the API's documentation"),
    "/render/image/authenticated/bucket/key": (
        404,
        "images are off: the real service then has no such route",
    ),
    "/iceberg/v1/config": (
        404,
        "tables of analytics, off when recorded as well; a bucket for them is only a name",
    ),
    "/vector/ListVectorBuckets": (404, "vectors, off when recorded as well"),
}

UNSERVED = {
    "MS-27": "the page of the API's documentation, compared by its hash; answered by a 501 that says where it is",
}

PAGES = {
    "MS-21": "a browser's preflight; the service alone knows none",
    "MS-22": "a browser's preflight; the service alone knows none",
    "DL-27": "a page on another origin asks; the service alone has no CORS headers for it",
    "MS-25": "a page on another origin asks; the service alone has no CORS headers for it",
}

PROXIED = PAGES | {
    "KY-08": "a malformed percent escape is refused by Caddy itself, with 400 in its own words",
    "JS-10": "a malformed percent escape is refused by Caddy itself, with 400 in its own words",
    "KY-23": "a path that climbs out of /storage/v1 leads nowhere: Storage never hears of it",
    "CO-01": "Go's server sends a 304 without Content-Type and Content-Length (RFC 9110 §15.4.5 asks for neither)",
    "CO-08": "Go's server sends a 304 without Content-Type and Content-Length (RFC 9110 §15.4.5 asks for neither)",
    "CO-13": "Go's server sends a 304 without Content-Type and Content-Length (RFC 9110 §15.4.5 asks for neither)",
}

# by what stands before the service
ANSWERED_BY: dict[str, dict[str, str]] = {"service": {}, "gateway": PAGES, "caddy": PROXIED}
