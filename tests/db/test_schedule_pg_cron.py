"""The real pg_cron: it follows the schedules, fires by the same compare-and-set, and reads strings as we do."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobs.cli.app import main
from jobs.cli.doctor.check import Check
from jobs.cli.doctor.database import check_database
from jobs.cli.target import SETTINGS, find_target
from tests.unit.runner.schedule_cases import Vixie, read_cases

from .pg_cron_cluster import CronServer, cron_server, wait_for

Rows = psycopg.Connection[dict[str, Any]]
KINDS = 7


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CronServer]:
    with cron_server(tmp_path_factory.mktemp("cron")) as made:
        yield made


@pytest.fixture
def admin(server: CronServer) -> Iterator[Rows]:
    """A superuser's connection; afterwards pg_cron, queue and schedules are as migrations left them."""
    server.clock.reset()
    connection = server.connect()
    connection.execute("create temporary table before as select * from public.scheduled_jobs")
    yield connection
    if connection.closed:
        connection = server.connect()
    connection.execute("drop extension if exists pg_cron")
    connection.execute("truncate public.scheduled_jobs, jobs.queue, jobs.history")
    with connection.transaction():
        for file in sorted(
            (Path(__file__).resolve().parents[2] / "supabase" / "migrations").glob("*_create_schedules.sql")
        ):
            text = file.read_text(encoding="utf-8")
            start = text.index("insert into public.scheduled_jobs")
            connection.execute(text[start : text.index(";", start)])
    connection.close()


@pytest.fixture
def installed(admin: Rows, cli: Any) -> Rows:
    """The same, with pg_cron installed and in step."""
    cli("schedule", "sync", "--install")
    return admin


@pytest.fixture
def clocked(installed: Rows, server: CronServer) -> Rows:
    """The same, with a launcher that heeds the clock which the test sets."""
    assert installed is not None
    server.stop()
    server.start()
    connection = server.connect()
    server.let_launcher_follow(connection)
    return connection


@pytest.fixture
def cli(server: CronServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a verb with --json; its one object."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ADMIN_DATABASE_URL", server.url)

    def run(*arguments: str, code: int = 0) -> Any:
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--json", "--data-dir", "/nowhere/at/all"])
        out, err = capsys.readouterr()
        assert (end.value.code, err) == (code, ""), out
        return json.loads(out)

    return run


def jobs_of(connection: Rows) -> dict[str, dict[str, Any]]:
    """What pg_cron holds of ours, by the kind."""
    rows = connection.execute(
        "select s.kind, j.* from cron.job j left join public.scheduled_jobs s on j.jobname = 'instashare:' || s.id"
        " where j.jobname like 'instashare:%'"
    ).fetchall()
    return {row["kind"] or row["jobname"]: row for row in rows}


def schedule_of(connection: Rows, kind: str) -> dict[str, Any]:
    row = connection.execute("select *, now() from public.scheduled_jobs where kind = %s", [kind]).fetchone()
    assert row is not None
    return row


def change(connection: Rows, kind: str, **values: object) -> None:
    for column, value in values.items():
        connection.execute(f"update public.scheduled_jobs set {column} = %s where kind = %s", [value, kind])


def test_without_the_extension_nothing_misses_it(admin: Rows, cli: Any) -> None:
    change(admin, "prune_history", schedule="5 5 * * *")
    assert cli("schedule", "sync") == {"installed": False, "scheduled": 0, "removed": 0, "refused": []}
    assert cli("schedule", "sync", "--remove") == {"removed": 0}
    assert cli("schedule", "history")["pg_cron"] is None
    assert cli("schedule", "history", "--prune", "1")["pruned"] == 0


