"""A map laid over its picture.

The photograph becomes grey, so that colour means heat and nothing else. The colours are those of
matplotlib's inferno: equal steps of heat look equal, on a screen, in print and to colour-blind
eyes (Smith, van der Walt, 2015).
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Every eighth of inferno, from its second on: its black would hide the picture, not mark it.
_EIGHTHS = [(33, 12, 74), (87, 16, 110), (138, 34, 106), (188, 55, 84), (228, 90, 49),
            (249, 142, 9), (249, 203, 53), (252, 255, 164)]  # fmt: skip
_COLOURS = np.stack(
    [np.interp(np.linspace(0, 7, 256), np.arange(8), part) for part in zip(*_EIGHTHS, strict=True)],
    axis=1,
).astype(np.float32)
# How much of the photograph the hottest place still shows through.
MOST_OPAQUE = 0.75
# Smaller pictures are drawn enlarged, so that a caption fits.
LEAST_PX = 200
MARGIN = 6
TEXT_PX = 13


def overlay(picture: NDArray[np.uint8], heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """A picture in grey with the heat above zero in colour over it.

    Parameters
    ----------
    picture : (H, W, 3) uint8
    heat : (h, w) float
        Its highest value gets the brightest colour; zero and less get none.

    Returns
    -------
    (H, W, 3) uint8

    Examples
    --------
    >>> black = np.zeros((8, 8, 3), np.uint8)
    >>> laid = overlay(black, np.array([[0.0, 1.0]]))
    >>> laid[0, 0].tolist(), laid[0, -1].tolist()
    ([0, 0, 0], [189, 191, 123])
    """
    shares = _stretched(normalised(heat), picture.shape[:2])[:, :, None]
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float32)[:, :, None]
    opaque = MOST_OPAQUE * np.minimum(1, 1.5 * shares)
    laid = grey + opaque * (_COLOURS[(255 * shares[:, :, 0]).astype(np.uint8)] - grey)
    return np.asarray(laid + 0.5, np.uint8)


def normalised(heat: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """``(h, w)`` in 0..1: what speaks for the class, relative to the place that does so most."""
    positive = np.maximum(np.asarray(heat, np.float32), 0)
    return np.asarray(positive / max(float(positive.max()), 1e-30), np.float32)


def pair(picture: NDArray[np.uint8], heat: NDArray[np.floating[Any]], caption: str) -> Image.Image:
    """The photograph, the same with its heat, and a line or two below."""
    times = max(1, -(-LEAST_PX // min(picture.shape[:2])))
    height, width = (times * side for side in picture.shape[:2])
    large = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
    lines = caption.split("\n")
    foot = MARGIN + len(lines) * (TEXT_PX + MARGIN)
    canvas = Image.new("RGB", (2 * width + 3 * MARGIN, height + 2 * MARGIN + foot), "white")
    canvas.paste(Image.fromarray(large), (MARGIN, MARGIN))
    canvas.paste(Image.fromarray(overlay(large, heat)), (width + 2 * MARGIN, MARGIN))
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        at = (MARGIN, height + 2 * MARGIN + number * (TEXT_PX + MARGIN))
        draw.text(at, _fitting(line, canvas.width - 2 * MARGIN), "black", font=_font())
    return canvas


def _stretched(heat: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    size = shape[1], shape[0]
    return np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))


def _fitting(line: str, width: int) -> str:
    """The line, or as much of it as the picture is wide."""
    if _font().getlength(line) <= width:
        return line
    while line and _font().getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"


@functools.cache
def _font() -> Any:
    """matplotlib's own font, which has most alphabets, without importing matplotlib."""
    package = importlib.util.find_spec("matplotlib")
    if package and package.origin:
        file = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), TEXT_PX)
    return ImageFont.load_default(TEXT_PX)
