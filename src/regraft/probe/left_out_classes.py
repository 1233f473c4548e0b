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
from regraft.probe.distance import STRENGTH, Landmarks, blocks_of, by_size, inverse_of, log_of, own
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
    y = landed.y
    names, place = np.unique(y, return_inverse=True)
    labels = np.zeros((len(y), len(names)))
    labels[np.arange(len(y)), place] = 1.0
    for code in codes:
        is_inside, others = y == code, names != code
        if is_inside.all():
            continue
        A = centred(landed.landmarks, ~is_inside)
        of_others = labels[:, others] - labels[~is_inside][:, others].mean(axis=0)
        of_others[is_inside] = 0.0
        inside = np.flatnonzero(is_inside)
        yield _class_out(A, A @ of_others, of_others, landed.units, inside, int(code))


def centred(landmarks: Landmarks, kept: NDArray[np.bool_]) -> Floats:
    """``(M, M)`` inverse where the features are centred on the mean of the rows that are `kept`.

    Else a class would be told by the others' centre, which it had a share in: of two classes that
    are left out in turn, one lies where the other's mean points, seen from between them. With
    ``u = BB'p`` for the weights p of the mean, the Gram matrix changes by ``-u1' - 1u' + p'u 11'``,
    of rank two (Woodbury's identity).
    """
    A, p = landmarks.inverse, kept / kept.sum()
    mean = landmarks.rows[kept].mean(axis=0, dtype=np.float64)
    length = float(mean @ mean)  # p'u
    Ap = A @ p
    both = np.column_stack([p - STRENGTH * Ap, A.sum(axis=1)])  # A [u, 1]
    across = both[:, 0].sum()  # 1' A u
    within = np.array([
        [length - STRENGTH * float(p @ p) + STRENGTH**2 * float(p @ Ap), across],
        [across, A.sum()],
    ])  # fmt: skip
    core = np.linalg.inv(np.array([[-length, -1.0], [-1.0, 0.0]]) + within)
    found: Floats = A - both @ core @ both.T
    return found


def _class_out(
    A: Floats,
    alpha: Floats,
    labels: Floats,
    units: NDArray[np.integer],
    inside: NDArray[np.intp],
    code: int,
) -> ClassOut:
    """`labels` are those of the other classes, centred, zero inside; `alpha` is A times them."""
    outside = np.setdiff1d(np.arange(len(A)), inside)
    block = np.linalg.inv(A[np.ix_(inside, inside)])
    across = A[np.ix_(outside, inside)] @ block
    rest = alpha[outside] - across @ alpha[inside]
    square, scores = np.empty(len(outside)), np.empty((len(outside), labels.shape[1]))
    for members in by_size(units[outside]):
        rows = outside[members]
        part = blocks_of(A, rows) - across[members] @ A[inside[None, :, None], rows[:, None, :]]
        left = inverse_of(part)
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
