"""What every way of explaining is given, and what it gives.

Array letters: N images, h and w the map's rows and columns, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes, Floats


@dataclass(frozen=True, eq=False)
class Heat:
    """What speaks for a class, and where.

    Attributes
    ----------
    maps : (N, h, w) float32
        Positive: this place speaks for the class; negative: against it.
    constant : (N,) float or None
        Of `cam`: what has no place; with the sum of the map it is the evidence, the score of the
        class less the mean score of the others.
    exact : (N,) float or None
        Of `cam`: the share of the evidence, by size, whose place is not a matter of choice. The
        rest goes through the source classes, which are not linear in the features.
    """

    maps: NDArray[np.float32]
    constant: Floats | None = None
    exact: Floats | None = None


class Explainer(Protocol):
    """One way of explaining one classifier.

    Attributes
    ----------
    name : str
        As on the command line.
    why : str
        Why this way, in one sentence.
    """

    name: str
    why: str

    def explain(self, pixels: NDArray[np.uint8], y: Codes) -> Heat:
        """Pictures as the network sees them, ``(N, H, W, 3)``, and the classes asked about."""
        ...


def against_others(values: Any, y: Codes) -> Any:
    """Rows of a class less the mean row of the others: what evidence for the class is made of.

    Parameters
    ----------
    values : (K, ...) array or tensor
        Weights or scores, by class.
    y : (N,) codes

    Returns
    -------
    (N, ...) array or tensor

    Examples
    --------
    >>> against_others(np.array([1.0, 4.0, 7.0]), np.array([2]))
    array([4.5])
    """
    K = len(values)
    return (K * values[y] - values.sum(0)) / (K - 1)
