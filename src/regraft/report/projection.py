"""Features to a map: every image a point in the plane, and those that look alike side by side.

t-SNE keeps neighbours: it moves the points until each has the same images around it on the map as
among the features. Far distances, sizes of clusters and the axes themselves mean nothing.

Exact and in numpy, since the map is small and the report is quick: 400 images take 0.2 s, where
scikit-learn takes 1.6 s and its import another 0.6 s, for a map no truer (docs/experiments.md).

N images, D features, C components.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.machine import blas

Floats = NDArray[np.floating[Any]]

FEWEST = 5  # images for which neighbours can be told from the rest
N_COMPONENTS = 50
PERPLEXITY = 30.0  # how many neighbours count, softly
N_STEPS = 400
# The clusters find each other first, all pulled together, and then unfold.
N_EARLY_STEPS = 100
EARLY_PULL = 8.0
_ROWS = 128  # at a time: their part of the N x N arrays stays in the cache
_HALVINGS = 30


@blas.one_thread
def project(X: Floats, *, seed: int = 0) -> NDArray[np.float32]:
    """A map of images on which like ones lie together.

    The same features in the same order give the same map, bit by bit, on one machine. Another order
    gives a map with the same neighbours, though not at the same places.

    Parameters
    ----------
    X : (N, D) float
        Features, finite. The time grows with N squared: 0.2 s for 400 rows, 3 s for 2,000. Of more
        images hand over a sample.
    seed : int
        Of the search for the principal components; another seed hardly changes the map.

    Returns
    -------
    (N, 2) float32
        Centred; the unit means nothing. The first two principal components for fewer than 5 rows,
        all zeros if the features are constant.

    Raises
    ------
    ValueError
        X is not of two dimensions, or not finite.

    References
    ----------
    van der Maaten, Hinton (2008), JMLR 9, 2579-2605. Kobak, Berens (2019), Nature Communications
    10:5416, for the start from the principal components. Belkina et al. (2019), Nature
    Communications 10:5415, for the rate. Halko, Martinsson, Tropp (2011), SIAM
    Review 53(2), for how these are found.

    Examples
    --------
    >>> X = np.repeat(np.eye(3), 20, axis=0) + np.random.default_rng(0).normal(0, 0.05, (60, 3))
    >>> centres = project(X).reshape(3, 20, 2).mean(axis=1)
    >>> spread = np.abs(project(X).reshape(3, 20, 2) - centres[:, None]).max()
    >>> bool(np.linalg.norm(centres[0] - centres[1]) > 2 * spread)
    True
    """
    X = np.asarray(X, np.float32)
    if X.ndim != 2 or not np.isfinite(X).all():
        raise ValueError(f"need finite features (N, D), got shape {X.shape}, or NaN or infinity")
    centred = _centred(X)
    if centred is None:
        return np.zeros((len(X), 2), np.float32)
    components = _principal_components(centred, seed=seed)
    start = np.zeros((len(X), 2), np.float32)
    start[:, : components.shape[1]] = components[:, :2]
    if len(X) < FEWEST:
        return start
    return _unfolded(_neighbour_shares(components), start)


def _centred(X: Floats) -> Floats | None:
    """Columns less their means, at most 1; None if nothing but rounding is left."""
    if not X.size:
        return None
    largest = np.abs(X).max()
    centred = X / largest if largest > 0 else X  # squares of what is very large or small
    centred = centred - centred.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.abs(centred).max()
    return None if spread <= 1e-6 else centred / spread


def _principal_components(centred: Floats, *, seed: int) -> Floats:
    """``(N, C)`` coordinates of the rows along the directions of largest variance, largest first.

    By power iteration of a block of vectors: quicker than all eigenvectors, of which few are used.
    """
    n = len(centred)
    gram = centred @ centred.T
    n_found = min(n, N_COMPONENTS)
    vectors = np.random.default_rng(seed).standard_normal((n, min(n, n_found + 8)), np.float32)
    for _ in range(12):
        vectors = np.linalg.qr(gram @ vectors)[0]
    values, turn = np.linalg.eigh(vectors.T @ gram @ vectors)
    values, turn = values[::-1][:n_found], turn[:, ::-1][:, :n_found]
    components: Floats = vectors @ turn * np.sqrt(np.maximum(values, 0))
    # Either sign would do: the longer tail to the right, whatever the order of the rows.
    return components * np.where((components**3).sum(axis=0) < 0, -1, 1).astype(np.float32)


def _neighbour_shares(points: Floats) -> Floats:
    """``(N, N)`` symmetric: how much two images are neighbours, all together 1.

    A row's shares fall with the squared distance, as fast as leaves it the perplexity: that many
    equal neighbours would be as surprising.
    """
    n = len(points)
    perplexity = min(PERPLEXITY, (n - 1) / 3)
    square = np.einsum("nc,nc->n", points, points)
    distance: Floats = np.maximum(square[:, None] + square - 2 * (points @ points.T), 0)
    np.fill_diagonal(distance, np.inf)
    # What lies beyond three times the perplexity has no part in the sums.
    nearest = np.partition(distance, int(3 * perplexity) - 1, axis=1)[:, : int(3 * perplexity)]
    lowest = nearest.min(axis=1, keepdims=True)
    rate = _rates(nearest - lowest, np.log(perplexity))
    shares: Floats = np.exp((lowest - distance) * rate)
    shares /= shares.sum(axis=1, keepdims=True)
    shares = shares + shares.T
    shares /= shares.sum()
    return shares


def _rates(nearest: Floats, entropy: float) -> Floats:
    """``(N, 1)`` by which ``exp(-rate * nearest)``, as shares, has this entropy; by halving."""
    scale = nearest.mean(axis=1, keepdims=True)
    scale[scale == 0] = 1  # copies of one picture: any rate will do
    nearest = nearest / scale
    low, high = np.full_like(scale, -10), np.full_like(scale, 10)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        weight = np.exp(-np.exp(middle) * nearest)
        total = weight.sum(axis=1, keepdims=True)
        mean = (weight * nearest).sum(axis=1, keepdims=True) / total
        is_flat = np.log(total) + np.exp(middle) * mean > entropy
        low, high = np.where(is_flat, middle, low), np.where(is_flat, high, middle)
    rates: Floats = np.exp((low + high) / 2) / scale
    return rates


def _unfolded(shares: Floats, start: Floats) -> NDArray[np.float32]:
    """The points after gradient descent with momentum, each coordinate at a pace of its own."""
    Y = (start * (1e-2 / max(float(start[:, 0].std()), 1e-30))).astype(np.float32)
    # In proportion to N (Belkina et al. 2019), faster for a few hundred, which bear it.
    rate = max(len(Y) / EARLY_PULL / 4, min(50.0, len(Y) / 8))
    step: Floats = np.zeros_like(Y)
    pace: Floats = np.ones_like(Y)
    scratch = np.empty((2, min(_ROWS, len(Y)), len(Y)), np.float32)
    for i in range(N_STEPS):
        is_early = i < N_EARLY_STEPS
        slope = _slope(shares, Y, EARLY_PULL if is_early else 1.0, scratch)
        # Faster where the slope has kept its side, slower where it has changed (Jacobs 1988).
        pace = np.maximum(np.where(step * slope < 0, pace + 0.2, pace * 0.8), 0.01)
        step = (0.5 if is_early else 0.8) * step - rate * pace * slope
        Y += step.astype(np.float32)
        Y -= Y.mean(axis=0)
    return Y


def _slope(shares: Floats, Y: Floats, pull: float, scratch: Floats) -> Floats:
    """``(N, 2)`` gradient of the Kullback-Leibler divergence, in rows that fit in the cache.

    With ``q = 1 / (1 + |y_i - y_j|^2)`` and Z its sum over all pairs, a point is pulled by
    ``shares * q`` and pushed by ``q^2 / Z``, each times ``y_i - y_j``. `scratch` is used again in
    every step, for memory that is new each time costs more than the sums.
    """
    n = len(Y)
    one = np.ones((n, 1), np.float32)
    square = np.einsum("nc,nc->n", Y, Y)[:, None]
    # One product gives 1 + |y_i - y_j|^2; another, with a column of ones, both sums of a force.
    left, right = np.hstack([-2 * Y, square + 1, one]), np.hstack([Y, one, square]).T
    Y1 = np.hstack([Y, one])
    pulled, pushed, total = np.empty_like(Y1), np.empty_like(Y1), -float(n)
    for at in range(0, n, _ROWS):
        rows = slice(at, at + _ROWS)
        q, pull_of = scratch[:, : len(Y[rows])]
        np.matmul(left[rows], right, out=q)
        np.maximum(q, 1, out=q)  # rounding, where the points are far out
        np.divide(1, q, out=q)
        total += float(q.sum())
        pulled[rows] = np.multiply(shares[rows], q, out=pull_of) @ Y1
        pushed[rows] = np.multiply(q, q, out=q) @ Y1
    force = pull * pulled - pushed / np.float32(max(total, 1e-30))
    slope: Floats = 4 * (force[:, 2:] * Y - force[:, :2])
    return slope
