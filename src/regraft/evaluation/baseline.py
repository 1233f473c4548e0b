"""Naive ways to answer, and how a classifier does against them on the same images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.evaluation.influence import group_codes
from regraft.evaluation.intervals import Estimate
from regraft.evaluation.metrics import Array, unit_rows
from regraft.evaluation.paired import PairedComparison, compare_paired
from regraft.evaluation.rates import estimate_accuracy

# The nearest-neighbour baseline compares at most so many images, and so many pairs.
MOST_SCORED, MOST_PAIRS = 10_000, 2 * 10**9
_BLOCK_ELEMENTS = 2**22  # of a block of similarities, 16 MiB of float32


@dataclass(frozen=True)
class Baseline:
    """How good a naive way is, and how much better the classifier.

    Attributes
    ----------
    accuracy : Estimate
        Of the naive way.
    paired : PairedComparison
        A is the classifier, B the naive way.
    """

    accuracy: Estimate
    paired: PairedComparison

    def to_dict(self) -> dict[str, Any]:
        """The accuracy as any estimate, and the comparison under 'paired'."""
        return {**self.accuracy.to_dict(), "paired": self.paired.to_dict()}


def held_against(
    is_right: Array, is_naive_right: Array, *, groups: Iterable[Any] | None = None
) -> Baseline:
    """A naive way beside the classifier, both asked about the same images.

    Parameters
    ----------
    is_right, is_naive_right : bool array of shape (N,)
        Of the classifier and of the naive way, in the same order.
    groups : one key per image, optional
        Images that belong together.

    Examples
    --------
    >>> found = held_against(np.arange(50) < 45, np.arange(50) < 44)
    >>> found.accuracy.value, found.paired.is_tie
    (0.88, True)
    """
    codes = group_codes(groups, len(is_naive_right))
    accuracy = estimate_accuracy(np.asarray(is_naive_right), groups=codes)
    return Baseline(accuracy, compare_paired(is_right, is_naive_right, groups=groups))


def majority_baseline(
    y_train: Array,
    y_true: Array,
    n_classes: int,
    *,
    groups: Iterable[Any] | None = None,
    level: float = 0.95,
) -> Estimate:
    """Accuracy of always answering the class that is most frequent in training.

    Examples
    --------
    >>> majority_baseline(np.array([0, 1, 1]), np.array([1, 1, 1, 0]), 2).value
    0.75
    """
    favourite = np.bincount(y_train, minlength=n_classes).argmax()
    return estimate_accuracy(
        y_true == favourite, groups=group_codes(groups, len(y_true)), level=level
    )


def nearest_neighbour_baseline(
    X_train: Array,
    y_train: Array,
    X: Array,
    y: Array,
    *,
    groups: Iterable[Any] | None = None,
    level: float = 0.95,
) -> Estimate:
    """Accuracy of answering the class of the most similar training image, by cosine.

    Nothing is learnt here, so it shows what the features give by themselves. Similarities are
    computed in blocks, so neither set needs a copy in memory. Of very many images an even part is
    compared (:data:`MOST_SCORED`, :data:`MOST_PAIRS`): all with all would take hours.

    Parameters
    ----------
    X_train : array of shape (M, D); X : array of shape (N, D)
        Features; may be memory-mapped.
    y_train : int array of shape (M,); y : int array of shape (N,)

    Examples
    --------
    >>> X_train, X = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 1.0], [1.0, 2.0]])
    >>> nearest_neighbour_baseline(X_train, np.array([0, 1]), X, np.array([0, 0])).value
    0.5
    """
    scored, is_right = nearest_neighbour_hits(X_train, y_train, X, y)
    codes = group_codes(groups, len(X))
    return estimate_accuracy(is_right, groups=None if codes is None else codes[scored], level=level)


def nearest_neighbour_hits(
    X_train: Array, y_train: Array, X: Array, y: Array
) -> tuple[Array, Array]:
    """Which images the most similar training image answers rightly (see
    :func:`nearest_neighbour_baseline`).

    Returns
    -------
    rows : int array of shape (n,)
        Of ``X``, those that were asked: all, or an even part of very many.
    is_right : bool array of shape (n,)
    """
    if len(X_train) == 0 or X_train.shape[1:] != X.shape[1:]:
        raise ValueError(
            f"need training features (M, D) and features (N, D) with M of at least 1, "
            f"got shapes {X_train.shape} and {X.shape}"
        )
    scored = _evenly(len(X), MOST_SCORED)
    taught = _evenly(len(X_train), MOST_PAIRS // max(1, len(scored)))
    nearest = _nearest(X_train, taught, X, scored)
    return scored, np.asarray(y_train)[nearest] == np.asarray(y)[scored]


def _evenly(n: int, most: int) -> Array:
    """At most so many of n rows, evenly taken."""
    return np.arange(0, n, max(1, -(-n // most)))


def _nearest(X_train: Array, taught: Array, X: Array, scored: Array) -> Array:
    """Row of ``X_train``, of those `taught`, with the largest cosine to each of the rows `scored`
    of ``X``; the first, if several. Rows are read by blocks."""
    step = max(1, math.isqrt(_BLOCK_ELEMENTS))
    best, nearest = np.full(len(scored), -np.inf), np.zeros(len(scored), dtype=np.int64)
    for start in range(0, len(taught), step):
        block = unit_rows(X_train[taught[start : start + step]])
        for at in range(0, len(scored), step):
            similarity = unit_rows(X[scored[at : at + step]]) @ block.T
            column = similarity.argmax(axis=1)
            highest = similarity[np.arange(len(column)), column]
            is_nearer = highest > best[at : at + step]
            best[at : at + step][is_nearer] = highest[is_nearer]
            nearest[at : at + step][is_nearer] = taught[start + column[is_nearer]]
    return nearest
