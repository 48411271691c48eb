"""Everything that the runner and the command line tell a person when they cannot go on.

- InstaShareError
  - UsageError       the command was called wrongly (exit 2)
  - SettingsError    a setting is missing or cannot be right (exit 2)
  - NotReadyError    what the command needs is not running, or not built yet (exit 3)
  - OperationFailed  the command ran and failed (exit 1)
"""

from __future__ import annotations

__all__ = ["InstaShareError", "NotReadyError", "OperationFailed", "SettingsError", "UsageError"]


class InstaShareError(Exception):
    """A fault with a stable code, a sentence that says what happened and one that says what to do."""

    exit_code = 1

    def __init__(self, code: str, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.cure = code, message, cure


class UsageError(InstaShareError):
    """The command was called wrongly."""

    exit_code = 2


class SettingsError(InstaShareError):
    """A setting is missing or cannot be right."""

    exit_code = 2


class NotReadyError(InstaShareError):
    """What the command needs is not running, or is not built yet."""

    exit_code = 3


class OperationFailed(InstaShareError):
    """The command ran and failed."""
