"""Linear heads whose loss is convex but has no closed form: one solver, one path, any loss.

The rows are turned to their principal axes first. There the squared features are uncorrelated, so
that a diagonal is a good picture of the curvature and conjugate gradients need few steps. If there
are fewer rows than features the axes are N instead of D, at no loss: the penalty is the Euclidean
norm, so a weight's part outside the span of the rows changes no score and only costs.

All folds are solved together, as one wide matrix product: a row that a fold leaves out has weight 0
there. A *problem* is one independent minimisation: a fold, or one class of one fold.

Array letters: N images, D features, K classes, F folds, R principal axes and the constant,
P problems, C columns of weights in one problem.

Sources: Newton steps by conjugate gradients as in Lin, Weng, Keerthi (2008), JMLR 9 (the solver of
LIBLINEAR), with a line search in place of the trust region; from strong to weak with warm starts
as in Friedman, Hastie, Tibshirani (2010), J. Stat. Softw. 33(1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes, Floats
from regraft.probe.judging import rows_that_judge
from regraft.probe.linear_head import LinearHead
from regraft.probe.out_of_fold import ChosenHead, curve_point, merged_folds

Mask = NDArray[np.bool_]

# Of the total weight: Z has unit mean square norm, so 1 is as strong as all images together.
# 21 strengths over 8 decades, strong to weak.
RELATIVE_STRENGTHS = np.logspace(0, -8, 21)
# About how far above its minimum the objective may stay, as a share of it.
FOLD_TOLERANCE = 3e-4
# What float32 can reach; it leads most of the way to the head.
SINGLE_TOLERANCE = 3e-6
HEAD_TOLERANCE = 1e-11
# Share of the slope's energy that conjugate gradients leave: a tenth of its length.
EXACTNESS = 1e-2
MAX_NEWTON_STEPS = 100
MAX_CONJUGATE_STEPS = 200
MAX_HALVINGS = 30
# Numbers per array of scores (N x folds x K) that are solved together.
MAX_NUMBERS = 40_000_000
# Smaller eigenvalues, as a share of the largest, are rounding.
NEGLIGIBLE = 1e-12


@dataclass(frozen=True, eq=False)
class Expansion:
    """A loss about its present scores.

    Attributes
    ----------
    value : (P,) float
    slope : (N, P, C) float
        Its derivative by the scores.
    bend : callable
        The second derivative, times a change of the scores (N, P, C).
    diagonal : (P, C) float
        The second derivative by each score alone, summed over rows.
    vertex : callable, optional
        The weights (R, P, C) at which its parabola is least, from the principal rows, the strength
        and the present weights; None where a direct solution would cost more than a search.
    """

    value: Floats
    slope: Floats
    bend: Callable[[Floats], Floats] = field(repr=False)
    diagonal: Floats
    vertex: Callable[[PrincipalRows, float, Floats], Floats | None] | None = field(
        default=None, repr=False
    )


class Loss(Protocol):
    """A convex function of the scores, for each of P problems."""

    @property
    def total_weight(self) -> Floats:
        """``(P,)`` weight of the rows that count."""
        ...

    def value(self, scores: Floats) -> Floats:
        """``(N, P, C)`` scores to ``(P,)`` sums over rows."""
        ...

    def expand(self, scores: Floats) -> Expansion:
        """Value, slope and curvature there."""
        ...

    def only(self, problems: Mask) -> Loss:
        """The same for some of the problems."""
        ...


class Family(Protocol):
    """What a kind of head adds: its loss, and how to judge scores that it did not learn from."""

    @property
    def n_columns(self) -> int:
        """Columns of weights in one problem: K if classes compete, 1 if each is on its own."""
        ...

    @property
    def least_gain(self) -> float:
        """The path ends where three strengths bring less than this share of all gains."""
        ...

    @property
    def usual_strength(self) -> float:
        """Of the total weight: what to take where nothing can be measured."""
        ...

    def loss(self, y: Codes, weights: Floats) -> Loss:
        """For ``(N, F)`` row weights, one column per fold: F * K / C problems."""
        ...

    def with_absent(self, scores: Floats, present: Mask) -> Floats:
        """``(N, K)`` finite scores where ``(N, K)`` says which classes the fit has seen."""
        ...

    def row_losses(self, scores: Floats, y: Codes) -> Floats:
        """``(N,)`` losses of ``(N, K)`` scores."""
        ...

    def choose(self, curve: list[dict[str, float]]) -> int:
        """Index of the best point."""
        ...


@dataclass(frozen=True, eq=False)
class PrincipalRows:
    """Rows on their principal axes, and the way back.

    Attributes
    ----------
    rows : (N, R) float64
        The last column is the constant 1, for the bias.
    squares : (R,)
        Sums of squares of the columns.
    is_penalised : (R, 1, 1)
        0 for the constant, else 1.
    to_weight : callable
        (R - 1, K) coefficients to (D, K) weights.
    """

    rows: Floats
    squares: Floats
    is_penalised: Floats
    to_weight: Callable[[Floats], Floats] = field(repr=False)

    @classmethod
    def of(cls, Z: Floats) -> PrincipalRows:
        """Turn ``(N, D)`` features, by the smaller of the two matrices of inner products."""
        Z = np.asarray(Z, np.float64)
        N, D = Z.shape
        values, vectors = np.linalg.eigh(Z @ Z.T if N < D else Z.T @ Z)
        keep = values > max(values[-1], 1e-30) * NEGLIGIBLE
        values, vectors = values[keep], vectors[:, keep]
        if N < D:
            turned = vectors * np.sqrt(values)
            back = vectors / np.sqrt(values)
        else:
            turned, back = Z @ vectors, vectors

        def to_weight(coefficients: Floats) -> Floats:
            weight: Floats = back @ coefficients
            return Z.T @ weight if N < D else weight

        return cls(
            rows=np.concatenate([turned, np.ones((N, 1))], axis=1),
            squares=np.concatenate([values, [float(N)]]),
            is_penalised=np.concatenate([np.ones(len(values)), [0.0]])[:, None, None],
            to_weight=to_weight,
        )

    @cached_property
    def gram(self) -> Floats:
        """``(N, N)`` inner products of the rows, without the constant."""
        gram: Floats = self.rows[:, :-1] @ self.rows[:, :-1].T
        return gram

    def in_single(self) -> PrincipalRows:
        """The same in float32: twice as fast, and exact enough to compare strengths."""
        single = np.float32
        return replace(
            self,
            rows=self.rows.astype(single),
            squares=self.squares.astype(single),
            is_penalised=self.is_penalised.astype(single),
        )

    def scores(self, W: Floats) -> Floats:
        """``(R, P, C)`` weights to ``(N, P, C)`` scores."""
        flat: Floats = self.rows @ W.reshape(len(W), -1)
        return flat.reshape(-1, *W.shape[1:])

    def gathered(self, slope: Floats) -> Floats:
        """``(N, P, C)`` slopes by score to ``(R, P, C)`` slopes by weight."""
        flat: Floats = self.rows.T @ slope.reshape(len(slope), -1)
        return flat.reshape(-1, *slope.shape[1:])

    def head(self, W: Floats) -> LinearHead:
        """``(R, K)`` weights as a head on the features as they came."""
        weight = np.ascontiguousarray(self.to_weight(W[:-1]).T, np.float32)
        return LinearHead(weight, W[-1].astype(np.float32))


def fit_path(
    family: Family, Z: Floats, y: Codes, *, n_classes: int, folds: Codes, sample_weight: Floats
) -> ChosenHead:
    """Solve from strong to weak for every fold, choose by the left-out rows, solve for all rows.

    Parameters
    ----------
    family : Family
    Z : (N, D) float
    y : (N,) codes
    n_classes : int
    folds : (N,) int
        More than 5 are merged to 5. Where too few rows can judge, the family's usual strength is
        taken.
    sample_weight : (N,) float
    """
    y = np.asarray(y)
    sample_weight = np.asarray(sample_weight, np.float64)
    principal = PrincipalRows.of(Z)
    is_there = np.bincount(y, minlength=n_classes) > 0
    if len(rows_that_judge(y, folds)):
        folds = merged_folds(folds, y)
    judges = rows_that_judge(y, folds)
    if not len(judges):
        strength = family.usual_strength * float(sample_weight.sum())
        nothing = np.zeros((principal.rows.shape[1], n_classes))
        usual = solve(family, principal, y, sample_weight, strength, start=nothing)
        return ChosenHead.unmeasured(_finite_head(principal, usual, is_there), strength, n_classes)
    present = present_classes(y, folds, sample_weight, n_classes)[folds]
    path = _FoldPath(family, principal, y, folds, sample_weight, n_classes)

    strengths = RELATIVE_STRENGTHS * sample_weight.sum()
    curve: list[dict[str, float]] = []
    for strength in strengths:
        scores = family.with_absent(path.left_out_scores(strength), present)
        scores = scores[judges]
        losses = family.row_losses(scores, y[judges])
        curve.append(curve_point(strength, losses, scores, y[judges], sample_weight[judges]))
        if family.choose(curve) == len(curve) - 1:
            chosen, oof_scores, start = float(strength), scores, path.mean_weights()
        if has_levelled(curve, family.least_gain):
            break

    W = solve(family, principal, y, sample_weight, chosen, start=start)
    return ChosenHead(
        head=_finite_head(principal, W, is_there),
        strength=chosen,
        curve=curve,
        oof_rows=judges,
        oof_scores=oof_scores.astype(np.float32),
    )


def has_levelled(curve: list[dict[str, float]], least_gain: float) -> bool:
    """Whether three weaker strengths brought less than this share of all gains, in log loss.

    So too when the loss rises. It falls, levels and rises again; at the strong end, where it
    falls slowly, three steps are still most of what was gained.
    """
    losses = np.log([point["loss"] + 1e-12 for point in curve])
    gain, gains = losses[-min(4, len(losses))] - losses[-1], losses[0] - losses.min()
    return len(curve) > 4 and bool(gain <= least_gain * gains)


def solve(
    family: Family,
    principal: PrincipalRows,
    y: Codes,
    sample_weight: Floats,
    strength: float,
    *,
    start: Floats,
) -> Floats:
    """``(R, K)`` weights at one strength, to many digits."""
    W = start.reshape(len(start), -1, family.n_columns)
    for rows, tolerance in (principal.in_single(), SINGLE_TOLERANCE), (principal, HEAD_TOLERANCE):
        dtype = rows.rows.dtype
        loss = family.loss(y, sample_weight[:, None].astype(dtype))
        W = minimise(loss, rows, W.astype(dtype), strength, tolerance=tolerance)
    solved: Floats = W.reshape(len(start), -1)
    if family.n_columns > 1:  # a constant added to all competing scores changes nothing
        solved -= solved.mean(axis=1, keepdims=True)
    return solved


class _FoldPath:
    """The weights of all folds, moved along from one strength to the next."""

    def __init__(
        self,
        family: Family,
        principal: PrincipalRows,
        y: Codes,
        folds: Codes,
        sample_weight: Floats,
        n_classes: int,
    ) -> None:
        self.principal, self.folds = principal.in_single(), folds
        n_folds = int(folds.max()) + 1
        per_fold = n_classes // family.n_columns
        self.shape = (n_folds, n_classes)
        self.W = np.zeros(
            (principal.rows.shape[1], n_folds * per_fold, family.n_columns), np.float32
        )
        self.before = self.W.copy()
        step = max(1, MAX_NUMBERS // (len(y) * n_classes))
        self.parts: list[tuple[slice, slice, Loss]] = []
        for first in range(0, n_folds, step):
            some = np.arange(first, min(first + step, n_folds))
            weights = (sample_weight[:, None] * (folds[:, None] != some)).astype(np.float32)
            problems = slice(first * per_fold, (first + len(some)) * per_fold)
            self.parts.append((slice(first, first + len(some)), problems, family.loss(y, weights)))

    def left_out_scores(self, strength: float) -> Floats:
        """``(N, K)``: move the weights to this strength and score each row without its fold."""
        scores = np.empty((len(self.folds), self.shape[1]))
        for part, problems, loss in self.parts:
            # Strengths are equally spaced in logs, and so, nearly, are their weights.
            start = 2 * self.W[:, problems] - self.before[:, problems]
            self.before[:, problems] = self.W[:, problems]
            W = minimise(loss, self.principal, start, strength, tolerance=FOLD_TOLERANCE)
            self.W[:, problems] = W
            by_fold = W.reshape(len(W), -1, self.shape[1])
            for place, fold in enumerate(range(part.start, part.stop)):
                rows = np.flatnonzero(self.folds == fold)
                scores[rows] = self.principal.rows[rows] @ by_fold[:, place]
        return scores

    def mean_weights(self) -> Floats:
        """``(R, K)``: where to start for all rows."""
        mean: Floats = self.W.reshape(len(self.W), *self.shape).mean(axis=1, dtype=np.float64)
        return mean


def minimise(
    loss: Loss, principal: PrincipalRows, W: Floats, strength: float, *, tolerance: float
) -> Floats:
    """``(R, P, C)`` weights with the least ``loss + strength / 2 * |weights|^2``, from W on.

    Parameters
    ----------
    loss : Loss
    principal : PrincipalRows
    W : (R, P, C) float
    strength : float, above 0
    tolerance : float
        A problem is done at about this share above its minimum.
    """
    W = W.copy()
    scores = principal.scores(W)
    is_open = np.ones(W.shape[1], bool)
    penalty = float(strength) * principal.is_penalised  # a Python float keeps float32
    for _ in range(MAX_NEWTON_STEPS):
        some, W_, scores_ = loss.only(is_open), W[:, is_open], scores[:, is_open]
        about = some.expand(scores_)
        slope = principal.gathered(about.slope) + penalty * W_
        curvature = _diagonal_curvature(about, principal, penalty, some.total_weight)
        decrement = _dot(slope, slope / curvature)
        objective = about.value + _dot(penalty * W_, W_) / 2
        todo = decrement > tolerance * objective
        if not todo.any():
            break
        is_open[is_open] = todo
        if not todo.all():
            continue
        vertex = about.vertex(principal, strength, W_) if about.vertex else None
        if vertex is None:
            step, scores_step = _newton_step(about, principal, penalty, slope, curvature)
        else:
            step = vertex - W_
            scores_step = principal.scores(step)
        size = _line_search(some, about, penalty, W_, scores_, slope, step, scores_step)
        W[:, is_open] = W_ + size[:, None] * step
        scores[:, is_open] = scores_ + size[:, None] * scores_step
        is_open[is_open] = size > 0
        if not is_open.any():
            break
    return W


def _diagonal_curvature(
    about: Expansion, principal: PrincipalRows, penalty: Floats, total_weight: Floats
) -> Floats:
    mean_bend = about.diagonal / len(principal.rows)
    floor = 1e-9 * total_weight[:, None] / len(principal.rows)
    curvature: Floats = principal.squares[:, None, None] * np.maximum(mean_bend, floor) + penalty
    return curvature


def _newton_step(
    about: Expansion, principal: PrincipalRows, penalty: Floats, slope: Floats, curvature: Floats
) -> tuple[Floats, Floats]:
    """The change of weights that cancels the slope, by conjugate gradients; and of the scores.

    Inexact on purpose: the next step sees a new curvature anyway.
    """
    step, scores_step = np.zeros_like(slope), np.zeros_like(about.slope)
    residual = -slope
    prepared = residual / curvature
    search = prepared
    energy = first = _dot(residual, prepared)
    for _ in range(MAX_CONJUGATE_STEPS):
        scores_search = principal.scores(search)
        product = principal.gathered(about.bend(scores_search)) + penalty * search
        bent = _dot(search, product)
        # A problem that has no residual left moves no further.
        along = np.divide(energy, bent, out=np.zeros_like(energy), where=bent > 0)[:, None]
        step += along * search
        scores_step += along * scores_search
        residual = residual - along * product
        prepared = residual / curvature
        following = _dot(residual, prepared)
        if (following <= EXACTNESS * first).all():
            break
        turn = np.divide(following, energy, out=np.zeros_like(energy), where=energy > 0)
        search = prepared + turn[:, None] * search
        energy = following
    return step, scores_step


def _line_search(
    loss: Loss,
    about: Expansion,
    penalty: Floats,
    W: Floats,
    scores: Floats,
    slope: Floats,
    step: Floats,
    scores_step: Floats,
) -> Floats:
    """``(P,)`` sizes of step, halved until the loss falls enough (Armijo); 0 if it never does."""
    descent = _dot(slope, step)
    linear, square = _dot(penalty * W, step), _dot(penalty * step, step) / 2
    size = np.ones(len(descent))
    for _ in range(MAX_HALVINGS):
        value = loss.value(scores + size[:, None] * scores_step)
        change = value - about.value + size * linear + size**2 * square
        # At the minimum the change drowns in rounding; such a step is taken.
        slack = 4 * np.finfo(about.slope.dtype).eps * np.abs(about.value)
        is_enough = change <= 1e-4 * size * descent + slack
        if is_enough.all():
            return size
        size = np.where(is_enough, size, size / 2)
    return np.where(is_enough, size, 0.0)


def present_classes(y: Codes, folds: Codes, sample_weight: Floats, n_classes: int) -> Mask:
    """``(F, K)``: which classes have rows outside each fold."""
    held = np.zeros((int(folds.max()) + 1, n_classes))
    np.add.at(held, (folds, y), sample_weight > 0)
    present: Mask = held.sum(axis=0) - held > 0
    return present


def _finite_head(principal: PrincipalRows, W: Floats, present: Mask) -> LinearHead:
    """The head; a class without images scores below all others on the rows it learnt from."""
    if not present.all():
        lowest = (principal.rows @ W[:, present]).min()
        W = np.where(present, W, 0.0)
        W[-1, ~present] = lowest - np.log(len(principal.rows) + 1)
    return principal.head(W)


def _dot(a: Floats, b: Floats) -> Any:
    """``(P,)`` inner products of each problem's weights."""
    return (a * b).sum(axis=0).sum(axis=1)
