"""One resize with a box equals resize and crop as torchvision and timm do them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bad_files import photograph
from regraft.errors import ConfigError
from regraft.images.decode import decode
from regraft.images.geometry import Preprocess

FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


def picture(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return decode(photograph(width, height)).pixels


def resized_then_cropped(pixels: Any, resize_px: int, crop_px: int, name: str) -> Any:
    """The two steps, spelled out."""
    height, width = pixels.shape[:2]
    short, long = min(height, width), max(height, width)
    other = int(resize_px * long / short)
    size = (other, resize_px) if width >= height else (resize_px, other)
    resample = getattr(Image.Resampling, name.upper())
    whole = np.asarray(Image.fromarray(pixels).resize(size, resample))
    top, left = (round((n - crop_px) / 2) for n in whole.shape[:2])
    return whole[top : top + crop_px, left : left + crop_px]


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [(375, 500), (500, 333), (256, 256), (35, 35), (1000, 300)])
def test_one_step_equals_resize_and_crop(name: str, size: tuple[int, int]) -> None:
    pixels = picture(*size)
    expected = resized_then_cropped(pixels, 256, 224, name)
    result = Preprocess(interpolation=name)(pixels)
    difference = np.abs(result.astype(int) - expected)
    # A pixel on the edge of a box filter may fall to either side; a rounded half, up or down.
    assert difference.mean() < 0.3
    assert difference.max() <= {"nearest": 0, "box": 32}.get(name, 3)


@pytest.mark.slow
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 1.0])
def test_equals_timm(crop_mode: str, name: str, crop_pct: float) -> None:
    data = pytest.importorskip("timm.data")
    shared = {"interpolation": name, "crop_pct": crop_pct, "crop_mode": crop_mode}
    preprocess = Preprocess.from_timm({"input_size": (3, 224, 224), **shared})
    transform = data.create_transform((3, 224, 224), normalize=False, **shared)
    for size in ((375, 500), (500, 333), (240, 240), (35, 60), (700, 701)):
        pixels = picture(*size)
        expected = transform(Image.fromarray(pixels)).numpy().transpose(1, 2, 0)
        difference = np.abs(preprocess(pixels).astype(int) - expected)
        assert difference.mean() < 0.05, (size, difference.mean())


@pytest.mark.slow
@pytest.mark.parametrize("crop_mode", ["center", "border"])
def test_equals_timm_for_oblong_inputs(crop_mode: str) -> None:
    data = pytest.importorskip("timm.data")
    shared = {"interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": crop_mode}
    transform = data.create_transform((3, 160, 240), normalize=False, **shared)
    preprocess = Preprocess.from_timm({"input_size": (3, 160, 240), **shared})
    for size in ((375, 500), (500, 333), (160, 240)):
        pixels = picture(*size)
        expected = transform(Image.fromarray(pixels)).numpy().transpose(1, 2, 0)
        assert np.abs(preprocess(pixels).astype(int) - expected).mean() < 0.05, size


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (2, 3), (8, 65_500)])
def test_extreme_pictures_have_the_size_asked_for(crop_mode: str, size: tuple[int, int]) -> None:
    for name in FILTERS:
        result = Preprocess(interpolation=name, crop_mode=crop_mode)(picture(*size))
        assert result.shape == (224, 224, 3)
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous
        assert result.flags.writeable


def test_a_uniform_picture_stays_uniform() -> None:
    pixels = np.full((90, 400, 3), (9, 99, 199), np.uint8)
    for name in FILTERS:
        assert (Preprocess(interpolation=name)(pixels) == (9, 99, 199)).all()


def test_border_fills_what_is_missing() -> None:
    preprocess = Preprocess((100, 100), 100, "bilinear", crop_mode="border", fill=(1, 2, 3))
    result = preprocess(np.full((50, 100, 3), 77, np.uint8))
    assert (result[:25] == (1, 2, 3)).all()
    assert (result[25:75] == 77).all()
    assert (result[75:] == (1, 2, 3)).all()


def test_strided_pixels_are_taken_as_they_look() -> None:
    pixels = picture(300, 400)
    preprocess = Preprocess()
    turned = pixels[::-1, ::-1]
    assert np.array_equal(preprocess(turned), preprocess(np.ascontiguousarray(turned)))


def test_scaled_decoding_hardly_changes_the_input() -> None:
    data = photograph(2000, 1500)
    preprocess = Preprocess(interpolation="bilinear")
    scaled = decode(data, min_side_px=preprocess.decode_min_side_px).pixels
    assert scaled.shape == (750, 1000, 3)
    difference = preprocess(scaled).astype(int) - preprocess(decode(data).pixels)
    assert np.abs(difference).mean() < 1


def test_from_timm_takes_over_what_is_given_and_timm_s_defaults() -> None:
    given = {
        "input_size": (3, 260, 260),
        "crop_pct": 0.89,
        "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "crop_mode": "squash",
        "num_classes": 1000,
    }
    preprocess = Preprocess.from_timm(given)
    assert preprocess.resize_px == 292
    assert (preprocess.input_px, preprocess.crop_mode) == ((260, 260), "squash")
    assert preprocess.fill == (128, 128, 128)
    assert Preprocess.from_timm({}) == Preprocess()


def test_dictionary_goes_through_json_and_refuses_other_keys() -> None:
    preprocess = Preprocess((240, 240), 274, "lanczos", crop_mode="border")
    values = json.loads(json.dumps(preprocess.to_dict()))
    assert Preprocess.from_dict(values) == preprocess
    with pytest.raises(ConfigError, match=r"unknown preprocessing.*'gamma'"):
        Preprocess.from_dict({**values, "gamma": 2})
    del values["fill"]
    with pytest.raises(ConfigError, match=r"without.*'fill'"):
        Preprocess.from_dict(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"interpolation": "cubic"}, "interpolation must be"),
        ({"crop_mode": "centre"}, "crop_mode must be"),
        ({"input_px": (0, 5)}, "input_px must be"),
        ({"resize_px": 200}, "resize_px must be at least 224"),
        ({"std": (0, 1, 1)}, "std must be"),
        ({"mean": (float("nan"), 0, 0)}, "mean must be"),
        ({"fill": (0, 0, 256)}, "fill must be"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preprocess(**values)


def test_other_than_three_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="input_size must be three channels"):
        Preprocess.from_timm({"input_size": (1, 28, 28)})
