"""Intervals of fractions and what is made of them: accuracy, recall, precision, F1, their means.

All by Wilson's formula at the number of independent images that would show the variance seen.

N images, K classes.
"""

from __future__ import annotations

import numpy as np

from regraft.evaluation.confusion import Confusion
from regraft.evaluation.influence import count_units, effective_size, harmonic_size, variance_of
from regraft.evaluation.intervals import Estimate, estimates, score_interval
from regraft.evaluation.metrics import Array, balanced_accuracy, divide, f1, macro_f1, recall


def estimate_rates(
    is_hit: Array, codes: Array, n_classes: int, *, groups: Array | None = None, level: float = 0.95
) -> list[Estimate]:
    """Fraction of hits in each class, by Wilson's method; NaN for a class with no images.

    Recall with ``codes = y_true``, precision with ``codes = y_pred``.
    With groups, Wilson's formula gets the *effective* number of images: as many independent ones
    as would have the same variance as the groups show, never more than there are. A class where
    all are right or all wrong shows no variance, and counts its groups.

    Parameters
    ----------
    is_hit : bool array of shape (N,)
    codes : int array of shape (N,)
    groups : int array of shape (N,), optional

    Returns
    -------
    list of K Estimate

    References
    ----------
    Korn, Graubard (1998), Survey Methodology 24(2). Dean, Pagano (2015), J. Survey
    Statistics and Methodology 3(4).

    Examples
    --------
    >>> is_hit, y_true = np.array([True, True, False, True]), np.array([0, 0, 1, 1])
    >>> [recall.value for recall in estimate_rates(is_hit, y_true, 2)]
    [1.0, 0.5]
    """
    rates, sizes = _rates_and_sizes(is_hit, codes, n_classes, groups)
    return estimates(rates, *score_interval(rates, sizes, level=level), level=level)


def estimate_accuracy(
    is_right: Array, *, groups: Array | None = None, level: float = 0.95
) -> Estimate:
    """Fraction of all images that are right (see :func:`estimate_rates`).

    Examples
    --------
    >>> found = estimate_accuracy(np.arange(50) < 45)
    >>> round(found.low, 3), round(found.high, 3)
    (0.786, 0.957)
    """
    all_alike = np.zeros(len(is_right), np.int64)
    return estimate_rates(is_right, all_alike, 1, groups=groups, level=level)[0]


def estimate_f1(
    y_true: Array,
    y_pred: Array,
    n_classes: int,
    *,
    groups: Array | None = None,
    level: float = 0.95,
) -> list[Estimate]:
    """F1 of each class, through the one fraction that it is a function of.

    Among the images that are or are called class k, the fraction that is both is
    J = TP / (TP + FP + FN), and F1 = 2 J / (1 + J) grows with J: so Wilson's limits of J, mapped,
    are limits of F1.

    Returns
    -------
    list of K Estimate

    References
    ----------
    Lam, Gopal, Qian (2023), arXiv:2309.14621, the "Wilson indirect" method.
    """
    is_hit = y_true == y_pred
    codes = np.concatenate([y_true, y_pred[~is_hit]])
    hits = np.concatenate([is_hit, np.zeros(len(codes) - len(is_hit), dtype=bool)])
    doubled = None if groups is None else np.concatenate([groups, groups[~is_hit]])
    rates, sizes = _rates_and_sizes(hits, codes, n_classes, doubled)
    limits = score_interval(rates, sizes, level=level)
    return estimates(*(2 * j / (1 + j) for j in (rates, *limits)), level=level)


def estimate_balanced_accuracy(
    y_true: Array, y_pred: Array, confusion: Confusion, *, groups: Array | None, level: float = 0.95
) -> Estimate:
    """Mean recall, by Wilson's formula at the effective number of images.

    That number follows from the summed variances of the recalls, and is at most that of a mean of
    K fractions which are all equal, K^2 / sum(1 / n_k): a class of three images, all found, makes
    the mean no surer than its three images allow.
    """
    n = confusion.true
    n_present = np.count_nonzero(n)
    influence = ((y_true == y_pred) - recall(confusion)[y_true]) / (n[y_true] * n_present)
    return _estimate_average(
        balanced_accuracy(confusion),
        variance_of(influence, groups),
        at_most=harmonic_size(n),
        without_spread=harmonic_size(count_units(y_true, len(n), groups)),
        level=level,
    )


def estimate_macro_f1(
    y_true: Array, y_pred: Array, confusion: Confusion, *, groups: Array | None, level: float = 0.95
) -> Estimate:
    """Mean F1, by the delta method and Wilson's formula at the effective number of images.

    References
    ----------
    Takahashi, Yamamoto, Kuchiba, Koyama (2022), Applied Intelligence 52, for the delta method.
    """
    n_classes = confusion.n_classes
    total = confusion.predicted + confusion.true
    scores = f1(confusion)
    slope = divide(scores, total)
    is_hit = y_true == y_pred
    influence = 2 * is_hit / total[y_true] - slope[y_true] - slope[y_pred]
    present = count_units(y_true, n_classes, groups)
    predicted = count_units(y_pred, n_classes, groups)
    return _estimate_average(
        macro_f1(confusion),
        variance_of(influence / np.count_nonzero(total), groups),
        at_most=harmonic_size(total),
        without_spread=harmonic_size(present + predicted),
        level=level,
    )


def _rates_and_sizes(
    is_hit: Array, codes: Array, n_classes: int, groups: Array | None
) -> tuple[Array, Array]:
    n = np.bincount(codes, minlength=n_classes)
    rates = divide(np.bincount(codes, weights=is_hit, minlength=n_classes), n)
    if groups is None:
        return rates, n
    pairs, members = np.unique(groups * n_classes + codes, return_inverse=True)
    owners = pairs % n_classes
    n_groups = np.bincount(owners, minlength=n_classes)
    residuals = np.bincount(members, weights=is_hit - rates[codes]) / n[owners]
    variances = np.bincount(owners, weights=residuals**2, minlength=n_classes)
    variances *= np.where(n_groups > 1, n_groups / np.maximum(n_groups - 1, 1), 0)
    return rates, effective_size(rates, variances, n, n_groups)


def _estimate_average(
    value: float, variance: float, *, at_most: float, without_spread: float, level: float
) -> Estimate:
    # Sums of K quotients leave 1e-16 where all are equal; that is no spread.
    variance = variance if variance > 1e-24 else 0.0
    size = effective_size(value, variance, at_most, without_spread)
    low, high = score_interval(value, size, level=level)
    return Estimate(value, float(low), float(high), level)
