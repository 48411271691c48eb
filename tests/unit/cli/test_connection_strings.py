from __future__ import annotations

import re

import psycopg
import pytest

from jobs.cli.connection import explain, parse
from jobs.cli.database import _compose_url
from jobs.cli.doctor.connection_strings import find_fault, is_safe_to_try, project_ref
from jobs.errors import InstaShareError, NotReadyError, SettingsError

REF, OTHER = "abcdefghijklmnopqrst", "zyxwvutsrqponmlkjihg"
POOLER = "aws-0-eu-west-1.pooler.supabase.com"


@pytest.mark.parametrize(
    "value",
    [
        f"postgresql://postgres:p%40ss%2Fw@db.{REF}.supabase.co:5432/postgres?sslmode=require",
        f"postgresql://postgres.{REF}:secret1@{POOLER}:6543/postgres?sslmode=require",
        "postgresql://supabase_admin:secret1@127.0.0.1:54322/postgres",
        "postgresql://postgres:secret1@db:5432/postgres",
        "postgresql://postgres:secret1@[::1]:5432/postgres",
        "postgresql://postgres:secret1@10.0.0.7/postgres",
    ],
)
def test_sound_strings(value: str) -> None:
    assert find_fault(value, "postgres", REF) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("postgresql://postgres:secret1@db:5432/postgres\n", "newline"),
        ('"postgresql://postgres:secret1@db:5432/postgres"', "Quotes"),
        ("db.example.com", "no address"),
        ("postgres://postgres:secret1@db/postgres", "SQLAlchemy"),
        ("postgresql+psycopg://postgres:secret1@db/postgres", "SQLAlchemy"),
        ("postgresql://postgres:secret1@x@db/postgres", "ends it early"),
        ("postgresql://postgres:secret1/x@db/postgres", "ends it early"),
        ("postgresql://postgres:secret1#x@db/postgres", "ends it early"),
        ("postgresql://postgres:secret1?x@db/postgres", "ends it early"),
        ("postgresql://postgres:secret1%zz@db/postgres", "encodes nothing"),
        ("postgresql://postgres@db/postgres", "no password"),
        ("postgresql://postgres:[YOUR-PASSWORD]@db/postgres", "published example"),
        ("postgresql://postgres:your-super-secret-and-long@db/postgres", "published example"),
        (f"postgresql://postgres:secret1@{POOLER}:5432/postgres?sslmode=require", "Tenant or user not found"),
        (f"postgresql://postgres.{REF}:secret1@db.{REF}.supabase.co/postgres?sslmode=require", "only a pooler"),
        (f"postgresql://postgres:secret1@db.{OTHER}.supabase.co/postgres?sslmode=require", "SUPABASE_URL is of"),
        (f"postgresql://postgres.{OTHER}:secret1@{POOLER}/postgres?sslmode=require", "SUPABASE_URL is of"),
        (f"postgresql://postgres:secret1@db.{REF}.supabase.co/postgres", "sslmode is missing"),
        (f"postgresql://postgres.{REF}:secret1@{POOLER}:54322/postgres?sslmode=require", "does not listen"),
        ("postgresql://instashare_runner:secret1@db/postgres", "runner's role"),
    ],
)
def test_faults_are_named_without_the_password(value: str, words: str) -> None:
    fault = find_fault(value, "postgres", REF)
    assert fault is not None
    assert words in fault[0]
    assert fault[1]
    assert "secret1" not in "".join(fault)


def test_the_runner_logs_in_as_itself() -> None:
    assert find_fault("postgresql://instashare_runner:secret1@db/postgres", "instashare_runner") is None
    fault = find_fault("postgresql://postgres:secret1@db/postgres", "instashare_runner")
    assert fault is not None
    assert "far too much" in fault[0]


def test_a_password_in_pieces_is_not_tried() -> None:
    assert not is_safe_to_try("postgresql://postgres:p@ss/w#rd@db.example.com/postgres")
    assert is_safe_to_try("postgres://postgres:secret1@db/postgres\n")


@pytest.mark.parametrize(
    ("host", "user", "ref"),
    [
        (f"{REF}.supabase.co", "", REF),
        (f"db.{REF}.supabase.co", "postgres", REF),
        (POOLER, f"postgres.{REF}", REF),
        (POOLER, "postgres", None),
        ("share.example.com", "postgres.x", None),
    ],
)
def test_project_refs(host: str, user: str, ref: str | None) -> None:
    assert project_ref(host, user) == ref


@pytest.mark.parametrize(
    "url", ["postgresql://u:pa/ss@h:5432/db", "postgresql://u:p@h:port/db", "x=y", "postgresql://u:%zz@h"]
)
def test_a_malformed_string_is_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(url, "DATABASE_URL")
    words = caught.value.message + caught.value.cure
    assert "DATABASE_URL" in words
    assert "pa" not in re.sub("password|percent", "", words)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("FATAL:  Tenant or user not found", "tenant_not_found"),
        ("FATAL:  (EMAXCONNSESSION) max clients reached in session mode", "pool_exhausted"),
        ('FATAL:  password authentication failed for user "postgres"', "password_wrong"),
        ('FATAL:  role "instashare_runner" is not permitted to log in', "login_disabled"),
        ('FATAL:  role "x" does not exist', "unknown_role_or_database"),
        ('connection to server at "2a05::1", port 5432 failed: Network is unreachable', "ipv6_unreachable"),
        ("failed to resolve host 'db.x.supabase.co': [Errno -2] Name or service not known", "host_unknown"),
        ("FATAL:  no pg_hba.conf entry for host, no encryption", "ssl_mismatch"),
        ("server does not support SSL, but SSL was required", "ssl_mismatch"),
        ("connection failed: Connection refused", "connection_refused"),
        ("connection timeout expired", "connection_timeout"),
        ("something new", "connection_failed"),
    ],
)
def test_what_a_failed_connection_means(words: str, code: str) -> None:
    error = explain(psycopg.OperationalError(words), "DATABASE_URL")
    assert isinstance(error, InstaShareError)
    assert error.code == code
    assert error.message.startswith("DATABASE_URL: ")
    assert error.cure
    assert isinstance(error, NotReadyError) == (code in ("connection_refused", "connection_timeout"))


@pytest.mark.parametrize(
    ("admin", "expected"),
    [
        (
            f"postgresql://postgres.{REF}:x@{POOLER}:5432/postgres?sslmode=require",
            f"postgresql://instashare_runner.{REF}:p%40ss@{POOLER}:5432/postgres?sslmode=require",
        ),
        (
            "postgresql://supabase_admin:x@127.0.0.1:54322/postgres",
            "postgresql://instashare_runner:p%40ss@127.0.0.1:54322/postgres",
        ),
        ("postgresql://postgres:x@[::1]:5432/postgres", "postgresql://instashare_runner:p%40ss@[::1]:5432/postgres"),
        ("host=db user=postgres password=x dbname=app", "postgresql://instashare_runner:p%40ss@db:5432/app"),
    ],
)
def test_the_runner_s_string_follows_the_admin_s(admin: str, expected: str) -> None:
    assert _compose_url(parse(admin), "p@ss") == expected
    assert parse(expected)["password"] == "p@ss"
