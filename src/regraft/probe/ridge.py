"""Ridge regression on one-hot labels, in closed form, with exact leave-fold-out for every strength.

One eigendecomposition, of the Gram matrix (N x N) or the covariance matrix (D x D), whichever is
smaller, serves all strengths. What a fit without some rows would have predicted for them follows
from the fit with them: for a fold B with residuals r_B and hat matrix H, the left-out residuals
are ``(I - H_BB)^-1 r_B`` (for one row the PRESS formula, Allen 1974). Folds are mostly single
images; near-duplicates and groups are left out together.

    minimise over W, b:  sum_i s_i |W z_i + b - onehot(y_i)|^2  +  strength |W|^2

N images, D features, K classes, r the rank of the decomposition, B a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import TrainingError
from regraft.probe.base import Codes, Floats
from regraft.probe.distance import by_size
from regraft.probe.judging import rows_that_judge
from regraft.probe.linear_head import LinearHead

# 17 strengths over 8 decades; Z has unit mean square norm, so 1 means: as strong as one image. At
# the strong end discriminants are the nearest mean.
STRENGTHS = np.logspace(-4, 4, 17)
# Where nothing can be measured (docs/experiments.md, "Units that swallow classes").
USUAL_STRENGTH = 0.1
# Above this many rows the Gram matrix is not formed even if D is larger still.
MAX_GRAM_ROWS = 6_000
# Rows of which the left-out errors are computed, as numbers held (rows x rank).
MAX_LEFT_OUT_NUMBERS = 20_000_000
# And as scores held (rows x classes), of which a solution needs some ten arrays.
MAX_LEFT_OUT_SCORES = 4_000_000
CHUNK_ROWS = 8_192
# Of which the squares are held at once: they stay in the processor's cache.
ROWS_TO_SQUARE = 256


@dataclass(frozen=True, eq=False)
class RidgeSystem:
    """The problem after its one decomposition; every strength is cheap from here.

    Attributes
    ----------
    eigenvalues : (r,)
    projected : (r, K)
        Weighted, centred one-hot labels in the eigenbasis.
    to_weights : callable
        (r, K) coefficients to (D, K) weights.
    U : (n, r)
        Eigenvectors at the rows that are left out in turn: whole folds with rows that judge.
    judges : (n,) bool
        Which of those judge (:mod:`regraft.probe.judging`); nobody does where too few could.
    """

    eigenvalues: Floats
    projected: Floats
    to_weights: Callable[[Floats], Floats] = field(repr=False)
    U: Floats
    rows: NDArray[np.intp]
    y: Codes
    weight: Floats
    folds: Codes
    judges: NDArray[np.bool_]
    total_weight: float
    mean_label: Floats
    mean_feature: Floats

    @classmethod
    def build(
        cls,
        chunks: Callable[[], Iterator[Floats]],
        y: Codes,
        *,
        n_classes: int,
        folds: Codes | None = None,
        sample_weight: Floats | None = None,
        seed: int = 0,
    ) -> RidgeSystem:
        """Decompose.

        Parameters
        ----------
        chunks : callable giving an iterator of (n_i, D) float32
            All N rows in order, some at a time; called twice.
        y : (N,) codes
        folds : (N,) int, optional
            Default: every row its own (leave-one-out).
        sample_weight : (N,), optional
            A weight of 2 equals the row twice.
        """
        N = len(y)
        weight = np.ones(N) if sample_weight is None else np.asarray(sample_weight, np.float64)
        folds = np.arange(N) if folds is None else np.asarray(folds)
        mean_label = np.bincount(y, weight, minlength=n_classes) / weight.sum()
        first = next(chunks())
        is_gram = first.shape[1] >= N and N <= MAX_GRAM_ROWS
        route = _by_gram if is_gram else _by_covariance
        judges = np.zeros(N, bool)
        judges[rows_that_judge(y, folds)] = True
        of_judges = np.flatnonzero(np.isin(folds, folds[judges]))
        at_most = MAX_LEFT_OUT_SCORES // n_classes
        of_judges = of_judges[_rows_to_leave_out(folds[of_judges], at_most, seed)]
        parts = route(chunks, y, weight, mean_label, folds, of_judges, seed)
        return cls(
            **parts,
            judges=judges[parts["rows"]],
            total_weight=float(weight.sum()),
            mean_label=mean_label,
        )

    @classmethod
    def of_centred(
        cls,
        rows: Floats | None,
        gram: Floats | None,
        transposed: Callable[[Floats], Floats],
        y: Codes,
        *,
        n_features: int,
        n_classes: int,
        folds: Codes,
        sample_weight: Floats,
    ) -> RidgeSystem:
        """Decompose rows that are centred already: their weighted mean is zero.

        Parameters
        ----------
        rows : (N, D) float, or None
            Of fewer columns than rows.
        gram : (N, N) float, or None
            Their inner products.
        transposed : callable
            (N, K) to (D, K): the product with the transposed rows.
        """
        weight = np.asarray(sample_weight, np.float64)
        mean_label = np.bincount(y, weight, minlength=n_classes) / weight.sum()
        judges = np.zeros(len(y), bool)
        judges[rows_that_judge(y, folds)] = True
        left_out = np.flatnonzero(np.isin(folds, folds[judges]))
        root = np.sqrt(weight)[:, None]
        if rows is not None:
            scaled = root * rows
            values, V = _significant(*_decomposed(scaled.T @ scaled))
            U: Floats = scaled @ V / np.sqrt(values)
        else:
            assert gram is not None
            scaled = gram.astype(np.float64)
            scaled *= root
            scaled *= root.T
            values, U = _significant(*_decomposed(scaled))

        def to_weights(coefficients: Floats) -> Floats:
            return transposed(root * (U @ (coefficients / np.sqrt(values)[:, None])))

        return cls(
            eigenvalues=values,
            projected=U.T @ (root * (_one_hot(y, n_classes) - mean_label)),
            to_weights=to_weights,
            U=U if len(left_out) == len(U) else U[left_out],
            rows=left_out, y=y[left_out], weight=weight[left_out], folds=folds[left_out],
            judges=judges[left_out],
            total_weight=float(weight.sum()), mean_label=mean_label,
            mean_feature=np.zeros(n_features),
        )  # fmt: skip

    def with_labels(self, y: Codes, *, n_classes: int) -> RidgeSystem:
        """The same rows under other labels, without a new decomposition.

        Parameters
        ----------
        y : (N,) codes
        n_classes : int

        Raises
        ------
        ValueError
            Not all rows were kept to be left out; there were too many, or too few could judge.
        """
        if len(y) != len(self.U):
            raise ValueError(f"the system keeps {len(self.U)} rows, got labels of {len(y)}")
        judges = np.zeros(len(y), bool)
        judges[rows_that_judge(y, self.folds)] = True
        mean_label = np.bincount(y, self.weight, minlength=n_classes) / self.total_weight
        root = np.sqrt(self.weight)[:, None]
        projected = self.U.T @ (root * (_one_hot(y, n_classes) - mean_label))
        return replace(self, y=y, judges=judges, mean_label=mean_label, projected=projected)

    @property
    def can_choose(self) -> bool:
        """Whether there are rows to judge a strength by."""
        return bool(self.judges.any())

    @property
    def judged_rows(self) -> NDArray[np.intp]:
        """Of all N rows those that judge, (n,)."""
        return self.rows[self.judges]

    @property
    def n_classes(self) -> int:
        """K, also those without images."""
        return len(self.mean_label)

    def shrink(self, strength: float) -> Floats:
        """``(r,)`` the share of each direction that a fit of this strength keeps."""
        kept: Floats = self.eigenvalues / (self.eigenvalues + strength)
        return kept

    def fits(self, strength: float) -> Floats:
        """``(n, K)`` what the fit on all rows says, times the root of the weight, less the mean.

        Every head of a system asks for the same strengths, so what is small is kept.
        """
        kept = self._kept_fits.get(strength)
        if kept is None:
            kept = self.U @ (self.shrink(strength)[:, None] * self.projected)
            if len(STRENGTHS) * kept.size <= MAX_LEFT_OUT_NUMBERS:
                self._kept_fits[strength] = kept
        return kept

    @cached_property
    def _kept_fits(self) -> dict[float, Floats]:
        return {}

    def leverage(self, strength: float) -> Floats:
        """``(n,)`` the diagonal of the hat matrix, without the intercept's part."""
        place = np.flatnonzero(strength == STRENGTHS)
        if not len(place):
            return _square_times(self.U, self.shrink(strength)[:, None])[:, 0]
        found: Floats = self._leverages[:, place[0]]
        return found

    @cached_property
    def _leverages(self) -> Floats:
        """At every strength in one product: squaring U costs more than multiplying by it."""
        return _square_times(self.U, np.stack([self.shrink(s) for s in STRENGTHS], axis=1))

    @cached_property
    def fold_rows(self) -> list[NDArray[np.intp]]:
        """``(n, size)`` rows of U in each of the n folds of one size, size after size."""
        return list(by_size(self.folds))

    def _left_out(
        self, shrink: Floats, leverage: Floats, share: Floats, residual: Floats
    ) -> Floats:
        """From residuals to left-out residuals: ``(I - H_BB)^-1 r_B`` of every fold B.

        The intercept's part of the hat matrix H is the outer product of `share`,
        ``sqrt(s_i / sum s)``, with itself. Folds of one size are solved together.
        """
        missed = np.empty_like(residual)
        for members in self.fold_rows:
            size = members.shape[1]
            if size == 1:
                rows = members[:, 0]
                hat = leverage[rows] + share[rows] ** 2
                missed[rows] = residual[rows] / np.maximum(1 - hat, 1e-10)[:, None]
                continue
            for part in _parts(members, self.U.shape[1]):
                U_B = self.U[part]
                hat = (U_B * shrink) @ U_B.transpose(0, 2, 1)
                hat += share[part][:, :, None] * share[part][:, None, :]
                ridge = (1 + 1e-10) * np.eye(size)  # a fold that holds a whole class is singular
                missed[part] = np.linalg.solve(ridge - hat, residual[part])
        return missed

    def left_out_scores(self, strength: float) -> Floats:
        """``(n, K)`` scores of the rows that judge, each by a fit without its fold."""
        root = np.sqrt(self.weight)[:, None]
        hot = _one_hot(self.y, self.n_classes)
        target = root * (hot - self.mean_label)
        residual = target - self.fits(strength)
        share = root[:, 0] / np.sqrt(self.total_weight)
        missed = self._left_out(self.shrink(strength), self.leverage(strength), share, residual)
        missed /= root
        scores: Floats = (hot - missed)[self.judges]
        if not np.isfinite(scores).all():
            raise TrainingError(
                "no left-out score is finite",
                cure="the features are not finite; regraft cache verify",
            )
        return scores

    def head(self, strength: float) -> LinearHead:
        """The solution on all rows."""
        coefficients = self.projected / (self.eigenvalues + strength)[:, None]
        coefficients *= np.sqrt(self.eigenvalues)[:, None]
        weights_DK = self.to_weights(coefficients)
        bias = self.mean_label - self.mean_feature @ weights_DK
        if not (np.isfinite(weights_DK).all() and np.isfinite(bias).all()):
            raise TrainingError("the ridge solution is not finite", cure="regraft cache verify")
        weight = np.ascontiguousarray(weights_DK.T, np.float32)
        return LinearHead(weight, bias.astype(np.float32))


