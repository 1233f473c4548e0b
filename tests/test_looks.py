"""Several networks side by side, and pictures looked at twice: one picture still has one answer,
and nothing is computed again."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import ONE_ANSWER, PROBABILITY, draw_photo
from regraft.backbones import catalog
from regraft.backbones.side_by_side import digest_of, resolve
from regraft.data.sources import read_table
from regraft.data.table import ImageTable
from regraft.errors import ArtefactError, BackboneError, ConfigError, UsageError
from regraft.estimator import ImageClassifier
from regraft.explain.base import against_others, stacked
from regraft.explain.decomposition import PositionMap, decompose
from regraft.explain.explainer import explainer_for
from regraft.explain.in_memory import explain_images
from regraft.features import engines, extract, side_by_side
from regraft.features.engine import Tap
from regraft.features.extraction import Extraction
from regraft.features.mirrored import Mirrored
from regraft.features.store import Store
from regraft.images import DECODER_VERSION, pictures
from regraft.model import config_file, load, predicting, scoring
from regraft.model.exporting import Exported
from regraft.probe.choice import candidate_taps
from regraft.probe.classifier import Classifier
from regraft.probe.linear_head import LinearHead
from regraft.probe.network import Network
from regraft.probe.representation import Representation
from regraft.probe.sets_of_taps import of_each
from regraft.probe.source_classifier import (
    SourceClassifier,
    SourceClassifiers,
    source_classifiers,
)
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment
from regraft.workflows.experiment import Result

pytestmark = [pytest.mark.numerics, pytest.mark.usefixtures("one_core")]

# Small, quickly built, and unlike the default in every stage, size and crop.
OTHER = "random:resnet10t"
BOTH = f"default+{OTHER}"
WAYS = {"beside": (BOTH, "plain"), "flip": ("default", "flip"), "beside flip": (BOTH, "flip")}
Write = Callable[..., Path]


@dataclass(frozen=True)
class House:
    room: Path
    results: dict[str, Result]

    @property
    def val(self) -> list[str]:
        table = self.results["flip"].prepared.table
        return [str(path) for path in table.paths[table.splits == "val"]]

    def model(self, way: str) -> Path:
        return self.results[way].folder / "model"

    def proba(self, way: str) -> np.ndarray:
        return self.results[way].proba


@pytest.fixture(scope="module")
def house(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> House:
    room = make_room("looks")
    make_photos(room / "photos", splits={"train": 6, "val": 3}, size_px=80)
    for path in (room / "photos").rglob("*.jpg"):
        os.utime(path, ns=(10**18, 10**18))
    put_engines(room / "cache")
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        for way, (backbone, look) in WAYS.items():
            config = RunConfig(str(room / "photos"), backbone=backbone, look=look)
            results[way] = experiment.run(config, out=str(room / "runs"), name=way)
    return House(room, results)


@pytest.fixture
def warm(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("REGRAFT_CACHE", str(house.room / "cache"))
    return house


@pytest.fixture
def cold(house: House, cache: Path) -> House:
    """Engines are built, but no feature is stored."""
    shutil.copytree(house.room / "cache" / "engines", cache / "engines", copy_function=os.link)
    return house


# -- One picture, one answer --


@pytest.mark.parametrize("way", WAYS)
def test_every_door_says_what_the_run_said(warm: House, way: str) -> None:
    wanted = warm.proba(way)
    with open(warm.results[way].folder / "predictions.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    written = [[float(row[f"p({c})"]) for c in ("discs", "squares", "stripes")] for row in rows]
    np.testing.assert_allclose(written, wanted, atol=5.1e-6)
    served = predicting.predict(warm.model(way), warm.val)
    np.testing.assert_allclose(served.proba, wanted, atol=ONE_ANSWER)
    loaded = ImageClassifier.load(warm.model(way))
    assert (loaded.backbone, loaded.look) == WAYS[way]
    np.testing.assert_allclose(loaded.predict_proba(warm.val), wanted, atol=ONE_ANSWER)
    scored = scoring.evaluate_model(warm.model(way), warm.room / "photos").evaluation
    assert scored.accuracy == warm.results[way].evaluation.accuracy
    assert len({tuple(row) for row in wanted.round(9)}) > 1, "all the same answer proves nothing"


@pytest.mark.parametrize("way", WAYS)
def test_alone_in_another_order_and_in_memory(cold: House, way: str) -> None:
    model, wanted = load(cold.model(way)), cold.proba(way)
    backwards = model.predict_proba(cold.val[::-1])[::-1]
    np.testing.assert_allclose(backwards, wanted, atol=ONE_ANSWER)
    for row, path in enumerate(cold.val[:2]):
        content = Path(path).read_bytes()
        for picture in (path, content, io.BytesIO(content), Image.open(path)):
            np.testing.assert_allclose(
                model.predict_proba(picture)[0], wanted[row], atol=ONE_ANSWER
            )
    again = predicting.predict(model, cold.val, uses_store=False)
    np.testing.assert_allclose(again.proba, wanted, atol=ONE_ANSWER)


@pytest.mark.parametrize("way", WAYS)
def test_one_that_cannot_be_read_is_a_row_of_its_own(warm: House, way: str) -> None:
    found = load(warm.model(way)).answer([warm.val[0], b"", warm.val[1]])
    assert found.is_read.tolist() == [True, False, True]
    np.testing.assert_allclose(found.proba[[0, 2]], warm.proba(way)[:2], atol=ONE_ANSWER)


def test_the_estimator_learns_the_same(warm: House) -> None:
    table = warm.results["beside flip"].prepared.table
    train = table.splits == "train"
    fitted = ImageClassifier(backbone=f"{OTHER}+lite0", look="flip").fit(
        table.paths[train], table.labels[train]
    )
    np.testing.assert_allclose(fitted.predict_proba(warm.val), warm.proba("beside flip"), atol=1e-6)
    assert fitted.classifier_.info.name == BOTH


def test_a_model_answers_where_no_engine_was_built(house: House, cache: Path) -> None:
    """Every network is built from the model's own tensors."""
    wanted = house.proba("beside flip")
    precision = house.results["beside flip"].prepared.built.info.precision
    found = load(house.model("beside flip")).predict_proba(house.val)
    np.testing.assert_allclose(found, wanted, atol=PROBABILITY[precision])
    assert len(engines.list_built()) == 2


