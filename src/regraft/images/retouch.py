"""What augmentation does to light and colour: one matrix, and operations of TrivialAugment.

Pillow's colour matrix beats both torch's and NumPy's arithmetic on small results.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageOps

from regraft.images.modes import Pixels

_GREY = (0.299, 0.587, 0.114)  # Rec. 601, as in Pillow and torchvision


def mean_grey(view: Pixels) -> float:
    """Of every 64th pixel: enough for the point about which contrast turns."""
    red, green, blue = view[::8, ::8].reshape(-1, 3).mean(0).tolist()
    return float(_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue)


def colour_matrix(
    brightness: float, contrast: float, saturation: float, grey: float
) -> tuple[float, ...]:
    """Saturation, then contrast, then brightness as one 3 x 4 matrix, so that it clips once.

    `grey` is what contrast turns about, the mean of the picture.
    """
    gain, offset = brightness * contrast, brightness * (1 - contrast) * grey
    rows = []
    for i in range(3):
        mix = [(1 - saturation) * weight + saturation * (i == j) for j, weight in enumerate(_GREY)]
        rows += [gain * weight for weight in mix] + [offset]
    return tuple(rows)


# TrivialAugment's operations that change single pixels; the strength's sign matters to the first
# four.
RETOUCHES: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.9 * s),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.9 * s),
    "saturation": lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s),
    "sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s),
    "posterize": lambda image, s: ImageOps.posterize(image, 8 - round(4 * abs(s))),
    "solarize": lambda image, s: ImageOps.solarize(image, round(256 * (1 - abs(s)))),
    "autocontrast": lambda image, s: ImageOps.autocontrast(image),
    "equalize": lambda image, s: ImageOps.equalize(image),
}
