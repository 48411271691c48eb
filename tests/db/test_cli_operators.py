"""The operator's verbs on a real database: doctor, queue, schedules, people."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobs.cli.app import main
from jobs.cli.doctor.check import Check
from jobs.cli.doctor.database import check_database
from jobs.cli.doctor.runner import check_runner
from jobs.cli.target import SETTINGS, find_target
from local.installation import Installation

from .conftest import Database, Person, Runner

NOWHERE = Path("/nowhere/at/all")
# what Supabase's Vault looks like on a server that was given another volume's pgsodium_root.key
VAULT = """
    create schema vault;
    create table vault.secrets (id bigint);
    create function vault.decrypted() returns text language plpgsql as $$
        begin raise exception 'pgsodium_crypto_aead_det_decrypt_by_id: invalid ciphertext'; end $$;
    create view vault.decrypted_secrets as select vault.decrypted() as decrypted_secret from vault.secrets
"""


@pytest.fixture
def settings(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an operator of this test's database; there is no local stack beside it."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ADMIN_DATABASE_URL", database.url)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """Run a verb with --json; its one object."""
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--json", "--data-dir", str(NOWHERE)])
    out, err = capsys.readouterr()
    assert (end.value.code, err) == (code, ""), out
    return json.loads(out)


def examine(database: Database) -> dict[str, Check]:
    """What the doctor finds in the database, by name."""
    checks = check_database(find_target(NOWHERE, {"ADMIN_DATABASE_URL": database.url}))
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def faults(database: Database) -> set[str]:
    return {name for name, check in examine(database).items() if not check.ok}


def test_a_database_in_good_order(database: Database, runner: Runner) -> None:
    database.run("alter role instashare_runner login")
    runner.exchange(want=0)
    assert faults(database) == set()


def test_before_the_first_runner(database: Database) -> None:
    assert examine(database)["runner_alive"].detail == "No runner was ever seen."


@pytest.mark.parametrize(
    ("statement", "name", "words"),
    [
        ('drop policy "Owners rename their live documents" on documents', "policies_and_triggers", "Owners rename"),
        ("alter table auth.users disable trigger instashare_keep_profile", "policies_and_triggers", "keep_profile"),
        ("drop trigger instashare_receive_original on storage.objects", "policies_and_triggers", "receive_original"),
        ('create policy "All" on storage.objects to authenticated using (true)', "policies_and_triggers", "All"),
        (
            "revoke insert (name) on documents from authenticated",
            "privileges.needed",
            "insert on public.documents.name",
        ),
        ("revoke execute on function installation_id() from service_role", "privileges.needed", "installation_id"),
        ("revoke usage on schema jobs from instashare_runner", "privileges.needed", "usage on jobs"),
        ("grant delete on documents to authenticated", "privileges.excess", "authenticated may delete"),
        ("grant select on profiles to anon", "privileges.excess", "anon may select"),
        ("grant usage on schema jobs to authenticated", "privileges.excess", "schema jobs"),
        ("alter table documents disable row level security", "row_level_security", "public.documents"),
        ("update storage.buckets set public = true where id = 'archives'", "buckets", "archives is public"),
        ("update storage.buckets set file_size_limit = 1000 where id = 'archives'", "storage_limits", "archives"),
        ("update private.settings set file_size_limit_bytes = 5368709120", "storage_limits", "documents"),
        ("delete from pg_collation where collprovider = 'i'", "server.icu", "no ICU"),
        ("select jobs.pause()", "queue", "paused"),
        ("update jobs.runners set seen_at = now() - interval '1 hour'", "runner_alive", "1 h 0 min ago"),
        ("update scheduled_jobs set next_execution_at = now() - interval '1 hour'", "schedules", "Overdue"),
        (
            "update supabase_migrations.schema_migrations set statements = array['select 1']",
            "migrations",
            "Changed after",
        ),
        (
            "delete from supabase_migrations.schema_migrations where version > '20261124100500'",
            "migrations",
            "not applied",
        ),
        ("insert into supabase_migrations.schema_migrations values ('20990101000000')", "migrations", "20990101000000"),
        (f"{VAULT}; insert into vault.secrets values (1)", "encryption_key", "pgsodium_crypto_aead_det_decrypt"),
    ],
)
def test_each_fault_of_a_database(database: Database, runner: Runner, statement: str, name: str, words: str) -> None:
    database.run("alter role instashare_runner login")
    runner.exchange(want=0)
    database.run("select set_config('storage.allow_delete_query', 'true', false)")
    database.run(statement)
    found = examine(database)
    assert {name for name, check in found.items() if not check.ok} == {name}
    assert words in found[name].detail
    assert found[name].cure


def test_a_vault_whose_key_fits_passes(database: Database) -> None:
    assert "no Vault" in examine(database)["encryption_key"].detail
    database.run(VAULT)
    assert "empty" in examine(database)["encryption_key"].detail
    database.run("insert into vault.secrets values (1)")
    database.run("create or replace function vault.decrypted() returns text language sql as $$ select 'x' $$")
    assert examine(database)["encryption_key"].detail == "Vault's secrets (1) can be decrypted."


def test_a_runner_s_string_with_too_many_rights(cluster: Installation, database: Database) -> None:
    name = database.url.rpartition("/")[2]
    as_postgres = find_target(NOWHERE, {"DATABASE_URL": cluster.database_url("postgres", name)})
    (check,) = check_runner(as_postgres)
    assert not check.ok
    assert "more than a runner must" in check.detail


def test_runner_url_lets_the_runner_in(
    settings: None, database: Database, capsys: pytest.CaptureFixture[str], cluster: Installation
) -> None:
    database.run("alter role instashare_runner nologin")
    url = run(capsys, "db", "runner-url")["database_url"]
    with psycopg.connect(url) as connection:
        assert connection.execute("select current_user::text").fetchone() == ("instashare_runner",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from public.documents")
    (stored,) = database.run("select rolpassword from pg_authid where rolname = 'instashare_runner'")
    assert stored["rolpassword"].startswith("SCRAM-SHA-256$")
    # the cluster's other users of the role go on with the installation's own password
    verifier = database.superuser.pgconn.encrypt_password(
        cluster.secrets.passwords["instashare_runner"].encode(), b"instashare_runner", b"scram-sha-256"
    )
    database.run(f"alter role instashare_runner login password '{verifier.decode()}'")


def test_the_matrix_names_rules_tables_policies_and_functions(
    settings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(capsys, "db", "matrix")
    (rule,) = [one for one in told["rules"] if (one["on"], one["verb"]) == ("documents, live", "select")]
    assert {who: rule[who] for who in told["who"]} == {
        "anonymous": "no", "owner": "yes", "recipient": "yes", "expired": "nothing", "stranger": "nothing",
        "viewer": "yes", "admin": "nothing", "closed": "nothing", "service": "yes",
    }  # fmt: skip
    assert told["writable"]["documents"]["update"] == ["name"]
    documents = [one for one in told["tables"] if (one["table"], one["role"]) == ("public.documents", "authenticated")]
    assert documents[0]["privileges"] == ["select", "insert (name, size_bytes, mime_type)", "update (name)"]
    assert documents[0]["row_level_security"] is True
    assert {one["role"] for one in told["tables"]} <= {"authenticated", "service_role"}
    assert "storage.objects" in {one["table"] for one in told["policies"]}
    runner = {one["function"] for one in told["functions"] if "instashare_runner" in one["roles"]}
    assert "jobs.exchange(uuid,text,jsonb)" in runner


def test_roles_are_granted_and_revoked(settings: None, owner: Person, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "users", "grant", owner.email.upper(), "admin")["changed"] is True
    assert run(capsys, "users", "grant", owner.id, "admin")["changed"] is False
    assert run(capsys, "users", "list", "OWNER")["users"][0]["roles"] == ["admin", "member"]
    assert run(capsys, "users", "revoke", owner.email, "admin", code=1)["error"]["code"] == "last_admin"
    other = owner.database.sign_up("other@example.test")
    run(capsys, "users", "grant", other.email, "admin")
    assert run(capsys, "users", "revoke", owner.email, "admin")["changed"] is True
    assert run(capsys, "users", "revoke", owner.email, "admin")["changed"] is False
    assert run(capsys, "users", "grant", owner.email, "king", code=2)["error"]["code"] == "unknown_role"
    assert run(capsys, "users", "grant", "nobody@example.test", "admin", code=1)["error"]["code"] == "unknown_person"


def test_a_job_from_list_to_retry(
    settings: None, owner: Person, runner: Runner, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    document = owner.document("report.pdf")
    owner.store(document)
    (listed,) = run(capsys, "jobs", "list")["jobs"]
    assert (listed["kind"], listed["state"], listed["document"]) == ("archive_document", "pending", "report.pdf")
    assert run(capsys, "jobs", "stats")["unfinished"][0]["count"] == 1
    (job,) = runner.claim()
    runner.fail(job, "source_missing: It is gone.", retryable=False)
    assert run(capsys, "jobs", "list")["jobs"] == []
    (dead,) = run(capsys, "jobs", "list", "--state", "dead")["jobs"]
    assert dead["error"] == "source_missing: It is gone."
    shown = run(capsys, "jobs", "show", str(job["id"]))
    assert (shown["state"], shown["document"]["status"]) == ("dead", "failed")
    retried = run(capsys, "jobs", "retry", str(job["id"]))["results"]
    assert retried[0]["new_id"] > job["id"]
    assert owner.row(document)["status"] == "queued"
    assert run(capsys, "jobs", "retry", str(job["id"]), code=1)["results"] == [{"id": job["id"], "new_id": None}]
    assert run(capsys, "jobs", "cancel", str(retried[0]["new_id"]))["results"][0]["state"] == "cancelled"
    assert run(capsys, "jobs", "cancel", "999999", code=1)["results"][0]["state"] is None
    assert run(capsys, "jobs", "show", "999999", code=1)["error"]["code"] == "unknown_job"


def test_pausing_and_watching(settings: None, runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "jobs", "pause") == {"paused": True}
    assert runner.exchange(want=1)["paused"] is True
    assert run(capsys, "jobs", "watch")["paused"] is True
    assert run(capsys, "jobs", "resume") == {"paused": False}
    assert runner.exchange(want=1)["paused"] is False
    assert run(capsys, "jobs", "stats")["runners"][0]["alive"] is True
    assert set(run(capsys, "jobs", "prune")["removed"])


def test_schedules(settings: None, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = {one["kind"] for one in run(capsys, "schedule", "list")["schedules"]}
    assert "prune_history" in kinds
    run(capsys, "schedule", "disable", "prune_history")
    run(capsys, "schedule", "set", "prune_history", "10 4 * * 1")
    row = database.run("select schedule, enabled from scheduled_jobs where kind = 'prune_history'")
    assert row == [{"schedule": "10 4 * * 1", "enabled": False}]
    run(capsys, "schedule", "enable", "Prune history and logs")
    assert database.value("select enabled from scheduled_jobs where kind = 'prune_history'") is True
    job = run(capsys, "schedule", "run", "prune_history")["job_id"]
    assert [one["id"] for one in database.jobs("prune_history")] == [job]
    assert run(capsys, "schedule", "run", "prune_history", code=1)["error"]["code"] == "already_enqueued"
    bad = run(capsys, "schedule", "set", "prune_history", "0 25 * * *", code=2)["error"]
    assert bad["code"] == "schedule_invalid" and 'at position 3: "25" is no hour' in bad["message"]
    assert run(capsys, "schedule", "run", "nonsense", code=2)["error"]["code"] == "unknown_schedule"


def test_a_schedule_that_is_run_is_followed_to_its_end(
    settings: None, database: Database, runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    late = run(capsys, "schedule", "run", "prune_history", "--wait", "--timeout", "1", code=1)
    assert late["error"]["code"] == "not_finished" and "pending" in late["error"]["message"]
    database.run("delete from jobs.queue")
    other = runner.on(database.second())

    def work(end: str) -> None:
        while not (claimed := other.claim()):
            pass
        if end == "succeeded":
            other.finish(claimed[0], jobs=3)
        else:
            other.fail(claimed[0], "storage_refused: No.", retryable=False)

    for end, code in (("succeeded", 0), ("dead", 1)):
        worker = threading.Thread(target=work, args=(end,))
        worker.start()
        told = run(capsys, "schedule", "run", "prune_history", "--wait", code=code)
        worker.join()
        assert told["state"] == end
        assert (told["result"], told["error"]) == (({"jobs": 3}, None) if code == 0 else (None, "storage_refused: No."))
