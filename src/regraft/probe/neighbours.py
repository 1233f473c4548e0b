"""Heads without optimisation: the nearest class mean, and the nearest images.

Array letters: N images, D features, K classes, F folds, M images of train in the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regraft.evaluation.metrics import unit_rows
from regraft.probe.base import Codes, Floats, Tensors
from regraft.probe.judging import rows_that_judge
from regraft.probe.linear_head import LinearHead
from regraft.probe.out_of_fold import ChosenHead, curve_point, log_losses

NEIGHBOURS = (1, 3, 5, 10, 20, 50)
# Where nothing can be measured.
USUAL_NEIGHBOURS = 5
# An image this much less similar than the nearest one has 1/e of its vote (Wu et al. 2018).
VOTE_WIDTH = 0.07
# Similarities held at once, and images of train turned to float32 at once.
MAX_NUMBERS = 16_000_000
CHUNK_ROWS = 4096


def fit_nearest_mean(
    Z: Floats, y: Codes, *, n_classes: int, folds: Codes, sample_weight: Floats
) -> ChosenHead:
    """Head that scores by the distance to each class's mean: minus half its square.

    The square of the image's own length is the same for all classes and left out, so the head is
    linear. Means of few images lie too far out, by the scatter of those images; each is drawn
    towards the common mean by the share of its length that scatter explains (James and Stein), so
    a class of one image does not draw others to it. Nothing is chosen.

    Parameters
    ----------
    Z : (N, D) float
        Centred.
    y : (N,) codes
    n_classes : int
    folds : (N,) int
        Rows of one fold are left out together; exact for every fold, leave-one-out included.
    sample_weight : (N,) float

    Returns
    -------
    ChosenHead
        With a :class:`~regraft.probe.linear_head.LinearHead`. A class with no row outside the
        fold scores as low as the lowest class.

    References
    ----------
    Efron, Morris (1973), JASA 68(341) (the shrinkage). Mensink et al. (2013), TPAMI 35(11)
    (nearest class mean on image features).

    Examples
    --------
    >>> Z = np.array([[-1.0, 0.1], [-1.0, -0.1], [1.0, 0.1], [1.0, -0.1]])
    >>> fitted = fit_nearest_mean(
    ...     Z, np.array([0, 0, 1, 1]), n_classes=2, folds=np.arange(4), sample_weight=np.ones(4)
    ... )
    >>> fitted.head.scores(np.array([[0.5, 0.0]], np.float32)).argmax(1)
    array([1])
    """
    Z, y = np.asarray(Z, np.float64), np.asarray(y)
    weight = np.asarray(sample_weight, np.float64)
    square = float(weight @ np.einsum("nd,nd->n", Z, Z))
    sums = _class_sums(Z, y, weight, n_classes)

    shrunk = sums.total * _shrinkage(sums, square)[:, None]
    bias = _with_lowest(-np.einsum("kd,kd->k", shrunk, shrunk)[None] / 2, sums.weight > 0)[0]
    head = LinearHead(shrunk.astype(np.float32), bias.astype(np.float32))
    judges = rows_that_judge(y, folds)
    if not len(judges):
        return ChosenHead.unmeasured(head, None, n_classes)

    oof_scores = np.empty((len(y), n_classes))
    to_sums = Z @ sums.total.T
    for rows in _rows_by_fold(folds):
        held = _class_sums(Z[rows], y[rows], weight[rows], n_classes)
        oof_scores[rows] = _left_out_scores(
            sums, held, square, to_sums[rows], Z[rows], weight[rows]
        )
    oof_scores, y, weight = oof_scores[judges], y[judges], weight[judges]
    return ChosenHead(
        head=head,
        strength=None,
        curve=[curve_point(0.0, log_losses(oof_scores, y), oof_scores, y, weight)],
        oof_rows=judges,
        oof_scores=oof_scores.astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class _ClassSums:
    """Weighted sums of rows by class: ``total (K, D)``, their ``squares (K,)``, ``weight (K,)``."""

    total: Floats
    squares: Floats
    weight: Floats


def _class_sums(Z: Floats, y: Codes, weight: Floats, n_classes: int) -> _ClassSums:
    present, index = np.unique(y, return_inverse=True)
    hot = np.zeros((len(present), len(y)))
    hot[index, np.arange(len(y))] = weight
    total = np.zeros((n_classes, Z.shape[1]))
    total[present] = hot @ Z
    weights: Floats = np.bincount(y, weight, minlength=n_classes).astype(np.float64)
    return _ClassSums(total, np.einsum("kd,kd->k", total, total), weights)


def _shrinkage(sums: _ClassSums, square: float) -> Floats:
    """``(K,)`` factors from a class's sum to its shrunk mean; 0 for a class without rows.

    A mean of n rows is off by scatter / n. The true means' mean square is what their observed one
    has beyond that.
    """
    present = sums.weight > 0
    n = np.where(present, sums.weight, 1.0)
    lengths = sums.squares / n**2
    freedom = sums.weight.sum() - present.sum()
    scatter = max(square - float(sums.weight @ lengths), 0.0) / freedom if freedom > 0 else 0.0
    between = max(float((lengths - scatter / n)[present].mean()), 0.0)
    if between == 0.0:  # no class differs from chance; equal factors keep the best guess
        return np.where(present, 1 / n, 0.0)
    factors: Floats = np.where(present, between / (between + scatter / n) / n, 0.0)
    return factors


def _left_out_scores(
    sums: _ClassSums, held: _ClassSums, square: float, to_sums: Floats, Z: Floats, weight: Floats
) -> Floats:
    """``(n, K)`` scores of a fold's rows by the means of all other rows."""
    touched = np.flatnonzero(held.weight)
    to_sums, squares = to_sums.copy(), sums.squares.copy()
    rest = sums.total[touched] - held.total[touched]
    to_sums[:, touched] = Z @ rest.T
    squares[touched] = np.einsum("kd,kd->k", rest, rest)
    remaining = sums.weight - held.weight
    remaining[remaining < 1e-9 * sums.weight] = 0.0  # what subtraction leaves of nothing
    squares[remaining == 0] = 0.0

    others = _ClassSums(sums.total, squares, remaining)
    shrink = _shrinkage(others, square - float(weight @ np.einsum("nd,nd->n", Z, Z)))
    return _with_lowest(to_sums * shrink - shrink**2 * squares / 2, remaining > 0)


