"""Names, types, ranges and shapes: what is taken, and in whose words the rest is refused."""

from __future__ import annotations

from typing import Any

import pytest

from local.storage.buckets import size_limit
from local.storage.downloads import part_of
from local.storage.errors import StorageError
from local.storage.names import check_bucket_name, check_key, check_mime_type, check_path, check_robots
from local.storage.schemas import STRING, TEXTS, checked, integer, object_of, one_of
from local.storage.tus import parsed_metadata, written_metadata


@pytest.mark.parametrize("key", ["a b/c.txt", "!.*'() &$=@;:+,?-_", "/a", "a//b", "a/"])
def test_allowed_keys(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize("key", ["", "é", "a%b", "a#b", "a[1]", "a~b", "a\\b", 'a"b', "a|b", "a\nb", "a\0b"])
def test_forbidden_keys(key: str) -> None:
    with pytest.raises(StorageError) as refused:
        check_key(key)
    assert refused.value.message == f"Invalid key: {key}"


@pytest.mark.parametrize("name", ["", " a", "a ", "a/b", "é", "n" * 101])
def test_forbidden_bucket_names(name: str) -> None:
    with pytest.raises(StorageError, match="Bucket name invalid"):
        check_bucket_name(name)


@pytest.mark.parametrize(("key", "status"), [("a/./b", 400), ("../a", 400), ("n" * 256, 500)])
def test_keys_that_no_file_system_takes(key: str, status: int) -> None:
    with pytest.raises(StorageError) as refused:
        check_path("documents", key, "v")
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("mime_type", "allowed", "taken"),
    [
        ("image/png", None, True),
        ("image/png", [], True),
        ("image/png", ["image/*"], True),
        ("image/png", ["image/png"], True),
        ("IMAGE/PNG", ["image/png"], False),
        ("image/png; q=1", ["image/png"], False),
        ("imagex/png", ["image/*"], False),
        ("nonsense", None, False),
    ],
)
def test_types(mime_type: str, allowed: list[str] | None, taken: bool) -> None:
    if taken:
        check_mime_type(mime_type, allowed)
        return
    with pytest.raises(StorageError) as refused:
        check_mime_type(mime_type, allowed)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("noindex, nofollow", True),
        ("googlebot: noindex", True),
        ("max-snippet: -1", True),
        ("unavailable_after: Wed, 03 Dec 2025 13:09:53 GMT, noindex", True),
        ("max-image-preview: huge", False),
        ("noindex,, nofollow", False),
        ("googlebot:", False),
        ("", False),
    ],
)
def test_robots(value: str, valid: bool) -> None:
    if valid:
        check_robots(value)
        return
    with pytest.raises(StorageError, match="Invalid X-Robots-Tag header"):
        check_robots(value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("bytes=0-", (0, 10)),
        ("bytes=2-5", (2, 4)),
        ("bytes=5-99", (5, 5)),
        ("bytes=-3", (7, 3)),
        ("bytes=-99", (0, 10)),
    ],
)
def test_ranges(text: str, part: tuple[int, int]) -> None:
    assert part_of(text, 10) == part


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=5-2", "bytes=-0", "bytes=-", "bytes=0-1,4-5", "items=0-1"])
def test_impossible_ranges(text: str) -> None:
    with pytest.raises(StorageError) as refused:
        part_of(text, 10)
    assert refused.value.http_status == 416


@pytest.mark.parametrize(
    ("value", "limit"), [(None, None), (1000, 1000), ("1000", 1000), ("1MB", 10**6), ("1.5gb", 1_500_000_000)]
)
def test_size_limits(value: Any, limit: int | None) -> None:
    assert size_limit(value) == limit


SHAPE = object_of("prefix", prefix=STRING, limit=integer(1), order=one_of("asc", "desc"), keys={**TEXTS, "minItems": 1})


def test_bodies_are_coerced_as_javascript_does() -> None:
    body = {"prefix": 1, "limit": "5", "order": "asc", "keys": "a", "unknown": True}
    assert checked(body, SHAPE) == {"prefix": "1", "limit": 5, "order": "asc", "keys": ["a"]}
    assert checked({"prefix": None, "keys": [1, True]}, SHAPE) == {"prefix": "", "keys": ["1", "true"]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "body must be object"),
        (None, "body must be object"),
        ({"limit": 0}, "body must have required property 'prefix'"),
        ({"prefix": {}}, "body/prefix must be string"),
        ({"prefix": "", "limit": 0}, "body/limit must be >= 1"),
        ({"prefix": "", "limit": 1.5}, "body/limit must be integer"),
        ({"prefix": "", "order": "up"}, "body/order must be equal to one of the allowed values"),
        ({"prefix": "", "keys": []}, "body/keys must NOT have fewer than 1 items"),
    ],
)
def test_bodies_are_refused_in_the_service_s_words(body: Any, message: str) -> None:
    with pytest.raises(StorageError) as refused:
        checked(body, SHAPE)
    assert refused.value.message == message


def test_upload_metadata() -> None:
    text = "bucketName YnVja2V0,flag,objectName w6kudHh0"
    metadata = parsed_metadata(text)
    assert metadata == {"bucketName": "bucket", "flag": None, "objectName": "é.txt"}
    assert written_metadata(metadata) == text
    for malformed in ("", "a b", "a YQ==, b YQ==", "a YQ==,a YQ==", "a YQ== c"):
        assert parsed_metadata(malformed) is None
