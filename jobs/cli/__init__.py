"""The operator's command line: `./instashare VERB`."""

from __future__ import annotations
