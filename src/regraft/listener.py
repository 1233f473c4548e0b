"""Who is told while work goes on. Rooms that take their time are given one; it says nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Doing(str):
    """A line that says what goes on and no more: with ``--quiet`` it is not shown.

    What must be known (something was healed, left out, or is otherwise than asked for) is plain
    text, and always shown.
    """

    __slots__ = ()


@dataclass(frozen=True)
class Listener:
    """Who is told while work goes on; silent by default.

    Attributes
    ----------
    say : callable(text)
        One line before what takes seconds (a `Doing`), or about something that went wrong and was
        healed.
    progress : callable(stage, done, total)
    epoch : callable(epoch, n_epochs)
        After each epoch of a method that trains.

    Examples
    --------
    >>> Listener(say=print).say("building the engine")
    building the engine
    """

    say: Callable[[str], None] = lambda text: None
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    epoch: Callable[[Any, int], None] = lambda epoch, n_epochs: None


SILENT = Listener()