def test_predicting_imports_no_torch(cold: House, run_python: Callable[..., Any]) -> None:
    program = (
        "import sys; from regraft.model import load, predicting\n"
        f"found = predicting.predict({str(cold.model('beside flip'))!r}, {cold.val[:2]!r})\n"
        "assert len(found.proba) == 2\n"
        "print(sorted({'torch', 'timm', 'sklearn'} & set(sys.modules)))"
    )
    done = run_python("-c", program)
    assert done.stdout.strip() == "[]", done.stderr


# -- The pass and the store --


def test_each_networks_columns_are_those_of_its_own_pass(cold: House, tmp_path: Path) -> None:
    """Also of a JPEG that the networks want decoded at other scales."""
    random = np.random.default_rng(0)
    for name, size in (("a", 700), ("b", 90)):
        draw_photo("discs", random, size_px=size).save(tmp_path / f"{name}.jpg", quality=95)
    table = read_table(str(tmp_path))
    both = side_by_side.locate(resolve(BOTH))
    wanted = [one.info.preprocess.decode_min_side_px for one in both.networks]
    assert len({pictures.jpeg_scale(700, side) for side in wanted}) == 2, "the test tests nothing"
    with Store.nowhere() as store:
        together = extract.run(table, both, store).X
        alone = [extract.run(table, one, store).X for one in both.networks]
    np.testing.assert_array_equal(together, np.concatenate(alone, axis=1))
    shown = [one.info.preprocess for one in both.networks]
    seen = [pictures.plain_for_each(path, shown) for path in table.paths]
    for pixels, path in zip(seen, table.paths, strict=True):
        for own, preprocess in zip(pixels, shown, strict=True):
            np.testing.assert_array_equal(own, pictures.plain(path, preprocess))
    np.testing.assert_array_equal(both.run(seen), together)


