"""On which images of train taps and heads are compared: all, or a part in which most can judge.

Array letters: N images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.data.splits import carve
from regraft.probe.base import Codes
from regraft.probe.judging import rows_that_judge

# Candidates are compared on at most this many train images: the comparison needs no more, and its
# cost grows with the cube. Strength, weights and temperature always see all of train.
MAX_ROWS_TO_CHOOSE = 1_280
# Of these, no unit gives more than a tenth: the rest of a large one says little that is new.
MAX_ROWS_OF_UNIT = MAX_ROWS_TO_CHOOSE // 10
# Where all classes cannot be shown, this many of each class that is drawn.
IMAGES_OF_DRAWN_CLASS = 4
# All sets of taps are compared on at most this many; where there are more, the best on more.
MAX_ROWS_TO_SCREEN = 512
# They must show nearly all classes.
SHARE_OF_CLASSES = 0.9


def rows_to_compare(y: Codes, units: Codes, seed: int, at_most: int | None = None) -> Any:
    """All rows, or a stratified part of whole units (of a part of large ones), of at most
    MAX_ROWS_TO_CHOOSE; where none of these could judge, of fewer classes."""
    at_most = at_most or MAX_ROWS_TO_CHOOSE
    if len(y) <= at_most:
        return np.arange(len(y))
    rows = _without_most_of_large_units(units, seed)
    y, units = y[rows], units[rows]
    if len(rows) <= at_most:
        return rows
    # In parts of about a tenth of what is wanted, so that nearly all of it is used.
    n_parts = min(-(-10 * len(y) // at_most), len(np.unique(units)))
    part = carve(y, n_parts, units=units, seed=seed)
    fits = np.cumsum(np.bincount(part, minlength=n_parts)) <= at_most
    found = np.flatnonzero(fits[part])
    if not len(rows_that_judge(y[found], units[found])):
        fewer = _of_fewer_classes(y, units, seed, at_most)
        found = fewer if len(rows_that_judge(y[fewer], units[fewer])) else found
    return rows[found]


def _of_fewer_classes(y: Codes, units: Codes, seed: int, at_most: int) -> Any:
    """Classes by chance, and of each some images of different units: where there are so many
    classes that a part of all images hardly shows one twice, and could judge nothing."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    pairs = y.astype(np.int64) * (int(units.max()) + 1) + units
    one_of_each = np.sort(np.unique(pairs[order], return_index=True)[1])
    rows = order[one_of_each]
    rows = rows[np.argsort(y[rows], kind="stable")]
    _, starts, sizes = np.unique(y[rows], return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(starts, sizes)
    drawn = rng.permutation(np.flatnonzero(sizes > 1))[: at_most // IMAGES_OF_DRAWN_CLASS]
    is_drawn = np.zeros(len(sizes), bool)
    is_drawn[drawn] = True
    return np.sort(rows[np.repeat(is_drawn, sizes) & (place < IMAGES_OF_DRAWN_CLASS)])


def rows_to_screen(y: Codes, units: Codes, seed: int) -> Any:
    """Fewer, on which all sets of taps are compared; all that choose if fewer could not judge."""
    few = rows_to_compare(y, units, seed, MAX_ROWS_TO_SCREEN)
    judging = rows_that_judge(y[few], units[few])
    is_enough = len(np.unique(y[few][judging])) >= SHARE_OF_CLASSES * len(np.unique(y))
    return few if is_enough else rows_to_compare(y, units, seed)


def _without_most_of_large_units(units: Codes, seed: int) -> Any:
    """Rows in order, at most MAX_ROWS_OF_UNIT of each unit, by chance."""
    if np.unique(units, return_counts=True)[1].max(initial=0) <= MAX_ROWS_OF_UNIT:
        return np.arange(len(units))  # of millions no permutation is made for nothing
    order = np.random.default_rng(seed).permutation(len(units))
    order = order[np.argsort(units[order], kind="stable")]
    _, starts, sizes = np.unique(units[order], return_index=True, return_counts=True)
    place = np.arange(len(units)) - np.repeat(starts, sizes)
    return np.sort(order[place < MAX_ROWS_OF_UNIT])
