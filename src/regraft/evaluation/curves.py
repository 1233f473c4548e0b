"""The points of pictures: ROC, precision and recall, accuracy against coverage.

Every curve is exact where it is computed (images with one score come together, never one after the
other) and then thinned: the points go that no eye would miss. Numbers are never read off a thinned
curve; `metrics.auroc` sees all images.

N images, K classes, P points. Undefined is NaN, as in `metrics`: without images of the class there
is no share of them.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from regraft.evaluation.blocks import called, sureness
from regraft.evaluation.calibration import softmax
from regraft.evaluation.intervals import score_interval
from regraft.evaluation.metrics import Array, divide

MAX_POINTS = 200
# Of the axis: a point this near to the line between its neighbours moves no pixel.
_UNSEEN = 5e-4


@dataclass(frozen=True, eq=False)
class Roc:
    """Images of the class found against false alarms; from (0, 0) to (1, 1), neither ever falls.

    Attributes
    ----------
    false_positive_rate, true_positive_rate : array of shape (P,)
    """

    false_positive_rate: Array
    true_positive_rate: Array


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Share of the called that are right against share found; recall rises from 0 to 1.

    Attributes
    ----------
    recall, precision : array of shape (P,)
        The first point is (0, 1) by convention, where nothing is called yet.
    """

    recall: Array
    precision: Array


@dataclass(frozen=True, eq=False)
class Coverage:
    """Accuracy of the images kept when the least sure are rejected; coverage rises to 1.

    Attributes
    ----------
    coverage : array of shape (P,)
        Share of the images kept.
    accuracy, low, high : array of shape (P,)
        Of those kept, with Wilson's interval. Each interval speaks for its own threshold, named
        beforehand, not for the best of all.
    threshold : array of shape (P,)
        Kept is what has a top probability of at least this.
    """

    coverage: Array
    accuracy: Array
    low: Array
    high: Array
    threshold: Array


def roc_curve(is_class: Array, score: Array, *, max_points: int | None = MAX_POINTS) -> Roc:
    """Receiver operating characteristic of one class against the rest.

    Parameters
    ----------
    is_class : bool array of shape (N,)
    score : array of shape (N,)
        Higher means: rather this class.
    max_points : int or None
        None keeps every threshold; the area under it is then :func:`metrics.auroc`.

    Examples
    --------
    >>> curve = roc_curve(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1]))
    >>> curve.false_positive_rate, curve.true_positive_rate
    (array([0. , 0. , 0.5, 1. ]), array([0. , 0.5, 1. , 1. ]))
    """
    hits, called, _ = _counts(is_class, score)
    x, y = _shares(np.append(0, called - hits)), _shares(np.append(0, hits))
    rows = _thinned(x, y, max_points)
    return Roc(x[rows], y[rows])


def precision_recall_curve(
    is_class: Array, score: Array, *, max_points: int | None = MAX_POINTS
) -> PrecisionRecall:
    """Precision against recall of one class against the rest, at every threshold.

    Parameters
    ----------
    is_class : bool array of shape (N,)
    score : array of shape (N,)

    Examples
    --------
    >>> curve = precision_recall_curve(np.array([1, 1, 0]) > 0, np.array([0.9, 0.4, 0.6]))
    >>> curve.recall, curve.precision.round(3)
    (array([0. , 0.5, 0.5, 1. ]), array([1.   , 1.   , 0.5  , 0.667]))
    """
    hits, called, _ = _counts(is_class, score)
    recall, precision = _shares(np.append(0, hits)), np.append(1.0, hits / called)
    rows = _thinned(recall, precision, max_points)
    return PrecisionRecall(recall[rows], precision[rows])


def coverage_curve(
    y_true: Array, proba: Array, *, level: float = 0.95, max_points: int | None = MAX_POINTS
) -> Coverage:
    """Accuracy of those kept when the least sure images are rejected, at every threshold.

    The intervals take images as independent; photographs of one object make them too narrow.

    Parameters
    ----------
    y_true : int array of shape (N,)
    proba : array of shape (N, K)

    References
    ----------
    El-Yaniv, Wiener (2010), JMLR 11, 1605-1641: the risk-coverage curve, here upside down.

    Examples
    --------
    >>> curve = coverage_curve(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    >>> curve.coverage, curve.accuracy, curve.threshold
    (array([0.5, 1. ]), array([1. , 0.5]), array([0.9, 0.6]))
    """
    return coverage_of(called(proba) == y_true, sureness(proba), level=level, max_points=max_points)


