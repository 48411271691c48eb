"""`instashare try`: the main job as a user's program would do it."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from jobs.cli.output import DEFAULT_DATA_DIR, DataDir, Json, answer, guarded, notices
from jobs.cli.target import Target, find_target
from jobs.cli.units import show_seconds, show_size
from jobs.errors import InstaShareError, NotReadyError, OperationFailed, UsageError

if TYPE_CHECKING:
    from jobs.cli.person import Person

__all__ = ["register"]

# Two uploads and two downloads at once fill a line; more only make each slower.
TRANSFERS = 2
POLL_SECONDS = 0.3
PATIENCE = 60  # seconds that Supabase may not answer before the try gives up


@dataclass
class Errand:
    """One file's way. `seconds` counts from the first byte up to the verified download."""

    file: Path
    size: int
    document: dict[str, Any] | None = None
    digest: str = ""
    status: str = "waiting"
    started: float = 0.0
    changed: float = 0.0
    zip_size: int | None = None
    seconds: float | None = None
    error: InstaShareError | None = None
    over: bool = False

    def fail(self, error: InstaShareError) -> None:
        """End the way here."""
        self.error, self.status, self.over = error, "failed", True


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("try", rich_help_panel="The main job")(guarded(try_files))


def try_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files to upload, whatever they are.")],
    timeout: Annotated[
        int, typer.Option("--timeout", min=1, metavar="SECONDS", help="Give a file up after so long without progress.")
    ] = 600,
    as_json: Json = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Sign in, upload, wait, download, verify: the main job as a user's program would do it.

    Signs in as TRY_EMAIL with TRY_PASSWORD, or as a demo user of the local stack.
    """
    errands = [Errand(file, _measure(file)) for file in files]
    target = find_target(data_dir)
    person = _sign_in(target)
    try:
        _Trip(person, errands, timeout, as_json).run()
    finally:
        person.close()
    failed = [errand for errand in errands if errand.error is not None]
    answer({"ok": not failed, "files": [_describe(errand) for errand in errands]}, as_json, lambda c: _show(c, errands))
    if failed:
        raise typer.Exit(1)


class _Trip:
    """All files on their way: uploads go on while others are zipped or downloaded."""

    def __init__(self, person: Person, errands: list[Errand], timeout: int, quiet: bool) -> None:
        self._person, self._errands, self._timeout = person, errands, timeout
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[status]}"),
            console=notices,
            disable=quiet,
        )
        self._lines: dict[int, TaskID] = {}
        for errand in errands:
            title = escape(errand.file.name if len(errand.file.name) < 40 else errand.file.name[:37] + "…")
            self._lines[id(errand)] = self._bar.add_task(title, total=1, status="waiting", start=False)

    def run(self) -> None:
        """Bring every errand to its end."""
        with (
            self._bar,
            tempfile.TemporaryDirectory(prefix="instashare-try-") as folder,
            ThreadPoolExecutor(TRANSFERS) as uploads,
            ThreadPoolExecutor(TRANSFERS) as downloads,
        ):
            futures: list[Future[None]] = []
            try:
                futures += [uploads.submit(self._upload, errand) for errand in self._errands]
                silent_since: float | None = None
                while not all(errand.over for errand in self._errands):
                    for future in futures:
                        if future.done():
                            future.result()  # a defect of ours must not look like patience
                    try:
                        for errand in self._look():
                            target = Path(folder) / f"{len(futures)}.zip"
                            futures.append(downloads.submit(self._download, errand, target))
                        silent_since = None
                    except NotReadyError:
                        silent_since = silent_since or time.monotonic()
                        if time.monotonic() - silent_since > PATIENCE:
                            raise
                    time.sleep(POLL_SECONDS)
            except BaseException:
                self._stopped.set()
                for future in futures:
                    future.cancel()
                raise

    def _upload(self, errand: Errand) -> None:
        errand.started = errand.changed = time.monotonic()
        self._bar.start_task(self._lines[id(errand)])
        try:
            document = self._person.add_document(errand.file)
            self._tell(errand, "uploading", 0)
            errand.digest = self._person.upload(
                errand.file, document, lambda done: self._tell(errand, "uploading", done / max(1, errand.size))
            )
            self._tell(errand, "queued", 0)
            errand.document = document
        except InstaShareError as error:
            self._tell(errand, "failed", 0)
            errand.fail(error)

    def _look(self) -> list[Errand]:
        """See how those that are being processed stand; returns those that are ready."""
        waiting = {
            errand.document["id"]: errand
            for errand in self._errands
            if errand.document is not None and errand.status in ("queued", "processing") and not errand.over
        }
        ready = []
        found = {row["id"]: row for row in self._person.look(list(waiting))} if waiting else {}
        for document_id, errand in waiting.items():
            row = found.get(document_id)
            if row is None:
                errand.fail(OperationFailed("document_not_found", "The document is gone."))
            elif row["status"] == "failed":
                code, _, sentence = str(row["error"] or "processing_failed: Processing failed.").partition(": ")
                errand.fail(OperationFailed(code, sentence))
            elif row["status"] == "ready":
                errand.document = {**(errand.document or {}), **row}
                self._tell(errand, "downloading", 0)
                ready.append(errand)
            elif time.monotonic() - errand.changed > self._timeout:
                cure = "Is a runner alive? `instashare jobs stats`"
                errand.fail(OperationFailed("no_progress", f"The document stays {row['status']}.", cure))
            else:
                self._tell(errand, row["status"], row["progress"])
            if errand.over:
                self._tell(errand, "failed", 0)
        return ready

    def _download(self, errand: Errand, target: Path) -> None:
        from jobs.cli.person import verify

        assert errand.document is not None
        try:
            announced = self._person.fetch(
                errand.document, target, lambda done: self._tell(errand, "downloading", done / max(1, errand.size))
            )
            errand.zip_size = announced["size_bytes"]
            self._tell(errand, "verifying", 1)
            verify(target, errand.document["name"], errand.digest)
            errand.seconds = time.monotonic() - errand.started
            self._tell(errand, "verified", 1)
            errand.over = True
        except InstaShareError as error:
            self._tell(errand, "failed", 0)
            errand.fail(error)
        finally:
            target.unlink(missing_ok=True)

    def _tell(self, errand: Errand, status: str, share: float) -> None:
        if self._stopped.is_set():
            raise OperationFailed("interrupted", "The try was interrupted.")
        line = self._lines[id(errand)]
        with self._lock:
            if status != errand.status or share != self._bar.tasks[line].completed:
                errand.changed = time.monotonic()
            errand.status = status
            self._bar.update(line, completed=min(1.0, share), status=status)


def _sign_in(target: Target) -> Person:
    from jobs.cli import person  # the official client takes a second to import

    url, key = target.require("SUPABASE_URL"), target.require("SUPABASE_PUBLISHABLE_KEY")
    email, password = os.environ.get("TRY_EMAIL", ""), os.environ.get("TRY_PASSWORD", "")
    if not email and target.is_local and target.local is not None:
        users = [user for user in target.local.demo_users if user.role == "member"]
        if users:
            email, password = users[0].email, users[0].password
    if not email or not password:
        raise NotReadyError(
            "no_account",
            "There is nobody to sign in as.",
            "Set TRY_EMAIL and TRY_PASSWORD to an account of this project.",
        )
    return person.sign_in(url, key, target.require("BACKEND_URL"), email, password)


def _measure(file: Path) -> int:
    """The file's size; raises UsageError for what cannot be uploaded."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist" if not file.exists() else "is no regular file"
        raise UsageError("no_file", f"{file} {what}.", "Name files.")
    if not os.access(file, os.R_OK):
        raise UsageError("no_file", f"{file} cannot be read.")
    return file.stat().st_size


