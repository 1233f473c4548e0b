"""The look `flip`: features of a picture and of its mirror image, averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regraft.features.engine import Engine


class Mirrored:
    """An engine that sees every picture twice; a picture and its mirror image are one to it.

    Examples
    --------
    >>> class Left:
    ...     def run(self, pixels):
    ...         return pixels[:, :, 0].mean(axis=1, dtype=np.float32)
    >>> row = np.array([[[[1, 2, 3], [5, 6, 7]]]], np.uint8)
    >>> Mirrored(Left()).run(row).tolist()
    [[3.0, 4.0, 5.0]]
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, H, W, 3)`` uint8 to ``(N, D)`` float32."""
        mean: NDArray[np.float32] = self.engine.run(pixels) + self.engine.run(mirrored(pixels))
        mean *= np.float32(0.5)  # which is exact
        return mean


def mirrored(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(N, H, W, 3)`` with left and right exchanged."""
    return np.ascontiguousarray(pixels[:, :, ::-1])
