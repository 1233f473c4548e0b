"""One resize with a box equals resize and crop as torchvision and timm do them, by either way."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bad_files import photograph
from regraft.errors import ConfigError
from regraft.features.engine import EngineInfo
from regraft.features.strips import recipe_for
from regraft.images import resize
from regraft.images.decode import decode
from regraft.images.geometry import Preprocess
from regraft.images.resize import FAST, PILLOW, Box, resized

FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


# Mean and largest difference from Pillow's picture, in grey levels: fast_image_resize rounds
# between its two steps as Pillow does, but not to the same side.
BOUNDS = {PILLOW: (0.05, 3), FAST: (0.4, 16)}


@pytest.fixture(params=[FAST, PILLOW])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who resizes."""
    if request.param == FAST:
        pytest.importorskip("cykooz_resizer")
    monkeypatch.setattr(resize, "resizer", lambda: request.param)
    return str(request.param)


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
def test_one_step_equals_resize_and_crop(name: str, size: tuple[int, int], by: str) -> None:
    pixels = picture(*size)
    expected = resized_then_cropped(pixels, 256, 224, name)
    result = Preprocess(interpolation=name)(pixels)
    difference = np.abs(result.astype(int) - expected)
    # A pixel on the edge of a box filter may fall to either side; a rounded half, up or down.
    assert difference.mean() < 0.4
    assert difference.max() <= {"nearest": 0, "box": 32}.get(name, BOUNDS[by][1])


@pytest.mark.slow
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 1.0])
def test_equals_timm(crop_mode: str, name: str, crop_pct: float, by: str) -> None:
    data = pytest.importorskip("timm.data")
    shared = {"interpolation": name, "crop_pct": crop_pct, "crop_mode": crop_mode}
    preprocess = Preprocess.from_timm({"input_size": (3, 224, 224), **shared})
    transform = data.create_transform((3, 224, 224), normalize=False, **shared)
    for size in ((375, 500), (500, 333), (240, 240), (35, 60), (700, 701)):
        pixels = picture(*size)
        expected = transform(Image.fromarray(pixels)).numpy().transpose(1, 2, 0)
        difference = np.abs(preprocess(pixels).astype(int) - expected)
        assert difference.mean() < BOUNDS[by][0], (size, difference.mean())


@pytest.mark.slow
@pytest.mark.parametrize("crop_mode", ["center", "border"])
def test_equals_timm_for_oblong_inputs(crop_mode: str, by: str) -> None:
    data = pytest.importorskip("timm.data")
    shared = {"interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": crop_mode}
    transform = data.create_transform((3, 160, 240), normalize=False, **shared)
    preprocess = Preprocess.from_timm({"input_size": (3, 160, 240), **shared})
    for size in ((375, 500), (500, 333), (160, 240)):
        pixels = picture(*size)
        expected = transform(Image.fromarray(pixels)).numpy().transpose(1, 2, 0)
        assert np.abs(preprocess(pixels).astype(int) - expected).mean() < BOUNDS[by][0], size


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (2, 3), (8, 65_500)])
def test_extreme_pictures_have_the_size_asked_for(
    crop_mode: str, size: tuple[int, int], by: str
) -> None:
    for name in FILTERS:
        result = Preprocess(interpolation=name, crop_mode=crop_mode)(picture(*size))
        assert result.shape == (224, 224, 3)
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous
        assert result.flags.writeable


def test_a_uniform_picture_stays_uniform(by: str) -> None:
    pixels = np.full((90, 400, 3), (9, 99, 199), np.uint8)
    for name in FILTERS:
        assert (Preprocess(interpolation=name)(pixels) == (9, 99, 199)).all()


def test_border_fills_what_is_missing(by: str) -> None:
    preprocess = Preprocess((100, 100), 100, "bilinear", crop_mode="border", fill=(1, 2, 3))
    result = preprocess(np.full((50, 100, 3), 77, np.uint8))
    assert (result[:25] == (1, 2, 3)).all()
    assert (result[25:75] == 77).all()
    assert (result[75:] == (1, 2, 3)).all()


def test_strided_pixels_are_taken_as_they_look(by: str) -> None:
    pixels = picture(300, 400)
    preprocess = Preprocess()
    turned = pixels[::-1, ::-1]
    assert np.array_equal(preprocess(turned), preprocess(np.ascontiguousarray(turned)))


