"""The means of classes under the inverse of the spread within them, which linear discriminants ask.

With ridge's fits f, the class weights D and ``Phi = Y^T f`` (K x K), let ``A = (D - Phi)^-1``. Of
few classes A is inverted as it stands (:class:`Whole`). Of thousands it would be gigabytes, and its
inverse minutes for every strength; but Phi is of no higher rank r than the features,
``Phi = R^T R``, so by Woodbury's identity ``A = D^-1 + G^T C G`` with ``G = R D^-1`` (r x K) and
``C = (I - R D^-1 R^T)^-1`` (r x r), and no K x K numbers are ever held (:class:`Thin`).

N images, D features, K classes that have images, r the rank of the decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes, Floats
from regraft.probe.hat import Hat

# Of more classes than this, and than directions, the thin one.
MOST_WHOLE = 1_000


class Means(Protocol):
    """Inner products with the means of classes, less the mean of all rows."""

    def of_fits(self, fits: Floats) -> Floats:
        """``(n, K)`` f A: of rows, given by ridge's fits, with the means."""

    def of_weights(self, weight: Floats) -> Floats:
        """``(K, D)`` A' W, for ridge's weights W."""

    def between(self, code: Codes) -> Floats:
        """``(n, K)`` of the means of some classes with all: rows of ``A - D^-1``."""

    @property
    def outward(self) -> Floats:
        """``(K,)`` of each mean with itself."""


def means_of(hat: Hat, strength: float, present: NDArray[np.bool_], counts: Floats) -> Means:
    """At one strength, of the classes that are present and their weights."""
    root = hat.root(strength) if len(counts) > MOST_WHOLE else None
    if root is not None and len(root) < len(counts):
        return Thin.of(root[:, present], counts)
    explained = hat.explained(strength)[np.ix_(present, present)]
    A = np.linalg.inv(np.diag(counts) - explained)
    return Whole((A + A.T) / 2, A - np.diag(1 / counts))


@dataclass(frozen=True, eq=False)
class Whole:
    """As matrices of all classes with all.

    Attributes
    ----------
    A, with_each_other : (K, K)
    """

    A: Floats
    with_each_other: Floats

    def of_fits(self, fits: Floats) -> Floats:
        """See `Means`."""
        return fits @ self.A

    def of_weights(self, weight: Floats) -> Floats:
        """See `Means`."""
        return self.A.T @ weight

    def between(self, code: Codes) -> Floats:
        """See `Means`."""
        found: Floats = self.with_each_other[code]
        return found

    @property
    def outward(self) -> Floats:
        """See `Means`."""
        return np.diag(self.with_each_other)


@dataclass(frozen=True, eq=False)
class Thin:
    """By as many directions as the decomposition has.

    Attributes
    ----------
    counts : (K,)
        Class weights, the diagonal of D.
    G : (r, K)
    C : (r, r)

    Examples
    --------
    >>> counts, root = np.array([4.0, 5.0, 6.0]), np.array([[1.0, -1.0, 0.5]])
    >>> A = np.linalg.inv(np.diag(counts) - root.T @ root)
    >>> thin = Thin.of(root, counts)
    >>> bool(np.allclose(thin.of_fits(np.eye(3)), A))
    True
    >>> bool(np.allclose(thin.between(np.arange(3)), A - np.diag(1 / counts)))
    True
    """

    counts: Floats
    G: Floats
    C: Floats

    @classmethod
    def of(cls, root: Floats, counts: Floats) -> Thin:
        """Of ``(r, K)`` R and the class weights."""
        G = root / counts
        C = np.linalg.inv(np.eye(len(root)) - G @ root.T)
        return cls(counts, G, (C + C.T) / 2)

    def of_fits(self, fits: Floats) -> Floats:
        """See `Means`."""
        found: Floats = (fits @ self.G.T) @ self._moved
        found += fits / self.counts
        return found

    def of_weights(self, weight: Floats) -> Floats:
        """See `Means`."""
        found: Floats = self._moved.T @ (self.G @ weight)
        found += weight / self.counts[:, None]
        return found

    def between(self, code: Codes) -> Floats:
        """See `Means`."""
        found: Floats = self.G[:, code].T @ self._moved
        return found

    @cached_property
    def outward(self) -> Floats:
        """See `Means`."""
        found: Floats = np.einsum("rk,rk->k", self.G, self._moved)
        return found

    @cached_property
    def _moved(self) -> Floats:
        """``(r, K)`` C G."""
        return self.C @ self.G
