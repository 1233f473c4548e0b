"""Multinomial logistic regression on frozen features.

    minimise over W, b:  sum_i s_i * log loss_i  +  strength / 2 * |W|^2

Array letters: N images, D features, K classes, F folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regraft.probe.base import Codes, Floats
from regraft.probe.convex import Expansion, Mask, fit_path
from regraft.probe.out_of_fold import ChosenHead, log_losses


def fit_logistic(
    Z: Floats, y: Codes, *, n_classes: int, folds: Codes, sample_weight: Floats
) -> ChosenHead:
    """Logistic head, its strength chosen by the log loss of rows that were left out.

    Unlike the ridge head's, its scores are log odds from the start, and an image that is far on
    the right side of the border costs nothing; the price is a search instead of a closed form.

    Parameters
    ----------
    Z : (N, D) float
    y : (N,) codes
    n_classes : int
    folds : (N,) int
        Rows of one fold are left out together; more than 5 folds are merged to 5.
    sample_weight : (N,) float
        A weight of 2 equals the row twice.

    Returns
    -------
    ChosenHead
        With a :class:`~regraft.probe.linear_head.LinearHead`. The curve ends where the left-out
        loss rises or no longer falls. The bias is not penalised. A class with no row outside the
        fold gets, in that fold, the probability of half an image.

    References
    ----------
    Hastie, Tibshirani, Friedman (2009), The Elements of Statistical Learning, 4.4 and 18.3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 3
    >>> Z = np.eye(3)[y] + 0.3 * rng.standard_normal((60, 3))
    >>> fitted = fit_logistic(Z, y, n_classes=3, folds=np.arange(60), sample_weight=np.ones(60))
    >>> float((fitted.oof_scores.argmax(1) == y).mean())
    1.0
    """
    family = Logistic(n_classes)
    return fit_path(family, Z, y, n_classes=n_classes, folds=folds, sample_weight=sample_weight)


@dataclass(frozen=True)
class Logistic:
    """The classes of a fold compete: one problem per fold, one column per class."""

    n_columns: int

    least_gain = 0.01
    usual_strength = 1e-4

    def loss(self, y: Codes, weights: Floats) -> LogLoss:
        """For ``(N, F)`` row weights."""
        seen = np.zeros((self.n_columns, weights.shape[1]))
        np.add.at(seen, y, weights)
        return LogLoss(y, weights, np.where(seen.T > 0, 0.0, -np.inf).astype(weights.dtype))

    def with_absent(self, scores: Floats, present: Mask) -> Floats:
        """Half an image's probability to what was not seen: low, finite, and no class's best.

        Images of that class itself have no say in the choice of the strength.
        """
        known = np.where(present, scores, -np.inf)
        top = known.max(axis=1, keepdims=True)
        total = top + np.log(np.exp(known - top).sum(axis=1, keepdims=True))
        return np.where(present, scores, total - np.log(2 * len(scores)))

    def row_losses(self, scores: Floats, y: Codes) -> Floats:
        """Log losses."""
        return log_losses(scores, y)

    def choose(self, curve: list[dict[str, float]]) -> int:
        """The least log loss; of equals the strongest."""
        return int(np.argmin([point["loss"] for point in curve]))


@dataclass(frozen=True, eq=False)
class LogLoss:
    """Sums of weighted log losses.

    Attributes
    ----------
    y : (N,) codes
    weights : (N, F) float
    offset : (F, K) float
        Minus infinity for a class that a fold has not seen, else 0.
    """

    y: Codes
    weights: Floats
    offset: Floats

    @property
    def total_weight(self) -> Floats:
        """``(F,)``."""
        total: Floats = self.weights.sum(axis=0)
        return total

    def only(self, problems: Mask) -> LogLoss:
        """Some folds."""
        return LogLoss(self.y, self.weights[:, problems], self.offset[problems])

    def value(self, scores: Floats) -> Floats:
        """``(N, F, K)`` to ``(F,)``."""
        return self._value(scores, *self._exponentials(scores)[1:])

    def expand(self, scores: Floats) -> Expansion:
        """With the softmax p: slope p - onehot, curvature diag(p) - p p^T."""
        shares, top, total = self._exponentials(scores)
        value = self._value(scores, top, total)
        shares /= total[..., None]
        weighted = shares * self.weights[..., None]

        def bend(change: Floats) -> Floats:
            mean = np.einsum("nfk,nfk->nf", shares, change)
            bent: Floats = weighted * (change - mean[..., None])
            return bent

        slope = weighted.copy()
        slope[np.arange(len(self.y)), :, self.y] -= self.weights
        diagonal = weighted.sum(axis=0) - np.einsum("nfk,nfk->fk", weighted, shares)
        return Expansion(value, slope, bend, diagonal)

    def _exponentials(self, scores: Floats) -> tuple[Floats, Floats, Floats]:
        known = scores + self.offset
        top = known.max(axis=2)
        known -= top[..., None]
        np.exp(known, out=known)
        return known, top, known.sum(axis=2)

    def _value(self, scores: Floats, top: Floats, total: Floats) -> Floats:
        losses = np.log(total) + top - scores[np.arange(len(self.y)), :, self.y]
        value: Floats = np.einsum("nf,nf->f", self.weights, losses)
        return value
