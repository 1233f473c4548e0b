"""Judging a setting on images that it did not see: folds, the curve, and what is kept of both.

Array letters: N images, D features, K classes, F folds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes, Floats, Head


@dataclass(frozen=True, eq=False)
class ChosenHead:
    """A head, its strength, and the out-of-fold evidence for both (a :class:`FittedHead`).

    Attributes
    ----------
    head : Head
        Learnt from all rows.
    strength : float or None
        None if there was nothing to choose.
    curve : list of dict
        One per strength tried: ``{"strength", "loss", "accuracy"}``, out of fold, weighted. The
        loss is the one that the head is trained on. Strength 0 if there was nothing to choose;
        empty if nothing could be measured.
    oof_rows : (n,) int
        Rows that judged: those whose class other folds taught. None if too few to tell.
    oof_scores : (n, K) float32
        Their scores, at the chosen strength, from a fit that did not see their fold.
    """

    head: Head
    strength: float | None
    curve: list[dict[str, float]]
    oof_rows: NDArray[np.intp] = field(repr=False)
    oof_scores: Floats = field(repr=False)

    @classmethod
    def unmeasured(cls, head: Head, strength: float | None, n_classes: int) -> ChosenHead:
        """A head at a strength that is usual: too few rows could judge one."""
        nobody = np.zeros(0, np.intp)
        return cls(head, strength, [], nobody, np.zeros((0, n_classes), np.float32))


def merged_folds(folds: Codes, y: Codes, *, n_folds: int = 5) -> NDArray[np.intp]:
    """At most ``n_folds`` balanced folds; rows that shared a fold still do.

    Leave-one-out is N folds, and a head without a closed form would be fitted N times. Folds go
    one by one, largest first, to the new fold that holds the smallest share of their classes (then
    the fewest rows), so each class spreads over all. The order of the rows does not matter.

    Parameters
    ----------
    folds : (N,) int
    y : (N,) codes

    Returns
    -------
    (N,) int
        In ``0..F-1`` with F at most `n_folds`.

    Raises
    ------
    ValueError
        All rows share one fold, so that nothing is left to learn from.

    Examples
    --------
    >>> merged_folds(np.arange(6), np.array([0, 0, 0, 1, 1, 1]), n_folds=3)
    array([0, 1, 2, 0, 1, 2])
    """
    names, index, sizes = np.unique(folds, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError(f"need at least 2 folds to leave one out, got {len(names)}")
    if len(names) <= n_folds:
        return index.astype(np.intp)
    class_sizes = np.bincount(y)
    pairs, counts = np.unique(index * len(class_sizes) + y, return_counts=True)
    fold_of, codes = np.divmod(pairs, len(class_sizes))
    shares = counts / class_sizes[codes]
    starts = np.searchsorted(fold_of, np.arange(len(names) + 1))
    held = np.zeros((n_folds, len(class_sizes)))
    rows_held = np.zeros(n_folds)
    place = np.zeros(len(names), np.intp)
    for name in np.lexsort((np.arange(len(names)), -sizes)):
        own = slice(starts[name], starts[name + 1])
        crowding = held[:, codes[own]] @ shares[own]
        place[name] = np.lexsort((rows_held, crowding.round(9)))[0]
        held[place[name], codes[own]] += counts[own]
        rows_held[place[name]] += sizes[name]
    merged: NDArray[np.intp] = place[index]
    return merged


def log_losses(scores: Floats, y: Codes) -> Floats:
    """``(N,)`` minus the log probability that the softmax of the scores gives to the truth."""
    top = scores.max(axis=1)
    total = np.log(np.exp(scores - top[:, None]).sum(axis=1))
    losses: Floats = total + top - scores[np.arange(len(y)), y]
    return losses


def curve_point(
    strength: float, losses: Floats, scores: Floats, y: Codes, sample_weight: Floats
) -> dict[str, float]:
    """One row of the curve: weighted means over the rows."""
    is_right, total = scores.argmax(axis=1) == y, sample_weight.sum()
    return {
        "strength": float(strength),
        "loss": float(sample_weight @ losses / total),
        "accuracy": float(sample_weight @ is_right / total),
    }
