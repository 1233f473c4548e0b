"""How sure a measured number is: an `Estimate`, and Wilson's interval, on which most of them rest.

Every metric here is a smooth function of averages over images, and has its interval in closed form:
its variance comes from `influence` values, and the interval is drawn on the scale that suits it:
Wilson's for fractions (`rates`), logit for `auroc`, skewness-corrected for a `mean_loss`. Only the
`calibration_error` needs random draws. Tried first and left: the percentile bootstrap; it covers
worse (a mean log loss on 50 images: 89 % against 93 %) and has width zero on a perfect score.
docs/metrics.md has the simulations, and where these intervals are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from regraft.evaluation.metrics import Array


@dataclass(frozen=True)
class Estimate:
    """A measured value with its interval; NaN in all three where the metric is undefined.

    Examples
    --------
    >>> Estimate(0.9, 0.786, 0.957, 0.95).to_dict()
    {'value': 0.9, 'low': 0.786, 'high': 0.957, 'level': 0.95}
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    def to_dict(self) -> dict[str, float | None]:
        """Plain values for JSON; NaN, which JSON lacks, becomes None."""
        value, low, high = (None if math.isnan(x) else x for x in (self.value, self.low, self.high))
        return {"value": value, "low": low, "high": high, "level": self.level}

    @classmethod
    def from_dict(cls, kept: Mapping[str, float | None]) -> Estimate:
        """Back from :meth:`to_dict`.

        Examples
        --------
        >>> Estimate.from_dict(Estimate(0.9, 0.786, 0.957).to_dict())
        Estimate(value=0.9, low=0.786, high=0.957, level=0.95)
        """
        numbers = (kept[name] for name in ("value", "low", "high", "level"))
        return cls(*(math.nan if x is None else float(x) for x in numbers))


def wilson_interval(n_correct: int, n_images: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval for a proportion such as accuracy, by Wilson's score method.

    Chosen over the normal approximation because that one collapses to width zero at
    100% correct, which small test sets reach often. It assumes independent images: when
    several images show one object, use :func:`estimate_rates` with ``groups``.

    Parameters
    ----------
    n_correct : int, 0 <= n_correct <= n_images
    n_images : int, at least 1
    level : float in (0, 1)
        Coverage; 0.95 means 95%.

    Returns
    -------
    low, high : float
        Fractions in [0, 1], not percent.

    References
    ----------
    Wilson, E. B. (1927), JASA 22(158). Compared in Brown, Cai, DasGupta (2001), Stat. Sci. 16(2).

    Examples
    --------
    >>> low, high = wilson_interval(45, 50)
    >>> print(f"{low:.3f} to {high:.3f}")
    0.786 to 0.957
    """
    if not 0 <= n_correct <= n_images or n_images < 1:
        raise ValueError(f"need 0 <= n_correct <= n_images, got {n_correct} of {n_images}")
    low, high = score_interval(n_correct / n_images, n_images, level=level)
    return float(low), float(high)


def score_interval(value: Any, size: Any, *, level: float = 0.95) -> tuple[Array, Array]:
    """Wilson's interval for fractions measured on ``size`` images, which need not be whole.

    Parameters
    ----------
    value : float or array, in [0, 1] or NaN
    size : float or array of the same shape, above 0 where ``value`` is defined

    Returns
    -------
    low, high : array
    """
    value, size = np.asarray(value, dtype=float), np.asarray(size, dtype=float)
    z2 = quantile(level) ** 2
    half = np.sqrt(z2 * (value * (1 - value) * size + z2 / 4))
    low = (value * size + z2 / 2 - half) / (size + z2)
    high = (value * size + z2 / 2 + half) / (size + z2)
    # Rounding can pass the value, 0 or 1 by one unit in the last place.
    return np.clip(low, 0.0, value), np.clip(high, value, 1.0)


def quantile(level: float) -> float:
    """Standard normal quantile that cuts off ``(1 - level) / 2`` above; 1.96 for 0.95."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1 (0.95 means 95 %), got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


def estimates(values: Array, low: Array, high: Array, *, level: float) -> list[Estimate]:
    rows = zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Estimate(*row, level) for row in rows]
