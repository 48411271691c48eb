"""`instashare up`, `down`, `status`, `reset` and `mail`: the local stack from the command line."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.cli.output import DEFAULT_DATA_DIR, DataDir, Json, answer, guarded, notice, notices, people, write_json
from jobs.cli.progress import Progress
from jobs.errors import UsageError
from local import control, installation
from local.mail import messages
from local.stack import AlreadyRunning, Options, supervise
from local.state import StackState

__all__ = ["register"]

PANEL = "The stack"
COLOURS = {"ready": "green", "starting": "yellow", "restarting": "yellow", "degraded": "yellow", "stopping": "yellow"}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (up, down, status, reset, mail):
        app.command(verb.__name__, rich_help_panel=PANEL)(guarded(verb))


def up(
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Port of the gateway; all other ports then are free ones."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready and leave it running.")] = False,
    no_web: Annotated[bool, typer.Option("--no-web", help="Without the web client.")] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Serve the web client from its sources.")] = False,
    confirm_email: Annotated[
        bool | None,
        typer.Option("--confirm-email/--no-confirm-email", help="Accounts must confirm their address (see `mail`)."),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema", exists=True, dir_okay=False, help="Apply this SQL file instead of InstaShare; Supabase alone."
        ),
    ] = None,
    storage_limit: Annotated[
        int | None, typer.Option("--storage-limit", min=1, metavar="BYTES", help="Storage's global size limit.")
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Start Postgres, Auth, REST, Storage, the API, the runner and the web client here; Ctrl-C stops them."""
    if dev and no_web:
        raise UsageError("web_twice", "--dev and --no-web contradict each other.", "Choose one of them.")
    options = Options(port, confirm_email, storage_limit, schema, "dev" if dev else "none" if no_web else "built")
    if detach:
        with Progress(as_json) as progress:
            started = control.start(data_dir, options, progress.show)
        _tell_running(data_dir, as_json, started, "`./instashare down` stops it.")
    else:
        _run_in_foreground(data_dir, options, as_json)


def down(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop the stack; its data stays."""
    with Progress(as_json) as progress:
        stopped = control.stop(data_dir, progress.show)
    words = "The stack is stopped; its data stays." if stopped else "Nothing was running."
    answer({"state": "stopped", "was_running": stopped}, as_json, lambda console: console.print(words))


def status(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show how each service stands; --json also prints addresses, keys and passwords."""
    facts = control.describe(data_dir)
    answer(facts, as_json, lambda console: _show_status(console, facts))
    if facts["state"] != "ready":
        raise typer.Exit(3)


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Stop the stack and delete all its data: accounts, documents, keys."""
    found = installation.load(data_dir)
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise UsageError("not_confirmed", "This deletes every account and document.", "Say so with --yes.")
        question = f"Delete every account, document and key in {found.data_dir}?"
        if not typer.confirm(question, err=True):
            raise typer.Exit(1)
    with Progress(as_json) as progress:
        control.stop(data_dir, progress.show)
    control.remove(data_dir)
    answer(
        {"state": "stopped", "removed": str(found.data_dir)},
        as_json,
        lambda console: console.print("Everything is deleted; `./instashare up` begins anew."),
    )


def mail(
    to: Annotated[str | None, typer.Option("--to", metavar="ADDRESS", help="Only mails to this address.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest ones only.")] = 20,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show the mails that Auth would have sent, the newest last."""
    mails = messages(installation.load(data_dir).mail_dir, to)[-limit:]

    def show(console: Console) -> None:
        if not mails:
            console.print("No mail was sent.")
        for one in mails:
            console.rule(f"{one.sent_at:%Y-%m-%d %H:%M:%S} UTC  to {escape(one.to)}", align="left")
            console.print(f"[bold]{escape(one.subject)}[/]\n{escape(one.text)}")

    told = [{**asdict(one), "sent_at": one.sent_at.isoformat()} for one in mails]
    answer({"mails": told}, as_json, show)


def _run_in_foreground(data_dir: Path, options: Options, as_json: bool) -> None:
    """Supervise here until Ctrl-C; where somebody else does already, say so and end."""
    progress = Progress(as_json, threads=False)
    told_ready = False

    def watch(told: StackState) -> None:
        nonlocal told_ready
        if told.state == "ready" and not told_ready:
            told_ready = True
            progress.close()
            _tell_running(data_dir, as_json, True, "Ctrl-C stops it.")
        elif told_ready:
            progress.show_changes(told)
        else:
            progress.show(told)

    while True:
        with progress:
            try:
                supervise(data_dir, options, watch)
            except AlreadyRunning:
                if not control.wait_for(data_dir, progress.show):
                    continue  # it was just ending: now it is our turn
            else:
                if not as_json:
                    notice(f"Stopped; the data stays in {escape(str(data_dir))}.")
                return
        _tell_running(data_dir, as_json, False, "`./instashare down` stops it.")
        return


def _tell_running(data_dir: Path, as_json: bool, started: bool, how_to_stop: str) -> None:
    facts = control.describe(data_dir)
    if as_json:
        write_json(facts)
        return
    people.print(f"[bold green]InstaShare is {'up' if started else 'already running'}.[/] {how_to_stop}")
    table = Table.grid(padding=(0, 2))
    if facts["web_url"]:
        table.add_row("  Web", facts["web_url"], "sign in with a demo user, or sign up")
    table.add_row("  Supabase", facts["supabase_url"], "Auth, REST and Storage")
    if facts["backend_url"]:
        table.add_row("  API", facts["backend_url"], f"{facts['backend_url']}/docs")
    table.add_row("  Data", facts["data_dir"], "")
    people.print(table)
    if facts["demo_users"]:
        people.print("  Demo users")
        users = Table.grid(padding=(0, 2))
        for user in facts["demo_users"]:
            users.add_row(f"    {user['email']}", user["password"], user["role"])
        people.print(users)
    people.print("  Keys and connection strings: `./instashare status --json`")
    _warn(facts)


def _show_status(console: Console, facts: dict[str, Any]) -> None:
    console.print(f"The stack of {escape(facts['data_dir'])} is {_colour(facts['state'])}.")
    if facts["error"]:
        notices.print(f"  {escape(facts['error']['message'])}")
    if not facts["services"]:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("service", "state", "pid", "MiB", "address"):
        table.add_column(column, justify="right" if column in ("pid", "MiB") else "left", no_wrap=True)
    for name, service in facts["services"].items():
        numbers = [str(service[key] or "") for key in ("pid", "rss_mb")]
        table.add_row(name, _colour(service["state"]), *numbers, service["url"] or "")
    console.print(table)
    for name, service in facts["services"].items():
        if service["restarts"]:
            times = "once" if service["restarts"] == 1 else f"{service['restarts']} times"
            console.print(f"{name} was restarted {times}: it {escape(service['detail'])}.")
    _warn(facts)
    console.print(f"Logs: {escape(facts['log_dir'])}")


def _warn(facts: dict[str, Any]) -> None:
    """What a person should know of a service."""
    for service in facts["services"].values():
        if service["warning"]:
            notices.print(f"[yellow]{escape(service['warning'])}[/]")


def _colour(word: str) -> str:
    return f"[{COLOURS.get(word, 'red')}]{word}[/]"