def rows_in_chunks(Z: Floats) -> Iterator[Floats]:
    """Some thousand rows at a time."""
    for start in range(0, max(1, len(Z)), CHUNK_ROWS):
        yield Z[start : start + CHUNK_ROWS]


def _by_gram(
    chunks: Callable[[], Iterator[Floats]],
    y: Codes,
    weight: Floats,
    mean_label: Floats,
    folds: Codes,
    rows: NDArray[np.intp],
    seed: int,
) -> dict[str, Any]:
    Z = np.concatenate([np.asarray(chunk, np.float64) for chunk in chunks()])
    mean_feature = weight @ Z / weight.sum()
    root = np.sqrt(weight)[:, None]
    Z -= mean_feature
    Z *= root
    values, U = _significant(*_decomposed(Z @ Z.T))
    projected = U.T @ (root * (_one_hot(y, len(mean_label)) - mean_label))

    def to_weights(coefficients: Floats) -> Floats:
        weights: Floats = Z.T @ (U @ (coefficients / np.sqrt(values)[:, None]))
        return weights

    return {
        "eigenvalues": values, "projected": projected, "to_weights": to_weights,
        "U": U if len(rows) == len(U) else U[rows],  # a copy of all would double the memory
        "rows": rows, "y": y[rows], "weight": weight[rows], "folds": folds[rows],
        "mean_feature": mean_feature,
    }  # fmt: skip


