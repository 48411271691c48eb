"""Whether there is room where Storage keeps its bytes, and whether much of it is taken by what belongs to no object.

On the file backend an unfinished resumable upload never ends: its bytes have no row that a sweep could find. The folder
can be seen on the local stack, and on a Docker host by somebody who may read the volume.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg

from jobs import queries
from jobs.cli.connection import connect
from jobs.cli.doctor.check import Check, fail, passed
from jobs.cli.doctor.connection_strings import is_safe_to_try
from jobs.cli.target import Target
from jobs.cli.units import show_size
from jobs.errors import InstaShareError

__all__ = ["check_disk", "check_machine"]

VOLUME = Path("/var/lib/docker/volumes/instashare_storage-data/_data")  # docker-compose.yml's `storage-data`
LEAST_FREE_BYTES = 1 << 30
LEAST_FREE_SHARE = 0.05
STRAY_BYTES = 1 << 30
STRAY_SHARE = 0.1
WALK_SECONDS = 10.0
MACHINES = ("x86_64", "amd64", "aarch64", "arm64")  # what Supabase's images are made for


def check_disk(target: Target, environment: Mapping[str, str] | None = None) -> list[Check]:
    """The checks `disk.*`; none where the folder of Storage's bytes is not on this machine or may not be read."""
    given = os.environ if environment is None else environment
    folder = _folder(target, given)
    if folder is None:
        return []
    space = shutil.disk_usage(folder)
    if space.free < max(LEAST_FREE_BYTES, space.total * LEAST_FREE_SHARE):
        words = (
            f"{show_size(space.free)} of {show_size(space.total)} are free where Storage keeps its bytes ({folder})."
        )
        cure = "Make room or a larger disk: uploads fail first, and a full disk stops the database with them."
        return [fail("disk.space", words, cure), *_check_strays(target, folder)]
    return [passed("disk.space", f"{show_size(space.free)} are free."), *_check_strays(target, folder)]


def check_machine(environment: Mapping[str, str] | None = None, machine: str | None = None) -> list[Check]:
    """With a deployment's .env loaded: whether its images exist for this machine's architecture."""
    given = os.environ if environment is None else environment
    if not given.get("POSTGRES_PASSWORD"):
        return []
    here = machine or platform.machine()
    if here.lower() not in MACHINES:
        cure = "Use a 64-bit Intel, AMD or ARM machine; elsewhere containers end with `exec format error`."
        return [fail("deployment.machine", f"Supabase makes no images for {here}.", cure)]
    forced = given.get("DOCKER_DEFAULT_PLATFORM", "")
    own = "arm64" if here.lower() in ("aarch64", "arm64") else "amd64"
    if forced and own not in forced:
        cure = "Unset DOCKER_DEFAULT_PLATFORM and pull the images again: foreign ones run slowly or not at all."
        return [fail("deployment.machine", f"Images of {forced} would run on {here}.", cure)]
    return [passed("deployment.machine", f"There are images for {here}.")]


def _folder(target: Target, environment: Mapping[str, str]) -> Path | None:
    if told := environment.get("STORAGE_FOLDER", "").strip():
        folder = Path(told)
    elif target.is_local and target.local:
        folder = target.local.storage_dir
    elif environment.get("POSTGRES_PASSWORD"):
        folder = VOLUME
    else:
        return None
    return folder if os.access(folder, os.R_OK | os.X_OK) and folder.is_dir() else None


def _check_strays(target: Target, folder: Path) -> list[Check]:
    name, url = "disk.unfinished_uploads", target.get("ADMIN_DATABASE_URL") or ""
    if not url or not is_safe_to_try(url):
        return []
    try:
        with connect(url, seconds=6) as connection:
            row = connection.execute(queries.load("doctor")["measure_objects"]).fetchone()
    except (InstaShareError, psycopg.Error):
        return []  # the checks of the database say why
    kept = int(row[0]) if row else 0
    there = _measure(folder)
    if there is None:
        return [passed(name, f"Too many files to add up within {WALK_SECONDS:.0f} s.")]
    if there - kept > max(STRAY_BYTES, kept * STRAY_SHARE):
        words = f"{show_size(there)} lie in {folder}, but all objects together have {show_size(kept)}."
        cure = (
            "Unfinished resumable uploads never expire on the file backend: with Storage stopped, remove files older "
            "than two days whose name is no version in storage.objects, or keep the bytes in S3 (docs/scaling.md)."
        )
        return [fail(name, words, cure)]
    return [passed(name, f"{show_size(there)} on disk for {show_size(kept)} in objects.")]


def _measure(folder: Path) -> int | None:
    """The bytes of all files below, as long as that takes less than WALK_SECONDS."""
    until, total = time.monotonic() + WALK_SECONDS, 0
    for place, _, files in os.walk(folder):
        if time.monotonic() > until:
            return None
        for name in files:
            try:
                total += (Path(place) / name).stat().st_size
            except OSError:
                continue  # finished or removed meanwhile
    return total
