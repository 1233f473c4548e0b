"""``preprocess.py`` of an exported model: decode and resize in NumPy and Pillow, as a reference."""

from __future__ import annotations

from importlib import resources
from string import Template

from regraft.images.geometry import Preprocess

NAME = "preprocess.py"

# How the whole picture is scaled before the crop: as `Preprocess` does it in each of its modes.
_SQUARE = """\
    short, long = sorted((width, height))
    whole = ({0}, int({0} * long / short))
    whole = whole if width <= height else whole[::-1]"""
_OBLONG = """\
    ratio = {2}(height / {0}, width / {1})
    whole = max(1, round(width / ratio)), max(1, round(height / ratio))"""
_SQUASHED = "    whole = ({1}, {0})"

_WORDS = {
    "center": "The shorter side scaled, the centre kept",
    "squash": "Both sides scaled, the aspect ratio lost, the centre kept",
    "border": "The longer side scaled, a border around what is missing",
}


def text(preprocess: Preprocess) -> str:
    """The file's text for this geometry.

    Examples
    --------
    >>> made = {}
    >>> exec(text(Preprocess(input_px=(32, 48), resize_px=40)), made)
    >>> made["preprocess"](b"P6 2 1 255 " + bytes(6)).shape
    (32, 48, 3)
    """
    height, width = preprocess.input_px
    return Template(_template()).substitute(
        height=height,
        width=width,
        filter=preprocess.interpolation.upper(),
        least_side=preprocess.decode_min_side_px,
        white=preprocess.white,
        what_crop=_WORDS[preprocess.crop_mode],
        fill=tuple(preprocess.fill),
        resized=_resized(preprocess),
    )


def _resized(preprocess: Preprocess) -> str:
    height, width = _whole_px(preprocess)
    if preprocess.crop_mode == "squash":
        return _SQUASHED.format(height, width)
    if preprocess.crop_mode == "center" and height == width:
        return _SQUARE.format(height)
    return _OBLONG.format(height, width, "max" if preprocess.crop_mode == "border" else "min")


def _whole_px(preprocess: Preprocess) -> tuple[int, int]:
    """Height and width that a picture of the crop's proportions is scaled to."""
    height, width = preprocess.input_px
    ratio = preprocess.resize_px / min(height, width)
    return int(height * ratio), int(width * ratio)


def _template() -> str:
    files = resources.files("regraft.model") / "templates" / f"{NAME}.txt"
    return files.read_text(encoding="utf-8")
