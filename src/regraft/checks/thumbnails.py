"""Thumbnails as vectors: their light, their correlation, mirrored, and cut to a crop.

n thumbnails or pairs, P pixels of a thumbnail (256).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Array = TypeVar("Array", Bytes, Floats)

THUMB_PX = 16  # as in images/facts.py, which is not imported because it needs Pillow
CROPPED_SIDE = 0.95  # side of the crops looked for; those between this and 1 are found as well
CHUNK = 4096  # rows or pairs at a time, so that memory stays bounded


def light(thumbs: Bytes) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each thumbnail in grey levels, (N,) each."""
    mean, contrast = np.empty((2, len(thumbs)), np.float32)
    for part in chunks(len(thumbs)):
        grey = thumbs[part].astype(np.float32)
        mean[part], contrast[part] = grey.mean(axis=1), grey.std(axis=1)
    return mean, contrast


def chunks(n: int, at_once: int = CHUNK) -> list[slice]:
    return [slice(at, at + at_once) for at in range(0, n, at_once)]


def unit_length(thumbs: Bytes | Floats) -> Floats:
    """Thumbnails without mean and of length 1, so that a product of two is their correlation."""
    grey = thumbs.astype(np.float32)
    grey -= grey.mean(axis=1, keepdims=True)
    grey /= np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)
    return grey


def mirrored_where(is_mirrored: Mask, thumbs: Array) -> Array:
    mirrored = thumbs.reshape(-1, THUMB_PX, THUMB_PX)[:, :, ::-1].reshape(thumbs.shape)
    return np.where(is_mirrored[:, None], mirrored, thumbs)


def row_products(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.einsum("mp,mp->m", first, second))


def best_crop(whole: Floats, part: Floats) -> Floats:
    """Best correlation of `part` with nine crops of `whole`: corners, edges, centre. (M,)."""
    target = unit_length(part)
    best = np.zeros(len(whole), np.float32)
    for top in CROP_MATRICES:
        for left in CROP_MATRICES:
            cut = unit_length(crop(whole, top, left))
            np.maximum(best, row_products(cut, target), out=best)
    return best


def crop(thumbs: Floats, top: Floats, left: Floats) -> Floats:
    squares = thumbs.reshape(-1, THUMB_PX, THUMB_PX)
    return np.asarray((top @ squares @ left.T).reshape(thumbs.shape))


def _crop_matrix(place: float) -> Floats:
    """Rows of a thumbnail to rows of its crop, (16, 16), by Keys' cubic interpolation.

    Keys, R. (1981), Cubic convolution interpolation, IEEE Trans. ASSP 29(6). Linear interpolation
    loses a fifth of the crops of fine-grained pictures.
    """
    centres = (np.arange(THUMB_PX) + 0.5) * CROPPED_SIDE - 0.5
    centres += place * (1 - CROPPED_SIDE) * THUMB_PX
    matrix = np.zeros((THUMB_PX, THUMB_PX), np.float32)
    for row, centre in enumerate(centres):
        for source in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            inside = min(max(source, 0), THUMB_PX - 1)
            matrix[row, inside] += _keys(abs(centre - source))
    return matrix


def _keys(x: float) -> float:
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


CROP_MATRICES = tuple(_crop_matrix(place) for place in (0.0, 0.5, 1.0))
