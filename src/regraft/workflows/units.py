"""Which rows stay together: near-copies of one picture, and groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.checks.duplicates import connected


def units_of(
    units: NDArray[Any], groups: NDArray[np.object_] | None, rows: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Near-duplicates and groups as one number each: what must be left out together."""
    if groups is None:
        return consecutive(units[rows])
    return _joined(units[rows], groups[rows])


def consecutive(numbers: NDArray[Any]) -> NDArray[np.intp]:
    """Whole numbers from 0 up as the places of those that occur, without the sort of np.unique.

    Examples
    --------
    >>> consecutive(np.array([7, 2, 7, 4])).tolist()
    [2, 0, 2, 1]
    """
    occurs = np.zeros(int(numbers.max(initial=-1)) + 1, bool)
    occurs[numbers] = True
    place = np.cumsum(occurs, dtype=np.intp) - 1
    return np.asarray(place[numbers])


def _joined(units: NDArray[Any], groups: NDArray[np.object_]) -> NDArray[np.intp]:
    """The numbering in which rows of one unit, and rows of one group, are together."""
    ends = [*_chained(units), *_chained(groups)]
    return connected(len(units), np.array(ends, np.intp).reshape(-1, 2))


def _chained(names: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Each row with the first of its name; None is no name."""
    first: dict[Any, int] = {}
    for row, name in enumerate(names.tolist()):
        if name is not None:
            yield first.setdefault(name, row), row
