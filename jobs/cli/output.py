"""How the command line speaks: tables and sentences for people, one JSON object for programs."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import typer
from rich.console import Console
from rich.markup import escape

from jobs.errors import InstaShareError
from local.errors import NotInstalled, StackError

__all__ = [
    "DEFAULT_DATA_DIR",
    "ROOT",
    "DataDir",
    "Json",
    "answer",
    "complain",
    "guarded",
    "notice",
    "notices",
    "people",
    "write_json",
]

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_DATA_DIR = ROOT / ".instashare"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir", help="Folder that holds one installation's data and secrets.", show_default=".instashare"
    ),
]

# Into a file or pipe there is no width to keep to: e-mail addresses must not be cut there.
people = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200)
notices = Console(stderr=True, highlight=False, soft_wrap=True)

P = ParamSpec("P")


def write_json(data: Mapping[str, Any]) -> None:
    """Write one JSON object and a line end to stdout."""
    sys.stdout.write(json.dumps(data, default=str, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def answer(data: Mapping[str, Any], as_json: bool, show: Callable[[Console], None]) -> None:
    """Give the verb's result: `data` as one JSON object, or `show(console)` for a person."""
    if as_json:
        write_json(data)
    else:
        show(people)


def notice(text: str, as_json: bool = False) -> None:
    """Tell a person on stderr what is going on; programs that asked for JSON hear nothing. `text` is rich markup."""
    if not as_json:
        notices.print(text)


def complain(error: InstaShareError | StackError, as_json: bool) -> NoReturn:
    """Say what went wrong and what to do, and exit with the error's code (the local stack's: 3 without one, else 1)."""
    if as_json:
        write_json({"error": {"code": error.code, "message": error.message, "cure": error.cure}})
    else:
        notices.print(f"[bold red]{escape(error.code)}[/]: {escape(error.message)}")
        if error.cure:
            notices.print(f"  {error.cure}", markup=False)
    if isinstance(error, InstaShareError):
        raise typer.Exit(error.exit_code)
    raise typer.Exit(3 if isinstance(error, NotInstalled) else 1)


def guarded(verb: Callable[P, None]) -> Callable[P, None]:
    """Wrap a verb so that a known error becomes a sentence (or JSON, if its `as_json` is true) and an exit code."""

    @functools.wraps(verb)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            verb(*args, **kwargs)
        except (InstaShareError, StackError) as error:
            complain(error, bool(kwargs.get("as_json")))

    return wrapped
