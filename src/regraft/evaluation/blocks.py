"""What is said of N rows for each of K classes: made and read a block at a time.

A million rows of ten thousand classes are 80 GB. So a matrix of many numbers lies in a file without
a name that is mapped, beside the features (`regraft.machine.arrays`); nobody holds or copies all of
it, and small ones lie in memory. A file, and not blocks that are computed anew whenever somebody
asks: it is read by rows, by classes and in single places by several who come one after another, and
is to give each of them the numbers that memory would.

Whoever reads one asks here, so anything that has a shape and gives its rows in slices will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from regraft.machine import arrays
from regraft.wording import count

Array = NDArray[Any]

_BLOCK_ELEMENTS = 2**21  # 16 MiB of float64
# Of columns, where rows are many: each block reads every row's page anew.
_FEWEST_COLUMNS, _MOST_OF_COLUMNS = 64, 2**25
# Of those that are made: rows are computed together, as their products were always rounded.
_ROWS_TO_MAKE, _ELEMENTS_TO_MAKE = 8192, 2**23


def matrix(shape: tuple[int, int], dtype: DTypeLike) -> Array:
    """One of zeros, to be filled; of many numbers it lies on disk until it is freed.

    Raises
    ------
    DataError
        The disk has no room for it.
    """
    return np.asarray(arrays.zeros(shape, dtype, what=_what(*shape)))


def require_room(n_rows: int, n_classes: int) -> None:
    """DataError, before any work, where the disk has no room for what `matrix` would put there."""
    arrays.require_room(8 * n_rows * n_classes, what=_what(n_rows, n_classes))


def _what(n_rows: int, n_classes: int) -> str:
    return f"the answers to {count(n_rows, 'image')} in {count(n_classes, 'class', 'classes')}"


def rows_to_make(n_rows: int, n_classes: int) -> Iterator[slice]:
    """Some thousand rows at a time, fewer where classes are many.

    Examples
    --------
    >>> [rows.stop for rows in rows_to_make(20_000, 10)]
    [8192, 16384, 20000]
    """
    step = max(1, min(_ROWS_TO_MAKE, _ELEMENTS_TO_MAKE // max(1, n_classes)))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def applied(values: Any, function: Callable[[Array], Array], dtype: DTypeLike) -> Array:
    """What a function makes of each block of rows, as one matrix of the same shape.

    Examples
    --------
    >>> applied(np.ones((2, 3)), lambda rows: 2 * rows, np.float32).tolist()
    [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]
    """
    made = matrix(values.shape, dtype)
    for rows in rows_to_make(*values.shape):
        made[rows] = function(values[rows])
    return made


def iterate_rows(values: Any) -> Iterator[Array]:
    """Consecutive blocks of rows, each of bounded size; one without rows if there are none."""
    step = max(1, _BLOCK_ELEMENTS // max(1, values.shape[1]))
    for start in range(0, max(1, len(values)), step):
        yield values[start : start + step]


def iterate_columns(values: Any) -> Iterator[tuple[int, Array]]:
    """Each column with its number, contiguous; a few are copied out at a time, for the cache."""
    n = max(1, len(values))
    step = max(1, _BLOCK_ELEMENTS // n, min(_FEWEST_COLUMNS, _MOST_OF_COLUMNS // n))
    for start in range(0, values.shape[1], step):
        block = np.ascontiguousarray(values[:, start : start + step].T)
        yield from enumerate(block, start)


def called(proba: Any) -> Array:
    """``(N,)`` the first of the most probable classes.

    Examples
    --------
    >>> called(np.array([[0.2, 0.8], [0.5, 0.5]]))
    array([1, 0])
    """
    return np.concatenate([rows.argmax(axis=1) for rows in iterate_rows(proba)])


def sureness(proba: Any) -> Array:
    """``(N,)`` its probability."""
    return np.concatenate([rows.max(axis=1) for rows in iterate_rows(proba)])


def own(proba: Any, codes: Array) -> Array:
    """``(N,)`` the probability of one class of each row: its own, or the one it was called.

    Examples
    --------
    >>> own(np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([0, 1]))
    array([0.2, 0.5])
    """
    found, start = [], 0
    for rows in iterate_rows(proba):
        part = codes[start : start + len(rows)]
        found.append(rows[np.arange(len(rows)), part])
        start += len(rows)
    return np.concatenate(found)


def first(p: Array, n: int) -> Array:
    """The n most probable classes of one row, the most probable first; of equal ones the first.

    Examples
    --------
    >>> first(np.array([0.1, 0.4, 0.1, 0.4]), 3)
    array([1, 3, 0])
    """
    places = np.arange(len(p))
    if n < len(p):  # sorting all of many takes longer than all else that is done with a row
        places = np.flatnonzero(~(-p > np.partition(-p, n - 1)[n - 1]))  # NaN come last
    return places[np.argsort(-p[places], kind="stable")][:n]


def as_asked(values: Any) -> Any:
    """As an array, unless it gives its rows when they are asked for (`features.rows.Rows`)."""
    return values if hasattr(values, "shape") and hasattr(values, "dtype") else np.asarray(values)
