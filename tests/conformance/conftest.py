"""A stack with an empty schema, and beside its gateway the Storage service alone, on the same database."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.installation import free_port
from tests.caddy import serving
from tests.conformance.alone import PREFIX, ROOT, AloneService
from tests.conformance.replayer import Replayer, Target, load


def instashare(*arguments: str, data_dir: Path) -> dict[str, Any]:
    """Run the command line in JSON and answer with what it prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "instashare", *arguments, "--data-dir", data_dir, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"instashare {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def recordings() -> dict[str, Any]:
    return load()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, recordings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A stack of its own: Postgres, Auth, REST, Storage and the gateway, with the limit of the recordings."""
    folder = tmp_path_factory.mktemp("conformance")
    schema = folder / "empty.sql"
    schema.touch()
    limit = str(recordings["world"]["global_size_limit"])
    arguments = ["--schema", str(schema), "--storage-limit", limit, "--no-web", "--detach", "--port", str(free_port())]
    instashare("up", *arguments, data_dir=folder / "data")
    try:
        yield instashare("status", data_dir=folder / "data")
    finally:
        instashare("reset", "--yes", data_dir=folder / "data")


@pytest.fixture(scope="session")
def new_service(stack: dict[str, Any], recordings: dict[str, Any]) -> Any:
    """Makes Storage services, not started yet, with folders of their own on the stack's database."""

    def make(folder: Path) -> AloneService:
        limit = recordings["world"]["global_size_limit"]
        return AloneService(stack["admin_database_url"], stack["jwt_secret"], folder, limit)

    return make


@pytest.fixture(scope="session", params=["service", "gateway", "caddy"])
def replayer(
    request: pytest.FixtureRequest,
    stack: dict[str, Any],
    recordings: dict[str, Any],
    new_service: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Replayer]:
    """Replays against the service alone, through the local stack's gateway, and through the Caddy of a deployment.

    The gateway's process has no second address for Storage: it would be a door that believes forwarding headers. Caddy
    stands before the service alone, as compose has it.
    """
    folder = tmp_path_factory.mktemp("storage")
    with contextlib.ExitStack() as opened:
        service = opened.enter_context(new_service(folder / "service").running())
        url = service.url if request.param == "service" else stack["supabase_url"]
        if request.param == "caddy":
            behind = {"STORAGE_UPSTREAM": service.url.removeprefix("http://")}
            url = opened.enter_context(serving(behind, folder / "caddy")).url
        target = Target(
            url=url + PREFIX,
            service_url=None if request.param == "gateway" else service.url,
            database=stack["admin_database_url"],
            jwt_secret=stack["jwt_secret"],
            door=request.param,
        )
        replayer = Replayer(recordings, target)
        yield replayer
        replayer.close()
