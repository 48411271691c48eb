"""What every benchmark gives back, and how it is shown: as a table for people, as one JSON object for programs."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

__all__ = ["Result", "main", "report"]


@dataclass(frozen=True)
class Result:
    """One measured ratio of two things from the same run, and the goal it must reach."""

    case: str
    metric: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    goal: str
    met: bool

    @classmethod
    def of(
        cls, case: str, metric: str, ours: float, peer: float, peer_name: str, at: Literal["least", "most"], goal: float
    ) -> Result:
        """Compare ours with the peer's: the ratio must be at least, or at most, `goal`."""
        ratio = ours / peer
        met = ratio >= goal if at == "least" else ratio <= goal
        sign = "≥" if at == "least" else "≤"
        return cls(case, metric, round(ours, 4), round(peer, 4), peer_name, round(ratio, 4), f"{sign} {goal:g}", met)


def report(name: str, results: list[Result]) -> dict[str, Any]:
    """Give a benchmark's results in the shape that tools build on."""
    machine = (
        f"{os.cpu_count()} processors, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    )
    return {"name": name, "machine": machine, "results": [asdict(result) for result in results]}


def main(name: str, run: Callable[[bool], dict[str, Any]]) -> None:
    """Run a benchmark from the command line."""
    parser = argparse.ArgumentParser(prog=f"bench {name}")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data-dir")
    options = parser.parse_args()
    measured = run(options.quick)
    if options.json:
        print(json.dumps(measured, ensure_ascii=False))
        return
    table = Table(title=f"{name} on {measured['machine']}")
    for column in ("case", "metric", "ours", "peer", "peer is", "ratio", "goal", ""):
        justify: Literal["left", "right"] = "right" if column in ("ours", "peer", "ratio", "goal") else "left"
        table.add_column(column, justify=justify, overflow="fold")
    for row in measured["results"]:
        cells = [row["case"], row["metric"], f"{row['ours']:g}", f"{row['peer']:g}", row["peer_name"]]
        table.add_row(*cells, f"{row['ratio']:.3g}", row["goal"], "met" if row["met"] else "[red]missed")
    Console().print(table)
