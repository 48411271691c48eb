"""The one connection against a real server: notifications, and calls that would never end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from jobs.runner.connection import Connection, WrongCredentials
from jobs.runner.wake import Wake
from tests.chaos.conftest import Arena
from tests.e2e.conftest import wait_for


@pytest.fixture
def connection(arena: Arena) -> Iterator[Connection]:
    connection = Connection(arena.stack.status["database_url"])
    connection.open()
    yield connection
    connection.close()


def test_notifications_wake_the_sleeper(arena: Arena, connection: Connection) -> None:
    assert connection.hears and not connection.announced()
    wake = Wake()
    threading.Timer(0.1, arena.database.execute, ["notify instashare_jobs"]).start()
    started = time.monotonic()
    while not (wake.sleep(30, connection.fileno()) and connection.announced()):
        assert time.monotonic() - started < 20
    assert not connection.announced()
    wake.close()


def test_one_that_comes_during_a_call_is_not_lost(arena: Arena, connection: Connection) -> None:
    arena.database.execute("notify instashare_jobs")
    connection.call("installation_id")
    assert connection.announced()


def test_a_pooled_connection_does_not_listen(arena: Arena) -> None:
    connection = Connection(arena.stack.status["database_url"], "poll")
    connection.open()
    try:
        arena.database.execute("notify instashare_jobs")
        connection.call("installation_id")
        assert not connection.hears and not connection.announced()
    finally:
        connection.close()


def test_the_hosted_transaction_pooler_is_known_by_its_port() -> None:
    assert Connection("postgresql://u:p@region.pooler.example.test:6543/postgres").pooled
    assert not Connection("postgresql://u:p@region.pooler.example.test:5432/postgres").pooled


def test_a_call_that_hangs_can_be_cut(arena: Arena, connection: Connection) -> None:
    (server,) = arena.rows(
        "select pid from pg_stat_activity where application_name = 'instashare runner'"
        " order by backend_start desc limit 1"
    )
    failures: list[BaseException] = []

    def call() -> None:
        try:
            connection.call("installation_id")
        except BaseException as failure:
            failures.append(failure)

    os.kill(server["pid"], signal.SIGSTOP)
    try:
        caller = threading.Thread(target=call)
        caller.start()
        wait_for(lambda: connection.busy_seconds() > 0.3, 10)
        connection.cut()
        caller.join(10)
        assert not caller.is_alive()
    finally:
        os.kill(server["pid"], signal.SIGCONT)
    assert isinstance(failures[0], psycopg.OperationalError)
    assert not connection.is_open and connection.busy_seconds() == 0
    connection.open()
    assert connection.call("installation_id")


def test_a_dead_server_is_noticed_while_waiting(arena: Arena, connection: Connection) -> None:
    arena.database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'instashare runner'"
    )
    wake = Wake()
    # first come the server's last words, then the end
    with pytest.raises(psycopg.OperationalError):
        for _ in range(3):
            assert wake.sleep(20, connection.fileno())
            connection.announced()
    wake.close()


def test_a_refused_log_in_has_a_name_of_its_own(arena: Arena) -> None:
    url = arena.stack.status["database_url"]
    with pytest.raises(WrongCredentials, match="password authentication failed") as refused:
        Connection(url.replace(url.split(":")[2].split("@")[0], "wrong")).open()
    assert "wrong" not in str(refused.value)
