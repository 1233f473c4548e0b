"""Every kind of pixel as 8-bit RGB, one stated rule each (docs/images.md has them as a table)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from regraft.errors import DecodeError

Pixels = npt.NDArray[np.uint8]

BACKGROUND = 255  # what lies behind transparent pixels: white, as on a page

# Modes whose colours are multiplied by their opacity, and those where they are not.
_UNMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags


def to_rgb(image: Image.Image, format: str) -> Image.Image:
    """The loaded picture as 8-bit RGB.

    Parameters
    ----------
    image : Image
        Any mode that Pillow's readers give.
    format : str
        Pillow's name of the file's format: some readers give 16 bits as 32. Empty for a picture
        that was made in memory; whole numbers that fit 16 bits are taken for such.

    Raises
    ------
    DecodeError
        If floating-point pixels are NaN or infinite.

    Examples
    --------
    >>> to_rgb(Image.new("LA", (1, 1), (0, 128)), "PNG").getpixel((0, 0))
    (127, 127, 127)
    """
    if image.mode in _UNMULTIPLIED:
        image = image.convert(_UNMULTIPLIED[image.mode])
    is_sixteen_bits = format in ("PNG", "PPM") or (not format and _fits_sixteen_bits(image))
    if image.mode.startswith("I;16") or (image.mode == "I" and is_sixteen_bits):
        return Image.fromarray(_sixteen_bits_to_grey(image)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_any_range_to_grey(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        page = Image.new("RGB", image.size, (BACKGROUND,) * 3)
        page.paste(rgba, mask=rgba.getchannel("A"))
        return page
    return image.convert("RGB")


def _fits_sixteen_bits(image: Image.Image) -> bool:
    if image.mode != "I":
        return False
    values = np.asarray(image)
    return bool(values.min() >= 0 and values.max() < 2**16)


def _sixteen_bits_to_grey(image: Image.Image) -> Pixels:
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    white = 2**12 - 1 if tags.get(_BITS_PER_SAMPLE) == (12,) else 2**16 - 1
    grey = _by_rows(values, lambda v: (v.astype(np.uint32) * 255 + white // 2) // white)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow leaves as it is
        grey = 255 - grey
    if isinstance(key := image.info.get("transparency"), int):
        grey[values == key] = BACKGROUND
    return grey


def _any_range_to_grey(values: npt.NDArray[Any]) -> Pixels:
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low) or not math.isfinite(high):
        n_bad = int(np.count_nonzero(~np.isfinite(values)))
        rule = f"{n_bad} of {values.size} pixels are NaN or infinite"
        raise DecodeError(rule, cure="give them a number (and say in your notes which)")
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    factor = 255 / (high - low) if high > low else 0.0
    return _by_rows(values, lambda v: np.rint((v - low) * factor))


def _by_rows(
    values: npt.NDArray[Any], function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> Pixels:
    """Apply ``function`` to bands of rows, so that wide intermediate values stay few."""
    out = np.empty(values.shape, np.uint8)
    for y in range(0, len(values), 64):
        out[y : y + 64] = function(values[y : y + 64])
    return out
