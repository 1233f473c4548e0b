"""A taught folder behind its server, in a thread of the test's process."""

from __future__ import annotations

import contextlib
import functools
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regraft.backbones import catalog
from regraft.features import engines
from regraft.server import address, running
from regraft.server.guard import Doors
from regraft.server.logs import Log
from regraft.server.metrics import Metrics
from regraft.server.running import Drain
from regraft.server.teach_app import LIMITS, OPEN_PATHS, Teaching
from regraft.teaching.classroom import Classroom
from served import Running


@contextlib.contextmanager
def teaching(folder: Path, doors: Doors | None = None) -> Iterator[Running]:
    """`regraft teach` of a folder until the block ends; a bug of ours fails the test."""
    bugs: list[str] = []
    built = engines.locate(catalog.resolve("default"), offline=True)
    with Classroom(folder, built, note_bug=bugs.append) as room:
        listener, ready = address.bound("127.0.0.1", 0), threading.Event()
        drain, log = Drain(), Log(None)
        doors = doors or Doors(open_paths=OPEN_PATHS)
        site = Teaching(room, doors, log, Metrics(), drain)
        port = listener.getsockname()[1]
        serve = functools.partial(
            running.run, site.application(), listener, limits=LIMITS, log=log, drain=drain,
            on_ready=ready.set,
        )  # fmt: skip
        thread = threading.Thread(target=serve)
        thread.start()
        room.start()
        assert ready.wait(20)
        try:
            yield Running(site, port, thread, io.StringIO())  # type: ignore[arg-type]
        finally:
            drain.ask()
            thread.join(30)
            site.close()
            assert not thread.is_alive()
    assert bugs == []


def room_of(server: Running) -> Classroom:
    """The classroom of a running server."""
    found: Any = server.service
    assert isinstance(found.room, Classroom)
    return found.room