def coverage_of(
    is_right: Array, confidence: Array, *, level: float = 0.95, max_points: int | None = MAX_POINTS
) -> Coverage:
    """As `coverage_curve`, of whether each image is right and how sure its answer is."""
    hits, kept, threshold = _counts(is_right, confidence)
    accuracy = hits / kept
    low, high = score_interval(accuracy, kept, level=level)
    coverage = kept / kept[-1]
    rows = _thinned(coverage, accuracy, max_points)
    return Coverage(*(values[rows] for values in (coverage, accuracy, low, high, threshold)))


def without_temperature(proba: Array, temperature: float) -> Array:
    """Probabilities as they were before they were made to mean what they say.

    ``p = softmax(s / T)`` leaves ``log p = s / T`` but for a constant in each row, which softmax
    does not see: so ``softmax(T log p)`` is ``softmax(s)``. What was rounded to 0 stays 0.

    Parameters
    ----------
    proba : array of shape (N, K)
    temperature : float, above 0
        As `fit_temperature` gave it.

    Examples
    --------
    >>> without_temperature(np.array([[0.1, 0.9]]), 0.5).round(2)
    array([[0.25, 0.75]])
    """
    with np.errstate(divide="ignore"):
        return softmax(np.log(proba), temperature=1 / temperature)


def _counts(is_class: Array, score: Array) -> tuple[Array, Array, Array]:
    """At every distinct score, highest first: images of the class and images in all at or above."""
    is_class, score = np.asarray(is_class, dtype=bool), np.asarray(score)
    if score.ndim != 1 or is_class.shape != score.shape or not score.size:
        raise ValueError(
            f"need is_class (N,) and score (N,) with N of at least 1, "
            f"got shapes {is_class.shape} and {score.shape}"
        )
    if np.isnan(score).any():
        raise ValueError(f"scores must be numbers, {np.isnan(score).sum()} of {len(score)} are NaN")
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(score) - 1)
    return np.cumsum(is_class[order])[last], last + 1, ordered[last]


def _shares(counts: Array) -> Array:
    """Running counts as shares of the last one, NaN if that is 0."""
    return divide(counts, np.full(counts.shape, counts[-1]))


def _thinned(x: Array, y: Array, max_points: int | None) -> Array:
    """Rows of the points that shape the line, in order.

    Farthest first: of all points the one that lies farthest from the line so far is put in, until
    what is left lies on the line for any eye, or there are `max_points`.

    References
    ----------
    Ramer (1972), Computer Graphics and Image Processing 1(3). Douglas, Peucker (1973),
    Cartographica 10(2).
    """
    if max_points is None or len(x) < 3 or np.isnan(x).any() or np.isnan(y).any():
        return np.arange(len(x))
    kept = [0, len(x) - 1]
    waiting = [_farthest(x, y, 0, len(x) - 1)]
    while len(kept) < max_points and -waiting[0][0] > _UNSEEN:
        _, row, start, stop = heapq.heappop(waiting)
        kept.append(row)
        heapq.heappush(waiting, _farthest(x, y, start, row))
        heapq.heappush(waiting, _farthest(x, y, row, stop))
    return np.sort(kept)


def _farthest(x: Array, y: Array, start: int, stop: int) -> tuple[float, int, int, int]:
    """Minus the largest distance from the line between two points, and the row it is at."""
    if stop - start < 2:
        return 0.0, start, start, stop
    across, up = x[stop] - x[start], y[stop] - y[start]
    dx, dy = x[start + 1 : stop] - x[start], y[start + 1 : stop] - y[start]
    length = np.hypot(across, up)
    distance = np.abs(across * dy - up * dx) / length if length > 0 else np.hypot(dx, dy)
    at = int(distance.argmax())
    return -float(distance[at]), start + 1 + at, start, stop
