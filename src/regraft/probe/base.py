"""What every head keeps to, and what learns one.

A *head* turns features into scores; what learns one hands it on with the evidence for its settings.
In here a class is its code, an integer in ``0..K-1``; names exist only outside.

Array letters: N images, D features, K classes.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.integer[Any]]
Tensors = dict[str, NDArray[Any]]


class Head(Protocol):
    """Scores from features; saved as plain tensors and a JSON object, without pickle."""

    @property
    def kind(self) -> str:
        """Its name in a saved model."""
        ...

    def scores(self, Z: Floats) -> Floats:
        """``(N, D)`` represented features to ``(N, K)`` scores; softmax of them over the
        temperature gives probabilities."""
        ...

    def to_tensors(self) -> Tensors:
        """Everything that was learnt, by name."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Head:
        """The inverse of :meth:`to_tensors`; ValueError or KeyError if something is missing."""
        ...


class FittedHead(Protocol):
    """A head, its strength, and the out-of-fold evidence for both.

    Attributes
    ----------
    head : Head
    strength : float or None
        Chosen regularisation (or number of neighbours).
    curve : list of dict
        One per strength tried: ``{"strength", "loss", "accuracy"}``, out of fold; empty if nothing
        could be measured.
    oof_rows : (n,) int
        Train images that judged (:mod:`regraft.probe.judging`).
    oof_scores : (n, K) float
        Their scores from a fit that did not see their fold.
    """

    @property
    def head(self) -> Head: ...

    @property
    def strength(self) -> float | None: ...

    @property
    def curve(self) -> list[dict[str, float]]: ...

    @property
    def oof_rows(self) -> NDArray[np.intp]: ...

    @property
    def oof_scores(self) -> Floats: ...
