"""Views for training: pure in (seed, epoch, index), within the bounds of their preset."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bad_files import photograph
from regraft.errors import ConfigError
from regraft.images import augment, retouch
from regraft.images.augment import Augmentation
from regraft.images.augment_presets import PRESETS
from regraft.images.decode import decode
from regraft.images.geometry import Preprocess

torch = pytest.importorskip("torch")

RANDOM = [name for name in PRESETS if name != "none"]
STILL = {"scale": (1, 1), "ratio": (1, 1)}  # with these a square picture is shown whole


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def picture(height: int, width: int) -> Any:
    return decode(photograph(width, height)).pixels


def coordinates(height: int, width: int) -> Any:
    """Every pixel says where it is: red is x, green is y, both 0 to 255."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    pixels[..., 2] = 128
    return pixels


def views(augmentation: Augmentation, pixels: Any, n: int, size: int = 32, **changed: Any) -> list:
    size_px = changed.pop("size_px", (size, size))
    where = {"seed": 0, "epoch": 0, **changed}
    return [augmentation(pixels, size_px=size_px, index=i, **where) for i in range(n)]


def difference(one: Any, other: Any) -> Any:
    return np.abs(np.asarray(one, int) - np.asarray(other, int))


# -- Purity --


@pytest.mark.parametrize("name", PRESETS)
def test_a_view_depends_on_seed_epoch_and_index_alone(name: str) -> None:
    pixels, augmentation = picture(120, 160), Augmentation.preset(name)
    one_by_one = views(augmentation, pixels, 24)
    with ThreadPoolExecutor(4) as pool:
        at_once = list(
            pool.map(
                lambda i: augmentation(pixels, size_px=(32, 32), seed=0, epoch=0, index=i),
                reversed(range(24)),
            )
        )
    assert np.array_equal(one_by_one, at_once[::-1])


@pytest.mark.parametrize("name", RANDOM)
def test_each_of_the_three_gives_other_views(name: str) -> None:
    pixels, augmentation = picture(120, 160), Augmentation.preset(name)
    near = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**40, 0, 0), (0, 2**40, 0), (0, 0, 2**40)]
    seen = {
        augmentation(pixels, size_px=(24, 24), seed=s, epoch=e, index=i).tobytes()
        for s, e, i in near
    }
    assert len(seen) == len(near)


def test_random_numbers_of_others_are_neither_used_nor_moved() -> None:
    def states() -> list[Any]:
        numpy = np.random.get_state()
        return [random.getstate(), numpy[1].tolist(), numpy[2], torch.get_rng_state().tolist()]

    pixels = picture(60, 80)
    before = states()
    first = [views(Augmentation.preset(name), pixels, 4) for name in RANDOM]
    assert states() == before
    random.seed(1)
    torch.manual_seed(1)
    assert np.array_equal(first, [views(Augmentation.preset(name), pixels, 4) for name in RANDOM])


def test_pixels_given_are_left_as_they_are_and_may_be_read_only() -> None:
    pixels = picture(48, 64)
    before = pixels.copy()
    pixels.flags.writeable = False
    for name in PRESETS:
        for view in views(Augmentation.preset(name), pixels, 8):
            assert view.flags.writeable
            assert view.flags.c_contiguous
            assert not np.shares_memory(view, pixels)
    assert np.array_equal(pixels, before)


def test_changing_one_setting_leaves_the_other_draws() -> None:
    """The same crops with and without mirroring, colour, erasing."""
    pixels = coordinates(90, 120)
    plain = Augmentation.preset("standard", horizontal_flip=0)
    mirrored = Augmentation.preset("standard", horizontal_flip=1)
    erased = Augmentation.preset("standard", horizontal_flip=0, erase=1)
    for one, two, three in zip(
        *(views(a, pixels, 20) for a in (plain, mirrored, erased)), strict=1
    ):
        assert np.array_equal(one[:, ::-1], two)
        share = (one != three).any(-1).mean()
        assert 0.01 < share < 0.36


