"""Where a model looks: maps that are the score, that depend on what was learnt, and find what was
planted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from conftest import INK, ONE_ANSWER, SCORE, SHAPES
from regraft import load
from regraft.backbones import catalog
from regraft.errors import UsageError
from regraft.explain import drawing, explanations, nearest
from regraft.explain.base import Heat, against_others
from regraft.explain.decomposition import PositionMap, decompose, mean_slope, onto_grid
from regraft.explain.explainer import explainer_for
from regraft.explain.occlusion import GRID, Occlusion
from regraft.features import engine_builder, engines, extract
from regraft.features.engine import Tap
from regraft.features.store import Store
from regraft.images import DECODER_VERSION, pictures
from regraft.listener import Listener
from regraft.model import predicting
from regraft.probe.classifier import Classifier
from regraft.probe.linear_head import LinearHead
from regraft.probe.mlp_head import MLPHead
from regraft.probe.representation import Representation
from regraft.probe.source_classifier import SourceClassifier, read_classifier
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment, explaining

pytestmark = pytest.mark.numerics

N_CLASSES = 4


def pooled(maps: dict[str, np.ndarray], final: str = "mean") -> np.ndarray:
    """Rows as the pass leaves them, from maps ``(N, P, C)``: stages by mean and maximum."""
    parts = []
    for name, values in maps.items():
        if name != "final":
            parts += [values.mean(1), values.max(1)]
    parts.append(getattr(maps["final"], final)(1))
    return np.concatenate(parts, axis=1).astype(np.float32)


def taps_of(maps: dict[str, np.ndarray]) -> tuple[Tap, ...]:
    found, start = [], 0
    for name, values in maps.items():
        stop = start + values.shape[2] * (1 if name == "final" else 2)
        found.append(Tap(name, start, stop))
        start = stop
    return tuple(found)


def random_head(n_features: int, n_classes: int = N_CLASSES, seed: int = 0) -> LinearHead:
    random = np.random.default_rng(seed)
    weight = random.standard_normal((n_classes, n_features)).astype(np.float32)
    return LinearHead(weight, random.standard_normal(n_classes).astype(np.float32))


def evidence_of(classifier: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """By the other route: the pooled features through representation and head."""
    scores = classifier.head.scores(classifier.representation(X)).astype(np.float64)
    return np.diagonal(against_others(scores.T, y))


# -- The mathematics, on made-up maps --


def test_evidence_is_the_score_less_the_mean_of_the_others() -> None:
    scores = np.array([[1.0, 5.0], [2.0, 1.0], [6.0, 0.0]])
    np.testing.assert_allclose(against_others(scores, np.array([2, 0])), [[4.5, -3], [-3, 4.5]])


def test_a_map_worked_by_hand() -> None:
    """Two channels on 1 x 2 places, 'final' alone: (w · f(place) - w · centre) / 2 each."""
    values = np.array([[[1.0, 0.0], [3.0, 2.0]]], np.float32)
    representation = Representation.fit(
        np.array([[0.0, 0.0], [2.0, 0.0]], np.float32), ("final",), (Tap("final", 0, 2),)
    )
    scale = representation.scale[0]
    head = LinearHead(np.array([[2, 1], [0, 0]], np.float32), np.array([5, 1], np.float32))
    heat = decompose(
        {"final": PositionMap(values, (1, 2))}, representation, head, np.array([0]),
        final_pooling="mean",
    )  # fmt: skip
    # The centre is (1, 0), so w · centre is 2.
    np.testing.assert_allclose(heat.maps[0], [[scale * (2 - 2) / 2, scale * (8 - 2) / 2]])
    assert heat.constant is not None
    assert heat.constant[0] == 4
    assert heat.exact is not None
    assert heat.exact[0] == 1


def test_a_maximum_belongs_to_its_place() -> None:
    values = np.zeros((1, 4, 2), np.float32)
    values[0, 1, 0], values[0, 2, 1] = 3.0, 4.0
    maps = {"early": values, "final": values}
    taps = taps_of(maps)
    X = np.array([[0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]], np.float32)
    representation = Representation.fit(X, ("early",), taps)
    assert representation.scale[0] == 0, "the mean says nothing in train, so it has no weight"
    head = LinearHead(np.array([[0, 0, 1, 10], [0, 0, 0, 0]], np.float32), np.zeros(2, np.float32))
    heat = decompose(
        {"early": PositionMap(values, (2, 2))}, representation, head, np.array([0]),
        final_pooling="",
    )  # fmt: skip
    # Unit length: (3, 4) / 5; the centre of train is (0.5, 0).
    wanted = representation.scale[2] * np.array([[0, 0.6 - 0.5], [8, 0]])
    np.testing.assert_allclose(heat.maps[0], wanted, rtol=1e-6)


@pytest.mark.parametrize("final", ["mean", "max"])
@pytest.mark.parametrize(
    "taps", [("final",), ("one",), ("one", "two", "final"), ("final", "source"), ("source",),
             ("two", "source")],
)  # fmt: skip
def test_all_places_and_the_constant_are_the_score(taps: tuple[str, ...], final: str) -> None:
    random = np.random.default_rng(3)
    sizes = {"one": (13, 9, 5, 0), "two": (4, 4, 7, 2), "final": (3, 3, 6, 0)}
    maps = {
        name: random.gamma(1, 2, (5, h * w + prefix, c)).astype(np.float32)
        for name, (h, w, c, prefix) in sizes.items()
    }
    source = SourceClassifier(
        random.standard_normal((20, 6)).astype(np.float32),
        random.standard_normal(20).astype(np.float32),
    )
    X = pooled(maps, final)
    representation = Representation.fit(X, taps, taps_of(maps), source=source)
    head, y = random_head(len(representation.centre)), np.array([0, 1, 2, 3, 0])
    heat = decompose(
        {n: PositionMap(v, sizes[n][:2]) for n, v in maps.items()}, representation, head, y,
        final_pooling=final,
    )  # fmt: skip
    assert heat.maps.dtype == np.float32
    assert heat.maps.shape[1:] == (
        (13, 9) if "one" in taps else (4, 4) if "two" in taps else (3, 3)
    )
    wanted = evidence_of(SimpleNamespace(head=head, representation=representation), X, y)
    assert heat.constant is not None
    np.testing.assert_allclose(heat.maps.sum((1, 2)) + heat.constant, wanted, rtol=2e-5, atol=2e-5)
    assert heat.exact is not None
    if "source" not in taps:
        np.testing.assert_allclose(heat.exact, 1)
    elif len(taps) == 1:
        np.testing.assert_allclose(heat.exact, 0)
    else:
        assert ((heat.exact > 0) & (heat.exact < 1)).all()


def test_the_slope_of_the_source_classes_is_complete_where_the_network_is_sure() -> None:
    random = np.random.default_rng(0)
    source = SourceClassifier(
        random.standard_normal((50, 8)).astype(np.float32), np.zeros(50, np.float32)
    )
    final = 4 * random.random((6, 8)).astype(np.float32)
    v = random.standard_normal((6, 50))
    roots = source.root_probabilities(final)
    assert (roots.max(1) ** 2 > 0.9).any()
    nothing = source.root_probabilities(np.zeros((1, 8), np.float32))
    placed = (mean_slope(source, final, v) * final).sum(1)
    np.testing.assert_allclose(placed, (v * (roots - nothing)).sum(1), atol=1e-4)


@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.integers(1, 30),
    st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_map_on_another_grid_keeps_its_sum(h: int, w: int, H: int, W: int, seed: int) -> None:
    maps = np.random.default_rng(seed).standard_normal((2, h, w))
    spread = onto_grid(maps, (H, W))
    assert spread.shape == (2, H, W)
    np.testing.assert_allclose(spread.sum((1, 2)), maps.sum((1, 2)), atol=1e-9)
    if (h, w) == (H, W):
        np.testing.assert_allclose(spread, maps)


def test_a_finer_grid_keeps_the_place() -> None:
    maps = np.zeros((1, 7, 7))
    maps[0, 1, 5] = 1
    spread = onto_grid(maps, (28, 28))[0]
    assert np.unravel_index(spread.argmax(), spread.shape) in [(5, 21), (5, 22), (6, 21), (6, 22)]
    even = onto_grid(np.ones((1, 7, 7)), (28, 28))
    np.testing.assert_allclose(even, 1 / 16)


# -- Drawing --


def test_only_what_speaks_for_the_class_is_coloured() -> None:
    grey = np.full((64, 64, 3), 100, np.uint8)
    heat = np.array([[-5.0, 0.0], [0.0, 2.0]])
    laid = drawing.overlay(grey, heat)
    assert (laid.shape, laid.dtype) == ((64, 64, 3), np.uint8)
    assert laid[0, 0].tolist() == [100, 100, 100]
    red, _, blue = laid[-1, -1].astype(int)
    assert red > 150 > blue
    nothing = drawing.overlay(grey, -np.ones((7, 7)))
    assert (nothing == 100).all()


def test_brightness_rises_with_heat_so_that_grey_prints_say_the_same() -> None:
    heat = np.linspace(0, 1, 64)[None]
    laid = drawing.overlay(np.zeros((4, 64, 3), np.uint8), heat)[0]
    luma = laid @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(luma) > -1).all()
    assert luma[-1] > 150


def test_captions_fit_their_picture_whatever_they_say() -> None:
    drawn = drawing.pair(np.zeros((96, 64, 3), np.uint8), np.ones((3, 2)), "Ameise " * 40 + "\nß")
    assert drawn.width == 2 * 256 + 18
    assert drawn.height > 384


# -- Real networks, untrained --


@dataclass(frozen=True)
class Network:
    """A built engine with pictures, their features and a head that nobody trained."""

    built: engines.BuiltEngine
    pixels: np.ndarray
    X: np.ndarray
    source: SourceClassifier | None

    def classifier(self, taps: tuple[str, ...]) -> Classifier:
        representation = Representation.fit(self.X, taps, self.built.info.taps, source=self.source)
        head = random_head(len(representation.centre))
        return Classifier(("a", "b", "c", "d"), representation, head).on(self.built)

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.built.info.widths[:-1])


@pytest.fixture(scope="module")
def shelf(make_room: Callable[[str], Path]) -> tuple[Path, dict[str, Network]]:
    """A cache, and the networks that are built in it; shared by this file."""
    return make_room("networks"), {}


@pytest.fixture
def network(
    shelf: tuple[Path, dict[str, Network]], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Network]:
    """``network("test_resnet")``: that network with random weights."""
    room, made = shelf
    monkeypatch.setenv("REGRAFT_CACHE", str(room))

    def get(name: str) -> Network:
        if name not in made:
            built = engines.locate(catalog.resolve(f"random:{name}"), device="cpu")
            info, some = built.info, engine_builder.pictures(built.info)
            pixels = np.ascontiguousarray(np.concatenate([some, some[:, ::-1, ::-1]]))
            source = read_classifier(
                built.weights_path, str(info.config["classifier"]), info.widths[-1][1]
            )
            made[name] = Network(built, pixels, built.start().run(pixels), source)
        return made[name]

    return get


def close(built: engines.BuiltEngine) -> dict[str, float]:
    """Tolerances between two graphs of one network."""
    most = SCORE[built.info.precision]
    return {"rtol": most, "atol": most}


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("test_resnet", ("final",)),
        ("test_resnet", ("all", "final", "source")),
        ("test_efficientnet", ("all", "final")),
        ("test_efficientnet", ("final", "source")),
        ("test_convnext", ("all",)),
        ("test_vit", ("all",)),
    ],
)
def test_the_map_of_a_network_is_its_score(network: Any, name: str, taps: tuple[str, ...]) -> None:
    known = network(name)
    taps = tuple(t for tap in taps for t in (known.stages if tap == "all" else (tap,)))
    classifier = known.classifier(taps)
    cam = explainer_for(classifier, example=known.pixels[:2], method="cam")
    assert cam.parts[0].runtime.startswith("openvino")
    y = np.arange(len(known.pixels)) % N_CLASSES
    heat = cam.explain(known.pixels, y)
    wanted = evidence_of(classifier, known.X, y)
    assert np.abs(wanted).max() > 0.1
    found = heat.maps.sum((1, 2)) + heat.constant
    np.testing.assert_allclose(found, wanted, **close(known.built))


def test_the_graph_of_the_maps_is_built_once(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = network("test_resnet")
    classifier = known.classifier(("final",))
    first = explainer_for(classifier, example=known.pixels[:2], method="cam")
    monkeypatch.setattr(engine_builder, "agreeing_graph", lambda *a: pytest.fail("built twice"))
    said: list[str] = []
    again = explainer_for(classifier, example=known.pixels[:2], method="cam", say=said.append)
    assert said == []
    y = np.zeros(len(known.pixels), int)
    a, b = (e.explain(known.pixels, y).maps for e in (first, again))
    np.testing.assert_array_equal(a, b)


def test_pytorch_gives_the_maps_where_openvino_disagrees(
    network: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = network("test_resnet")
    classifier = known.classifier((known.stages[0], "final"))
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path))  # no graph of the maps is built here yet
    genuine = engine_builder._reference
    monkeypatch.setattr(engine_builder, "_reference", lambda *a: genuine(*a)[:, ::-1])
    said: list[str] = []
    cam = explainer_for(classifier, example=known.pixels[:2], method="cam", say=said.append)
    assert cam.parts[0].runtime == "torch"
    assert "PyTorch does" in said[-1]
    y = np.zeros(len(known.pixels), int)
    heat = cam.explain(known.pixels, y)
    np.testing.assert_allclose(
        heat.maps.sum((1, 2)) + heat.constant, evidence_of(classifier, known.X, y),
        **close(known.built),
    )  # fmt: skip


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values.ravel())) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize("as_mlp", [False, True])
def test_the_gradient_agrees_with_the_sum_where_the_network_takes_a_mean(
    network: Any, as_mlp: bool
) -> None:
    """Two routes: by torch's gradient, and by dividing the score; they differ by what train's
    average says, which is the same everywhere."""
    known = network("test_resnet")
    classifier = known.classifier(("final",))
    cam = explainer_for(classifier, example=known.pixels[:2], method="cam")
    if as_mlp:
        head = classifier.head
        classifier = replace(classifier, head=MLPHead(((head.weight, head.bias),)))
    gradient = explainer_for(classifier, example=known.pixels[:2], method="gradcam")
    assert "last map" in gradient.why
    y = np.arange(len(known.pixels)) % N_CLASSES
    a, b = cam.explain(known.pixels, y).maps, gradient.explain(known.pixels, y).maps
    assert a.shape == b.shape
    difference = (a - b).reshape(len(a), -1)
    assert np.ptp(difference, axis=1).max() < 0.02 * np.ptp(b)


@pytest.mark.parametrize(
    ("name", "reason"), [("test_convnext", "neither mean nor maximum"), ("test_vit", "neither")]
)
def test_networks_that_pool_otherwise_are_explained_by_gradients(
    network: Any, name: str, reason: str
) -> None:
    known = network(name)
    classifier = known.classifier(("final",))
    with pytest.raises(UsageError, match=reason):
        explainer_for(classifier, example=known.pixels[:2], method="cam")
    found = explainer_for(classifier, example=known.pixels[:2])
    assert found.name == "gradcam"
    assert reason in found.why, "it says why not cam"
    heat = found.explain(known.pixels, np.zeros(len(known.pixels), int))
    height, width = heat.maps.shape[1:]
    assert height == width >= 2
    assert (heat.maps.reshape(len(heat.maps), -1).std(1) > 0).all()
    # A class token alone has no places: the map is of a block before it.
    assert ("blocks." in found.why.split(";")[0]) == (name == "test_vit")


def test_the_gradient_is_that_of_the_score(network: Any) -> None:
    """A small step of the last map along the gradient changes the evidence as it says."""
    import torch

    known = network("test_convnext")
    pixels = known.pixels[[0, 3]]
    head = MLPHead(
        tuple((h.weight, h.bias) for h in (random_head(known.source.weight.shape[1], 6),
                                           random_head(6, 3, seed=1)))
    )  # fmt: skip
    classifier = replace(known.classifier(("final",)), head=head)
    found = explainer_for(classifier, example=pixels, method="gradcam")
    y = np.array([1, 2])
    maps, gradient = found._gradient(found.place, pixels, y)
    with torch.no_grad():
        evidences = []
        for step in (-1e-3, 1e-3):
            moved = maps + step * gradient
            X = np.zeros((2, known.X.shape[1]), np.float32)
            final = found.tapped.network.forward_head(moved, pre_logits=True).numpy()
            X[:, -final.shape[1] :] = final
            scores = head.scores(classifier.representation(X)).astype(np.float64)
            evidences.append(np.diagonal(against_others(scores.T, y)))
    slope = (evidences[1] - evidences[0]) / 2e-3
    np.testing.assert_allclose(slope, (gradient**2).sum((1, 2, 3)), rtol=0.05)


def test_a_head_without_gradient_is_explained_by_hiding(network: Any) -> None:
    known = network("test_resnet")
    classifier = known.classifier(("final",))
    head = SimpleNamespace(kind="knn", scores=classifier.head.scores)
    without = replace(classifier, head=head)
    for method in ("cam", "gradcam"):
        with pytest.raises(UsageError, match="'knn'"):
            explainer_for(without, example=known.pixels[:2], method=method)
    found = explainer_for(without, example=known.pixels[:2])
    assert found.name == "occlusion"
    assert "no cam" in found.why
    assert "no gradcam" in found.why
    same = explainer_for(classifier, example=known.pixels[:2], method="occlusion")
    y = np.array([0, 1])
    np.testing.assert_array_equal(
        found.explain(known.pixels[:2], y).maps, same.explain(known.pixels[:2], y).maps
    )
    with pytest.raises(UsageError, match="auto, cam, gradcam, occlusion"):
        explainer_for(classifier, example=known.pixels[:2], method="lime")


def test_hiding_the_only_place_that_counts_costs_the_class() -> None:
    """Class 1's score is the brightness of one place; hidden, 255 becomes the grey of 128."""
    row, column, step = 2, 5, 8

    def run(pixels: np.ndarray) -> np.ndarray:
        place = pixels[:, row * step : (row + 1) * step, column * step : (column + 1) * step, 0]
        return (place.mean((1, 2)) / 255)[:, None].astype(np.float32)

    info = SimpleNamespace(preprocess=SimpleNamespace(mean=(128 / 255,) * 3), batch_size=4)
    built = SimpleNamespace(info=info, engine=lambda: SimpleNamespace(run=run))
    built.networks = (built,)
    head = LinearHead(np.array([[0], [2]], np.float32), np.zeros(2, np.float32))
    known: Any = SimpleNamespace(
        built=lambda: built, representation=lambda X: X, head=head, temperature=0.5
    )
    white = np.full((1, GRID * step, GRID * step, 3), 255, np.uint8)
    (lost,) = Occlusion(known).explain(white, np.array([1])).maps
    # Log-odds are score / temperature: 4 x brightness.
    assert lost[row, column] == pytest.approx(4 * (1 - 128 / 255), rel=1e-5)
    far = np.ones((GRID, GRID), bool)
    far[row - 1 : row + 2, column - 1 : column + 2] = False
    assert (lost[far] == 0).all()


