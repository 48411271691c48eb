"""`python -m backend`: serves the API until SIGTERM, by as many processes as BACKEND_WORKERS says."""

from __future__ import annotations

import os
import sys
import tempfile

import uvicorn

from backend.settings import SettingsError, read_settings

__all__ = ["main"]

STOP_SECONDS = 20


def main() -> None:
    """Serve on BACKEND_HOST (127.0.0.1) and BACKEND_PORT (8000).

    The processes share nothing but the port and the folder of their figures: GET /metrics answers for all of them,
    whichever is asked. A fault in the settings ends this one with a sentence and status 2.
    """
    try:
        read_settings()  # in each process again; here so that none is started, and started anew, in vain
        workers = _whole("BACKEND_WORKERS", 1)
        port = _whole("BACKEND_PORT", 8000)
    except SettingsError as error:
        print(f"The API cannot start. {error}", file=sys.stderr)
        raise SystemExit(2) from None
    with tempfile.TemporaryDirectory(prefix="instashare-metrics-") as folder:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        uvicorn.run(
            "backend.app:create_app",
            factory=True,
            host=os.environ.get("BACKEND_HOST") or "127.0.0.1",
            port=port,
            workers=workers,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )


def _whole(name: str, otherwise: int) -> int:
    text = os.environ.get(name) or str(otherwise)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{name}: must be a whole number from 1 on, not {text!r}.")
    return int(text)


if __name__ == "__main__":
    main()
