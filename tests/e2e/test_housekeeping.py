"""Every scheduled kind on a running stack: what must go goes, bytes before rows, and what must stay stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local.installation import free_port
from tests.e2e.conftest import ROOT, Account, Stack, wait_for
from tests.e2e.test_main_job import unzip

Rows = psycopg.Connection[dict[str, Any]]


@pytest.fixture
def database(stack: Stack) -> Iterator[Rows]:
    """Behind the services; the settings are put back afterwards."""
    with stack.database() as connection:
        connection.execute("create temporary table settings_before as select * from private.settings")
        yield connection
        for column in ("trash_period", "account_grace_period", "original_period", "log_period", "job_history_period"):
            connection.execute(f"update private.settings set {column} = (select b.{column} from settings_before b)")


def run(database: Rows, kind: str) -> dict[str, Any]:
    """Let a schedule's job run now, as the schedule itself would; what the job came to."""
    row = database.execute(
        "select jobs.enqueue(s.kind, null, null, '{}', 'schedule:' || s.id, null, 1::smallint) as id"
        " from public.scheduled_jobs s where s.kind = %s",
        [kind],
    ).fetchone()
    assert row is not None
    if row["id"] is None:  # the clock was first: one of its own is on its way
        wait_for(lambda: not unfinished(database, kind))
        return run(database, kind)
    number = row["id"]
    past = wait_for(lambda: database.execute("select * from jobs.history where id = %s", [number]).fetchone())
    assert past["outcome"] == "succeeded", past["error"]
    result: dict[str, Any] = past["result"]
    return result


def unfinished(database: Rows, kind: str) -> list[dict[str, Any]]:
    return database.execute("select * from jobs.queue where kind = %s", [kind]).fetchall()


def keys(database: Rows, document_id: str) -> set[str]:
    """The buckets in which a document has bytes."""
    rows = database.execute(
        "select bucket_id from storage.objects where strpos(name, %s) > 0", [document_id]
    ).fetchall()
    return {row["bucket_id"] for row in rows}


def exists(database: Rows, document_id: str) -> bool:
    return database.execute("select 1 from public.documents where id = %s", [document_id]).fetchone() is not None


def file_of(stack: Stack, database: Rows, key: str) -> Path | None:
    """Where a local stack's Storage keeps an object: by the version that its row names."""
    assert stack.data_dir is not None
    row = database.execute("select version from storage.objects where name = %s", [key]).fetchone()
    return row and next((stack.data_dir / "storage").rglob(row["version"]))


def age(database: Rows, key: str, interval: str) -> None:
    database.execute("update storage.objects set created_at = now() - %s::interval where name = %s", [interval, key])


def test_the_trash_is_emptied_after_its_period_bytes_and_row(stack: Stack, person: Account, database: Rows) -> None:
    kept, deleted = person.upload("kept.txt", b"kept"), person.upload("deleted.txt", b"deleted")
    for document in (kept, deleted):
        person.wait(document["id"])
    key = f"{person.id}/{deleted['id']}"
    stored = file_of(stack, database, key) if stack.data_dir is not None else None
    assert stored is None or stored.exists()
    person.client.rpc("delete_document", {"document_id": deleted["id"]}).execute()
    run(database, "purge_deleted")
    assert exists(database, deleted["id"]) and keys(database, deleted["id"]) >= {"documents"}
    database.execute("update private.settings set trash_period = '0'")
    assert run(database, "purge_deleted")["documents"] >= 1
    assert not exists(database, deleted["id"])
    assert keys(database, deleted["id"]) == set()
    assert stored is None or not stored.exists()
    assert unzip(person.download(kept["id"])) == ("kept.txt", b"kept")
    events = database.execute(
        "select 1 from public.logs where event_name = 'purged' and document_id = %s", [deleted["id"]]
    )
    assert len(events.fetchall()) == 1


def test_old_orphans_go_and_live_objects_stay(stack: Stack, person: Account, database: Rows) -> None:
    live = person.upload("live.txt", b"live")
    ready = person.wait(live["id"])
    admin = stack.admin()
    nobody = "00000000-0000-4000-8000-000000000001"
    old, young = f"{person.id}/{nobody}/1-1.zip", f"{person.id}/{nobody}/2-1.zip"
    for key in (old, young):
        admin.storage.from_("archives").upload(key, b"orphan")
    age(database, old, "25 hours")
    age(database, ready["archive_path"], "400 days")
    age(database, f"{person.id}/{live['id']}", "400 days")
    assert run(database, "sweep_orphans")["archives"] >= 1
    rows = database.execute("select name from storage.objects where name = any(%s)", [[old, young]]).fetchall()
    assert [row["name"] for row in rows] == [young]
    assert unzip(person.download(live["id"])) == ("live.txt", b"live")
    assert keys(database, live["id"]) == {"documents", "archives"}
    admin.storage.from_("archives").remove([young])


