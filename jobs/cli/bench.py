"""`instashare bench`: run the benchmarks that exist."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from jobs.cli.output import DEFAULT_DATA_DIR, ROOT, DataDir, Json, guarded
from jobs.errors import NotReadyError, UsageError

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
        built = [name for name in names or NAMES if (ROOT / "bench" / f"{name}.py").is_file()]
        missing = [name for name in names or () if name not in built]
        if missing or not built:
            what = f"benchmark `{missing[0]}` is" if missing else "benchmarks are"
            raise NotReadyError("not_built", f"The {what} not built yet.")
        if as_json and len(built) > 1:
            raise UsageError(
                "one_bench", "--json prints one object: name one benchmark.", f"Built: {', '.join(built)}."
            )
        flags = [*(["--quick"] if quick else []), *(["--json"] if as_json else []), "--data-dir", str(data_dir)]
        codes = [subprocess.call([sys.executable, "-m", f"bench.{name}", *flags], cwd=ROOT) for name in built]
        raise typer.Exit(max(codes))