def test_a_network_that_is_added_is_all_that_runs(
    cold: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    start = engines.BuiltEngine.start

    def noting(self: engines.BuiltEngine, **options: Any) -> Any:
        started.append(f"{self.info.name} {self.info.look}")
        return start(self, **options)

    monkeypatch.setattr(engines.BuiltEngine, "start", noting)
    table = read_table(str(cold.room / "photos"))

    def seen(backbone: str, look: str = "plain") -> Extraction:
        built = side_by_side.locate(replace(resolve(backbone), look=look))
        return extract.through_store(table, built)

    first = seen("default")
    both = seen(BOTH)
    assert started == ["default plain", f"{OTHER} plain"]
    np.testing.assert_array_equal(both.X[:, : first.X.shape[1]], first.X)
    assert (first.computed, both.computed, both.from_store) == (27, 27, 0)
    again, other = seen(BOTH), seen(OTHER)
    assert (again.from_store, other.from_store) == (27, 27)
    np.testing.assert_array_equal(again.X, both.X)
    np.testing.assert_array_equal(other.X, both.X[:, first.X.shape[1] :])
    seen("default", "flip")
    assert started[2:] == ["default flip"]
    with Store.open(decoder=DECODER_VERSION) as store:
        recipes = [stored.recipe or {} for stored in store.recipes()]
    assert [recipe["view"] for recipe in recipes] == [
        "centre", "centre", "centre and its mirror image",
    ]  # fmt: skip


def test_a_copy_in_the_same_pass_is_seen_once(cold: House, tmp_path: Path) -> None:
    draw_photo("discs", np.random.default_rng(0)).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    with Store.nowhere() as store:
        found = extract.run(read_table(str(tmp_path)), side_by_side.locate(resolve(BOTH)), store)
    assert (found.computed, len(found.table), len(found.table.rejected)) == (1, 2, 1)
    np.testing.assert_array_equal(found.X[0], found.X[1])


def test_a_picture_and_its_mirror_image_are_one(cold: House) -> None:
    built = engines.locate(replace(catalog.resolve("default"), look="flip"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    turned = np.ascontiguousarray(pixels[:, :, ::-1])
    flip, plain = built.engine(), engines.locate(catalog.resolve("default")).engine()
    assert isinstance(flip, Mirrored)
    np.testing.assert_array_equal(flip.run(pixels), flip.run(turned))
    np.testing.assert_allclose(
        flip.run(pixels), (plain.run(pixels) + plain.run(turned)) / 2, rtol=1e-6
    )
    assert np.abs(plain.run(pixels) - plain.run(turned)).max() > 0.01, "it would be nothing else"


def test_a_mirrored_file_gets_the_same_answer(warm: House) -> None:
    model = load(warm.model("flip"))
    photo = np.asarray(draw_photo("stripes", np.random.default_rng(5), size_px=256))[:, :256]
    tolerance = PROBABILITY[model.built().info.precision]
    np.testing.assert_allclose(
        model.predict_proba(photo), model.predict_proba(photo[:, ::-1]), atol=tolerance
    )


def test_larger_pictures_go_with_both(cold: House) -> None:
    config = RunConfig(
        str(cold.room / "photos"), backbone=BOTH, look="flip", training={"image_size": 96}
    )
    found = experiment.run(config, out=str(cold.room / "larger"))
    info = load(found.folder).info
    assert info is not None
    assert [one.preprocess.input_px for one in info.networks] == [(96, 96)] * 2
    np.testing.assert_allclose(
        load(found.folder).predict_proba(cold.val), found.proba, atol=ONE_ANSWER
    )


# -- What is said --


def test_metrics_name_every_network(house: House) -> None:
    found = json.loads((house.results["beside flip"].folder / "metrics.json").read_text())
    backbone = found["backbone"]
    assert (backbone["name"], backbone["look"]) == (BOTH, "flip")
    parts = backbone["networks"]
    assert [part["name"] for part in parts] == ["default", OTHER]
    assert backbone["digest"] == digest_of(part["digest"] for part in parts)
    assert all(tap.startswith(("default:", f"{OTHER}:")) for tap in found["chosen"]["taps"])
    names = [point["tap"] for point in found["layers"]]
    assert names[-1] == f"{OTHER}:final"
    assert names.index("default:final") == names.index(f"{OTHER}:layer1") - 1
    alone = json.loads((house.results["flip"].folder / "metrics.json").read_text())["backbone"]
    assert (alone["name"], alone["look"], "networks" in alone) == ("default", "flip", False)


def test_the_page_says_what_the_head_sees(warm: House) -> None:
    from regraft.workflows import reporting

    page = reporting.report_on(warm.results["beside flip"])
    text = Path(page).read_text(encoding="utf-8")
    assert "averaged over each picture and its mirror image" in text
    assert f"of default and {OTHER}" in text or f"of {OTHER}" in text
    assert "networks stood side by side" in text


def test_the_order_of_the_names_does_not_matter() -> None:
    assert resolve("lite2+default") == resolve("default+lite2")
    assert resolve("lite0 + lite1").name == "default+lite1"
    mixed = resolve("random:resnet34+random:resnet18+lite1")
    assert mixed.name == "lite1+random:resnet18+random:resnet34"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("default+default", "named twice"),
        ("default+lite0", "named twice"),
        ("default+lite3", "no backbone is called 'lite3'; near: lite"),
        ("defalt+lite2", "'defalt'; near: default"),
        ("default+", "missing before or after a plus"),
        ("+", "missing before or after a plus"),
        ("default+local-dir:nowhere", "holds no config.json"),
    ],
)
def test_a_bad_name_in_either_part_is_refused(name: str, words: str) -> None:
    with pytest.raises(BackboneError) as caught:
        resolve(name)
    assert words in str(caught.value)
    assert name in caught.value.place
    assert caught.value.cure


def test_one_file_of_weights_is_not_for_several(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="--weights gives the tensors of one network, 2"):
        resolve("default+lite2", weights=tmp_path / "w.safetensors")


def test_two_names_of_the_same_weights_are_refused(cold: House, tmp_path: Path) -> None:
    """What only the weights tell: a folder that holds the default's."""
    folder = cold.model("flip")
    with pytest.raises(BackboneError, match="are the same network: their weights are equal"):
        side_by_side.locate(resolve(f"default+local-dir:{folder}"))


def test_a_folder_may_have_a_plus_in_its_name(house: House, tmp_path: Path) -> None:
    folder = shutil.copytree(house.model("flip"), tmp_path / "a+b")
    assert resolve(f"local-dir:{folder}").kind == "local-dir"


def test_where_one_network_is_meant_several_are_refused(house: House) -> None:
    with pytest.raises(BackboneError, match="names 2 networks; here it must be one"):
        catalog.resolve("default+lite2")
    with pytest.raises(BackboneError, match="stands on several networks") as caught:
        catalog.resolve(f"local-dir:{house.model('beside')}")
    assert BOTH in caught.value.cure
    built = house.results["beside"].prepared.built
    for ask in (built.engine, lambda: built.weights_path):
        with pytest.raises(BackboneError, match="is several networks and has no one"):
            ask()


@pytest.mark.parametrize("method", ["head", "partial", "full", "scratch"])
def test_what_learns_by_gradients_refuses_both_before_any_pass(method: str) -> None:
    with pytest.raises(ConfigError, match=r"learns on one network.*names 2") as caught:
        RunConfig("nowhere", method=method, backbone="default+lite2")
    assert "--method probe" in caught.value.cure
    with pytest.raises(ConfigError, match="does not use --look flip") as caught:
        RunConfig("nowhere", method=method, look="flip")
    assert "--method probe" in caught.value.cure


def test_a_look_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="no look is called 'flipp'") as caught:
        RunConfig("nowhere", look="flipp")
    assert "did you mean 'flip'?" in caught.value.cure


