"""Ridge regression's hat matrix at any strength: by one decomposition, or by an inverse a strength.

What a fit says of its own rows is ``H T`` for targets T; what it would say without some of them
follows from the diagonal and the diagonal blocks of H (:mod:`regraft.probe.ridge`). A decomposition
(:class:`Spectrum`) gives them at every strength; where few strengths are asked for, an inverse of
``G + strength`` for each (:class:`Inverses`) costs less: ``H = I - strength (G + strength)^-1``.

N rows that teach, n of them left out in turn, D features, K classes, r the rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.errors import TrainingError
from regraft.probe.base import Floats

# 17 strengths over 8 decades; Z has unit mean square norm, so 1 means: as strong as one image. At
# the strong end discriminants are the nearest mean.
STRENGTHS = np.logspace(-4, 4, 17)
# What is small is kept, as every head of a system asks for the same strengths.
MAX_KEPT_NUMBERS = 20_000_000
# Of which the squares are held at once: they stay in the processor's cache.
ROWS_TO_SQUARE = 256
# Rows that LAPACK factors and inverts; more are taken apart, into halves.
ROWS_TO_INVERT = 64
# Of a triangle, multiplied whole; of more, by parts that are not zero.
ROWS_TO_MULTIPLY = 128

Members = NDArray[np.intp]


class Hat(Protocol):
    """What a fit of one strength says of its rows; targets and rows are weighted and centred."""

    def fits(self, strength: float) -> Floats:
        """``(n, K)`` H T."""

    def leverage(self, strength: float) -> Floats:
        """``(n,)`` the diagonal of H."""

    def blocks(self, strength: float, members: Members) -> Floats:
        """``(m, size, size)`` of H, for ``(m, size)`` rows of m folds of one size."""

    def explained(self, strength: float) -> Floats:
        """``(K, K)`` T' H T over all N rows."""

    def root(self, strength: float) -> Floats | None:
        """``(r, K)`` R of few rows, ``R' R = T' H T``; None if there is none at hand."""

    def weights(self, strength: float) -> Floats:
        """``(D, K)`` the solution."""

    def with_targets(self, targets: Floats) -> Hat:
        """The same rows with other targets, where all N are left out in turn."""

    @property
    def at_hand(self) -> Sequence[float]:
        """Strengths that cost next to nothing, if not all of them do."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """By eigenvectors.

    Attributes
    ----------
    eigenvalues : (r,)
    projected : (r, K)
        Targets in the eigenbasis.
    U : (n, r)
        Eigenvectors at the rows that are left out in turn.
    to_weights : callable
        (r, K) coefficients to (D, K) weights.
    basis : (D, r) or None
        The directions themselves, where a covariance matrix was decomposed.
    """

    eigenvalues: Floats
    projected: Floats
    U: Floats
    to_weights: Callable[[Floats], Floats] = field(repr=False)
    basis: Floats | None = field(default=None, repr=False)
    at_hand = ()

    def _shrink(self, strength: float) -> Floats:
        """``(r,)`` the share of each direction that a fit of this strength keeps."""
        kept: Floats = self.eigenvalues / (self.eigenvalues + strength)
        return kept

    def fits(self, strength: float) -> Floats:
        """See `Hat`."""
        kept = self._kept_fits.get(strength)
        if kept is None:
            kept = self.U @ (self._shrink(strength)[:, None] * self.projected)
            if len(STRENGTHS) * kept.size <= MAX_KEPT_NUMBERS:
                self._kept_fits[strength] = kept
        return kept

    @cached_property
    def _kept_fits(self) -> dict[float, Floats]:
        return {}

    def leverage(self, strength: float) -> Floats:
        """See `Hat`."""
        place = np.flatnonzero(strength == STRENGTHS)
        if not len(place):
            return _square_times(self.U, self._shrink(strength)[:, None])[:, 0]
        found: Floats = self._leverages[:, place[0]]
        return found

    @cached_property
    def _leverages(self) -> Floats:
        """At every strength in one product: squaring U costs more than multiplying by it."""
        return _square_times(self.U, np.stack([self._shrink(s) for s in STRENGTHS], axis=1))

    def blocks(self, strength: float, members: Members) -> Floats:
        """See `Hat`."""
        shrink, found = self._shrink(strength), np.empty((*members.shape, members.shape[1]))
        for places in folds_at_once(members.shape, self.U.shape[1]):
            rows = self.U[members[places]]
            found[places] = (rows * shrink) @ rows.transpose(0, 2, 1)
        return found

    def explained(self, strength: float) -> Floats:
        """See `Hat`."""
        found: Floats = self.projected.T @ (self._shrink(strength)[:, None] * self.projected)
        return found

    def root(self, strength: float) -> Floats:
        """See `Hat`."""
        found: Floats = np.sqrt(self._shrink(strength))[:, None] * self.projected
        return found

    def weights(self, strength: float) -> Floats:
        """See `Hat`."""
        coefficients = self.projected / (self.eigenvalues + strength)[:, None]
        coefficients *= np.sqrt(self.eigenvalues)[:, None]
        return self.to_weights(coefficients)

    def with_targets(self, targets: Floats) -> Spectrum:
        """See `Hat`."""
        return replace(self, projected=self.U.T @ targets)


@dataclass(frozen=True, eq=False)
class Inverses:
    """By inverses, each asked for once.

    Attributes
    ----------
    gram : (N, N)
        Inner products of the rows.
    targets : (N, K)
    rows : (n,) int
        Those that are left out in turn.
    folds : sequence of (m, size) int
        Which of these n are left out together.
    transposed : callable
        (N, K) to (D, K): the product with the transposed rows.
    """

    gram: Floats
    targets: Floats
    rows: Members
    folds: Sequence[Members]
    transposed: Callable[[Floats], Floats] = field(repr=False)

    def _at(self, strength: float) -> _Inverse:
        """What is needed of the inverse, which is larger than all that."""
        if strength not in self._known:
            shifted = self.gram.copy()
            shifted[np.diag_indices(len(shifted))] += strength
            root = inverse_root(shifted)
            own = np.einsum("mn,mn->n", root, root)[self.rows]
            of_folds = [self.rows[members] for members in self.folds if members.shape[1] > 1]
            blocks = {rows.shape[1]: _blocks(root, rows) for rows in of_folds}
            self._known[strength] = _Inverse(root.T @ (root @ self.targets), own, blocks)
        return self._known[strength]

    @cached_property
    def _known(self) -> dict[float, _Inverse]:
        return {}

    @property
    def at_hand(self) -> Sequence[float]:
        """See `Hat`."""
        return sorted(self._known)

    def fits(self, strength: float) -> Floats:
        """See `Hat`."""
        dual = self._at(strength).dual
        found: Floats = self.targets[self.rows] - strength * dual[self.rows]
        return found

    def leverage(self, strength: float) -> Floats:
        """See `Hat`."""
        found: Floats = 1 - strength * self._at(strength).own
        return found

    def blocks(self, strength: float, members: Members) -> Floats:
        """See `Hat`; of the folds that were named."""
        size = members.shape[1]
        found: Floats = np.eye(size) - strength * self._at(strength).blocks[size]
        return found

    def explained(self, strength: float) -> Floats:
        """See `Hat`."""
        found: Floats = self.targets.T @ (self.targets - strength * self._at(strength).dual)
        return found

    def root(self, strength: float) -> None:
        """See `Hat`."""

    def weights(self, strength: float) -> Floats:
        """See `Hat`."""
        return self.transposed(self._at(strength).dual)

    def with_targets(self, targets: Floats) -> Inverses:
        """See `Hat`."""
        return replace(self, targets=targets)


@dataclass(frozen=True, eq=False)
class _Inverse:
    """Of one strength: times the targets (N, K), its diagonal (n,), and its blocks by size."""

    dual: Floats
    own: Floats
    blocks: dict[int, Floats]


def inverse_root(matrix: Floats) -> Floats:
    """The lower triangular W of W' W = M^-1, for a symmetric, positive definite M: the inverse of
    Cholesky's factor, by halves and so by products, which LAPACK through NumPy does not offer.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(200, 300))
    >>> root = inverse_root(rows @ rows.T)
    >>> bool(np.allclose(root.T @ root @ (rows @ rows.T), np.eye(200)))
    True
    """
    root = np.zeros_like(matrix)
    _fill_root(root, matrix)
    return root


def _fill_root(root: Floats, matrix: Floats) -> None:
    """Into zeros."""
    n, half = len(matrix), len(matrix) // 2
    if n <= ROWS_TO_INVERT:
        root[:] = np.linalg.inv(np.linalg.cholesky(matrix))
        return
    first, second = root[:half, :half], root[half:, half:]
    _fill_root(first, matrix[:half, :half])
    beside = lower_times(first, matrix[:half, half:])  # of Cholesky's factor, transposed
    _fill_root(second, matrix[half:, half:] - beside.T @ beside)
    root[half:, :half] = lower_times(second, -beside.T @ first)


def lower_times(lower: Floats, matrix: Floats) -> Floats:
    """Their product, without most of the upper half, which is zero.

    Examples
    --------
    >>> lower, matrix = np.tril(np.ones((300, 300))), np.ones((300, 2))
    >>> lower_times(lower, matrix)[:, 0].tolist() == list(range(1, 301))
    True
    """
    n, half = len(lower), len(lower) // 2
    if n <= ROWS_TO_MULTIPLY:
        return lower @ matrix
    product = np.empty((n, matrix.shape[1]), matrix.dtype)
    product[:half] = lower_times(lower[:half, :half], matrix[:half])
    product[half:] = lower_times(lower[half:, half:], matrix[half:])
    product[half:] += lower[half:, :half] @ matrix[:half]
    return product


def _blocks(root: Floats, rows: Members) -> Floats:
    """``(m, size, size)`` of root' root, for ``(m, size)`` rows."""
    columns = root.T[rows]
    found: Floats = columns @ columns.transpose(0, 2, 1)
    return found


