"""A tool that installs packages, run to its end, and what its failure means to a person.

Standard library only: see local/bootstrap.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["NEEDED_MIB", "SetupFailed", "find_fault", "run_tool"]

NEEDED_MIB = 1500  # what the environment and npm's packages take, with both caches
# what a tool says when it fails -> what it means, what to do; the first that fits
FAULTS = (
    (
        ("no space left", "enospc", "disk quota"),
        "disk_full",
        "The disk is full.",
        f"Free about {NEEDED_MIB} MiB and try again.",
    ),
    (
        ("certificate", "unknownissuer", "self_signed", "self-signed", "unable_to_get_issuer"),
        "certificate_refused",
        "The package registry's certificate is not trusted here, as happens behind an inspecting proxy.",
        "Set SSL_CERT_FILE to the file of your network's certificates (PEM) and try again.",
    ),
    (
        ("hash mismatch", "do not match the hashes", "eintegrity", "integrity checksum failed"),
        "package_altered",
        "A downloaded package is not the one that was locked.",
        "Try again; if it stays, something between you and the registry alters packages.",
    ),
    (
        (
            "error sending request",
            "failed to fetch",
            "connection error",
            "connection refused",
            "connection reset",
            "connection aborted",
            "connection broken",
            "network is unreachable",
            "enetunreach",
            "name resolution",
            "name or service not known",
            "dns error",
            "enotfound",
            "eai_again",
            "econnrefused",
            "econnreset",
            "etimedout",
            "timed out",
            "max retries",
            "no matching distribution",
            "proxyerror",
            "proxy error",
            "err_socket_timeout",
        ),
        "registry_unreachable",
        "The package registries (PyPI and npm) cannot be reached.",
        "Check the network; behind a proxy set HTTPS_PROXY. Then try again.",
    ),
    (
        ("permission denied", "eacces", "read-only file system", "erofs"),
        "folder_unwritable",
        "The project's folder, or a cache folder, cannot be written.",
        "Run the command as the folder's owner, or clone the project into a folder of your own.",
    ),
)


class SetupFailed(Exception):
    """What is missing, and its cure; `log` holds the tool's own last words."""

    def __init__(self, code: str, message: str, cure: str, log: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.cure, self.log = code, message, cure, log


def run_tool(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    """Run a tool in a folder; raises SetupFailed with what its failure means."""
    done = subprocess.run(
        list(command),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "it said nothing")
        raise find_fault(done.stdout) or SetupFailed(
            "setup_failed",
            f"`{' '.join(Path(word).name for word in command[:4])} …` failed: {last.strip()}",
            "Correct that and try again; `rm -r .venv local/node_modules` begins anew.",
            done.stdout,
        )


def find_fault(output: str) -> SetupFailed | None:
    """What a tool's words mean, None if they are not known."""
    words = output.lower()
    for patterns, code, message, cure in FAULTS:
        if any(pattern in words for pattern in patterns):
            return SetupFailed(code, message, cure, output)
    return None
