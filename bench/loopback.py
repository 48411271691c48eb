"""A Storage service that costs next to nothing, so that a pipeline's own speed shows: gives one file, swallows uploads.

python -m bench.loopback FILE      prints its port, serves until its standard input is closed
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

__all__ = ["main"]


class Line:
    """One connection, read by hand: http.server would take more of the processor than the bytes do."""

    def __init__(self, sock: socket.socket, file: Path) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.file = sock, file
        self.rest = b""
        self.buffer = bytearray(1 << 20)
        self.offset = 0

    def serve(self) -> None:
        with self.sock:
            while head := self.head():
                first, *lines = head.decode("latin-1").split("\r\n")
                method, path, _ = first.split(" ")
                fields = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
                if "100-continue" in fields.get("expect", ""):
                    self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                if fields.get("transfer-encoding") == "chunked":
                    self.swallow_chunks()
                else:
                    self.swallow(int(fields.get("content-length", "0")))
                self.answer(method, path, fields)

    def answer(self, method: str, path: str, fields: dict[str, str]) -> None:
        if method == "GET":
            size = self.file.stat().st_size
            self.send(f'200 OK\r\nContent-Length: {size}\r\nETag: "x"')
            with self.file.open("rb") as opened:
                sent = 0
                while sent < size:
                    sent += os.sendfile(self.sock.fileno(), opened.fileno(), sent, size - sent)
        elif method == "POST" and path.endswith("/upload/resumable"):
            self.send("201 Created\r\nContent-Length: 0\r\nLocation: /storage/v1/upload/resumable/1")
        elif method == "PATCH":
            reached = int(fields["upload-offset"]) + int(fields["content-length"])
            self.send(f"204 No Content\r\nUpload-Offset: {reached}")
        else:
            self.send("200 OK\r\nContent-Length: 2\r\n\r\n{}", end="")

    def send(self, text: str, end: str = "\r\n\r\n") -> None:
        self.sock.sendall(f"HTTP/1.1 {text}{end}".encode())

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                return b""
            self.rest += data
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return head

    def swallow(self, length: int) -> None:
        taken = min(len(self.rest), length)
        self.rest, length = self.rest[taken:], length - taken
        view = memoryview(self.buffer)
        while length > 0:
            got = self.sock.recv_into(view[: min(length, len(view))])
            if not got:
                return
            length -= got

    def swallow_chunks(self) -> None:
        while True:
            while b"\r\n" not in self.rest:
                self.rest += self.sock.recv(65536)
            size, _, self.rest = self.rest.partition(b"\r\n")
            self.swallow(int(size, 16) + 2)
            if int(size, 16) == 0:
                return


def main() -> None:
    file = Path(sys.argv[1])
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            sock, _ = server.accept()
            threading.Thread(target=Line(sock, file).serve, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
