"""Whether an engine says what PyTorch says of the same pictures, or something else.

The cosine of two pictures' features tells nothing: what all pictures have in common is most of
them, and with random weights different pictures reach 0.99. So their mean is taken away first.
What is left must be small against how much the pictures differ, in every tap together and in its
worst column, and each picture must be nearest to itself. docs/experiments.md ("Engines that
agree") has what sound engines and planted faults reach.

Array letters: n pictures, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.features.engine import Tap

# Largest error of a tap, over how much its pictures differ; and of one of its columns, over that
# and the column's own level, for bf16 keeps eight digits of a number, large or small.
MOST_ERROR = {"fp32": 0.01, "bf16": 0.2}
MOST_IN_A_COLUMN = {"fp32": 0.02, "bf16": 0.3}
# A tap whose pictures differ by less than this share of its level says the same of all of them.
SAME_FOR_ALL = 1e-6


@dataclass(frozen=True)
class Agreement:
    """How far an engine is from PyTorch where it is farthest.

    Attributes
    ----------
    images : int
    error : float
        Root mean square over the pictures, over how much they differ.
    tap : str
        Where that is.
    column_error : float
        Of the worst column, over that and its own level.
    lost : str
        A tap in which a picture is nearer to another one than to itself; empty if there is none.
    """

    images: int
    error: float
    tap: str
    column_error: float
    lost: str = ""

    def problem(self, precision: str) -> str:
        """Why the engine must not be used, in words; empty if it may."""
        if self.lost:
            return f"a picture is taken for another one at {self.lost}"
        if not self.error <= MOST_ERROR[precision]:  # NaN is too much as well
            return f"error of {self.error:.2g} at {self.tap}, at most {MOST_ERROR[precision]:g}"
        if not self.column_error <= MOST_IN_A_COLUMN[precision]:
            return (
                f"one feature is off by {self.column_error:.2g}, at most "
                f"{MOST_IN_A_COLUMN[precision]:g}"
            )
        return ""

    def to_dict(self) -> dict[str, Any]:
        """For engine.json."""
        return asdict(self)


def agreement(
    found: NDArray[np.float32],
    wanted: NDArray[np.float32],
    taps: Sequence[Tap],
    *,
    is_pooled: bool = True,
) -> Agreement:
    """Compare what an engine and PyTorch say of the same pictures.

    Parameters
    ----------
    found, wanted : (n, D) float32
        By the engine, and by PyTorch in full precision. The pictures should differ.
    taps : sequence of Tap
        Each is compared for itself.
    is_pooled : bool
        A column is a channel, pooled over all places, and must agree for itself. A channel at one
        place is zero for most pictures, so that what bf16 makes of the others says nothing.

    Examples
    --------
    >>> wanted = np.random.default_rng(0).normal(5, 1, (8, 6)).astype(np.float32)
    >>> agreement(wanted + 0.001, wanted, [Tap("final", 0, 6)]).problem("fp32")
    ''
    >>> agreement(wanted[::-1], wanted, [Tap("final", 0, 6)]).problem("bf16")
    'a picture is taken for another one at final'
    """
    errors = {tap.name: _errors(found, wanted, tap) for tap in taps}
    tap = max(errors, key=lambda name: _as_large(errors[name][0]))
    column = max((error for _, error, _ in errors.values()), key=_as_large) if is_pooled else 0.0
    lost = next((name for name, (_, _, is_lost) in errors.items() if is_lost), "")
    return Agreement(len(found), round(errors[tap][0], 7), tap, round(column, 7), lost)


def made_up_pictures(height: int, width: int, n: int = 8) -> NDArray[np.uint8]:
    """``(n, height, width, 3)`` pictures that differ in colour, coarseness and noise."""
    rng, sides = np.random.default_rng(0), (2, 3, 5, 7, 9, 12, 16, 24)
    found = []
    for number in range(n):
        side = sides[number % len(sides)]
        patches = rng.integers(0, 256, (side, side, 3)).astype(float)
        if number % 2:  # shades of one colour
            patches = patches.mean(2, keepdims=True) * rng.uniform(0.3, 1, 3) + rng.uniform(
                0, 60, 3
            )
        rows, columns = np.arange(height) * side // height, np.arange(width) * side // width
        noise = rng.integers(-15, 16, (height, width, 3))
        found.append(np.clip(patches[rows][:, columns] + noise, 0, 255))
    return np.stack(found).astype(np.uint8)


def _errors(
    found: NDArray[np.float32], wanted: NDArray[np.float32], tap: Tap
) -> tuple[float, float, bool]:
    """Of a tap: its error, that of its worst column, and whether a picture does not find itself."""
    a, b = (X[:, tap.start : tap.stop].astype(np.float64) for X in (found, wanted))
    differs = b - b.mean(axis=0)
    level = max(float(np.sqrt((b**2).mean())), 1e-30)
    spread = max(float(np.sqrt((differs**2).mean())), SAME_FOR_ALL * level)
    missed = (a - b) ** 2
    error = float(np.sqrt(missed.mean()) / spread)
    of_columns = np.sqrt(missed.mean(axis=0)) / (spread + np.sqrt((b**2).mean(axis=0)))
    worst = float(of_columns.max(initial=0))
    return error, worst, _is_one_lost(a - b.mean(axis=0), differs)


def _is_one_lost(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether a picture is nearer to another one than to itself; equal pictures are one.

    Both ``(n, D)``, less the mean over the pictures.
    """
    tolerance = 1e-9 * max(float((b**2).sum(axis=1).max(initial=0)), 1e-30)
    others = _squared_distances(a, b)
    others[_squared_distances(b, b) <= tolerance] = np.inf  # itself, and what is as good as it
    own = ((a - b) ** 2).sum(axis=1)
    return bool((others.min(axis=1, initial=np.inf) < own - tolerance).any())


def _squared_distances(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Of each row of `a` to each of `b`, (n, n)."""
    return np.asarray((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T)


def _as_large(error: float) -> float:
    return np.inf if np.isnan(error) else error
