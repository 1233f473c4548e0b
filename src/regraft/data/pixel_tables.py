"""Tables whose cells are the pixels of images, as fer2013's and MNIST's in CSV: named as such."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_PIXEL = re.compile(r"(pixels?|px|p)?[\W_]*\d+([x_]\d+)?", re.IGNORECASE)
# From so many columns of numbers on, they are an image's.
_MANY = 64


def why_pixels(names: Sequence[str], first: Sequence[object] = ()) -> tuple[str, str] | None:
    """What such a table holds, and the way to images; None if it is no table of pixels.

    Parameters
    ----------
    names : sequence of str
        Of its columns.
    first : sequence
        The cells of its first row.

    Examples
    --------
    >>> why_pixels(["emotion", "pixels", "Usage"], ["0", "70 80 82 72", "Training"])[0]
    "its rows hold the pixels of images (2 x 2 grey values in 'pixels'), and no paths of files"
    >>> why_pixels(["label", *(f"pixel{n}" for n in range(784))])[0]
    'its rows hold the pixels of images (28 x 28 grey values), and no paths of files'
    >>> why_pixels(["image", "label"]) is None
    True
    """
    numbered = sum(_PIXEL.fullmatch(name) is not None for name in names)
    if numbered >= _MANY and numbered >= len(names) - 3:
        return _words(numbered, "")
    for name, cell in zip(names, first, strict=False):
        values = str(cell).split()
        if len(values) > 1 and re.sub(r"\W", "", name).lower() in ("pixel", "pixels"):
            return _words(len(values), f" in {name!r}")
    return None


def _words(n_values: int, where: str) -> tuple[str, str]:
    shape = _shape(n_values)
    if not shape:
        size, call = f"{n_values:,} values each", "reshape(HEIGHT, WIDTH)"
    else:
        colours = " of 3 colours" if len(shape) == 3 else " grey values"
        size, call = f"{shape[0]} x {shape[1]}{colours}", f"reshape{shape}"
    return (
        f"its rows hold the pixels of images ({size}{where}), and no paths of files",
        "write each row to an image file in the folder of its class: "
        f"Image.fromarray(np.array(values, np.uint8).{call}).save('DATA/<class>/1.png')",
    )


def _shape(n_values: int) -> tuple[int, ...]:
    """Of a square grey or colour image; () if it is neither."""
    for colours in (1, 3):
        side = math.isqrt(n_values // colours)
        if side * side * colours == n_values:
            return (side, side) if colours == 1 else (side, side, 3)
    return ()
