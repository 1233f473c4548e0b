"""How far a picture's features lie from all that were learnt: one matrix, and its left-out values.

    d2(z) = |z|^2 - |W z|^2 = strength * z' (B'B + strength)^-1 z

for the rows B of some training images, the *landmarks*. It is what ridge regression of this
strength knows nothing about: the variance of a Gaussian process with a linear kernel. With a large
strength it is a length, with a small one what lies outside all that the landmarks span (the
residual of ViM), in between Mahalanobis' distance with a shrunk covariance, and every landmark's
distance from all *others* follows in closed form: ``1 / A_ii - strength`` for ``A = (BB' +
strength)^-1`` (Rasmussen, Williams 2006, section 5.4.2), by blocks for those left out together.
`benchmarks/unknown.py` compares it with others.

M landmarks, D represented features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes, Floats
from regraft.probe.hat import inverse_root

# Of unit mean square length, so 1 means: as strong as one image.
STRENGTH = 1.0
# Landmarks, and numbers of theirs: they are the larger part of what a model keeps for this.
MOST_LANDMARKS, MOST_NUMBERS = 512, 1_250_000
# Below any distance of a picture; keeps its log finite.
LEAST = 1e-9


def most_landmarks(n_features: int) -> int:
    """So many landmarks a model keeps."""
    return max(1, min(MOST_LANDMARKS, MOST_NUMBERS // n_features))


@dataclass(frozen=True, eq=False)
class Distance:
    """The distance of represented features from the landmarks.

    Attributes
    ----------
    directions : (M, D) float16
        W; half precision moves a distance by less than a thousandth of a length.

    Examples
    --------
    >>> near = Landmarks.of(np.array([[1.0, 0.0], [0.9, 0.1]], np.float32)).distance
    >>> bool(near.log(np.array([[1.0, 0.0]]))[0] < near.log(np.array([[0.0, 1.0]]))[0])
    True
    """

    directions: NDArray[np.float16]

    @cached_property
    def _columns(self) -> Floats:
        """Turned to float32 once: that takes longer than a single picture's product."""
        return self.directions.astype(np.float32).T

    def log(self, Z: Floats) -> Floats:
        """``(N, D)`` to ``(N,)`` logs of squared distances, float64; NaN for rows not finite."""
        Z = np.asarray(Z, np.float32)
        within = Z @ self._columns
        square = np.einsum("nd,nd->n", Z, Z, dtype=np.float64)
        square -= np.einsum("nm,nm->n", within, within, dtype=np.float64)
        return log_of(square)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Rows of training images, and the inverse that every left-out value comes from.

    Attributes
    ----------
    rows : (M, D) float32
    inverse : (M, M) float64
        ``(BB' + strength)^-1``.
    """

    rows: Floats
    inverse: Floats = field(repr=False)
    factor: Floats = field(repr=False)

    @classmethod
    def of(cls, rows: Floats) -> Landmarks:
        """Of (M, D) represented features."""
        rows = np.asarray(rows, np.float32)
        gram = (rows @ rows.T).astype(np.float64)
        gram[np.diag_indices(len(gram))] += STRENGTH
        factor = inverse_root(gram)
        return cls(rows, factor.T @ factor, factor)

    @cached_property
    def distance(self) -> Distance:
        """From all of them."""
        return Distance((self.factor.astype(np.float32) @ self.rows).astype(np.float16))

    def left_out_log(self, units: Codes) -> Floats:
        """``(M,)`` logs of each one's squared distance from the landmarks of other units."""
        square = np.empty(len(units))
        for members in by_size(units):
            square[members] = own(inverse_of(blocks_of(self.inverse, members))) - STRENGTH
        return log_of(square)


def by_size(units: Codes) -> Iterator[NDArray[np.intp]]:
    """``(n, size)`` rows of the n units of one size, size after size."""
    _, of_row, sizes = np.unique(units, return_inverse=True, return_counts=True)
    order = np.argsort(of_row, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for size in np.unique(sizes):
        yield order[starts[sizes == size][:, None] + np.arange(size)]


def blocks_of(matrix: Floats, members: NDArray[np.intp]) -> Floats:
    """``(n, size, size)``: what the rows of each of n units have with each other."""
    found: Floats = matrix[members[:, :, None], members[:, None, :]]
    return found


def inverse_of(blocks: Floats) -> Floats:
    """Of each of (n, size, size); most units are single images."""
    found: Floats = 1 / blocks if blocks.shape[-1] == 1 else np.linalg.inv(blocks)
    return found


def own(blocks: Floats) -> Floats:
    """The diagonals of (n, size, size)."""
    found: Floats = np.diagonal(blocks, axis1=1, axis2=2)
    return found


def log_of(square: Floats) -> Floats:
    """Logs of squared distances, of none of which rounding makes a hole."""
    found: Floats = np.log(np.maximum(square, LEAST))  # of NaN it stays NaN
    return found
