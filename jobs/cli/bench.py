"""`instashare bench`: run the benchmarks."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from jobs.cli.output import DEFAULT_DATA_DIR, ROOT, DataDir, Json, guarded
from jobs.errors import UsageError

__all__ = ["register"]

NAMES = ("archive", "queue", "pipeline", "storage", "api", "list", "web")


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(rich_help_panel="Development")
    @guarded
    def bench(
        names: Annotated[
            list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Which ones: {', '.join(NAMES)}. Default: all.")
        ] = None,
        quick: Annotated[bool, typer.Option("--quick", help="A stack of its own, done in two minutes.")] = False,
        as_json: Json = False,
        data_dir: DataDir = DEFAULT_DATA_DIR,
    ) -> None:
        """Measure InstaShare against its peers, as ratios within one run."""
        wrong = [name for name in names or () if name not in NAMES]
        if wrong:
            raise UsageError(
                "unknown_bench", f"There is no benchmark {wrong[0]!r}.", f"Choose from: {', '.join(NAMES)}."
            )
        chosen = names or list(NAMES)
        if as_json and len(chosen) > 1:
            raise UsageError(
                "one_bench", "--json prints one object: name one benchmark.", f"Choose from: {', '.join(NAMES)}."
            )
        flags = [*(["--quick"] if quick else []), *(["--json"] if as_json else []), "--data-dir", str(data_dir)]
        codes = [subprocess.call([sys.executable, "-m", f"bench.{name}", *flags], cwd=ROOT) for name in chosen]
        raise typer.Exit(max(codes))
