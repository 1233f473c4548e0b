"""A web server on the loopback that gives files as an object store does, or fails as one does.

It speaks what reading needs of S3 and of plain HTTP: GET with ranges and HEAD. How it fails is
said by a function of the path and of how often it was asked.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

# From a path and the number of requests for it so far to how to fail; '' for not at all.
Fault = Callable[[str, int], str]


@contextmanager
def serving(root: Path, fault: Fault = lambda path, n: "", latency_s: float = 0) -> Iterator[str]:
    """``http://127.0.0.1:PORT`` of a server of the files below `root`."""
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.give(with_body=False)

        def do_GET(self) -> None:
            self.give(with_body=True)

        def give(self, *, with_body: bool) -> None:
            time.sleep(latency_s)
            name = unquote(urlsplit(self.path).path).lstrip("/")
            asked[name] += 1
            how = fault(name, asked[name])
            if how == "silent":
                time.sleep(2)
            if how.isdigit():
                self.answer(int(how), b"<Error><Code>no</Code></Error>")
            elif how == "redirect":
                self.send_response(302)
                self.send_header("Location", self.path + "x")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif how == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
            elif not (root / name).is_file():
                self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            else:
                self.file((root / name).read_bytes(), how, with_body)

        def file(self, data: bytes, how: str, with_body: bool) -> None:
            status, start, stop = 200, 0, len(data)
            asked_for = "" if how == "whole" else self.headers.get("Range", "")
            if found := re.match(r"bytes=(\d+)-(\d+)", asked_for):
                status, start, stop = 206, int(found[1]), min(len(data), int(found[2]) + 1)
            self.send_response(status)
            length = stop - start
            told = {"short": length // 2, "long": length + 500}.get(how, length)
            self.send_header("Content-Length", str(told))
            self.send_header("ETag", f'"{zlib.crc32(data)}"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
            self.end_headers()
            body = data[start:stop]
            for byte in body if with_body and how == "drip" else b"":
                time.sleep(0.05)
                self.wfile.write(bytes([byte]))
            if with_body and how != "drip":
                self.wfile.write(body[: len(body) // 2] if how in ("cut", "long") else body)
            if how in ("cut", "long", "short"):
                self.close_connection = True

        def answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):  # the client left, or we reset it
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    with serving(Path(sys.argv[1]), latency_s=float(sys.argv[2])) as address:
        print(address, flush=True)
        time.sleep(10**6)
