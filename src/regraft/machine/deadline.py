"""A moment by which work is to end: what goes on asks, and stops by an exception of its own.

Nothing is interrupted from outside. An exception that a timer's signal raises at any place comes in
the midst of compiled code too, and ended one process of three in a crash there.
"""

from __future__ import annotations

import time


class OutOfTimeError(Exception):
    """The moment has come."""


def check(moment: float) -> None:
    """Raise if a moment of `time.monotonic` has come.

    Examples
    --------
    >>> check(time.monotonic() + 60)
    >>> check(time.monotonic() - 1)
    Traceback (most recent call last):
        ...
    regraft.machine.deadline.OutOfTimeError: was not done when the budget ended
    """
    if time.monotonic() >= moment:
        raise OutOfTimeError("was not done when the budget ended")
