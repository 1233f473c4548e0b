"""How many threads the linear algebra uses.

Most matrices here are small, and BLAS threads that wait for each other then cost more than they
give, the more so on a busy machine. The story runs on one; large fits ask for all cores.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.Lock()
# What each thread of ours wants now, the innermost wish last.
_wishes: dict[int, list[int]] = {}
# Every library seen meanwhile, and the count that it had.
_libraries: dict[str, tuple[Any, int]] = {}
# All libraries of this process, and how many modules were imported when they were looked for: the
# search takes 1.5 ms, a sixth of a picture's whole way.
_known: tuple[int, list[Any]] = (0, [])


@contextmanager
def threads(n: int) -> Iterator[None]:
    """A context in which BLAS uses `n` threads, or fewer while another thread wants fewer.

    The count is the process's. It is put back when the last thread of ours is out, and it moves no
    number but in rounding.

    Examples
    --------
    >>> from threadpoolctl import threadpool_info
    >>> with threads(1):
    ...     {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}
    {1}
    """
    here = threading.get_ident()
    with _lock:
        _find_libraries()
        _wishes.setdefault(here, []).append(n)
        _settle()
    try:
        yield
    finally:
        with _lock:
            _wishes[here].pop()
            if not _wishes[here]:
                del _wishes[here]
            _settle()


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: the function runs with one BLAS thread."""

    @functools.wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with threads(1):
            return function(*args, **kwargs)

    return limited


def _find_libraries() -> None:
    """Some are loaded late, with the package that brings them."""
    global _known
    if len(sys.modules) != _known[0]:
        found = ThreadpoolController().select(user_api="blas").lib_controllers
        _known = len(sys.modules), found
    for library in _known[1]:
        _libraries.setdefault(library.filepath, (library, library.num_threads))


def _settle() -> None:
    wanted = min((wishes[-1] for wishes in _wishes.values()), default=None)
    for library, before in _libraries.values():
        library.set_num_threads(before if wanted is None else wanted)
    if wanted is None:
        _libraries.clear()
