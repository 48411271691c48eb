"""The deployment's own pieces around the local stack: real Caddy, the image's files, and what compose renders.

There is no engine here. Caddy runs with our Caddyfile in front of the stack, and migrations, API and runner run from a
folder with exactly what the image holds, with exactly the environment that docker-compose renders; only the names of
containers are replaced by addresses of this machine, and the issuer by the local stack's.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import httpx
import pytest
from tusclient.client import TusClient

from jobs.cli import keys
from local import installation
from local.installation import Installation, free_port
from tests.caddy import ROOT, Door, before_stack, tool
from tests.e2e.conftest import Stack, wait_for

# the files whose target are settings; the others start stacks of their own, whose settings or services they change
THROUGH = (
    "test_auth_admin",
    "test_auth_sessions",
    "test_auth_supabase_js",
    "test_command_line",
    "test_faults",
    "test_main_job",
    "test_share_ends",
    "test_storage_clients",
)


class Counts(NamedTuple):
    """What became of a file's tests, by name."""

    passed: list[str]
    failed: list[str]
    skipped: list[str]


@dataclass
class Deployment:
    """What runs: the target through Caddy, and the environment that compose rendered for each service."""

    target: Stack
    door: Door
    services: dict[str, dict[str, str]]
    image: Path
    heartbeat: Path
    runner: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def local(stack: Stack) -> Installation:
    if stack.data_dir is None:
        pytest.skip("needs a local stack of its own")
    return installation.load(stack.data_dir)


