"""Ridge regression on one-hot labels, in closed form, with exact leave-fold-out for every strength.

One decomposition, of the Gram matrix (N x N) or the covariance matrix (D x D), whichever is
smaller, serves all strengths; of a Gram matrix an inverse for each of a few costs less
(:mod:`regraft.probe.hat`). What a fit without some rows would have predicted for them follows from
the fit with them: for a fold B with residuals r_B and hat matrix H, the left-out residuals are
``(I - H_BB)^-1 r_B`` (for one row the PRESS formula, Allen 1974). Folds are mostly single images;
near-duplicates and groups are left out together.

    minimise over W, b:  sum_i s_i |W z_i + b - onehot(y_i)|^2  +  strength |W|^2

N images, D features, K classes, r the rank of the decomposition, B a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regraft.errors import TrainingError
from regraft.probe.base import Codes, Floats
from regraft.probe.distance import by_size
from regraft.probe.hat import Hat, Inverses, Spectrum, decomposed, require_finite
from regraft.probe.judging import rows_that_judge
from regraft.probe.linear_head import LinearHead

# Where nothing can be measured (docs/experiments.md, "Few images of each class").
USUAL_STRENGTH = 0.1
# Above this many rows the Gram matrix is not formed even if D is larger still.
MAX_GRAM_ROWS = 6_000
# Rows of which the left-out errors are computed, as numbers held (rows x rank).
MAX_LEFT_OUT_NUMBERS = 20_000_000
# And as scores held (rows x classes), of which a solution needs some ten arrays.
MAX_LEFT_OUT_SCORES = 4_000_000
CHUNK_ROWS = 8_192
COLUMNS_TO_SUM = 256  # so that the rows in the order of their classes are no second chunk


@dataclass(frozen=True, eq=False)
class RidgeSystem:
    """The problem after its one decomposition; every strength is cheap from here.

    Attributes
    ----------
    hat : Hat
        By which all that follows is found, at any strength; by inverses where few are asked for.
    rows : (n,) int
        Of all N those that are left out in turn: whole folds with rows that judge.
    y, weight, folds : (n,)
        Of these.
    judges : (n,) bool
        Which of them judge (:mod:`regraft.probe.judging`); nobody does where too few could.
    """

    hat: Hat
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
        few_strengths: bool = False,
    ) -> RidgeSystem:
        """Decompose; or, where few strengths will be asked for and N < D, invert for each.

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
        width = next(chunks()).shape[1]
        is_gram = width >= N and N <= MAX_GRAM_ROWS
        judges = np.zeros(N, bool)
        judges[rows_that_judge(y, folds)] = True
        rows = np.flatnonzero(np.isin(folds, folds[judges]))
        at_most = MAX_LEFT_OUT_SCORES // n_classes
        if not is_gram:
            at_most = min(at_most, MAX_LEFT_OUT_NUMBERS // min(width, N))
        rows = rows[_rows_to_leave_out(folds[rows], at_most, seed)]
        if is_gram:
            hat, mean_feature = _by_gram(chunks, y, weight, mean_label, folds, rows, few_strengths)
        else:
            hat, mean_feature = _by_covariance(chunks, y, weight, mean_label, rows)
        return cls(
            hat, rows, y[rows], weight[rows], folds[rows], judges[rows], float(weight.sum()),
            mean_label, mean_feature,
        )  # fmt: skip

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
        few_strengths: bool = False,
    ) -> RidgeSystem:
        """As :meth:`build`, of rows that are centred already: their weighted mean is zero.

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
        targets = root * (_one_hot(y, n_classes) - mean_label)

        def of_rows(dual: Floats) -> Floats:
            return transposed(root * dual)

        if rows is not None:
            scaled = root * rows
            values, V = decomposed(scaled.T @ scaled)
            U: Floats = scaled @ V / np.sqrt(values)
            hat: Hat = _spectrum(values, U, targets, left_out, of_rows)
        else:
            assert gram is not None
            scaled = gram.astype(np.float64)
            scaled *= root
            scaled *= root.T
            hat = _of_gram(scaled, targets, folds, left_out, of_rows, few_strengths)
        return cls(
            hat, left_out, y[left_out], weight[left_out], folds[left_out], judges[left_out],
            float(weight.sum()), mean_label, np.zeros(n_features),
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
        if len(y) != len(self.rows):
            raise ValueError(f"the system keeps {len(self.rows)} rows, got labels of {len(y)}")
        judges = np.zeros(len(y), bool)
        judges[rows_that_judge(y, self.folds)] = True
        mean_label = np.bincount(y, self.weight, minlength=n_classes) / self.total_weight
        root = np.sqrt(self.weight)[:, None]
        hat = self.hat.with_targets(root * (_one_hot(y, n_classes) - mean_label))
        return replace(self, y=y, judges=judges, mean_label=mean_label, hat=hat)

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

    @cached_property
    def fold_rows(self) -> list[NDArray[np.intp]]:
        """``(m, size)`` of the n rows in each of the m folds of one size, size after size."""
        return list(by_size(self.folds))

    @cached_property
    def remaining(self) -> Floats:
        """``(n, K)`` weight of each class without the row's fold; infinite where none is left."""
        _, fold = np.unique(self.folds, return_inverse=True)
        held = np.zeros((int(fold.max(initial=-1)) + 1, self.n_classes))
        np.add.at(held, (fold, self.y), self.weight)
        counts = self.mean_label * self.total_weight
        rest = counts - held[fold]
        rest[rest <= 1e-9 * counts] = np.inf
        return rest

    @cached_property
    def left_out_log_shares(self) -> Floats:
        """``(m, K)`` logs of these, of the rows that judge, as shares of the classes that there
        are; a class that is gone counts as one image."""
        rest = self.remaining[self.judges]
        rest = np.where(np.isfinite(rest), rest, 1.0)
        total = rest[:, self.mean_label > 0].sum(axis=1, keepdims=True)
        shares: Floats = np.log(rest / total)
        return shares

    def _left_out(self, strength: float, residual: Floats) -> Floats:
        """From residuals to left-out residuals: ``(I - H_BB)^-1 r_B`` of every fold B.

        The intercept's part of the hat matrix H is the outer product of ``sqrt(s_i / sum s)`` with
        itself. Folds of one size are solved together.
        """
        missed = np.empty_like(residual)
        leverage, share = self.hat.leverage(strength), np.sqrt(self.weight / self.total_weight)
        for members in self.fold_rows:
            size = members.shape[1]
            if size == 1:
                rows = members[:, 0]
                hat = leverage[rows] + share[rows] ** 2
                missed[rows] = residual[rows] / np.maximum(1 - hat, 1e-10)[:, None]
                continue
            hat = self.hat.blocks(strength, members)
            hat += share[members][:, :, None] * share[members][:, None, :]
            ridge = (1 + 1e-10) * np.eye(size)  # a fold that holds a whole class is singular
            missed[members] = np.linalg.solve(ridge - hat, residual[members])
        return missed

    def left_out_scores(self, strength: float) -> Floats:
        """``(n, K)`` scores of the rows that judge, each by a fit without its fold."""
        root = np.sqrt(self.weight)[:, None]
        hot = _one_hot(self.y, self.n_classes)
        target = root * (hot - self.mean_label)
        missed = self._left_out(strength, target - self.hat.fits(strength))
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
        weights_DK = self.hat.weights(strength)
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
    few_strengths: bool,
) -> tuple[Hat, Floats]:
    Z = np.concatenate([np.asarray(chunk, np.float64) for chunk in chunks()])
    mean_feature = weight @ Z / weight.sum()
    root = np.sqrt(weight)[:, None]
    Z -= mean_feature
    Z *= root
    targets = root * (_one_hot(y, len(mean_label)) - mean_label)
    hat = _of_gram(Z @ Z.T, targets, folds, rows, lambda dual: Z.T @ dual, few_strengths)
    return hat, mean_feature


