"""How a runner starts: it waits for what may come, and refuses what cannot be right."""

from __future__ import annotations

import signal

from local.installation import free_port
from tests.chaos.conftest import Arena
from tests.e2e.conftest import wait_for


def test_it_waits_for_an_address_that_does_not_answer_and_says_so(arena: Arena) -> None:
    for setting in (
        {"SUPABASE_URL": f"http://127.0.0.1:{free_port()}"},
        {"DATABASE_URL": f"postgresql://instashare_runner:secret@127.0.0.1:{free_port()}/postgres"},
    ):
        runner = arena.start_runner(**setting)
        wait_for(lambda runner=runner: len(runner.events("waiting_for_start")) >= 2, 20)
        assert runner.process.poll() is None
        runner.signal(signal.SIGTERM)
        assert runner.process.wait(5) == 0


def test_it_refuses_a_wrong_key_and_a_wrong_password_at_once(arena: Arena) -> None:
    url = arena.stack.status["database_url"]
    password = url.split(":")[2].split("@")[0]
    for setting, code in (
        ({"SUPABASE_SECRET_KEY": "sb_secret_0000000000000000000000_00000000"}, "secret_key_refused"),
        ({"DATABASE_URL": url.replace(password, "wrong")}, "database_refused"),
    ):
        runner = arena.start_runner(**setting)
        assert runner.process.wait(20) == 2
        (refusal,) = runner.events("settings_refused")
        assert refusal["code"] == code
        assert "wrong" not in refusal["reason"] and arena.stack.secret_key not in runner.log.read_text()


def test_it_refuses_two_installations(arena: Arena) -> None:
    # another installation's database, as seen from the settings: the id differs for the time of this test
    before = arena.rows("select installation_id from private.settings")[0]["installation_id"]
    arena.database.execute(
        "create or replace function jobs.installation_id() returns uuid language sql stable security definer"
        " set search_path = '' as $$ select pg_catalog.gen_random_uuid() $$"
    )
    try:
        runner = arena.start_runner()
        assert runner.process.wait(20) == 2
        assert runner.events("settings_refused")[0]["code"] == "installations_differ"
    finally:
        arena.database.execute(
            "create or replace function jobs.installation_id() returns uuid language sql stable security definer"
            " set search_path = '' as $$ select private.installation_id() $$"
        )
    assert arena.rows("select jobs.installation_id() as id")[0]["id"] == before
