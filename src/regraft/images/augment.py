"""Random views of a picture for training: one crop and resize, then what a preset adds to it.

A view is a pure function of (seed, epoch, index): a counter-based generator gives each its own
stream, so order, threads and other users of random numbers change nothing. Every number is drawn
whether it is used or not, so that two augmentations that differ in one setting share all else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from PIL import Image

from regraft.errors import ConfigError
from regraft.images.augment_presets import PRESETS
from regraft.images.geometry import Preprocess, as_tuple
from regraft.images.modes import Pixels
from regraft.images.retouch import RETOUCHES, colour_matrix, mean_grey
from regraft.images.warp import (
    INTERPOLATIONS,
    STRAIGHT,
    Bend,
    Crop,
    Pair,
    bent,
    resized_crop,
    turned,
)
from regraft.wording import near_names


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How training sees a picture: what may change, and by how much.

    Take a preset, and name only what should differ from it.

    Attributes
    ----------
    name : str
        The preset that this started from; 'none' takes no other setting.
    scale : two floats in (0, 1]
        Smallest and largest share of the picture's area that a view shows.
    ratio : two floats above 0
        Least and most width / height of what is shown, relative to that of the result.
    degrees : float in 0..180
        Turned by up to this, either way. Corners outside the picture repeat its edge.
    horizontal_flip, vertical_flip : float in 0..1
        How often left and right, above and below change places.
    quarter_turns : bool
        Turned by 0, 90, 180 or 270 degrees, each as often.
    brightness, contrast, saturation : float in 0..1
        Each is multiplied by a factor from 1 - this to 1 + this.
    trivial_augment : bool
        One more of fourteen operations, at random strength.
    erase : float in 0..1
        How often a rectangle of 2% to 33% of the result becomes noise.

    References
    ----------
    Szegedy et al. (2015), Going Deeper with Convolutions, CVPR: the random crop. Müller & Hutter
    (2021), TrivialAugment, ICCV; with the ranges of RandAugment, Cubuk et al. (2020). Zhong et al.
    (2020), Random Erasing Data Augmentation, AAAI. Salmon et al. (2011), Parallel Random Numbers:
    As Easy as 1, 2, 3, SC: the generator.

    Examples
    --------
    >>> light = Augmentation.preset("light", horizontal_flip=0)
    >>> pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    >>> view = light(pixels, size_px=(64, 64), seed=0, epoch=3, index=17)
    >>> view.shape, view.dtype
    ((64, 64, 3), dtype('uint8'))
    >>> np.array_equal(view, light(pixels, size_px=(64, 64), seed=0, epoch=3, index=17))
    True
    >>> np.array_equal(view, light(pixels, size_px=(64, 64), seed=0, epoch=4, index=17))
    False
    >>> Augmentation.from_dict(light.to_dict()) == light
    True
    """

    name: str
    scale: Pair = (1.0, 1.0)
    ratio: Pair = (1.0, 1.0)
    degrees: float = 0.0
    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    quarter_turns: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    trivial_augment: bool = False
    erase: float = 0.0

    def __post_init__(self) -> None:
        _known("augmentation", self.name, PRESETS)
        _refuse("scale", self.scale, _is_range(self.scale, 1.0), "0 < smallest <= largest <= 1")
        _refuse("ratio", self.ratio, _is_range(self.ratio, math.inf), "0 < least <= most")
        for name in _SHARES:
            value = getattr(self, name)
            _refuse(name, value, _is_number(value) and 0 <= value <= 1, "a number in 0..1")
        turns = _is_number(self.degrees) and 0 <= self.degrees <= 180
        _refuse("degrees", self.degrees, turns, "a number in 0..180")
        for name in ("quarter_turns", "trivial_augment"):
            _refuse(name, getattr(self, name), isinstance(getattr(self, name), bool), "true, false")
        if self.name == "none" and (changed := self._changed()):
            raise ConfigError(
                f"augmentation 'none' is the evaluation view and takes no settings; got {changed}",
                cure="start from another preset: " + ", ".join(list(PRESETS)[1:]),
            )

    @classmethod
    def preset(cls, name: str, /, **overrides: Any) -> Self:
        """A preset, with some settings changed.

        Parameters
        ----------
        name : one of `PRESETS`
        **overrides
            Any attribute but the name; pairs may be lists.

        Raises
        ------
        ConfigError
            If a name is unknown (the near ones are given) or a value is out of range.

        Examples
        --------
        >>> Augmentation.preset("upright", degrees=5).degrees
        5
        >>> Augmentation.preset("uprigth")
        Traceback (most recent call last):
            ...
        regraft.errors.ConfigError: no augmentation is called 'uprigth'
          cure:  did you mean 'upright'?
        """
        _known("augmentation", name, PRESETS)
        settings = [field.name for field in fields(cls)][1:]
        for given in overrides:
            _known("augmentation setting", given, settings)
        changed = {name: as_tuple(value) for name, value in overrides.items()}
        return cls(name, **{**PRESETS[name][1], **changed})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`; unknown or missing keys are refused."""
        names = [field.name for field in fields(cls)]
        for given in values:
            _known("augmentation setting", given, names)
        if missing := sorted(set(names) - set(values)):
            raise ConfigError(f"augmentation without {missing}")
        return cls(**{name: as_tuple(value) for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def __call__(
        self,
        pixels: Pixels,
        *,
        size_px: tuple[int, int],
        interpolation: str = "bilinear",
        seed: int,
        epoch: int,
        index: int,
        evaluation: Preprocess | None = None,
    ) -> Pixels:
        """One view. Safe to call from several threads; most of the time Python's lock is free.

        Parameters
        ----------
        pixels : uint8 array of shape (H, W, 3)
            RGB, at least 1 x 1; may be read-only.
        size_px : (height, width)
            Of the result.
        interpolation : str
            As in :class:`Preprocess`; antialiased. 'bilinear' and 'bicubic' are the fast ones.
        seed, epoch, index : int in 0..2**64 - 1
            Which view: all that it depends on besides the pixels.
        evaluation : Preprocess, optional
            What 'none' shows. Default: the central 87.5%, as in :class:`Preprocess`.

        Returns
        -------
        uint8 array of shape (*size_px, 3)
            RGB, C-contiguous, writable.
        """
        if self.name == "none":
            resize_px = math.floor(min(size_px) / 0.875)
            return (evaluation or Preprocess(size_px, resize_px, interpolation))(pixels)
        _known("interpolation", interpolation, INTERPOLATIONS)
        random = _generator(seed, epoch, index)
        drawn = _Drawn(*random.random(len(_Drawn._fields)).tolist())
        operation, strength = self._operation(drawn)

        n_turns = int(4 * drawn.turns) if self.quarter_turns else 0
        size = (size_px[1], size_px[0]) if n_turns % 2 else (size_px[0], size_px[1])
        height, width = pixels.shape[:2]
        tries = random.random((_MOST_TRIES, 2)).tolist()
        crop = self._crop(height, width, size[1] / size[0], drawn, tries)
        bend, shift = self._bend(drawn, operation, strength)
        if bend != STRAIGHT or shift != (0.0, 0.0):
            view = bent(pixels, crop, size, interpolation, bend, shift)
        else:
            view = resized_crop(pixels, crop, size, interpolation)

        flips_x = drawn.flips_horizontally < self.horizontal_flip
        flips_y = drawn.flips_vertically < self.vertical_flip
        view = turned(view, n_turns, flips_x=flips_x, flips_y=flips_y)
        view = self._recoloured(view, drawn, operation, strength)
        if drawn.erases < self.erase:
            _erase(view, drawn, random)
        return view

    def view(
        self,
        pixels: Pixels,
        number: int,
        *,
        size_px: tuple[int, int],
        interpolation: str = "bilinear",
        seed: int,
        index: int,
    ) -> Pixels:
        """View `number` of a picture, for where there are no epochs: the one of that epoch."""
        return self(
            pixels,
            size_px=size_px,
            interpolation=interpolation,
            seed=seed,
            epoch=number,
            index=index,
        )

    def _changed(self) -> list[str]:
        return [f.name for f in fields(self)[1:] if getattr(self, f.name) != f.default]

    def _operation(self, drawn: _Drawn) -> tuple[str, float]:
        """TrivialAugment's choice, and its strength in -1..1."""
        if not self.trivial_augment:
            return "identity", 0.0
        return _OPERATIONS[int(len(_OPERATIONS) * drawn.operation)], 2 * drawn.strength - 1

    def _crop(
        self, height: int, width: int, aspect: float, drawn: _Drawn, tries: Iterable[list[float]]
    ) -> Crop:
        """The first of ten random boxes that fits; else the largest of an allowed ratio.

        As torchvision's RandomResizedCrop, but that the largest box is not always in the centre.
        """
        low, high = (math.log(aspect * ratio) for ratio in self.ratio)
        for area, ratio in tries:
            n_pixels = height * width * _between(*self.scale, area)
            shape = math.exp(_between(low, high, ratio))
            n_rows = round(math.sqrt(n_pixels / shape))
            n_columns = round(math.sqrt(n_pixels * shape))
            if 0 < n_rows <= height and 0 < n_columns <= width:
                break
        else:
            shape = min(max(width / height, math.exp(low)), math.exp(high))
            n_rows = max(1, min(height, round(width / shape)))
            n_columns = max(1, min(width, round(height * shape)))
        top = int(drawn.top * (height - n_rows + 1))
        left = int(drawn.left * (width - n_columns + 1))
        return Crop(top, left, n_rows, n_columns)

    def _bend(self, drawn: _Drawn, operation: str, strength: float) -> tuple[Bend, Pair]:
        """Linear map from the view to the source, and a shift as share of the crop."""
        turn = math.radians(_between(-self.degrees, self.degrees, drawn.angle))
        turn += math.radians(30 * strength) if operation == "rotate" else 0.0
        bend = (math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn))
        if operation == "shear_x":
            bend = (bend[0], bend[1] + 0.3 * strength, bend[2], bend[3])
        if operation == "shear_y":
            bend = (bend[0], bend[1], bend[2] + 0.3 * strength, bend[3])
        shift_x = 0.45 * strength if operation == "translate_x" else 0.0
        shift_y = 0.45 * strength if operation == "translate_y" else 0.0
        return bend, (shift_x, shift_y)

    def _recoloured(self, view: Pixels, drawn: _Drawn, operation: str, strength: float) -> Pixels:
        brightness = 1 + self.brightness * (2 * drawn.brightness - 1)
        contrast = 1 + self.contrast * (2 * drawn.contrast - 1)
        saturation = 1 + self.saturation * (2 * drawn.saturation - 1)
        if (brightness, contrast, saturation) != (1, 1, 1):
            matrix = colour_matrix(brightness, contrast, saturation, mean_grey(view))
            view = np.array(Image.fromarray(view).convert("RGB", matrix))
        if operation in RETOUCHES:
            view = np.array(RETOUCHES[operation](Image.fromarray(view), strength))
        return view


_MOST_TRIES = 10


class _Drawn(NamedTuple):
    """Numbers in [0, 1), always all of them, always in this order."""

    turns: float
    top: float
    left: float
    angle: float
    flips_horizontally: float
    flips_vertically: float
    brightness: float
    contrast: float
    saturation: float
    operation: float
    strength: float
    erases: float
    erased_area: float
    erased_ratio: float
    erased_top: float
    erased_left: float


def _generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The stream of one view: its counter starts at the epoch, in a word it never reaches."""
    key = np.array([seed, index], np.uint64)
    counter = np.array([0, 0, 0, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


_BENDS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
_OPERATIONS = ("identity", *_BENDS, *RETOUCHES)


def _erase(view: Pixels, drawn: _Drawn, random: np.random.Generator) -> None:
    """Noise in a rectangle of 2% to 33% of the area and a ratio from 0.3 to 3.3, in place."""
    height, width = view.shape[:2]
    n_pixels = height * width * _between(0.02, 0.33, drawn.erased_area)
    shape = math.exp(_between(math.log(0.3), math.log(3.3), drawn.erased_ratio))
    n_rows = min(height, max(1, round(math.sqrt(n_pixels / shape))))
    n_columns = min(width, max(1, round(math.sqrt(n_pixels * shape))))
    top = int(drawn.erased_top * (height - n_rows + 1))
    left = int(drawn.erased_left * (width - n_columns + 1))
    noise = random.integers(0, 256, (n_rows, n_columns, 3), np.uint8)
    view[top : top + n_rows, left : left + n_columns] = noise


_SHARES = ("horizontal_flip", "vertical_flip", "brightness", "contrast", "saturation", "erase")


def _known(what: str, name: object, names: Iterable[str]) -> None:
    names = list(names)
    if name not in names:
        near = near_names(str(name), names, n=1)
        cure = f"did you mean {near[0]!r}?" if near else "choose from " + ", ".join(names)
        raise ConfigError(f"no {what} is called {name!r}", cure=cure)


def _is_number(value: object) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)  # type: ignore[arg-type]


def _is_range(value: object, most: float) -> bool:
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
    return is_pair and 0 < value[0] <= value[1] <= most  # type: ignore[index]


def _refuse(name: str, value: object, is_valid: bool, rule: str) -> None:
    if not is_valid:
        raise ConfigError(f"{name} must be {rule}; got {value!r}")