def _of_gram(
    gram: Floats,
    targets: Floats,
    folds: Codes,
    rows: NDArray[np.intp],
    transposed: Callable[[Floats], Floats],
    few_strengths: bool,
) -> Hat:
    """Of rows and targets that are weighted and centred."""
    if few_strengths:
        require_finite(gram)
        return Inverses(gram, targets, rows, list(by_size(folds[rows])), transposed)
    return _spectrum(*decomposed(gram), targets, rows, transposed)


def _spectrum(
    values: Floats,
    U: Floats,
    targets: Floats,
    rows: NDArray[np.intp],
    transposed: Callable[[Floats], Floats],
) -> Spectrum:
    """By eigenvectors of all N rows."""

    def to_weights(coefficients: Floats) -> Floats:
        return transposed(U @ (coefficients / np.sqrt(values)[:, None]))

    # A copy of all would double the memory.
    return Spectrum(values, U.T @ targets, U if len(rows) == len(U) else U[rows], to_weights)


def _by_covariance(
    chunks: Callable[[], Iterator[Floats]],
    y: Codes,
    weight: Floats,
    mean_label: Floats,
    rows: NDArray[np.intp],
) -> tuple[Hat, Floats]:
    """Two passes over the rows, D x D and D x K numbers held, whatever N is, and one chunk."""
    second, cross, mean_feature = _accumulate(chunks, y, weight, len(mean_label))
    values, V = decomposed(second)
    del second
    cross -= (weight.sum() * mean_feature)[:, None] * mean_label
    U = np.empty((len(rows), len(values)))
    start = 0
    for chunk in chunks():
        low, high = np.searchsorted(rows, (start, start + len(chunk)))
        picked = chunk[rows[low:high] - start].astype(np.float64)
        picked -= mean_feature
        np.matmul(picked, V, out=U[low:high])
        U[low:high] /= np.sqrt(values)
        start += len(chunk)
        del chunk, picked  # before the next one is made
    U *= np.sqrt(weight[rows])[:, None]
    projected = V.T @ cross
    del cross
    projected /= np.sqrt(values)[:, None]
    return Spectrum(values, projected, U, lambda coefficients: V @ coefficients, V), mean_feature


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
        _add_label_sums(cross, weighted, codes)
        start += len(rows)
        del chunk, rows, weighted  # before the next one is made
    assert second is not None
    assert cross is not None
    assert total is not None
    mean = total / weight.sum()
    second -= weight.sum() * np.outer(mean, mean)
    return (second + second.T) / 2, cross, mean


def _add_label_sums(cross: Floats, weighted: Floats, codes: Codes) -> None:
    """Add each class's sum of rows (N, D) to its column of (D, K), some features at a time."""
    order = np.argsort(codes, kind="stable")
    present, starts = np.unique(codes[order], return_index=True)
    for first in range(0, len(cross), COLUMNS_TO_SUM):
        part = slice(first, first + COLUMNS_TO_SUM)
        summed = np.add.reduceat(weighted[order, part], starts, axis=0, dtype=np.float64)
        cross[part, present] += summed.T


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


def _one_hot(y: Codes, n_classes: int) -> Floats:
    hot = np.zeros((len(y), n_classes))
    hot[np.arange(len(y)), y] = 1.0
    return hot
