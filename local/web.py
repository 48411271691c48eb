"""The web client of an installation: its build, its address, and the small server that hands its files out.

`python -m local.web --data-dir DIR` serves `web/dist` on the installation's port of 127.0.0.1. One build serves every
stack: the page asks `/config.json` where its Supabase and its API are. With `--dev` Vite takes its place.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import html
import json
import logging
import mimetypes
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local.errors import ServiceFailed, StackError
from local.installation import Installation, load
from local.mail import messages
from local.packages import ROOT, clean_environment, node
from local.service import Service, answers

if TYPE_CHECKING:  # a supervisor builds the client and starts its server, but serves nothing itself
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response as AnyResponse

__all__ = ["build", "create_app", "has_client", "main", "needs_build", "origins", "read_config", "service"]

WEB = ROOT / "web"
DIST = WEB / "dist"
STAMP = "stamp"  # within web/dist: what it was built from
SOURCES = ("src", "public", "index.html", "vite.config.ts", "package.json", "package-lock.json", "tsconfig.json")
COMPRESSED = (".html", ".js", ".css", ".svg", ".json", ".webmanifest")
FOR_EVER = "public, max-age=31536000, immutable"  # names under assets/ hold a hash of their content
NEVER = "no-cache"
BUILD_SECONDS = 300


def has_client() -> bool:
    """Whether this checkout can build the client: its packages are installed."""
    return (WEB / "node_modules" / "vite").is_dir()


def needs_build() -> bool:
    """Whether the client was never built, or from other sources."""
    stamp = DIST / STAMP
    return not stamp.is_file() or stamp.read_text() != _hash_sources()


def build() -> None:
    """Build the client into web/dist, whole or not at all; raises ServiceFailed with the tool's last words."""
    with (WEB / "vite.config.ts").open() as lock:  # two stacks may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if needs_build():
            _build()


def _build() -> None:
    wanted = _hash_sources()
    fresh, old = WEB / "dist.new", WEB / "dist.old"
    command = [str(node()), "node_modules/vite/bin/vite.js", "build", "--logLevel", "warn", "--outDir", "dist.new"]
    try:
        done = subprocess.run(
            command,
            cwd=WEB,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceFailed("web_failed", f"Building the web client took over {BUILD_SECONDS} s.") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-1500:]
        raise ServiceFailed("web_failed", f"The web client cannot be built: {words}", "Correct that, or use --no-web.")
    (fresh / STAMP).write_text(wanted)
    shutil.rmtree(old, ignore_errors=True)
    if DIST.exists():
        DIST.rename(old)
    fresh.rename(DIST)
    shutil.rmtree(old, ignore_errors=True)


def service(installation: Installation) -> Service:
    """The server of the built client; with `--dev` Vite, which serves the sources and follows their changes."""
    port = installation.ports.web
    argv = [sys.executable, "-P", "-m", "local.web", "--data-dir", str(installation.data_dir)]
    environment = {**clean_environment(), "PYTHONUNBUFFERED": "1"}
    folder = ROOT
    if installation.web == "dev":
        argv = [str(node()), "node_modules/vite/bin/vite.js", "--host", "127.0.0.1", "--port", str(port)]
        environment["INSTASHARE_CONFIG"] = json.dumps(read_config(installation))
        environment["INSTASHARE_MAILS"] = str(installation.mail_dir)
        folder = WEB
    return Service(
        name="web",
        argv=argv,
        env=environment,
        cwd=folder,
        ready=lambda: answers(f"http://127.0.0.1:{port}/config.json"),
        url=installation.web_url,
    )


def origins(installation: Installation) -> list[str]:
    """Where the client is served from: the API answers pages of these origins."""
    return [f"http://{host}:{installation.ports.web}" for host in ("127.0.0.1", "localhost")]


def read_config(installation: Installation) -> dict[str, str]:
    """What the page must know of its stack; nothing of it is secret."""
    return {
        "supabaseUrl": installation.supabase_url,
        "publishableKey": installation.secrets.publishable_key,
        "backendUrl": installation.backend_url,
        "mailUrl": "/mails",
    }


