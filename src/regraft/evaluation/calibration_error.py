"""The expected calibration error, with limits that know that it is biased upwards.

N images, G groups, B bins, R replicates.
"""

from __future__ import annotations

import numpy as np

from regraft.evaluation.intervals import Estimate
from regraft.evaluation.metrics import Array, Reliability

_BLOCK_DRAWS = 2**21


def estimate_ece(
    table: Reliability,
    is_right: Array,
    confidence: Array,
    bins: Array,
    *,
    groups: Array | None = None,
    level: float = 0.95,
    n_replicates: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Expected calibration error, with limits that know that it is biased upwards.

    As a sum of absolute values it is above 0 even for perfect probabilities, and resampling pushes
    it up further, so the usual bootstrap interval can lie wholly above the value. Here the low
    limit is the value less the error that counting alone can make (the sum over bins of how far
    resampled accuracies stray, at its ``level`` quantile), so 0 lies inside unless more than chance
    was seen. The high limit adds how far the resampled error itself moves. Both err on the wide
    side.

    Resampled are the counts of the B bins (how many images, how many right), so the cost does not
    depend on N. Bins get half a right and half a wrong image more, or a bin with 3 of 3 right would
    be taken as certain. With groups, whole groups are drawn as well, and the wider limits count.

    Parameters
    ----------
    table : Reliability
    is_right, confidence, bins : array of shape (N,)
        Whether each answer is right, and :func:`regraft.evaluation.metrics.binned`.

    References
    ----------
    Guo et al. (2017), ICML. The bias: Kumar, Liang, Ma (2019), NeurIPS.
    """
    rng = np.random.default_rng(seed)
    value = table.ece
    below, above = _ece_distances(*_resample_bins(table, n_replicates, rng), level)
    if groups is not None:
        if groups.max() == 0:
            return Estimate(value, 0.0, 1.0, level)
        sums = _gap_sums(is_right - confidence, bins, len(table.n), groups)
        by_groups = _ece_distances(*_resample_groups(*sums, n_replicates, rng), level)
        below, above = max(below, by_groups[0]), max(above, by_groups[1])
    return Estimate(value, max(value - below, 0.0), min(value + above, 1.0), level)


def _ece_distances(gaps: Array, centre: Array, level: float) -> tuple[float, float]:
    """How far down and up to go, from resampled gaps (R, B) around a centre (B,) or (R, B)."""
    noise = np.abs(gaps - centre).sum(axis=1)
    move = np.abs(gaps).sum(axis=1) - np.abs(centre).sum(axis=-1)
    below, above = np.quantile(noise, level), np.quantile(np.abs(move), level)
    return float(below), float(above)


def _resample_bins(
    table: Reliability, n_replicates: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    filled = table.n > 0
    n, confidence = table.n[filled], table.confidence[filled]
    rate = (table.accuracy[filled] * n + 0.5) / (n + 1)
    drawn = rng.multinomial(n.sum(), n / n.sum(), size=n_replicates)
    right = rng.binomial(drawn, rate)
    return (right - confidence * drawn) / n.sum(), (rate - confidence) * drawn / n.sum()


def _gap_sums(gaps: Array, bins: Array, n_bins: int, groups: Array) -> tuple[Array, Array]:
    """Sum of right minus confidence by group and bin (G, B), and images by group (G,)."""
    sizes = np.bincount(groups)
    cells = np.bincount(groups * n_bins + bins, weights=gaps, minlength=len(sizes) * n_bins)
    return cells.reshape(-1, n_bins), sizes


def _resample_groups(
    sums: Array, sizes: Array, n_replicates: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    n_groups = len(sizes)
    step = max(1, _BLOCK_DRAWS // n_groups)
    gaps = []
    for start in range(0, n_replicates, step):
        rows = min(step, n_replicates - start)
        picks = rng.integers(0, n_groups, size=(rows, n_groups))
        cells = (picks + n_groups * np.arange(rows)[:, None]).ravel()
        weights = np.bincount(cells, minlength=rows * n_groups).reshape(rows, n_groups)
        weights = weights.astype(float)
        gaps.append((weights @ sums) / (weights @ sizes)[:, None])
    return np.concatenate(gaps), sums.sum(axis=0) / sizes.sum()
