"""Final features of mean 0, deviation 1 and length 1, some rows at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MAX_SAMPLE = 10_000  # rows, evenly spaced, from which mean and deviation are taken


class Standardised:
    """Rows of features on a scale of their own, computed when they are asked for.

    Products of two rows are cosines. No standardised copy of all rows is made: a matrix that is
    mapped from disk stays there.

    Parameters
    ----------
    features : float array of shape (N, F)

    Examples
    --------
    >>> Standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))[np.array([0, 1])].tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, features: Floats) -> None:
        sample = np.asarray(features[:: -(-len(features) // MAX_SAMPLE) or 1])
        self._features = features
        self._mean = sample.mean(axis=0)
        self._scale = 1 / np.maximum(sample.std(axis=0), 1e-6)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> Floats:
        z = (self._features[rows] - self._mean) * self._scale
        return np.asarray(
            z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-6), np.float32
        )
