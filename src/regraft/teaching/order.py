"""Which pictures to ask a person about next: unsure ones, unlike each other, no near-twins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.teaching.project import HELD_SHARE, Picture
from regraft.teaching.sight import Sight

# How many are asked about at once.
AT_ONCE = 20
# The unsure ones among which those unlike each other are chosen, in units of what is asked.
POOL = 10
# Pictures that are looked through at most; of more, a fixed part.
MOST = 5000


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
        Empty as long as there is no classifier: then those unlike each other come first.
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
    X = sight.rows(free)
    return [free[row] for row in rows_to_ask(X, sight.features(teaching), doubt, n)]


def rows_to_ask(
    X: Any, known: NDArray[np.float32], doubt: NDArray[np.float64] | None, n: int
) -> list[int]:
    """The rows to ask about, of the most doubtful ones those unlike what is known and each other.

    Parameters
    ----------
    X : (N, D) float32
        Features; read row by row where they lie elsewhere.
    known : (M, D) float32
    doubt : (N,) float, or None
        None where nothing is learnt yet: then all are as doubtful.
    n : int

    Examples
    --------
    >>> X = np.array([[1, 0], [1, 0], [-1, 0], [0, 1]], np.float32)
    >>> rows_to_ask(X, X[:1], None, 2)
    [2, 3]
    """
    if doubt is None:
        doubt = np.ones(len(X))
        pool = np.arange(len(X))
    else:
        pool = np.argsort(-doubt, kind="stable")[: POOL * n]
    Z = _directions(np.concatenate([X[pool], known]))
    taken = _spread(Z[: len(pool)], Z[len(pool) :], doubt[pool], n)
    return [int(pool[row]) for row in taken]


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


def _spread(
    Z: NDArray[np.float32], known: NDArray[np.float32], doubt: NDArray[np.float64], n: int
) -> list[int]:
    """Greedily the row whose doubt times distance from all that is known or taken is largest."""
    far = np.full(len(Z), 2.0, np.float32)
    if len(known):
        far = 1 - (Z @ known.T).max(axis=1)
    taken: list[int] = []
    for _ in range(min(n, len(Z))):
        worth = (doubt + 1e-3) * np.maximum(far, 0)
        worth[taken] = -1
        best = int(worth.argmax())
        taken.append(best)
        far = np.minimum(far, 1 - Z @ Z[best])
    return taken


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
