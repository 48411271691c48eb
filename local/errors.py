"""What the local stack tells a person when it cannot go on.

- StackError
  - NotInstalled   the data folder holds no installation
  - PortTaken      a port that the stack promised is held by another program
  - ServiceFailed  a service ended, or did not become ready
"""

from __future__ import annotations

__all__ = ["NotInstalled", "PortTaken", "ServiceFailed", "StackError"]


class StackError(Exception):
    """A fault of the local stack with a stable code: what happened in one sentence, what to do in another."""

    def __init__(self, code: str, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.cure = code, message, cure


class NotInstalled(StackError):
    """The data folder holds no installation."""


class PortTaken(StackError):
    """A port that the stack promised is held by another program."""


class ServiceFailed(StackError):
    """A service ended, or did not become ready."""
