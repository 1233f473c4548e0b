"""A server in a thread of the test's process, and requests to it over real connections."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from regraft.server import address, app, running
from regraft.server.app import Service
from regraft.server.guard import Doors
from regraft.server.limits import MIB, Limits
from regraft.server.logs import Log
from regraft.server.metrics import Metrics
from regraft.server.models import Models
from regraft.server.running import Drain

# Small and quick, so that each can be met.
LIMITS = Limits(
    picture_bytes=MIB, request_bytes=4 * MIB, held_bytes=8 * MIB, items=16, places=40,
    connections=200, head_s=0.5, body_s=2.0, pause_s=0.5, answer_s=20.0,
)  # fmt: skip


@dataclass
class Reply:
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


@dataclass
class Running:
    """A server in a thread of this process."""

    service: Service
    port: int
    thread: threading.Thread
    log: io.StringIO

    def ask(self, path: str, body: bytes | None = None, method: str = "", **headers: str) -> Reply:
        """One request on a connection of its own; ``Content_Type`` stands for Content-Type."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            response = connection.getresponse()
            return Reply(response.status, response.read(), dict(response.getheaders()))

    def open(self) -> socket.socket:
        """A connection, for what no library would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


def form(files: Sequence[tuple[str, bytes]], field: str = "images") -> tuple[bytes, str]:
    """A form of files and its Content-Type."""
    mark = uuid.uuid4().hex
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode("utf-8", "surrogateescape")
        + data
        + b"\r\n"
        for name, data in files
    ]
    return b"".join(parts) + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


@contextlib.contextmanager
def serving(
    served: Models, limits: Limits = LIMITS, doors: Doors | None = None, port: int = 0
) -> Iterator[Running]:
    """A server of these models, until the block ends."""
    listener, ready = address.bound("127.0.0.1", port), threading.Event()
    log_text, drain, metrics = io.StringIO(), Drain(), Metrics()
    log = Log(log_text, metrics.log_lines_lost.inc)
    service = Service(served, limits, log, metrics, drain)
    application = app.application(service, doors or Doors(open_paths=app.OPEN_PATHS))
    port = listener.getsockname()[1]
    thread = threading.Thread(
        target=running.run,
        args=(application, listener),
        kwargs={"limits": limits, "log": log, "drain": drain, "on_ready": ready.set},
    )
    thread.start()
    assert ready.wait(20)
    try:
        yield Running(service, port, thread, log_text)
    finally:
        drain.ask()
        thread.join(30)
        service.queue.close()
        log.close()
        assert not thread.is_alive()


def wait_until(true: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()
