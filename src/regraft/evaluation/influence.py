"""The variance of a score, from how much each image moves it: its influence values.

The variance is the sum of their squares. Images of one group are summed first, so that ten
photographs of one plant count as one plant.

N images, K classes. ``groups`` are codes ``0..G-1``, or None where each image stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from regraft.data.cells import is_missing
from regraft.evaluation.metrics import Array


def group_codes(groups: Iterable[Any] | None, n_images: int) -> Array | None:
    """Number the groups 0..G-1; an image without one (None, NaN, blank) is a group of its own.

    Raises
    ------
    ValueError
        If there is not one group per image.

    Examples
    --------
    >>> group_codes(["plant_2", "plant_1", "plant_2", None, float("nan")], 5)
    array([0, 1, 0, 2, 3])
    """
    if groups is None:
        return None
    seen: dict[Any, int] = {}
    keys = ((i,) if is_missing(g) else g for i, g in enumerate(groups))
    codes = np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)
    if len(codes) != n_images:
        raise ValueError(f"groups must name one group per image, got {len(codes)} for {n_images}")
    return codes


def sum_units(influence: Array, groups: Array | None) -> Array:
    return influence if groups is None else np.bincount(groups, weights=influence)


def variance_of(influence: Array, groups: Array | None) -> float:
    sums = sum_units(influence, groups)
    n_units = len(sums)
    # Not sums @ sums: waking the threads of the matrix library costs more than the sum itself.
    return float(np.sum(sums**2)) * n_units / (n_units - 1) if n_units > 1 else 0.0


def unit_codes(units: Array | None) -> Array | None:
    """Number the units 0..G-1; None where each image is a unit by itself, as without any.

    Examples
    --------
    >>> unit_codes(np.array([7, 3, 7]))
    array([1, 0, 1])
    >>> unit_codes(np.array([7, 3, 5])) is None
    True
    """
    if units is None:
        return None
    names, codes = np.unique(units, return_inverse=True)
    return None if len(names) == len(units) else codes.reshape(-1)


def standard_error(values: Array, units: Array | None = None) -> float:
    """Of the mean of some images' values, such as what one candidate loses more than another.

    Parameters
    ----------
    values : array of shape (N,)
    units : int array of shape (N,), optional
        Images of one number (a group, near copies) count as one; None: each by itself.

    Returns
    -------
    float
        Infinite where there is one unit or none, which says nothing of the others.

    Examples
    --------
    >>> values = np.array([0.0, 0.2, 0.4, 0.6])
    >>> round(standard_error(values), 3), round(standard_error(values, np.array([7, 7, 9, 9])), 3)
    (0.129, 0.2)
    """
    codes = unit_codes(units)
    if len(values) < 2 or (codes is not None and codes.max() < 1):
        return math.inf
    return math.sqrt(variance_of((values - values.mean()) / len(values), codes))


def count_units(codes: Array, n_classes: int, groups: Array | None) -> Array:
    """Independent units in each class: its images, or the groups that they belong to."""
    if groups is not None:
        codes = np.unique(groups * n_classes + codes) % n_classes
    return np.bincount(codes, minlength=n_classes)


def effective_size(value: Any, variance: Any, at_most: Any, without_spread: Any) -> Array:
    """Independent images that would give this variance; ``without_spread`` where there is none."""
    has_spread = np.asarray(variance) > 0
    size = np.divide(value * (1 - value), variance, out=np.zeros(np.shape(value)), where=has_spread)
    # An eighth of an image still gives an interval; 0 would divide by nothing.
    size = np.where(has_spread, size, without_spread)
    return np.asarray(np.clip(size, np.minimum(0.125, at_most), at_most))


def harmonic_size(sizes: Array) -> float:
    """Size of the single sample that is as sure as a mean of equal fractions on these samples."""
    filled = sizes[sizes > 0]
    return len(filled) ** 2 / float(np.sum(1 / filled))
