"""Linear discriminant analysis with shrinkage, exact for rows left out, at ridge's one price.

Classes are clouds of one shape about their own means: a picture goes to the mean that is nearest
when distance is measured in units of the spread within classes, ``W + strength``. Ridge regression
on one-hot labels draws borders by the spread of everything, which hides a class that lies between
two others (masking) and shrinks what few directions carry; this does neither.

From the decomposition of :mod:`regraft.probe.ridge` all follows. With the ridge fits f, the class
weights D and ``Phi = Y^T f`` (K x K), let ``A = (D - Phi)^-1``; then the inner products under
``(W + strength)^-1`` are ``h_ij + f_i A f_j`` of two rows (h: ridge's hat matrix), ``f_i A`` of a
row and a mean, ``A - D^-1`` of two means (:mod:`regraft.probe.class_means`). Leaving rows out takes
them from the means and from W: an update of as many dimensions as rows that leave (Sherman,
Morrison, Woodbury).

Sources: Hastie, Buja, Tibshirani (1995), Annals of Statistics 23(1) (penalised discriminant
analysis, and how it follows from regression); Friedman (1989), JASA 84(405) (shrinkage); Hastie,
Tibshirani, Friedman (2009), 4.2 (masking).

N images, D features, K classes, r the rank of the decomposition, B the rows of a fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes, Floats
from regraft.probe.class_means import Means, means_of
from regraft.probe.linear_head import LinearHead
from regraft.probe.ridge import RidgeSystem


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Inner products under the inverse of the spread within classes, at one strength.

    Attributes
    ----------
    system : RidgeSystem
    strength : float
    counts : (K,)
        Weight of each class; classes without any are left out of all that follows.
    present : (K,) bool
    means : Means
        Inner products with the class means.
    fits : (n, K)
        Of the rows that can be left out, by ridge, without the mean label.
    to_means : (n, K)
        Of those rows with the class means; both less the mean of all rows.
    """

    system: RidgeSystem
    strength: float
    counts: Floats
    present: NDArray[np.bool_]
    means: Means
    fits: Floats
    to_means: Floats

    @classmethod
    def of(cls, system: RidgeSystem, strength: float) -> Discriminant:
        """At this strength."""
        present = system.mean_label > 0
        counts = (system.mean_label * system.total_weight)[present]
        means = means_of(system.hat, strength, present, counts)
        fits = system.hat.fits(strength)[:, present] / np.sqrt(system.weight)[:, None]
        return cls(system, strength, counts, present, means, fits, means.of_fits(fits))

    @property
    def freedom(self) -> float:
        """What the spread is divided by."""
        return max(self.system.total_weight - len(self.counts), 1.0)

    def head(self, prior_weight: float = 0.0) -> LinearHead:
        """Scores: minus half the squared distance, and the weighted log share of the class."""
        ridge = self.system.head(self.strength)
        weight = self.freedom * self.means.of_weights(ridge.weight[self.present].astype(np.float64))
        outward = self.means.outward - self.scatter / self.counts
        bias = -self.freedom / 2 * outward - weight @ self.system.mean_feature
        bias += prior_weight * self.log_shares
        # From their mean over classes: what is common to all classes says nothing of any.
        return LinearHead(*self._with_absent(weight - weight.mean(0), bias - bias.mean()))

    def usual_head(self) -> LinearHead:
        """Where nothing can be measured: distances not divided by a spread that may be none."""
        head, share = self.head(), np.float32(1 / self.freedom)
        return LinearHead(head.weight * share, head.bias * share)

    @property
    def log_shares(self) -> Floats:
        """Of the classes that are there."""
        shares: Floats = np.log(self.counts / self.counts.sum())
        return shares

    @property
    def left_out_log_shares(self) -> Floats:
        """``(n, K')`` of the rows that judge, without the row's fold."""
        return self.system.left_out_log_shares[:, self.present]

    def left_out(self) -> Floats:
        """``(n, K)`` scores of the rows that judge, each by a fit without its fold; no prior.

        From their mean over classes, as the head's.
        """
        kept = (self._left_out_distances - self.scatter / self._rest)[self.system.judges]
        kept *= -self.freedom / 2
        if not np.isfinite(kept).all():
            kept = np.where(np.isfinite(kept), kept, _lowest(kept))
        centred: Floats = kept - kept.mean(axis=1, keepdims=True)
        if self.present.all():
            return centred
        scores = np.tile(_lowest(centred), len(self.present))
        scores[:, self.present] = centred
        return scores

    @property
    def scatter(self) -> float:
        """The squared distance of a row from its class's true mean, of those that judge.

        A mean of n rows lies too far out by this over n. Unless that is taken off, small classes
        seem farther than they are, and so does the class of a row that is left out.
        """
        if not self.system.can_choose:
            return 0.0
        own = np.flatnonzero(self.system.judges), self._code[self.system.judges]
        rest = self._rest[own]
        return float((self._left_out_distances[own] * rest / (rest + 1)).mean())

    @cached_property
    def _rest(self) -> Floats:
        """``(n, K')`` weights of the classes that are there, without the row's fold."""
        return self.system.remaining[:, self.present]

    @cached_property
    def _code(self) -> Codes:
        """Classes of the rows, among those that are there."""
        return np.searchsorted(np.flatnonzero(self.present), self.system.y)

    @cached_property
    def _left_out_distances(self) -> Floats:
        """``(n, K')`` squared distances to the means without the row's fold."""
        distances = np.empty_like(self.fits)
        own = self._own()
        for members in self.system.fold_rows:
            if members.shape[1] == 1:
                rows = members[:, 0]
                distances[rows] = self._alone(rows, self._code[rows], own[rows])
                continue
            hats = self.system.hat.blocks(self.strength, members)
            for rows, hat in zip(members, hats, strict=True):
                distances[rows] = self._together(rows, self._code[rows], hat)
        return distances

    def _own(self) -> Floats:
        """``(n,)`` of each row with itself."""
        leverage = self.system.hat.leverage(self.strength) / self.system.weight
        own: Floats = leverage + np.einsum("nk,nk->n", self.fits, self.to_means)
        return own

    def _alone(self, rows: NDArray[np.intp], code: Codes, own: Floats) -> Floats:
        """Of rows of which each is a fold of its own."""
        to_means, means = self.to_means[rows], self.means.outward
        place = np.arange(len(rows)), code
        deviation = own - 2 * to_means[place] + means[code]
        along = to_means - self.means.between(code)  # of the deviation with each mean
        along = deviation[:, None] + along[place][:, None] - along
        weight, count = self.system.weight[rows], self.counts[code]
        rest = count - weight
        with np.errstate(divide="ignore", invalid="ignore"):
            share = weight * count / rest
            left = np.maximum(1 - share * deviation, 1e-10)
            distances = own[:, None] - 2 * to_means + means
            distances += (share / left)[:, None] * along**2
            distances[place] = (count / rest) ** 2 * deviation / left
        distances[rest <= 1e-9 * count] = np.inf  # its class is gone; such rows do not judge
        return distances

    def _together(self, rows: NDArray[np.intp], code: Codes, hat: Floats) -> Floats:
        """Of rows that are left out together, and what ridge's hat matrix has of them."""
        weight, root = self.system.weight[rows], np.sqrt(self.system.weight[rows])
        fits, to_means = self.fits[rows], self.to_means[rows]
        of_rows = hat / (root[:, None] * root) + fits @ to_means.T
        of_rows_and_means = to_means - self.means.between(code)  # deviations with means
        of_deviations_and_rows = of_rows - to_means[:, code].T
        of_deviations = of_deviations_and_rows - of_rows_and_means[:, code]

        held = np.zeros((len(self.counts), len(rows)))
        held[code, np.arange(len(rows))] = weight
        rest = self._rest[rows[0]]
        is_gone = np.isinf(rest)
        moved = held / rest[:, None]  # mean' = mean - moved @ deviations
        touched = np.flatnonzero(held.any(1) & ~is_gone)
        removed = np.concatenate([np.diag(root), held[touched] / np.sqrt(rest[touched])[:, None]])

        inner = np.linalg.inv(
            (1 + 1e-10) * np.eye(len(removed)) - removed @ of_deviations @ removed.T
        )
        with_rows = removed @ of_deviations_and_rows
        with_means = removed @ (of_rows_and_means - of_deviations @ moved.T)
        rows_means = to_means - of_deviations_and_rows.T @ moved.T
        means = self.means.outward - 2 * np.einsum("kb,bk->k", moved, of_rows_and_means)
        means = means + np.einsum("kb,kb->k", moved @ of_deviations, moved)
        distances: Floats = np.diag(of_rows)[:, None] - 2 * rows_means + means
        distances += np.einsum("vb,vb->b", with_rows, inner @ with_rows)[:, None]
        distances -= 2 * with_rows.T @ inner @ with_means
        distances += np.einsum("vk,vk->k", with_means, inner @ with_means)
        distances[:, is_gone] = np.inf
        return distances

    def _with_absent(self, weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Classes without images below all others on the rows that it learnt from."""
        n_classes = len(self.present)
        whole, low = np.zeros((n_classes, weight.shape[1])), np.zeros(n_classes)
        if not self.present.all():
            reach = self.freedom * np.abs(self.to_means).max() + np.abs(bias).max()
            low -= 2 * reach + np.log(self.system.total_weight + 1)
        whole[self.present], low[self.present] = weight, bias
        return whole.astype(np.float32), low.astype(np.float32)


def _lowest(scores: Floats) -> Floats:
    lowest: Floats = np.where(np.isfinite(scores), scores, np.inf).min(axis=1, keepdims=True)
    return np.where(np.isfinite(lowest), lowest, 0.0)
