"""Pixels to the size that a network wants: resize and crop, as timm does it, in one step.

Only the pixels that the crop keeps are computed, weighed as a resize of the whole picture would
weigh them: the result equals Resize and CenterCrop within rounding (`regraft.images.resize`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np

from regraft.errors import ConfigError
from regraft.images.modes import Pixels
from regraft.images.resize import FILTERS, Box, resized

_CROP_MODES = ("center", "squash", "border")

# A scaled JPEG must keep this much more than the resize needs. Measured on photographs of 512 px
# and more, mean difference from a full decode after the resize to 224: 0.2 to 0.9 grey levels
# (of 255) from 1.45 up, 0.9 to 3.2 at 1.0 to 1.3.
_HEADROOM = 1.5

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a picture becomes a network's input; every field changes the features.

    Attributes
    ----------
    input_px : (height, width)
        Size of the result.
    resize_px : int
        Size that the shorter side of the input corresponds to before the crop: 256 for a
        central crop of 224 from 256. (For an oblong input the longer side follows in proportion,
        within one pixel of what timm takes.)
    interpolation : str
        'nearest', 'box', 'bilinear', 'hamming', 'bicubic' or 'lanczos', with antialiasing.
    mean, std : three floats
        Of RGB in [0, 1]. Not used here: the engine normalises.
    crop_mode : str
        'center': the shorter side becomes ``resize_px``, the centre is kept.
        'squash': both sides become it, the aspect ratio is lost, the centre is kept.
        'border': the longer side becomes it, what is missing is filled.
    fill : three ints in 0..255
        RGB of the border.
    white : int
        Value that is white in pictures of more than 8 bits; 0: as each file says. Used where they
        are decoded.

    Examples
    --------
    >>> preprocess = Preprocess(input_px=(224, 224), resize_px=256, interpolation="bilinear")
    >>> preprocess(np.zeros((375, 500, 3), np.uint8)).shape
    (224, 224, 3)
    >>> preprocess.decode_min_side_px
    384
    >>> Preprocess.from_dict(preprocess.to_dict()) == preprocess
    True
    """

    input_px: tuple[int, int] = (224, 224)
    resize_px: int = 256
    interpolation: str = "bicubic"
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    crop_mode: str = "center"
    fill: tuple[int, int, int] = (124, 116, 104)
    white: int = 0

    def __post_init__(self) -> None:
        _refuse("interpolation", self.interpolation, self.interpolation in FILTERS, [*FILTERS])
        _refuse("crop_mode", self.crop_mode, self.crop_mode in _CROP_MODES, [*_CROP_MODES])
        sizes_are_positive = len(self.input_px) == 2 and min(self.input_px) >= 1
        _refuse("input_px", self.input_px, sizes_are_positive, "two sizes of at least 1")
        enough = self.resize_px >= min(self.input_px)
        _refuse("resize_px", self.resize_px, enough, f"at least {min(self.input_px)}, the crop")
        for name, least in (("mean", -math.inf), ("std", 1e-9), ("fill", 0)):
            value = getattr(self, name)
            valid = len(value) == 3 and all(math.isfinite(v) and v >= least for v in value)
            _refuse(name, value, valid, "three finite numbers" + (" above 0" * (name == "std")))
        _refuse("fill", self.fill, max(self.fill) <= 255, "in 0..255")
        _refuse("white", self.white, 0 <= self.white < 2**31, "a whole number, 0 or above")

    @classmethod
    def from_timm(cls, cfg: Mapping[str, Any]) -> Self:
        """The evaluation transform of a timm ``pretrained_cfg``.

        Examples
        --------
        >>> Preprocess.from_timm({"input_size": (3, 240, 240), "crop_pct": 0.882}).resize_px
        272
        """
        channels, height, width = cfg.get("input_size") or (3, 224, 224)
        _refuse("input_size", cfg.get("input_size"), channels == 3, "three channels")
        mean = _three_floats(cfg.get("mean") or cls().mean)
        return cls(
            input_px=(height, width),
            resize_px=math.floor(min(height, width) / (cfg.get("crop_pct") or 0.875)),
            interpolation=cfg.get("interpolation") or "bicubic",
            mean=mean,
            std=_three_floats(cfg.get("std") or cls().std),
            crop_mode=cfg.get("crop_mode") or "center",
            fill=(round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2])),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`; unknown or missing keys are refused."""
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise ConfigError(f"unknown preprocessing {unknown}; known are {sorted(names)}")
        if missing := sorted(names - set(values) - {"white"}):
            raise ConfigError(f"preprocessing without {missing}")
        given: dict[str, Any] = {k: as_tuple(v) for k, v in values.items()}
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON; also the ingredients of the recipe's digest.

        `white` stands there only where it is given: a Regraft that does not know it then refuses.
        """
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return values if self.white else {k: v for k, v in values.items() if k != "white"}

    @property
    def decode_min_side_px(self) -> int:
        """Pixels that scaled decoding must leave on the shorter side (see :func:`decode`)."""
        return math.ceil(_HEADROOM * max(self._scale_px))

    @property
    def _scale_px(self) -> tuple[int, int]:
        ratio = self.resize_px / min(self.input_px)
        height, width = self.input_px
        return math.floor(height * ratio), math.floor(width * ratio)

    def __call__(self, pixels: Pixels, *, always_pillow: bool = False) -> Pixels:
        """Resize and crop one upright picture.

        Parameters
        ----------
        pixels : uint8 array of shape (H, W, 3)
            RGB, at least 1 x 1.
        always_pillow : bool
            Resize by Pillow, whoever does it here (`regraft.images.resize`).

        Returns
        -------
        uint8 array of shape (*input_px, 3)
            RGB, C-contiguous, writable.
        """
        rows, columns = self._spans(*pixels.shape[:2])
        box = Box(rows.start, columns.start, rows.stop, columns.stop)
        size = rows.n_out, columns.n_out
        crop = resized(pixels, box, size, self.interpolation, always_pillow=always_pillow)
        if crop.shape[:2] == self.input_px:
            return crop

        canvas: Pixels = np.empty((*self.input_px, 3), np.uint8)
        canvas[:] = self.fill
        top, left = rows.offset, columns.offset
        canvas[top : top + rows.n_out, left : left + columns.n_out] = crop
        return canvas

    def shown_part(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Top, left, bottom and right, in its pixels, of what is shown of a picture of this size.

        Examples
        --------
        >>> Preprocess(input_px=(224, 224), resize_px=256).shown_part(256, 512)
        (16.0, 144.0, 240.0, 368.0)
        """
        rows, columns = self._spans(height, width)
        return rows.start, columns.start, rows.stop, columns.stop

    def _spans(self, height: int, width: int) -> tuple[_Span, _Span]:
        resized_height, resized_width = self._resized(height, width)
        rows = _span(height, resized_height, self.input_px[0])
        return rows, _span(width, resized_width, self.input_px[1])

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Size of the whole picture after the resize, rounded as torchvision and timm do."""
        target = self._scale_px
        if self.crop_mode == "squash":
            return target
        ratios = height / target[0], width / target[1]
        if self.crop_mode == "center" and target[0] == target[1]:
            short, long = sorted((height, width))
            long = int(target[0] * long / short)
            return (target[0], long) if height <= width else (long, target[0])
        ratio = max(ratios) if self.crop_mode == "border" else min(ratios)
        return max(1, round(height / ratio)), max(1, round(width / ratio))


class _Span(NamedTuple):
    """Along one axis: the part of the source that the crop shows, and where it goes."""

    start: float
    stop: float
    n_out: int
    offset: int


def _span(n_source: int, n_resized: int, n_wanted: int) -> _Span:
    n_out = min(n_resized, n_wanted)
    first = round((n_resized - n_out) / 2)
    scale = n_source / n_resized
    stop = min((first + n_out) * scale, float(n_source))
    return _Span(first * scale, stop, n_out, (n_wanted - n_out) // 2)


def as_tuple(value: Any) -> Any:
    """JSON's lists as tuples, all else as it is."""
    return tuple(value) if isinstance(value, list) else value


def _three_floats(values: Any) -> Triple:
    first, second, third = values
    return float(first), float(second), float(third)


def _refuse(name: str, value: object, is_valid: bool, rule: object) -> None:
    if not is_valid:
        raise ConfigError(f"{name} must be {rule}; got {value!r}")