@pytest.mark.parametrize(("name", "reach"), [("bilinear", 1), ("bicubic", 2), ("lanczos", 3)])
def test_both_are_near_the_exact_sum(name: str, reach: int, by: str) -> None:
    pixels, box, size = picture(190, 260), Box(7.25, 3.5, 183.75, 251.0), (60, 91)
    rows = filter_weights(name, reach, box.top, box.bottom, 190, size[0])
    columns = filter_weights(name, reach, box.left, box.right, 260, size[1])
    exact = np.einsum("ih,hwc,jw->ijc", rows, pixels.astype(float), columns, optimize=True)
    difference = np.abs(resized(pixels, box, size, name) - np.clip(exact, 0, 255))
    assert difference.mean() < 0.45  # rounded twice: 0.25 and something
    assert difference.max() < 16


def filter_weights(name: str, reach: int, start: float, stop: float, n: int, n_out: int) -> Any:
    """What each of n pixels adds to each of the results, by the definition of the filter."""
    kernels: Any = {
        "bilinear": lambda x: 1 - x,
        "bicubic": lambda x: np.where(
            x < 1, (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
        ),
        "lanczos": lambda x: np.sinc(x) * np.sinc(x / 3),
    }
    scale = (stop - start) / n_out
    centres = start + (np.arange(n_out)[:, None] + 0.5) * scale
    distance = np.abs(np.arange(n) + 0.5 - centres) / max(1.0, scale)
    weights = np.where(distance < reach, kernels[name](distance), 0)
    return weights / weights.sum(1, keepdims=True)


def test_results_belong_to_the_caller_and_threads_do_not_meet(by: str) -> None:
    pixels = [picture(200 + n, 300) for n in range(24)]
    preprocess = Preprocess((64, 64), 72)
    alone = [preprocess(one) for one in pixels]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(preprocess, pixels * 3))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 3, together, strict=True))
    alone[0][:] = 0


def test_the_processor_changes_no_pixel() -> None:
    package = pytest.importorskip("cykooz_resizer")
    own, pixels = resize._of_this_thread(), picture(190, 260)
    box, found = Box(7.25, 3.5, 183.75, 251.0), []
    used = own.resizer.cpu_extensions
    for kind in {used, package.CpuExtensions.none}:
        own.resizer.cpu_extensions = kind
        found.append([resized(pixels, box, (60, 91), name) for name in resize._FAST_FILTERS])
    own.resizer.cpu_extensions = used
    assert all(np.array_equal(a, b) for a, b in zip(found[0], found[-1], strict=True))


def test_without_the_package_pillow_resizes_and_features_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info = EngineInfo("n", "a", "d", "l", "o", Preprocess(), (("final", 2),), "openvino 1", "fp32")
    recipes = {}
    for name in (FAST, PILLOW):
        monkeypatch.setattr("regraft.features.strips.resizer", lambda name=name: name)
        recipes[name] = recipe_for(info).digest
    assert recipes[FAST] != recipes[PILLOW]
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    for cached in (resize._package, resize.resizer):
        cached.cache_clear()
    try:
        assert resize.resizer() == PILLOW
        assert Preprocess()(picture(300, 400)).shape == (224, 224, 3)
    finally:
        for cached in (resize._package, resize.resizer):
            cached.cache_clear()


def test_scaled_decoding_hardly_changes_the_input(by: str) -> None:
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


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("is_turned", [False, True])
def test_an_enlarged_pixel_on_the_middle_of_a_source_pixel_ends_no_process(
    interpolation: str, is_turned: bool
) -> None:
    """cykooz-resizer 4.0.1 reads beyond its memory: a 76 x 64 picture for 64 px with 71."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 76, 3)).astype(np.uint8)
    left = 9.5 - 19 / 42  # so that the middle of the first column is 9.5
    box = Box(3.6, left, 61.3, left + 64 * 19 / 21)
    if is_turned:
        pixels, box = pixels.transpose(1, 0, 2).copy(), Box(left, 3.6, box.right, 61.3)
    found = resized(pixels, box, (64, 64), interpolation).astype(int)
    wanted = resized(pixels, box, (64, 64), interpolation, always_pillow=True).astype(int)
    assert np.abs(found - wanted).mean() < 1  # of noise, where the two round most unlike
