"""A peer for Storage: nginx where it is installed, else a small server that gives files by sendfile and takes PUTs.

python -m bench.static_server FOLDER      the small server; prints its port, serves until its standard input is closed
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["main", "serving"]

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
CONFIGURATION = """
{user}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/t1; fastcgi_temp_path {folder}/t2; uwsgi_temp_path {folder}/t3; scgi_temp_path {folder}/t4;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        dav_methods PUT;
        create_full_put_path on;
    }}
}}
"""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, int]]:
    """Serve FOLDER/files for GET and PUT; gives the server's name for people and its port on 127.0.0.1."""
    (folder / "files").mkdir(parents=True)
    if NGINX is None:
        command = [sys.executable, "-m", "bench.static_server", str(folder / "files")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None and process.stdout is not None
            try:
                yield "static server (sendfile, Python)", int(process.stdout.readline())
            finally:
                process.stdin.close()
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = CONFIGURATION.format(folder=folder, port=port, user="user root;" if os.geteuid() == 0 else "")
    (folder / "nginx.conf").write_text(text)
    command = [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(command) as process:
        try:
            deadline = time.monotonic() + 10
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("nginx does not start")
                time.sleep(0.02)
            yield "nginx", port
        finally:
            process.terminate()


class Line:
    """One connection, read by hand: a library would take more of the processor than the bytes do."""

    def __init__(self, sock: socket.socket, folder: Path) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.folder = sock, folder
        self.rest = b""
        self.buffer = bytearray(1 << 20)

    def serve(self) -> None:
        with self.sock, contextlib.suppress(OSError):
            while head := self.head():
                first, *lines = head.decode("latin-1").split("\r\n")
                method, path, _ = first.split(" ")
                fields = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
                if method == "PUT":
                    self.take(self.folder / path.strip("/"), int(fields["content-length"]))
                else:
                    self.give(self.folder / path.strip("/"))

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                return b""
            self.rest += data
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return head

    def take(self, path: Path, length: int) -> None:
        temporary = path.with_suffix(".part")
        view = memoryview(self.buffer)
        with temporary.open("wb", buffering=0) as file:
            taken, self.rest = self.rest[:length], self.rest[length:]
            file.write(taken)
            length -= len(taken)
            while length:
                got = self.sock.recv_into(view[: min(length, len(view))])
                if not got:
                    raise OSError("cut")
                file.write(view[:got])
                length -= got
        temporary.replace(path)
        self.sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    def give(self, path: Path) -> None:
        with path.open("rb") as file:
            size, sent = os.fstat(file.fileno()).st_size, 0
            self.sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            while sent < size:
                sent += os.sendfile(self.sock.fileno(), file.fileno(), sent, size - sent)


def main() -> None:
    folder = Path(sys.argv[1])
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            sock, _ = server.accept()
            threading.Thread(target=Line(sock, folder).serve, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
