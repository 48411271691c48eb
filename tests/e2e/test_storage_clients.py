"""Storage through unmodified clients: supabase-js and supabase-py do all they can, tus-js-client and aiotus resume."""

from __future__ import annotations

import base64
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from storage3.types import CreateSignedUploadUrlOptions

from supabase import Client, ClientOptions, create_client
from tests.chaos.storage_faults import cutting

from .storage_target import CHUNK, Buckets, Storage, buckets_of, random_file

if TYPE_CHECKING:
    from .conftest import Stack


@pytest.fixture(scope="module")
def buckets(stack: Stack) -> Iterator[Buckets]:
    if stack.admin_database_url is None or not stack.status:
        pytest.skip("these tests write policies and sign tokens, so they need a local stack of their own")
    keys = (stack.publishable_key, stack.secret_key, stack.status["jwt_secret"])
    with buckets_of(Storage(stack.supabase_url, *keys, stack.admin_database_url)) as made:
        yield made


def test_supabase_js_keeps_buckets(buckets: Buckets) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    seen = buckets.run_js("buckets", bucket=name, key=buckets.storage.secret_key)
    assert seen == {
        "made": name,
        "again": "409 The resource already exists",
        "limit": 1_000_000,
        "listed": True,
        "large": "413 The object exceeded the maximum allowed size",
        "full": "409 The bucket you tried to delete is not empty",
        "gone": "404 Bucket not found",
    }


def test_supabase_js_keeps_files(buckets: Buckets) -> None:
    folder = buckets.person
    seen = buckets.run_js("files", folder=folder, publicBucket=buckets.public)
    assert seen == {
        "uploaded": f"{folder}/a.txt",
        "twice": "409 The resource already exists",
        "read": "third",
        "exists": [False, True],
        "info": [5, "text/plain"],
        "top": ["b"],
        "sorted": ["c.txt"],
        "searched": ["b.txt"],
        # the client encodes a name twice where it is not ASCII
        "signed": ["third", "attachment; filename=%25C3%25BCber.txt; filename*=UTF-8''%25C3%25BCber.txt"],
        "many": ["third", "Either the object does not exist or you do not have access to it"],
        "byLink": f"{folder}/d.txt",
        "open": "public",
        "range": [206, "ubl"],
        "stranger": ["403 new row violates row-level security policy", 0, 0],
        "removed": 3,
    }