def test_a_tap_without_its_network_is_that_of_each(warm: House) -> None:
    network = Network(warm.results["beside"].prepared.built.info.taps)
    assert network.meant(["final"]) == ("default:final", f"{OTHER}:final")
    assert network.meant(["layer1", "default:final"]) == (f"{OTHER}:layer1", "default:final")
    config = RunConfig(str(warm.room / "photos"), backbone=BOTH, taps=["finale"])
    with pytest.raises(ConfigError, match="no tap is called 'finale'"):
        experiment.run(config, out=str(warm.room / "refused"))


def test_sets_of_taps_are_those_of_each_network_joined() -> None:
    own = [Tap(name, 0, 1) for name in ("s0", "s1", "s2", "s3", "final")]
    other = [Tap(name, 0, 1) for name in ("t0", "t1", "final")]
    both = [Tap(f"a:{t.name}", 0, 1) for t in own] + [Tap(f"b:{t.name}", 0, 1) for t in other]
    one = SourceClassifier(np.ones((2, 1), np.float32), np.ones(2, np.float32))
    network = Network(tuple(both), SourceClassifiers({"a:source": one}))
    found = of_each(network, candidate_taps)
    assert found[0] == ("a:final", "b:final")
    assert ("a:final", "a:source", "b:final") in found
    assert {f"a:{t.name}" for t in own} <= {taps[0] for taps in found if len(taps) == 1}
    assert all(tap in network.names for taps in found for tap in taps)
    alone = Network(tuple(own), one)
    assert of_each(alone, candidate_taps) == candidate_taps(tuple(own), True)


