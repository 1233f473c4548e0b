"""The queue: hardly more threads than cores, a bounded number of pictures, freed places."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.types import Receive

from regraft.server.refusals import ClientLeft, Refusal

T = TypeVar("T")
# Beyond one for each core: while one waits for the lock of Python, which each request takes,
# another has a picture in hand. At 8 clients on two cores: 290 images/s without, 339 with two.
SPARE_THREADS = 2
# Of the mean time of a picture: how much the newest one counts.
_NEWEST = 0.05


class Queue:
    """Work that is done by threads, in the order in which it came.

    Parameters
    ----------
    n_threads : int
    places : int
        Pieces of work that wait or are being done; one more is refused.
    """

    def __init__(self, n_threads: int, places: int) -> None:
        self.n_threads, self.places, self.taken = n_threads, places, 0
        self.mean_s = 0.02
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="regraft")

    async def run(self, works: Sequence[Callable[[], T]]) -> list[T]:
        """The results, in order.

        What has not begun when the caller is cancelled is never begun.

        Raises
        ------
        Refusal
            503: there are not enough places.
        """
        if self.taken + len(works) > self.places:
            raise Refusal(
                503,
                f"{self.taken} of {self.places} places are taken, {len(works)} more were asked for",
                cure="send it again later, or fewer pictures at once",
                retry_after_s=self.seconds_until_free(),
            )
        loop = asyncio.get_running_loop()
        begun = [self._begin(work, loop) for work in works]
        return await asyncio.gather(*map(asyncio.wrap_future, begun))

    def seconds_until_free(self) -> int:
        """About how long what is waiting now takes."""
        return max(1, math.ceil(self.taken * self.mean_s / self.n_threads))

    def close(self) -> None:
        """No thread takes anything more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> Future[T]:
        def timed() -> T:
            start = time.perf_counter()
            try:
                return work()
            finally:
                self.mean_s += _NEWEST * (time.perf_counter() - start - self.mean_s)

        self.taken += 1
        future = self._threads.submit(timed)
        future.add_done_callback(lambda done: _call(loop, self._leave))
        return future

    def _leave(self) -> None:
        self.taken -= 1


async def unless_left(receive: Receive, work: Awaitable[T], *, timeout_s: float) -> T:
    """The result; work is given up when who asked closes the connection, or after some time.

    Raises
    ------
    ClientLeft
    Refusal
        503: it took too long.
    """
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((doing, leaving), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        if leaving.done():
            raise ClientLeft
        raise Refusal(
            503,
            f"no answer within {timeout_s:g} s",
            cure="send it again later, or fewer pictures at once",
            retry_after_s=1,
        )
    finally:
        for task in (doing, leaving):
            task.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> None:
    """In the loop's thread, unless the loop is over."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)
