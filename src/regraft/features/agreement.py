"""Whether an engine says what PyTorch says of the same pictures, or something else.

The cosine of two pictures' features tells nothing: what all pictures have in common is most of
them, and with random weights different pictures reach 0.99. So an error is measured against how
much the pictures differ, tap by tap and column by column, and each picture must be nearest to
itself. docs/experiments.md ("Engines that agree") has what sound engines and planted faults reach.

Array letters: n pictures, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.features.engine import Tap

# Largest error of a tap over how much its pictures differ.
MOST_ERROR = {"fp32": 0.002, "bf16": 0.3}
# The same of one column, over that and its own level. Not in bf16: a channel that is zero for most
# pictures is all rounding there.
MOST_IN_A_COLUMN = {"fp32": 0.002, "bf16": np.inf}
# Pictures that differ by less than this share of a tap's level are as good as equal: no sum in this
# arithmetic tells them apart. Random networks may hardly depend on their input.
FINEST = {"fp32": 1e-3, "bf16": 0.02}


@dataclass(frozen=True)
class Agreement:
    """How far an engine is from PyTorch where it is farthest.

    Attributes
    ----------
    images : int
    precision : {'fp32', 'bf16'}
        In which the engine computed.
    error : float
        Root mean square over a tap, over how much its pictures differ.
    tap : str
        Where that is.
    column_error : float
        Of the worst column, over that and its own level.
    lost : str
        A tap in which a picture is nearer to another one than to itself; empty if there is none.
    """

    images: int
    precision: str
    error: float
    tap: str
    column_error: float
    lost: str = ""

    def problem(self) -> str:
        """Why the engine must not be used, in words; empty if it may."""
        most, most_in_a_column = MOST_ERROR[self.precision], MOST_IN_A_COLUMN[self.precision]
        if self.lost:
            return f"a picture is taken for another one at {self.lost}"
        if not self.error <= most:  # NaN is too much as well
            return f"error of {self.error:.2g} at {self.tap}, at most {most:g}"
        if not self.column_error <= most_in_a_column:
            return f"one feature is off by {self.column_error:.2g}, at most {most_in_a_column:g}"
        return ""


def agreement(
    found: NDArray[np.float32], wanted: NDArray[np.float32], taps: Sequence[Tap], precision: str
) -> Agreement:
    """Compare what an engine and PyTorch say of the same pictures.

    Parameters
    ----------
    found, wanted : (n, D) float32
        By the engine, and by PyTorch in full precision. The pictures should differ.
    taps : sequence of Tap
        Each is compared for itself.
    precision : {'fp32', 'bf16'}
        In which the engine computed.

    Examples
    --------
    >>> wanted = np.random.default_rng(0).normal(5, 1, (8, 6)).astype(np.float32)
    >>> agreement(wanted + 0.001, wanted, [Tap("final", 0, 6)], "fp32").problem()
    ''
    >>> agreement(wanted[::-1], wanted, [Tap("final", 0, 6)], "bf16").problem()
    'a picture is taken for another one at final'
    """
    compared = {}
    for tap in taps:
        columns = slice(tap.start, tap.stop)
        compared[tap.name] = _compare(found[:, columns], wanted[:, columns], precision)
    worst = max(compared, key=lambda name: _as_large(compared[name][0]))
    column_error = max((error for _, error, _ in compared.values()), key=_as_large)
    lost = next((name for name, (_, _, is_lost) in compared.items() if is_lost), "")
    return Agreement(
        len(found), precision, round(compared[worst][0], 7), worst, round(column_error, 7), lost
    )


def made_up_pictures(height: int, width: int, n: int = 8) -> NDArray[np.uint8]:
    """``(n, height, width, 3)`` pictures that differ in colour, coarseness and noise.

    The same in every version of NumPy, which promises that of `RandomState` alone: features of
    these pictures are kept (`regraft.backbones.topology`).
    """
    rng, sides = np.random.RandomState(0), (2, 3, 5, 7, 9, 12, 16, 24)
    found = []
    for number in range(n):
        side = sides[number % len(sides)]
        patches = rng.randint(0, 256, (side, side, 3), np.uint8).astype(float)
        if number % 2:  # shades of one colour
            patches = patches.mean(2, keepdims=True) * rng.uniform(0.3, 1, 3) + rng.uniform(
                0, 60, 3
            )
        rows, columns = np.arange(height) * side // height, np.arange(width) * side // width
        noise = rng.randint(0, 31, (height, width, 3), np.uint8).astype(float) - 15
        found.append(np.clip(patches[rows][:, columns] + noise, 0, 255))
    return np.stack(found).astype(np.uint8)


@np.errstate(invalid="ignore", over="ignore")  # an engine may say NaN; that is told
def _compare(
    found: NDArray[np.float32], wanted: NDArray[np.float32], precision: str
) -> tuple[float, float, bool]:
    """Of a tap: its error, that of its worst column, and whether a picture does not find itself."""
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    missed, levels = (a - b) ** 2, (b**2).mean(axis=0)
    level = max(float(np.sqrt(levels.mean())), 1e-30)
    spread = max(float(np.sqrt(b.var(axis=0).mean())), FINEST[precision] * level)
    error = float(np.sqrt(missed.mean()) / spread)
    of_columns = np.sqrt(missed.mean(axis=0)) / (spread + np.sqrt(levels))
    # An error of the most that is allowed does not take one picture to another that is farther.
    apart = 2 * MOST_ERROR[precision] * spread
    return error, float(of_columns.max(initial=0)), _is_one_lost(a, b, apart=apart)


def _is_one_lost(a: NDArray[np.float64], b: NDArray[np.float64], *, apart: float) -> bool:
    """Whether a row of `a` is nearer to another row of `b` than to its own.

    Rows of `b` that differ by less than `apart` (root mean square) are one and the same.
    """
    middle = b.mean(axis=0)  # what all have in common would take the digits
    a, b = a - middle, b - middle
    others = _squared_distances(a, b)
    own = ((a - b) ** 2).mean(axis=1)
    others[_squared_distances(b, b) < apart**2] = np.inf
    return bool((others.min(axis=1, initial=np.inf) < own).any())


def _squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean square of each row of `a` less each of `b`, (n, n)."""
    found: NDArray[np.float64] = (a**2).mean(1)[:, None] + (b**2).mean(1) - 2 * a @ b.T / a.shape[1]
    return found


def _as_large(error: float) -> float:
    return np.inf if np.isnan(error) else error
