"""The linear head: one weight vector and one bias per class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.methods.base import Floats, Tensors


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Scores ``Z @ weight.T + bias``.

    Attributes
    ----------
    weight : (K, D) float32
    bias : (K,) float32
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    kind = "linear"

    def scores(self, Z: Floats) -> Floats:
        """``(N, D)`` to ``(N, K)``."""
        result: Floats = Z @ self.weight.T + self.bias
        return result

    def to_tensors(self) -> Tensors:
        """Weight and bias."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> LinearHead:
        """From weight (K, D) and bias (K,); ValueError if the shapes do not fit."""
        weight, bias = tensors["weight"], tensors["bias"]
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(f"weight {weight.shape} and bias {bias.shape} do not fit")
        return cls(np.asarray(weight, np.float32), np.asarray(bias, np.float32))
