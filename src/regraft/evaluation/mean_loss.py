"""The mean of a loss with an interval that allows for its skewness."""

from __future__ import annotations

import math

import numpy as np

from regraft.evaluation.influence import sum_units, variance_of
from regraft.evaluation.intervals import Estimate, quantile
from regraft.evaluation.metrics import Array


def estimate_mean(
    values: Array, *, groups: Array | None = None, upper: float = math.inf, level: float = 0.95
) -> Estimate:
    """Mean of one value per image (a loss), with an interval that allows for skewness.

    A few confident mistakes carry most of a log loss, so its mean errs more often on the low side;
    Hall's cubic transformation of the t statistic moves both limits up accordingly. One image or
    one group says nothing about spread: then the interval is everything, 0 to ``upper``. Mistakes
    that no image shows cannot be priced: with few or none the interval is too narrow.

    Parameters
    ----------
    values : array of shape (N,), at least 0
    upper : float
        Largest value that the mean can take.

    References
    ----------
    Hall (1992), J. R. Stat. Soc. B 54(1), "On the removal of skewness by transformation".

    Examples
    --------
    >>> estimate = estimate_mean(np.array([0.01, 0.02, 0.05, 0.02, 1.5, 0.1]))
    >>> round(estimate.value, 3), round(estimate.low, 3), round(estimate.high, 3)
    (0.283, 0.0, 2.283)
    """
    value = float(values.mean())
    influence = sum_units((values - value) / len(values), groups)
    n_units = len(influence)
    if n_units < 2:
        return Estimate(value, 0.0, upper, level)
    deviation = math.sqrt(variance_of(values - value, groups)) / len(values)
    # Below 1e-90 its cube is no number any more.
    if deviation <= max(1e-12 * abs(value), 1e-90):
        return Estimate(value, value, value, level)
    # c is the skewness of the units divided by the root of their number.
    c = float(np.sum(influence**3)) / deviation**3
    z = quantile(level)
    low, high = (value - deviation * _undo_hall(t, c) for t in (z, -z))
    return Estimate(value, min(max(low, 0.0), value), max(min(high, upper), value), level)


def _undo_hall(z: float, c: float) -> float:
    """The t statistic that Hall's transformation takes to ``z``, at skewness over root n ``c``."""
    if abs(c) < 1e-6:
        return z
    return float(np.cbrt(1 + c * (z - c / 6)) - 1) * 3 / c