def test_sync_picks_the_extension_up_when_it_comes_later(admin: Rows, cli: Any) -> None:
    change(admin, "prune_history", schedule="@daily")
    change(admin, "sweep_orphans", enabled=False)
    state = cli("schedule", "sync", "--install")
    assert (state["installed"], state["scheduled"], state["removed"], state["refused"]) == (True, KINDS - 1, 0, [])
    assert state["timezone"] in ("GMT", "UTC")
    jobs = jobs_of(admin)
    assert "sweep_orphans" not in jobs
    # pg_cron never sees a word: some versions read @yearly as no month at all
    assert jobs["prune_history"]["schedule"] == "0 0 * * *"
    assert {job["username"] for job in jobs.values()} == {"postgres"}
    assert jobs["expire_shares"]["command"].endswith(" -- Expire shares")


def test_rows_and_pg_cron_stay_in_step(installed: Rows) -> None:
    change(installed, "prune_history", schedule="1 2 3 * *")
    assert jobs_of(installed)["prune_history"]["schedule"] == "1 2 3 * *"
    number = jobs_of(installed)["prune_history"]["jobid"]
    change(installed, "prune_history", title="Forget\nold things")
    job = jobs_of(installed)["prune_history"]
    assert (job["jobid"], job["command"].split(" -- ")[1]) == (number, "Forget old things")
    change(installed, "prune_history", enabled=False)
    assert "prune_history" not in jobs_of(installed)
    change(installed, "prune_history", enabled=True)
    assert "prune_history" in jobs_of(installed)
    installed.execute("delete from public.scheduled_jobs where kind = 'prune_history'")
    assert len(jobs_of(installed)) == KINDS - 1
    installed.execute(
        "insert into public.scheduled_jobs (title, schedule, description, kind)"
        " values ('Mine', '@weekly', '', 'prune_history')"
    )
    assert jobs_of(installed)["prune_history"]["schedule"] == "0 0 * * 0"


def test_a_rolled_back_change_leaves_pg_cron_alone(installed: Rows) -> None:
    with installed.transaction(force_rollback=True):
        change(installed, "prune_history", schedule="1 2 3 * *")
    assert jobs_of(installed)["prune_history"]["schedule"] == "57 3 * * *"


def test_sync_mends_what_others_did_to_pg_cron(installed: Rows, cli: Any) -> None:
    jobs = jobs_of(installed)
    installed.execute("delete from cron.job where jobid = %s", [jobs["expire_shares"]["jobid"]])
    installed.execute("update cron.job set schedule = '0 0 1 1 *' where jobid = %s", [jobs["prune_history"]["jobid"]])
    installed.execute(
        "insert into cron.job (schedule, command, nodeport, username, jobname)"
        " values ('* * * * *', 'select 1', 5432, 'postgres', 'instashare:' || gen_random_uuid()),"
        " ('* * * * *', 'select 1', 5432, 'postgres', 'somebody else''s')"
    )
    state = cli("schedule", "sync")
    assert (state["scheduled"], state["removed"], state["refused"]) == (KINDS, 1, [])
    after = jobs_of(installed)
    assert {kind: job["schedule"] for kind, job in after.items()} == {
        kind: job["schedule"] for kind, job in jobs.items()
    }
    assert installed.execute("select 1 from cron.job where jobname = 'somebody else''s'").fetchone() is not None
    assert cli("schedule", "sync", "--remove") == {"removed": KINDS}
    assert installed.execute("select jobname from cron.job").fetchall() == [{"jobname": "somebody else's"}]


def test_what_this_pg_cron_cannot_say_stays_with_the_runner(installed: Rows, cli: Any) -> None:
    version = installed.execute("select extversion from pg_extension where extname = 'pg_cron'").fetchone()
    assert version is not None
    if tuple(int(part) for part in version["extversion"].split("-")[0].split(".")) >= (1, 5):
        pytest.skip("this pg_cron knows the seconds form")
    said: list[str] = []
    installed.add_notice_handler(lambda diagnostic: said.append(diagnostic.message_primary or ""))
    change(installed, "expire_shares", schedule="30 seconds")
    assert len(said) == 1 and said[0].startswith('pg_cron does not follow the schedule "Expire shares"')
    assert "expire_shares" not in jobs_of(installed)
    assert schedule_of(installed, "expire_shares")["next_execution_at"] is not None
    state = cli("schedule", "sync")
    assert [one["title"] for one in state["refused"]] == ["Expire shares"]
    change(installed, "expire_shares", schedule="* * * * *")
    assert "expire_shares" in jobs_of(installed)