def test_an_original_goes_only_when_its_archive_is_proven(stack: Stack, person: Account, database: Rows) -> None:
    if stack.data_dir is None:
        pytest.skip("the target is no local stack: a stored ZIP cannot be damaged")
    good, bad, young = (person.upload(f"{name}.bin", os.urandom(20_000)) for name in ("good", "bad", "young"))
    for document in (good, bad, young):
        person.wait(document["id"])
    content = unzip(person.download(good["id"]))
    damaged = person.row(bad["id"])["archive_path"]
    for document in (good, bad):
        age(database, f"{person.id}/{document['id']}", "3 days")
    file = file_of(stack, database, damaged)
    assert file is not None
    data = bytearray(file.read_bytes())
    data[9_000] ^= 0xFF
    file.write_bytes(data)
    database.execute("update private.settings set original_period = '1 day'")
    result = run(database, "expire_originals")
    assert result["removed"] >= 1 and result["damaged"] >= 1
    assert keys(database, good["id"]) == {"archives"}
    assert unzip(person.download(good["id"])) == content
    assert "documents" in keys(database, bad["id"]) and "documents" in keys(database, young["id"])
    # made again from the original, at a key of its own
    again = wait_for(lambda: row if (row := person.wait(bad["id"]))["archive_path"] != damaged else None)
    assert again["error"] is None
    assert unzip(person.download(bad["id"]))[0] == "bad.bin"


def test_an_upload_that_never_ended_is_given_up(person: Account, database: Rows) -> None:
    old, young = person.add("old.bin", 5), person.add("young.bin", 5)
    database.execute("update public.documents set created_at = now() - interval '49 hours' where id = %s", [old["id"]])
    assert run(database, "abandon_uploads")["uploads"] >= 1
    row = person.row(old["id"])
    assert (row["status"], row["error"].split(":")[0]) == ("failed", "upload_abandoned")
    assert person.row(young["id"])["status"] == "uploading"


def test_a_share_ends_by_its_date_and_its_old_link_dies(stack: Stack, database: Rows) -> None:
    owner, recipient = stack.person(), stack.person()
    document = owner.upload("shared.txt", b"shared")
    before = owner.wait(document["id"])["archive_path"]
    owner.client.rpc("share_document", {"document_id": document["id"], "email": recipient.email}).execute()
    answer = recipient.api("POST", f"/documents/{document['id']}/download-url")
    assert answer.status_code == 200, answer.text
    link = answer.json()["url"]
    database.execute(
        "update public.document_shares"
        " set shared_at = now() - interval '1 day', expires_at = now() - interval '1 second'"
        " where document_id = %s",
        [document["id"]],
    )
    run(database, "expire_shares")
    wait_for(lambda: owner.row(document["id"])["archive_path"] != before)
    wait_for(lambda: stack.http.get(link).status_code >= 400)
    assert (
        database.execute("select 1 from public.document_shares where document_id = %s", [document["id"]]).fetchone()
        is None
    )
    assert unzip(owner.download(document["id"])) == ("shared.txt", b"shared")


def test_a_closed_account_s_documents_go_after_the_grace_period(stack: Stack, database: Rows) -> None:
    leaver, other = stack.person(), stack.person()
    gone, kept = leaver.upload("gone.txt", b"gone"), other.upload("kept.txt", b"kept")
    leaver.wait(gone["id"])
    other.wait(kept["id"])
    leaver.client.rpc("close_account", {}).execute()
    run(database, "close_accounts")
    assert exists(database, gone["id"])
    database.execute("update public.profiles set deleted_at = now() - interval '31 days' where id = %s", [leaver.id])
    assert run(database, "close_accounts")["documents"] == 1
    wait_for(lambda: not exists(database, gone["id"]))
    assert keys(database, gone["id"]) == set()
    assert unzip(other.download(kept["id"])) == ("kept.txt", b"kept")


def test_old_history_and_old_events_are_forgotten(person: Account, database: Rows) -> None:
    document = person.upload("logged.txt", b"logged")
    person.wait(document["id"])
    with database.transaction():
        database.execute("select set_config('instashare.pruning', 'on', true)")
        database.execute(
            "update public.logs set created_at = now() - interval '2 years' where document_id = %s", [document["id"]]
        )
    database.execute(
        "update jobs.history set finished_at = now() - interval '2 years' where document_id = %s", [document["id"]]
    )
    result = run(database, "prune_history")
    assert result["jobs"] >= 1 and result["events"] >= 1 and result["pg_cron"] == 0
    for table in ("public.logs", "jobs.history"):
        assert database.execute(f"select 1 from {table} where document_id = %s", [document["id"]]).fetchone() is None
    assert unzip(person.download(document["id"])) == ("logged.txt", b"logged")


