"""What an engine's check tells: planted faults are refused in both precisions, others are not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from regraft.backbones import catalog, network
from regraft.features import engine_builder
from regraft.features.agreement import Agreement, agreement, made_up_pictures
from regraft.features.engine import EngineInfo, Tap
from regraft.features.openvino_engine import OpenVINOEngine
from regraft.features.torch_engine import describe

PRECISIONS = ["fp32", "bf16"]
FAST = ["default", "random:test_resnet", "random:test_vit"]
MORE = [
    "resnet18", "resnet50", "vgg11", "mobilenetv3_large_100", "convnext_atto", "densenet121",
    "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "efficientnet_b0", "regnety_002",
    "mobilenetv4_conv_small", "ghostnet_100", "mixer_s16_224", "test_convnext", "test_efficientnet",
]  # fmt: skip


class Known(NamedTuple):
    """A network, and what PyTorch says of the made-up pictures."""

    info: EngineInfo
    loaded: network.LoadedNetwork
    pixels: np.ndarray
    wanted: np.ndarray


def known_of(name: str) -> Known:
    source = catalog.resolve(name)
    loaded = network.load(source, offline=True)
    tapped, widths = network.tap(loaded)
    info = describe(source, loaded, widths)
    pixels = made_up_pictures(*info.preprocess.input_px)
    return Known(info, loaded, pixels, engine_builder._reference(tapped, pixels))


def run(known: Known, precision: str, folder: Path, module: Any = None) -> np.ndarray:
    """By OpenVINO, from a folder of its own."""
    folder.mkdir()
    module = network.tap(known.loaded)[0] if module is None else module
    height, width = known.info.preprocess.input_px
    example = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    engine_builder.to_graph(module, example, folder / "graph.xml")
    return OpenVINOEngine(folder, replace(known.info, precision=precision)).run(known.pixels)


def found_in(known: Known, found: np.ndarray, precision: str) -> str:
    return agreement(found, known.wanted, known.info.taps).problem(precision)


@pytest.fixture(scope="module", params=FAST)
def known(request: pytest.FixtureRequest) -> Known:
    return known_of(request.param)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_planted_faults_are_refused_and_the_sound_engine_is_not(
    known: Known, precision: str, tmp_path: Path
) -> None:
    sound = run(known, precision, tmp_path / "sound")
    assert found_in(known, sound, precision) == ""

    swapped = sound.copy()
    swapped[[2, 5]] = sound[[5, 2]]
    assert "taken for another" in found_in(known, swapped, precision)
    assert found_in(known, np.roll(sound, 1, axis=0), precision)

    blue_first = known._replace(pixels=np.ascontiguousarray(known.pixels[..., ::-1]))
    assert found_in(known, run(blue_first, precision, tmp_path / "bgr"), precision)

    for part, nothing in (("mean", 0), ("inverse_std", 1 / 255)):
        plain = network.tap(known.loaded)[0]
        plain.normalised.get_buffer(part).fill_(nothing)
        assert found_in(known, run(known, precision, tmp_path / part, plain), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_taps_that_are_mixed_up_are_refused(known: Known, precision: str, tmp_path: Path) -> None:
    sound = run(known, precision, tmp_path / "sound")
    first = known.info.taps[0]
    half = (first.start + first.stop) // 2
    exchanged = sound.copy()
    exchanged[:, first.start : half] = sound[:, half : first.stop]
    exchanged[:, half : first.stop] = sound[:, first.start : half]
    assert found_in(known, exchanged, precision), "maximum for mean"
    assert found_in(known, np.roll(sound, 1, axis=1), precision)
    # One stage off, where two are equally wide.
    by_width: dict[int, list[Tap]] = {}
    for tap in known.info.taps[:-1]:
        by_width.setdefault(tap.stop - tap.start, []).append(tap)
    for a, b, *_ in (taps for taps in by_width.values() if len(taps) > 1):
        moved, truly = sound.copy(), known.wanted.copy()
        moved[:, b.start : b.stop] = sound[:, a.start : a.stop]
        truly[:, b.start : b.stop] = known.wanted[:, a.start : a.stop]
        # Blocks that change less than bf16 rounds cannot be told from each other in it.
        if found_in(known, truly, precision):
            assert found_in(known, moved, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("fault", ["zeroed", "negated", "times 100"])
def test_a_changed_weight_of_the_first_layer_is_refused(
    known: Known, precision: str, fault: str, tmp_path: Path
) -> None:
    """A filter, or one number; how small a change can be seen stands in docs/experiments.md."""
    state = known.loaded.network.state_dict()
    name = next(n for n, t in state.items() if t.ndim == 4 and t.is_floating_point())
    changed = state[name].clone()
    if fault == "times 100":
        changed.view(-1)[changed.abs().argmax()] *= 100
    else:
        changed[0] *= 0 if fault == "zeroed" else -1
    other = copy.deepcopy(known.loaded.network)
    other.load_state_dict({**state, name: changed})
    module = network.tap(replace(known.loaded, network=other))[0]
    assert found_in(known, run(known, precision, tmp_path / "changed", module), precision)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_no_sound_engine_is_refused(name: str, tmp_path: Path) -> None:
    known = known_of(f"random:{name}")
    for precision in PRECISIONS:
        assert found_in(known, run(known, precision, tmp_path / precision), precision) == ""


# -- The comparison itself --


def features(n: int = 6, spread: float = 0.01) -> np.ndarray:
    """Pictures that have nearly everything in common, as random networks see them."""
    rng = np.random.default_rng(0)
    return (5 + spread * rng.standard_normal((n, 40))).astype(np.float32)


ONE = [Tap("final", 0, 40)]


def test_what_pictures_have_in_common_hides_nothing() -> None:
    X = features()
    a, b = X[0] / np.linalg.norm(X[0]), X[1] / np.linalg.norm(X[1])
    assert a @ b > 0.9999, "a cosine could not tell them apart"
    assert agreement(X, X, ONE).problem("fp32") == ""
    assert "another" in agreement(X[[1, 0, 2, 3, 4, 5]], X, ONE).problem("bf16")
    assert "error" in agreement(X + 0.02, X, ONE).problem("bf16")
    assert agreement(1.01 * X, X, ONE).problem("bf16")


def test_equal_pictures_and_equal_answers_are_no_fault() -> None:
    X = np.repeat(features(3), 2, axis=0)
    assert agreement(X, X, ONE).problem("fp32") == ""
    same = np.ones((4, 40), np.float32)
    assert agreement(same, same, ONE).problem("fp32") == ""
    assert agreement(same + 1, same, ONE).problem("fp32")


@pytest.mark.parametrize("n", [1, 2])
def test_few_pictures_still_tell_an_error(n: int) -> None:
    X = features(n, 1.0)
    assert agreement(X, X, ONE).problem("fp32") == ""
    assert agreement(X + 1, X, ONE).problem("bf16")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_is_refused(number: float) -> None:
    X = features()
    broken = X.copy()
    broken[2, 3] = number
    with np.errstate(invalid="ignore"):
        assert agreement(broken, X, ONE).problem("fp32")


def test_one_feature_that_is_off_is_told() -> None:
    X = features(8, 1.0)
    off = X.copy()
    off[:, 7] = 0
    problem = agreement(off, X, ONE).problem("bf16")
    assert "one feature is off" in problem or "error" in problem


def test_made_up_pictures_differ_whatever_the_size() -> None:
    for height, width in ((32, 32), (224, 224), (96, 160)):
        pixels = made_up_pictures(height, width)
        assert pixels.shape == (8, height, width, 3)
        assert np.array_equal(pixels, made_up_pictures(height, width))
        flat = pixels.reshape(8, -1).astype(float)
        apart = np.abs(flat[:, None] - flat[None]).mean(2)
        assert apart[~np.eye(8, dtype=bool)].min() > 10


def test_the_record_can_be_read_again() -> None:
    found = agreement(features(), features(), ONE)
    assert Agreement(**found.to_dict()) == found


@pytest.mark.parametrize(
    "sample", [lambda p: [], lambda p: [np.zeros((*p.input_px, 3), np.uint8)] * 8]
)
def test_real_pictures_that_are_few_or_alike_do_not_weaken_the_check(
    sample: Callable[[Any], list[np.ndarray]],
) -> None:
    info = known_of("random:test_resnet").info
    shown = engine_builder.pictures(info, sample)
    assert len(np.unique(shown.reshape(len(shown), -1), axis=0)) >= 8