# -- At rest --


def test_only_what_needs_it_has_the_newer_format(
    house: House, train_in: Any, tmp_path: Path
) -> None:
    def format_of(folder: Path) -> int:
        return int(json.loads((folder / "config.json").read_text())["regraft"]["format"])

    assert {format_of(house.model(way)) for way in WAYS} == {2}
    plain = train_in(tmp_path / "plain", splits={"train": 3, "val": 1})
    assert format_of(plain / "runs" / "r" / "model") == 1


@pytest.mark.parametrize(
    ("way", "words"), [("beside", "2 networks side by side"), ("flip", "their mirror images")]
)
def test_timms_door_is_shut_and_says_why(house: House, way: str, words: str) -> None:
    config = json.loads((house.model(way) / "config.json").read_text())
    assert config["architecture"].startswith("none that timm could open")
    assert words in config["regraft"]["timm_reason"]


def _changed(model: Path, folder: Path, change: Callable[[Any], Any]) -> Path:
    copy = shutil.copytree(model, folder)
    config = json.loads((copy / "config.json").read_text())
    change(config["regraft"])
    (copy / "config.json").write_text(config_file.to_text(config))
    return copy


def _swap(ours: Any) -> None:
    ours["networks"].reverse()


def _other_digest(ours: Any) -> None:
    ours["networks"][0]["backbone"]["digest"] = "0" * 64


def _other_look(ours: Any) -> None:
    ours["networks"][1]["backbone"]["look"] = "plain"


def _no_final(ours: Any) -> None:
    ours["networks"][1]["widths"].pop()
    ours["widths"].pop()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_swap, "the networks make it"),
        (_other_digest, "the networks make it"),
        (_other_look, "the networks make it"),
        (_no_final, "'final' must be the last stage"),
        (lambda ours: ours["networks"][0].pop("widths"), "widths"),
        (lambda ours: ours["networks"][0]["backbone"].update(look="both"), "look"),
    ],
)
def test_networks_that_do_not_fit_are_refused(
    house: House, tmp_path: Path, change: Callable[[Any], Any], words: str
) -> None:
    with pytest.raises(ArtefactError) as caught:
        load(_changed(house.model("beside flip"), tmp_path / "model", change))
    assert words in str(caught.value)


def test_a_tensor_that_was_changed_is_refused(house: House, tmp_path: Path) -> None:
    model = shutil.copytree(house.model("beside"), tmp_path / "model")
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"model.safetensors was changed"):
        load(model)


def test_a_saved_model_is_saved_again_as_it_is(warm: House, tmp_path: Path) -> None:
    from regraft.model import save

    for way in WAYS:
        save(load(warm.model(way)), tmp_path / way)
        for name in ("model.safetensors", "regraft.safetensors"):
            assert (tmp_path / way / name).read_bytes() == (warm.model(way) / name).read_bytes()


# -- Where it looks --


@pytest.mark.parametrize("way", WAYS)
def test_heat_and_constant_are_the_evidence(warm: House, way: str) -> None:
    """The maps of all networks and of the mirror image, added up, are the head's own score."""
    model = load(warm.model(way))
    built = model.built()
    shown = [one.info.preprocess for one in built.networks]
    seen = [pictures.plain_for_each(path, shown) for path in warm.val]
    y = warm.proba(way).argmax(axis=1)
    cam = explainer_for(model, example=stacked(seen[:3]), method="cam")
    heat = cam.explain(stacked(seen), y)
    scores = model.head.scores(model.representation(built.run(seen))).astype(np.float64)
    wanted = np.diagonal(against_others(scores.T, y))
    assert heat.constant is not None
    tolerance = 2e-3 if built.info.precision == "fp32" else 0.1
    np.testing.assert_allclose(
        heat.maps.sum((1, 2)) + heat.constant, wanted, atol=tolerance * np.abs(wanted).max()
    )
    if built.info.parts:
        assert "the maps of 2 networks are added" in cam.why


def test_gradients_are_of_one_network_and_hiding_of_any(warm: House) -> None:
    for way, words in (("beside", "2 networks side by side"), ("flip", "the look 'flip'")):
        model = load(warm.model(way))
        with pytest.raises(UsageError, match=words):
            explain_images(model, warm.val[0], method="gradcam")
        found = explain_images(warm.model(way), warm.val[:1], method="occlusion")  # its folder too
        assert found.maps.shape == (1, 7, 7)
        assert np.abs(found.maps).max() > 0


