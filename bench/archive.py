"""The archive engine against `zip -6`, and download → archive → upload against `curl | zip -6 | curl`.

Everything is measured in one run on one machine, in turn, the best of a few rounds, and told as ratios. Where there is
no `zip` or `curl`, Python's zipfile at level 6 stands in, and the peer's name says so.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench import corpus
from bench.result import Result, main, report
from jobs.archive import PRESETS, Entry, Preset, archive, compress
from jobs.archive.blocks import BLOCK
from jobs.storage import Storage

ENTRY = Entry("file.bin", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
ZIP, CURL = shutil.which("zip"), shutil.which("curl")
ZIP_NAME = "zip -6" if ZIP else "zipfile level 6"
PIPE_NAME = "curl | zip -6 | curl" if ZIP and CURL else "http.client, zipfile level 6, http.client"

SPEED = {"fast": (10, 7), "balanced": (7, 5), "small": (4, 2.2)}
SIZE = {"fast": 1.18, "balanced": 1.13, "small": 1.02}
PIPELINE = {"fast": 7, "balanced": 5, "small": 2.4}


def run(quick: bool) -> dict[str, Any]:
    """Measure all goals; `quick`: streams of 200 MB instead of 1 GB, memory at 1 GB instead of 10."""
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as name:
        folder = Path(name)
        results = [*_files(folder, 2 if quick else 4), _one_kilobyte(), *_pipelines(folder, 200 if quick else 1000)]
        results += [_memory(preset, 1 if quick else 10) for preset in (("balanced",) if quick else PRESETS)]
    return report("archive", results)


# files of 10 MB


def _files(folder: Path, rounds: int) -> Iterator[Result]:
    speeds: dict[Preset, dict[str, float]] = {preset: {} for preset in PRESETS}
    sizes: dict[Preset, dict[str, float]] = {preset: {} for preset in PRESETS}
    for kind, make in corpus.KINDS.items():
        file, out = folder / "in.bin", folder / "out.zip"
        file.write_bytes(make(10_000_000))
        best: dict[str, float] = {}
        size: dict[str, int] = {}
        for _ in range(rounds):
            for who, act in _contestants(file, out).items():
                out.unlink(missing_ok=True)
                best[who] = min(best.get(who, math.inf), _timed(act, 1))
                size[who] = out.stat().st_size
        for preset in PRESETS:
            speeds[preset][kind] = best["zip"] / best[preset]
            sizes[preset][kind] = size[preset] / size["zip"]
        file.unlink()
    for preset in PRESETS:
        speed, middle = speeds[preset], math.prod(speeds[preset].values()) ** (1 / len(speeds[preset]))
        worst, largest = min(speed, key=speed.__getitem__), max(sizes[preset], key=sizes[preset].__getitem__)
        yield Result.of(preset, "speed, geometric mean of 7 files", middle, 1, ZIP_NAME, "least", SPEED[preset][0])
        yield Result.of(preset, f"speed, worst file ({worst})", speed[worst], 1, ZIP_NAME, "least", SPEED[preset][1])
        bound = SIZE[preset]
        yield Result.of(preset, f"size, worst file ({largest})", sizes[preset][largest], 1, ZIP_NAME, "most", bound)


def _contestants(file: Path, out: Path) -> dict[str, Callable[[], None]]:
    ours: dict[str, Callable[[], None]] = {preset: partial(_ours, file, out, preset) for preset in PRESETS}
    return {"zip": partial(_zip, file, out), **ours}


def _zip(file: Path, out: Path) -> None:
    if ZIP:
        subprocess.run([ZIP, "-6", "-q", "-j", out, file], check=True)
    else:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as opened:
            opened.write(file, file.name)


def _ours(file: Path, out: Path, preset: Preset) -> None:
    with file.open("rb", buffering=0) as opened, out.open("wb", buffering=0) as written:
        blocks = iter(lambda: opened.read(BLOCK), b"")
        for piece in compress(blocks, file.stat().st_size, ENTRY, preset):
            written.write(piece)


def _one_kilobyte() -> Result:
    data = corpus.text(1000)

    def ours() -> None:
        b"".join(compress((data,), len(data), ENTRY))

    def peer() -> None:
        with zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("file.bin", data)

    def once(act: Callable[[], None]) -> float:
        started = time.perf_counter()
        for _ in range(500):
            act()
        return (time.perf_counter() - started) / 500 * 1e6

    pairs = [(once(ours), once(peer)) for _ in range(9)]
    best = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    return Result.of("1 KB", "microseconds in process", *best, "zipfile", "most", 1)


# the whole way


def _pipelines(folder: Path, megabytes: int) -> Iterator[Result]:
    file = folder / "large.txt"
    corpus.write(file, megabytes * 1_000_000)
    with _service(file) as url:
        copying = megabytes / _timed(partial(_copy, url))
        peer = megabytes / _timed(partial(_peer, url))
        case = f"{megabytes} MB text"
        for preset in PRESETS:
            ours = megabytes / _timed(partial(_pipeline, url, preset))
            alone = megabytes / _timed(partial(_alone, file, preset))
            label = f"{preset}, {case}"
            yield Result.of(label, "pipeline, MB/s", ours, peer, PIPE_NAME, "least", PIPELINE[preset])
            slower = min(copying, alone)
            name = "compression alone" if alone <= copying else "copy alone"
            yield Result.of(label, "pipeline, MB/s", ours, slower, name, "least", 0.8)
    file.unlink()


@contextmanager
def _service(file: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.loopback", str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def _timed(act: Callable[[], None], rounds: int = 2) -> float:
    best = math.inf
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - started)
    return best


def _pipeline(url: str, preset: Preset) -> None:
    storage = Storage(url, "key")
    archive(storage.source("documents", "in"), storage.target("archives", "out"), ENTRY, preset)


def _copy(url: str) -> None:
    storage = Storage(url, "key")
    storage.target("archives", "out").write(storage.source("documents", "in").blocks())


def _alone(file: Path, preset: Preset) -> None:
    with file.open("rb", buffering=0) as opened:
        blocks = iter(lambda: opened.read(BLOCK), b"")
        for _ in compress(blocks, file.stat().st_size, ENTRY, preset):
            pass


def _peer(url: str) -> None:
    source, target = f"{url}/storage/v1/object/documents/in", f"{url}/storage/v1/object/archives/out"
    if ZIP and CURL:
        get, pack = [CURL, "-sS", source], [ZIP, "-6", "-q", "-", "-"]
        put = [CURL, "-sS", "-T", "-", "-o", os.devnull, target]
        with (
            subprocess.Popen(get, stdout=subprocess.PIPE) as one,
            subprocess.Popen(pack, stdin=one.stdout, stdout=subprocess.PIPE) as two,
        ):
            subprocess.run(put, stdin=two.stdout, check=True)
        if one.returncode or two.returncode:
            raise RuntimeError(f"{PIPE_NAME} failed")
        return
    line, out = HTTPConnection(url.removeprefix("http://")), HTTPConnection(url.removeprefix("http://"))
    line.request("GET", source)
    response = line.getresponse()
    out.putrequest("PUT", target)
    out.putheader("Transfer-Encoding", "chunked")
    out.endheaders()

    class Chunks(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            out.send(b"%x\r\n%s\r\n" % (len(data), bytes(data)))
            return len(data)

    with (
        zipfile.ZipFile(Chunks(), "w", zipfile.ZIP_DEFLATED, compresslevel=6) as opened,
        opened.open("file.bin", "w", force_zip64=True) as entry,
    ):
        shutil.copyfileobj(response, entry, BLOCK)
    out.send(b"0\r\n\r\n")
    out.getresponse().read()


# memory

_MEMORY_PROGRAM = """
import sys, time
from datetime import UTC, datetime
from bench import corpus
from jobs.archive import Entry, archive
from jobs.storage import Storage

class Generated:
    size = int(sys.argv[2])
    def blocks(self):
        turn = corpus.text(8 * 524288)
        for start in range(0, self.size, 524288):
            at = start % len(turn)
            yield turn[at:at + min(524288, self.size - start)]
    def close(self):
        pass

target = Storage(sys.argv[3], "key").target("archives", "out")
archive(Generated(), target, Entry("a", datetime.now(UTC)), sys.argv[1])
try:
    status = open("/proc/self/status").read()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1000)
except OSError:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (1e6 if sys.platform == "darwin" else 1e3))
"""


def _memory(preset: Preset, gigabytes: int) -> Result:
    with tempfile.NamedTemporaryFile() as empty, _service(Path(empty.name)) as url:
        command = [sys.executable, "-c", _MEMORY_PROGRAM, preset, str(gigabytes * 10**9), url]
        peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    case = f"{preset}, {gigabytes} GB"
    return Result.of(case, "peak memory of the whole process, MB", peak, 100, "what is allowed, MB", "most", 1)


if __name__ == "__main__":
    main("archive", run)
