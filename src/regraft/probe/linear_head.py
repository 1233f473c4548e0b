"""The head that is one matrix: whatever taught it, it is saved and applied the same way.

Array letters: N images, D features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from regraft.probe.base import Floats, Tensors


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Scores that are linear in the features.

    Attributes
    ----------
    weight : (K, D) float32
    bias : (K,) float32

    Examples
    --------
    >>> import numpy as np
    >>> head = LinearHead(np.array([[1, 0], [0, 2]], np.float32), np.array([0, 1], np.float32))
    >>> head.scores(np.array([[3, 4]], np.float32))
    array([[3., 9.]], dtype=float32)
    """

    weight: Floats
    bias: Floats

    kind = "linear"

    def scores(self, Z: Floats) -> Floats:
        """``(N, D)`` features to ``(N, K)`` scores."""
        scores: Floats = Z @ self.weight.T + self.bias
        return scores

    def to_tensors(self) -> Tensors:
        """``weight`` and ``bias``."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> LinearHead:
        """The inverse of :meth:`to_tensors`.

        Raises
        ------
        KeyError
            A tensor is missing.
        ValueError
            The shapes do not fit, or a value is not float32.
        """
        weight, bias = tensors["weight"], tensors["bias"]
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(
                f"a linear head needs weight (K, D) and bias (K,), "
                f"got {weight.shape} and {bias.shape}"
            )
        if weight.dtype != "float32" or bias.dtype != "float32":
            raise ValueError(
                f"a linear head is float32, got weight {weight.dtype} and bias {bias.dtype}"
            )
        return cls(weight, bias)
