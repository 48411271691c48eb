"""`python -m jobs.runner`: one runner with the environment's settings."""

from __future__ import annotations

import sys

from jobs.runner.runner import main

if __name__ == "__main__":
    sys.exit(main())
