"""The log: one JSON object a line, without file names, pictures or answers.

Lines are written by a thread of their own: whoever reads them slowly, or not at all, never makes
a request wait. What cannot be kept meanwhile is counted.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

_MOST_LINES = 10_000


class Log:
    """Lines to a stream.

    Parameters
    ----------
    stream : text stream or None
        None: nothing is written.
    lost : callable()
        Hears of each line that was lost.
    """

    def __init__(self, stream: TextIO | None, lost: Callable[[], None] = lambda: None) -> None:
        self._stream, self._lost = stream, lost
        self._lines: queue.Queue[str | None] = queue.Queue(_MOST_LINES)
        self._writer = threading.Thread(target=self._write, name="regraft-log", daemon=True)
        if stream is not None:
            self._writer.start()

    def say(self, event: str, **facts: Any) -> None:
        """One line: when, what, and its facts."""
        if self._stream is None:
            return
        line = json.dumps({"time": _now(), "event": event, **facts})
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost()

    def close(self, timeout_s: float = 2.0) -> None:
        """What was said is written, if someone reads it in time."""
        if self._writer.is_alive():
            try:
                self._lines.put(None, timeout=timeout_s)
            except queue.Full:
                return
            self._writer.join(timeout_s)

    def _write(self) -> None:
        assert self._stream is not None
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # nobody reads it any more
                return


def _now() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
