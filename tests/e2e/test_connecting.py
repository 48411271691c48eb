"""docs/connecting.md: its programs, run as written against the stack as the role postgres."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import installation
from tests.caddy import ROOT
from tests.e2e.conftest import Stack

PAGE = (ROOT / "docs" / "connecting.md").read_text()
SCHEMA = "reports"


def program(section: str) -> str:
    """The Python of a section."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    (found,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return found


@pytest.fixture
def settings(stack: Stack) -> dict[str, str]:
    """The environment of somebody who follows the page."""
    if stack.data_dir is None:
        pytest.skip("ADMIN_DATABASE_URL of the role postgres is known of a local stack alone")
    return {**os.environ, "ADMIN_DATABASE_URL": installation.load(stack.data_dir).database_url("postgres")}


@pytest.mark.parametrize("section", ["psycopg", "SQLAlchemy"])
def test_a_program_connects(stack: Stack, settings: dict[str, str], tmp_path: Path, section: str) -> None:
    (tmp_path / "program.py").write_text(program(section))
    done = subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with stack.database() as database:
        row = database.execute("select count(*) as number from public.documents").fetchone()
    assert row and str(row["number"]) in done.stdout


@pytest.fixture
def migrations(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """A folder after `alembic init migrations`, with the page's env.py; the schema is gone afterwards."""
    alembic = [sys.executable, "-m", "alembic"]
    subprocess.run([*alembic, "init", "migrations"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "migrations" / "env.py").write_text(program("Alembic"))
    yield tmp_path
    with stack.database() as database:
        database.execute(f"drop schema if exists {SCHEMA} cascade")


def test_alembic_keeps_to_its_own_schema(stack: Stack, settings: dict[str, str], migrations: Path) -> None:
    def alembic(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=migrations,
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with stack.database() as database:
        count = "select count(*) as number from pg_tables where schemaname <> %s"
        before = database.execute(count, [SCHEMA]).fetchone()
        alembic("revision", "-m", "make a table")
        (revision,) = (migrations / "migrations" / "versions").glob("*.py")
        table = f"op.create_table('totals', sa.Column('id', sa.BigInteger, primary_key=True), schema='{SCHEMA}')"
        text = revision.read_text().replace("pass", table, 1)
        revision.write_text(text.replace("    pass", f"    op.drop_table('totals', schema='{SCHEMA}')", 1))
        alembic("upgrade", "head")
        tables = database.execute(
            "select tablename from pg_tables where schemaname = %s order by 1", [SCHEMA]
        ).fetchall()
        assert [row["tablename"] for row in tables] == ["alembic_version", "totals"]
        # what it would write by itself drops the one table that its metadata lacks, and none of ours
        alembic("revision", "--autogenerate", "-m", "compare")
        written = "".join(file.read_text() for file in (migrations / "migrations" / "versions").glob("*compare.py"))
        assert re.findall(r"op\.drop_table\('(\w+)'", written.split("def downgrade")[0]) == ["totals"]
        assert "documents" not in written and "users" not in written
        alembic("downgrade", "base")
        assert database.execute(count, [SCHEMA]).fetchone() == before
