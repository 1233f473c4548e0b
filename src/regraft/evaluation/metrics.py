"""How good predictions are, as plain functions on arrays.

N images, K classes, B bins. ``y_true`` and ``y_pred`` are integer codes ``(N,)``, ``proba`` is
``(N, K)`` with rows that sum to 1. What is undefined (recall of a class with no images) is NaN and
left out of averages; it is never taken as 0 or 1. ``proba`` are read in blocks, so that no function
makes a second array of that size (:mod:`regraft.evaluation.blocks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.evaluation.blocks import called, iterate_rows, own, sureness
from regraft.evaluation.confusion import Confusion

Array = NDArray[Any]

# The largest class over the smallest that passes for even.
EVEN = 1.5


def accuracy(y_true: Array, y_pred: Array, *, sample_weight: Array | None = None) -> float:
    """Fraction of images whose predicted class is the true one; 1 is best.

    Examples
    --------
    >>> accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
    0.75
    """
    return float(np.average(np.equal(y_true, y_pred), weights=sample_weight))


def recall(confusion: Confusion) -> Array:
    """Of the images of each class, the fraction found; NaN for a class with no images.

    Returns
    -------
    array of shape (K,)

    Examples
    --------
    >>> recall(Confusion.of_matrix([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    array([0.75, 1.  ,  nan])
    """
    return divide(confusion.right, confusion.true)


def precision(confusion: Confusion) -> Array:
    """Of the images called each class, the fraction that are; NaN for a class never predicted.

    Examples
    --------
    >>> precision(Confusion.of_matrix([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    array([1. , 0.8, nan])
    """
    return divide(confusion.right, confusion.predicted)


def f1(confusion: Confusion) -> Array:
    """Harmonic mean of precision and recall per class, as 2 TP / (2 TP + FP + FN).

    NaN only for a class that is neither present nor predicted; 0 where all its images are missed,
    also when precision alone would be undefined.

    Examples
    --------
    >>> f1(Confusion.of_matrix([[3, 1], [1, 3]]))
    array([0.75, 0.75])
    """
    return divide(2 * confusion.right, confusion.predicted + confusion.true)


def balanced_accuracy(confusion: Confusion) -> float:
    """Mean recall over the classes that have images: each class counts the same.

    References
    ----------
    Brodersen, Ong, Stephan, Buhmann (2010), ICPR, 3121-3124.

    Examples
    --------
    >>> balanced_accuracy(Confusion.of_matrix([[90, 0], [5, 5]]))  # accuracy would be 0.95
    0.75
    """
    return nan_mean(recall(confusion))


def macro_f1(confusion: Confusion) -> float:
    """Mean F1 over the classes that are present or predicted.

    Examples
    --------
    >>> macro_f1(Confusion.of_matrix([[3, 1], [1, 3]]))
    0.75
    """
    return nan_mean(f1(confusion))


def auroc(is_positive: Array, scores: Array) -> float:
    """Chance that a random positive scores above a random negative; ties count one half.

    NaN when either kind is missing. 0.5 is guessing, 1 is perfect.

    Parameters
    ----------
    is_positive : bool array of shape (N,)
    scores : array of shape (N,)
        Any increasing scale.

    References
    ----------
    Hanley, McNeil (1982), Radiology 143(1): the area is the Mann-Whitney statistic.

    Examples
    --------
    >>> auroc(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1]))
    0.875
    """
    above, _ = placements(scores[is_positive], scores[~is_positive])
    return float(above.mean()) if above.size else float("nan")


def log_loss(y_true: Array, proba: Array, *, sample_weight: Array | None = None) -> float:
    """Mean of minus the natural logarithm of the probability given to the true class; 0 is best.

    Probabilities are clipped at the machine epsilon of their dtype, as scikit-learn does, so that
    one confident mistake costs at most 36 (float64) or 16 (float32) and not infinity.

    Examples
    --------
    >>> round(log_loss(np.array([0, 1]), np.array([[0.5, 0.5], [0.2, 0.8]])), 4)
    0.4581
    """
    return float(np.average(log_losses(y_true, proba), weights=sample_weight))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against accuracy, in B equal-width bins of the top probability.

    Attributes
    ----------
    edges : array of shape (B + 1,)
        Bin ``b`` holds confidences in ``(edges[b], edges[b + 1]]``.
    n : array of shape (B,)
        Images (or their weight) in each bin.
    confidence, accuracy : array of shape (B,)
        Mean top probability, and fraction right; NaN in an empty bin.
    """

    edges: Array
    n: Array
    confidence: Array
    accuracy: Array

    @property
    def ece(self) -> float:
        """Expected calibration error: mean of abs(accuracy - confidence), weighted by ``n``."""
        filled = self.n > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float(np.average(gaps, weights=self.n[filled]))


def reliability_table(
    y_true: Array, proba: Array, *, n_bins: int = 15, sample_weight: Array | None = None
) -> Reliability:
    """Group images by how sure the classifier was, and count how often it was right.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), ICML, with 15 bins.

    Examples
    --------
    >>> table = reliability_table(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]), n_bins=2)
    >>> table.n, table.confidence, table.accuracy
    (array([0, 2]), array([ nan, 0.75]), array([nan, 0.5]))
    >>> table.ece
    0.25
    """
    return reliability_of(
        called(proba) == y_true, sureness(proba), n_bins=n_bins, sample_weight=sample_weight
    )


def reliability_of(
    is_right: Array, confidence: Array, *, n_bins: int = 15, sample_weight: Array | None = None
) -> Reliability:
    """As `reliability_table`, of whether each image is right and how sure its answer is."""
    confidence, bins = binned(confidence, n_bins)
    weight = np.ones(len(bins), dtype=np.int64) if sample_weight is None else sample_weight
    n = np.bincount(bins, weights=weight, minlength=n_bins)
    return Reliability(
        edges=np.linspace(0, 1, n_bins + 1),
        n=n if sample_weight is not None else n.astype(np.int64),
        confidence=divide(np.bincount(bins, weights=weight * confidence, minlength=n_bins), n),
        accuracy=divide(np.bincount(bins, weights=weight * is_right, minlength=n_bins), n),
    )


# -- One value per image, from which the means above and their intervals are made --


def log_losses(y_true: Array, proba: Array) -> Array:
    """Minus log of the clipped probability of the true class, float64 of shape (N,)."""
    p_true = own(proba, y_true)
    eps = np.finfo(p_true.dtype).eps
    return -np.log(np.clip(p_true, eps, 1 - eps).astype(np.float64))


def brier_scores(y_true: Array, proba: Array) -> Array:
    """Squared distance of each row from its one-hot truth, float64 of shape (N,)."""
    p_true = own(proba, y_true).astype(np.float64)
    squares = np.concatenate(
        [np.einsum("nk,nk->n", p, p, dtype=np.float64) for p in iterate_rows(proba)]
    )
    # Rounding can leave a perfect row at -1e-16.
    return np.maximum(squares - 2 * p_true + 1, 0.0)


def true_ranks(y_true: Array, proba: Array) -> Array:
    """Place of the true class among the most probable, int of shape (N,); 0 is first."""
    columns = np.arange(proba.shape[1])
    ranks, start = [], 0
    for p in iterate_rows(proba):
        y = y_true[start : start + len(p), None]
        p_true = np.take_along_axis(p, y, axis=1)
        ranks.append(np.sum((p > p_true) | ((p == p_true) & (columns < y)), axis=1))
        start += len(p)
    return np.concatenate(ranks)


def binned(confidence: Array, n_bins: int) -> tuple[Array, Array]:
    """Top probabilities, and the bin of each; both of shape (N,)."""
    confidence = np.minimum(confidence.astype(np.float64), 1.0)
    bins = np.searchsorted(np.linspace(0, 1, n_bins + 1), confidence, side="left") - 1
    return confidence, np.maximum(bins, 0)


def placements(positives: Array, negatives: Array) -> tuple[Array, Array]:
    """For each positive the fraction of negatives below it, for each negative of positives above.

    Ties count one half. Both means are the AUROC. Only the (usually few) positives are sorted, so
    the cost is O((m + n) log m).

    Returns
    -------
    above : array of shape (m,)
    below : array of shape (n,)
        Both empty when either side has no scores.
    """
    m, n = len(positives), len(negatives)
    if m == 0 or n == 0:
        return np.empty(0), np.empty(0)
    order = np.argsort(positives)
    ordered = positives[order]
    less = np.searchsorted(ordered, negatives, side="left")
    less_or_equal = less.copy()
    is_tied = ordered[np.minimum(less, m - 1)] == negatives
    less_or_equal[is_tied] = np.searchsorted(ordered, negatives[is_tied], side="right")
    # The negatives at or below the i-th smallest positive are those with at most i positives below.
    beaten = np.cumsum(
        np.bincount(less, minlength=m + 1)[:m] + np.bincount(less_or_equal, minlength=m + 1)[:m]
    )
    above = np.empty(m)
    above[order] = beaten / (2 * n)
    return above, 1 - (less + less_or_equal) / (2 * m)


# -- Small arithmetic --


def divide(numerator: Array, denominator: Array) -> Array:
    """Quotient as float, NaN where the denominator is 0."""
    out = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=out, where=np.asarray(denominator) > 0)
    return out


def unit_rows(X: Array) -> Array:
    """Rows at length 1, so that products of rows are cosines; a row of zeros stays. Float64 stays,
    all else becomes float32."""
    X = np.asarray(X, dtype=np.float64 if X.dtype == np.float64 else np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", X, X))[:, None]
    return X / np.where(lengths > 0, lengths, 1)


def nan_mean(values: Array) -> float:
    """Mean of what is defined, NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def is_even(counts: Sequence[int]) -> bool:
    """Whether the classes that have images have about equally many.

    Examples
    --------
    >>> is_even([30, 20, 0]), is_even([31, 20])
    (True, False)
    """
    present = [n for n in counts if n]
    return not present or max(present) <= EVEN * min(present)
