"""`instashare doctor`: name each fault of an installation, and its cure."""

from __future__ import annotations

from jobs.cli.doctor.examination import register

__all__ = ["register"]