def _with_lowest(scores: Floats, present: NDArray[np.bool_]) -> Floats:
    """A class without images as low as the lowest of the others."""
    lowest = np.where(present, scores, np.inf).min(axis=1, keepdims=True)
    filled: Floats = np.where(present, scores, lowest)
    return filled


def fit_knn(
    Z: Floats, y: Codes, *, n_classes: int, folds: Codes, sample_weight: Floats
) -> ChosenHead:
    """Head that lets the most similar images of train vote, nearer ones more.

    Their number k is the one of 1, 3, 5, 10, 20, 50 with the best left-out accuracy, then loss.

    Parameters
    ----------
    Z : (N, D) float
        Centred; compared by the cosine.
    y : (N,) codes
    n_classes : int
    folds : (N,) int
        No image votes on one of its own fold.
    sample_weight : (N,) float
        Factor on an image's vote. It does not change how many images are asked.

    Returns
    -------
    ChosenHead
        With a :class:`NeighbourHead`; `strength` is k.

    References
    ----------
    Wu et al. (2018), CVPR, arXiv:1805.01978 (the votes).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 3
    >>> Z = np.eye(3)[y] + 0.3 * rng.standard_normal((60, 3)) - 1 / 3
    >>> fitted = fit_knn(Z, y, n_classes=3, folds=np.arange(60), sample_weight=np.ones(60))
    >>> float((fitted.oof_scores.argmax(1) == y).mean())
    1.0
    """
    y, folds = np.asarray(y), np.asarray(folds)
    weight = np.asarray(sample_weight, np.float32)
    judges = rows_that_judge(y, folds)
    n_asked = _numbers_to_try(folds) if len(judges) else [min(USUAL_NEIGHBOURS, len(y))]
    bank = NeighbourHead(
        unit_rows(np.asarray(Z, np.float32)).astype(np.float16),
        y.astype(np.int32),
        weight,
        max(n_asked),
        n_classes,
    )
    if not len(judges):
        return ChosenHead.unmeasured(bank, float(bank.n_neighbours), n_classes)
    scores = {k: np.empty((len(y), n_classes), np.float32) for k in n_asked}
    for rows, similarity in bank.similarities(Z):
        similarity[folds[rows][:, None] == folds] = -np.inf
        order, near = nearest(similarity, max(n_asked))
        for k in n_asked:
            scores[k][rows] = bank.votes(order[:, :k], near[:, :k])

    scores = {k: by_k[judges] for k, by_k in scores.items()}
    y, weight = y[judges], weight[judges]
    curve = [curve_point(k, log_losses(scores[k], y), scores[k], y, weight) for k in n_asked]
    best = max(range(len(curve)), key=lambda i: (curve[i]["accuracy"], -curve[i]["loss"]))
    k = n_asked[best]
    return ChosenHead(
        head=NeighbourHead(bank.rows, bank.codes, bank.weight, k, n_classes),
        strength=float(k),
        curve=curve,
        oof_rows=judges,
        oof_scores=scores[k],
    )


