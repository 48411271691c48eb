"""Download → ZIP → upload on a real stack, by the runner's own code and by `curl | zip -6 | curl`.

A stack of its own with an empty schema; both read the same object through the gateway and write one, in turn, the best
of the rounds counts. Ours also reads back what it stored and checks it, as it does before a document is ready. Without
zip and curl only memory is measured, and stderr says so. (bench/archive has the same without Storage's own cost.)
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import corpus
from bench.result import Result, main, report
from bench.storage import BUCKET, Stack, running_stack
from jobs.archive import PRESETS

ROOT = Path(__file__).parents[1]
ZIP, CURL = shutil.which("zip"), shutil.which("curl")
PEER = "curl | zip -6 | curl"
GOALS = {"small": 2.4, "balanced": 5, "fast": 7}
MEMORY_MB = 100


def run(quick: bool) -> dict[str, Any]:
    """Measure all goals; `quick`: 200 MB in one round, else 1 GB in two."""
    megabytes, rounds = (200, 1) if quick else (1000, 2)
    with tempfile.TemporaryDirectory(prefix="bench-pipeline-") as name, running_stack(Path(name)) as stack:
        file = Path(name) / "large.txt"
        corpus.write(file, megabytes * 1_000_000)
        with stack.connect() as connection:
            connection.put("in", file)
        file.unlink()
        results = [*_compared(stack, megabytes, rounds)]
    return report("pipeline", results)


def _compared(stack: Stack, megabytes: int, rounds: int) -> Iterator[Result]:
    seconds: dict[str, float] = {}
    memory: dict[str, float] = {}
    if not (ZIP and CURL):
        print(f"Not measured against {PEER}: there is no zip or no curl here.", file=sys.stderr)
    for turn in range(rounds):
        if ZIP and CURL:
            os.sync()
            seconds["peer"] = min(seconds.get("peer", math.inf), _peer(stack))
        for preset in PRESETS:
            os.sync()
            took, peak = _ours(stack, preset, turn)
            seconds[preset] = min(seconds.get(preset, math.inf), took)
            memory[preset] = max(memory.get(preset, 0), peak)
    case = f"{megabytes} MB text"
    for preset in PRESETS:
        if "peer" in seconds:
            ours, peer = megabytes / seconds[preset], megabytes / seconds["peer"]
            yield Result.of(f"{preset}, {case}", "MB/s", ours, peer, PEER, "least", GOALS[preset])
        what, allowed = "peak memory of the process, MB", "what is allowed, MB"
        yield Result.of(f"{preset}, {case}", what, memory[preset], MEMORY_MB, allowed, "most", 1)


_PROGRAM = """
import json, sys, time
from datetime import UTC, datetime
from jobs.archive import Entry, archive, verify
from jobs.storage import Storage

url, key, bucket, preset, out = sys.argv[1:]
storage = Storage(url, key)
entry = Entry("large.txt", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
started = time.perf_counter()
made = archive(storage.source(bucket, "in"), storage.target(bucket, out), entry, preset)
verify(storage.source(bucket, out), made)
seconds = time.perf_counter() - started
try:
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1000
except OSError:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
print(json.dumps([seconds, peak]))
"""


def _ours(stack: Stack, preset: str, turn: int) -> tuple[float, float]:
    """Seconds, and the peak of the process's memory in MB."""
    arguments = [f"http://127.0.0.1:{stack.port}", stack.headers["apikey"], BUCKET, preset, f"{preset}-{turn}.zip"]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    seconds, peak = json.loads(done.stdout)
    return seconds, peak


def _peer(stack: Stack) -> float:
    """Seconds of the three programs."""
    assert ZIP and CURL
    address = f"http://127.0.0.1:{stack.port}/storage/v1/object/{BUCKET}"
    key = ["-H", f"apikey: {stack.headers['apikey']}", "-H", "x-upsert: true"]
    get, pack = [CURL, "-sS", "-f", *key, f"{address}/in"], [ZIP, "-6", "-q", "-", "-"]
    put = [CURL, "-sS", "-f", "-X", "POST", *key, "-H", "content-type: application/zip", "-T", "-"]
    started = time.perf_counter()
    with (
        subprocess.Popen(get, stdout=subprocess.PIPE) as one,
        subprocess.Popen(pack, stdin=one.stdout, stdout=subprocess.PIPE) as two,
    ):
        subprocess.run([*put, "-o", os.devnull, f"{address}/peer.zip"], stdin=two.stdout, check=True)
    if one.returncode or two.returncode:
        raise RuntimeError(f"{PEER} failed")
    return time.perf_counter() - started


if __name__ == "__main__":
    main("pipeline", run)