def test_a_mirror_map_worked_by_hand() -> None:
    """Half of a maximum is where the picture has it, half where its mirror image has it."""
    values = np.array([[[4.0], [0.0]]], np.float32)
    mirror = np.array([[[1.0], [2.0]]], np.float32)
    taps = (Tap("early", 0, 2), Tap("final", 2, 3))
    pooled = np.array([[(2 + 1.5) / 2, (4 + 2) / 2, 1.0]], np.float32)
    representation = Representation(
        ("early",),
        Representation.fit(np.eye(3, dtype=np.float32), ("early",), taps).blocks,
        np.zeros(2),
        np.ones(2),
    )
    head = LinearHead(np.array([[0, 1], [0, 0]], np.float32), np.zeros(2, np.float32))
    stage = PositionMap(values, (1, 2), mirror)
    np.testing.assert_allclose(stage.rows(pooling="max"), [[3.0]])
    heat = decompose({"early": stage}, representation, head, np.array([0]), final_pooling="mean")
    # The block of maxima is 3 / |3|: 4 of 6 parts at the left, 2 of 6 at the right.
    np.testing.assert_allclose(heat.maps[0, 0], [4 / 6, 2 / 6], atol=1e-6)
    scores = head.scores(representation(pooled))
    np.testing.assert_allclose(heat.maps.sum(), scores[0, 0] - scores[0, 1], atol=1e-6)


# -- Other doors --


SIZES = {
    "beside": "uint8 (N, 224, 224, 3) and (N, 176, 176, 3)",
    "flip": "uint8 (N, 224, 224, 3)",
    "beside flip": "uint8 (N, 224, 224, 3) and (N, 176, 176, 3)",
}


def exported(model: Classifier, house: House, folder: Path, to: str) -> Exported:
    """Compared on the nine of val."""
    return model.export(folder / "model", to=to, data=house.room / "photos" / "val")


@pytest.mark.parametrize("to", ["openvino", "onnx"])
@pytest.mark.parametrize("way", WAYS)
def test_an_exported_model_has_all_networks_and_looks(
    warm: House, way: str, to: str, tmp_path: Path
) -> None:
    found = exported(load(warm.model(way)), warm, tmp_path, to)
    assert (found.compared["flips"], found.compared["from_file"]["flips"]) == (0, 0)
    assert found.compared["max_difference"] <= 1e-5
    assert found.input == SIZES[way]
    said = json.loads((found.folder / "model.json").read_text(encoding="utf-8"))
    scripts = {one["made_by"] for one in said["inputs"]}
    assert scripts == {f for f in found.files if f.startswith("preprocess")}
    assert len(said["networks"]) == len(load(warm.model(way)).built().networks)
    if way == "beside flip":  # the others' lines are fewer
        require_that_the_readme_runs(found.folder)


def test_the_pictures_of_its_run_are_what_it_is_compared_on(warm: House, tmp_path: Path) -> None:
    found = load(warm.model("beside flip")).export(tmp_path / "out", to="openvino")
    assert (found.compared["images"], found.compared["flips"]) == (27, 0)


@pytest.mark.parametrize("to", ["openvino", "torch"])
def test_every_kind_of_tap_of_several_networks_is_exported(
    warm: House, to: str, tmp_path: Path
) -> None:
    found = exported(several_of(warm), warm, tmp_path, to)
    assert found.compared["max_difference"] <= 1e-5
    if to == "torch":
        require_that_the_readme_runs(found.folder)


def require_that_the_readme_runs(folder: Path) -> None:
    """Its ten lines, without Regraft, print the answer that stands beside the golden image."""
    program = (folder / "README.md").read_text(encoding="utf-8")
    program = program.split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['regraft'] = None\n" + program],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads((folder / "golden" / "answers.json").read_text("utf-8"))
    label, probability = done.stdout.splitlines()[0].split()
    assert label == answers[0]["label"]
    assert abs(float(probability) - max(answers[0]["probabilities"])) <= 1e-5


@pytest.fixture
def several(warm: House) -> Classifier:
    return several_of(warm)


