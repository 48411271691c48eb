"""What a database needs before the services serve it: our migrations or a named schema, the runner's login, people."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from local.errors import ServiceFailed, StackError
from local.installation import Installation
from local.packages import ROOT, clean_environment

__all__ = ["apply_schema", "check_schema", "let_runner_in", "make_demo_users", "needs_demo_users", "needs_schema"]

MIGRATIONS = ROOT / "supabase" / "migrations"
RUNNER = "instashare_runner"


def check_schema(installation: Installation) -> None:
    """Refuse a schema file that is missing or was changed after it had been applied; raises StackError."""
    file = installation.schema_file
    if file is None:
        return
    applied = _read_applied(installation)
    if applied is None and not file.is_file():
        raise StackError("schema_missing", f"There is no file {file}.", "Name an existing SQL file with --schema.")
    if applied is not None and file.is_file() and applied != _hash_schema(installation):
        raise StackError(
            "schema_changed",
            f"{file} was changed after it had been applied to {installation.data_dir}.",
            "Run `./instashare reset` with the same --data-dir, then start again.",
        )


def needs_schema(installation: Installation) -> bool:
    """Tell whether there is something to apply: a schema file once, migrations whenever they changed."""
    applied = _read_applied(installation)
    return applied is None or (installation.schema_file is None and applied != _hash_schema(installation))


def apply_schema(installation: Installation) -> None:
    """Apply our migrations, or the installation's schema file, as the role postgres.

    Raises ServiceFailed with file, line and the database's words if that fails.
    """
    wanted = _hash_schema(installation)
    if installation.schema_file:
        _run_file(installation, installation.schema_file)
    else:
        _run_migrations(installation)
    (installation.data_dir / "applied").write_text(wanted)


def forget_schema(installation: Installation) -> None:
    """The database was made anew: nothing is applied to it, and nobody is in it."""
    for mark in ("applied", "demo_users_made"):
        (installation.data_dir / mark).unlink(missing_ok=True)


def let_runner_in(installation: Installation) -> None:
    """Give the runner's role, which migrations make without one, its password."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(installation.database_url("postgres"), autocommit=True) as connection:
        password = sql.Literal(installation.secrets.passwords[RUNNER])
        connection.execute(sql.SQL("alter role {} login password {}").format(sql.Identifier(RUNNER), password))


def needs_demo_users(installation: Installation) -> bool:
    """Tell whether they were never made: whoever closes such an account does not get it back by a restart."""
    return bool(installation.demo_users) and not (installation.data_dir / "demo_users_made").exists()


def make_demo_users(installation: Installation) -> None:
    """Make the demo users through Auth's admin API, confirmed and with their roles.

    Raises ServiceFailed if Auth refuses.
    """
    import httpx  # a third of a second that only the first start spends
    import psycopg

    key = installation.secrets.secret_key
    with httpx.Client(base_url=installation.auth_issuer, headers={"apikey": key}, timeout=30, trust_env=False) as auth:
        for user in installation.demo_users:
            names = {"first_name": user.first_name, "last_name": user.last_name}
            wanted = {"email": user.email, "password": user.password, "email_confirm": True, "user_metadata": names}
            reply = auth.post("/admin/users", json=wanted)
            if reply.is_error and "email_exists" not in reply.text and "user_already_exists" not in reply.text:
                raise ServiceFailed(
                    "demo_users_failed",
                    f"Auth refused to make {user.email}: {reply.status_code} {reply.text[:300]}",
                    f"Read {installation.log_dir / 'auth.log'} and {installation.log_dir / 'postgres.log'}.",
                )
    with psycopg.connect(installation.database_url("supabase_admin")) as connection:
        for user in installation.demo_users:
            connection.execute(
                """
                insert into public.user_roles (user_id, role_id)
                select u.id, r.id from auth.users u, public.roles r where u.email = %s and r.name = %s
                on conflict do nothing
                """,
                [user.email, user.role],
            )
    (installation.data_dir / "demo_users_made").touch()


def _hash_schema(installation: Installation) -> str:
    """What is to be applied: every migration's name and text, or the schema file's text."""
    digest = hashlib.sha256()
    files = [installation.schema_file] if installation.schema_file else sorted(MIGRATIONS.glob("*.sql"))
    for file in files:
        if file.is_file():
            digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _read_applied(installation: Installation) -> str | None:
    try:
        return (installation.data_dir / "applied").read_text()
    except FileNotFoundError:
        return None


def _run_file(installation: Installation, file: Path) -> None:
    import psycopg

    text = file.read_text(encoding="utf-8-sig")
    try:
        # outside a transaction of ours: the file may begin and commit by itself; if it does not, it is one
        with psycopg.connect(installation.database_url("postgres"), autocommit=True) as connection:
            connection.execute(text.encode())
    except psycopg.Error as error:
        position = int(error.diag.statement_position or 0)
        line = f", line {text.count(chr(10), 0, position - 1) + 1}" if position else ""
        words = error.diag.message_primary or str(error).strip()
        code = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        cure = error.diag.message_hint or "Correct the file and start again."
        raise ServiceFailed("schema_failed", f"{file}{line}: {words}{code}", cure) from error


def _run_migrations(installation: Installation) -> None:
    """The command line's own verb, in a process of its own: local/ imports nothing of jobs/."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "jobs.cli", "db", "migrate", "--json", "--data-dir", str(installation.data_dir)],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    try:
        error = json.loads(done.stdout)["error"]
        raise ServiceFailed(error["code"], error["message"], error["cure"])
    except (ValueError, KeyError, TypeError):
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise ServiceFailed(
            "migrations_failed", f"The migrations could not be applied: {last[0]}", "Run `./instashare db migrate`."
        ) from None
