"""How many threads the linear algebra uses.

Most matrices here are small, and BLAS threads that wait for each other then cost more than they
give, the more so on a busy machine. The story runs on one; large fits ask for all cores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

P = ParamSpec("P")
R = TypeVar("R")


def threads(n: int) -> AbstractContextManager[Any]:
    """A context in which BLAS uses `n` threads."""
    limits: AbstractContextManager[Any] = threadpool_limits(n, user_api="blas")
    return limits


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: the function runs with one BLAS thread."""

    @functools.wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with threads(1):
            return function(*args, **kwargs)

    return limited