def several_of(house: House) -> Classifier:
    """Stages, final features and source classes of two networks, in a model of both looks."""
    model = load(house.model("beside flip"))
    built = model.built()
    X = built.run([pictures.plain_for_each(p, preprocesses_of(built)) for p in house.val])
    source = source_classifiers(built)
    taps = ("default:blocks.4", "default:source", f"{OTHER}:layer3", f"{OTHER}:final")
    representation = Representation.fit(X, taps, built.info.taps, source=source)
    shape = len(model.classes), len(representation.centre)
    # Small: what nobody taught would magnify how Pillow's pixels differ from the pass's.
    weight = 0.05 * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    head = LinearHead(weight.astype(np.float32), np.zeros(shape[0], np.float32))
    return replace(model, representation=representation, head=head, unknown=None)


def preprocesses_of(built: Any) -> list[Any]:
    return [one.info.preprocess for one in built.networks]


def forget_the_mirror(module: Any) -> None:
    for one in module.networks:
        one.look = "plain"


def forget_the_mirror_of_one(module: Any) -> None:
    module.networks[1].look = "plain"


def exchange_the_outputs(module: Any) -> None:
    """The second network's stage in place of its neighbour."""
    inner = module.networks[1].forward
    module.networks[1].forward = lambda pixels: {
        name: tuple(part.roll(1, 1) for part in parts) for name, parts in inner(pixels).items()
    }


@pytest.mark.parametrize(
    "fault", [forget_the_mirror, forget_the_mirror_of_one, exchange_the_outputs]
)
def test_a_fault_in_one_of_several_is_refused(
    fault: Callable[[Any], None], several: Classifier, warm: House, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from regraft.model import export_network

    genuine = export_network.whole

    def spoilt(*args: Any) -> Any:
        module = genuine(*args)
        fault(module)
        return module

    monkeypatch.setattr(export_network, "whole", spoilt)
    with pytest.raises(ArtefactError, match="answers otherwise than the model"):
        several.export(tmp_path / "out", to="onnx", data=warm.room / "photos" / "val")
    assert list(tmp_path.iterdir()) == []


def test_a_fault_in_the_second_script_is_refused(
    warm: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.model import export_preprocess

    genuine = export_preprocess.text

    def spoilt(preprocess: Any) -> str:
        text = genuine(preprocess)
        moved = "round((n_whole - n_out) / 2) + 4"
        is_first = preprocess.input_px == (224, 224)
        return text if is_first else text.replace("round((n_whole - n_out) / 2)", moved)

    monkeypatch.setattr(export_preprocess, "text", spoilt)
    with pytest.raises(ArtefactError, match="other pixels than the model was taught on"):
        load(warm.model("beside")).export(
            tmp_path / "out", to="openvino", data=warm.room / "photos" / "val"
        )
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_a_network_without_topology_is_refused(warm: House, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the engine of resnet10t is built with PyTorch"):
        load(warm.model("beside")).export(tmp_path / "out", to="docker")


def test_a_server_shows_where_it_looks(warm: House) -> None:
    from regraft.server.heat import HeatMaps

    model = load(warm.model("beside flip"))
    png, how = HeatMaps(model).png(Path(warm.val[0]).read_bytes(), 0)
    assert (Image.open(io.BytesIO(png)).size, how) == ((224, 224), "cam")


def test_a_worker_sees_what_the_threads_see(warm: House) -> None:
    """Ways to look at one picture with one network must not be taken for each other."""
    from regraft.features.runners.work import Job

    paths = warm.val[:2]
    for way in WAYS:
        built = side_by_side.locate(warm.results[way].prepared.built.source)
        with Store.nowhere() as store:
            wanted = extract.run(ImageTable.from_paths(paths), built, store).X
        np.testing.assert_array_equal(Job(built, 1).do(paths).X, wanted)


def test_parts_of_several_networks_are_whole_rows(cold: House, tmp_path: Path) -> None:
    from regraft.features.elsewhere import Elsewhere
    from regraft.features.shard import Shard
    from regraft.workflows import sharding

    config = RunConfig(str(cold.room / "photos"), backbone=BOTH, look="flip")
    sharding.make_part(config, Shard(1, 1), tmp_path / "parts")
    found = experiment.run(
        config, out=str(tmp_path / "runs"), elsewhere=Elsewhere(parts=str(tmp_path / "parts"))
    )
    np.testing.assert_allclose(found.proba, cold.proba("beside flip"), atol=ONE_ANSWER)
    assert found.metrics["features"]["computed"] == 0
