"""Server-sent events: the newest news of each kind, for as long as somebody listens."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from regraft.server.running import Drain
from regraft.teaching.bulletin import Bulletin

# Who hears nothing for so long is sent a line, so that nobody on the way hangs up.
BEAT_S = 10.0
# How soon it is noticed that the server is about to stop.
TICK_S = 0.25


class News:
    """What is told of a taught folder, as a stream of events.

    Parameters
    ----------
    bulletin : Bulletin
    version : callable() -> int
        Of the folder now; each stream begins with it.
    drain : Drain
        Ends all streams.
    """

    def __init__(self, bulletin: Bulletin, version: Callable[[], int], drain: Drain) -> None:
        self.bulletin, self.version, self.drain = bulletin, version, drain

    async def stream(self) -> AsyncIterator[str]:
        """Lines for one listener, until it leaves or the server is about to stop."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        waiting: dict[str, dict[str, Any]] = {"hello": {"version": self.version()}}

        def put(what: str, facts: dict[str, Any]) -> None:
            waiting[what] = facts
            woken.set()

        def hear(what: str, facts: dict[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(put, what, facts)

        leave, silent_s = self.bulletin.listen(hear), 0.0
        try:
            while not (self.drain.is_asked or self.drain.is_on):
                for what in list(waiting):
                    yield f"event: {what}\ndata: {json.dumps(waiting.pop(what))}\n\n"
                    silent_s = 0.0
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), TICK_S)
                woken.clear()
                silent_s += TICK_S
                if silent_s >= BEAT_S:
                    yield ": still here\n\n"
                    silent_s = 0.0
        finally:
            leave()
