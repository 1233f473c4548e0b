"""Random views of a picture for training: one crop and resize, then what a preset adds to it.

A view is a pure function of (seed, epoch, index): a counter-based generator gives each its own
stream, so order, threads and other users of random numbers change nothing. Every number is drawn
whether it is used or not, so that two augmentations that differ in one setting share all else.

torch resizes 8-bit pixels about twice as fast as Pillow, and samples turned pictures three times
as fast; Pillow's colour matrix beats both torch's and NumPy's arithmetic on small results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from regraft.errors import ConfigError
from regraft.images.geometry import Preprocess, as_tuple
from regraft.images.modes import Pixels
from regraft.wording import near_names

Pair = tuple[float, float]
Bend = tuple[float, float, float, float]

# What each preset is for, and how it differs from showing the whole picture.
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": (
        "the evaluation view: the centre of the picture, the same every time",
        {},
    ),
    "light": (
        "for fine-tuning on a few hundred to some thousand photographs: half of the picture or "
        "more, mirrored half of the time, light and colour a little different",
        {
            "scale": (0.5, 1.0),
            "ratio": (0.8, 1.25),
            "horizontal_flip": 0.5,
            "brightness": 0.2,
            "contrast": 0.2,
            "saturation": 0.2,
        },
    ),
    "standard": (
        "as the tutorials and most ImageNet recipes: any part from 8% of the area, squeezed by up "
        "to 4:3, mirrored half of the time",
        {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "horizontal_flip": 0.5},
    ),
    "strong": (
        "for long training: the standard, then one operation of TrivialAugment at a random "
        "strength, and a quarter of the views with a part replaced by noise",
        {
            "scale": (0.08, 1.0),
            "ratio": (3 / 4, 4 / 3),
            "horizontal_flip": 0.5,
            "trivial_augment": True,
            "erase": 0.25,
        },
    ),
    "orientation-free": (
        "for pictures without an up and down (from the air, through a microscope): any quarter "
        "turn, mirrored both ways, up to 15 degrees more, most of the picture, light a little "
        "different",
        {
            "scale": (0.6, 1.0),
            "ratio": (0.85, 1 / 0.85),
            "degrees": 15.0,
            "horizontal_flip": 0.5,
            "vertical_flip": 0.5,
            "quarter_turns": True,
            "brightness": 0.2,
            "contrast": 0.2,
            "saturation": 0.1,
        },
    ),
    "upright": (
        "for signs, digits and text, which a mirror makes into something else: never mirrored, up "
        "to 10 degrees turned, a little moved, squeezed and enlarged, light different",
        {
            "scale": (0.75, 1.0),
            "ratio": (0.9, 1 / 0.9),
            "degrees": 10.0,
            "brightness": 0.3,
            "contrast": 0.3,
        },
    ),
}


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
        random = _generator(seed, epoch, index)
        drawn = _Drawn(*random.random(len(_Drawn._fields)).tolist())
        operation, strength = self._operation(drawn)

        n_turns = int(4 * drawn.turns) if self.quarter_turns else 0
        size = (size_px[1], size_px[0]) if n_turns % 2 else (size_px[0], size_px[1])
        height, width = pixels.shape[:2]
        tries = random.random((_MOST_TRIES, 2)).tolist()
        crop = self._crop(height, width, size[1] / size[0], drawn, tries)
        bend, shift = self._bend(drawn, operation, strength)
        if bend != _STRAIGHT or shift != (0.0, 0.0):
            view = _bent(pixels, crop, size, interpolation, bend, shift)
        else:
            view = _resized(pixels, crop, size, interpolation)

        view = self._turned(view, n_turns, drawn)
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
    ) -> _Box:
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
        return _Box(top, left, n_rows, n_columns)

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

    def _turned(self, view: Pixels, n_turns: int, drawn: _Drawn) -> Pixels:
        import torch

        turned = torch.from_numpy(view)
        if n_turns:
            turned = torch.rot90(turned, n_turns)
        if drawn.flips_horizontally < self.horizontal_flip:
            turned = turned.flip(1)
        if drawn.flips_vertically < self.vertical_flip:
            turned = turned.flip(0)
        return np.ascontiguousarray(turned.numpy())

    def _recoloured(self, view: Pixels, drawn: _Drawn, operation: str, strength: float) -> Pixels:
        brightness = 1 + self.brightness * (2 * drawn.brightness - 1)
        contrast = 1 + self.contrast * (2 * drawn.contrast - 1)
        saturation = 1 + self.saturation * (2 * drawn.saturation - 1)
        if (brightness, contrast, saturation) != (1, 1, 1):
            matrix = _colour_matrix(brightness, contrast, saturation, _mean_grey(view))
            view = np.array(Image.fromarray(view).convert("RGB", matrix))
        if operation in _RETOUCHES:
            view = np.array(_RETOUCHES[operation](Image.fromarray(view), strength))
        return view


# ---- drawing --------------------------------------------------------------------------------

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


# ---- geometry -------------------------------------------------------------------------------

_STRAIGHT: Bend = (1.0, 0.0, 0.0, 1.0)


class _Box(NamedTuple):
    top: int
    left: int
    height: int
    width: int


def _resized(pixels: Pixels, box: _Box, size: tuple[int, int], interpolation: str) -> Pixels:
    """A part of a picture at another size, C-contiguous."""
    rows = slice(box.top, box.top + box.height)
    part = pixels[rows, box.left : box.left + box.width].copy()  # torch warns of read-only arrays
    if interpolation not in ("bilinear", "bicubic"):
        _known("interpolation", interpolation, map(str.lower, Image.Resampling.__members__))
        resample = Image.Resampling[interpolation.upper()]
        return np.array(Image.fromarray(part).resize(size[::-1], resample))
    import torch

    source = torch.from_numpy(part)[None].permute(0, 3, 1, 2)  # channels last: the fast way
    resized = torch.nn.functional.interpolate(source, size, mode=interpolation, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def _bent(
    pixels: Pixels, crop: _Box, size: tuple[int, int], interpolation: str, bend: Bend, shift: Pair
) -> Pixels:
    """The crop, turned or sheared about its centre and shifted.

    What it reaches is first resized, with antialiasing, to the scale of the result; then the
    result is sampled from that. Beyond the picture its edge is repeated: a reflection would show
    mirrored signs.
    """
    x_scale, y_scale = size[1] / crop.width, size[0] / crop.height
    half_x, half_y = crop.width / 2, crop.height / 2
    centre_x = crop.left + half_x + shift[0] * crop.width
    centre_y = crop.top + half_y + shift[1] * crop.height
    reach_x = abs(bend[0]) * half_x + abs(bend[1]) * half_y
    reach_y = abs(bend[2]) * half_x + abs(bend[3]) * half_y

    height, width = pixels.shape[:2]
    left, n_columns = _reached(centre_x, reach_x, width, 1 / x_scale)
    top, n_rows = _reached(centre_y, reach_y, height, 1 / y_scale)
    region_size = max(1, round(n_rows * y_scale)), max(1, round(n_columns * x_scale))
    region = _resized(pixels, _Box(top, left, n_rows, n_columns), region_size, interpolation)

    # grid_sample's coordinates go from -1 to 1 over the region. As complex numbers, x + iy, they
    # are one sum of what a column and what a row of the view contribute.
    to_x, to_y = 2 / n_columns, 2 / n_rows
    by_column = half_x * complex(bend[0] * to_x, bend[2] * to_y) * _centres(size[1])
    by_row = half_y * complex(bend[1] * to_x, bend[3] * to_y) * _centres(size[0])
    by_row += complex((centre_x - left) * to_x - 1, (centre_y - top) * to_y - 1)
    grid = np.add.outer(by_row, by_column).view(np.float32).reshape(1, *size, 2)
    import torch

    source = torch.from_numpy(region)[None].permute(0, 3, 1, 2) + 0.5  # to round, not cut off
    sampled = torch.nn.functional.grid_sample(
        source, torch.from_numpy(grid), padding_mode="border", align_corners=False
    )
    planes: Pixels = sampled[0].numpy().astype(np.uint8)
    return np.stack(list(planes), axis=-1)


def _reached(centre: float, reach: float, n_source: int, margin: float) -> tuple[int, int]:
    """First pixel and number of pixels along one axis; one at least, also if all lies outside."""
    first = min(max(0, math.floor(centre - reach - margin)), n_source - 1)
    last = max(min(n_source, math.ceil(centre + reach + margin)), first + 1)
    return first, last - first


def _centres(n: int) -> NDArray[np.complex64]:
    """Of n pixels that fill -1..1."""
    return ((2 * np.arange(n) + 1) / n - 1).astype(np.complex64)


# ---- colour ---------------------------------------------------------------------------------

_GREY = (0.299, 0.587, 0.114)  # Rec. 601, as in Pillow and torchvision


def _mean_grey(view: Pixels) -> float:
    """Of every 64th pixel: enough for the point about which contrast turns."""
    red, green, blue = view[::8, ::8].reshape(-1, 3).mean(0).tolist()
    return float(_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue)


def _colour_matrix(
    brightness: float, contrast: float, saturation: float, mean_grey: float
) -> tuple[float, ...]:
    """Saturation, then contrast, then brightness as one 3 x 4 matrix, so that it clips once."""
    gain, offset = brightness * contrast, brightness * (1 - contrast) * mean_grey
    rows = []
    for i in range(3):
        mix = [(1 - saturation) * weight + saturation * (i == j) for j, weight in enumerate(_GREY)]
        rows += [gain * weight for weight in mix] + [offset]
    return tuple(rows)


# TrivialAugment's operations that change single pixels; the strength's sign matters to the first
# four. Those that move pixels are in Augmentation._bend.
_RETOUCHES: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.9 * s),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.9 * s),
    "saturation": lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s),
    "sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s),
    "posterize": lambda image, s: ImageOps.posterize(image, 8 - round(4 * abs(s))),
    "solarize": lambda image, s: ImageOps.solarize(image, round(256 * (1 - abs(s)))),
    "autocontrast": lambda image, s: ImageOps.autocontrast(image),
    "equalize": lambda image, s: ImageOps.equalize(image),
}
_BENDS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
_OPERATIONS = ("identity", *_BENDS, *_RETOUCHES)


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


# ---- what is refused ------------------------------------------------------------------------

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
