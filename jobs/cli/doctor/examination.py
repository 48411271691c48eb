"""Run every group of checks at once, within the time that was promised."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from jobs.cli.doctor import database, deployment, disk, mail_links, runner, services, settings, signing_keys, transfers
from jobs.cli.doctor.check import Check, fail
from jobs.cli.output import DEFAULT_DATA_DIR, DataDir, Json, answer, guarded, notice
from jobs.cli.target import Target, find_target
from jobs.errors import InstaShareError

__all__ = ["examine", "register"]

LONGEST_SECONDS = 24.0  # of 30, so that starting up and printing fit in too
THOROUGH_SECONDS = 90.0
GROUPS: Mapping[str, Callable[[Target], list[Check]]] = {
    "services": services.check_services,
    "database": database.check_database,
    "runner": runner.check_runner,
    "uploads": deployment.check_uploads,
    "transfers": transfers.check_transfers,
    "mail": mail_links.check_mail_links,
    "disk": disk.check_disk,
    "deployment": deployment.check_logins,
    "signing_keys": signing_keys.check_signing_keys,
    "machine": lambda target: disk.check_machine(),
}
# what takes a minute, or leaves a trace
THOROUGH: Mapping[str, Callable[[Target], list[Check]]] = {
    **GROUPS,
    "transfers": partial(transfers.check_transfers, slow_seconds=transfers.SLOW_SECONDS),
    "mail": partial(mail_links.check_mail_links, make_one=True),
}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(rich_help_panel="Operating")(guarded(doctor))


def doctor(
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="Look at slow downloads and a mail link too: takes a minute, makes a person."),
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Check settings, connections, privileges, buckets and policies; name each fault and its cure."""
    target = find_target(data_dir)
    notice(f"Looking; this takes up to {'a minute and a half' if thorough else 'half a minute'}.", as_json)
    groups, seconds = (THOROUGH, THOROUGH_SECONDS) if thorough else (GROUPS, LONGEST_SECONDS)
    checks = settings.check_settings(target, os.environ) + examine(target, groups, seconds)
    faults = [check for check in checks if not check.ok]

    def show(console: Console) -> None:
        for check in checks:
            mark = "[green]✓[/]" if check.ok else "[bold red]✗[/]"
            console.print(f"{mark} {check.name:<34} {escape(check.detail)}")
            if check.cure:
                console.print(f"    → {escape(check.cure)}")
        word = "faults" if len(faults) != 1 else "fault"
        console.print(f"[red]{len(faults)} {word}.[/]" if faults else "[green]All is well.[/]")

    answer({"ok": not faults, "checks": [check._asdict() for check in checks]}, as_json, show)
    if faults:
        raise typer.Exit(1)


def examine(target: Target, groups: Mapping[str, Callable[[Target], list[Check]]], seconds: float) -> list[Check]:
    """Run the groups at once; one that has not ended after `seconds`, or has a defect, is a failed check of its name.

    The threads are daemons: a name server that does not answer must not keep the process.
    """
    told: queue.Queue[tuple[str, list[Check]]] = queue.Queue()

    def run(name: str, group: Callable[[Target], list[Check]]) -> None:
        try:
            checks = group(target)
        except InstaShareError as error:
            checks = [fail(name, error.message, error.cure)]
        except Exception as error:
            checks = [fail(name, f"The check itself failed: {type(error).__name__}.", "Report this as a defect.")]
        told.put((name, checks))

    for name, group in groups.items():
        threading.Thread(target=run, args=(name, group), daemon=True).start()
    deadline = time.monotonic() + seconds
    found: dict[str, list[Check]] = {}
    while len(found) < len(groups):
        try:
            name, checks = told.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[name] = checks
    late = "Something behind it does not answer; look at its address and at firewalls."
    return _flatten([found.get(name, [fail(name, f"No result within {seconds:.0f} s.", late)]) for name in groups])


def _flatten(lists: Sequence[list[Check]]) -> list[Check]:
    return [check for checks in lists for check in checks]
