"""The area under the ROC curve with its interval: DeLong's variance on the logit scale.

N images, K classes.
"""

from __future__ import annotations

import math

import numpy as np

from regraft.evaluation.blocks import iterate_columns
from regraft.evaluation.influence import count_units, harmonic_size, variance_of
from regraft.evaluation.intervals import Estimate, estimates, quantile, score_interval
from regraft.evaluation.metrics import Array, placements


def estimate_auroc(
    y_true: Array, proba: Array, *, groups: Array | None = None, level: float = 0.95
) -> tuple[Estimate, list[Estimate]]:
    """Macro AUROC and that of each class against the rest, by DeLong's variance on the logit scale.

    The logit keeps the limits inside (0, 1) and covers better near 1 than DeLong's symmetric
    interval. A perfect separation has no variance to go by; there the limit is Wilson's at the size
    of the smaller side, because the variance can never exceed A (1 - A) / min(m, n).

    Parameters
    ----------
    y_true : int array of shape (N,)
    proba : array of shape (N, K)

    Returns
    -------
    macro : Estimate
        Mean over the classes for which it is defined.
    per_class : list of K Estimate

    References
    ----------
    DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44(3). Groups: Obuchowski (1997), Biometrics
    53(2). Logit: Pepe (2003), section 5.2. Bound: Birnbaum, Klose (1957), Ann. Math. Stat. 28(4).

    Examples
    --------
    >>> y, p = np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.6, 0.5, 0.8, 0.9])
    >>> macro, (_, second) = estimate_auroc(y, np.column_stack([1 - p, p]))
    >>> print(f"{second.value:.3f} ({second.low:.3f} to {second.high:.3f})")
    0.833 (0.152 to 0.993)
    """
    n_classes = proba.shape[1]
    areas, variances, sizes = (np.full(n_classes, np.nan) for _ in range(3))
    total = np.zeros(len(y_true))
    for k, column in iterate_columns(proba):
        is_positive = y_true == k
        if is_positive.all() or not is_positive.any():
            continue
        areas[k], variances[k], influence = _delong(is_positive, column, groups)
        sizes[k] = count_units(is_positive.astype(np.int64), 2, groups).min()
        total += influence
    limits = _logit_interval(areas, variances, sizes, level)
    per_class = estimates(areas, *limits, level=level)

    defined = ~np.isnan(areas)
    if not defined.any():
        return Estimate(math.nan, math.nan, math.nan, level), per_class
    macro = areas[defined].mean(keepdims=True)
    variance = np.atleast_1d(variance_of(total / defined.sum(), groups))
    # Halved, because an image is a positive of one class and a negative of another.
    size = np.atleast_1d(harmonic_size(sizes[defined]) / 2)
    [estimate] = estimates(macro, *_logit_interval(macro, variance, size, level), level=level)
    return estimate, per_class


def _delong(is_positive: Array, scores: Array, groups: Array | None) -> tuple[float, float, Array]:
    """Area, its variance, and the influence value of each image."""
    above, below = placements(scores[is_positive], scores[~is_positive])
    m, n = len(above), len(below)
    area = float(above.mean())
    influence = np.empty(m + n)
    influence[is_positive] = (above - area) / m
    influence[~is_positive] = (below - area) / n
    if groups is None:
        sides = (influence[is_positive], influence[~is_positive])
        variance = sum(variance_of(side, None) for side in sides)
    else:
        variance = variance_of(influence, groups)
    # A side of one image shows no variance; take the largest that placements with this mean have.
    variance += area * (1 - area) * ((m == 1) + (n == 1))
    return area, variance, influence


def _logit_interval(
    areas: Array, variances: Array, sizes: Array, level: float
) -> tuple[Array, Array]:
    low, high = score_interval(areas, sizes, level=level)
    inside = (areas > 0) & (areas < 1) & (variances > 1e-24)
    a = areas[inside]
    odds = np.log(a / (1 - a))
    half = quantile(level) * np.sqrt(variances[inside]) / (a * (1 - a))
    low[inside] = np.minimum(_expit(odds - half), a)
    high[inside] = np.maximum(_expit(odds + half), a)
    return low, high


def _expit(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))))