def _by_covariance(
    chunks: Callable[[], Iterator[Floats]],
    y: Codes,
    weight: Floats,
    mean_label: Floats,
    folds: Codes,
    rows: NDArray[np.intp],
    seed: int,
) -> dict[str, Any]:
    """Two passes over the rows, D x D and D x K numbers held, whatever N is."""
    second, cross, mean_feature = _accumulate(chunks, y, weight, len(mean_label))
    values, V = _significant(*_decomposed(second))
    cross -= (weight.sum() * mean_feature)[:, None] * mean_label
    projected = (V.T @ cross) / np.sqrt(values)[:, None]

    at_most = MAX_LEFT_OUT_NUMBERS // max(1, len(values))
    rows = rows[_rows_to_leave_out(folds[rows], at_most, seed)]
    U = np.empty((len(rows), len(values)))
    start = 0
    for chunk in chunks():
        low, high = np.searchsorted(rows, (start, start + len(chunk)))
        picked = np.asarray(chunk[rows[low:high] - start], np.float64) - mean_feature
        U[low:high] = picked @ V / np.sqrt(values)
        start += len(chunk)
    U *= np.sqrt(weight[rows])[:, None]

    def to_weights(coefficients: Floats) -> Floats:
        weights: Floats = V @ coefficients
        return weights

    return {
        "eigenvalues": values, "projected": projected, "to_weights": to_weights, "U": U,
        "rows": rows, "y": y[rows], "weight": weight[rows], "folds": folds[rows],
        "mean_feature": mean_feature,
    }  # fmt: skip


