"""Threads that nobody waits for: a program that is stopped ends, whatever a server does."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_order(work: Callable[[Item], Made], items: Sequence[Item], n_threads: int) -> Iterator[Made]:
    """What `work` makes of each item, in their order; some are worked on at the same time.

    An iterator that is closed before its end begins no more of them, and waits for none.

    Parameters
    ----------
    work : callable(item)
        What it raises is raised where its result would come.
    n_threads : int

    Examples
    --------
    >>> list(in_order(lambda n: n * n, [3, 1, 2], n_threads=2))
    [9, 1, 4]
    """
    waiting: queue.SimpleQueue[tuple[Item, Future[Made]]] = queue.SimpleQueue()
    coming = [Future[Made]() for _ in items]
    for one in zip(items, coming, strict=True):
        waiting.put(one)
    is_over = threading.Event()

    def go_on() -> None:
        while not is_over.is_set():
            try:
                item, made = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                made.set_result(work(item))
            except BaseException as error:  # raised where the result is taken
                made.set_exception(error)

    for _ in range(min(n_threads, len(items))):
        threading.Thread(target=go_on, daemon=True).start()
    try:
        for made in coming:
            yield made.result()
    finally:
        is_over.set()
