"""A queue of shards for workers that may die: tried again, halved, and what kills them is named.

Work is idempotent, so the queue needs no memory of its own: what a dead worker had in hand is
given to another one. A shard that two workers died of is halved, until one image is left; the rest
goes on meanwhile. Nothing is given up as long as something comes back now and then.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from regraft.data.table import first_few
from regraft.errors import WorkerError
from regraft.features.part import Part
from regraft.wording import count

# Images of a shard, for each thread of a worker: what a death costs, and what a message is worth.
IMAGES_EACH = 64
LEAST_IMAGES = 4
# Workers that may die of a shard before it is halved, or of an image before it is named.
TRIES = 2
# Deaths one after another, with nothing done in between, that mean that no worker can live here.
DEATHS_IN_A_ROW = 10


class LostError(Exception):
    """A worker is gone, with the shard that it had in hand; says how."""


class Hand(Protocol):
    """One worker at a time: a new one comes where one was lost."""

    def do(self, paths: Sequence[str]) -> Part:
        """Raises LostError if the worker dies of it, or meanwhile."""
        ...

    def stop(self) -> None:
        """End the worker at once; a `do` under way raises."""
        ...


@dataclass
class _Some:
    """Images in a row, and how many workers died with them in hand."""

    rows: range
    deaths: int = 0
    last_words: str = ""


@dataclass
class Queue:
    """Shards of `paths`, done by several hands; each has a thread here that waits for it.

    Attributes
    ----------
    paths : sequence of str
    hands : sequence of Hand
    images_each : int
        Of a shard, at most.
    say : callable(text)
        Hears of each worker that was lost.
    """

    paths: Sequence[str]
    hands: Sequence[Hand]
    images_each: int = IMAGES_EACH
    say: Callable[[str], None] = lambda text: None
    _over: threading.Event = field(default_factory=threading.Event)
    _todo: queue.SimpleQueue[_Some | None] = field(default_factory=queue.SimpleQueue)
    _done: queue.SimpleQueue[tuple[_Some, Part | BaseException]] = field(
        default_factory=queue.SimpleQueue
    )

    def parts(self) -> Iterator[tuple[range, Part]]:
        """Every part as it comes; whoever stops asking stops the workers.

        Raises
        ------
        WorkerError
            An image kills its workers, after all others are done; or no worker lives.
        """
        threads = [threading.Thread(target=self._mind, args=(h,), daemon=True) for h in self.hands]
        shards = deque(shards_of(len(self.paths), len(self.hands), self.images_each))
        n_open, deaths, killers = len(shards), 0, list[_Some]()
        for shard in shards:
            self._todo.put(_Some(shard))
        try:
            for thread in threads:
                thread.start()
            while n_open:
                some, found = self._done.get()
                n_open -= 1
                if isinstance(found, Part):
                    deaths = 0
                    yield some.rows, found
                elif isinstance(found, LostError):
                    deaths += 1
                    self._refuse_if_all_die(deaths, found)
                    again = self._again(some, found)
                    killers += [] if again else [some]
                    n_open += len(again)
                    for part in again:
                        self._todo.put(part)
                else:
                    raise found
        finally:
            self._over.set()
            for _ in threads:
                self._todo.put(None)
            for hand in self.hands:
                hand.stop()
        if killers:
            raise self._killed(killers)

    def _mind(self, hand: Hand) -> None:
        """What the thread of a hand does: the next shard, until there is none."""
        while (some := self._todo.get()) is not None and not self._over.is_set():
            try:
                self._done.put((some, hand.do([self.paths[row] for row in some.rows])))
            except BaseException as error:  # handed to the caller's thread, which decides
                self._done.put((some, error))
                if not isinstance(error, LostError):
                    return

    def _again(self, some: _Some, lost: LostError) -> list[_Some]:
        """What becomes of a shard whose worker died: nothing, for an image that kills them."""
        some.deaths, some.last_words = some.deaths + 1, str(lost)
        n_images = len(some.rows)
        self.say(f"a worker was lost ({lost}); its {count(n_images, 'image')} go to another one")
        if some.deaths < TRIES:
            return [some]
        if n_images == 1:
            return []
        middle = some.rows.start + n_images // 2
        return [_Some(range(some.rows.start, middle)), _Some(range(middle, some.rows.stop))]

    def _refuse_if_all_die(self, deaths: int, last: LostError) -> None:
        if deaths >= DEATHS_IN_A_ROW + len(self.hands):
            raise WorkerError(
                f"{deaths} workers died one after another, and nothing was done in between: {last}",
                cure="is there enough memory for all of them? --runner processes:1, or without "
                "--runner; what was computed is kept",
            )

    def _killed(self, killers: list[_Some]) -> WorkerError:
        names = [str(self.paths[some.rows.start]) for some in killers]
        return WorkerError(
            f"{count(len(names), 'image')} killed {TRIES} workers each ({killers[0].last_words}): "
            + first_few(names),
            place=names[0],
            cure="move it out of the data (and tell us: no picture should); all others are done "
            "and kept, and the same command goes on with them",
            paths=names,
        )


def shards_of(n_images: int, n_hands: int, images_each: int) -> Iterator[range]:
    """Images in parts for workers that take one after the other; the last ones are small.

    Examples
    --------
    >>> [len(part) for part in shards_of(300, n_hands=2, images_each=64)]
    [64, 59, 44, 33, 25, 18, 14, 10, 8, 6, 4, 4, 4, 4, 3]
    """
    start = 0
    while start < n_images:
        share = (n_images - start) // (2 * n_hands)
        stop = min(n_images, start + max(LEAST_IMAGES, min(images_each, share)))
        yield range(start, stop)
        start = stop
