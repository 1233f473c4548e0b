"""Images that look unlike their class and more like another: slips of labelling, oddities.

Distances are cosines of standardised final features to the nearest images, each class against
itself with the image left out. Robust: medians, so that the odd ones do not hide themselves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regraft.checks.standardised import Standardised

# N images, F final features, R reference images of a class.
Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

N_NEIGHBOURS = 5
MIN_CLASS = 10  # images that a class needs before anything in it can be called unusual
MAX_REFERENCES = 1000  # of each class, evenly spaced: bounds the time to N x K x 1000 products
MIN_SPREAD = 0.02  # of a class's distances: keeps a class of near copies from calling all odd
ODD = 3.0  # robust standard deviations above the class's median distance


def find_outliers(
    final: Floats, labels: npt.NDArray[np.object_], unit: npt.ArrayLike | None = None
) -> npt.NDArray[np.bool_]:
    """Which images are far from their class and nearer to another one, (N,).

    An image is flagged if its mean distance to its 5 nearest neighbours in its class is more than
    3 robust standard deviations above the median of that class, and larger than that to the 5
    nearest of some other class. Classes of fewer than 10 images are left alone.

    Parameters
    ----------
    final : float array of shape (N, F)
        Final features.
    labels : ndarray of shape (N,), of str or None
    unit : int array of shape (N,), optional
        Rows with equal numbers show one picture (``Duplicates.unit``): a copy is no neighbour.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> final = np.repeat(np.eye(2, 8), 30, axis=0) + rng.normal(0, 0.05, (60, 8))
    >>> labels = np.array(["ant"] * 30 + ["bee"] * 30, dtype=object)
    >>> labels[7] = "bee"
    >>> np.flatnonzero(find_outliers(final, labels))
    array([7])
    """
    is_odd = np.zeros(len(labels), np.bool_)
    rows_of = {label: np.flatnonzero(labels == label) for label in sorted(set(labels) - {None})}
    if not rows_of:
        return is_odd
    z = Standardised(final)
    units = np.arange(len(labels)) if unit is None else np.asarray(unit)
    far = [
        (place, row)
        for place, rows in enumerate(rows_of.values())
        if len(rows) >= MIN_CLASS
        for row in rows[_robust_z(_distance(z, rows, rows, units)) > ODD]
    ]
    if not far:
        return is_odd
    own_class, some = np.array(far).T
    distance = np.stack([_distance(z, some, rows, units) for rows in rows_of.values()])
    own = distance[own_class, np.arange(len(some))]
    distance[own_class, np.arange(len(some))] = np.inf
    is_odd[some] = (own > distance.min(axis=0)) | (len(rows_of) == 1)
    return is_odd


def _distance(z: Standardised, rows: Indices, references: Indices, units: Indices) -> Floats:
    """Mean cosine distance of each row to its nearest references that are not its copies."""
    some = references[:: -(-len(references) // MAX_REFERENCES)]
    near = z[some]
    k = min(N_NEIGHBOURS, len(some))
    distance = np.empty(len(rows), np.float32)
    for at in range(0, len(rows), 1024):
        part = rows[at : at + 1024]
        cosine = z[part] @ near.T
        cosine[units[part][:, None] == units[some]] = -1
        nearest = np.partition(cosine, len(some) - k, axis=1)[:, -k:]
        distance[at : at + 1024] = 1 - nearest.mean(axis=1)
    return distance


def _robust_z(distance: Floats) -> Floats:
    median = np.median(distance)
    spread = 1.4826 * np.median(np.abs(distance - median))
    return np.asarray((distance - median) / max(spread, MIN_SPREAD))
