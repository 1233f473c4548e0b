"""Newton's method with steps that are halved until the loss falls as it promised.

The weights of several heads at once (an array), or that of one (a float): the same descent, each
on the arithmetic that suits it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

MAX_STEPS = 50
# Of scores of unit mean square, about what fits.
START = 2.0
# Of the log loss a step must promise, to go on after it.
LEAST_GAIN = 1e-6

W = TypeVar("W", float, Any)


def descend(
    expansion: Callable[[W], tuple[float, Any, Any]],
    step_at: Callable[[W, Any, Any], W],
    weights: W,
) -> W:
    """The weights of the least loss, from some near it.

    Parameters
    ----------
    expansion : callable
        Weights to their loss, its slope and its curvature.
    step_at : callable
        Weights, slope and curvature to the step that goes where the parabola is least.

    Examples
    --------
    >>> def expansion(weight: float) -> tuple[float, float, float]:
    ...     return (weight - 3) ** 4, 4 * (weight - 3) ** 3, 12 * (weight - 3) ** 2
    >>> bool(abs(descend(expansion, lambda weight, slope, bend: -slope / bend, 8.0) - 3) < 0.1)
    True
    """
    loss, slope, bend = expansion(weights)
    for _ in range(MAX_STEPS):
        step, size = step_at(weights, slope, bend), 1.0
        promised = float(np.dot(slope, step))
        if -promised < LEAST_GAIN * max(loss, 1e-3):
            # The last one: what it gains is below the rounding of the loss, not of the slope.
            return weights + step
        while True:
            moved = weights + size * step
            following = expansion(moved)
            if following[0] <= loss + 1e-4 * size * promised or size < 1e-4:
                break
            size /= 2
        if following[0] >= loss:
            break
        weights, (loss, slope, bend) = moved, following
    return weights
