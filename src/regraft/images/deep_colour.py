"""Colours of 16 bits, of which Pillow gives the upper eight: the lower ones too, where they count.

Where another value than 65535 is white, the picture is decoded a second time with the order of the
bytes exchanged, which gives the lower half.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from regraft.images.modes import Rgb, on_page, scaled

_MOST = 2**16 - 1
_EXCHANGED = {
    ";16B": ";16L",
    ";16L": ";16B",
    ";16N": ";16B" if sys.byteorder == "little" else ";16L",
}


def is_deep_colour(image: Any) -> bool:
    """Whether a picture that Pillow opened and has not read yet has colours of 16 bits."""
    return (
        bool(image.tile) and image.mode in ("RGB", "RGBA") and _raw_mode(image)[-4:] in _EXCHANGED
    )


def exchange_bytes(image: Any) -> None:
    """Loading it will give the lower halves."""
    raw = _raw_mode(image)
    other = raw[:-4] + _EXCHANGED[raw[-4:]]
    image.tile = [
        tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:]))
        for tile in image.tile
    ]


def of_halves(upper: Image.Image, lower: Image.Image | None, white: int) -> Rgb:
    """8-bit RGB of a loaded picture; without `white` its upper half, as Pillow gives it.

    Parameters
    ----------
    upper : Image
        RGB or RGBA, the upper halves.
    lower : Image or None
        The lower ones; only asked for where there is a `white`.
    white : int
    """
    page = on_page(upper.convert("RGBA")) if upper.has_transparency_data else upper.convert("RGB")
    if lower is None or not white:
        return Rgb(page, 256.0 * int(np.asarray(upper)[..., :3].max()) + 255, _MOST)
    high, low = (np.asarray(half)[..., :3].astype(np.uint16) for half in (upper, lower))
    return of_values(256 * high + low, white, _opacity(upper))


def of_values(values: npt.NDArray[Any], white: int, opacity: Image.Image | None = None) -> Rgb:
    """8-bit RGB of ``(H, W, 3)`` uint16 colours, over white where they are not opaque."""
    used = white or _MOST
    eight = scaled(values, used) if white else (values >> 8).astype(np.uint8)
    image = Image.fromarray(eight)
    if opacity is not None:
        image.putalpha(opacity)
        image = on_page(image)
    return Rgb(image, float(values.max()), used)


def _opacity(image: Image.Image) -> Image.Image | None:
    return image.convert("RGBA").getchannel("A") if image.has_transparency_data else None


def _raw_mode(image: Any) -> str:
    args = image.tile[0].args
    return str(args if isinstance(args, str) else args[0])
