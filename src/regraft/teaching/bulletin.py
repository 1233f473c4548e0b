"""News of a taught folder, told to whoever listens: tabs of a browser, a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Hear = Callable[[str, dict[str, Any]], None]


class Bulletin:
    """Who listens, from any thread.

    Examples
    --------
    >>> bulletin = Bulletin()
    >>> leave = bulletin.listen(lambda what, facts: print(what, facts))
    >>> bulletin.tell("changed", version=3)
    changed {'version': 3}
    >>> leave()
    >>> bulletin.tell("changed", version=4)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[object, Hear] = {}

    def listen(self, hear: Hear) -> Callable[[], None]:
        """Hear everything from now on; calling what is returned ends it."""
        key = object()
        with self._lock:
            self._listeners[key] = hear

        def leave() -> None:
            with self._lock:
                self._listeners.pop(key, None)

        return leave

    def tell(self, what: str, **facts: Any) -> None:
        """One piece of news to all."""
        with self._lock:
            listeners = list(self._listeners.values())
        for hear in listeners:
            hear(what, facts)
