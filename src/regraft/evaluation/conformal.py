"""Promises from images that did not teach: p-values, sets of answers, and when to answer alone.

All of it is counting. If the images that calibrate and a new one are exchangeable (drawn alike, in
any order), the new one's rank among them is uniform, whatever the classifier is worth. Images of
one unit (copies, a group) share one vote, since they are not drawn one by one.

n images that calibrate, G units, K classes, N images that are asked about.

References
----------
Vovk, Gammerman, Shafer (2005), Algorithmic Learning in a Random World (p-values, and per class:
"Mondrian"). Sadinle, Lei, Wasserman (2019), JASA 114(525), 223-234 (sets by the probability of the
class, "LAC": of all sets with a coverage, the smallest on average). Dunn, Wasserman, Ramdas (2023),
JASA 118(544), 2491-2502 (groups, pooled). Angelopoulos, Bates, Candès, Jordan, Lei (2021),
arXiv:2110.01052 ("Learn then test": a threshold found by tests in a fixed order).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from regraft.evaluation.levels import CONFIDENCE, fewest_all_right
from regraft.evaluation.metrics import Array

_SLACK = 1e-9
# So many thresholds are tried.
MOST_THRESHOLDS = 400


def weights_of(units: Array) -> Array:
    """``(n,)`` votes: those of one unit share one.

    Examples
    --------
    >>> weights_of(np.array([7, 7, 8]))
    array([0.5, 0.5, 1. ])
    """
    _, of_row, sizes = np.unique(units, return_inverse=True, return_counts=True)
    votes: Array = 1.0 / sizes[of_row]
    return votes


def p_values(values: Array, calibrating: Array, weight: Array | None = None) -> Array:
    """The share of calibrating images that are as odd as each new one or odder, itself counted in.

    Parameters
    ----------
    values : (N,) float
        How odd each is; NaN stays NaN.
    calibrating : (n,) float
        The same of images that did not teach.
    weight : (n,) float, optional
        Their votes, which sum to G; by default one each.

    Returns
    -------
    (N,) float
        In ``[1 / (G + 1), 1]``. For exchangeable images P(p <= a) <= a for every a.

    Examples
    --------
    >>> p_values(np.array([0.5, 9.0, np.nan]), np.array([1.0, 2.0, 3.0]))
    array([1.  , 0.25,  nan])
    """
    weight = np.ones(len(calibrating)) if weight is None else weight
    order = np.argsort(calibrating, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weight[order])])
    place = np.searchsorted(calibrating[order], values, side="left")
    found: Array = (1 + below[-1] - below[place]) / (1 + below[-1])
    return np.where(np.isnan(values), np.nan, found)


def threshold(p_true: Array, coverage: float, weight: Array | None = None) -> float:
    """The least probability with which a class belongs into the set, at this coverage.

    Parameters
    ----------
    p_true : (n,) float
        The probability that each calibrating image gave to its own class.
    coverage : float in (0, 1)
        Share of new images whose set is to hold their class.
    weight : (n,) float, optional
        Votes.

    Returns
    -------
    float
        0 where n is too small for the level: then every class belongs.

    Examples
    --------
    >>> threshold(np.array([0.9, 0.8, 0.7, 0.6]), 0.8), threshold(np.array([0.9]), 0.8)
    (0.6, 0.0)
    """
    weight = np.ones(len(p_true)) if weight is None else weight
    order = np.argsort(p_true, kind="stable")
    votes = np.cumsum(weight[order])
    n_units = votes[-1] if len(votes) else 0.0
    wanted = (1 - coverage) * (n_units + 1) - 1
    if wanted < -_SLACK:
        return 0.0
    place = int(np.searchsorted(votes, wanted + _SLACK, side="right"))
    return float(p_true[order][min(place, len(order) - 1)])


def sets(proba: Array, least: float | Array) -> NDArray[np.bool_]:
    """``(N, K)``: which classes belong into each image's set; a row of NaN has none.

    Parameters
    ----------
    proba : (N, K) float
        Or of one class of each image.
    least : float or (K,) float
        As :func:`threshold` gives it, of all images or for each class.
    """
    return np.asarray(proba >= least, np.bool_)


def surest(confidence: Array, is_right: Array, precision: float) -> float | None:
    """The least confidence from which on answers may stand alone.

    Thresholds are tested from strict to lenient, each by an exact binomial test of "fewer than
    `precision` are right", and the last before the first failure is taken. So that one mistake
    among the very surest does not end it all, the walk begins at several sizes, which share the
    allowed error (Bonferroni).

    Parameters
    ----------
    confidence : (n,) float
        Probability of the answer, of images that did not teach: one of each unit.
    is_right : (n,) bool
    precision : float in (0, 1)
        Wanted of the answers that stand alone.

    Returns
    -------
    float or None
        None if no threshold passes. With 95 % confidence, at least `precision` of those above the
        threshold are right.

    Examples
    --------
    >>> sure = np.linspace(1, 0, 1000)
    >>> surest(sure, sure > 0.2, 0.95) < 0.3, surest(sure, sure < 0, 0.95)
    (True, None)
    """
    order = np.argsort(-confidence, kind="stable")
    values, wrong = confidence[order], np.cumsum(~np.asarray(is_right, bool)[order])
    if not len(values):
        return None
    # Images of equal confidence stand or fall together.
    sizes = np.flatnonzero(np.append(values[1:] != values[:-1], True)) + 1
    sizes = sizes[:: -(len(sizes) // MOST_THRESHOLDS + 1)][::-1]  # with that of all
    starts = _starts(len(values), precision)
    best = 0
    for start in starts:
        for size in sizes[sizes >= start]:
            if _chance(int(wrong[size - 1]), int(size), precision) > (1 - CONFIDENCE) / len(starts):
                break
            best = max(best, int(size))
    return float(values[best - 1]) if best else None


def _starts(n: int, precision: float) -> list[int]:
    """Sizes at which a walk begins: the fewest that could pass, then twice as many, ..."""
    starts = [fewest_all_right(precision)]
    while 3 * starts[-1] <= n:
        starts.append(3 * starts[-1])
    return starts


def _chance(wrong: int, n: int, precision: float) -> float:
    """P(at most `wrong` of n are wrong) if just `precision` of all are right."""
    if wrong >= n:
        return 1.0
    k = np.arange(wrong + 1)
    logs = _log_choose(n, wrong) + k * math.log1p(-precision) + (n - k) * math.log(precision)
    return float(min(1.0, np.exp(logs).sum()))


def _log_choose(n: int, most: int) -> Array:
    """``(most + 1,)``: the logs of n over 0, 1, ..., most."""
    k = np.arange(1, most + 1)
    return np.concatenate([[0.0], np.cumsum(np.log(n - k + 1) - np.log(k))])
