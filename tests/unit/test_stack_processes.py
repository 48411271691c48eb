"""Services as processes: started, ended, followed when a supervisor dies, and told apart from strangers."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from local import state
from local.logs import LIMIT, last_words, rotate
from local.packages import ROOT, clean_environment
from local.service import Service, end, launch, wait_until
from local.state import ProcessId, ServiceState, StackState


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def serve(script: str, **more: object) -> Service:
    """A service that runs a shell script."""
    service = Service("test", ["sh", "-c", script], dict(os.environ), ready=lambda: True)
    return dataclasses.replace(service, **more)  # type: ignore[arg-type]


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_service_writes_to_its_log_and_leads_a_session(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = launch(serve("echo said; echo wrong >&2"), log)
    assert process.wait(10) == 0
    assert log.read_text() == "said\nwrong\n"


def test_what_a_service_prepares_happens_before_every_start(tmp_path: Path) -> None:
    stale = tmp_path / "heartbeat"
    stale.touch()
    service = serve(f"test ! -e '{stale}'", prepare=lambda: stale.unlink(missing_ok=True))
    for _ in range(2):
        assert launch(service, tmp_path / "log").wait(10) == 0


def test_a_service_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    service = serve(f"trap '' TERM; sleep 60 & echo $! > '{started}'; while :; do wait; done", stop_seconds=0.2)
    process = launch(service, tmp_path / "log")
    assert within(10, lambda: started.exists() and started.read_text().strip() != "")
    end(process, service)
    assert process.returncode == -signal.SIGKILL
    assert within(5, lambda: is_gone(int(started.read_text())))


def test_waiting_for_a_service_that_ended_does_not_take_long(tmp_path: Path) -> None:
    process = launch(serve("exit 3"), tmp_path / "log")
    begun = time.monotonic()
    assert not wait_until(lambda: False, process, 60)
    assert time.monotonic() - begun < 30


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not tell children of a parent's death")
def test_a_service_ends_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    script = """
        import os, sys, time
        from pathlib import Path
        from local.service import Service, launch
        service = Service("test", ["sleep", "60"], dict(os.environ), ready=lambda: True)
        print(launch(service, Path(sys.argv[1])).pid, flush=True)
        time.sleep(60)
    """
    lines = "\n".join(line.strip() for line in script.splitlines())
    supervisor = subprocess.Popen(
        [sys.executable, "-P", "-c", lines, str(tmp_path / "log")], stdout=subprocess.PIPE, env=clean_environment()
    )
    assert supervisor.stdout is not None
    with supervisor.stdout:
        pid = int(supervisor.stdout.readline())
        assert not is_gone(pid)
        supervisor.kill()
        supervisor.wait()
    assert within(5, lambda: is_gone(pid))


def record(data_dir: Path, process: ProcessId | None, **more: object) -> None:
    service = dataclasses.replace(ServiceState("rest", "ready", process), **more)  # type: ignore[arg-type]
    state.write(data_dir, StackState("ready", ProcessId.of(os.getpid()), services={"rest": service}))


def test_what_a_killed_supervisor_left_is_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    record(tmp_path, ProcessId.of(sleeper.pid))
    told: list[str] = []
    assert state.clear_leftovers(tmp_path, told.append) == ["rest"]
    assert told == ["rest"]
    assert is_gone(sleeper.pid)


def test_a_leftover_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = subprocess.Popen(
        ["sh", "-c", f"trap '' TERM; touch '{ready}'; while :; do sleep 1; done"], start_new_session=True
    )
    assert within(10, ready.exists)
    record(tmp_path, ProcessId.of(process.pid), stop_seconds=0.2)
    state.clear_leftovers(tmp_path)
    assert is_gone(process.pid)
    process.wait()


def test_a_stranger_who_got_the_number_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    record(tmp_path, ProcessId(sleeper.pid, "born before the last boot"))
    assert state.clear_leftovers(tmp_path) == []
    assert sleeper.poll() is None


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record(tmp_path, ProcessId(7, "then"), restarts=2, detail="ended with SIGKILL")
    told = state.read(tmp_path)
    assert told is not None
    assert told.services["rest"].process == ProcessId(7, "then")
    assert told.services["rest"].detail == "ended with SIGKILL"
    assert not state.write(tmp_path, told)
    told.step = "something else"
    assert state.write(tmp_path, told)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "ready"}'])
def test_a_damaged_record_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text)
    assert state.read(tmp_path) is None
    assert state.find_supervisor(tmp_path) is None
    assert state.clear_leftovers(tmp_path) == []


def test_only_one_supervisor_has_a_data_folder(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with state.supervision(data_dir) as first:
        assert first
        ask = "import sys; from pathlib import Path; from local import state\n"
        ask += "with state.supervision(Path(sys.argv[1])) as ours: print(ours)"
        command = [sys.executable, "-P", "-c", ask, str(data_dir)]
        other = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
        assert other.stdout == "False\n"
    with state.supervision(data_dir) as again:
        assert again


def test_a_long_log_is_put_aside_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "rest.log"
    with log.open("ab") as service:
        service.write(b"x" * (LIMIT + 1))
        service.flush()
        rotate(log)
        service.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "rest.log.1").stat().st_size == LIMIT + 1


def test_a_short_log_stays(tmp_path: Path) -> None:
    log = tmp_path / "rest.log"
    log.write_text("first\nlast words\n\n")
    rotate(log)
    assert not (tmp_path / "rest.log.1").exists()
    assert last_words(log) == "last words"
    assert last_words(tmp_path / "none.log") == "it said nothing"


def test_services_hear_nothing_of_another_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUPABASE_URL", "SUPABASE_JWT_ALLOW_HS256", "DATABASE_URL", "PGHOST", "PGRST_DB_URI", "PYTHONHOME"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("NO_PROXY", "example.test")
    monkeypatch.setenv("RUNNER_SLOTS", "3")
    environment = clean_environment()
    assert "foreign" not in environment.values()
    assert environment["NO_PROXY"] == "127.0.0.1,localhost,example.test"
    assert environment["RUNNER_SLOTS"] == "3"
    assert environment["PYTHONPATH"] == str(ROOT)