def test_the_project_s_own_role_may_write_schedules_and_sync(installed: Rows, server: CronServer) -> None:
    operator = server.connect("postgres")
    change(operator, "prune_history", schedule="4 4 * * *")
    assert jobs_of(installed)["prune_history"]["schedule"] == "4 4 * * *"
    row = operator.execute("select private.sync_pg_cron() as state").fetchone()
    assert row is not None and row["state"]["scheduled"] == KINDS


def test_pg_cron_fires_what_is_due_and_no_more(clocked: Rows, server: CronServer, cli: Any) -> None:
    noon = datetime(2031, 5, 6, 12, 0, tzinfo=UTC)
    server.clock.set(noon - timedelta(hours=12) + timedelta(seconds=1))
    # the time in between was missed: one job for each schedule that pg_cron calls at this minute
    wait_for(lambda: schedule_of(clocked, "expire_shares")["last_execution_at"], what="a firing")
    wait_for(lambda: cli("schedule", "history", "expire_shares")["pg_cron"], what="pg_cron's record")
    for hours in (6, 12):
        server.clock.set(noon + timedelta(hours=hours, seconds=1))
        row = wait_for(
            lambda at=noon + timedelta(hours=hours): (
                row if (row := schedule_of(clocked, "expire_shares"))["next_execution_at"] > at else None
            ),
            what="the next firing",
        )
        assert row["next_execution_at"] == noon + timedelta(hours=hours, minutes=1)
        assert row["last_execution_at"] <= row["now"]
    # the first job is not done: the later firings made no second one
    jobs = clocked.execute("select kind, count(*) from jobs.queue group by kind").fetchall()
    assert {row["kind"]: row["count"] for row in jobs} == {"expire_shares": 1}
    calls = wait_for(lambda: [run for run in cli("schedule", "history")["pg_cron"] if run["status"] == "succeeded"])
    assert {run["title"] for run in calls} == {"Expire shares"}
    (job,) = cli("schedule", "history")["runs"]
    assert (job["kind"], job["state"]) == ("expire_shares", "pending")


def test_what_a_runner_fired_pg_cron_does_not_fire_again(clocked: Rows, server: CronServer) -> None:
    at = datetime(2031, 6, 1, 12, 17, tzinfo=UTC)
    server.clock.set(at - timedelta(hours=5, minutes=17))
    row = wait_for(
        lambda: row if (row := schedule_of(clocked, "purge_deleted"))["now"] > at - timedelta(hours=6) else None
    )
    wait_for(lambda: clocked.execute("select 1 from jobs.queue where kind = 'expire_shares'").fetchone())
    # the runner was first at a quarter past twelve
    fired = clocked.execute(
        "select jobs.fire_schedule(id, next_execution_at, %s) as done from public.scheduled_jobs where id = %s",
        [at + timedelta(hours=1), row["id"]],
    ).fetchone()
    assert fired == {"done": True}
    clocked.execute("delete from jobs.queue")
    number = jobs_of(clocked)["purge_deleted"]["jobid"]
    server.clock.set(at + timedelta(seconds=1))
    wait_for(
        lambda: clocked.execute(
            "select 1 from cron.job_run_details where jobid = %s and status = 'succeeded' and start_time >= %s",
            [number, at],
        ).fetchone(),
        what="pg_cron's call",
    )
    assert clocked.execute("select 1 from jobs.queue where kind = 'purge_deleted'").fetchone() is None
    assert schedule_of(clocked, "purge_deleted")["next_execution_at"] == at + timedelta(hours=1)


def test_a_server_that_was_down_for_days_fires_once(installed: Rows, server: CronServer) -> None:
    back = datetime(2031, 8, 1, 7, 30, tzinfo=UTC)
    server.stop()
    server.clock.set(back - timedelta(minutes=1))
    server.start()
    connection = server.connect()
    server.let_launcher_follow(connection, back - timedelta(minutes=1))
    server.clock.set(back - timedelta(seconds=1))
    row = wait_for(
        lambda: row if (row := schedule_of(connection, "expire_shares"))["next_execution_at"] > back else None,
        what="the firing after the start",
    )
    assert row["next_execution_at"] == back + timedelta(minutes=1)
    assert connection.execute("select count(*) from jobs.queue where kind = 'expire_shares'").fetchone() == {"count": 1}


