"""Which of two classifiers is better on the same images, and whether that can be told at all.

Both saw the same images, so only those on which they differ say anything; two overlapping
intervals of accuracy say much less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.evaluation.influence import group_codes
from regraft.evaluation.intervals import Estimate, score_interval
from regraft.evaluation.metrics import Array

_BLOCK_SIGNS = 2**21


@dataclass(frozen=True)
class PairedComparison:
    """Two classifiers, A and B, on the same images.

    Attributes
    ----------
    n : int
        Images.
    only_a, only_b : int
        Images that only A, or only B, has right.
    difference : Estimate
        Accuracy of A minus that of B.
    p_value : float
        How often a difference at least this large comes by chance if both are equally good.
    """

    n: int
    only_a: int
    only_b: int
    difference: Estimate
    p_value: float

    @property
    def is_tie(self) -> bool:
        """The difference may be chance: its interval holds 0, or the p-value is not small."""
        holds_zero = self.difference.low <= 0 <= self.difference.high
        return holds_zero or self.p_value >= 1 - self.difference.level

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "n": self.n,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "difference": self.difference.to_dict(),
            "p_value": self.p_value,
            "tie": self.is_tie,
        }


def compare_paired(
    is_right_a: Array,
    is_right_b: Array,
    *,
    groups: Iterable[Any] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Compare two classifiers by the images that each has right.

    The interval is Newcombe's for paired proportions, which has a width even when both agree on
    all images; the p-value is McNemar's exact one. With groups, the interval is taken at the
    effective number of images, and the p-value comes from swapping A and B in whole groups.

    Parameters
    ----------
    is_right_a, is_right_b : bool array of shape (N,), the same images in the same order
    groups : one key per image, optional
        Images that belong together, such as photographs of one plant.
    level : float in (0, 1)
    seed : int
        For the swaps; without groups nothing is random.

    Raises
    ------
    ValueError
        If the lengths differ or there are no images.

    References
    ----------
    McNemar (1947), Psychometrika 12(2). Newcombe (1998), Statistics in Medicine 17, 2635-2650,
    method 10.

    Examples
    --------
    >>> a = np.array([True] * 44 + [False] * 6)
    >>> b = np.array([True] * 36 + [False] * 8 + [True] + [False] * 5)
    >>> result = compare_paired(a, b)
    >>> result.only_a, result.only_b, round(result.p_value, 4)
    (8, 1, 0.0391)
    >>> print(f"{result.difference.low:.3f} to {result.difference.high:.3f}")
    0.020 to 0.264
    """
    a, b = np.asarray(is_right_a, dtype=bool), np.asarray(is_right_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError(
            f"need two arrays (N,) over the same images, got shapes {a.shape} and {b.shape}"
        )
    codes = group_codes(groups, len(a))
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    gain = a.astype(np.int64) - b
    if codes is None:
        size, p_value = float(len(a)), mcnemar_p_value(only_a, only_b)
    else:
        size, p_value = _size_in_groups(gain, codes), _swap_p_value(gain, codes, seed=seed)
    return PairedComparison(len(a), only_a, only_b, _newcombe(a, b, size, level), p_value)


def mcnemar_p_value(only_a: int, only_b: int) -> float:
    """Two-sided exact McNemar test: could the images that differ fall this unevenly by a coin?

    Parameters
    ----------
    only_a, only_b : int
        Images that only one of the two has right.

    Returns
    -------
    float
        1.0 when they never differ.

    Examples
    --------
    >>> round(mcnemar_p_value(8, 1), 4)  # 2 * (1 + 9) / 2**9
    0.0391
    """
    n = only_a + only_b
    k = np.arange(min(only_a, only_b) + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_terms = log_factorial[n] - log_factorial[k] - log_factorial[n - k] - n * math.log(2)
    return min(1.0, 2 * float(np.exp(log_terms).sum()))


def _newcombe(a: Array, b: Array, size: float, level: float) -> Estimate:
    """Wilson's limits of both accuracies, put together with the correlation of the two."""
    p, q = float(a.mean()), float(b.mean())
    (p_low, q_low), (p_high, q_high) = score_interval([p, q], [size, size], level=level)
    phi = _correlation(a, b, size)
    below = (p - p_low) ** 2 - 2 * phi * (p - p_low) * (q_high - q) + (q_high - q) ** 2
    above = (p_high - p) ** 2 - 2 * phi * (p_high - p) * (q - q_low) + (q - q_low) ** 2
    difference = p - q
    low, high = difference - math.sqrt(max(below, 0)), difference + math.sqrt(max(above, 0))
    return Estimate(difference, max(low, -1.0), min(high, 1.0), level)


def _correlation(a: Array, b: Array, size: float) -> float:
    """Newcombe's phi: the correlation, moved towards 0 by half an image if it is positive."""
    both, neither = float(np.mean(a & b)), float(np.mean(~a & ~b))
    only_a, only_b = float(np.mean(a & ~b)), float(np.mean(b & ~a))
    scale = math.sqrt(a.mean() * (1 - a.mean()) * b.mean() * (1 - b.mean()))
    if scale == 0:
        return 0.0
    excess = both * neither - only_a * only_b
    if excess > 0:
        excess = max(excess - 0.5 / size, 0.0)
    return excess / scale


def _size_in_groups(gain: Array, groups: Array) -> float:
    """Independent images that would leave the difference as uncertain as these groups do."""
    n_images, n_groups = len(gain), int(groups.max()) + 1
    residuals = gain - gain.mean()
    sums = np.bincount(groups, weights=residuals)
    squares = float(np.sum(sums**2)) * n_groups / max(n_groups - 1, 1)
    if n_groups < 2 or squares < 1e-12:
        return float(n_groups)
    return float(np.clip(n_images * float(np.sum(residuals**2)) / squares, 0.125, n_images))


def _swap_p_value(gain: Array, groups: Array, *, seed: int, n_swaps: int = 9999) -> float:
    """Share of random swaps of A and B, by group, that differ at least as much as was seen."""
    sums = np.bincount(groups, weights=gain)
    sums = sums[sums != 0]
    seen = abs(sums.sum())
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK_SIGNS // max(1, len(sums)))
    as_large = 0
    for start in range(0, n_swaps, step):
        rows = min(step, n_swaps - start)
        signs = rng.integers(0, 2, size=(rows, len(sums)), dtype=np.int8) * 2.0 - 1.0
        as_large += int(np.sum(np.abs(signs @ sums) >= seen - 1e-9))
    return (as_large + 1) / (n_swaps + 1)
