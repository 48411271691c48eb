"""The stack under real faults: killed services, a killed supervisor, Ctrl-C, two starts at once, taken ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from local import control, state
from local.installation import free_port
from tests.e2e.conftest import CLI, ROOT, instashare, wait_for

SCHEMA = """
create table public.notes (id int primary key, text text);
grant select on public.notes to anon;
insert into public.notes values (1, 'still here');
"""
SUPABASE = ["postgres", "auth", "rest", "gateway"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder of a running stack with a schema of its own: Postgres, Auth, REST and the gateway."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "schema.sql").write_text(SCHEMA)
    data_dir = folder / "data"
    started = up(data_dir, "--port", str(free_port()), "--schema", str(folder / "schema.sql"))
    assert started.returncode == 0, started.stdout + started.stderr
    yield data_dir
    removed = instashare("reset", "--yes", "--data-dir", str(data_dir))
    assert removed.returncode == 0, removed.stderr


def up(data_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return instashare("up", "--detach", "--json", "--data-dir", str(data_dir), *words)


def read_status(data_dir: Path) -> dict[str, Any]:
    return control.describe(data_dir)


def list_pids(data_dir: Path) -> dict[str, int]:
    """The pid of every service and of the supervisor."""
    pids = {name: service["pid"] for name, service in read_status(data_dir)["services"].items()}
    told = state.read(data_dir)
    assert told is not None
    return pids | ({"supervisor": told.supervisor.pid} if told.supervisor else {})


def ensure_running(data_dir: Path) -> None:
    if read_status(data_dir)["state"] != "ready":
        assert up(data_dir).returncode == 0


def are_gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def read_notes(data_dir: Path) -> list[dict[str, Any]]:
    facts = read_status(data_dir)
    answer = httpx.get(f"{facts['supabase_url']}/rest/v1/notes", headers={"apikey": facts["publishable_key"]})
    notes: list[dict[str, Any]] = answer.raise_for_status().json()
    return notes


def test_a_schema_file_stands_in_place_of_our_own(small: Path) -> None:
    ensure_running(small)
    facts = read_status(small)
    assert list(facts["services"]) == SUPABASE
    assert (facts["backend_url"], facts["web_url"], facts["database_url"], facts["demo_users"]) == (
        None,
        None,
        None,
        [],
    )
    assert read_notes(small) == [{"id": 1, "text": "still here"}]


@pytest.mark.parametrize("name", SUPABASE)
def test_a_killed_service_is_started_again(small: Path, name: str) -> None:
    ensure_running(small)
    before = read_status(small)["services"][name]
    os.kill(before["pid"], signal.SIGKILL)

    def back() -> bool:
        facts = read_status(small)
        return facts["state"] == "ready" and facts["services"][name]["pid"] not in (None, before["pid"])

    wait_for(back, 60)
    after = read_status(small)["services"][name]
    assert after["restarts"] == before["restarts"] + 1
    assert after["detail"] == "ended with SIGKILL"
    wait_for(lambda: answers(small), 30)
    assert read_notes(small) == [{"id": 1, "text": "still here"}]


def answers(data_dir: Path) -> bool:
    """Tell whether a request gets through to the database again: REST and Auth connect anew by themselves."""
    facts = read_status(data_dir)
    headers = {"apikey": facts["publishable_key"]}
    try:
        rest = httpx.get(f"{facts['supabase_url']}/rest/v1/notes", headers=headers)
        auth = httpx.get(f"{facts['supabase_url']}/auth/v1/health", headers=headers)
    except httpx.TransportError:
        return False
    return rest.is_success and auth.is_success


def test_a_killed_supervisor_takes_its_services_along_and_the_next_start_works(small: Path) -> None:
    ensure_running(small)
    before = list_pids(small)
    os.kill(before["supervisor"], signal.SIGKILL)
    wait_for(lambda: are_gone([before["supervisor"]]), 10)
    assert read_status(small)["state"] == "stopped"
    started = up(small)
    assert started.returncode == 0, started.stdout
    assert are_gone(list(before.values()))
    assert read_notes(small) == [{"id": 1, "text": "still here"}]


def test_services_that_outlive_a_killed_supervisor_are_ended_by_down(small: Path) -> None:
    ensure_running(small)
    before = list_pids(small)
    # stopped processes cannot follow their parent by themselves
    os.kill(before["rest"], signal.SIGSTOP)
    os.kill(before["supervisor"], signal.SIGKILL)
    wait_for(lambda: are_gone([before["supervisor"], before["postgres"]]), 30)
    os.kill(before["rest"], signal.SIGCONT)
    stopped = instashare("down", "--json", "--data-dir", str(small))
    assert stopped.returncode == 0
    assert json.loads(stopped.stdout)["state"] == "stopped"
    assert are_gone(list(before.values()))


def test_down_ends_everything_and_keeps_the_data(small: Path) -> None:
    ensure_running(small)
    before = list_pids(small)
    stopped = instashare("down", "--json", "--data-dir", str(small))
    assert json.loads(stopped.stdout) == {"state": "stopped", "was_running": True}
    assert are_gone(list(before.values()))
    assert instashare("status", "--json", "--data-dir", str(small)).returncode == 3
    assert up(small).returncode == 0
    assert read_notes(small) == [{"id": 1, "text": "still here"}]


def test_three_starts_at_once_make_one_stack(small: Path) -> None:
    control.stop(small, lambda told: None)
    with ThreadPoolExecutor(3) as threads:
        started = list(threads.map(lambda _: up(small), range(3)))
    assert [one.returncode for one in started] == [0, 0, 0], [one.stdout for one in started]
    told = [json.loads(one.stdout) for one in started]
    assert all(one["state"] == "ready" for one in told)
    assert len({one["services"]["postgres"]["pid"] for one in told}) == 1


def test_a_second_start_says_that_it_runs_already(small: Path) -> None:
    ensure_running(small)
    before = list_pids(small)
    second = instashare("up", "--data-dir", str(small))
    assert second.returncode == 0
    assert "already running" in second.stdout
    assert read_status(small)["supabase_url"] in second.stdout
    assert list_pids(small) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_foreground_stack_leaves_nothing_when_it_is_asked_to_stop(small: Path, number: signal.Signals) -> None:
    control.stop(small, lambda told: None)
    # as at a terminal: one process group, which a Ctrl-C reaches whole
    process = subprocess.Popen(
        [*CLI, "up", "--json", "--data-dir", str(small)], cwd=ROOT, stdout=subprocess.PIPE, process_group=0
    )
    assert process.stdout is not None
    with process.stdout:
        facts = json.loads(process.stdout.readline())
        assert facts["state"] == "ready"
        pids = list_pids(small)
        os.killpg(process.pid, number)
        assert process.wait(60) == 0
        assert process.stdout.read() == b""
    assert are_gone(list(pids.values()))


def test_ctrl_c_while_starting_leaves_nothing(small: Path) -> None:
    control.stop(small, lambda told: None)
    process = subprocess.Popen([*CLI, "up", "--json", "--data-dir", str(small)], cwd=ROOT, process_group=0)

    def has_begun() -> list[int]:
        told = state.read(small)
        mine = told and told.supervisor and told.supervisor.pid == process.pid
        return [one.process.pid for one in told.services.values() if one.process] if told and mine else []

    pids = wait_for(has_begun, 60)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    assert are_gone(pids)
    told = state.read(small)
    assert told is not None
    assert told.state == "stopped"


def test_a_taken_port_is_said_with_its_cure_and_nothing_stays(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        refused = up(tmp_path / "data", "--port", str(port))
    assert refused.returncode == 1
    assert refused.stderr == ""
    error = json.loads(refused.stdout)["error"]
    assert error["code"] == "port_taken"
    assert str(port) in error["message"]
    assert "--port" in error["cure"]
    assert state.find_supervisor(tmp_path / "data") is None


def test_a_schema_that_fails_is_blamed_by_line_and_can_be_mended(tmp_path: Path) -> None:
    schema, data_dir = tmp_path / "schema.sql", tmp_path / "data"
    schema.write_text("create table public.a (id int);\ncreate tabel public.b (id int);\n")
    words = ["--port", str(free_port()), "--schema", str(schema)]
    try:
        failed = up(data_dir, *words)
        assert failed.returncode == 1
        message = json.loads(failed.stdout)["error"]["message"]
        assert f"{schema}, line 2" in message
        assert "42601" in message
        schema.write_text("create table public.a (id int);\n")
        assert up(data_dir, *words).returncode == 0
        instashare("down", "--data-dir", str(data_dir))
        schema.write_text("create table public.other (id int);\n")
        changed = up(data_dir, *words)
        assert json.loads(changed.stdout)["error"]["code"] == "schema_changed"
    finally:
        instashare("reset", "--yes", "--data-dir", str(data_dir))
