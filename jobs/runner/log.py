"""The runner's log: one JSON object a line on stderr, one line for the start of a job and one for its end."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

__all__ = ["note", "set_up"]

logger = logging.getLogger("instashare.runner")


class Line(logging.Formatter):
    """`{"at", "level", "event", …fields}`; no field ever holds a key, a password or a signed URL."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(level: str) -> None:
    """Send the runner's lines to stderr from `level` (debug, info, warning, error) on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())


def note(event: str, *, level: int = logging.INFO, exc_info: bool = False, **fields: Any) -> None:
    """Write one line: what happened, and its particulars (None ones are left out)."""
    if logger.isEnabledFor(level):
        told = {name: value for name, value in fields.items() if value is not None}
        logger.log(level, event, extra={"fields": told}, exc_info=exc_info)
