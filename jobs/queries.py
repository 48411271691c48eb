"""Named SQL statements, kept in `sql/*.sql` and not inside Python strings.

A file is a sequence of blocks; each begins with a line `-- name: some_name` and reaches to the next one. Comments below
that line belong to the statement.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from types import MappingProxyType

__all__ = ["FOLDER", "load"]

FOLDER = Path(__file__).resolve().parents[1] / "sql"
HEADER = re.compile(r"^-- name: *([a-z][a-z0-9_]*) *$", re.MULTILINE)


@functools.cache
def load(topic: str) -> MappingProxyType[str, str]:
    """Read `sql/<topic>.sql` once; returns name → statement, without the closing semicolon.

    Raises FileNotFoundError for an unknown topic, ValueError for text outside blocks or a name used twice.
    """
    text = (FOLDER / f"{topic}.sql").read_text(encoding="utf-8")
    parts = HEADER.split(text)
    outside = [line for line in parts[0].splitlines() if line.strip() and not line.startswith("--")]
    if outside:
        raise ValueError(f"sql/{topic}.sql begins without a `-- name:` line: {outside[0]!r}")
    queries: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in queries:
            raise ValueError(f"sql/{topic}.sql names {name!r} twice")
        queries[name] = body.strip().removesuffix(";")
    return MappingProxyType(queries)
