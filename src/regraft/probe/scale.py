"""The one weight of a head's scores, their inverse temperature: `pool` for a single head.

A choice fits some hundred of them, so this works on one column of sums where a pool has matrices;
`tests/test_pool.py` compares the two.

N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from regraft.probe.base import Codes, Floats
from regraft.probe.newton import START, descend


def fit_weight(scores: Floats, y: Codes, *, start: float | None = None) -> float:
    """The weight, not negative, at which the softmax of the scores has the least log loss.

    The target is not 1 but ``1 - 1 / (N + 2)`` (:func:`regraft.probe.pool.fit_weights`).

    Parameters
    ----------
    scores : (N, K) float, finite
        Left out.
    y : (N,) codes
    start : float, optional
        Where to begin: the weight of much the same scores.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, 200)
    >>> scores = rng.normal(size=(200, 3)) + 2 * np.eye(3)[y]
    >>> weight = fit_weight(scores, y)
    >>> bool(abs(fit_weight(10 * scores, y) - weight / 10) < 1e-6)
    True
    """
    below = Below.of(scores, y)
    weight = START if start is None else start * below.scale
    weight = descend(below.sums, lambda at, slope, bend: max(-slope / bend, -at), weight)
    return float(weight / below.scale)


def nested_losses(scores: Floats, y: Codes, fold: Codes, weight: float) -> Floats:
    """``(N,)`` log losses, each image's weight fitted without its fold, by one Newton step from
    that of all images (:func:`regraft.probe.pool.nested_losses`)."""
    below = Below.of(scores, y)
    whole = weight * below.scale
    slopes, bends = below.expansion(whole)
    sizes, slope, bend = (np.bincount(fold, sums) for sums in (np.ones(len(y)), slopes, bends))
    rest = len(y) - sizes
    with np.errstate(invalid="ignore", divide="ignore"):
        step = (slope.sum() - slope) / (bend.sum() - bend + 1e-9 * rest)
    weights = np.where(rest > 0, np.maximum(whole - step, 0.0), whole)[fold]
    total = _row_sums(np.exp(below.z * weights.astype(below.z.dtype)[:, None]))
    losses: Floats = np.log(total) - weights * below.true
    return losses


@dataclass(frozen=True, eq=False)
class Below:
    """Scores from each row's highest, of unit mean square about the rows' means.

    Attributes
    ----------
    z : (N, K)
        None above 0, so that no exponential overflows.
    scale : float
        What the scores were divided by.
    true, target : (N,)
        Those of the truth, and smoothed.
    """

    z: Floats
    scale: float
    true: Floats
    target: Floats

    @classmethod
    def of(cls, scores: Floats, y: Codes) -> Below:
        """Of scores at hand."""
        n, n_classes = scores.shape
        z = scores - (_row_sums(scores) / n_classes)[:, None]
        scale = float(np.sqrt(np.vdot(z, z) / z.size)) or 1.0
        z /= scale
        top, smoothing = z.max(axis=1), 1 / (n + 2)
        true = z[np.arange(n), y]
        target = true * (1 - smoothing - smoothing / (n_classes - 1)) - top
        z -= top[:, None]
        return cls(z, scale, true - top, target.astype(np.float64))

    def sums(self, weight: float) -> tuple[float, float, float]:
        """Mean log loss at a weight, its slope and curvature."""
        total, first, second = self._moments(weight)
        n = len(total)
        loss = float(np.log(total).sum()) / n - weight * self.mean_target
        bend = float(second.sum() - first @ first) / n
        return loss, float(first.sum()) / n - self.mean_target, bend + 1e-9

    def expansion(self, weight: float) -> tuple[Floats, Floats]:
        """``(N,)`` slopes and curvatures of the images' losses."""
        _, first, second = self._moments(weight)
        return first - self.target, second - first**2

    @cached_property
    def mean_target(self) -> float:
        """Over the images."""
        return float(self.target.mean())

    def _moments(self, weight: float) -> tuple[Floats, Floats, Floats]:
        """``(N,)`` float64 sums of the exponentials, means and mean squares under them."""
        shares = np.exp(self.z * self.z.dtype.type(weight))
        total = _row_sums(shares).astype(np.float64)
        shares *= self.z
        first = _row_sums(shares) / total
        shares *= self.z
        return total, first, _row_sums(shares) / total


def _row_sums(rows: Floats) -> Floats:
    """By one product: NumPy's sums over short rows take longer."""
    found: Floats = rows @ np.ones(rows.shape[1], rows.dtype)
    return found
