"""From scores to probabilities that mean what they say: one temperature, fitted to held-out scores.

One number cannot change which class is first, so accuracy stays as it is. It must be fitted to
scores that the classifier did not learn from (leave-one-out, out-of-fold, or a split kept for it).
"""

from __future__ import annotations

import math

import numpy as np

from regraft.evaluation.blocks import Array, iterate_rows, own

_WIDEST = 1e3
_MAX_STEPS = 60


def softmax(scores: Array, *, temperature: float = 1.0) -> Array:
    """Probabilities proportional to ``exp(scores / temperature)``, each row summing to 1.

    Parameters
    ----------
    scores : array of shape (N, K)
        Logits or any other scores; float32 stays float32.
    temperature : float, above 0
        Below 1 makes them surer, above 1 less sure.

    Examples
    --------
    >>> softmax(np.array([[0.0, np.log(3.0)]])).round(2)
    array([[0.25, 0.75]])
    >>> softmax(np.array([[0.0, np.log(3.0)]]), temperature=0.5).round(2)
    array([[0.1, 0.9]])
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    p: Array = (scores - scores.max(axis=1, keepdims=True)) / temperature
    np.exp(p, out=p)
    p /= p.sum(axis=1, keepdims=True)
    return p


def fit_temperature(scores: Array, y: Array) -> float:
    """The temperature at which ``softmax(scores / T)`` has the least log loss.

    As in Platt's method the target is not 1 but ``1 - 1 / (N + 2)``, the rest shared by the other
    classes. Without this, scores that separate the classes perfectly would ask for infinite
    confidence; with it, N images can make the classifier as sure as about one error in N + 2. With
    many images and some errors it changes nothing that can be seen.

    The loss is convex in 1 / T, so its minimum is where the slope crosses zero: Newton steps, and
    halving in log T where a step would leave the bracket. T is proportional to the scores, so any
    scale will do: logits with T near 1, or the scores of ridge regression with T near 0.1.

    Parameters
    ----------
    scores : array of shape (N, K), finite
        Held-out scores, such as leave-one-out.
    y : int array of shape (N,)
        True codes.

    Returns
    -------
    float
        Within a factor of 1000 of the standard deviation of the scores within rows. Scores that
        say nothing or the wrong way round end at the upper bound, which is nearly uniform. 1.0 if
        all scores of each row are equal.

    Raises
    ------
    ValueError
        No images, shapes that do not fit, codes outside the columns, or scores that are not finite.

    References
    ----------
    Guo et al. (2017), ICML (temperature). Platt (1999), in Advances in Large Margin Classifiers
    (targets): there by class, here by N, as one number is fitted to all N images.

    Examples
    --------
    >>> scores = np.array([[2.0, 0.0]] * 4)
    >>> T = fit_temperature(scores, np.array([0, 0, 0, 1]))  # 3 of 4 right
    >>> softmax(scores[:1], temperature=T).round(3)  # (3 * 5/6 + 1 * 1/6) / 4
    array([[0.667, 0.333]])
    """
    scores, y = _checked(scores, y)
    n_images, n_classes = scores.shape
    centred_at = scores.mean(axis=1, dtype=np.float64)
    spread = _spread(scores)
    if spread == 0:
        return 1.0
    smoothing = 1 / (n_images + 2)
    p_true = own(scores, y).astype(np.float64) - centred_at
    # Scores from their row mean: shares (1 - s) to the true class and s to the K - 1 others.
    target = float(p_true.sum()) * (1 - smoothing - smoothing / (n_classes - 1))

    lowest, highest = -math.log(_WIDEST * spread), math.log(_WIDEST / spread)
    return math.exp(-_find_root(scores, target, lowest, highest, start=-math.log(spread)))


def _find_root(scores: Array, target: float, low: float, high: float, *, start: float) -> float:
    """Log of the inverse temperature at which the expected score equals the target."""
    at = start
    for _ in range(_MAX_STEPS):
        inverse = math.exp(at)
        expected, variance = _moments(scores, inverse)
        slope, curvature = expected - target, variance * inverse
        low, high = (low, at) if slope > 0 else (at, high)
        step = -slope / curvature if curvature > 0 else math.inf
        following = at + step if low < at + step < high else (low + high) / 2
        if abs(following - at) < 1e-7:
            break
        at = following
    return at


def _moments(scores: Array, inverse: float) -> tuple[float, float]:
    """Sum over images of mean and variance of the centred scores under the softmax."""
    expected = variance = 0.0
    for block in iterate_rows(scores):
        z = block - block.mean(axis=1, keepdims=True, dtype=np.float64)
        p = softmax(z, temperature=1 / inverse)
        means = np.einsum("nk,nk->n", p, z)
        expected += float(means.sum())
        z -= means[:, None]
        z *= z
        variance += float(np.einsum("nk,nk->", p, z))
    return expected, variance


def _spread(scores: Array) -> float:
    total = 0.0
    for block in iterate_rows(scores):
        z = block - block.mean(axis=1, keepdims=True, dtype=np.float64)
        total += float(np.einsum("nk,nk->", z, z))
    spread = math.sqrt(total / scores.size)
    # Equal scores leave rounding behind.
    return spread if spread > 1e-12 * float(np.abs(scores).max()) else 0.0


def _checked(scores: Array, y: Array) -> tuple[Array, Array]:
    scores, y = np.asarray(scores), np.asarray(y)
    if scores.ndim != 2 or y.shape != scores.shape[:1] or scores.size == 0:
        raise ValueError(
            f"need scores (N, K) and y (N,) with N of at least 1, "
            f"got shapes {scores.shape} and {y.shape}"
        )
    if y.min() < 0 or y.max() >= scores.shape[1]:
        raise ValueError(
            f"codes must lie in 0 to {scores.shape[1] - 1}, got {y.min()} to {y.max()}"
        )
    if not math.isfinite(float(np.sum(scores, dtype=np.float64))):
        raise ValueError("scores must be finite, got NaN or infinity")
    return scores, y
