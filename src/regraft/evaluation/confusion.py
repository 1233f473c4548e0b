"""How often each class was taken for each: only what occurred, since most of K x K never does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Of more classes than this JSON has the cells that occurred, and no matrix.
MOST_DENSE = 1_000


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of images by true and predicted class.

    Attributes
    ----------
    cells : int array of shape (m, 2)
        True and predicted code of those that occurred, each once, in order.
    counts : array of shape (m,)
        Images, or their weight.
    n_classes : int

    Examples
    --------
    >>> confusion = Confusion.of(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    >>> confusion.matrix
    array([[1, 1],
           [0, 1]])
    >>> confusion.mistakes()
    [(1, 0, 1)]
    """

    cells: Array
    counts: Array
    n_classes: int

    @classmethod
    def of(
        cls, y_true: Array, y_pred: Array, n_classes: int, *, sample_weight: Array | None = None
    ) -> Confusion:
        """From the codes, in [0, n_classes), of N images; a weight of 2 counts an image twice."""
        places = np.asarray(y_true, dtype=np.int64) * n_classes + y_pred
        found, of_image = np.unique(places, return_inverse=True)
        counts = np.bincount(of_image, weights=sample_weight)
        return cls(np.column_stack(np.divmod(found, n_classes)), counts, n_classes)

    @classmethod
    def of_matrix(cls, matrix: Array) -> Confusion:
        """From counts of shape (K, K), truth in rows."""
        matrix = np.asarray(matrix)
        cells = np.argwhere(matrix)
        return cls(cells, matrix[tuple(cells.T)], len(matrix))

    @classmethod
    def from_dict(cls, evaluation: Mapping[str, Any]) -> Confusion:
        """From the ``evaluation`` object of ``--json`` and metrics.json."""
        if evaluation["confusion"] is not None:
            return cls.of_matrix(evaluation["confusion"])
        cells = np.array(evaluation["confusion_cells"], np.int64).reshape(-1, 3)
        return cls(cells[:, :2], cells[:, 2], len(evaluation["per_class"]))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the matrix; of very many classes ``[true, predicted, images]`` of each cell."""
        if self.n_classes <= MOST_DENSE:
            return {"confusion": self.matrix.tolist()}
        cells = np.column_stack([self.cells, self.counts])
        return {"confusion": None, "confusion_cells": cells.tolist()}

    @property
    def matrix(self) -> Array:
        """Shape (K, K), truth in rows."""
        matrix = np.zeros((self.n_classes, self.n_classes), self.counts.dtype)
        matrix[tuple(self.cells.T)] = self.counts
        return matrix

    @cached_property
    def true(self) -> Array:
        """Images of each class, shape (K,)."""
        return self._summed(self.cells[:, 0], self.counts)

    @cached_property
    def predicted(self) -> Array:
        """Images that were taken for each class, shape (K,)."""
        return self._summed(self.cells[:, 1], self.counts)

    @cached_property
    def right(self) -> Array:
        """Images of each class that were taken for it, shape (K,)."""
        is_right = self.cells[:, 0] == self.cells[:, 1]
        return self._summed(self.cells[is_right, 0], self.counts[is_right])

    def mistakes(self) -> list[tuple[int, int, int]]:
        """``(images, true, predicted)`` of each kind, the most frequent first."""
        is_wrong = self.cells[:, 0] != self.cells[:, 1]
        cells, counts = self.cells[is_wrong], self.counts[is_wrong]
        order = np.argsort(-counts, kind="stable")
        return [(int(counts[i]), int(cells[i, 0]), int(cells[i, 1])) for i in order]

    def _summed(self, codes: Array, counts: Array) -> Array:
        summed = np.zeros(self.n_classes, self.counts.dtype)
        np.add.at(summed, codes, counts)
        return summed