def _accumulate(
    chunks: Callable[[], Iterator[Floats]], y: Codes, weight: Floats, n_classes: int
) -> tuple[Floats, Floats, Floats]:
    """Centred weighted second moments (D, D), raw label sums (D, K) and the mean (D,)."""
    start, second, cross, total = 0, None, None, None
    for chunk in chunks():
        rows = np.asarray(chunk, np.float32)
        s = weight[start : start + len(rows)].astype(np.float32)
        codes = y[start : start + len(rows)]
        weighted = rows * s[:, None]
        if second is None or cross is None or total is None:
            D = rows.shape[1]
            second, cross, total = np.zeros((D, D)), np.zeros((D, n_classes)), np.zeros(D)
        second += rows.T @ weighted
        total += weighted.sum(0, dtype=np.float64)
        order = np.argsort(codes, kind="stable")
        present, starts = np.unique(codes[order], return_index=True)
        cross[:, present] += np.add.reduceat(weighted[order], starts, axis=0, dtype=np.float64).T
        start += len(rows)
    assert second is not None
    assert cross is not None
    assert total is not None
    mean = total / weight.sum()
    second -= weight.sum() * np.outer(mean, mean)
    return (second + second.T) / 2, cross, mean


def _rows_to_leave_out(folds: Codes, at_most: int, seed: int) -> NDArray[np.intp]:
    """All rows, or a random sample of whole folds, in order."""
    N = len(folds)
    if at_most >= N:
        return np.arange(N)
    names, of_row = np.unique(folds, return_inverse=True)
    share = at_most / N
    picked = np.random.default_rng(seed).random(len(names)) < share
    rows = np.flatnonzero(picked[of_row])
    return rows if len(rows) else np.flatnonzero(of_row == of_row[0])


def _square_times(U: Floats, shares: Floats) -> Floats:
    """``(n, S)``: the squares of U (n, r) times shares (r, S), some rows at a time."""
    found = np.empty((len(U), shares.shape[1]))
    for start in range(0, len(U), ROWS_TO_SQUARE):
        rows = slice(start, start + ROWS_TO_SQUARE)
        np.matmul(np.square(U[rows]), shares, out=found[rows])
    return found


def _parts(members: NDArray[np.intp], rank: int) -> Iterator[NDArray[np.intp]]:
    """Folds of one size, so many at a time that their rows of U stay small."""
    step = max(1, 4_000_000 // (members.shape[1] * rank))
    for start in range(0, len(members), step):
        yield members[start : start + step]


def _decomposed(matrix: Floats) -> tuple[Floats, Floats]:
    if not np.isfinite(matrix).all():  # LAPACK would say that it did not converge
        raise TrainingError("the features are not finite", cure="regraft cache verify")
    values, vectors = np.linalg.eigh(matrix)
    return values, vectors


def _significant(values: Floats, vectors: Floats) -> tuple[Floats, Floats]:
    """Without the directions that rounding made up."""
    first = int(np.searchsorted(values, max(values[-1], 0.0) * 1e-10, "right"))  # they ascend
    if first == len(values):  # constant features: one direction that explains nothing
        return np.array([1e-30]), vectors[:, -1:]
    return values[first:], vectors[:, first:]


def _one_hot(y: Codes, n_classes: int) -> Floats:
    hot = np.zeros((len(y), n_classes))
    hot[np.arange(len(y)), y] = 1.0
    return hot
