from __future__ import annotations

from pathlib import Path

import pytest

from jobs.cli.statements import split_statements

MIGRATIONS = sorted((Path(__file__).parents[3] / "supabase" / "migrations").glob("*.sql"))


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split_statements(sql)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" ;; \n ; ", []),
        ("select 1", ["select 1"]),
        ("select 1; select 2;", ["select 1", "select 2"]),
        ("select ';'; select 2", ["select ';'", "select 2"]),
        ("select 'it''s;'; select 2", ["select 'it''s;'", "select 2"]),
        (r"select '\'; select 2", [r"select '\'", "select 2"]),
        (r"select e'\';'; select 2", [r"select e'\';'", "select 2"]),
        (r"select type'\'; select 2", [r"select type'\'", "select 2"]),
        ('select ";"";"; select 2', ['select ";"";"', "select 2"]),
        ("do $$ begin; end $$; select 2", ["do $$ begin; end $$", "select 2"]),
        ("do $a$ ; $$ ; $b$ $a$; select 2", ["do $a$ ; $$ ; $b$ $a$", "select 2"]),
        ("select a$1, $1; select 2", ["select a$1, $1", "select 2"]),
        ("select a$b$c; select 2", ["select a$b$c", "select 2"]),
        ("select 1 -- ; no\n; select 2", ["select 1 -- ; no", "select 2"]),
        ("select 1 /* ; /* ; */ ; */; select 2", ["select 1 /* ; /* ; */ ; */", "select 2"]),
        ("select 1; -- the end", ["select 1", "-- the end"]),
        (
            "create function f() returns int begin atomic select 1; select case when true then 2 end; end; select 3",
            [
                "create function f() returns int begin atomic select 1; select case when true then 2 end; end",
                "select 3",
            ],
        ),
        ("select 'never ends; ", ["select 'never ends;"]),
        ("do $$ never ends; ", ["do $$ never ends;"]),
    ],
)
def test_where_statements_end(sql: str, expected: list[str]) -> None:
    assert texts(sql) == expected


def test_lines_and_what_runs() -> None:
    found = split_statements("-- a\n\nselect 1;\n\n  select\n 2;\n-- z\n")
    assert [(one.line, one.runs) for one in found] == [(1, True), (5, True), (7, False)]


@pytest.mark.parametrize("file", MIGRATIONS, ids=lambda file: file.stem)
def test_our_migrations_are_split_without_loss(file: Path) -> None:
    sql = file.read_text()
    found = split_statements(sql)
    rest = sql
    for statement in found:
        before, _, rest = rest.partition(statement.text)
        assert before.strip(" \n;") == ""
        assert statement.text.splitlines()[0] in sql.splitlines()[statement.line - 1]
    assert rest.strip(" \n;") == ""
