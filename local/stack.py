"""The local stack of one data folder: made or changed as asked, then supervised until somebody stops it."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from local import installation as installations
from local import state
from local.disk import find_full_disk
from local.errors import NotInstalled, StackError
from local.installation import Installation
from local.ports import settle_ports
from local.state import StackState

__all__ = ["ALREADY_RUNNING", "AlreadyRunning", "Options", "main", "settle", "supervise"]

ALREADY_RUNNING = 4  # exit code of `python -m local.stack`


@dataclass(frozen=True)
class Options:
    """What `up` was asked for; None leaves an installation as it is, and takes the default for a new one."""

    port: int | None = None
    confirm_email: bool | None = None
    storage_limit: int | None = None
    schema_file: Path | None = None
    web: str = "built"


class AlreadyRunning(StackError):
    """Another supervisor has this data folder."""


def supervise(data_dir: Path, options: Options, watch: Callable[[StackState], None] = lambda _: None) -> None:
    """Run an installation until SIGTERM, SIGINT or SIGHUP; makes it first if there is none.

    `watch` hears of every change of the state, which is also recorded in the data folder. Must run on the main thread.
    Raises AlreadyRunning, or StackError after everything that was started has ended.
    """
    from local.supervisor import Supervisor  # not for those who only start one in the background

    data_dir = data_dir.resolve()
    try:
        with state.supervision(data_dir, sign=True) as ours:
            if not ours:
                raise AlreadyRunning("already_running", f"The stack of {data_dir} is already running.")
            Supervisor(data_dir, lambda: settle(data_dir, options), watch).run()
    except OSError as error:
        raise find_full_disk(data_dir) or StackError(
            "data_dir_unwritable",
            f"The data folder {data_dir} cannot be used: {error.strerror or error} ({error.filename}).",
            "Name a folder of your own with --data-dir.",
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m local.stack`: the supervisor of a detached stack; what it has to say stands in the data folder."""
    parser = argparse.ArgumentParser(prog="local.stack")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--confirm-email", action=argparse.BooleanOptionalAction)
    parser.add_argument("--storage-limit", type=int)
    parser.add_argument("--schema", type=Path)
    parser.add_argument("--web", choices=("built", "dev", "none"), default="built")
    given = parser.parse_args(arguments)
    try:
        supervise(
            given.data_dir, Options(given.port, given.confirm_email, given.storage_limit, given.schema, given.web)
        )
    except StackError as error:
        sys.stderr.write(f"{error.code}: {error.message} {error.cure}\n")
        return ALREADY_RUNNING if isinstance(error, AlreadyRunning) else 1
    return 0


def settle(data_dir: Path, options: Options) -> Installation:
    """Make the installation or change it as asked, and make sure of its ports.

    Raises PortTaken for a port that people know; the others move silently.
    """
    try:
        found = installations.load(data_dir)
    except NotInstalled:
        found = installations.create(
            data_dir,
            port=options.port,
            confirm_email=bool(options.confirm_email),
            storage_limit=options.storage_limit or installations.DEFAULT_STORAGE_LIMIT,
            schema_file=options.schema_file,
        )
    from local import web

    wanted = options.schema_file.resolve() if options.schema_file else None
    if wanted is not None and wanted != found.schema_file:
        raise StackError(
            "schema_differs",
            f"The stack of {data_dir} was made with {found.schema_file or 'our own migrations'}.",
            "Name another folder with --data-dir, or run `./instashare reset` first.",
        )
    ports = found.ports
    if options.port is not None and options.port != ports.gateway:
        ports = installations.choose_ports(options.port, ports)
    settled = dataclasses.replace(
        found,
        ports=settle_ports(ports),
        confirm_email=found.confirm_email if options.confirm_email is None else options.confirm_email,
        storage_limit=found.storage_limit if options.storage_limit is None else options.storage_limit,
        web=options.web if web.has_client() else "none",
    )
    if settled != found:
        installations.save(settled)
    return settled


if __name__ == "__main__":
    sys.exit(main())
