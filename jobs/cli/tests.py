"""`instashare test`: the checks and the tiers of tests, in one run."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from jobs.cli.output import DEFAULT_DATA_DIR, ROOT, DataDir, Json, answer, guarded, notice
from jobs.errors import NotReadyError, UsageError

__all__ = ["plan", "register"]

DEFAULT_TIERS = ("unit", "db", "e2e", "conformance")
FURTHER_TIERS = ("web", "mobile", "chaos", "long")
NOT_BUILT = ("mobile",)
CHECKS = (
    ("ruff check", ("-m", "ruff", "check", "--quiet", "--output-format", "concise", ".")),
    ("ruff format", ("-m", "ruff", "format", "--check", "--output-format", "concise", ".")),
    ("mypy", ("-m", "mypy", "--no-error-summary")),
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("test", rich_help_panel="Development")(guarded(test))


def test(
    tiers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TIER]... [-- PYTEST-ARGUMENT...]",
            help=f"Default: checks, {', '.join(DEFAULT_TIERS)}. Further: {', '.join(FURTHER_TIERS)}; all is every one.",
        ),
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Run the checks and the tests; what follows -- goes to pytest."""
    names, extra = _split(tiers or [], sys.argv)
    checks, paths, markers = plan(names)
    started = time.monotonic()
    results: dict[str, bool] = {}
    for name, arguments in CHECKS if checks else ():
        notice(f"[bold]{name}[/]", as_json)
        results[name] = _run([sys.executable, *arguments], as_json) == 0
    if paths:
        notice(f"[bold]pytest[/] {' '.join(paths)}", as_json)
        code = _run([sys.executable, "-m", "pytest", *paths, "-m", markers, *extra], as_json)
        results["pytest"] = code == 0
    failed = [name for name, passed in results.items() if not passed]

    def show(console: Console) -> None:
        # on stderr: stdout ends with pytest's own closing line
        if failed and failed != ["pytest"]:
            notice(f"[red]Failed: {', '.join(failed)}.[/]")
        elif not paths:
            console.print("All checks passed.")

    answer({"ok": not failed, "results": results, "seconds": round(time.monotonic() - started, 1)}, as_json, show)
    if failed:
        raise typer.Exit(1)


def plan(names: list[str]) -> tuple[bool, list[str], str]:
    """What to run for these tiers: the checks or not, pytest's folders, and its marker expression.

    `chaos` and `long` are marks as well as tiers: a test that bears one runs only when that tier is named. Raises
    UsageError for an unknown tier, NotReadyError for one that is not built.
    """
    known = (*DEFAULT_TIERS, *FURTHER_TIERS)
    if "all" in names:
        names = ["checks", *DEFAULT_TIERS, "web", "chaos", "long"]
    for name in names:
        if name not in (*known, "checks"):
            raise UsageError(
                "unknown_tier", f"There is no tier {name!r}.", f"Choose from: {', '.join(known)}, checks, all."
            )
        if name in NOT_BUILT:
            raise NotReadyError(
                "not_built", f"The tier `{name}` is not built yet.", "The default tiers cover the rest."
            )
    checks = not names or "checks" in names
    chosen = [tier for tier in known if tier in (names or DEFAULT_TIERS)]
    marks = [f"not {mark}" for mark in ("chaos", "long") if mark not in chosen]
    folders = ["tests/" + tier for tier in chosen if tier != "long"]
    if "long" in chosen:  # long tests lie in the folders of their kind
        alone = chosen == ["long"]
        folders = [f"tests/{tier}" for tier in (*DEFAULT_TIERS, "chaos")] if alone else folders
        if alone:
            marks = ["long"]
    folders = [folder for folder in folders if any((ROOT / folder).rglob("test_*.py"))]
    if not folders and not checks:
        raise NotReadyError(
            "not_built", f"The tier{'s' if len(chosen) > 1 else ''} {', '.join(chosen)} has no tests yet."
        )
    return checks, folders, " and ".join(marks)


def _split(names: list[str], argv: list[str]) -> tuple[list[str], list[str]]:
    """Tiers, and what the person wrote behind `--`, which the parser hands over among the tiers."""
    extra = argv[argv.index("--") + 1 :] if "--" in argv else []
    return names[: len(names) - len(extra)], extra


def _run(command: list[str], quiet: bool) -> int:
    # With --json only the one object may appear on stdout; a failing tool's words go to nobody, its result is in there.
    sink = subprocess.DEVNULL if quiet else None
    return subprocess.call(command, cwd=ROOT, stdout=sink, stderr=sink)
