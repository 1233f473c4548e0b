"""How many threads PyTorch's operations take, in one of our threads and nowhere else.

PyTorch keeps a count for each thread, and one that new threads begin with. To set the first sets
the second too; here that one is put back at once, so that fits in several threads each have their
own count and nobody else's moves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")

_lock = threading.Lock()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """A context in which operations of this thread take `n` threads.

    Examples
    --------
    >>> before = torch.get_num_threads()
    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    before = torch.get_num_threads()
    set_here(n)
    try:
        yield
    finally:
        set_here(before)


def set_here(n: int) -> None:
    """From now on operations of this thread take `n` threads; for threads that end with our work.

    Examples
    --------
    >>> with ThreadPoolExecutor(1, initializer=set_here, initargs=(1,)) as pool:
    ...     pool.submit(torch.get_num_threads).result()
    1
    """
    torch.get_num_threads()  # a new thread takes its first count only now
    with _lock:
        of_new_ones = _in_a_new_thread(torch.get_num_threads)
        torch.set_num_threads(n)
        _in_a_new_thread(lambda: torch.set_num_threads(of_new_ones))


def _in_a_new_thread(function: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()
