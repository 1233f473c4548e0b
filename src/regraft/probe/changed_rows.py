"""Ridge regression after a few rows have come or gone, without a new decomposition.

With the covariance matrix decomposed as ``V diag(values) V'``, in V's coordinates each row that
came adds its outer product, each that went takes one away, and so does the mean, which has moved:
m updates in all, C' S C with signs S. By Woodbury, with ``E = 1 / (values + strength)``, the
inverse of the sum is ``E - E C' (S + C E C')^-1 C E``: an inverse of m x m, and products of the
rows with m columns. It is exact; a decomposition of 1,280 columns and ten thousand rows costs
seconds.

N rows of the decomposition, n of now, D features, K classes, r the rank, m updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes, Floats
from regraft.probe.hat import Members, Spectrum, folds_at_once
from regraft.probe.judging import rows_that_judge
from regraft.probe.ridge import RidgeSystem

# Of a new row's squared length, what may lie in directions that no row had before.
MOST_OUTSIDE = 1e-9


def with_rows(
    system: RidgeSystem, come: Floats, places: NDArray[np.intp], y: Codes, folds: Codes, K: int
) -> RidgeSystem | None:
    """The same system after rows have come and gone; None if it must be built anew.

    That is where no covariance matrix was decomposed, where not all rows are left out in turn or
    weigh the same, and where a new row has features that were constant.

    Parameters
    ----------
    system : RidgeSystem
        Of N rows.
    come : (c, D) float
        New rows, as the system's own were given.
    places : (n,) int
        The rows of now: below N those of the system, from N on those that come.
    y, folds : (n,)
        Of the rows of now.
    K : int
        Classes of now.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    >>> before = RidgeSystem.build(lambda: iter([Z[:39]]), y[:39], n_classes=2)
    >>> now = np.arange(1, 40)  # the first one went, the last one came
    >>> changed = with_rows(before, Z[39:], now, y[now], now, 2)
    >>> anew = RidgeSystem.build(lambda: iter([Z[now]]), y[now], n_classes=2)
    >>> bool(np.allclose(changed.left_out_scores(1.0), anew.left_out_scores(1.0), atol=1e-6))
    True
    """
    base = system.hat
    is_whole = len(system.rows) == system.total_weight and (system.weight == 1).all()
    if not isinstance(base, Spectrum) or base.basis is None or not is_whole:
        return None
    centred = np.asarray(come, np.float64) - system.mean_feature
    new = centred @ base.basis
    outside = np.square(centred - new @ base.basis.T).sum(axis=1)
    if (outside > MOST_OUTSIDE * np.square(centred).sum(axis=1)).any():
        return None
    judges = np.zeros(len(y), bool)
    judges[rows_that_judge(y, folds)] = True
    mean_label = np.bincount(y, minlength=K) / len(y)
    hat = ChangedRows(base, new, places, np.eye(K)[y] - mean_label)
    return RidgeSystem(
        hat, np.arange(len(y)), y, np.ones(len(y)), folds, judges, float(len(y)), mean_label,
        system.mean_feature + base.basis @ hat.centre,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ChangedRows:
    """A `regraft.probe.hat.Hat` of rows that are not quite those that were decomposed.

    Attributes
    ----------
    base : Spectrum
    come : (c, r)
        New rows in the basis, from the old mean.
    places : (n,) int
        As `with_rows` has them.
    targets : (n, K)
    """

    base: Spectrum
    come: Floats
    places: NDArray[np.intp]
    targets: Floats
    at_hand: Sequence[float] = field(default=(), init=False)

    @cached_property
    def _root(self) -> Floats:
        """``(r,)`` by which an eigenvector's entries are those of the rows in the basis."""
        root: Floats = np.sqrt(self.base.eigenvalues)
        return root

    @cached_property
    def _gone(self) -> Floats:
        """``(N - n + c, r)`` rows that went."""
        is_here = np.zeros(len(self.base.U) + len(self.come), bool)
        is_here[self.places] = True
        gone: Floats = self.base.U[~is_here[: len(self.base.U)]] * self._root
        return gone

    @cached_property
    def centre(self) -> Floats:
        """``(r,)`` where the mean is now; it was at 0."""
        total: Floats = self.come.sum(axis=0) - self._gone.sum(axis=0)
        return total / len(self.places)

    @cached_property
    def _updates(self) -> Floats:
        """``(m, r)`` C: first those that are added."""
        centre = np.sqrt(len(self.places)) * self.centre
        return np.concatenate([self.come, self._gone, centre[None]])

    @cached_property
    def _projected(self) -> Floats:
        """``(r, K)``: the centred rows, transposed, times the targets, whose mean is 0."""
        n_old = len(self.base.U)
        targets = np.zeros((n_old + len(self.come), self.targets.shape[1]))
        targets[self.places] = self.targets
        old: Floats = self._root[:, None] * (self.base.U.T @ targets[:n_old])
        return old + self.come.T @ targets[n_old:]

    def _times(self, columns: Floats) -> Floats:
        """``(n, k)``: the centred rows of now times (r, k)."""
        old = self.base.U @ (self._root[:, None] * columns)
        found: Floats = np.concatenate([old, self.come @ columns])[self.places]
        return found - self.centre @ columns

    def _at(self, strength: float) -> _Solved:
        """Everything at a strength but blocks, once."""
        if strength not in self._known:
            self._known[strength] = self._solved(strength)
        return self._known[strength]

    @cached_property
    def _known(self) -> dict[float, _Solved]:
        return {}

    def _solved(self, strength: float) -> _Solved:
        shrunk = 1 / (self.base.eigenvalues + strength)
        across = (self._updates * shrunk).T
        signs = np.where(np.arange(len(self._updates)) < len(self.come), 1.0, -1.0)
        inner = np.linalg.inv(np.diag(signs) + self._updates @ across)
        solution = shrunk[:, None] * self._projected
        solution -= across @ (inner @ (across.T @ self._projected))
        to_centre = shrunk * self.centre
        m = len(inner)
        products = self._times(np.column_stack([across, to_centre, solution]))
        with_updates, with_centre, fits = products[:, :m], products[:, m], products[:, m + 1 :]
        own = np.concatenate([self.base.leverage(strength), np.square(self.come) @ shrunk])
        leverage = own[self.places] - 2 * with_centre - self.centre @ to_centre
        leverage -= np.einsum("nm,nm->n", with_updates @ inner, with_updates)
        return _Solved(fits.copy(), leverage, solution, across, inner)

    def fits(self, strength: float) -> Floats:
        """See `Hat`."""
        return self._at(strength).fits

    def leverage(self, strength: float) -> Floats:
        """See `Hat`."""
        return self._at(strength).leverage

    def blocks(self, strength: float, members: Members) -> Floats:
        """See `Hat`."""
        solved, found = self._at(strength), np.empty((*members.shape, members.shape[1]))
        shrunk = 1 / (self.base.eigenvalues + strength)
        for places in folds_at_once(members.shape, len(shrunk)):
            rows = self._rows(members[places])
            with_updates = rows @ solved.across
            found[places] = (rows * shrunk) @ rows.transpose(0, 2, 1)
            found[places] -= with_updates @ solved.inner @ with_updates.transpose(0, 2, 1)
        return found

    def _rows(self, members: Members) -> Floats:
        """``(..., r)`` centred rows of now."""
        places, n_old = self.places[members], len(self.base.U)
        is_new = places >= n_old
        rows: Floats = self.base.U[np.where(is_new, 0, places)] * self._root
        rows[is_new] = self.come[places[is_new] - n_old]
        return rows - self.centre

    def root(self, strength: float) -> None:
        """See `Hat`; none is at hand."""

    def explained(self, strength: float) -> Floats:
        """See `Hat`."""
        found: Floats = self._projected.T @ self._at(strength).solution
        return found

    def weights(self, strength: float) -> Floats:
        """See `Hat`."""
        return self.base.to_weights(self._at(strength).solution)

    def with_targets(self, targets: Floats) -> ChangedRows:
        """See `Hat`."""
        return replace(self, targets=targets)


@dataclass(frozen=True, eq=False)
class _Solved:
    """Of one strength: fits (n, K), leverage (n,), the solution in the basis (r, K), and Woodbury's
    ``E C'`` (r, m) and inverse (m, m)."""

    fits: Floats
    leverage: Floats
    solution: Floats
    across: Floats
    inner: Floats
