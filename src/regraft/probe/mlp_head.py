"""The head with hidden layers: affine maps with ReLU between them, applied without torch.

Array letters: N images, D features, H hidden units, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regraft.probe.base import Floats, Tensors


@dataclass(frozen=True, eq=False)
class MLPHead:
    """Scores by one or more layers, ReLU after all but the last.

    Attributes
    ----------
    layers : sequence of (weight, bias)
        ``(H1, D)`` and ``(H1,)``, then ``(H2, H1)`` and ``(H2,)``, up to ``(K, H)`` and ``(K,)``;
        float32.

    Examples
    --------
    >>> both = np.array([[1.0], [-1.0]], np.float32), np.zeros(2, np.float32)
    >>> summed = np.ones((1, 2), np.float32), np.zeros(1, np.float32)
    >>> MLPHead((both, summed)).scores(np.array([[-3.0], [2.0]], np.float32))  # |z|
    array([[3.],
           [2.]], dtype=float32)
    """

    layers: Sequence[tuple[Floats, Floats]]

    kind = "mlp"

    @property
    def n_classes(self) -> int:
        """K, the width of the last layer."""
        return len(self.layers[-1][1])

    def scores(self, Z: Floats) -> Floats:
        """``(N, D)`` features to ``(N, K)`` scores."""
        *hidden, (last, last_bias) = self.layers
        for weight, bias in hidden:
            Z = np.maximum(Z @ weight.T + bias, 0)
        scores: Floats = Z @ last.T + last_bias
        return scores

    def to_tensors(self) -> Tensors:
        """``weight.0``, ``bias.0``, ``weight.1`` and so on, from the features to the scores."""
        return {
            f"{part}.{i}": values
            for i, layer in enumerate(self.layers)
            for part, values in zip(("weight", "bias"), layer, strict=True)
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> MLPHead:
        """The inverse of :meth:`to_tensors`.

        Raises
        ------
        KeyError
            A tensor is missing.
        ValueError
            There is a tensor too many, shapes do not fit, or a value is not float32.
        """
        n_layers = max(1, sum(name.startswith("weight.") for name in tensors))
        layers = tuple((tensors[f"weight.{i}"], tensors[f"bias.{i}"]) for i in range(n_layers))
        if len(tensors) != 2 * n_layers:
            raise ValueError(
                f"an mlp head of {n_layers} layers has tensors besides, {set(tensors)}"
            )
        width = layers[0][0].shape[-1] if layers[0][0].ndim else 0
        for i, (weight, bias) in enumerate(layers):
            if weight.shape != (len(bias) if bias.ndim == 1 else -1, width) or not weight.size:
                raise ValueError(
                    f"layer {i} of an mlp head needs weight (H, {width}) and bias (H,), "
                    f"got {weight.shape} and {bias.shape}"
                )
            if weight.dtype != "float32" or bias.dtype != "float32":
                raise ValueError(
                    f"an mlp head is float32, layer {i} has {weight.dtype} and {bias.dtype}"
                )
            width = len(bias)
        return cls(layers)