def test_supabase_js_does_the_rest(buckets: Buckets) -> None:
    names = [f"made-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    seen = buckets.run_js("rest", bucket=names[0], other=names[1], key=buckets.storage.secret_key)
    assert seen == {
        "bodies": {name: name for name in ("text", "buffer", "view", "blob", "file", "form", "stream")},
        "cached": "max-age=7",
        "info": ["all/buffer", names[0], 6, "text/plain", "max-age=7", {"by": "é"}, "string", "string"],
        "updated": [{"by": "2"}, "text/css", "max-age=9", 7],
        "asStream": "text",
        "nonce": "text",
        "transformed": f"404 Route GET:/render/image/authenticated/{names[0]}/all/text?width=9 not found",
        "attached": "attachment; filename=as.txt; filename*=UTF-8''as.txt",
        "aborted": "StorageUnknownError",
        "exists": [True, False],
        "pages": [[True, ["view", "text", "stream"]], [False, ["form", "file", "buffer", "blob"]]],
        "folders": ["all/"],
        "copied": f"{names[1]}/copied",
        "other": [["copied", 4], ["moved", 4]],
        "gone": "404 Object not found",
        "signed": ["attachment;", "Either the object does not exist or you do not have access to it"],
        "byLink": ["by link", {"by": "é"}],
        "taken": "409 The resource already exists",
        "base64": "é",
        "thrown": "Bucket not found",
        "buckets": [[True, "STANDARD"]],
        "refused": [404, 404, 404, 400, 400, 404, 404],
    }


# private to the client, though JavaScript knows no such thing; `from` of the two other products is theirs
INTERNAL = {
    "storage.bucketLifecycleUrl", "storage.listBucketOptionsToQueryString", "storage.handleOperation",
    "storage.throwOnError", "storage.setHeader", "files._getFinalPath", "files._removeEmptyFolders",
    "files.applyTransformOptsToQuery", "files.encodeMetadata", "files.handleOperation", "files.prepareUploadFormData",
    "files.uploadOrUpdate",
}  # fmt: skip


def test_every_method_of_supabase_js_was_called(buckets: Buckets) -> None:
    """A method that a new version brings is to be called as well."""
    buckets.run_js("buckets", bucket=f"made-{uuid.uuid4().hex[:8]}", key=buckets.storage.secret_key)
    buckets.run_js("files", folder=buckets.person, publicBucket=buckets.public)
    names = [f"made-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    buckets.run_js("rest", bucket=names[0], other=names[1], key=buckets.storage.secret_key)
    assert set(buckets.run_js("offered")) - INTERNAL <= buckets.called


@pytest.fixture
def admin(buckets: Buckets) -> Iterator[Client]:
    with httpx.Client(timeout=60) as http:  # the client has no way to close one of its own
        options = ClientOptions(httpx_client=http, persist_session=False)
        yield create_client(buckets.storage.url, buckets.storage.secret_key, options)


def test_supabase_py_keeps_buckets_and_files(admin: Client) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    admin.storage.create_bucket(name, options={"public": False, "file_size_limit": 1000})
    assert admin.storage.get_bucket(name).file_size_limit == 1000
    assert name in {bucket.name for bucket in admin.storage.list_buckets()}
    admin.storage.update_bucket(name, {"public": True})
    assert admin.storage.get_bucket(name).public
    files = admin.storage.from_(name)
    files.upload("a/1.txt", b"first", {"content-type": "text/plain", "cache-control": "60"})
    with pytest.raises(Exception, match="already exists"):
        files.upload("a/1.txt", b"x")
    with pytest.raises(Exception, match="exceeded the maximum allowed size"):
        files.upload("a/2.txt", b"x" * 1001)
    files.update("a/1.txt", b"second", {"content-type": "text/plain"})
    files.upload("a/1.txt", b"third", {"content-type": "text/plain", "upsert": "true"})
    assert files.download("a/1.txt") == b"third"
    files.move("a/1.txt", "a/2.txt")
    files.copy("a/2.txt", "b/3.txt")
    assert not files.exists("a/1.txt") and files.exists("b/3.txt")
    assert files.info("b/3.txt")["size"] == 5
    assert {item["name"] for item in files.list()} == {"a", "b"}
    assert [item["name"] for item in files.list("a", {"search": "2", "limit": 10})] == ["2.txt"]
    signed: Any = files.create_signed_url("a/2.txt", 60, {"download": "as.txt"})
    answer = httpx.get(signed["signedURL"])
    assert (answer.content, answer.headers["content-disposition"]) == (
        b"third",
        "attachment; filename=as.txt; filename*=UTF-8''as.txt",
    )
    many = files.create_signed_urls(["a/2.txt", "no"], 60)
    assert httpx.get(many[0]["signedURL"]).content == b"third" and many[1]["error"]
    leave = files.create_signed_upload_url("c.txt")
    files.upload_to_signed_url(leave["path"], leave["token"], b"by a link")
    assert httpx.get(files.get_public_url("c.txt")).content == b"by a link"
    assert len(files.remove(["a/2.txt", "b/3.txt", "c.txt", "no"])) == 3
    files.upload("left.txt", b"x")
    with pytest.raises(Exception, match="not empty"):
        admin.storage.delete_bucket(name)
    admin.storage.empty_bucket(name)
    admin.storage.delete_bucket(name)
    with pytest.raises(Exception, match="Bucket not found"):
        admin.storage.get_bucket(name)


class Ticking:
    """Hands calls on to a client's object and notes their names."""

    def __init__(self, behind: object) -> None:
        self.behind, self.called = behind, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self.behind, name)

    def missing(self) -> set[str]:
        return {
            name for name in dir(self.behind) if not name.startswith("_") and callable(getattr(self.behind, name))
        } - (self.called)


def test_every_method_of_supabase_py_does_its_work(admin: Client, tmp_path: Path) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    storage = Ticking(admin.storage)
    storage.create_bucket(name, name, {"public": True, "allowed_mime_types": ["text/*"], "file_size_limit": "1KB"})
    bucket = storage.get_bucket(name)
    assert (bucket.allowed_mime_types, bucket.file_size_limit, bucket.public) == (["text/*"], 1000, True)
    storage.update_bucket(name, {"public": True, "allowed_mime_types": None, "file_size_limit": None})
    assert name in {found.id for found in storage.list_buckets()}
    files = Ticking(storage.from_(name))
    path = tmp_path / "file.txt"
    path.write_bytes(b"a file")
    options: Any = {"content-type": "text/plain", "cache-control": "60", "metadata": {"by": "é"}}
    with path.open("rb") as opened, path.open("rb", buffering=0) as raw:
        for place, file in (
            ("path", path),
            ("text", str(path)),
            ("opened", opened),
            ("raw", raw),
            ("bytes", b"a file"),
        ):
            assert files.upload(f"all/{place}", file, options).path == f"all/{place}"
            assert files.download(f"all/{place}") == b"a file"
    info = files.info("all/path")
    assert (info["metadata"], info["content_type"], info["cache_control"]) == ({"by": "é"}, "text/plain", "max-age=60")
    files.update("all/path", b"updated", {"content-type": "text/css"})
    assert files.download("all/path", query_params={"download": "as.css"}) == b"updated"
    with pytest.raises(Exception, match="not found"):
        files.download("all/path", {"transform": {"width": 9}})
    with pytest.raises(Exception, match="Object not found"):
        files.move("all/none", "nowhere")
    files.move("all/text", "moved")
    files.copy("moved", "copied")
    assert files.exists("copied") and not files.exists("all/text")
    assert [item["name"] for item in files.list("all", {"limit": 2, "offset": 1})] == ["opened", "path"]
    page = files.list_v2({"prefix": "all/", "limit": 2, "with_delimiter": True})
    rest = files.list_v2({"prefix": "all/", "with_delimiter": True, "cursor": page.nextCursor})
    found = [[item.key for item in part.objects] for part in (page, rest)]
    assert (page.hasNext, rest.hasNext, found) == (True, False, [["bytes", "opened"], ["path", "raw"]])
    signed: Any = files.create_signed_url("moved", 60, {"download": True})
    assert httpx.get(signed["signedURL"]).headers["content-disposition"] == "attachment;"
    many = files.create_signed_urls(["moved", "none"], 60, {"download": "as.txt"})
    assert httpx.get(many[0]["signedURL"]).content == b"a file" and many[1]["error"]
    leave = files.create_signed_upload_url("moved", CreateSignedUploadUrlOptions(upsert="true"))
    files.upload_to_signed_url(leave["path"], leave["token"], b"by a link", {"content-type": "text/plain"})
    assert httpx.get(files.get_public_url("moved", {"download": "as.txt"})).content == b"by a link"
    assert len(files.remove(["moved", "copied", "none"])) == 2
    storage.empty_bucket(name)
    storage.delete_bucket(name)
    assert not files.missing()
    assert storage.missing() == {"analytics", "vectors"}  # other products


# aiohttp warns of what aiotus does: whole chunks as bytes
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("size", [0, CHUNK - 1, CHUNK, CHUNK + 1])
@pytest.mark.parametrize("client", ["tus-js-client", "aiotus"])
def test_resumable_upload_of_any_size(buckets: Buckets, tmp_path: Path, client: str, size: int) -> None:
    file, name = tmp_path / "file.bin", f"{client}-{size}.bin"
    digest = random_file(file, size)
    if client == "aiotus":
        assert buckets.resume(buckets.storage.url, name, file) is not None
    else:
        done = buckets.run_js("resumable", object=f"{buckets.person}/{name}", file=str(file))
        assert done["requests"] == ["POST 201", *(["PATCH 204"] if size > CHUNK else [])]
        assert done["url"].startswith(f"{buckets.storage.url}/storage/v1/upload/resumable/")
    assert buckets.digest(name) == digest


def test_resumable_upload_is_gone_on_with_by_another_client(buckets: Buckets, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    digest = random_file(file, 2 * CHUNK + 5)
    done = buckets.run_js("abandoned", object=f"{buckets.person}/gone-on.bin", file=str(file))
    assert done["requests"][0] == "HEAD 200"
    assert buckets.digest("gone-on.bin") == digest


@pytest.fixture
def chromium() -> str:
    """The system's Chromium; without one the test is skipped by name."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("There is no Chromium on this machine (Debian, Ubuntu: apt-get install chromium).")
    return found


def test_page_in_a_browser_stores_and_reads(buckets: Buckets, chromium: str) -> None:
    """On an origin of its own: supabase-js, tus-js-client through a proxy that cuts, and Uppy."""
    port = int(buckets.storage.url.rpartition(":")[2])
    with cutting(port, cuts=2, seed=3) as proxy:
        seen = buckets.run_page(chromium, cutting=f"http://127.0.0.1:{proxy.port}")
        assert not proxy.cuts_left
    assert "small.txt" in seen.pop("listed")  # beside what earlier tests have left in the folder
    assert seen == {
        "small": "from a page",
        "range": [206, "from", "bytes 0-3/11", True],
        "refused": "409",
        "resumed": True,
        "tus": True,
        "uppy": [4, []],
        "stored": {"empty.bin": True, "under.bin": True, "even.bin": True, "over.bin": True},
    }


PAGE = "http://app.example"


def test_page_on_another_origin_may_resume_an_upload(buckets: Buckets) -> None:
    """What a browser asks before and reads after each request of tus-js-client, with the key in `apikey`."""
    asks = "apikey,authorization,tus-resumable,upload-length,upload-metadata,upload-offset,content-type,x-upsert"
    url = f"{buckets.storage.url}/storage/v1/upload/resumable"
    with httpx.Client(headers={"origin": PAGE}) as page:

        def preflight(address: str, method: str) -> None:
            asked = {"access-control-request-method": method, "access-control-request-headers": asks}
            answer = page.options(address, headers=asked)
            assert answer.status_code == 204 and answer.headers.get_list("access-control-allow-origin") == ["*"]
            allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
            assert set(asks.split(",")) <= allowed
            assert method in answer.headers["access-control-allow-methods"]

        pairs = {"bucketName": buckets.private, "objectName": f"{buckets.person}/page.bin", "contentType": "text/plain"}
        metadata = ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in pairs.items())
        keys = {"apikey": buckets.storage.key, "authorization": f"Bearer {buckets.token}", "tus-resumable": "1.0.0"}
        preflight(url, "POST")
        made = page.post(url, headers={**keys, "upload-length": "5", "upload-metadata": metadata})
        address = made.headers["location"]
        preflight(address, "PATCH")
        part = {"upload-offset": "0", "content-type": "application/offset+octet-stream"}
        sent = page.patch(address, headers={**keys, **part}, content=b"hello")
        for answer, names in ((made, ["location"]), (sent, ["upload-offset"])):
            assert answer.headers.get_list("access-control-allow-origin") == ["*"]
            exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
            assert set(names) <= exposed
        missing = page.head(address, headers={"apikey": buckets.storage.key})  # a fault has them as well
        assert missing.status_code == 412 and missing.headers.get_list("access-control-allow-origin") == ["*"]
        read = page.get(
            f"{buckets.storage.url}/storage/v1/object/{buckets.private}/{buckets.person}/page.bin", headers=keys
        )
        assert read.text == "hello" and read.headers["access-control-allow-origin"] == "*"
