"""The web client against its budgets: what is sent, the first list, 10,000 rows, delays; plain and on a slow phone.

The peer is the budget, so a ratio of 1 or less is within it. A stack of its own is started; `slow` is a CPU four times
slower behind Lighthouse's slow 4G. The system's Chromium is needed.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import psycopg

from bench.result import Result, main, report
from local.installation import free_port
from local.packages import ROOT, node

DOCUMENTS = 10_000
PASSWORD = "correct horse battery"
# sizes in KB after gzip (fonts are compressed already), times in milliseconds
SIZES = {"script of the library": 165, "all scripts": 200, "styles": 15, "fonts": 46}
FIGURES = {
    "list": ("first list, milliseconds", 800, 3000),
    "frame": ("frame while scrolling 10,000 rows, milliseconds (p95)", 25, 60),
    "rows": ("rows in the page while scrolling", 40, 40),
    "shift": ("layout shift", 0.05, 0.05),
    "interaction": ("slowest interaction, milliseconds", 200, 200),
    "feedback": ("feedback to a deletion, milliseconds", 100, 100),
}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def run(quick: bool) -> dict[str, Any]:
    """Measure everything; `quick` makes no difference, it takes about two minutes."""
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if chromium is None:
        sys.exit("There is no Chromium on this machine (Debian, Ubuntu: apt-get install chromium).")
    with tempfile.TemporaryDirectory(prefix="bench-web-") as name:
        data_dir = Path(name) / "data"
        where = ("--data-dir", str(data_dir))
        try:
            _instashare("up", "--detach", "--port", str(free_port()), *where)
            status = _instashare("status", *where)
            session = _sign_up(status)
            _fill(status, session["user"]["id"])
            (Path(name) / "status.json").write_text(json.dumps(status))
            (Path(name) / "session.json").write_text(json.dumps(session))
            figures = _measure(chromium, Path(name))
        finally:
            if (data_dir / "installation.json").exists():
                _instashare("reset", "--yes", *where)
    results = _sizes()
    for pace, budget in (("plain", 1), ("slow", 2)):
        for key, told in FIGURES.items():
            ours = figures[f"{pace} {key}"]
            results.append(Result.of(pace, told[0], ours, told[budget], "the budget", "most", 1))  # type: ignore[arg-type]
    return report("web", results)


def _sizes() -> list[Result]:
    dist = ROOT / "web" / "dist"
    page = (dist / "index.html").read_text()
    scripts = {file.name: len(gzip.compress(file.read_bytes(), 9)) for file in dist.glob("assets/*.js")}
    first = set(re.findall(r"/assets/([^\"]+\.js)", page))
    sizes = {
        "script of the library": sum(size for name, size in scripts.items() if name in first),
        "all scripts": sum(scripts.values()),
        "styles": sum(len(gzip.compress(file.read_bytes(), 9)) for file in dist.glob("assets/*.css")),
        "fonts": sum(file.stat().st_size for file in dist.glob("assets/*.woff2")),
    }
    return [
        Result.of("built", f"{what}, KB", sizes[what] / 1000, budget, "the budget", "most", 1)
        for what, budget in SIZES.items()
    ]


def _sign_up(status: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"email": "bench@example.org", "password": PASSWORD}).encode()
    headers = {"apikey": status["publishable_key"], "Content-Type": "application/json"}
    request = urllib.request.Request(f"{status['supabase_url']}/auth/v1/signup", body, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        session: dict[str, Any] = json.load(answer)
    return session


def _fill(status: dict[str, Any], owner: str) -> None:
    with psycopg.connect(status["admin_database_url"]) as connection:
        connection.execute("set local session_replication_role = replica")  # no quota, no log, no jobs
        connection.execute(
            """
            insert into public.documents (owner_id, name, size_bytes, mime_type, status, archive_path,
                archive_size_bytes, archive_name_revision, object_version, created_at)
            select %(owner)s::uuid, format('Document %%s.pdf', n), 1000 * n, 'application/pdf', 'ready',
                format('%%s/bench/%%s.zip', %(owner)s::text, n), 900 * n + 1, 1, 'bench',
                now() - n * interval '1 minute'
            from generate_series(1, %(count)s) n
            """,
            {"owner": owner, "count": DOCUMENTS},
        )
        connection.execute("set local session_replication_role = origin")
    with psycopg.connect(status["admin_database_url"], autocommit=True) as connection:
        connection.execute("analyze public.documents")


def _measure(chromium: str, folder: Path) -> dict[str, float]:
    loopback = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    done = subprocess.run(
        [str(node()), "bench.ts", str(folder / "status.json"), str(folder / "session.json")],
        cwd=ROOT / "web",
        env={**os.environ, **loopback, "CHROMIUM": chromium},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _instashare(*words: str) -> Any:
    command = [sys.executable, "-P", "-m", "jobs.cli", *words, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        sys.exit(f"`instashare {words[0]}` failed: {done.stdout or done.stderr}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main("web", run)
