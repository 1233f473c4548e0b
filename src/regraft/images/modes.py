"""Every kind of pixel as 8-bit RGB, one stated rule each (docs/images.md has them as a table)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from regraft.errors import DecodeError

Pixels = npt.NDArray[np.uint8]

BACKGROUND = 255  # what lies behind transparent pixels: white, as on a page

# Modes whose colours are multiplied by their opacity, and those where they are not.
_UNMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags


class Rgb(NamedTuple):
    """A picture as 8-bit RGB, and what it was made of if that had more than 8 bits.

    Attributes
    ----------
    image : Image
    peak : float
        The largest value; 0 for 8 bits.
    white : float
        The value that became white; 0 for 8 bits, and where the picture's own range decided.
    """

    image: Image.Image
    peak: float = 0.0
    white: float = 0.0


def to_rgb(image: Image.Image, format: str, white: int = 0) -> Rgb:
    """The loaded picture as 8-bit RGB.

    Parameters
    ----------
    image : Image
        Any mode that Pillow's readers give.
    format : str
        Pillow's name of the file's format: some readers give 16 bits as 32. Empty for a picture
        that was made in memory; whole numbers that fit 16 bits are taken for such.
    white : int
        The value that becomes white in a picture of more than 8 bits; 0: as the file says.

    Raises
    ------
    DecodeError
        If floating-point pixels are NaN or infinite, or values lie beyond black and white.

    Examples
    --------
    >>> to_rgb(Image.new("LA", (1, 1), (0, 128)), "PNG").image.getpixel((0, 0))
    (127, 127, 127)
    >>> to_rgb(Image.new("I;16", (1, 1), 2048), "PNG", white=4095).image.getpixel((0, 0))
    (128, 128, 128)
    """
    if image.mode in _UNMULTIPLIED:
        image = image.convert(_UNMULTIPLIED[image.mode])
    if image.mode[0] in "IF":
        return _deep_to_rgb(image, format, white)
    if image.has_transparency_data:
        return Rgb(on_page(image.convert("RGBA")))
    return Rgb(image.convert("RGB"))


def on_page(rgba: Image.Image) -> Image.Image:
    """The picture without its opacity, over white."""
    page = Image.new("RGB", rgba.size, (BACKGROUND,) * 3)
    page.paste(rgba, mask=rgba.getchannel("A"))
    return page


def scaled(values: npt.NDArray[Any], white: float) -> Pixels:
    """Values from 0 (black) to `white`, as 0 to 255, of any shape.

    Raises
    ------
    DecodeError
        A value is smaller or larger.
    """
    low, high = values.min(), values.max()
    if low < 0 or high > white:
        found = f"down to {low:,}" if low < 0 else f"up to {high:,}"
        raise DecodeError(
            f"it holds values {found}, where 0 is black and {white:,.0f} is white",
            cure="train with a --scale that holds the values of all pictures",
        )
    if values.dtype.kind == "f":
        return _by_rows(values, lambda v: np.rint(v * (255 / white)))
    whole, half = int(white), int(white) // 2
    return _by_rows(values, lambda v: (v.astype(np.uint64) * 255 + half) // whole)


def _deep_to_rgb(image: Image.Image, format: str, white: int) -> Rgb:
    """Grey of 16 or 32 bits, or floating."""
    values = np.asarray(image)
    _refuse_not_finite(values)
    peak, used = float(values.max()), float(white or _own_white(image, format, values))
    grey = scaled(values, used) if used else _by_its_own_range(values)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0 and image.mode.startswith("I;16"):
        grey = 255 - grey  # white is zero, which Pillow leaves as it is
    if isinstance(key := image.info.get("transparency"), int):
        grey[values == key] = BACKGROUND
    return Rgb(Image.fromarray(grey).convert("RGB"), peak, used)


def _own_white(image: Image.Image, format: str, values: npt.NDArray[Any]) -> int:
    """The value that is white as the file says; 0 where the picture's own range decides."""
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16") or (image.mode == "I" and format in ("PNG", "PPM")):
        is_twelve_bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE) == (12,)
        return 2**12 - 1 if is_twelve_bits else 2**16 - 1
    if image.mode == "I" and not format and low >= 0 and high < 2**16:
        return 2**16 - 1
    if low >= 0 and high <= 255:
        return 1 if high <= 1 else 255
    return 0


def _refuse_not_finite(values: npt.NDArray[Any]) -> None:
    n_bad = 0 if values.dtype.kind in "iu" else int(np.count_nonzero(~np.isfinite(values)))
    if n_bad:
        rule = f"{n_bad} of {values.size} pixels are NaN or infinite"
        raise DecodeError(rule, cure="give them a number (and say in your notes which)")


def _by_its_own_range(values: npt.NDArray[Any]) -> Pixels:
    low, high = float(values.min()), float(values.max())
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
