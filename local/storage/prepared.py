"""Statements that a connection keeps prepared, called by `execute`: one round trip holds as many as one likes.

A batch of ordinary statements is parsed and planned anew each time, which took Postgres longer than running it; the
extended protocol with its parameters takes one statement a message and the driver a millisecond for six. So values go
into the text, quoted by the database's own library, and nothing but values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import psycopg
from psycopg.pq.abc import Escaping
from psycopg.types.json import Jsonb

__all__ = ["Prepared", "Values"]

Values: TypeAlias = Sequence[Any] | Mapping[str, Any]
PLACE = re.compile(r"%\((\w+)\)s|%s")
MOST = 200  # roles are what tokens say; only the database knows which there are


class Prepared:
    """One connection's prepared statements, each for the role that runs it: row level security is part of a plan."""

    def __init__(self, escaping: Escaping) -> None:
        self.escaping = escaping
        self.names: dict[tuple[str | None, str], str] = {}
        self.unmade: list[str] = []

    def call(self, role: str | None, text: str, values: Values) -> str:
        """The call of a statement (with `%s` or `%(name)s`) with these values; to be prepared first if it is new."""
        numbered, order = numbered_places(text)
        name = self.names.get((role, text))
        if name is None:
            if len(self.names) >= MOST:
                self.names.clear()
                self.unmade.append("deallocate all")
            name = self.names[role, text] = f"s{len(self.names)}"
            self.unmade.append(f"prepare {name} as {numbered}")
        if not order:
            return f"execute {name}"
        given = [values[key] for key in order]  # type: ignore[index]  # names, or numbers from 0 on
        return f"execute {name}({','.join(self.literal(value) for value in given)})"

    def take_unmade(self) -> list[str]:
        """What has to be run before the calls; it is the caller's now."""
        unmade, self.unmade = self.unmade, []
        return unmade

    def literal(self, value: object) -> str:
        """A value as SQL. Raises psycopg.DataError for text with NUL, which Postgres does not hold."""
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, Jsonb):
            value = json.dumps(value.obj)
        if not isinstance(value, str):
            raise TypeError(f"no literal of {type(value).__name__}")
        if "\0" in value:
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return bytes(self.escaping.escape_literal(value.encode())).decode()


@cache
def numbered_places(text: str) -> tuple[str, tuple[str | int, ...]]:
    """The statement with `$1` and so on, and the keys of their values."""
    order: list[str | int] = []

    def number(found: re.Match[str]) -> str:
        key: str | int = found[1] if found[1] else len(order)
        if key not in order:
            order.append(key)
        return f"${order.index(key) + 1}"

    return PLACE.sub(number, text), tuple(order)
