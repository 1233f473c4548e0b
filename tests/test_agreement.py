"""The check of an engine: planted faults are refused in both precisions, sound engines are not.

Not marked `numerics`: each test takes its precisions itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import HAS_BF16
from planted_faults import (
    FAULTS,
    OF_THE_INPUT,
    OF_THE_TAPS,
    Before,
    Known,
    compare,
    known_of,
    rows_in,
    sound,
    write_graph,
)
from regraft.backbones import catalog
from regraft.features import agreement as agreement_module
from regraft.features import engine_builder, engines, upkeep
from regraft.features.agreement import Agreement, agreement, made_up_pictures
from regraft.features.engine import Tap
from regraft.features.openvino_engine import OpenVINOEngine
from regraft.images.geometry import Preprocess

pytestmark = pytest.mark.usefixtures("one_core")

HERE = ("fp32", "bf16") if HAS_BF16 else ("fp32",)
FAST = ["random:test_resnet", "random:test_vit"]
# Beside the families that test_engines.py builds and compares whole, in the same two precisions.
MORE = [
    "mobilenetv2_100", "efficientnet_lite0", "ghostnet_100", "mixer_s16_224", "mobilevit_xxs",
    "repvgg_a0", "test_convnext", "test_efficientnet",
]  # fmt: skip


@pytest.fixture(params=[*FAST, pytest.param("default", marks=pytest.mark.slow)])
def known(request: pytest.FixtureRequest) -> Known:
    return known_of(request.param)


def check(known: Known, folder: Path, precision: str) -> dict[str, Any]:
    """As the builder does it, of networks and of their parts."""
    info = replace(known.info, precision=precision)
    return engine_builder.check_graph(folder, info, info.taps, known.pixels, known.wanted)


# -- Whole engines --


def test_a_sound_engine_is_told_by_its_numbers_and_other_pictures_are_not(
    known: Known, tmp_path: Path
) -> None:
    folder = write_graph(known, sound(known), tmp_path / "sound")
    assert set(check(known, folder, HERE[-1])) == set(HERE)
    for precision in HERE:
        rows = rows_in(precision, known, folder)
        assert compare(known, rows, precision).problem() == ""
        swapped = rows.copy()
        swapped[[2, 5]] = rows[[5, 2]]
        assert "taken for another" in compare(known, swapped, precision).problem()
        assert "taken for another" in compare(known, np.roll(rows, 1, axis=0), precision).problem()
        assert compare(known, np.zeros_like(rows), precision).problem()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_refused(known: Known, fault: str, tmp_path: Path) -> None:
    if (known.info.name, fault) == ("default", "last filter zeroed"):
        pytest.skip("nothing changes: ReLU6 clips what this filter says of all pictures")
    folder = write_graph(known, FAULTS[fault](known), tmp_path / "faulty")
    # bf16 alone would not see every weight: the graph is held against PyTorch in fp32 first.
    with pytest.raises(Exception, match=r"in fp32: (a picture|error|one feature)"):
        check(known, folder, "bf16")
    # The engine's own numbers tell what is wrong with its input and its taps, in either precision.
    if fault in OF_THE_INPUT | OF_THE_TAPS:
        for precision in HERE:
            rows = rows_in(precision, known, folder)
            assert compare(known, rows, precision).problem(), precision


def test_a_planted_fault_is_refused_for_an_engine_in_fp32_too(tmp_path: Path) -> None:
    known = known_of("random:test_resnet")
    folder = write_graph(known, FAULTS["middle filter negated"](known), tmp_path / "faulty")
    with pytest.raises(Exception, match=r"in fp32: (a picture|error|one feature)"):
        check(known, folder, "fp32")


def test_the_builder_refuses_a_faulty_graph(
    cache: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    known, genuine = known_of("random:test_resnet"), engine_builder.to_graph
    faulty = FAULTS["middle filter negated"](known).eval()
    monkeypatch.setattr(engine_builder, "to_graph", lambda module, *a: genuine(faulty, *a))
    info = engines.locate(catalog.resolve("random:test_resnet"), device="cpu").info
    assert info.runtime.startswith("torch")
    assert "it disagrees with PyTorch in fp32" in info.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_no_sound_engine_is_refused(name: str, tmp_path: Path) -> None:
    known = known_of(f"random:{name}")
    folder = write_graph(known, sound(known), tmp_path / "sound")
    assert set(check(known, folder, HERE[-1])) == set(HERE)


def test_what_bf16_makes_useless_runs_in_fp32(
    cache: Path, monkeypatch: pytest.MonkeyPatch, force_precision: Callable[[str], None]
) -> None:
    force_precision("bf16")
    monkeypatch.setitem(agreement_module.MOST_ERROR, "bf16", 1e-5)
    built = engines.locate(catalog.resolve("random:test_resnet"), device="cpu")
    assert built.info.runtime.startswith("openvino")
    assert built.info.precision == "fp32"
    assert "runs in fp32, slower than in bf16 (it disagrees" in built.info.notes[0]
    assert set(built.info.check) == {"fp32"}
    known = known_of("random:test_resnet")
    assert compare(known, built.start().run(known.pixels), "fp32").problem() == ""
    assert engines.find_built(built.source) == built.folder, "and is found again"


def test_a_processor_without_bf16_computes_in_fp32_and_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_PRECISION", "bf16")
    monkeypatch.setattr(OpenVINOEngine, "precision", "fp32")
    info = engines.locate(catalog.resolve("random:test_resnet"), device="cpu").info
    assert info.precision == "fp32"
    assert "OpenVINO computes in fp32 on this processor" in info.notes[0]


def test_each_precision_has_an_engine_of_its_own(
    cache: Path, force_precision: Callable[[str], None]
) -> None:
    built = []
    for precision in ("fp32", "bf16", "fp32"):
        force_precision(precision)
        built.append(engines.locate(catalog.resolve("random:test_vit"), device="cpu"))
        assert built[-1].info.precision == precision
        assert built[-1].info.notes == ()
    assert built[0].folder == built[2].folder != built[1].folder
    assert len(upkeep.contents().engines) == 2


def test_blobs_of_two_precisions_do_not_mix(
    tmp_path: Path, force_precision: Callable[[str], None]
) -> None:
    """OpenVINO by itself takes the blob of the other precision, and answers NaN."""
    force_precision("bf16")
    known = known_of("random:test_vit")
    folder = write_graph(known, sound(known), tmp_path / "both")
    for precision in ("fp32", "bf16", "fp32", "bf16"):
        engine = OpenVINOEngine(folder, replace(known.info, precision=precision))
        found = compare(known, engine.run(known.pixels), engine.precision)
        assert found.problem() == "", precision


# -- Parts of a network --


@pytest.mark.parametrize("name", FAST)
def test_parts_are_checked_as_whole_engines_are(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    from regraft.features import maps

    built = engines.locate(catalog.resolve(name), device="cpu")
    known, checked = known_of(name), []
    genuine = engine_builder.check_graph

    def listen(*args: Any) -> dict[str, Any]:
        checked.append(genuine(*args))
        return checked[-1]

    monkeypatch.setattr(engine_builder, "check_graph", listen)
    part = maps.find_or_build(built, "maps", example=known.pixels[:1])
    assert part.runtime.startswith("openvino")
    assert [set(found) for found in checked] == [{"fp32", precision}]
    assert Agreement(**checked[0][precision]).problem() == ""

    to_graph = engine_builder.to_graph
    planted = {"blue first": lambda pixels: pixels.flip(-1), "dark": lambda pixels: pixels // 2}
    for fault, change in planted.items():
        monkeypatch.setattr(
            engine_builder, "to_graph",
            lambda module, *a, change=change: to_graph(Before(module, change), *a),
        )  # fmt: skip
        refused = maps.find_or_build(built, f"maps {fault}", example=known.pixels[:1])
        assert refused.runtime == "torch"
        assert "PyTorch does" in refused.note


# -- The comparison itself --


def features(n: int = 6, spread: float = 0.01) -> np.ndarray:
    """Pictures that have nearly everything in common, as random networks see them."""
    rng = np.random.default_rng(0)
    return (5 + spread * rng.standard_normal((n, 40))).astype(np.float32)


ONE = [Tap("final", 0, 40)]


def problem(found: np.ndarray, wanted: np.ndarray, precision: str) -> str:
    return agreement(found, wanted, ONE, precision).problem()


@pytest.mark.parametrize(("arithmetic", "spread"), [("fp32", 0.01), ("bf16", 0.25)])
def test_what_pictures_have_in_common_hides_nothing(arithmetic: str, spread: float) -> None:
    X = features(spread=spread)
    a, b = X[0] / np.linalg.norm(X[0]), X[1] / np.linalg.norm(X[1])
    assert a @ b > 0.99, "a cosine could not tell them apart"
    assert problem(X, X, arithmetic) == ""
    assert "another" in problem(X[[1, 0, 2, 3, 4, 5]], X, arithmetic)
    assert "error" in problem(X + 2 * spread, X, arithmetic)
    assert problem(1.04 * X, X, arithmetic)


@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_equal_pictures_and_equal_answers_are_no_fault(arithmetic: str) -> None:
    X = np.repeat(features(3), 2, axis=0)
    assert problem(X, X, arithmetic) == ""
    assert problem(np.roll(X, 1, axis=0)[[1, 0, 3, 2, 5, 4]], X[[1, 1, 3, 3, 5, 5]], "fp32")
    same = np.ones((4, 40), np.float32)
    assert problem(same, same, arithmetic) == ""
    assert problem(same + 1, same, arithmetic)


@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_a_network_that_hardly_depends_on_its_input_is_judged_by_its_level(arithmetic: str) -> None:
    """What rounding does to the common part is larger than what the pictures differ by."""
    X = features(spread=1e-8)
    rounding = {"fp32": 1e-7, "bf16": 2**-9}[arithmetic]
    rounded = X * (1 + rounding * np.random.default_rng(1).uniform(-1, 1, X.shape))
    assert problem(rounded.astype(np.float32), X, arithmetic) == ""
    assert problem(X * np.float32(1.02), X, arithmetic)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_few_pictures_still_tell_an_error(n: int, arithmetic: str) -> None:
    X = features(n, 1.0)
    assert problem(X, X, arithmetic) == ""
    assert problem(X + 1, X, arithmetic)


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_what_is_no_number_is_refused(number: float, arithmetic: str) -> None:
    X = features()
    broken = X.copy()
    broken[2, 3] = number
    assert problem(broken, X, arithmetic)


def test_one_feature_that_is_off_is_told_in_full_precision() -> None:
    X = features(8, 1.0) - 5
    off = X.copy()
    off[:, 7] += 0.005
    assert "one feature is off" in problem(off, X, "fp32")


def test_made_up_pictures_differ_whatever_the_size() -> None:
    for height, width in ((32, 32), (224, 224), (96, 160)):
        pixels = made_up_pictures(height, width)
        assert pixels.shape == (8, height, width, 3)
        assert np.array_equal(pixels, made_up_pictures(height, width))
        flat = pixels.reshape(8, -1).astype(float)
        apart = np.abs(flat[:, None] - flat[None]).mean(2)
        assert apart[~np.eye(8, dtype=bool)].min() > 10


def test_the_record_can_be_read_again() -> None:
    found = agreement(features(), features(), ONE, "bf16")
    assert Agreement(**asdict(found)) == found


@pytest.mark.parametrize("real", ["none", "one", "eight alike", "flat greys"])
def test_real_pictures_that_are_few_or_alike_do_not_weaken_the_check(real: str) -> None:
    known = known_of("random:test_resnet")
    height, width = known.info.preprocess.input_px
    flat = [np.full((height, width, 3), shade, np.uint8) for shade in (0, 127, 128, 129, 255)]
    samples = {"none": [], "one": flat[:1], "eight alike": flat[:1] * 8, "flat greys": flat}
    shown = engine_builder.pictures(known.info, lambda preprocess: samples[real])
    assert len(np.unique(shown.reshape(len(shown), -1), axis=0)) >= 8
    assert len(shown) <= 12


@pytest.mark.parametrize("real", ["one", "eight alike", "flat greys"])
def test_engines_are_built_whatever_the_pictures(real: str, cache: Path, precision: str) -> None:
    def sample(preprocess: Preprocess) -> list[np.ndarray]:
        shades = {"one": [90], "eight alike": [90] * 8, "flat greys": [0, 127, 128, 255]}[real]
        return [np.full((*preprocess.input_px, 3), shade, np.uint8) for shade in shades]

    built = engines.locate(catalog.resolve("random:test_resnet"), device="cpu", sample=sample)
    assert built.info.notes == ()
    assert built.info.precision == precision