def test_a_view_without_epochs_is_the_one_of_that_epoch() -> None:
    pixels, light = picture(60, 80), Augmentation.preset("light")
    expected = light(pixels, size_px=(24, 24), seed=5, epoch=3, index=7)
    assert np.array_equal(light.view(pixels, 3, size_px=(24, 24), seed=5, index=7), expected)


# -- Presets --


def test_presets_differ_and_say_what_they_are_for() -> None:
    pixels = picture(120, 160)
    shown = {name: np.stack(views(Augmentation.preset(name), pixels, 6)) for name in PRESETS}
    assert len({stack.tobytes() for stack in shown.values()}) == len(PRESETS)
    assert len({words for words, _ in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 900), (900, 1), (40, 2000), (64, 64)])
def test_every_picture_gives_the_size_asked_for(
    name: str, interpolation: str, size: tuple[int, int]
) -> None:
    pixels = picture(*size)
    for view in views(
        Augmentation.preset(name), pixels, 4, size_px=(24, 40), interpolation=interpolation
    ):
        assert view.shape == (24, 40, 3)
        assert view.dtype == np.uint8


@pytest.mark.parametrize("size_px", [(224, 224), (160, 240)])
def test_none_is_the_evaluation_view(size_px: tuple[int, int]) -> None:
    pixels, none = picture(300, 400), Augmentation.preset("none")
    default = Preprocess(size_px, math.floor(min(size_px) / 0.875), "bicubic")
    (view,) = views(none, pixels, 1, size_px=size_px, interpolation="bicubic")
    assert np.array_equal(view, default(pixels))
    own = Preprocess(size_px, 256, "lanczos", crop_mode="squash")
    (view,) = views(none, pixels, 1, size_px=size_px, evaluation=own)
    assert np.array_equal(view, own(pixels))


def test_a_still_augmentation_is_a_plain_resize() -> None:
    pixels = picture(120, 120)
    (view,) = views(Augmentation("light", **STILL), pixels, 1, 48)
    expected = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BILINEAR)
    assert difference(view, expected).max() <= 1
    (view,) = views(Augmentation("light", **STILL), pixels, 1, 48, interpolation="bicubic")
    expected = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC)
    assert difference(view, expected).max() <= 1


# -- Crops --


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    scale=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(sorted).map(tuple),
    ratio=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)).map(sorted).map(tuple),
    aspect=st.floats(0.5, 2),
    seed=st.integers(0, 2**64 - 1),
)
def test_crops_keep_their_bounds(
    height: int, width: int, scale: Any, ratio: Any, aspect: float, seed: int
) -> None:
    augmentation = Augmentation("standard", scale=scale, ratio=ratio)
    numbers = np.random.default_rng(seed).random(36)
    drawn = augment._Drawn(*numbers[:16])
    tries = numbers[16:].reshape(10, 2).tolist()
    box = augmentation._crop(height, width, aspect, drawn, tries)
    assert box.top >= 0
    assert box.left >= 0
    assert 1 <= box.height <= height - box.top
    assert 1 <= box.width <= width - box.left
    # Half a pixel of rounding either way, on both sides.
    low = aspect * ratio[0] * (box.height - 0.5) - 0.5
    high = aspect * ratio[1] * (box.height + 0.5) + 0.5
    is_as_wide_as_can_be = box.width in (1, width) or box.height in (1, height)
    assert low <= box.width + 1e-9 or is_as_wide_as_can_be
    assert box.width <= high + 1e-9 or is_as_wide_as_can_be
    least = (box.height - 0.5) * (box.width - 0.5)
    most = (box.height + 0.5) * (box.width + 0.5)
    is_largest = box.width == width or box.height == height
    assert least <= scale[1] * height * width + 1e-9 or is_largest
    assert most >= scale[0] * height * width - 1e-9 or is_largest


