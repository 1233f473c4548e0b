"""Silence for what others say while they work for us: warnings, and the words of their loggers.

``warnings.catch_warnings`` puts back a list of filters that belongs to the process: of two threads
within it, the later one out leaves the other's filters behind.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from regraft.machine.held import Held


class _OurThreads:
    """In the place of a filter's pattern: fits every text, in the threads that asked for it."""

    def __init__(self) -> None:
        self.inside = Counter[int]()

    def match(self, text: str) -> bool:
        return self.inside[threading.get_ident()] > 0


_ours = _OurThreads()
# As `warnings` keeps them: action, pattern of the text, kind, pattern of the module, line.
_FILTER: Any = ("ignore", _ours, Warning, None, 0)


@contextmanager
def _listed() -> Iterator[None]:
    """Our filter stands before all others.

    The list is not replaced, and nobody is told that it changed: what was ignored is not
    remembered, and which of the others' warnings were shown once stays remembered.
    """
    within: Any = warnings.filters
    within.insert(0, _FILTER)
    try:
        yield
    finally:
        copied: Any = warnings.filters  # somebody entered `catch_warnings` meanwhile
        for filters in (within, copied):
            if _FILTER in filters:
                filters.remove(_FILTER)


_filtered = Held(_listed)


@contextmanager
def no_warnings() -> Iterator[None]:
    """No warning of this thread is shown or raised; those of others are, and nothing stays changed.

    Examples
    --------
    >>> before = list(warnings.filters)
    >>> with no_warnings():
    ...     warnings.warn("of no use to anybody")
    >>> warnings.filters == before
    True
    """
    here = threading.get_ident()
    with _filtered():
        _ours.inside[here] += 1
        try:
            yield
        finally:
            _ours.inside[here] -= 1
            if not _ours.inside[here]:
                del _ours.inside[here]


@contextmanager
def _level(name: str, level: int) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


# One tells of every attempt, the other of what this machine could have; we tell the outcome.
_LOGGERS = {
    "huggingface_hub": Held(lambda: _level("huggingface_hub", logging.ERROR)),
    "torch": Held(lambda: _level("torch", logging.CRITICAL)),
}


def no_words(name: str) -> AbstractContextManager[None]:
    """A context in which a library's logger says nothing.

    Parameters
    ----------
    name : {'huggingface_hub', 'torch'}
    """
    return _LOGGERS[name]()
