"""Would more images help? The probe on a tenth, on a third and on all of train, in closed form.

The error of a probe falls about as a power of the number of images (Hestness et al. 2017,
arXiv:1712.00409), so two points say where a third may lie. How well that holds here is said too:
from the smaller parts, all of train is predicted, and held against what was measured.

Array letters: N images, F features of the representation, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.choosing.difference import points
from regraft.evaluation.intervals import score_interval
from regraft.probe import ridge
from regraft.wording import count, percent

# Shares of train, and how often each is drawn.
SHARES = {0.1: 6, 0.3: 3}
# Images of the largest part that is fitted here: the cost grows with the cube.
MOST_FITTED = 1_000
FEWEST_FITTED, FEWEST_TESTED = 6, 10
LEVEL, Z = 0.95, 1.96
# Fewer images than this, and than this share of what a class has on average, are hardly seen by the
# accuracy of all.
FEW, RARE = 10, 0.25
STRENGTHS, USUAL_STRENGTH = np.logspace(-4, 2, 13), 0.1
# How far the exponent of the power may be off, beside what the points say; and its bounds.
EXPONENT_ERROR, EXPONENTS = 0.25, (0.0, 1.2)
N_DRAWS, LEAST_ERROR = 2_000, 1e-4
# Less than that is 0.0 points on the screen.
SEEN = 0.0005
# Of the errors that are left, twice as many images have to take this share away to help much.
HELPS = 0.1


@dataclass(frozen=True)
class Point:
    """Accuracy of the probe that learnt from n images."""

    n: int
    accuracy: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in vars(self).items()}


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy against the number of images that taught.

    Attributes
    ----------
    points : tuple of Point
        The last is all of train, every image left out in turn.
    foretold : Point or None
        All of train, as the smaller parts foretell it.
    doubled : Point or None
        Twice as many images, as the points foretell it.
    gain : dict or None
        What these are foretold to add to accuracy: ``value``, ``low``, ``high``; not below zero,
        which more images do not take away.
    n_unseen : int
        Classes with so few of the images that the accuracy of all hardly sees them.
    """

    points: tuple[Point, ...]
    foretold: Point | None = None
    doubled: Point | None = None
    gain: dict[str, float] | None = None
    n_unseen: int = 0

    @property
    def words(self) -> str:
        """Whether more images would help, which is said only where the interval excludes none."""
        if self.doubled is None or self.gain is None:
            return "too few images for a learning curve"
        much = HELPS * (1 - self.points[-1].accuracy)
        if self.gain["high"] <= max(much, SEEN) or self.points[-1].accuracy >= 1:
            said = "more images would help little"
        elif self.gain["low"] < SEEN:
            said = "more images may help or not: their gain cannot be told from none"
        elif self.gain["value"] < much:
            said = "more images would help a little"
        else:
            said = "more images would help"
        return (
            f"{said}; twice as many are foretold {points(self.gain)}, to about "
            f"{percent(self.doubled.accuracy)}{self._unseen}"
        )

    @property
    def _unseen(self) -> str:
        if not self.n_unseen:
            return ""
        classes = count(self.n_unseen, "class", "classes")
        return f"; of {classes} with fewer images than {FEW} this says next to nothing"

    def to_list(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [point.to_dict() for point in self.points]


def measure(
    Z: NDArray[np.float32], y: NDArray[np.intp], units: NDArray[np.intp],
    right: NDArray[np.bool_], *, seed: int = 0,
) -> LearningCurve:  # fmt: skip
    """The curve of a probe on what its head sees.

    Parameters
    ----------
    Z : (N, F) float32
        The representation of all that teach.
    y : (N,) codes
    units : (N,) int
        Rows of one unit stay together.
    right : (n,) bool
        Of the images that were left out of the probe of all of train.
    """
    N = len(y)
    points, errors = [], []
    for share, draws in SHARES.items():
        n = min(share * N, share * MOST_FITTED / max(SHARES))
        found = [_drawn(Z, y, units, n, np.random.default_rng([seed, draw, int(100 * share)]))
                 for draw in range(draws)]  # fmt: skip
        known = [one for one in found if one is not None]
        if known:
            point, error = _point(known)
            points.append(point)
            errors.append(error)
    if not len(right):
        return LearningCurve(tuple(points))
    share = float(right.mean())
    low, high = score_interval(share, float(len(right)), level=LEVEL)
    whole = Point(N, share, float(low), float(high))
    error = math.sqrt(max(share * (1 - share), 0.25 / len(right)) / len(right))
    foretold = doubled = gain = None
    if len(points) == len(SHARES) and points[0].n < points[1].n < N:
        foretold = _foretold(points[0], errors[0], points[1], errors[1], N, error, seed)
        doubled = _foretold(points[1], errors[1], whole, error, 2 * N, 0.0, seed)
        gain = _gain(points[1], errors[1], whole, error, 2 * N, seed)
    n_of = np.bincount(y)
    is_unseen = (n_of > 0) & (n_of < FEW) & (n_of < RARE * len(y) / np.count_nonzero(n_of))
    return LearningCurve((*points, whole), foretold, doubled, gain, int(is_unseen.sum()))


def _drawn(
    Z: NDArray[np.float32], y: NDArray[np.intp], units: NDArray[np.intp], n: float,
    rng: np.random.Generator,
) -> tuple[int, int, float] | None:  # fmt: skip
    """Images that taught, images that were tested, and the accuracy; of one drawing."""
    mask = _part(y, units, n / len(y), rng)
    tested = ~np.isin(units, units[mask])
    classes = np.unique(y[mask])
    if mask.sum() < FEWEST_FITTED or tested.sum() < FEWEST_TESTED or len(classes) < 2:
        return None
    K = int(y.max()) + 1
    system = ridge.RidgeSystem.build(
        lambda: iter([Z[mask]]), y[mask], n_classes=K, folds=units[mask]
    )
    head = system.head(_strength(system, y[mask]))
    right = head.scores(Z[tested]).argmax(1) == y[tested]
    return int(mask.sum()), int(tested.sum()), float(right.mean())


def _strength(system: ridge.RidgeSystem, y: NDArray[np.intp]) -> float:
    """With the least squared error of left-out images; a usual one where none can be left out."""
    if not system.can_choose:
        return USUAL_STRENGTH
    hot = np.eye(system.n_classes)[y[system.judged_rows]]
    losses = [float(((system.left_out_scores(s) - hot) ** 2).mean()) for s in STRENGTHS]
    return float(STRENGTHS[int(np.argmin(losses))])


def _part(
    y: NDArray[np.intp], units: NDArray[np.intp], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whole units, about this share of every class, and at least one of each.

    A unit of several classes counts for each of them.
    """
    mask = np.zeros(len(y), bool)
    for code in np.unique(y):
        rows = np.flatnonzero(y == code)
        order = rng.permutation(np.unique(units[rows]))
        wanted, taken = max(1.0, share * len(rows)), int(mask[rows].sum())
        for unit in order:
            if taken >= wanted:
                break
            own = units == unit
            taken += int((own & ~mask & (y == code)).sum())
            mask |= own
    return mask


def _point(found: list[tuple[int, int, float]]) -> tuple[Point, float]:
    """The mean of several drawings, and its standard error."""
    n = round(float(np.mean([taught for taught, _, _ in found])))
    shares = np.array([share for _, _, share in found])
    tested = float(np.mean([count for _, count, _ in found]))
    mean = float(shares.mean())
    between = float(shares.var(ddof=1)) / len(shares) if len(shares) > 1 else 0.0
    error = math.sqrt(between + max(mean * (1 - mean), 0.25 / tested) / tested)
    return Point(n, mean, max(0.0, mean - Z * error), min(1.0, mean + Z * error)), error


def _foretold(
    first: Point, first_error: float, second: Point, second_error: float, n: int,
    own_error: float, seed: int,
) -> Point:  # fmt: skip
    """At n images, by the power through two points; the interval holds the error of both points,
    of the power itself, and of what would be measured there."""
    middle = float(_at(n, first, second, 1 - first.accuracy, 1 - second.accuracy, 0.0))
    rng = np.random.default_rng([seed, n])
    _, drawn = _drawn_errors(n, first, first_error, second, second_error, rng)
    drawn = drawn + own_error * rng.standard_normal(N_DRAWS)
    low, high = np.quantile(np.clip(drawn, 0.0, 1.0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = min(float(low), middle), max(float(high), middle)
    return Point(n, 1 - middle, 1 - high, 1 - low)


def _gain(
    first: Point, first_error: float, second: Point, second_error: float, n: int, seed: int
) -> dict[str, float]:
    """Of accuracy, from the second point to n images: luck in the second one is in both."""
    middle = 1 - second.accuracy
    middle -= float(_at(n, first, second, 1 - first.accuracy, 1 - second.accuracy, 0.0))
    rng = np.random.default_rng([seed, n])
    now, then = _drawn_errors(n, first, first_error, second, second_error, rng)
    low, high = np.quantile(now - then, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "value": middle,
        "low": min(float(low), middle),
        "high": max(float(high), middle),
        "level": LEVEL,
    }


def _drawn_errors(
    n: int, first: Point, first_error: float, second: Point, second_error: float,
    rng: np.random.Generator,
) -> tuple[Any, Any]:  # fmt: skip
    """Shares of errors at the second point and at n images, as they may really be."""
    start = 1 - first.accuracy + first_error * rng.standard_normal(N_DRAWS)
    end = 1 - second.accuracy + second_error * rng.standard_normal(N_DRAWS)
    jitter = EXPONENT_ERROR * rng.standard_normal(N_DRAWS)
    return np.maximum(end, LEAST_ERROR), _at(n, first, second, start, end, jitter)


def _at(n: int, first: Point, second: Point, start: Any, end: Any, jitter: Any) -> Any:
    """Errors at n images, from those at two points."""
    start, end = np.maximum(start, LEAST_ERROR), np.maximum(end, LEAST_ERROR)
    exponent = np.log(start / end) / math.log(second.n / first.n)
    exponent = np.clip(exponent + jitter, *EXPONENTS)
    return end * np.exp(-exponent * math.log(n / second.n))