def _describe(errand: Errand) -> dict[str, Any]:
    error = errand.error
    return {
        "file": str(errand.file),
        "id": errand.document["id"] if errand.document else None,
        "ok": error is None,
        "size_bytes": errand.size,
        "zip_size_bytes": errand.zip_size,
        "ratio": round(errand.zip_size / errand.size, 4) if errand.zip_size and errand.size else None,
        "seconds": None if errand.seconds is None else round(errand.seconds, 2),
        "sha256": errand.digest or None,
        "error": None if error is None else {"code": error.code, "message": error.message, "cure": error.cure},
    }


def _show(console: Console, errands: list[Errand]) -> None:
    table = Table("file", "size", "ZIP", "ratio", "time", "", box=None)
    for errand in errands:
        described = _describe(errand)
        table.add_row(
            escape(errand.file.name),
            show_size(errand.size),
            "–" if errand.zip_size is None else show_size(errand.zip_size),
            "–" if described["ratio"] is None else f"{described['ratio']:.0%}",
            "–" if errand.seconds is None else show_seconds(errand.seconds),
            "[green]verified[/]" if errand.error is None else f"[red]{escape(errand.error.message)}[/]",
        )
        if errand.error is not None and errand.error.cure:
            table.add_row("", "", "", "", "", escape(errand.error.cure))
    console.print(table)