def test_old_records_go_and_others_stay(installed: Rows, server: CronServer, cli: Any) -> None:
    installed.execute(
        "insert into cron.job_run_details (jobid, database, username, command, status, start_time, end_time)"
        " select 1, 'postgres', 'postgres', command, 'succeeded', now() - age, now() - age from (values"
        " ('select jobs.fire_from_pg_cron(''a'')', interval '40 days'),"
        " ('select jobs.fire_from_pg_cron(''a'')', interval '10 days'),"
        " ('select somebody()', interval '40 days')) as runs (command, age)"
    )
    assert installed.execute("select jobs.run_maintenance('prune_history') as done").fetchone()["done"]["pg_cron"] == 1  # type: ignore[index]
    assert cli("schedule", "history", "--prune", "5")["pruned"] == 1
    left = installed.execute("select command from cron.job_run_details where command not like '%%-- %%'").fetchall()
    assert left == [{"command": "select somebody()"}]


def examine(server: CronServer) -> dict[str, Check]:
    """What the doctor says of pg_cron."""
    target = find_target(Path("/nowhere/at/all"), {"ADMIN_DATABASE_URL": server.url})
    return {check.name: check for check in check_database(target) if check.name.startswith("cron")}


def faults(server: CronServer) -> dict[str, str]:
    return {name: check.detail for name, check in examine(server).items() if not check.ok}


def test_the_doctor_looks_at_pg_cron(installed: Rows, server: CronServer) -> None:
    assert faults(server) == {}
    found = examine(server)
    assert set(found) == {"cron.installed", "cron.database", "cron.timezone", "cron.jobs", "cron.runs"}
    assert found["cron.database"].detail == "Works in postgres."
    assert found["cron.timezone"].detail.startswith("GMT")
    assert f"({KINDS})" in found["cron.jobs"].detail
    number = jobs_of(installed)["prune_history"]["jobid"]
    for statement, words in (
        ("delete from cron.job where jobid = %s", "Prune history and logs is missing"),
        ("update cron.job set schedule = '* * * * *' where jobid = %s", "is kept as * * * * *"),
        ("update cron.job set active = false where jobid = %s", "is inactive"),
        ("update cron.job set database = 'template1' where jobid = %s", "is inactive, or"),
        ("update cron.job set jobname = 'instashare:old' where jobid = %s", "(removed) is there and should not be"),
    ):
        installed.execute("begin")
        installed.execute(statement, [number])
        installed.execute("commit")
        assert words in faults(server).get("cron.jobs", "all is well"), statement
        installed.execute("select private.leave_pg_cron(), private.sync_pg_cron()")
        number = jobs_of(installed)["prune_history"]["jobid"]
        installed.execute("delete from cron.job where jobname = 'instashare:old'")
        assert faults(server) == {}


def test_the_doctor_knows_what_an_old_pg_cron_cannot_say(installed: Rows, server: CronServer) -> None:
    change(installed, "prune_history", schedule="0 0 $ * *")
    check = examine(server)["cron.jobs"]
    assert check.ok and "cannot say Prune history and logs" in check.detail