def test_crops_are_spread_as_the_paper_s() -> None:
    """Area even between the bounds, ratio even in its logarithm, every place as often."""
    augmentation = Augmentation("standard", scale=(0.1, 0.3), ratio=(0.5, 2))
    boxes = []
    for index in range(4000):
        random = augment._generator(0, 0, index)
        drawn = augment._Drawn(*random.random(16).tolist())
        boxes.append(augmentation._crop(1000, 1000, 1.0, drawn, random.random((10, 2)).tolist()))
    top, left, height, width = np.array(boxes, float).T
    area, ratio = height * width / 1e6, np.log2(width / height)
    assert np.quantile(area, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx(
        [0.1, 0.15, 0.2, 0.25, 0.3], abs=0.01
    )
    assert np.quantile(ratio, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx(
        [-1, -0.5, 0, 0.5, 1], abs=0.06
    )
    for place, side in ((top, height), (left, width)):
        assert np.quantile(place / (1000 - side), [0.25, 0.5, 0.75]) == pytest.approx(
            [0.25, 0.5, 0.75], abs=0.04
        )
    correlations = np.corrcoef(
        np.stack([top / (1000 - height), left / (1000 - width), area, ratio])
    )
    assert np.abs(correlations - np.eye(4)).max() < 0.06


def test_an_oblong_picture_is_seen_from_end_to_end() -> None:
    """No box of the allowed ratio has the area asked for: the largest, at any place."""
    pixels = coordinates(20, 400)
    shown = np.stack(views(Augmentation.preset("light", **PALE), pixels, 60))[..., 0]
    assert shown.min() < 20
    assert shown.max() > 235
    spans = [int(view.max()) - int(view.min()) for view in shown]
    assert max(spans) < 40  # 25 of 400 pixels at most


PALE = {"brightness": 0, "contrast": 0, "saturation": 0}


# -- Mirrors and turns --


def test_flips_and_quarter_turns_are_exact() -> None:
    marked = np.zeros((64, 64, 3), np.uint8)
    marked[:32, :32], marked[:32, 32:] = (250, 0, 0), (0, 250, 0)
    marked[32:, :32], marked[32:, 32:] = (0, 0, 250), (250, 250, 250)
    (plain,) = views(Augmentation("light", **STILL), marked, 1, 64)
    assert np.array_equal(plain, marked)
    (view,) = views(Augmentation("light", horizontal_flip=1, **STILL), marked, 1, 64)
    assert np.array_equal(view, marked[:, ::-1])
    (view,) = views(Augmentation("light", vertical_flip=1, **STILL), marked, 1, 64)
    assert np.array_equal(view, marked[::-1])
    turned = views(Augmentation("light", quarter_turns=True, **STILL), marked, 400, 64)
    expected = [np.rot90(marked, n).tobytes() for n in range(4)]
    counts = [sum(view.tobytes() == one for view in turned) for one in expected]
    assert sum(counts) == 400
    assert min(counts) > 70


def test_a_quarter_turn_of_an_oblong_view_keeps_its_size_and_shape() -> None:
    """Nothing is squeezed: x and y change as much from pixel to pixel."""
    pixels = np.zeros((200, 250, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(250), np.arange(200)[:, None]
    augmentation = Augmentation("light", scale=(0.3, 0.9), ratio=(1, 1), quarter_turns=True)
    turned = 0
    for view in views(augmentation, pixels, 24, size_px=(100, 150)):
        assert view.shape == (100, 150, 3)
        down, right = (np.diff(view.astype(int), axis=axis).mean((0, 1)) for axis in (0, 1))
        steps = np.abs(down) + np.abs(right)
        assert steps[0] == pytest.approx(steps[1], rel=0.03)
        turned += abs(down[0]) > abs(right[0])
    assert 4 < turned < 20


def test_half_of_the_photographs_are_mirrored() -> None:
    pixels = coordinates(80, 80)
    mirrored = [int(v[16, 0, 0]) > int(v[16, -1, 0]) for v in views(LIGHT_GREY, pixels, 400)]
    assert 160 < sum(mirrored) < 240


LIGHT_GREY = Augmentation.preset("light", brightness=0, contrast=0, saturation=0)


def test_upright_views_are_never_mirrored_nor_turned_over() -> None:
    pixels = coordinates(90, 120)
    for view in views(Augmentation.preset("upright", brightness=0, contrast=0), pixels, 300):
        red, green = view[..., 0].astype(int), view[..., 1].astype(int)
        assert (np.diff(red, axis=1) >= -1).all()  # x grows to the right in every row
        assert (np.diff(green, axis=0) >= -1).all()


def test_degrees_turn_about_the_centre_as_pillow_does() -> None:
    """Two routes: our sampling of a smooth picture, and Pillow's rotate; the corners differ."""
    pixels = np.asarray(Image.fromarray(picture(96, 96)).resize((12, 12)).resize((96, 96)))
    augmentation = Augmentation("upright", degrees=30, **STILL)
    for index, view in enumerate(views(augmentation, pixels, 6, 96)):
        drawn = augment._Drawn(*augment._generator(0, 0, index).random(16).tolist())
        angle = 30 * (2 * drawn.angle - 1)
        turned = Image.fromarray(pixels).rotate(angle, Image.Resampling.BILINEAR)
        middle = np.s_[24:72, 24:72]
        assert difference(view[middle], np.asarray(turned)[middle]).mean() < 1.0, angle
        wrong = Image.fromarray(pixels).rotate(-angle, Image.Resampling.BILINEAR)
        assert difference(view[middle], np.asarray(wrong)[middle]).mean() > 0.4 * abs(angle)


def test_turned_crops_show_where_they_are() -> None:
    """A tiny turn: the same place as without it, whatever the crop, near an edge or not."""
    pixels = coordinates(150, 210)
    straight = Augmentation("light", scale=(0.2, 0.9), ratio=(0.7, 1.4))
    turned = Augmentation("light", scale=(0.2, 0.9), ratio=(0.7, 1.4), degrees=0.01)
    for size in ((32, 32), (200, 90)):
        pairs = (views(a, pixels, 40, size_px=size) for a in (straight, turned))
        for one, other in zip(*pairs, strict=True):
            assert difference(one, other).max() <= 3


def test_what_lies_beyond_the_edge_repeats_it() -> None:
    pixels = np.full((40, 40, 3), 10, np.uint8)
    pixels[:, 20:] = 200
    for view in views(Augmentation("upright", degrees=45, **STILL), pixels, 20, 40):
        assert set(np.unique(view[:2, :2])) <= set(range(9, 202))
        assert view.min() >= 9
        assert view.max() <= 201
    uniform = np.full((40, 50, 3), (7, 77, 177), np.uint8)
    for view in views(Augmentation.preset("orientation-free", **PALE), uniform, 20):
        assert (view == (7, 77, 177)).all()


# -- Colour --


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
@pytest.mark.parametrize("name", ["Brightness", "Contrast", "Color"])
def test_colour_equals_pillow_s_enhancements(name: str, factor: float) -> None:
    from PIL import ImageEnhance

    pixels = picture(64, 64) // 2 + 40  # nothing to clip
    image = Image.fromarray(pixels)
    mean = float(np.asarray(image.convert("L")).mean())
    factors = {"Brightness": 1.0, "Contrast": 1.0, "Color": 1.0, name: factor}
    matrix = retouch.colour_matrix(*factors.values(), mean)
    expected = getattr(ImageEnhance, name)(image).enhance(factor)
    assert difference(image.convert("RGB", matrix), expected).max() <= 1


def test_colours_stay_within_their_bounds() -> None:
    grey = np.full((40, 40, 3), 100, np.uint8)
    shown = [v[0, 0] for v in views(Augmentation("light", brightness=0.2, **STILL), grey, 300)]
    assert all(80 <= v.min() <= v.max() <= 120 for v in shown)
    assert min(v[0] for v in shown) < 84
    assert max(v[0] for v in shown) > 116
    red = np.full((40, 40, 3), (200, 50, 50), np.uint8)
    for view in views(Augmentation("light", saturation=0.5, **STILL), red, 100):
        spread = int(view[0, 0, 0]) - int(view[0, 0, 1])
        assert 74 <= spread <= 226
        weighted = view[0, 0] @ [0.299, 0.587, 0.114]
        assert weighted == pytest.approx(200 * 0.299 + 50 * 0.701, abs=4)  # its grey stays


def test_erasing_is_as_often_and_as_large_as_it_says() -> None:
    pixels = np.full((80, 80, 3), 100, np.uint8)
    shown = views(Augmentation("strong", erase=0.25, **STILL), pixels, 800, 40)
    shares = [(view != 100).any(-1).mean() for view in shown]
    assert 150 < np.count_nonzero(shares) < 250
    assert max(shares) < 0.36
    assert min(share for share in shares if share) > 0.01


def test_every_operation_of_trivial_augment_comes_and_changes_something() -> None:
    assert len(augment._OPERATIONS) == 14
    pixels = picture(96, 96)
    augmentation = Augmentation("strong", trivial_augment=True, **STILL)
    (plain,) = views(Augmentation("strong", **STILL), pixels, 1, 64)
    seen: dict[str, float] = {}
    for index, view in enumerate(views(augmentation, pixels, 500, 64)):
        drawn = augment._Drawn(*augment._generator(0, 0, index).random(16).tolist())
        name, _ = augmentation._operation(drawn)
        seen[name] = max(seen.get(name, 0.0), float(difference(view, plain).mean()))
    assert set(seen) == set(augment._OPERATIONS)
    assert seen.pop("identity") == 0
    assert min(seen.values()) > 0.5, seen


# -- Settings --


@pytest.mark.parametrize("name", PRESETS)
def test_settings_go_through_json(name: str) -> None:
    augmentation = Augmentation.preset(name)
    values = json.loads(json.dumps(augmentation.to_dict()))
    assert Augmentation.from_dict(values) == augmentation
    del values["erase"]
    with pytest.raises(ConfigError, match=r"without.*'erase'"):
        Augmentation.from_dict(values)


def test_overrides_replace_a_preset_s_settings() -> None:
    changed = Augmentation.preset("light", scale=[0.3, 0.9], degrees=5)
    assert (changed.scale, changed.degrees) == ((0.3, 0.9), 5)
    assert changed.brightness == Augmentation.preset("light").brightness


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("ligth", {}, "did you mean 'light'"),
        ("heavy metal", {}, "choose from none, light"),
        ("light", {"horizontal_flips": 1}, "did you mean 'horizontal_flip'"),
        ("light", {"name": "x"}, "no augmentation setting is called 'name'"),
        ("light", {"scale": (0, 1)}, "scale must be 0 < smallest"),
        ("light", {"scale": (0.9, 0.5)}, "scale must be"),
        ("light", {"scale": 0.5}, "scale must be"),
        ("light", {"ratio": (1, math.inf)}, "ratio must be"),
        ("light", {"degrees": 181}, "degrees must be a number in 0..180; got 181"),
        ("light", {"vertical_flip": 1.5}, "vertical_flip must be a number in 0..1"),
        ("light", {"brightness": math.nan}, "brightness must be"),
        ("light", {"erase": True}, "erase must be"),
        ("light", {"quarter_turns": 1}, "quarter_turns must be true, false; got 1"),
        ("none", {"degrees": 5}, r"takes no settings; got \['degrees'\]"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    name: str, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Augmentation.preset(name, **overrides)


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'bicubic'"):
        views(Augmentation.preset("light"), picture(8, 8), 1, interpolation="cubic")