def absent() -> list[str]:
    """The modules of this environment that the image's lacks, by the very groups that the Dockerfile names."""
    (sync,) = re.findall(r"uv sync (--locked .*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    command = [
        tool("uv"),
        "export",
        *sync.split(),
        "--offline",
        "--quiet",
        "--no-hashes",
        "--no-header",
        "--no-annotate",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    there = {re.split(r"[=\[ ;]", line)[0] for line in done.stdout.splitlines()}
    assert "fastapi" in there and "pytest" not in there
    modules = packages_distributions().items()
    return sorted(
        name for name, owners in modules if there.isdisjoint(re.sub(r"[-_.]+", "-", one).lower() for one in owners)
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the stage `app` copies, where the packages that it lacks cannot be imported."""
    folder = tmp_path_factory.mktemp("image")
    stage = (ROOT / "Dockerfile").read_text().split(" AS app\n")[1].split("\nFROM ")[0]
    for sources, target in re.findall(r"^COPY (?!--from)(.*) (\S+)$", stage, re.MULTILINE):
        for pattern in sources.split():
            for source in ROOT.glob(pattern):
                place = folder / target / source.name if target.endswith("/") else folder / target
                place.parent.mkdir(parents=True, exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, place)
    blocked = folder / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({absent()!r}))\n")
    return folder


def render(local: Installation, public_url: str, folder: Path) -> dict[str, dict[str, str]]:
    """The environment of every service, with the local stack's passwords and keys in the place of fresh ones."""
    made = {
        **keys.make(),
        "POSTGRES_PASSWORD": local.secrets.passwords["postgres"],
        "RUNNER_PASSWORD": local.secrets.passwords["instashare_runner"],
        "SUPABASE_PUBLISHABLE_KEY": local.secrets.publishable_key,
        "SUPABASE_SECRET_KEY": local.secrets.secret_key,
    }
    file = folder / ".env"
    file.write_text(keys.compose_file(made, public_url))
    done = subprocess.run(
        [tool("docker-compose"), "--env-file", file, "config", "--format", "json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"docker-compose cannot render (2 or newer is needed): {done.stderr.strip()[-200:]}")
    return {name: service.get("environment", {}) for name, service in json.loads(done.stdout)["services"].items()}


@pytest.fixture(scope="module")
def deployment(
    stack: Stack, local: Installation, image: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    port, backend = free_port(), free_port()
    public_url = f"http://127.0.0.1:{port}"
    services = render(local, public_url, folder)
    python = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": f"{image / 'blocked'}{os.pathsep}{image}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    heartbeat = folder / "heartbeat"
    inner = f"http://127.0.0.1:{free_port()}"
    database = f"127.0.0.1:{local.ports.postgres}"
    replaced = {
        "migrate": {"ADMIN_DATABASE_URL": services["migrate"]["ADMIN_DATABASE_URL"].replace("db:5432", database)},
        "backend": {
            "SUPABASE_URL": inner,
            "SUPABASE_JWT_ISSUER": local.auth_issuer,
            "BACKEND_HOST": "127.0.0.1",
            "BACKEND_PORT": str(backend),
        },
        "runner": {
            "SUPABASE_URL": inner,
            "DATABASE_URL": services["runner"]["DATABASE_URL"].replace("db:5432", database),
            "RUNNER_HEARTBEAT_FILE": str(heartbeat),
        },
    }
    started: list[subprocess.Popen[bytes]] = []

    def start_image(role: str) -> subprocess.Popen[bytes]:
        command = [image / "deploy" / "start", role]
        environment = {**services[role], **python, **replaced[role]}
        with (folder / f"{role}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        started.append(process)
        return process

    here = {"INTERNAL_ADDRESS": inner.removeprefix("http://"), "BACKEND_UPSTREAM": f"127.0.0.1:{backend}"}
    try:
        with before_stack(local, folder / "gateway", {**services["gateway"], **here}) as door:
            assert door.url == public_url
            assert start_image("migrate").wait(60) == 0, (folder / "migrate.log").read_text()
            start_image("backend")
            runner = start_image("runner")

            def ready() -> bool:
                for process in started[1:]:
                    assert process.poll() is None, "".join(log.read_text() for log in folder.glob("*.log"))
                try:
                    return httpx.get(f"{public_url}/api/readyz").status_code == 200 and heartbeat.exists()
                except httpx.TransportError:
                    return False

            wait_for(ready, 60)
            target = Stack(
                public_url,
                f"{public_url}/api",
                stack.publishable_key,
                stack.secret_key,
                stack.admin_database_url,
                status=stack.status,
            )
            with target.http:
                yield Deployment(target, door, services, image, heartbeat, runner)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_the_main_job_through_the_gateway(deployment: Deployment) -> None:
    """Sign in, upload, wait, rename, download: every address is the gateway's."""
    person = deployment.target.person()
    data = os.urandom(300_000)
    document = person.upload("holiday.bin", data)
    person.wait(document["id"])
    renamed = person.api("PATCH", f"/documents/{document['id']}", json={"name": "trip.bin"})
    assert renamed.status_code == 200, renamed.text
    link = person.api("POST", f"/documents/{document['id']}/download-url").json()
    assert link["url"].startswith(f"{deployment.target.supabase_url}/storage/v1/object/sign/archives/")
    assert link["filename"] == "trip.bin.zip" or link["filename"].startswith("trip")
    answer = httpx.get(link["url"])
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.read(archive.namelist()[0]) == data
    ranged = httpx.get(link["url"], headers={"Range": "bytes=0-3"})
    assert (ranged.status_code, ranged.content) == (206, answer.content[:4])


def test_resumable_uploads_go_on_at_the_gateways_address(deployment: Deployment) -> None:
    person = deployment.target.person()
    data = os.urandom(13 * (1 << 20))
    document = person.add("large.bin", len(data))
    client = TusClient(
        f"{deployment.target.supabase_url}/storage/v1/upload/resumable",
        headers={"Authorization": f"Bearer {person.access_token}", "apikey": deployment.target.publishable_key},
    )
    uploader = client.uploader(
        file_stream=io.BytesIO(data),
        chunk_size=6 * (1 << 20),
        metadata={
            "bucketName": "documents",
            "objectName": f"{document['owner_id']}/{document['id']}",
            "contentType": "application/octet-stream",
        },
    )
    uploader.upload_chunk()
    assert uploader.url.startswith(f"{deployment.target.supabase_url}/storage/v1/upload/resumable/")
    uploader.upload()
    person.wait(document["id"])
    archive = zipfile.ZipFile(io.BytesIO(person.download(document["id"])))
    assert archive.read("large.bin") == data


def test_strangers_and_other_peoples_documents_stay_out(deployment: Deployment) -> None:
    owner, stranger = deployment.target.person(), deployment.target.person()
    document = owner.upload("secret.txt", b"secret")
    owner.wait(document["id"])
    assert stranger.api("POST", f"/documents/{document['id']}/download-url").status_code == 404
    assert stranger.client.table("documents").select("id").eq("id", document["id"]).execute().data == []
    url = f"{deployment.target.supabase_url}/rest/v1/documents?select=id"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"apikey": ""}).status_code == 401
    assert httpx.get(url, headers={"apikey": deployment.target.publishable_key}).status_code in (401, 403)


@pytest.fixture(scope="module")
def through(deployment: Deployment, local: Installation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counts]:
    """The end-to-end tests whose target are settings, in a run of their own with the gateway's address: by file."""
    report = tmp_path_factory.mktemp("through") / "report.xml"
    files = [f"tests/e2e/{name}.py" for name in THROUGH]
    marked = ["-m", "not long and not chaos"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *marked, f"--junit-xml={report}", *files],
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
        env={
            **os.environ,
            "SUPABASE_URL": deployment.target.supabase_url,
            "SUPABASE_PUBLISHABLE_KEY": deployment.target.publishable_key,
            "SUPABASE_SECRET_KEY": deployment.target.secret_key,
            "SUPABASE_JWT_ISSUER": local.auth_issuer,
            "E2E_DATA_DIR": str(local.data_dir),
            "BACKEND_URL": deployment.target.backend_url,
            "ADMIN_DATABASE_URL": deployment.target.admin_database_url or "",
        },
    )  # fmt: skip
    assert report.exists(), done.stdout[-4000:] + done.stderr
    found: dict[str, Counts] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        counts = found.setdefault(case.get("classname", "").split(".")[2], Counts([], [], []))
        ends = {child.tag for child in case}
        kind = counts.failed if ends & {"failure", "error"} else counts.skipped if ends & {"skipped"} else counts.passed
        kind.append(case.get("name", ""))
    failed = [name for counts in found.values() for name in counts.failed]
    if failed:
        print(done.stdout[-12_000:])  # pytest shows it with the failing tests
    return found


@pytest.mark.parametrize("name", THROUGH)
def test_the_end_to_end_tests_pass_through_the_gateway(through: dict[str, Counts], name: str) -> None:
    """The same files as against the stack itself; one test is left out, for the next but one does the same."""
    counts = through.get(name, Counts([], [], []))
    assert (counts.failed, set(counts.skipped) - {"test_the_doctor_finds_nothing_wrong"}) == ([], set())
    assert counts.passed


def examine(deployment: Deployment, local: Installation, *arguments: str, **more: str) -> dict[str, bool]:
    """`docker compose run --rm migrate doctor`, from the image's files: what it finds, by name."""
    database = f"127.0.0.1:{local.ports.postgres}"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": f"{deployment.image / 'blocked'}{os.pathsep}{deployment.image}",
        "SUPABASE_URL": deployment.target.supabase_url,
        "SUPABASE_PUBLISHABLE_KEY": deployment.target.publishable_key,
        "SUPABASE_SECRET_KEY": deployment.target.secret_key,
        "DATABASE_URL": deployment.services["runner"]["DATABASE_URL"].replace("db:5432", database),
        "ADMIN_DATABASE_URL": deployment.services["migrate"]["ADMIN_DATABASE_URL"].replace("db:5432", database),
        "BACKEND_URL": deployment.target.backend_url,
        # where the local stack's Auth sends people; in a deployment it is the gateway's own origin
        "WEB_URL": local.web_url or "",
        **more,
    }
    done = subprocess.run(
        [deployment.image / "deploy" / "start", "doctor", "--json", *arguments],
        env=environment, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    return {check["name"]: check["ok"] for check in json.loads(done.stdout)["checks"]}


def test_the_images_command_line_finds_all_well(deployment: Deployment, local: Installation) -> None:
    found = examine(deployment, local)
    # the local stack confirms addresses by itself, which a deployment never does
    assert {name for name, ok in found.items() if not ok} <= {"auth.confirmation"}
    assert found["storage.large_upload"] and found["storage.resumable"] and found["mail.redirects"]


@pytest.mark.long
def test_a_download_of_forty_seconds_and_a_mail_link_pass(deployment: Deployment, local: Installation) -> None:
    found = examine(deployment, local, "--thorough", SUPABASE_PUBLIC_URL=local.supabase_url)
    assert {name for name, ok in found.items() if not ok} <= {"auth.confirmation"}
    assert found["storage.slow_download"] and found["mail.link"]


def test_the_doctor_tells_whose_keys_the_verifiers_know(deployment: Deployment, local: Installation) -> None:
    """With the key that Auth signs with all verifiers take its tokens; with another .env's they refuse them."""
    own = json.dumps([{**local.secrets.signing_key, "alg": "ES256", "key_ops": ["sign", "verify"]}])
    names = [f"signing_key.{service}" for service in ("auth", "rest", "storage", "backend")]
    for given, right in ((own, True), (keys.make()["JWT_KEYS"], False)):
        found = examine(deployment, local, JWT_KEYS=given, SUPABASE_JWT_ISSUER=local.auth_issuer)
        assert {name: found[name] for name in names} == dict.fromkeys(names, right)


def test_the_runner_stops_in_time_and_takes_its_sign_of_life_along(deployment: Deployment) -> None:
    deployment.runner.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert deployment.runner.wait(45) == 0
    assert time.monotonic() - began < 45
    assert not deployment.heartbeat.exists()
