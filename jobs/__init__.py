"""The runner, which turns stored documents into ZIPs, and the operator's command line."""

from __future__ import annotations
