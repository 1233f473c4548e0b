"""An exception at a given moment, wherever the main thread is then: as Ctrl-C, but by the clock."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType


class OutOfTimeError(Exception):
    """The moment has come."""


@contextlib.contextmanager
def at(moment: float) -> Iterator[None]:
    """Raise `OutOfTimeError` in the block at a moment of `time.monotonic`.

    A call into compiled code (one step, one graph) is let finish first. In another thread than the
    main one, or where the system has no timer, nothing is raised: :func:`check` is asked then.

    Examples
    --------
    >>> with contextlib.suppress(OutOfTimeError), at(time.monotonic() + 0.02):
    ...     time.sleep(5)
    """
    if moment == math.inf:
        yield
        return
    left = moment - time.monotonic()
    if left <= 0:
        raise OutOfTimeError
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check(moment: float) -> None:
    """Raise if the moment has come."""
    if time.monotonic() >= moment:
        raise OutOfTimeError
