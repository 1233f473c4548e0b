"""What every way of explaining is given, and what it gives.

Array letters: N images, h and w the map's rows and columns, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes, Floats

# Less than one place of a map of 7 x 7, which is what the last stage of most networks has.
LEAST_SPREAD = 0.02


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
    spread : (N,) float or None
        Share of the picture that what speaks for the class is spread over (:func:`spread_of`);
        of `cam` as it was before fine maps were smoothed. None: as the maps are.
    """

    maps: NDArray[np.float32]
    constant: Floats | None = None
    exact: Floats | None = None
    spread: Floats | None = None

    @property
    def says_little(self) -> NDArray[np.bool_]:
        """Whether a few points decide, (N,): such a map does not show what was looked at."""
        spread = spread_of(self.maps) if self.spread is None else self.spread
        return np.asarray(spread < LEAST_SPREAD)


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

    def explain(self, pixels: Shown, y: Codes) -> Heat:
        """Pictures as the network sees them, ``(N, H, W, 3)``, and the classes asked about."""
        ...


# Pictures as a network sees them, ``(N, H, W, 3)`` uint8; of several networks one for each.
Shown = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]


def by_network(shown: Shown) -> list[NDArray[np.uint8]]:
    """For each network its pictures."""
    return [shown] if isinstance(shown, np.ndarray) else list(shown)


def stacked(seen: Sequence[Sequence[NDArray[np.uint8]]]) -> list[NDArray[np.uint8]]:
    """Pictures, each as every network sees it, for each network as one array ``(N, H, W, 3)``."""
    return [np.stack(own) for own in zip(*seen, strict=True)]


def rows_of(shown: Shown, rows: slice) -> list[NDArray[np.uint8]]:
    """Some of the pictures."""
    return [pixels[rows] for pixels in by_network(shown)]


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


def spread_of(maps: Any) -> Floats:
    """``(N, h, w)`` to ``(N,)``: over which share of the picture positive heat is spread.

    The area that would have the same heat if it were even (the inverse participation ratio): 1 of
    an even map, ``1 / (h w)`` of a single place. 1 where nothing is positive.

    Examples
    --------
    >>> spread_of(np.ones((1, 7, 7))), spread_of(np.eye(1, 100).reshape(1, 10, 10))
    (array([1.]), array([0.01]))
    """
    heat = np.maximum(np.asarray(maps, np.float64), 0).reshape(len(maps), -1)
    total, squares = heat.sum(axis=1), (heat**2).sum(axis=1) * heat.shape[1]
    spread: Floats = np.divide(total**2, squares, out=np.ones(len(heat)), where=squares > 0)
    return spread
