"""Which pictures to ask a person about next: those that stand for most doubt, no near-twins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regraft.teaching.project import HELD_SHARE, Picture
from regraft.teaching.sight import Sight

# How many are asked about at once.
AT_ONCE = 20
# Pictures that are looked through at most; of more, a fixed part.
MOST = 2000
# How near two labelled pictures lie as a rule, squared, while there are too few to tell.
USUAL_REACH = 0.5
# So that identical pictures do not make the reach nothing.
LEAST_REACH = 1e-3


def next_pictures(
    unsorted: Sequence[Picture],
    labelled: Sequence[Picture],
    proba: Mapping[int, NDArray[np.float64]],
    sight: Sight,
    *,
    n: int = AT_ONCE,
) -> list[Picture]:
    """Those to label next, in an order that serves.

    A share of them is what is set aside, taken as chance has it: their labels make the score, and
    whoever let the model's doubts pick them would score it on hard pictures alone.

    Parameters
    ----------
    unsorted, labelled : sequences of Picture
        That were seen.
    proba : mapping of number to (K,)
        Empty as long as there is no classifier: then typical ones unlike each other come first.
    n : int

    Examples
    --------
    >>> next_pictures([], [], {}, None)
    []
    """
    held = sorted((one for one in unsorted if one.is_held), key=_chance)
    free = sorted((one for one in unsorted if not one.is_held), key=_chance)[:MOST]
    n_held = min(len(held), max(round(HELD_SHARE * n), n - len(free)))
    teaching = [one for one in labelled if not one.is_held]
    chosen = _unsure_and_unlike(free, teaching, proba, sight, n - n_held)
    return _mixed(chosen, held[:n_held])


def _unsure_and_unlike(
    free: Sequence[Picture],
    teaching: Sequence[Picture],
    proba: Mapping[int, NDArray[np.float64]],
    sight: Sight,
    n: int,
) -> list[Picture]:
    if not free or n <= 0:
        return []
    doubt = np.array([_doubt(proba.get(one.number)) for one in free]) if proba else None
    X, known = (_final(sight, some) for some in (free, teaching))
    return [free[row] for row in rows_to_ask(X, known, doubt, n)]


def _final(sight: Sight, pictures: Sequence[Picture]) -> NDArray[np.float32]:
    """The final features, of the first network."""
    tap = sight.built.info.final
    found: NDArray[np.float32] = sight.rows(pictures)[:, tap.start : tap.stop]
    return found


def rows_to_ask(
    X: NDArray[np.float32],
    known: NDArray[np.float32],
    doubt: NDArray[np.float64] | None,
    n: int,
) -> list[int]:
    """Rows that stand for as much doubt as can be, beside what is known and each other.

    A row stands for others as far as they lie within its reach. Greedily the row is taken that adds
    most to the doubt that is stood for. Where nothing is known yet all are doubtful, and what comes
    first is typical of many; the more is known, the shorter the reach, and the more doubt alone
    decides. Near-twins never come together: what one stands for, the other adds nothing to.

    Parameters
    ----------
    X : (N, D) float32
        Features to choose among.
    known : (M, D) float32
    doubt : (N,) float, or None
        None where nothing is learnt yet: then all are as doubtful.
    n : int

    Returns
    -------
    list of at most n rows, the most useful first

    References
    ----------
    Bae, Oliveira, Sutherland (2025), Uncertainty herding: one active learning method for all label
    budgets, ICLR. There the reach is the least distance between labelled ones, here the median of
    each one's to its nearest, which two twins do not change.

    Examples
    --------
    >>> X = np.array([[1, 0], [1, 0], [-1, 0], [0, 1]], np.float32)
    >>> rows_to_ask(X, X[:1], None, 2)
    [2, 3]
    """
    Z = _directions(np.concatenate([X, known]))
    Z, given = Z[: len(X)], Z[len(X) :]
    reach = _reach(given)
    likeness, covered = _likeness(Z, Z, reach), np.zeros(len(Z), np.float32)
    if len(given):
        covered = _likeness(Z, given, reach).max(axis=1)
    weight = np.ones(len(Z), np.float32) if doubt is None else (doubt + 1e-3).astype(np.float32)
    taken: list[int] = []
    for _ in range(min(n, len(Z))):
        gain = np.maximum(likeness - covered, 0) @ weight
        gain[taken] = -1
        taken.append(int(gain.argmax()))
        covered = np.maximum(covered, likeness[taken[-1]])
    return taken


def _reach(known: NDArray[np.float32]) -> float:
    """The squared distance to the nearest, as is usual among the known ones."""
    if len(known) < 2:
        return USUAL_REACH
    squared = 2 - 2 * known @ known.T
    np.fill_diagonal(squared, np.inf)
    return max(float(np.median(squared.min(axis=1))), LEAST_REACH)


def _likeness(A: NDArray[np.float32], B: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.exp(np.minimum(2 * A @ B.T - 2, 0) / np.float32(reach))
    return found


def _doubt(p: NDArray[np.float64] | None) -> float:
    """1 where two classes are as probable, 0 where one is certain."""
    if p is None or len(p) < 2:
        return 1.0
    second, first = np.partition(p, -2)[-2:]
    return float(1 - (first - second))


def _directions(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows without the mean, of length 1."""
    Z = X - X.mean(axis=0)
    length = np.linalg.norm(Z, axis=1, keepdims=True)
    found: NDArray[np.float32] = Z / np.where(length > 0, length, 1)
    return found


def _mixed(chosen: list[Picture], held: list[Picture]) -> list[Picture]:
    """Both, evenly mixed: nobody sees which is which."""
    places: Sequence[float] = (
        np.linspace(0, len(chosen), len(held) + 2)[1:-1].tolist() if held else []
    )
    found = list(chosen)
    for place, one in sorted(zip(places, held, strict=True), key=lambda pair: -pair[0]):
        found.insert(round(float(place)), one)
    return found


def _chance(picture: Picture) -> bytes:
    """A fixed order that has nothing to do with what is on the picture."""
    return hashlib.blake2b(f"order {picture.digest}".encode(), digest_size=8).digest()
