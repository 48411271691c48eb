"""The streams over the Storage API, against a service on loopback that drops, stalls, lies, changes and refuses."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jobs.errors import SettingsError
from jobs.storage import (
    SourceChanged,
    SourceMissing,
    Storage,
    StorageRefused,
    StorageUnavailable,
    TargetExists,
    TooLarge,
    UploadLost,
)
from jobs.storage.connection import _tls
from jobs.storage.target import CHUNK
from tests.unit.archive.fake_storage import SECRET, FakeStorage, Fault

DATA = random.Random(5).randbytes(1_500_000)
KEY = ("documents", "owner/a document's (1) & more.bin")
NEW = ("archives", "owner/document/7-1.zip")


class Cancelled(Exception):
    pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStorage]:
    # waits are looked at oftener, so that stalls cost a test less
    monkeypatch.setattr("jobs.storage.connection.TICK", 0.02)
    fake = FakeStorage()
    fake.objects[KEY] = DATA
    yield fake
    fake.close()


@pytest.fixture
def storage(service: FakeStorage) -> Storage:
    return Storage(service.url + "/", SECRET, stall=0.2, tries=3, delay=0.001)


def read(storage: Storage, size: int | None = len(DATA)) -> bytes:
    return b"".join(storage.source(*KEY, size=size).blocks())


def cancelling(service: FakeStorage) -> object:
    """A check that raises once the service hangs."""

    def check() -> None:
        if service.hanging.is_set():
            raise Cancelled

    return check


# sources


def test_a_source_gives_blocks_of_half_a_mebibyte_and_announces_its_size(
    storage: Storage, service: FakeStorage
) -> None:
    source = storage.source(*KEY)
    assert source.size == len(DATA)
    assert [len(block) for block in source.blocks()] == [524288, 524288, 451424]
    assert read(storage) == DATA
    path, headers = service.requests("GET")[0]
    assert path == "/storage/v1/object/authenticated/documents/owner/a%20document%27s%20%281%29%20%26%20more.bin"
    assert headers["accept-encoding"] == "identity"
    assert len(service.requests("GET")) == 2


def test_an_empty_source_is_read(storage: Storage, service: FakeStorage) -> None:
    service.objects[KEY] = b""
    assert list(storage.source(*KEY, size=0).blocks()) == []
    assert len(service.requests("GET")) == 1


@pytest.mark.parametrize("after", [0, 1, 300_000, 524_288, 1_499_999])
def test_a_dropped_source_goes_on_where_it_stopped(storage: Storage, service: FakeStorage, after: int) -> None:
    service.faults["GET"].append(Fault(after=after))
    assert read(storage) == DATA
    again = service.requests("GET")[1][1]
    assert again.get("range", "bytes=0-") == f"bytes={after}-"
    assert again["if-match"].strip('"').isalnum()


def test_a_source_may_drop_more_often_than_it_may_fail_as_long_as_bytes_come(
    storage: Storage, service: FakeStorage
) -> None:
    service.faults["GET"].extend(Fault(after=100_000) for _ in range(12))
    assert read(storage) == DATA
    assert len(service.requests("GET")) == 13


def test_a_source_that_stalls_is_given_up_and_asked_again(storage: Storage, service: FakeStorage) -> None:
    service.faults["GET"].append(Fault(after=700_000, hang=True))
    assert read(storage) == DATA
    assert service.requests("GET")[1][1]["range"] == "bytes=700000-"


def test_a_source_that_only_fails_is_unavailable(storage: Storage, service: FakeStorage) -> None:
    service.faults["GET"].extend(Fault(status=503, body={"message": "down"}) for _ in range(9))
    with pytest.raises(StorageUnavailable, match="HTTP 503 down") as raised:
        read(storage)
    assert raised.value.retryable and raised.value.code == "storage_unavailable"
    assert len(service.requests("GET")) == 4


def test_nobody_listening_is_unavailable(storage: Storage, service: FakeStorage) -> None:
    service.close()
    with pytest.raises(StorageUnavailable):
        read(storage)


def test_a_service_answers_or_does_not(storage: Storage, service: FakeStorage) -> None:
    assert storage.answers()
    for fault in (Fault(status=404), Fault(status=400, body={"statusCode": "403", "message": "no"})):
        service.faults["GET"].append(fault)
        assert storage.answers()  # a verdict is an answer
    body = {"statusCode": "503", "message": "no database"}
    for fault in (Fault(status=503), Fault(status=400, body=body), Fault(status=429)):
        service.faults["GET"].append(fault)
        assert not storage.answers()
    assert not service.faults["GET"]  # it is asked once
    service.close()
    assert not storage.answers()


def test_a_missing_source_has_that_name(storage: Storage, service: FakeStorage) -> None:
    service.objects.clear()
    with pytest.raises(SourceMissing) as raised:
        read(storage)
    assert raised.value.code == "source_missing" and not raised.value.retryable
    assert len(service.requests("GET")) == 1


INTERNAL = {"statusCode": "500", "error": "Internal", "message": "Internal Server Error", "code": "InternalError"}


@pytest.mark.parametrize("reading", [read, lambda storage: storage.tail(*KEY, 10)])
def test_a_source_whose_bytes_are_gone_is_missing(storage: Storage, service: FakeStorage, reading: object) -> None:
    """The service says so by a 500, as long as its files are on a disk; its database still knows the object."""
    broken = [Fault(status=500, body=INTERNAL) for _ in range(4)]
    service.faults["GET"].extend([*broken, Fault(), Fault(status=500, body=INTERNAL)])
    with pytest.raises(SourceMissing):
        reading(storage)  # type: ignore[operator]
    assert "/object/info/" in service.requests("GET")[4][0]


@pytest.mark.parametrize("after", [[Fault(status=500, body=INTERNAL)] * 4, [Fault(), Fault()]])
def test_a_service_that_was_broken_is_no_missing_source(
    storage: Storage, service: FakeStorage, after: list[Fault]
) -> None:
    """Its database is away, or it has come back just after the last try."""
    service.faults["GET"].extend([*(Fault(status=500, body=INTERNAL) for _ in range(4)), *after])
    with pytest.raises(StorageUnavailable):
        read(storage)


def test_a_source_of_another_size_is_not_the_one(storage: Storage) -> None:
    with pytest.raises(SourceChanged, match="1500000 bytes instead of 1499999"):
        read(storage, len(DATA) - 1)


@pytest.mark.parametrize("other", [DATA[::-1], DATA[:-1], b"short"])
def test_a_source_that_changes_half_way_is_refused(storage: Storage, service: FakeStorage, other: bytes) -> None:
    service.faults["GET"] += [Fault(after=900_000), Fault(do=lambda: service.objects.__setitem__(KEY, other))]
    with pytest.raises(SourceChanged):
        read(storage)


def test_a_source_that_vanishes_half_way_is_missing(storage: Storage, service: FakeStorage) -> None:
    service.faults["GET"] += [Fault(after=900_000), Fault(do=service.objects.clear)]
    with pytest.raises(SourceMissing):
        read(storage)


def test_a_source_that_announces_more_than_it_gives_is_unavailable(storage: Storage, service: FakeStorage) -> None:
    service.faults["GET"].append(Fault(announce=len(DATA) + 5))
    with pytest.raises((SourceChanged, StorageUnavailable)):
        read(storage, None)


def test_a_source_without_etag_is_not_resumed(storage: Storage, service: FakeStorage) -> None:
    service.faults["GET"].append(Fault(after=900_000, etag=""))
    with pytest.raises(StorageUnavailable, match="no ETag"):
        read(storage)


def test_a_weakened_etag_is_the_same(storage: Storage, service: FakeStorage) -> None:
    service.faults["GET"] += [Fault(after=900_000, etag='"x"'), Fault(etag='W/"x"')]
    assert read(storage) == DATA


def test_a_source_that_knows_no_ranges_is_skipped_through(storage: Storage, service: FakeStorage) -> None:
    service.faults["GET"] += [Fault(after=900_000), Fault(whole=True)]
    assert read(storage) == DATA


@pytest.mark.parametrize("fault", [Fault(chunked=True), Fault(close=True)])
def test_other_ways_to_send_the_same(storage: Storage, service: FakeStorage, fault: Fault) -> None:
    service.faults["GET"].append(fault)
    assert read(storage) == DATA


def test_a_wrong_key_is_refused_at_once(storage: Storage, service: FakeStorage) -> None:
    body = {"statusCode": "403", "error": "Unauthorized", "message": "Invalid Compact JWS", "code": "AccessDenied"}
    service.faults["GET"].append(Fault(status=400, body=body))
    with pytest.raises(StorageRefused, match="Invalid Compact JWS"):
        read(storage)


def test_a_reading_source_is_cancelled_while_it_stalls(service: FakeStorage) -> None:
    patient = Storage(service.url, SECRET, stall=3600)
    service.faults["GET"].append(Fault(after=700_000, hang=True))
    with pytest.raises(Cancelled):
        list(patient.source(*KEY, check=cancelling(service)).blocks())  # type: ignore[arg-type]


def test_a_waiting_retry_is_cancelled(service: FakeStorage) -> None:
    patient = Storage(service.url, SECRET, delay=3600)
    service.faults["GET"].append(Fault(status=500, do=service.hanging.set))
    with pytest.raises(Cancelled):
        list(patient.source(*KEY, check=cancelling(service)).blocks())  # type: ignore[arg-type]


# targets


def pieces(data: bytes, size: int = 333_333) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK])
def test_what_fits_one_chunk_goes_by_one_upload(storage: Storage, service: FakeStorage, length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert storage.target(*NEW).write(pieces(data)) == length
    assert service.objects[NEW] == data and service.types[NEW] == "application/zip"
    ((path, headers),) = service.requests("POST")
    assert path.endswith("/object/archives/owner/document/7-1.zip")
    assert headers["content-length"] == str(length) and "x-upsert" not in headers


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("length", [CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_more_goes_resumably_in_chunks_of_six_mebibytes(
    storage: Storage, service: FakeStorage, length: int, known: bool
) -> None:
    data = random.Random(length).randbytes(length)
    assert storage.target(*NEW).write(pieces(data), length if known else None) == length
    assert service.objects[NEW] == data and service.types[NEW] == "application/zip"
    sent = [int(headers["content-length"]) for _, headers in service.requests("PATCH")]
    assert sum(sent) == length and set(sent[:-1]) == {CHUNK}
    assert ("upload-length" in service.requests("PATCH")[-1][1]) is not known


BIG = random.Random(6).randbytes(2 * CHUNK + 1000)
LOST_CONNECTIONS = {
    "cut before a byte": Fault(after=0),
    "cut half-way": Fault(after=1_000_000),
    "answer lost": Fault(lost=True),
    "server error": Fault(status=500, body="oops"),
    "locked": Fault(status=423),
    "hanging": Fault(hang=True),
    "hanging half-way": Fault(after=1_000_000, hang=True),
    "closing politely": Fault(close=True),
}


@pytest.mark.parametrize(("which", "known"), [(0, None), (1, len(BIG)), (2, None)])
@pytest.mark.parametrize("fault", LOST_CONNECTIONS.values(), ids=LOST_CONNECTIONS)
def test_a_resumable_upload_survives(
    storage: Storage, service: FakeStorage, fault: Fault, which: int, known: int | None
) -> None:
    service.faults["PATCH"] += [Fault()] * which + [fault]
    assert storage.target(*NEW).write(pieces(BIG), known) == len(BIG)
    assert service.objects[NEW] == BIG


def test_a_finished_upload_that_is_forgotten_is_found_by_its_object(storage: Storage, service: FakeStorage) -> None:
    service.faults["PATCH"] += [Fault(), Fault(), Fault(lost=True)]
    service.faults["HEAD"].append(Fault(status=404))
    assert storage.target(*NEW).write(pieces(BIG)) == len(BIG)


def test_a_target_that_fails_for_good_is_unavailable_and_terminated(storage: Storage, service: FakeStorage) -> None:
    service.faults["PATCH"] += [Fault()] + [Fault(status=500, body="disk full")] * 9
    with pytest.raises(StorageUnavailable, match="disk full"):
        storage.target(*NEW).write(pieces(BIG))
    assert NEW not in service.objects and not service.uploads


@pytest.mark.parametrize("known", [None, len(BIG)])
def test_a_target_that_takes_no_more_says_so(storage: Storage, service: FakeStorage, known: int | None) -> None:
    service.limit = CHUNK + 5
    with pytest.raises(TooLarge) as raised:
        storage.target(*NEW).write(pieces(BIG), known)
    assert raised.value.code == "archive_too_large" and not raised.value.retryable
    assert not service.uploads


def test_a_small_target_that_takes_no_more_says_so(storage: Storage, service: FakeStorage) -> None:
    service.limit = 5
    with pytest.raises(TooLarge):
        storage.target(*NEW).write([b"more than five"])


@pytest.mark.parametrize("data", [b"small", BIG])
def test_an_object_is_never_overwritten(storage: Storage, service: FakeStorage, data: bytes) -> None:
    service.objects[NEW] = b"older"
    with pytest.raises(TargetExists):
        storage.target(*NEW).write(pieces(data))
    assert service.objects[NEW] == b"older"


def test_a_key_taken_while_uploading_is_told(storage: Storage, service: FakeStorage) -> None:
    service.faults["PATCH"] += [Fault(), Fault(do=lambda: service.objects.__setitem__(NEW, b"other"))]
    with pytest.raises(TargetExists):
        storage.target(*NEW).write(pieces(BIG))
    assert service.objects[NEW] == b"other"


def test_an_upload_that_the_service_forgot_is_lost(storage: Storage, service: FakeStorage) -> None:
    service.faults["PATCH"] += [Fault(), Fault(do=service.uploads.clear)]
    with pytest.raises(UploadLost) as raised:
        storage.target(*NEW).write(pieces(BIG))
    assert raised.value.retryable


def test_an_upload_that_lost_bytes_is_lost(storage: Storage, service: FakeStorage) -> None:
    def forget() -> None:
        next(iter(service.uploads.values())).data.clear()

    service.faults["PATCH"] += [Fault(), Fault(do=forget)]
    with pytest.raises(UploadLost):
        storage.target(*NEW).write(pieces(BIG))


@pytest.mark.parametrize("fault", [Fault(lost=True), Fault(after=2), Fault(status=502), Fault(hang=True)])
def test_a_small_upload_is_sent_again(storage: Storage, service: FakeStorage, fault: Fault) -> None:
    service.faults["POST"].append(fault)
    assert storage.target(*NEW).write([b"hello"]) == 5
    assert service.objects[NEW] == b"hello"


def test_a_missing_bucket_is_refused_with_the_services_words(storage: Storage, service: FakeStorage) -> None:
    body = {"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found", "code": "NoSuchBucket"}
    service.faults["POST"].append(Fault(status=400, body=body))
    with pytest.raises(StorageRefused, match="Bucket not found"):
        storage.target(*NEW).write([b"x"])


@pytest.mark.parametrize("data", [b"small", BIG])
def test_a_writing_target_is_cancelled_while_it_hangs(service: FakeStorage, data: bytes) -> None:
    patient = Storage(service.url, SECRET, stall=3600)
    service.faults["PATCH" if data == BIG else "POST"].append(Fault(after=0, hang=True))
    with pytest.raises(Cancelled):
        patient.target(*NEW, check=cancelling(service)).write(pieces(data))  # type: ignore[arg-type]
    assert NEW not in service.objects
    assert not service.uploads


def test_a_failing_source_stops_a_hanging_target(service: FakeStorage) -> None:
    patient = Storage(service.url, SECRET, stall=3600)
    service.faults["PATCH"].append(Fault(hang=True))

    def broken() -> Iterator[bytes]:
        yield BIG[: CHUNK + 1]
        assert service.hanging.wait(10)
        raise SourceMissing

    with pytest.raises(SourceMissing):
        patient.target(*NEW).write(broken())
    assert not service.uploads


def test_the_next_chunk_is_made_while_one_is_on_its_way(service: FakeStorage) -> None:
    made = threading.Event()
    in_time: list[bool] = []
    service.faults["PATCH"].append(Fault(do=lambda: in_time.append(made.wait(10))))

    def chunks() -> Iterator[bytes]:
        yield BIG[:CHUNK]
        yield BIG[CHUNK : 2 * CHUNK]
        made.set()
        yield BIG[2 * CHUNK :]

    storage = Storage(service.url, SECRET)
    assert storage.target(*NEW).write(chunks()) == len(BIG)
    assert in_time == [True]


# over TLS


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStorage]:
    monkeypatch.setattr("jobs.storage.connection.TICK", 0.02)
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    _tls.cache_clear()
    fake = FakeStorage(context)
    fake.objects[KEY] = DATA
    yield fake
    fake.close()
    _tls.cache_clear()


def test_the_same_streams_go_over_tls(secure: FakeStorage) -> None:
    storage = Storage(secure.url, SECRET, stall=0.5, tries=3, delay=0.001)
    secure.faults["GET"] += [Fault(after=700_000), Fault(after=100_000, hang=True)]
    secure.faults["PATCH"] += [Fault(after=1_000_000), Fault(hang=True), Fault(lost=True)]
    assert read(storage) == DATA
    assert storage.target(*NEW).write(pieces(BIG)) == len(BIG)
    assert secure.objects[NEW] == BIG


def test_a_stalled_stream_over_tls_is_cancelled(secure: FakeStorage) -> None:
    patient = Storage(secure.url, SECRET, stall=3600)
    secure.faults["PATCH"].append(Fault(after=0, hang=True))
    with pytest.raises(Cancelled):
        patient.target(*NEW, check=cancelling(secure)).write(pieces(BIG))  # type: ignore[arg-type]
    assert not secure.uploads


def test_an_unknown_certificate_is_not_trusted(secure: FakeStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    _tls.cache_clear()
    with pytest.raises(StorageUnavailable, match=r"(?i)certificate"):
        read(Storage(secure.url, SECRET, tries=0))


# the rest


def test_the_last_bytes_are_read_with_one_request(storage: Storage, service: FakeStorage) -> None:
    tail = storage.tail(*KEY, 100)
    assert (tail.data, tail.total) == (DATA[-100:], len(DATA))
    assert storage.tail(*KEY, 2_000_000).data == DATA
    service.faults["GET"].append(Fault(whole=True))
    assert storage.tail(*KEY, 100) == tail
    with pytest.raises(SourceMissing):
        storage.tail("documents", "nothing", 100)


def test_a_tail_and_a_read_are_of_one_object(storage: Storage, service: FakeStorage) -> None:
    source = storage.source(*KEY)
    source.tail(10)
    service.objects[KEY] = DATA[::-1]
    with pytest.raises(SourceChanged):
        list(source.blocks())


def test_info_tells_size_and_version(storage: Storage) -> None:
    info = storage.info(*KEY)
    assert (info.size, info.version) == (len(DATA), "v1")
    with pytest.raises(SourceMissing):
        storage.info("documents", "nothing")


def test_objects_are_removed_a_thousand_at_a_time(storage: Storage, service: FakeStorage) -> None:
    keys = [f"k{number}" for number in range(1, 2502)]
    service.objects.update({("archives", key): b"" for key in keys[:2000]})
    assert storage.remove("archives", keys) == 2000
    assert storage.remove("archives", []) == 0
    assert len(service.requests("DELETE")) == 3


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(SettingsError):
        Storage("project.supabase.co", SECRET)


def test_one_storage_serves_many_threads(storage: Storage, service: FakeStorage) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: read(storage) == DATA, range(8))) == {True}
