"""How far the stack's start or stop has come: a live table on a terminal, a line a step elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from jobs.cli.output import notices
from local.state import StackState

__all__ = ["Progress"]

MARKS = {"ready": "[green]✓[/]", "waiting": "[dim]·[/]", "stopped": "[dim]·[/]", "restarting": "[red]↻[/]"}
REDRAW = 0.08  # seconds


class Progress:
    """Shows states of the stack on stderr; says nothing where a program asked for JSON.

    With `threads` it turns by itself; a supervisor must have none, since it forks.
    """

    def __init__(self, as_json: bool, threads: bool = True) -> None:
        terminal = notices.is_terminal and not as_json
        self._live = Live(console=notices, transient=True, auto_refresh=threads) if terminal else None
        self._drawn = 0.0
        self._silent = as_json
        self._step = ""
        self._seen: dict[str, str] = {}
        self._restarts: dict[str, int] = {}
        self._begun = time.monotonic()
        self._spinner = Spinner("dots")

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the live table away."""
        if self._live is not None:
            self._live.stop()

    def show(self, told: StackState) -> None:
        """Show a state on the way to another one."""
        if self._live is not None:
            now = time.monotonic()
            if now - self._drawn > REDRAW:
                self._drawn = now
                self._live.update(self._draw(told), refresh=True)
        elif not self._silent:
            if told.step and told.step != self._step:
                notices.print(f"{escape(told.step)} …")
            self._step = told.step
            for name, service in told.services.items():
                if service.state in ("ready", "stopped") and self._seen.get(name) not in (None, service.state):
                    notices.print(f"  {name} {service.state} ({time.monotonic() - self._begun:.1f} s)")
                self._seen[name] = service.state

    def show_changes(self, told: StackState) -> None:
        """Once all is ready: say what was restarted, and what is being stopped."""
        if self._silent:
            return
        for name, service in told.services.items():
            if service.restarts > self._restarts.get(name, 0):
                notices.print(f"[yellow]{name} {escape(service.detail)}; it is started again.[/]")
            self._restarts[name] = service.restarts
        if told.state == "stopping" and told.step != self._step:
            notices.print(f"{escape(told.step)} …")
        self._step = told.step

    def _draw(self, told: StackState) -> Group:
        table = Table.grid(padding=(0, 1))
        for name, service in told.services.items():
            mark = Text.from_markup(MARKS[service.state]) if service.state in MARKS else self._spinner
            table.add_row(" ", mark, name, Text(service.url or "", style="dim") if service.state == "ready" else "")
        return Group(table, Text(f"  {told.step} … {time.monotonic() - self._begun:.0f} s" if told.step else ""))
