"""The `instashare` command: every verb, and how a wrong call is answered."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tomllib
from collections.abc import Sequence

import typer
from rich.console import Console

from jobs.cli.output import DEFAULT_DATA_DIR, ROOT, DataDir, Json, answer, guarded, notice, write_json

__all__ = ["build", "main"]

# every room and its verbs, in the order in which `--help` shows them
ROOMS = {
    "stack": ("up", "down", "status", "reset", "mail"),
    "main_job": ("try",),
    "doctor": ("doctor",),
    "database": ("db",),
    "jobs": ("jobs",),
    "schedule": ("schedule",),
    "users": ("users",),
    "tests": ("test",),
    "bench": ("bench",),
    "keys": ("keys", "version"),  # `version` is below; a room beside it, since typer makes one verb alone nameless
}
INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended


def build(verb: str | None = None) -> typer.Typer:
    """Assemble the application: of the one room that knows `verb`, else of all.

    A room brings its libraries along, together a second's worth of them that `status` and `up` need not wait for.
    """
    app = typer.Typer(
        name="instashare",
        help="Share documents on Supabase: the stack, the main job, and the tools of an operator.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    known = [room for room, verbs in ROOMS.items() if verb in verbs]
    for room in known or ROOMS:
        importlib.import_module(f"jobs.cli.{room}").register(app)

    @app.command(rich_help_panel="Development")
    @guarded
    def version(as_json: Json = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
        """Print the version of InstaShare and of what it runs on."""
        import importlib.metadata

        with (ROOT / "pyproject.toml").open("rb") as file:
            number = tomllib.load(file)["project"]["version"]
        facts = {
            "version": number,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: importlib.metadata.version(name) for name in ("fastapi", "psycopg", "deflate", "typer")},
        }

        def show(console: Console) -> None:
            console.print(f"InstaShare {number} (Python {facts['python']}, {facts['platform']})")

        answer(facts, as_json, show)

    return app


def _spare_loopback() -> None:
    """Let no proxy stand between the command line and this machine's own stack."""
    for name in ("NO_PROXY", "no_proxy"):
        others = os.environ.get(name, "")
        if "127.0.0.1" not in others:
            os.environ[name] = ",".join(filter(None, [others, "127.0.0.1,localhost,::1"]))
    for name in [name for name in os.environ if name.lower() in ("all_proxy", "http_proxy", "https_proxy")]:
        if os.environ[name].lower().startswith("socks"):  # with one, our HTTP client makes no connection at all
            del os.environ[name]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 3 not ready or not running.

    A wrong call is answered on stderr for people, and as one JSON object on stdout where `--json` was given.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = given[: given.index("--")] if "--" in given else given
    _spare_loopback()
    try:
        app = build(given[0] if given else None)
        code = app(args=given or ["--help"], prog_name="instashare", standalone_mode="--json" not in own)
    except typer.TyperException as error:
        cure = "See `instashare --help`, or --help after any verb."
        write_json({"error": {"code": "wrong_usage", "message": error.format_message(), "cure": cure}})
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            notice("Interrupted.")
        raise
    sys.exit(code if isinstance(code, int) else 0)
