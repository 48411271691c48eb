"""Statements are numbered, named and prepared once."""

from __future__ import annotations

from local.storage.prepared import MOST, Prepared, numbered_places


class Quotes:
    """Quotes as libpq does where no connection is needed: plain text."""

    def escape_literal(self, text: bytes) -> bytes:
        return b"'" + text + b"'"


def test_places_are_numbered_once_a_name() -> None:
    assert numbered_places("f(%(a)s, %(b)s, %(a)s)") == ("f($1, $2, $1)", ("a", "b"))
    assert numbered_places("f(%s, %s)") == ("f($1, $2)", (0, 1))


def test_a_statement_is_prepared_once_for_each_role() -> None:
    prepared = Prepared(Quotes())  # type: ignore[arg-type]  # all that it asks for
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
