"""The rules of who may do what, as `sql/authorisation.toml` lists them."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.queries import FOLDER

__all__ = ["KINDS", "WORDS", "Authorisation", "Row", "read_authorisation"]

KINDS = ("tables", "views", "functions", "buckets")
WORDS = {"y": "yes", "0": "nothing", "n": "refused", "x": "no"}
"""What a cell's letter means; the file's own comment says it at length."""


@dataclass(frozen=True)
class Row:
    """One line: what is tried on which thing, and a letter for everybody who might. The rest says how it is tried."""

    kind: str
    on: str
    verb: str
    cells: Mapping[str, str]
    what: str = ""
    where: Mapping[str, Any] | None = None
    columns: str = ""
    set: Mapping[str, Any] | None = None
    key: str = ""
    to: str = ""
    into: str = ""

    @property
    def title(self) -> str:
        """What people read: the thing, and which of its rows."""
        return f"{self.on}, {self.what}" if self.what else self.on


@dataclass(frozen=True)
class Authorisation:
    """The whole file: who might ask, what comes of it, and which columns can be written (table → verb → columns)."""

    who: Mapping[str, str]
    rows: tuple[Row, ...]
    writable: Mapping[str, Mapping[str, list[str]]]


@functools.cache
def read_authorisation() -> Authorisation:
    """Read the file once; ValueError for a row without all its cells, an unknown letter, or a row given twice."""
    file = tomllib.loads((FOLDER / "authorisation.toml").read_text(encoding="utf-8"))
    who: dict[str, str] = file["who"]
    rows = []
    for kind in KINDS:
        for entry in file[kind]["rows"]:
            letters = entry.pop("cells").split()
            if len(letters) != len(who) or not set(letters) <= set(WORDS):
                raise ValueError(
                    f"sql/authorisation.toml: {entry} needs one of {', '.join(WORDS)} for each of {len(who)}"
                )
            rows.append(Row(kind, cells=dict(zip(who, letters, strict=True)), **entry))
    titles = [(row.title, row.verb) for row in rows]
    twice = {title for title in titles if titles.count(title) > 1}
    if twice:
        raise ValueError(f"sql/authorisation.toml has rows twice: {twice}")
    return Authorisation(who, tuple(rows), file["writable"])
