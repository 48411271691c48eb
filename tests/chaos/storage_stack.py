"""A stack with an empty schema whose gateway may be killed, and buckets on it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.conftest import instashare, wait_for
from tests.e2e.storage_target import Storage

__all__ = ["Gateway"]


class Gateway:
    """The gateway of a running stack."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        status = self.status()
        keys = (status["publishable_key"], status["secret_key"], status["jwt_secret"])
        self.storage = Storage(status["supabase_url"], *keys, status["admin_database_url"])

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(instashare("status", "--json", "--data-dir", str(self.data_dir)).stdout)
        return status

    @property
    def pid(self) -> int:
        return int(self.status()["services"]["gateway"]["pid"])

    @property
    def port(self) -> int:
        return int(self.storage.url.rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL; the supervisor starts another."""
        os.kill(self.pid, signal.SIGKILL)

    def wait_until_back(self, old: int) -> None:
        """Wait until another process answers."""

        def is_back() -> bool:
            try:
                healthy = httpx.get(f"{self.storage.url}/health").status_code == 200
            except httpx.TransportError:
                return False
            return healthy and self.pid != old

        wait_for(is_back, 60)

    def folder(self, name: str) -> set[str]:
        """The names of the files below one of Storage's folders."""
        return {path.name for path in (self.data_dir / "storage" / name).rglob("*") if path.is_file()}

    def memory_mb(self) -> float | None:
        """The process's peak of resident memory; None where the system does not tell."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return None
        return int(text.split("VmHWM:")[1].split()[0]) / 1000
