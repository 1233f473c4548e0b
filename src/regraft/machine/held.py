"""Settings that belong to the whole process, otherwise while any of our threads needs them so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any


class Held:
    """A change that the first thread in makes and the last one out takes back.

    If each thread put back what it found, the one that found another's change would leave it.

    Parameters
    ----------
    change : callable
        Gives a context that makes the change and takes it back.

    Examples
    --------
    >>> @contextmanager
    ... def light():
    ...     print("on")
    ...     yield
    ...     print("off")
    >>> lit = Held(light)
    >>> with lit(), lit():
    ...     print("twice, switched once")
    on
    twice, switched once
    off
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Any]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._n_inside = 0
        self._undo = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A context in which the change holds."""
        with self._lock:
            if self._n_inside == 0:
                self._undo.enter_context(self._change())
            self._n_inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_inside -= 1
                if self._n_inside == 0:
                    self._undo.close()