def test_the_doctor_finds_a_pg_cron_that_fails_or_is_idle(installed: Rows, server: CronServer) -> None:
    number = jobs_of(installed)["expire_shares"]["jobid"]
    insert = (
        "insert into cron.job_run_details"
        " (jobid, runid, database, username, command, status, return_message, start_time)"
        " values (%s, 1000000 + %s, 'postgres', 'postgres', 'select 1', %s, %s, now())"
    )
    installed.execute(insert, [number, 1, "failed", "connection failed"])
    assert faults(server) == {"cron.runs": "The last run of Expire shares failed: connection failed."}
    installed.execute(insert, [number, 2, "succeeded", "1 row"])
    assert faults(server) == {}
    # its launcher hangs, and an hour goes by
    launcher = installed.execute("select pid from pg_stat_activity where backend_type = 'pg_cron launcher'").fetchone()
    assert launcher is not None
    os.kill(launcher["pid"], signal.SIGSTOP)
    try:
        server.clock.set(datetime.now(UTC) + timedelta(hours=1))
        assert (
            "Expire shares" in faults(server)["cron.runs"] and "was due and not called" in faults(server)["cron.runs"]
        )
    finally:
        server.clock.reset()
        os.kill(launcher["pid"], signal.SIGCONT)


def test_the_doctor_finds_a_pg_cron_of_another_database(installed: Rows, server: CronServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("create database other_application")
    usual = server.service
    try:
        server.stop()
        server.service = replace(usual, argv=[*usual.argv, "-c", "cron.database_name=other_application"])
        server.start()
        words = faults(server)["cron.database"]
        assert words == "pg_cron works in the database other_application, not in postgres: it is idle here."
        server.stop()
        server.service = replace(usual, argv=[*usual.argv, "-c", "shared_preload_libraries="])
        server.start()
        assert "does not load pg_cron" in faults(server)["cron.database"]
    finally:
        server.stop()
        server.service = usual
        server.start()


def test_the_doctor_has_no_fault_to_find_where_there_is_no_pg_cron(admin: Rows, server: CronServer) -> None:
    found = examine(server)
    assert set(found) == {"cron.installed"} and found["cron.installed"].ok
    assert "schedule sync --install" in found["cron.installed"].detail


INSTANTS = [
    "2032-02-28 00:00", "2032-02-29 00:00", "2032-03-01 00:00", "2032-03-15 12:00", "2032-04-30 23:59",
    "2032-05-31 00:00", "2032-06-13 00:00", "2032-08-13 00:00", "2032-09-06 09:17", "2032-10-02 17:45",
    "2032-10-31 00:00", "2032-12-31 23:59", "2033-01-01 00:00", "2033-01-03 08:30", "2033-02-28 00:00",
]  # fmt: skip


def test_the_extension_fires_at_the_minutes_that_we_reckon(clocked: Rows, server: CronServer, cli: Any) -> None:
    """Every schedule of the written cases that it can say, at month ends, leap days, new year, Sundays and Fridays."""
    cli("schedule", "sync", "--remove")
    operator = server.connect("postgres")
    written = sorted({schedule.strip() for schedule, _, _ in read_cases()} - {"*,5 * * * *"})
    normal: dict[int, Vixie] = {}
    for schedule in written:
        plan = Vixie(schedule)
        if plan.seconds is not None or "$" in schedule:
            continue  # 1.4 cannot say these
        row = operator.execute("select (private.read_schedule(%s)).normal", [schedule]).fetchone()
        assert row is not None
        made = operator.execute("select cron.schedule(%s, %s, 'select 1') as id", [schedule, row["normal"]]).fetchone()
        assert made is not None
        normal[made["id"]] = plan
    assert len(normal) > 130
    fired = 0
    for text in INSTANTS:
        at = datetime.fromisoformat(text).replace(tzinfo=UTC)
        expected = {number for number, plan in normal.items() if plan.matches(at)}

        def seen(at: datetime = at) -> set[int]:
            rows = clocked.execute(
                "select jobid from cron.job_run_details where start_time >= %s and start_time < %s",
                [at, at + timedelta(minutes=1)],
            ).fetchall()
            return {row["jobid"] for row in rows}

        server.clock.set(at + timedelta(seconds=1))
        wait_for(lambda wanted=expected: wanted <= seen(), seconds=20, what=f"all that is due at {text}")  # type: ignore[misc]
        wait_for(
            lambda: (
                not clocked.execute(
                    "select 1 from cron.job_run_details where status not in ('succeeded', 'failed') limit 1"
                ).fetchone()
            ),
            seconds=40,
        )
        assert seen() == expected, text
        fired += len(expected)
    assert fired > 300
