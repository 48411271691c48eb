"""The SQL that Python runs, by name: `sql/<topic>.sql` holds blocks that begin with `-- name: <name>`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

__all__ = ["load"]

FOLDER = Path(__file__).resolve().parents[1] / "sql"


@functools.cache
def load(topic: str) -> Mapping[str, str]:
    """The queries of `sql/<topic>.sql`, by name, without comments and closing semicolon. Raises FileNotFoundError."""
    queries: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (FOLDER / f"{topic}.sql").read_text(encoding="utf-8").splitlines():
        if line.startswith("-- name:"):
            lines = queries[line.removeprefix("-- name:").strip()] = []
        elif not line.startswith("--"):
            lines.append(line)
    return MappingProxyType({name: "\n".join(lines).strip().rstrip(";") for name, lines in queries.items()})