# -- A trained model, and an object that was planted --


SIDE, OBJECT = 224, 72
Box = tuple[int, int, int, int]


def plant(shape: str, random: np.random.Generator) -> tuple[Image.Image, Box]:
    """A small shape at any place on noise, and its box."""
    noise = random.integers(90, 160, (SIDE, SIDE, 3)).astype(np.uint8)
    image = Image.fromarray(noise)
    left, top = (int(v) for v in random.integers(16, SIDE - 16 - OBJECT, 2))
    box = (left, top, left + OBJECT, top + OBJECT)
    SHAPES[shape](ImageDraw.Draw(image), list(box), INK[int(random.integers(len(INK)))])
    return image, box


@dataclass(frozen=True)
class Planted:
    room: Path
    classifier: Classifier
    files: list[Path]
    pixels: np.ndarray
    y: np.ndarray
    boxes: list[Box]

    def maps(self, method: str) -> np.ndarray:
        found = explainer_for(self.classifier, example=self.pixels[:2], method=method)
        return found.explain(self.pixels, self.y).maps


@pytest.fixture(scope="module")
def planted(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object]
) -> Iterator[Planted]:
    """The default backbone's probe, trained on shapes in noise; and where the shapes are."""
    room, random = make_room("planted"), np.random.default_rng(5)
    boxes: dict[str, Box] = {}
    for split, n in (("train", 14), ("val", 4)):
        for shape in ("discs", "stripes"):
            folder = room / "photos" / split / shape
            folder.mkdir(parents=True)
            for i in range(n):
                image, box = plant(shape, random)
                file = folder / f"{shape}-{i}.png"
                image.save(file)
                os.utime(file, (1e9, 1e9))  # the store remembers no file that is newer than itself
                boxes[str(file)] = box
    put_engines(room / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        config = RunConfig(str(room / "photos"), taps=("final",))
        experiment.run(config, out=str(room / "runs"), name="r")
        classifier = load(room / "runs" / "r" / "model")
        built = classifier.built()
        files = sorted((room / "photos" / "val").rglob("*.png"))
        pixels = np.stack([pictures.plain(str(f), built.info.preprocess) for f in files])
        y = np.array([classifier.classes.index(f.parent.name) for f in files])
        known = Planted(room, classifier, files, pixels, y, [boxes[str(f)] for f in files])
        yield known


@pytest.fixture
def own_cache(planted: Planted, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(planted.room / "cache"))
    return planted.room / "cache"


def share_on(heat: np.ndarray, box: Box, crop: float) -> tuple[float, float]:
    """Share of what speaks for the class on the box of the network's picture, and its area."""
    fine = np.asarray(Image.fromarray(np.maximum(heat, 0)).resize((SIDE, SIDE), Image.BILINEAR))
    margin = SIDE * (1 - crop) / 2
    left, top, right, bottom = (int(np.clip((edge - margin) / crop, 0, SIDE)) for edge in box)
    inside = fine[top:bottom, left:right]
    return float(inside.sum() / fine.sum()), inside.size / fine.size


@pytest.mark.parametrize("method", ["cam", "gradcam", "occlusion"])
def test_a_planted_object_is_found(planted: Planted, own_cache: Path, method: str) -> None:
    preprocess = planted.classifier.built().info.preprocess
    crop = preprocess.input_px[0] / preprocess.resize_px
    shares = [
        share_on(heat, box, crop)
        for heat, box in zip(planted.maps(method), planted.boxes, strict=True)
    ]
    more = [found / area for found, area in shares]
    assert np.mean(more) > 2
    assert sum(ratio > 1 for ratio in more) >= len(more) - 1


def test_hiding_and_dividing_the_score_agree(planted: Planted, own_cache: Path) -> None:
    a, b = planted.maps("cam"), planted.maps("occlusion")
    assert a.shape == b.shape == (len(planted.y), 7, 7)
    agreement = [rank_correlation(x, y) for x, y in zip(a, b, strict=True)]
    other = [rank_correlation(x, y) for x, y in zip(a, np.roll(b, 1, axis=0), strict=True)]
    assert np.mean(agreement) > 0.3
    assert np.mean(agreement) > np.mean(other) + 0.1


@pytest.mark.parametrize("method", ["cam", "gradcam", "occlusion"])
def test_maps_depend_on_what_was_learnt(
    planted: Planted, own_cache: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sanity check of Adebayo et al. (2018): with random weights the map is another."""

    def fail(*args: object) -> None:
        raise RuntimeError("PyTorch is fast enough here")

    monkeypatch.setattr(engine_builder, "to_graph", fail)
    random = engines.locate(catalog.resolve("random:tf_efficientnet_lite0"), device="cpu")
    rebuilt = planted.classifier.on(random)
    found = explainer_for(rebuilt, example=planted.pixels[:2], method=method)
    n = 3 if method == "occlusion" else len(planted.y)
    maps = found.explain(planted.pixels[:n], planted.y[:n]).maps
    genuine = planted.maps(method)[:n]
    alike = [rank_correlation(x, y) for x, y in zip(genuine, maps, strict=True)]
    assert np.abs(np.mean(alike)) < 0.35


# -- The story and the command --


def test_the_command_draws_and_tells(
    planted: Planted, own_cache: Path, run_cli: Any, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"GIF89a")
    planted.maps("cam")  # its graph is there
    block = tmp_path / "blocked"
    block.mkdir()
    for name in ("torch", "timm", "torchvision", "sklearn", "matplotlib"):
        (block / f"{name}.py").write_text(f"raise ImportError('{name} is blocked')\n")
    env = {"PYTHONPATH": str(block), "REGRAFT_CACHE": str(own_cache)}
    discs = planted.room / "photos" / "val" / "discs"
    model, bad = planted.classifier.folder, tmp_path / "bad.jpg"
    done = run_cli(
        "explain", model, discs, planted.files[-1], bad,
        "--out", tmp_path / "maps", "--json", "--top", 2, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 4 + 1 + 1
    assert rows[-1]["path"].endswith("bad.jpg")
    assert rows[-1]["error"]
    for row in rows[:-1]:
        with Image.open(tmp_path / "maps" / row["picture"]) as drawn:
            assert drawn.format == "PNG"
            assert drawn.width > 2 * SIDE
        assert row["method"] == "cam"
        assert row["explained"] == row["label"]
        values = np.array(row["map"]["values"])
        assert values.shape == (row["map"]["height"], row["map"]["width"]) == (7, 7)
        assert values.sum() + row["without_place"] == pytest.approx(
            row["evidence"], rel=1e-5, abs=1e-3
        )
        assert row["exact_share"] == 1
        assert 0 <= row["in_middle"] <= 1
        similar = [near["similarity"] for near in row["nearest"]]
        assert similar == sorted(similar, reverse=True)
        assert len(similar) == 2
        assert all(Path(near["path"]).is_file() for near in row["nearest"])
    kept = json.loads((tmp_path / "maps" / "maps.json").read_text())
    assert kept["images"] == rows
    assert (kept["method"], kept["notes"]) == ("cam", [])
    predicted = predicting.predict(planted.classifier, [discs])
    assert [r["probability"] for r in rows[:4]] == pytest.approx(
        predicted.proba.max(1), abs=ONE_ANSWER
    )

    told = run_cli("explain", planted.classifier.folder, planted.files[0], "--label", "stripes",
                   "--top", 0, env=env)  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "for stripes" in told.stdout
    assert "1 picture and maps.json in explained" in told.stdout
    assert (tmp_path / "explained" / f"{planted.files[0].stem}.png").is_file()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--label", "disks"], 2, "near: discs"),
        (["--method", "lime"], 2, "lime"),
        (["--out", "file.txt/maps"], 2, "cannot be created"),
        ([], 3, "not read"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    planted: Planted, own_cache: Path, run_cli: Any, tmp_path: Path, args: list[str], code: int,
    says: str,
) -> None:  # fmt: skip
    (tmp_path / "bad.jpg").write_bytes(b"GIF89a")
    (tmp_path / "file.txt").write_text("")
    image = tmp_path / "bad.jpg" if code == 3 else planted.files[0]
    env = {"REGRAFT_CACHE": str(own_cache)}
    done = run_cli("explain", planted.classifier.folder, image, *args, env=env)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.jpg", "file.txt"], "nothing is left"


def test_equal_names_get_pictures_of_their_own(
    planted: Planted, own_cache: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(planted.files[0], tmp_path / folder / "Same.png")
    shutil.copy(planted.files[1], tmp_path / "b" / "same.png.png")
    found = explaining.explain(
        planted.classifier.folder, [tmp_path / "a", tmp_path / "b"], out=tmp_path / "maps"
    )
    names = [image["picture"] for image in found.images]
    assert len(set(map(str.casefold, names))) == 3
    assert {p.name for p in (tmp_path / "maps").iterdir()} == {*names, "maps.json"}


def test_maps_of_an_earlier_call_go_and_other_files_stay(
    planted: Planted, own_cache: Path, tmp_path: Path
) -> None:
    folder = planted.classifier.folder
    (tmp_path / "notes.txt").write_text("mine")
    first = explaining.explain(folder, planted.files[:2], out=tmp_path)
    second = explaining.explain(folder, planted.files[1:2], out=tmp_path)
    assert first.images[0]["picture"] != second.images[0]["picture"]
    kept = {second.images[0]["picture"], "maps.json", "notes.txt"}
    assert {p.name for p in tmp_path.iterdir()} == kept


def test_a_map_is_not_drawn_over_a_photograph(
    planted: Planted, own_cache: Path, tmp_path: Path
) -> None:
    photo = Path(shutil.copy(planted.files[0], tmp_path / "leaf.png"))
    before = photo.read_bytes()
    with pytest.raises(UsageError, match=r"'leaf\.png' is in .* and is no map"):
        explaining.explain(planted.classifier.folder, [photo], out=tmp_path)
    assert photo.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["leaf.png"]


def test_more_images_than_are_drawn_at_once_stay_in_order(
    planted: Planted, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explanations, "CHUNK", 3)
    folder = planted.room / "photos" / "val"
    done: list[int] = []
    listener = Listener(progress=lambda stage, n, total: done.append(n))
    found = explaining.explain(planted.classifier.folder, [folder], out=tmp_path, listener=listener)
    assert [Path(i["path"]).name for i in found.images] == [
        Path(p).name for p in predicting.predict(planted.classifier, [folder]).paths
    ]
    assert done[-3:] == [0, 3, 6]
    values = {Path(i["path"]).name: i["map"]["values"] for i in found.images}
    whole = dict(zip((f.name for f in planted.files), planted.maps("cam"), strict=True))
    for name, heat in whole.items():
        np.testing.assert_allclose(values[name], heat, rtol=1e-3, atol=1e-4)


def test_the_middle_is_measured_cell_by_cell() -> None:
    heat = np.zeros((10, 10))
    heat[2:8, 2:8] = 1
    assert explanations.middle_share(heat) == pytest.approx(1)
    heat[0, 0] = 36
    assert explanations.middle_share(heat) == pytest.approx(0.5)
    heat[0, 0] = -36
    assert explanations.middle_share(heat) == pytest.approx(1), "what speaks against is no heat"
    assert explanations.middle_share(-np.ones((3, 3))) is None


def test_dots_of_a_fine_map_become_readable_and_are_called_what_they_are() -> None:
    """A head on an early stage: every channel has its maximum at one of three points."""
    random = np.random.default_rng(0)
    values = random.random((2, 56 * 56, 12)).astype(np.float32)
    values[0, [0, 5, 3135], :] += 9
    values[1] += random.random((56 * 56, 1)) * 0
    maps = {"early": values, "final": values[:, :4]}
    representation = Representation.fit(pooled(maps, "mean"), ("early",), taps_of(maps))
    weight = np.zeros((2, 24), np.float32)
    weight[0, 12:] = 1
    head = LinearHead(weight, np.zeros(2, np.float32))
    heat = decompose(
        {"early": PositionMap(values, (56, 56))}, representation, head, np.array([0, 0]),
        final_pooling="",
    )  # fmt: skip
    assert heat.spread is not None
    assert heat.says_little[0]
    hot = heat.maps[0] > heat.maps[0].max() / 10
    assert hot.mean() > 0.01, "a blob, not a dot"
    np.testing.assert_allclose(
        heat.maps.sum((1, 2)) + heat.constant,
        evidence_of(
            SimpleNamespace(head=head, representation=representation),
            pooled(maps, "mean"), np.array([0, 0]),
        ),
        rtol=2e-5, atol=2e-5,
    )  # fmt: skip


def test_one_place_of_the_last_map_is_enough() -> None:
    one = np.eye(1, 49, 10).reshape(1, 7, 7).astype(np.float32)
    fine = np.eye(1, 784, 10).reshape(1, 28, 28).astype(np.float32)
    assert not Heat(one).says_little[0]
    assert Heat(fine).says_little[0]
    assert explanations._numbers(Heat(fine), 0)["says_little"] is True
    assert explanations._numbers(Heat(one), 0)["in_middle_if_even"] == 0.36
    image = {"label": "ant", "probability": 0.9, "explained": "ant", "method": "cam"}
    assert "says little" in explanations._caption({**image, "says_little": True})
    assert "says little" not in explanations._caption({**image, "says_little": False})


def test_heat_is_json_whatever_is_missing() -> None:
    told = explanations._numbers(Heat(-np.ones((1, 2, 2), np.float32)), 0)
    assert told["in_middle"] is None
    assert "evidence" not in told
    assert json.loads(json.dumps(told, allow_nan=False)) == told


# -- The nearest images of train --


def test_the_nearest_are_those_of_all_of_train(planted: Planted, own_cache: Path) -> None:
    built = planted.classifier.built()
    with Store.open(decoder=DECODER_VERSION) as store:
        from regraft.data.sources import read_table

        photos = extract.run(read_table(str(planted.room / "photos")), built, store)
        train = photos.table.splits == "train"
        found = nearest.find(
            planted.classifier, photos.X, photos.digests, store,
            info=photos.info, k=3,
        )  # fmt: skip
    assert (found.n_known, found.n_learnt_from, found.note) == (28, 28, "")
    Z = planted.classifier.representation(photos.X)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    similar = Z @ Z.T
    np.fill_diagonal(similar, -2)
    similar[:, ~train] = -2
    for row, neighbours in enumerate(found.neighbours):
        order = np.argsort(-similar[row])[:3]
        assert [n.path for n in neighbours] == [photos.table.paths[i] for i in order]
        np.testing.assert_allclose(
            [n.similarity for n in neighbours], similar[row, order], atol=1e-5
        )


def test_what_the_store_lost_is_said(planted: Planted, own_cache: Path, tmp_path: Path) -> None:
    X = np.zeros((1, planted.classifier.info.n_features), np.float32)
    ask = {"info": planted.classifier.info, "k": 3}
    with Store.open(tmp_path / "empty") as store:
        found = nearest.find(planted.classifier, X, [bytes(32)], store, **ask)
    assert found.neighbours == [[]]
    assert "0 of the 28" in found.note
    silent = replace(planted.classifier, card={})
    with Store.open(tmp_path / "empty") as store:
        assert "does not say" in nearest.find(silent, X, [bytes(32)], store, **ask).note


def test_an_image_that_is_gone_gives_way_to_the_next(
    planted: Planted, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = planted.classifier.built()
    X = built.start().run(planted.pixels[:1])
    ask = {"info": built.info, "k": 2}
    with Store.open(decoder=DECODER_VERSION) as store:
        first, second = nearest.find(planted.classifier, X, [b""], store, **ask).neighbours[0]
        genuine = nearest.os.path.exists
        monkeypatch.setattr(nearest.os.path, "exists", lambda p: p != first.path and genuine(p))
        left = nearest.find(planted.classifier, X, [b""], store, **ask).neighbours[0]
    assert left[0] == second
    assert len(left) == 2


def test_the_nearest_are_named_in_the_models_own_data(tmp_path: Path) -> None:
    """Of data that are a copy the store knows each picture by both folders, also just after."""
    places = []
    with Store.open(tmp_path / "store", decoder=DECODER_VERSION) as store:
        for place in ("first", "copy"):
            file = tmp_path / place / "ants" / "1.jpg"
            file.parent.mkdir(parents=True)
            file.write_bytes(b"one")
            store.remember_files([(str(file), file.stat(), b"d" * 32)])
            places.append(str(file))
        paths = store.paths_of([b"d" * 32])[b"d" * 32]
    assert nearest._best_path(paths, str(tmp_path / "copy")) == places[1]
    assert nearest._best_path(paths, str(tmp_path / "first")) == places[0]
