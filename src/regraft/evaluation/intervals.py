"""How sure a measured number is: one interval for each kind of metric, in closed form.

Every metric here is a smooth function of averages over images. Its variance is the sum of squares
of its *influence values* (how much each image moves it); images of one group are summed first, so
that ten photographs of one plant count as one plant. Then the interval is drawn on the scale that
suits the metric: Wilson's for fractions, logit for AUROC, skewness-corrected for mean losses. Only
the calibration error needs random draws. Tried first and left: the percentile bootstrap; it covers
worse (a mean log loss on 50 images: 89 % against 93 %) and has width zero on a perfect score.
docs/metrics.md has the simulations, and where these intervals are too narrow.

N images, K classes, G groups, B bins, R replicates. ``groups`` are codes ``0..G-1`` or None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from regraft.data.cells import is_missing
from regraft.evaluation.confusion import Confusion
from regraft.evaluation.metrics import (
    Array,
    Reliability,
    balanced_accuracy,
    divide,
    f1,
    iterate_columns,
    macro_f1,
    placements,
    recall,
)

_BLOCK_DRAWS = 2**21


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


def estimate_rates(
    is_hit: Array, codes: Array, n_classes: int, *, groups: Array | None = None, level: float = 0.95
) -> list[Estimate]:
    """Fraction of hits in each class, by Wilson's method; NaN for a class with no images.

    Recall with ``codes = y_true``, precision with ``codes = y_pred``, accuracy with all codes 0.
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
    >>> [all_images] = estimate_rates(np.arange(50) < 45, np.zeros(50, int), 1)
    >>> round(all_images.low, 3), round(all_images.high, 3)
    (0.786, 0.957)
    """
    rates, sizes = _rates_and_sizes(is_hit, codes, n_classes, groups)
    return _estimates(rates, *score_interval(rates, sizes, level=level), level=level)


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
    return _estimates(*(2 * j / (1 + j) for j in (rates, *limits)), level=level)


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
        _variance(influence, groups),
        at_most=_harmonic_size(n),
        without_spread=_harmonic_size(_count_groups(y_true, len(n), groups)),
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
    present = _count_groups(y_true, n_classes, groups)
    predicted = _count_groups(y_pred, n_classes, groups)
    return _estimate_average(
        macro_f1(confusion),
        _variance(influence / np.count_nonzero(total), groups),
        at_most=_harmonic_size(total),
        without_spread=_harmonic_size(present + predicted),
        level=level,
    )


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
        sizes[k] = _count_groups(is_positive.astype(np.int64), 2, groups).min()
        total += influence
    limits = _logit_interval(areas, variances, sizes, level)
    per_class = _estimates(areas, *limits, level=level)

    defined = ~np.isnan(areas)
    if not defined.any():
        return Estimate(math.nan, math.nan, math.nan, level), per_class
    macro = areas[defined].mean(keepdims=True)
    variance = np.atleast_1d(_variance(total / defined.sum(), groups))
    # Halved, because an image is a positive of one class and a negative of another.
    size = np.atleast_1d(_harmonic_size(sizes[defined]) / 2)
    [estimate] = _estimates(macro, *_logit_interval(macro, variance, size, level), level=level)
    return estimate, per_class


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
    influence = _sum_groups((values - value) / len(values), groups)
    n_units = len(influence)
    if n_units < 2:
        return Estimate(value, 0.0, upper, level)
    deviation = math.sqrt(_variance(values - value, groups)) / len(values)
    # Below 1e-90 its cube is no number any more.
    if deviation <= max(1e-12 * abs(value), 1e-90):
        return Estimate(value, value, value, level)
    # c is the skewness of the units divided by the root of their number.
    c = float(np.sum(influence**3)) / deviation**3
    z = quantile(level)
    low, high = (value - deviation * _undo_hall(t, c) for t in (z, -z))
    return Estimate(value, min(max(low, 0.0), value), max(min(high, upper), value), level)


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
        As from :func:`regraft.evaluation.metrics.confidence_bins`.

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


def quantile(level: float) -> float:
    """Standard normal quantile that cuts off ``(1 - level) / 2`` above; 1.96 for 0.95."""
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1 (0.95 means 95 %), got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


# -- Variance from influence values --


def _sum_groups(influence: Array, groups: Array | None) -> Array:
    return influence if groups is None else np.bincount(groups, weights=influence)


def _variance(influence: Array, groups: Array | None) -> float:
    sums = _sum_groups(influence, groups)
    n_units = len(sums)
    # Not sums @ sums: waking the threads of the matrix library costs more than the sum itself.
    return float(np.sum(sums**2)) * n_units / (n_units - 1) if n_units > 1 else 0.0


def _count_groups(codes: Array, n_classes: int, groups: Array | None) -> Array:
    """Independent units in each class: its images, or the groups that they belong to."""
    if groups is not None:
        codes = np.unique(groups * n_classes + codes) % n_classes
    return np.bincount(codes, minlength=n_classes)


def _effective_size(value: Any, variance: Any, at_most: Any, without_spread: Any) -> Array:
    """Independent images that would give this variance; ``without_spread`` where there is none."""
    has_spread = np.asarray(variance) > 0
    size = np.divide(value * (1 - value), variance, out=np.zeros(np.shape(value)), where=has_spread)
    # An eighth of an image still gives an interval; 0 would divide by nothing.
    size = np.where(has_spread, size, without_spread)
    return np.asarray(np.clip(size, np.minimum(0.125, at_most), at_most))


def _harmonic_size(sizes: Array) -> float:
    """Size of the single sample that is as sure as a mean of equal fractions on these samples."""
    filled = sizes[sizes > 0]
    return len(filled) ** 2 / float(np.sum(1 / filled))


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
    return rates, _effective_size(rates, variances, n, n_groups)


def _estimate_average(
    value: float, variance: float, *, at_most: float, without_spread: float, level: float
) -> Estimate:
    # Sums of K quotients leave 1e-16 where all are equal; that is no spread.
    variance = variance if variance > 1e-24 else 0.0
    size = _effective_size(value, variance, at_most, without_spread)
    low, high = score_interval(value, size, level=level)
    return Estimate(value, float(low), float(high), level)


def _estimates(values: Array, low: Array, high: Array, *, level: float) -> list[Estimate]:
    rows = zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Estimate(*row, level) for row in rows]


# -- AUROC --


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
        variance = sum(_variance(side, None) for side in sides)
    else:
        variance = _variance(influence, groups)
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


# -- Mean of a skewed value --


def _undo_hall(z: float, c: float) -> float:
    """The t statistic that Hall's transformation takes to ``z``, at skewness over root n ``c``."""
    if abs(c) < 1e-6:
        return z
    return float(np.cbrt(1 + c * (z - c / 6)) - 1) * 3 / c


# -- Calibration error --


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