def decomposed(matrix: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues, ascending, and vectors, without the directions that rounding made up."""
    require_finite(matrix)
    values, vectors = np.linalg.eigh(matrix)
    first = int(np.searchsorted(values, max(values[-1], 0.0) * 1e-10, "right"))
    if first == len(values):  # constant features: one direction that explains nothing
        return np.array([1e-30]), vectors[:, -1:]
    return values[first:], vectors[:, first:]


def require_finite(matrix: Floats) -> None:
    """TrainingError unless it is; LAPACK would say that it did not converge."""
    if not np.isfinite(matrix).all():
        raise TrainingError("the features are not finite", cure="regraft cache verify")


def _square_times(U: Floats, shares: Floats) -> Floats:
    """``(n, S)``: the squares of U (n, r) times shares (r, S), some rows at a time."""
    found = np.empty((len(U), shares.shape[1]))
    for start in range(0, len(U), ROWS_TO_SQUARE):
        rows = slice(start, start + ROWS_TO_SQUARE)
        np.matmul(np.square(U[rows]), shares, out=found[rows])
    return found


def folds_at_once(shape: tuple[int, ...], rank: int) -> Iterator[slice]:
    """Folds of one size, so many at a time that their rows of U stay small."""
    step = max(1, 4_000_000 // (shape[1] * rank))
    for start in range(0, shape[0], step):
        yield slice(start, start + step)