@dataclass(frozen=True)
class _File:
    content: bytes
    packed: bytes | None
    media_type: str
    etag: str
    caching: str


def create_app(dist: Path, installation: Installation) -> Starlette:
    """The client's files, its settings and the caught mails; a path of the client itself answers with its page."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
    from starlette.routing import Route

    files = {file.relative_to(dist).as_posix(): _read(file, dist) for file in dist.rglob("*") if file.is_file()}
    files.pop(STAMP, None)
    config = read_config(installation)
    policy = (
        "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; "
        f"img-src 'self' data: blob:; connect-src 'self' {config['supabaseUrl']} {config['backendUrl']}"
    )
    shared = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Content-Security-Policy": policy,
    }

    async def settings(request: Request) -> AnyResponse:
        return JSONResponse(config, headers={"Cache-Control": NEVER, **shared})

    async def health(request: Request) -> AnyResponse:
        return PlainTextResponse("ok", headers={"Cache-Control": NEVER})

    async def receive_shared(request: Request) -> AnyResponse:
        # the service worker takes what other apps share; where it is not there yet, the person is told
        return RedirectResponse("/?shared=failed", 303)

    async def mails(request: Request) -> AnyResponse:
        headers = {"Cache-Control": NEVER, **shared}
        return HTMLResponse(_list_mails(installation), headers=headers)

    async def page(request: Request) -> AnyResponse:
        path = request.path_params["path"]
        file = files.get(path)
        if file is None:
            if path.startswith("assets/") or "." in path.rsplit("/", 1)[-1]:
                return PlainTextResponse("There is no such file.", 404, headers={"Cache-Control": NEVER})
            file = files["index.html"]
        headers = {"Cache-Control": file.caching, "ETag": file.etag, "Vary": "Accept-Encoding", **shared}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.media_type)
        return Response(file.content, headers=headers, media_type=file.media_type)

    return Starlette(
        routes=[
            Route("/config.json", settings),
            Route("/health", health),
            Route("/mails", mails),
            Route("/share-target", receive_shared, methods=["POST"]),
            Route("/{path:path}", page),
        ],
        # a foreign page whose name is made to lead here must not read the mails
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


def _read(file: Path, dist: Path) -> _File:
    content = file.read_bytes()
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if file.suffix == ".webmanifest":
        media_type = "application/manifest+json"
    packed = gzip.compress(content, 9, mtime=0) if file.suffix in COMPRESSED and len(content) > 512 else None
    caching = FOR_EVER if file.relative_to(dist).parts[0] == "assets" else NEVER
    return _File(content, packed, media_type, f'"{hashlib.sha256(content).hexdigest()[:24]}"', caching)


def _list_mails(installation: Installation) -> str:
    """A plain page of the mails that would have been sent, the newest first, with their links to click."""
    parts = []
    for mail in reversed(messages(installation.mail_dir)):
        text = html.escape(mail.text)
        for link in dict.fromkeys(mail.links):
            shown = html.escape(link)
            text = text.replace(shown, f'<a href="{shown}">{shown}</a>')
        when = f"{mail.sent_at:%Y-%m-%d %H:%M:%S} UTC"
        parts.append(f"<h2>{html.escape(mail.subject)}</h2><p>{html.escape(mail.to)}, {when}</p><pre>{text}</pre>")
    body = "".join(parts) or "<p>No mail was sent.</p>"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Caught mails</title>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1>Caught mails</h1>{body}</body></html>'


def _hash_sources() -> str:
    digest = hashlib.sha256()
    for name in SOURCES:
        place = WEB / name
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file():
                digest.update(f"{file.relative_to(WEB).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def main() -> None:
    """Read the installation and serve until SIGTERM."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m local.web", description="The web client of a local stack.")
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stdout)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        installation = load(arguments.data_dir)
    except StackError as error:
        sys.exit(str(error))
    uvicorn.run(
        create_app(DIST, installation),
        host="127.0.0.1",
        port=installation.ports.web,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
