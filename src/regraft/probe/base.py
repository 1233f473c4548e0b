"""What every method and every head keeps to, and the registry's types.

A *head* turns features into scores; a *method* (`probe`, later `head`, `partial`, `full`,
`scratch`) learns one from labelled images. Inside the methods a class is its code, an integer in
``0..K-1``; names exist only outside.

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


class HeadFit(Protocol):
    """Learns a head and says how good its settings were on images it did not see.

    Called as ``fit(Z, y, n_classes=K, folds=folds, sample_weight=weights)`` with

    Z : (N, D) float
        Represented features of train (centred, blocks scaled to unit mean square norm).
    y : (N,) codes
    folds : (N,) int
        Rows of one fold are left out together; near-duplicates and groups share one.
    sample_weight : (N,) float
        Mean 1.
    """

    def __call__(
        self, Z: Floats, y: Codes, *, n_classes: int, folds: Codes, sample_weight: Floats
    ) -> FittedHead: ...


class FittedHead(Protocol):
    """A head, its strength, and the out-of-fold evidence for both.

    Attributes
    ----------
    head : Head
    strength : float or None
        Chosen regularisation (or number of neighbours).
    curve : list of dict
        One per strength tried: ``{"strength", "loss", "accuracy"}``, out of fold.
    oof_scores : (N, K) float
        Scores of every train image from a fit that did not see its fold.
    """

    @property
    def head(self) -> Head: ...

    @property
    def strength(self) -> float | None: ...

    @property
    def curve(self) -> list[dict[str, float]]: ...

    @property
    def oof_scores(self) -> Floats: ...
