"""Heads that one decomposition serves at every strength, and the strength that suits them best.

A strength is judged by the log loss of left-out scores after one temperature: what orders well is
not held back by how it is scaled, as it is where squared errors of one-hot labels judge.

N images, K classes, n images that judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from regraft.probe.base import Floats
from regraft.probe.discriminant import Discriminant
from regraft.probe.hat import STRENGTHS
from regraft.probe.linear_head import LinearHead
from regraft.probe.out_of_fold import ChosenHead, curve_point, log_losses
from regraft.probe.ridge import USUAL_STRENGTH, RidgeSystem
from regraft.probe.scale import fit_weight

CLOSED_FORM = ("lda", "ridge")
# Where the search begins, its strides, and those from near on.
FIRST, STRIDES, NEAR = 8, (2, 1), (1,)
# Of scores of unit mean square.
LEAST_WEIGHT = 0.05
USUAL_STRENGTHS = {"lda": 1.0, "ridge": USUAL_STRENGTH}


@dataclass(frozen=True, eq=False)
class Solved:
    """A head at one strength, and what it says of images that it did not see.

    Attributes
    ----------
    kind : {'lda', 'ridge'}
    strength : float
    scores : (n, K) float
        Left out, of the rows that judge.
    weight : float
        The inverse temperature of the scores.
    losses : (n,) float
        Their log losses at it, and their weighted mean.
    loss : float
    head : callable
        The solution on all rows.
    """

    kind: str
    strength: float
    scores: Floats
    weight: float
    losses: Floats
    loss: float
    head: Callable[[], LinearHead] = field(repr=False)


def solve(
    system: RidgeSystem, kind: str, *, near: float | None = None, strides: Sequence[int] = STRIDES
) -> tuple[Solved, list[dict[str, float]]]:
    """At the best strength, and the curve of those that were tried.

    The search begins at `near`, or at the best of those that the system has at hand.
    """
    y, row_weight = system.y[system.judges], system.weight[system.judges]
    weights: dict[int, float] = {}
    points: dict[int, dict[str, float]] = {}
    least: dict[int, Solved] = {}  # others' scores are not held: there may be many classes

    def loss(place: int) -> float:
        if place not in points:
            nearest = min(weights, key=lambda other: abs(other - place), default=None)
            start = None if nearest is None else weights[nearest]
            found = _at(system, kind, float(STRENGTHS[place]), start)
            weights[place] = found.weight
            points[place] = curve_point(found.strength, found.losses, found.scores, y, row_weight)
            own = points[place]["loss"]
            if not any(points[other]["loss"] < own for other in least):
                for beaten in [other for other in least if own < points[other]["loss"]]:
                    del least[beaten]
                least[place] = found
        return points[place]["loss"]

    at_hand = map(_place, system.hat.at_hand)
    first = min(at_hand, key=loss, default=FIRST if near is None else _place(near))
    best = least[_least(loss, first, len(STRENGTHS), strides)]
    return best, [points[place] for place in sorted(points)]


def _place(strength: float) -> int:
    """The nearest on the scale."""
    return int(np.abs(np.log(STRENGTHS / strength)).argmin())


def finish(
    system: RidgeSystem, kind: str, *, near: float | None = None, strides: Sequence[int] = STRIDES
) -> ChosenHead:
    """The head at the best strength; at the usual one where nothing can be measured."""
    if not system.can_choose:
        strength = USUAL_STRENGTHS[kind]
        ridge = system.head(strength)
        head = Discriminant.of(system, strength).usual_head() if kind == "lda" else ridge
        return ChosenHead.unmeasured(head, strength, system.n_classes)
    best, curve = solve(system, kind, near=near, strides=strides)
    rows = system.judged_rows
    return ChosenHead(best.head(), best.strength, curve, rows, best.scores.astype(np.float32))


def _at(system: RidgeSystem, kind: str, strength: float, start: float | None = None) -> Solved:
    """At one strength; `start` is the weight at one nearby."""
    y = system.y[system.judges]
    if kind == "ridge":
        scores = system.left_out_scores(strength).astype(np.float32)
        weight = fit_weight(scores, y, start=start)
        return _solved(system, kind, strength, scores, weight, lambda: system.head(strength))
    fitted = Discriminant.of(system, strength)
    scores = fitted.left_out().astype(np.float32)
    weight = fit_weight(scores, y, start=start)
    # What the classes' sizes say, on the scale of the scores; those of noise would have none.
    spread = float(np.sqrt(np.square(scores - scores.mean(axis=1, keepdims=True)).mean()))
    prior = 1 / max(weight, LEAST_WEIGHT / max(spread, 1e-12))
    if np.ptp(fitted.log_shares) > 0:
        scores[:, fitted.present] += (prior * fitted.left_out_log_shares).astype(np.float32)
        weight = fit_weight(scores, y, start=weight)
    return _solved(system, kind, strength, scores, weight, lambda: fitted.head(prior))


def _solved(
    system: RidgeSystem,
    kind: str,
    strength: float,
    scores: Floats,
    weight: float,
    head: Callable[[], LinearHead],
) -> Solved:
    y, row_weight = system.y[system.judges], system.weight[system.judges]
    losses = log_losses(weight * scores, y)
    loss = float(row_weight @ losses / row_weight.sum())
    return Solved(kind, strength, scores, weight, losses, loss, head)


def _least(loss: Callable[[int], float], first: int, n: int, strides: Sequence[int]) -> int:
    """Downhill, in large strides, then small ones: where it ends, nothing tried was lower."""
    place = first
    for stride in strides:
        while True:
            near = [p for p in (place - stride, place + stride) if 0 <= p < n]
            following = min(near, key=loss, default=place)
            if not loss(following) < loss(place):
                break
            place = following
    return place
