"""Linear support vector machine, one class against the rest.

    minimise for each class, t_i = +1 or -1:  sum_i s_i * max(0, 1 - t_i f_i)^2 + strength / 2 |w|^2

Array letters: N images, D features, K classes, F folds, P = F * K problems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regraft.probe.base import Codes, Floats
from regraft.probe.convex import Expansion, Mask, PrincipalRows, fit_path
from regraft.probe.out_of_fold import ChosenHead

# Up to this many rows inside the margin of a problem, its Newton step is solved directly.
MAX_COUNTING = 400
MAX_GRAM_ROWS = 6_000


def fit_svm(
    Z: Floats, y: Codes, *, n_classes: int, folds: Codes, sample_weight: Floats
) -> ChosenHead:
    """Linear SVM head, its strength chosen by accuracy on rows that were left out, then by loss.

    The hinge is squared, which makes it smooth and the minimum unique, and changes little
    else. Images beyond the margin have no say in where the border is.

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
        With a :class:`~regraft.probe.linear_head.LinearHead`; scores are margins, about -1 to 1,
        so a temperature near 0.3 is usual. The loss is the squared hinge summed over classes. The
        bias is not penalised. A class with no row outside the fold scores -1 there.

    References
    ----------
    Rifkin, Klautau (2004), JMLR 5 (one against the rest). Fan et al. (2008), JMLR 9 (LIBLINEAR).
    Chapelle (2007), Neural Computation 19(5) (Newton steps from the rows inside the margin).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 3
    >>> Z = np.eye(3)[y] + 0.3 * rng.standard_normal((60, 3))
    >>> fitted = fit_svm(Z, y, n_classes=3, folds=np.arange(60), sample_weight=np.ones(60))
    >>> float((fitted.oof_scores.argmax(1) == y).mean())
    1.0
    """
    family = OneAgainstRest(n_classes)
    return fit_path(family, Z, y, n_classes=n_classes, folds=folds, sample_weight=sample_weight)


@dataclass(frozen=True)
class OneAgainstRest:
    """Each class of each fold is a problem of its own, with one column."""

    n_classes: int

    n_columns = 1
    # The margins of a fit that separates the classes settle long before the strength is zero.
    least_gain = 0.1
    usual_strength = 1e-3

    def loss(self, y: Codes, weights: Floats) -> SquaredHinge:
        """For ``(N, F)`` row weights; problems in the order fold, class."""
        target = np.where(y[:, None] == np.arange(self.n_classes), 1.0, -1.0)
        n_folds = weights.shape[1]
        return SquaredHinge(
            np.tile(target.astype(weights.dtype), n_folds),
            np.repeat(weights, self.n_classes, axis=1),
        )

    def with_absent(self, scores: Floats, present: Mask) -> Floats:
        """All images were against it."""
        return np.where(present, scores, -1.0)

    def row_losses(self, scores: Floats, y: Codes) -> Floats:
        """Squared hinges, summed over classes."""
        target = np.where(y[:, None] == np.arange(self.n_classes), 1.0, -1.0)
        losses: Floats = (np.maximum(1 - target * scores, 0) ** 2).sum(axis=1)
        return losses

    def choose(self, curve: list[dict[str, float]]) -> int:
        """The most accurate; of equals the one with the least loss."""
        return int(np.lexsort(([p["loss"] for p in curve], [-p["accuracy"] for p in curve]))[0])


@dataclass(frozen=True, eq=False)
class SquaredHinge:
    """Sums of weighted squared hinges.

    Attributes
    ----------
    target : (N, P) float
        +1 or -1.
    weights : (N, P) float
    """

    target: Floats
    weights: Floats

    @property
    def total_weight(self) -> Floats:
        """``(P,)``."""
        total: Floats = self.weights.sum(axis=0)
        return total

    def only(self, problems: Mask) -> SquaredHinge:
        """Some problems."""
        return SquaredHinge(self.target[:, problems], self.weights[:, problems])

    def value(self, scores: Floats) -> Floats:
        """``(N, P, 1)`` to ``(P,)``."""
        value: Floats = np.einsum("np,np->p", self.weights, self._short(scores) ** 2)
        return value

    def expand(self, scores: Floats) -> Expansion:
        """Only rows short of the margin count; there the loss is a parabola."""
        short = self._short(scores)
        weighted = self.weights * short
        counting = 2 * self.weights * (short > 0)

        def bend(change: Floats) -> Floats:
            bent: Floats = counting[..., None] * change
            return bent

        return Expansion(
            value=np.einsum("np,np->p", weighted, short),
            slope=-2 * (self.target * weighted)[..., None],
            bend=bend,
            diagonal=counting.sum(axis=0)[:, None],
            vertex=lambda principal, strength, W: self._vertex(counting, principal, strength, W),
        )

    def _vertex(
        self, counting: Floats, principal: PrincipalRows, strength: float, W: Floats
    ) -> Floats | None:
        """Where the loss would be least if just the rows that count now did.

        The weights are a sum of those rows, ``w = X_S^T a``, so that few rows make a small system
        (Chapelle 2007): ``(X_S X_S^T + strength / counting) a + b = t`` and ``sum a = 0``. At weak
        strengths, where a search is slow, few rows are left inside the margin.
        """
        n_counting = (counting > 0).sum(axis=0)
        if n_counting.max() > MAX_COUNTING or len(counting) > MAX_GRAM_ROWS:
            return None
        multipliers = np.zeros_like(counting)
        bias = W[-1, :, 0].copy()
        for problem in np.flatnonzero(n_counting):
            rows = np.flatnonzero(counting[:, problem])
            n = len(rows)
            system = np.ones((n + 1, n + 1))
            system[:n, :n] = principal.gram[np.ix_(rows, rows)]
            system[np.arange(n), np.arange(n)] += strength / counting[rows, problem]
            system[n, n] = 0.0
            solution = np.linalg.solve(system, np.append(self.target[rows, problem], 0.0))
            multipliers[rows, problem], bias[problem] = solution[:n], solution[n]
        vertex = principal.gathered(multipliers[..., None])
        vertex[-1, :, 0] = bias
        return vertex

    def _short(self, scores: Floats) -> Floats:
        short: Floats = np.maximum(1 - self.target * scores[..., 0], 0)
        return short
