"""Several heads as one: a weighted sum of their scores, the weights by left-out log loss.

Summing log odds multiplies probabilities (a logarithmic pool), and of linear heads leaves one
linear head. The weights are not negative (Breiman 1996: otherwise they undo each other); most end
at zero. Of a single head the weight is its inverse temperature, so that what judges one head
judges many.

Sources: Breiman (1996), Machine Learning 24 (stacking, not negative); Caruana et al. (2004), ICML
(an ensemble chosen from what was tried anyway); Genest, Zidek (1986), Statistical Science 1(1)
(logarithmic pools).

J heads, N images, K classes.
"""

from __future__ import annotations

import numpy as np

from regraft.probe.base import Codes, Floats
from regraft.probe.newton import START, descend
from regraft.probe.out_of_fold import log_losses

SWEEPS = 100


def fit_weights(scores: Floats, y: Codes, *, start: Floats | None = None) -> Floats:
    """Weights, not negative, of the sum of scores whose softmax has the least log loss.

    As for a temperature the target is not 1 but ``1 - 1 / (N + 2)`` (Platt 1999), so that N images
    that are all right ask for no more confidence than N images can give.

    Parameters
    ----------
    scores : (J, N, K) float, finite
        Left out.
    y : (N,) codes
    start : (J,) float, optional
        Where to begin: weights of much the same scores.

    Returns
    -------
    (J,) float

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, 200)
    >>> good, noise = rng.normal(size=(2, 200, 3))
    >>> good[np.arange(200), y] += 2
    >>> good_weight, noise_weight = fit_weights(np.stack([good, noise]), y)
    >>> bool(good_weight > 1), bool(noise_weight < 0.2)
    (True, True)
    """
    scores, scale = _standardised(scores)
    weights = np.full(len(scores), START / len(scores)) if start is None else start * scale
    target = _targets(scores, y)
    best: Floats = descend(
        lambda at: _expansion(scores, target, at),
        lambda at, slope, bend: _least_parabola(slope, bend, at) - at,
        weights,
    )
    return best / scale


def nested_losses(scores: Floats, y: Codes, fold: Codes, weights: Floats) -> Floats:
    """``(N,)`` log losses of the pooled scores, each image's weights fitted without its fold.

    From the weights of all images one Newton step leads to those of four fifths of them: what a
    fold adds to slope and curvature is taken off again, so that all folds cost one pass.

    Parameters
    ----------
    scores : (J, N, K) float
    y : (N,) codes
    fold : (N,) int
        From 0 on; a few large ones.
    weights : (J,) float
        Those of all images (:func:`fit_weights`).
    """
    scores, scale = _standardised(scores)
    whole = weights * scale
    parts = [fold == k for k in range(int(fold.max()) + 1)]
    losses = np.empty(len(y))
    pieces = [
        _expansion(scores[:, out], _targets(scores[:, out], y[out], len(y)), whole) for out in parts
    ]
    sizes = [int(out.sum()) for out in parts]
    slope, bend = (
        sum(size * piece[i] for size, piece in zip(sizes, pieces, strict=True)) for i in (1, 2)
    )
    for out, size, piece in zip(parts, sizes, pieces, strict=True):
        rest = len(y) - size
        weights = whole
        if rest:
            slope_of_rest = (slope - size * piece[1]) / rest
            bend_of_rest = (bend - size * piece[2]) / rest
            weights = _least_parabola(slope_of_rest, bend_of_rest, whole)
        pooled = np.tensordot(weights.astype(scores.dtype), scores[:, out], 1)
        losses[out] = log_losses(pooled, y[out])
    return losses


def _standardised(scores: Floats) -> tuple[Floats, Floats]:
    """Scores centred within rows, of unit mean square, and what they were divided by."""
    scores = scores - scores.mean(axis=2, keepdims=True)
    scale = np.sqrt(np.einsum("jnk,jnk->j", scores, scores) / scores[0].size)
    scale = np.where(scale > 0, scale, 1.0)
    scores /= scale[:, None, None]
    return scores, scale


def _targets(scores: Floats, y: Codes, n_images: int | None = None) -> Floats:
    """``(J,)`` mean score of the truth, smoothed for so many images; rows are centred."""
    n, n_classes = scores.shape[1:]
    smoothing = 1 / ((n_images or n) + 2)
    true = scores[:, np.arange(n), y].mean(axis=1, dtype=np.float64)
    target: Floats = true * (1 - smoothing - smoothing / (n_classes - 1))
    return target


def _expansion(scores: Floats, target: Floats, weights: Floats) -> tuple[float, Floats, Floats]:
    """Loss, slope and curvature of the mean log loss."""
    n = scores.shape[1]
    shares = np.tensordot(weights.astype(scores.dtype), scores, 1)
    top = shares.max(axis=1, keepdims=True)
    shares -= top
    np.exp(shares, out=shares)
    total = shares.sum(axis=1, keepdims=True)
    shares /= total
    loss = float((np.log(total) + top).mean(dtype=np.float64) - weights @ target)
    weighted = scores * shares
    means = weighted.sum(axis=2)
    slope = means.mean(axis=1, dtype=np.float64) - target
    flat = (len(scores), -1)
    bend = (weighted.reshape(flat) @ scores.reshape(flat).T - means @ means.T) / n
    return loss, slope, bend.astype(np.float64) + 1e-9 * np.eye(len(scores))


def _least_parabola(slope: Floats, bend: Floats, weights: Floats) -> Floats:
    """Where the parabola is least among weights that are not negative, by coordinates."""
    if len(weights) == 1:
        one: Floats = np.maximum(weights - slope / bend[0], 0.0)
        return one
    found = weights.copy()
    linear = slope - bend @ weights
    for _ in range(SWEEPS):
        before = found.copy()
        for j in range(len(found)):
            found[j] = max(0.0, found[j] - (bend[j] @ found + linear[j]) / bend[j, j])
        if np.abs(found - before).max() <= 1e-9 * np.abs(found).max():
            break
    return found