def test_a_schedule_fires_by_itself_on_a_running_stack(database: Rows) -> None:
    row = database.execute(
        "update public.scheduled_jobs set next_execution_at = now() - interval '1 second'"
        " where kind = 'abandon_uploads' returning id, next_execution_at"
    ).fetchone()
    assert row is not None
    done = wait_for(
        lambda: database.execute(
            "select * from public.scheduled_jobs where id = %s and last_execution_at = %s",
            [row["id"], row["next_execution_at"]],
        ).fetchone(),
        60,
    )
    assert done["next_execution_at"].minute == 27
    wait_for(lambda: not unfinished(database, "abandon_uploads"))


def test_an_administrator_sets_a_schedule_through_rest_and_reads_where_a_bad_one_is_wrong(
    stack: Stack, person: Account, database: Rows
) -> None:
    row = database.execute("select id, schedule from public.scheduled_jobs where kind = 'prune_history'").fetchone()
    assert row is not None
    headers = {"apikey": stack.publishable_key, "Authorization": f"Bearer {person.access_token}"}

    def set_schedule(schedule: str) -> httpx.Response:
        body = {"schedule_id": str(row["id"]), "schedule": schedule}
        return stack.http.post(f"{stack.supabase_url}/rest/v1/rpc/admin_set_schedule", json=body, headers=headers)

    assert set_schedule("1 2 * * *").status_code == 403
    database.execute(
        "insert into public.user_roles (user_id, role_id) select %s, id from public.roles where name = 'admin'",
        [person.id],
    )
    try:
        refused = set_schedule("0 25 * * *")
        assert refused.status_code == 422
        said = refused.json()
        assert said["message"] == 'The schedule "0 25 * * *" cannot be read at position 3: "25" is no hour.'
        assert (said["details"], said["hint"]) == ("schedule_invalid", "Write 0 to 23, *, a range or a list.")
        changed = set_schedule("1 2 * * *")
        assert (changed.status_code, changed.json()[10:19]) == (200, "T02:01:00")
    finally:
        database.execute("update public.scheduled_jobs set schedule = %s where id = %s", [row["schedule"], row["id"]])
        database.execute(
            "delete from public.user_roles where user_id = %s"
            " and role_id = (select id from public.roles where name = 'admin')",
            [person.id],
        )


def test_a_runner_between_two_installations_refuses_and_sweeps_nothing(
    stack: Stack, person: Account, database: Rows
) -> None:
    """SUPABASE_URL leads here and DATABASE_URL to another installation's database, in which everything is an orphan."""
    if stack.data_dir is None:
        pytest.skip("the target is no local stack: it gives no runner's connection string")
    document = person.upload("precious.txt", b"precious")
    ready = person.wait(document["id"])
    objects = database.execute("select bucket_id, name, version from storage.objects order by 1, 2").fetchall()
    own = stack.status["database_url"]
    other = f"other_{free_port()}"
    with psycopg.connect(stack.admin_database_url or "", autocommit=True) as admin:
        admin.execute(f'create database "{other}"')
        try:
            with psycopg.connect(
                (stack.admin_database_url or "").rsplit("/", 1)[0] + f"/{other}", autocommit=True
            ) as foreign:
                # all that a runner asks first, with the answer of an installation of its own
                foreign.execute("create schema jobs")
                foreign.execute("grant usage on schema jobs to instashare_runner")
                foreign.execute(
                    "create function jobs.installation_id() returns uuid language sql as 'select gen_random_uuid()'"
                )
            ended = subprocess.run(
                [sys.executable, "-m", "jobs.runner"],
                cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
                env={
                    **os.environ, "SUPABASE_URL": stack.supabase_url, "SUPABASE_SECRET_KEY": stack.secret_key,
                    "DATABASE_URL": own.rsplit("/", 1)[0] + f"/{other}",
                },
            )  # fmt: skip
        finally:
            admin.execute(f'drop database "{other}" with (force)')
    assert ended.returncode == 2, ended.stdout + ended.stderr
    said = [json.loads(line) for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("{")]
    assert [line.get("code") for line in said if line.get("event") == "settings_refused"] == ["installations_differ"]
    after = database.execute("select bucket_id, name, version from storage.objects order by 1, 2").fetchall()
    assert [row for row in objects if row not in after] == []
    assert person.row(document["id"])["archive_path"] == ready["archive_path"]
    assert unzip(person.download(document["id"])) == ("precious.txt", b"precious")