@dataclass(frozen=True, eq=False)
class NeighbourHead:
    """Scores are logs of vote shares.

    One vote of an image that knows nothing, spread over all classes, is added: no share is zero,
    and few or divided neighbours are less sure.

    Attributes
    ----------
    rows : (M, D) float16
        Images of train, of unit length; half precision moves a cosine by less than 0.001.
    codes : (M,) int32
    weight : (M,) float32
    n_neighbours : int
    n_classes : int
    """

    rows: NDArray[np.float16] = field(repr=False)
    codes: NDArray[np.int32] = field(repr=False)
    weight: Floats = field(repr=False)
    n_neighbours: int
    n_classes: int

    kind = "knn"

    def scores(self, Z: Floats) -> Floats:
        """``(N, D)`` features to ``(N, K)`` scores."""
        scores = np.empty((len(Z), self.n_classes), np.float32)
        for rows, similarity in self.similarities(Z):
            scores[rows] = self.votes(*nearest(similarity, self.n_neighbours))
        return scores

    def similarities(self, Z: Floats) -> Iterator[tuple[slice, Floats]]:
        """Some rows of Z at a time, with their ``(n, M)`` cosines."""
        step = max(1, min(CHUNK_ROWS, MAX_NUMBERS // len(self.rows)))
        for start in range(0, len(Z), step):
            rows = slice(start, min(start + step, len(Z)))
            asked = unit_rows(np.asarray(Z[rows], np.float32))
            similarity = np.empty((len(asked), len(self.rows)), np.float32)
            for low in range(0, len(self.rows), CHUNK_ROWS):
                part = slice(low, low + CHUNK_ROWS)
                similarity[:, part] = asked @ self.rows[part].astype(np.float32).T
            yield rows, similarity

    def votes(self, order: NDArray[np.intp], near: Floats) -> Floats:
        """``(n, k)`` neighbours and their cosines, nearest first, to ``(n, K)`` log shares."""
        n = len(order)
        vote = np.exp((near - near[:, :1]) / VOTE_WIDTH) * self.weight[order]
        place = np.arange(n)[:, None] * self.n_classes + self.codes[order]
        counts = np.bincount(place.ravel(), vote.ravel(), minlength=n * self.n_classes)
        total = counts.reshape(n, self.n_classes) + 1 / self.n_classes
        shares: Floats = np.log(total / total.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares

    def to_tensors(self) -> Tensors:
        """``rows``, ``codes``, ``weight`` and ``counts`` (neighbours, classes)."""
        counts = np.array([self.n_neighbours, self.n_classes], np.int64)
        return {"rows": self.rows, "codes": self.codes, "weight": self.weight, "counts": counts}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> NeighbourHead:
        """The inverse of :meth:`to_tensors`.

        Raises
        ------
        KeyError
            A tensor is missing.
        ValueError
            Shapes or values do not fit.
        """
        rows, codes, weight = tensors["rows"], tensors["codes"], tensors["weight"]
        counts = tensors["counts"]
        if rows.ndim != 2 or codes.shape != rows.shape[:1] or weight.shape != rows.shape[:1]:
            raise ValueError(
                f"a knn head needs rows (M, D), codes (M,) and weight (M,), "
                f"got {rows.shape}, {codes.shape} and {weight.shape}"
            )
        if counts.shape != (2,):
            raise ValueError(f"a knn head needs counts (2,), got {counts.shape}")
        k, n_classes = int(counts[0]), int(counts[1])
        if not 1 <= k <= len(rows):
            raise ValueError(f"a knn head of {len(rows)} images cannot ask {k}")
        if codes.min() < 0 or codes.max() >= n_classes:
            raise ValueError(
                f"codes must be in 0..{n_classes - 1}, got {codes.min()} to {codes.max()}"
            )
        return cls(rows, codes, weight, k, n_classes)


def nearest(similarity: Floats, k: int) -> tuple[NDArray[np.intp], Floats]:
    """``(n, k)`` columns with the greatest values of ``(n, M)``, greatest first, and the values."""
    k = min(k, similarity.shape[1])
    order = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    near = np.take_along_axis(similarity, order, axis=1)
    rank = np.argsort(-near, axis=1, kind="stable")
    return np.take_along_axis(order, rank, axis=1), np.take_along_axis(near, rank, axis=1)


def _numbers_to_try(folds: Codes) -> list[int]:
    """Those that every fold can ask; at least 1."""
    sizes = np.unique(folds, return_counts=True)[1]
    return [k for k in NEIGHBOURS if k <= len(folds) - sizes.max()]


def _rows_by_fold(folds: Codes) -> list[NDArray[np.intp]]:
    _, index, sizes = np.unique(folds, return_inverse=True, return_counts=True)
    return np.split(np.argsort(index, kind="stable"), np.cumsum(sizes)[:-1])
