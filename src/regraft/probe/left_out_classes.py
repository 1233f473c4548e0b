"""Each class left out once, as if it were unknown: how well such pictures are told from the others.

The head is refitted without the class in the space of the landmarks, in closed form: with
``A = (BB' + strength)^-1``, whose rows B are centred on the classes that remain, and the rows C of
the class taken out, every other row i has ``A_ii - A_iC A_CC^-1 A_Ci``, and its left-out distance
and scores follow as with all classes (:mod:`regraft.probe.distance`). The network is asked nothing
again.

M landmarks, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.evaluation.conformal import p_values, weights_of
from regraft.probe.base import Floats
from regraft.probe.distance import STRENGTH, blocks_of, by_size, inverse_of, log_of, own
from regraft.probe.unknown import Landed, per_spread

# Of more classes than this, so many by chance are left out.
MOST_CLASSES = 100


@dataclass(frozen=True, eq=False)
class ClassOut:
    """One class left out of all that was learnt.

    Attributes
    ----------
    code : int
    known : (n,) float64
        How odd images of the other classes are, each left out itself.
    unknown : (m,) float64
        How odd the images of this class are.
    weight : (n,) float64
        Of the known ones: copies and groups share one vote.
    """

    code: int
    known: Floats
    unknown: Floats
    weight: Floats

    @property
    def auroc(self) -> float:
        """Chance that an unknown image is odder than a known one; ties count half."""
        order = np.sort(self.known)
        below = np.searchsorted(order, self.unknown, "left")
        upto = np.searchsorted(order, self.unknown, "right")
        return float((below + upto).mean() / 2 / len(order))

    def caught(self, share: float) -> float:
        """The share of the unknown that is turned away where `share` of the known may be."""
        return float((p_values(self.unknown, self.known, self.weight) <= share).mean())


def each_class_out(landed: Landed, *, seed: int = 0) -> list[ClassOut]:
    """For every class with at least one landmark, while landmarks of others remain.

    Examples
    --------
    >>> from regraft.probe.distance import Landmarks
    >>> rng, y = np.random.default_rng(0), np.arange(60) % 3
    >>> rows = (np.eye(6)[y] + 0.1 * rng.standard_normal((60, 6))).astype(np.float32)
    >>> out = each_class_out(Landed(Landmarks.of(rows), y, np.arange(60), 3))
    >>> [one.code for one in out], min(one.auroc for one in out) > 0.95
    ([0, 1, 2], True)
    """
    codes = np.unique(landed.y)
    if len(codes) > MOST_CLASSES:
        codes = np.sort(np.random.default_rng(seed).choice(codes, MOST_CLASSES, replace=False))
    return list(_class_outs(landed, codes))


def _class_outs(landed: Landed, codes: NDArray[np.integer]) -> Iterator[ClassOut]:
    y, landmarks = landed.y, landed.landmarks
    names, place = np.unique(y, return_inverse=True)
    labels = np.zeros((len(y), len(names)))
    labels[np.arange(len(y)), place] = 1.0
    sizes, A_labels, sums = (
        labels.sum(axis=0),
        landmarks.inverse @ labels,
        labels.T @ landmarks.rows,
    )
    A_ones, total = A_labels.sum(axis=1), sums.sum(axis=0)
    for code in codes:
        [own_place], others = np.flatnonzero(names == code), names != code
        kept = place != own_place
        n = np.count_nonzero(kept)
        if not n:
            continue
        A_kept = (A_ones - A_labels[:, own_place]) / n
        A = Centred.of(landmarks.inverse, kept / n, A_kept, A_ones, (total - sums[own_place]) / n)
        mean = sizes[others] / n
        of_others = labels[:, others] - np.outer(kept, mean)
        alpha = A_labels[:, others] - np.outer(n * A_kept, mean) - A.moved_by(of_others)
        yield _class_out(A, alpha, of_others, landed.units, np.flatnonzero(~kept), int(code))


@dataclass(frozen=True, eq=False)
class Centred:
    """The (M, M) inverse A where the features are centred on the mean of the rows that are kept.

    Else a class would be told by the others' centre, which it had a share in: of two classes that
    are left out in turn, one lies where the other's mean points, seen from between them. With
    ``u = BB'p`` for the weights p of the mean, the Gram matrix changes by ``-u1' - 1u' + p'u 11'``,
    of rank two (Woodbury's identity), so the inverse is ``A - both core both'``.
    """

    A: Floats
    both: Floats
    core: Floats

    @classmethod
    def of(cls, A: Floats, p: Floats, Ap: Floats, A_ones: Floats, mean: Floats) -> Centred:
        """Of A, the weights p, A p, the sums of A's rows, and the mean itself."""
        length = float(mean @ mean)  # p'u
        both = np.column_stack([p - STRENGTH * Ap, A_ones])  # A [u, 1]
        across = both[:, 0].sum()  # 1' A u
        within = np.array([
            [length - STRENGTH * float(p @ p) + STRENGTH**2 * float(p @ Ap), across],
            [across, A_ones.sum()],
        ])  # fmt: skip
        return cls(A, both, np.linalg.inv(np.array([[-length, -1.0], [-1.0, 0.0]]) + within))

    def moved_by(self, targets: Floats) -> Floats:
        """``(M, K)`` what centring takes from A times the targets."""
        moved: Floats = self.both @ (self.core @ (self.both.T @ targets))
        return moved

    def columns(self, rows: NDArray[np.intp]) -> Floats:
        """``(M, m)`` of some rows with all."""
        found: Floats = self.A[:, rows] - self.both @ (self.core @ self.both[rows].T)
        return found

    def blocks(self, members: NDArray[np.intp]) -> Floats:
        """``(n, size, size)`` within each of n units."""
        both = self.both[members]
        return blocks_of(self.A, members) - both @ self.core @ both.transpose(0, 2, 1)


def _class_out(
    A: Centred,
    alpha: Floats,
    labels: Floats,
    units: NDArray[np.integer],
    inside: NDArray[np.intp],
    code: int,
) -> ClassOut:
    """`labels` are those of the other classes, centred, zero inside; `alpha` is A times them."""
    outside, columns = np.setdiff1d(np.arange(len(alpha)), inside), A.columns(inside)
    block = np.linalg.inv(columns[inside])
    across = columns[outside] @ block
    rest = alpha[outside] - across @ alpha[inside]
    square, scores = np.empty(len(outside)), np.empty((len(outside), labels.shape[1]))
    for members in by_size(units[outside]):
        rows = outside[members]
        left = inverse_of(A.blocks(rows) - across[members] @ columns[rows].transpose(0, 2, 1))
        square[members] = own(left) - STRENGTH
        scores[members] = labels[rows] - left @ rest[members]
    strange = log_of(np.diagonal(block) - STRENGTH), (-block @ alpha[inside]).max(axis=1)
    known = log_of(square), scores.max(axis=1)
    weights = [per_spread(values) for values in known]
    return ClassOut(
        code,
        weights[0] * known[0] - weights[1] * known[1],
        weights[0] * strange[0] - weights[1] * strange[1],
        weights_of(units[outside]),
    )
