"""`python -m backend`: one address, several processes, figures of all of them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from .conftest import BASE

ROOT = Path(__file__).parents[3]
SETTINGS = {"SUPABASE_URL": BASE, "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x"}


@contextmanager
def serving(workers: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    own = {**SETTINGS, "BACKEND_PORT": port, "BACKEND_WORKERS": workers, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "backend"]
    with subprocess.Popen(command, env={**os.environ, **own}, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def alive(address: str) -> float:
    """How many GET /healthz the figures know of."""
    text = httpx.get(f"{address}/metrics").text
    found = re.search(r'instashare_requests_total\{method="GET",route="/healthz",status="200"\} (\S+)', text)
    return float(found[1]) if found else 0.0


def test_the_figures_are_those_of_all_processes() -> None:
    with serving("2") as (address, _):
        deadline = time.monotonic() + 60
        while not answers(address):
            assert time.monotonic() < deadline
        before = alive(address)
        for _ in range(40):  # each on a connection of its own: any process may take it
            assert answers(address)
        assert [alive(address) for _ in range(10)] == [before + 40] * 10


@pytest.mark.parametrize("workers", ["0", "two", "-1"])
def test_a_number_of_processes_that_is_none(workers: str) -> None:
    with serving(workers) as (_, process):
        _, words = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "BACKEND_WORKERS" in words


def test_a_wrong_setting_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "SUPABASE_URL", "nonsense")
    with serving("2") as (_, process):
        _, words = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "SUPABASE_URL" in words
