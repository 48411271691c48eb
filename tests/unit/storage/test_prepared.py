"""Values become SQL that means them, whatever is in them."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from local.storage.prepared import MOST, Prepared, literal, numbered_places


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        ("it's", "'it''s'"),
        ("a\\' or true --", " E'a\\\\'' or true --'"),
        ("%s $1 :x", "'%s $1 :x'"),
        (Jsonb({"a": "it's"}), "'{\"a\": \"it''s\"}'"),
    ],
)
def test_a_literal_means_its_value(value: object, text: str) -> None:
    assert literal(value) == text


def test_what_is_no_text_to_postgres_is_refused() -> None:
    with pytest.raises(psycopg.DataError):
        literal("a\0b")
    with pytest.raises(TypeError):
        literal(b"bytes")


def test_places_are_numbered_once_a_name() -> None:
    assert numbered_places("f(%(a)s, %(b)s, %(a)s)") == ("f($1, $2, $1)", ("a", "b"))
    assert numbered_places("f(%s, %s)") == ("f($1, $2)", (0, 1))


def test_a_statement_is_prepared_once_for_each_role() -> None:
    prepared = Prepared()
    first = prepared.call("anon", "select %s", ["x"])
    assert prepared.take_unmade() == ["prepare s0 as select $1"]
    assert (first, prepared.call("anon", "select %s", ["y"])) == ("execute s0('x')", "execute s0('y')")
    assert prepared.take_unmade() == []
    assert prepared.call("service_role", "select %s", ["x"]) == "execute s1('x')"
    for number in range(MOST):
        prepared.call(f"role {number}", "select 1", [])
    made = prepared.take_unmade()
    assert made.count("deallocate all") == 1
    names = [text.split()[1] for text in made[made.index("deallocate all") + 1 :]]
    assert len(names) == len(set(names))
