"""A part of a picture at another size: the one resize of every door.

The pass, a loaded model, training's plain views, `show` and exports all come here through
`Preprocess`, so that a picture has one input. By fast_image_resize (Rust; the package
cykooz-resizer): Pillow's arithmetic of whole numbers on wider registers, a quarter of its time. The
two round differently: 0.2 grey levels of 255 on average (docs/images.md). Where that package has no
wheel Pillow does it, and features of the two are never mixed: `resizer` is part of their recipe.

Both release Python's lock.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from regraft.images.modes import Pixels

# Pillow's filter, and how many output pixels it reaches to either side.
FILTERS = {
    "nearest": (Image.Resampling.NEAREST, 0.0),
    "box": (Image.Resampling.BOX, 0.5),
    "bilinear": (Image.Resampling.BILINEAR, 1.0),
    "hamming": (Image.Resampling.HAMMING, 1.0),
    "bicubic": (Image.Resampling.BICUBIC, 2.0),
    "lanczos": (Image.Resampling.LANCZOS, 3.0),
}
# The same filters of fast_image_resize; 'catmull_rom' is Pillow's bicubic (a = -0.5). 'hamming'
# cannot be asked for, and 'nearest' rounds to other pixels: both are Pillow's everywhere.
_FAST_FILTERS = {
    "box": "box",
    "bilinear": "bilinear",
    "bicubic": "catmull_rom",
    "lanczos": "lanczos3",
}
_TINY = 1e-7
PILLOW, FAST = "pillow", "fast_image_resize"

Size = tuple[int, int]


class Box(NamedTuple):
    """What is shown of a picture, in its pixels; need not be whole ones."""

    top: float
    left: float
    bottom: float
    right: float


@functools.cache
def resizer() -> str:
    """Who resizes here: 'fast_image_resize', or 'pillow' where that is not installed or does not
    load."""
    return FAST if _package() is not None else PILLOW


def resized(
    pixels: Pixels, box: Box, size: Size, interpolation: str, *, always_pillow: bool = False
) -> Pixels:
    """What `box` shows of a picture, at another size, with antialiasing.

    Parameters
    ----------
    pixels : uint8 array of shape (H, W, 3)
    box : Box
        Within the picture.
    size : (height, width)
        Of the result.
    interpolation : str
        A key of `FILTERS`.
    always_pillow : bool
        By Pillow, whoever resizes here: what other programs are compared with.

    Returns
    -------
    uint8 array of shape (*size, 3)
        C-contiguous, writable.

    Examples
    --------
    >>> grey = np.full((40, 60, 3), 99, np.uint8)
    >>> resized(grey, Box(0.5, 0, 40, 60), (8, 12), "bicubic").shape
    (8, 12, 3)
    """
    # Only what the filter reaches is handed over: copying the rest costs more than the resize.
    y0, y1 = _reached(box.top, box.bottom, pixels.shape[0], size[0], interpolation)
    x0, x1 = _reached(box.left, box.right, pixels.shape[1], size[1], interpolation)
    within = Box(box.top - y0, box.left - x0, box.bottom - y0, box.right - x0)
    is_fast = not always_pillow and resizer() == FAST and interpolation in _FAST_FILTERS
    by: Callable[..., Pixels] = _by_rust if is_fast else _by_pillow
    return by(pixels, (y0, y1, x0, x1), within, size, interpolation)


def _reached(
    start: float, stop: float, n_source: int, n_out: int, interpolation: str
) -> tuple[int, int]:
    """First pixel and the one after the last, along one axis, that matter."""
    margin = 2 + FILTERS[interpolation][1] * max(1.0, (stop - start) / n_out)
    return max(0, math.floor(start - margin)), min(n_source, math.ceil(stop + margin))


def _by_rust(
    pixels: Pixels, part: tuple[int, int, int, int], box: Box, size: Size, interpolation: str
) -> Pixels:
    package, own = _package(), _of_this_thread()
    y0, y1, x0, x1 = part
    height, width = size
    source = package.ImageData(
        x1 - x0, y1 - y0, package.PixelType.U8x3, pixels[y0:y1, x0:x1].tobytes()
    )
    result = package.ImageData(width, height, package.PixelType.U8x3)
    own.options.resize_alg = own.filters[interpolation]
    top, bottom = _off_centre(box.top, box.bottom, height)
    left, right = _off_centre(box.left, box.right, width)
    # A sum's last digit may lie beyond the picture, which is refused.
    own.options.crop_box = package.CropBox(
        left, top, min(right - left, x1 - x0 - left), min(bottom - top, y1 - y0 - top)
    )
    own.resizer.resize(source, result, own.options)
    # Bytes cannot be written to; a picture is the caller's.
    return np.frombuffer(bytearray(result.get_buffer()), np.uint8).reshape(height, width, 3)


def _off_centre(start: float, stop: float, n_out: int) -> tuple[float, float]:
    """One axis of the box; a ten-millionth of a pixel smaller where cykooz-resizer would read
    beyond its memory, and end the process.

    While it enlarges it takes the first and the last output pixel for those that reach furthest
    (4.0.1). One whose middle is that of a source pixel is that pixel alone, so that its neighbour
    reaches further.
    """
    step = (stop - start) / n_out
    ends = start + step / 2, stop - step / 2
    is_on_centre = any(abs(end - math.floor(end) - 0.5) < _TINY / 10 for end in ends)
    return (start + _TINY, stop - _TINY) if step < 1 and is_on_centre else (start, stop)


def _by_pillow(
    pixels: Pixels, part: tuple[int, int, int, int], box: Box, size: Size, interpolation: str
) -> Pixels:
    y0, y1, x0, x1 = part
    width = pixels.shape[1]
    flat = np.ascontiguousarray(pixels).reshape(-1)[3 * (y0 * width + x0) :]
    image = Image.frombuffer("RGB", (x1 - x0, y1 - y0), flat, "raw", "RGB", 3 * width, 1)
    corners = (box.left, box.top, box.right, box.bottom)
    return np.array(image.resize(size[::-1], FILTERS[interpolation][0], box=corners))


_threads = threading.local()


def _of_this_thread() -> Any:
    """A resizer holds room between two steps, so that threads cannot share one."""
    if not hasattr(_threads, "resizer"):
        package = _package()
        _threads.resizer, _threads.options = package.Resizer(), package.ResizeOptions()
        _threads.options.use_alpha = False
        _threads.filters = {
            name: package.ResizeAlg.convolution(package.FilterType[word])
            for name, word in _FAST_FILTERS.items()
        }
    return _threads


@functools.cache
def _package() -> Any:
    """cykooz_resizer, or None; it takes 4 ms to load."""
    try:
        import cykooz_resizer
    except ImportError:  # no wheel for this system, or one that its C library is too old for
        return None
    return cykooz_resizer
