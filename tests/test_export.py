"""A model written for another runtime answers there as here, or is not written.

Ten faults are planted on purpose; each must be refused with nothing left behind.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft.backbones import catalog
from regraft.errors import ArtefactError, TableError, UsageError
from regraft.evaluation import conformal
from regraft.features import engines
from regraft.features.engine import run_on_cores
from regraft.images import pictures
from regraft.images.geometry import Preprocess
from regraft.model import (
    export_comparison,
    export_folder,
    export_preprocess,
    export_targets,
    exporting,
)
from regraft.model.export_reference import RealPictures, Reference
from regraft.model.export_runtimes import Runner, start
from regraft.probe.classifier import Classifier
from regraft.probe.mlp_head import MLPHead
from regraft.probe.neighbours import NeighbourHead
from regraft.probe.representation import Representation
from regraft.workflows import exporting as workflow
from regraft.workflows.exporting import export_model

pytestmark = [pytest.mark.numerics, pytest.mark.usefixtures("one_core")]

Write = Callable[..., Path]
OTHERWISE = "answers otherwise than the model"


@pytest.fixture(scope="module")
def trained(make_room: Callable[[str], Path], train_in: Write) -> Path:
    """A room with ``photos``, ``cache`` and ``runs/r/model``; nothing is written into it."""
    return train_in(make_room("trained"), splits={"train": 8, "val": 4})


@pytest.fixture
def model(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(trained / "cache"))
    return trained / "runs" / "r" / "model"


@pytest.fixture
def classifier(model: Path) -> Classifier:
    return regraft.load(model)


@pytest.fixture
def real(trained: Path) -> RealPictures:
    paths = sorted(map(str, (trained / "photos" / "val").rglob("*.jpg")))
    return RealPictures(paths, paths, [Path(path).parent.name for path in paths], "photos")


@pytest.fixture(scope="module")
def exported(trained: Path, make_room: Callable[[str], Path]) -> Path:
    """The model for OpenVINO, which needs no PyTorch; nothing is written into it."""
    out = make_room("exported") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(trained / "cache"))
        export_model(trained / "runs" / "r", out, to="openvino")
    return out


# -- What is written --


def test_it_answers_as_the_model_from_tensor_and_from_file(exported: Path, real: Any) -> None:
    said = json.loads((exported / "model.json").read_text(encoding="utf-8"))
    compared = said["compared"]
    assert compared["images"] == 36, "all there are: reported images, then the others"
    assert compared["flips"] == compared["from_file"]["flips"] == 0
    assert compared["max_difference"] <= 1e-4
    assert compared["from_file"]["grey_levels"] < 0.5
    assert said["input"]["shape"] == ["N", 224, 224, 3]
    assert [output["name"] for output in said["outputs"]] == [
        "probabilities",
        "features",
        "oddness",
    ]


def test_beside_it_lies_what_others_need(exported: Path, classifier: Classifier) -> None:
    names = json.loads((exported / "labels.json").read_text(encoding="utf-8"))
    assert names == list(classifier.classes)
    said = json.loads((exported / "model.json").read_text(encoding="utf-8"))
    assert classifier.info is not None
    assert said["backbone"]["licence"] == "apache-2.0"
    assert said["backbone"]["digest"] == classifier.info.weights_digest
    assert said["geometry"] == classifier.info.preprocess.to_dict()
    assert set(said["score"]["accuracy"]) == {"value", "low", "high", "level"}
    files = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert set(said["files"]) == files - {"model.json"}
    assert str(exported) not in (exported / "model.json").read_text(encoding="utf-8")


def test_the_golden_images_make_their_tensors_and_these_their_answers(exported: Path) -> None:
    golden = exported / "golden"
    answers = json.loads((golden / "answers.json").read_text(encoding="utf-8"))
    tensors = np.load(golden / "tensors.npy")
    assert (len(answers), tensors.shape) == (8, (8, 224, 224, 3))
    preprocess = export_folder.preprocess_in(exported)
    for answer, tensor in zip(answers, tensors, strict=True):
        np.testing.assert_array_equal(preprocess(golden / answer["file"]), tensor)
        data = (golden / answer["file"]).read_bytes()
        np.testing.assert_array_equal(preprocess(data), tensor)
    found = start(exported / "model.xml")(tensors)
    wanted = np.array([answer["probabilities"] for answer in answers])
    np.testing.assert_allclose(found.probabilities, wanted, atol=1e-5)
    np.testing.assert_allclose(found.features, np.load(golden / "features.npy"), atol=1e-4)
    names = json.loads((exported / "labels.json").read_text(encoding="utf-8"))
    assert [a["label"] for a in answers] == [names[int(p.argmax())] for p in wanted]


def lines_of(readme: Path, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_ten_lines_of_the_readme_run_without_regraft(exported: Path) -> None:
    program = lines_of(exported / "README.md", "python")
    blocked = "import sys; sys.modules['regraft'] = sys.modules['torch'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + program],
        cwd=exported, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = json.loads((exported / "labels.json").read_text(encoding="utf-8"))
    assert [line.split()[0] in names for line in done.stdout.splitlines()] == [True] * 3


def test_onnx_by_the_command_line_with_names_in_the_file(
    trained: Path, model: Path, tmp_path: Path, run_cli: Any
) -> None:
    env = {"REGRAFT_CACHE": str(trained / "cache")}
    arguments = ("--to", "onnx", "--out", tmp_path / "out", "--json")
    done = run_cli("export", model, *arguments, env=env)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["compared"]["flips"] == 0
    assert said["compared"]["runtime"].startswith("onnxruntime ")
    assert said["input"] == "uint8 (N, 224, 224, 3)"
    assert said["outputs"] == ["probabilities", "features", "oddness"]
    assert "model.onnx" in said["files"]
    assert "only 36 images" in done.stderr
    onnx = pytest.importorskip("onnx")
    kept = {p.key: p.value for p in onnx.load(tmp_path / "out" / "model.onnx").metadata_props}
    assert json.loads(kept["names"]) == list(regraft.load(model).classes)


def test_an_earlier_export_is_replaced_and_nothing_else(
    classifier: Classifier, real: RealPictures, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        exporting.export(classifier, out, to="openvino", real=real)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ArtefactError, match=r"more than the export.*'notes.txt'"):
        exporting.export(classifier, out, to="openvino", real=real)
    assert (out / "notes.txt").read_text() == "mine"
    (out / "model.json").write_text("{}")
    with pytest.raises(ArtefactError, match="no export of Regraft"):
        exporting.export(classifier, out, to="openvino", real=real)
    assert (out / "model.xml").is_file()


def test_from_python_on_images_that_are_named(
    classifier: Classifier, trained: Path, tmp_path: Path
) -> None:
    found = classifier.export(tmp_path / "out", to="openvino", data=trained / "photos")
    assert (found.compared["images"], found.compared["flips"]) == (36, 0)
    assert found.folder == (tmp_path / "out").resolve()


# -- Planted faults --


def spoil_weight(module: Any) -> None:
    weight = module.networks[0].network.conv_stem.weight.data
    weight[int(weight.flatten(1).norm(dim=1).argmax())] *= -1


def swap_channels(module: Any) -> None:
    inner = module.networks[0].normalised.forward
    module.networks[0].normalised.forward = lambda pixels: inner(pixels.flip(-1))


def forget_mean(module: Any) -> None:
    module.networks[0].normalised.mean.zero_()


def lose_temperature(module: Any) -> None:
    module.answer.temperature = 1.0


def hear_another_stage(module: Any) -> None:
    """The block before the last of a stage, which is as wide."""
    from regraft.backbones.taps import StageTaps

    (one,) = module.networks
    (name,) = one.stages
    inner = StageTaps(one.network, {f"{name}.1"})
    one.taps.take = lambda asked: inner.take(f"{asked}.1")


def transpose_head(module: Any) -> None:
    (layer,) = module.answer.layers
    layer.weight.data = layer.weight.data.T.reshape(layer.weight.shape).contiguous()


IN_THE_GRAPH = {
    "a weight changed": spoil_weight,
    "channels swapped": swap_channels,
    "no mean": forget_mean,
    "temperature lost": lose_temperature,
    "another stage": hear_another_stage,
    "head transposed": transpose_head,
}


@pytest.fixture
def staged(classifier: Classifier, real: RealPictures) -> Classifier:
    """On a stage and the final features, at a temperature that is not 1."""
    built = classifier.built()
    pixels = np.stack([pictures.plain(path, built.info.preprocess) for path in real.paths])
    X = built.engine().run(pixels)
    representation = Representation.fit(X, ("blocks.4", "final"), built.info.taps)
    random = np.random.default_rng(0)
    weight = random.standard_normal((3, len(representation.centre))).astype(np.float32)
    head = replace(classifier.head, weight=weight, bias=np.zeros(3, np.float32))
    return replace(
        classifier, representation=representation, head=head, temperature=0.3, unknown=None
    )


@pytest.mark.parametrize("fault", IN_THE_GRAPH)
def test_a_fault_in_the_graph_is_refused_and_the_image_named(
    fault: str, staged: Classifier, real: RealPictures, tmp_path: Path, monkeypatch: Any
) -> None:
    from regraft.model import export_network

    genuine = export_network.whole

    def spoilt(*args: Any) -> Any:
        module = genuine(*args)
        IN_THE_GRAPH[fault](module)
        return module

    monkeypatch.setattr(export_network, "whole", spoilt)
    with pytest.raises(ArtefactError, match=OTHERWISE) as caught:
        exporting.export(staged, tmp_path / "out", to="onnx", real=real)
    assert_refused(caught.value, tmp_path, real)


def assert_refused(error: ArtefactError, room: Path, real: RealPictures) -> None:
    assert error.exit_code == 5
    assert error.image in real.names
    assert error.image in str(error)
    assert list(room.iterdir()) == []


def test_without_a_fault_the_same_is_written(
    staged: Classifier, real: RealPictures, tmp_path: Path
) -> None:
    for to in ("onnx", "openvino"):
        found = exporting.export(staged, tmp_path / to, to=to, real=real)
        assert found.compared["max_difference"] <= 1e-5


IN_PREPROCESS = {
    "another crop": ("round((n_whole - n_out) / 2)", "round((n_whole - n_out) / 2) + 1"),
    "another resize": ("Resampling.BICUBIC", "Resampling.NEAREST"),
    "channels swapped": ("return np.array(canvas)", "return np.array(canvas)[..., ::-1]"),
    "not upright": ("ImageOps.exif_transpose(image, in_place=True)", "pass"),
    "another size": ("HEIGHT, WIDTH = 224, 224", "HEIGHT, WIDTH = 192, 192"),
}


@pytest.mark.parametrize("fault", IN_PREPROCESS)
def test_a_fault_in_preprocess_is_refused(
    fault: str, classifier: Classifier, real: RealPictures, tmp_path: Path, monkeypatch: Any
) -> None:
    genuine = export_preprocess.text
    before, after = IN_PREPROCESS[fault]
    assert before in genuine(Preprocess(interpolation="bicubic"))
    monkeypatch.setattr(export_preprocess, "text", lambda p: genuine(p).replace(before, after))
    (tmp_path / "in").mkdir()
    turned = turned_copy(real.paths[0], tmp_path / "in" / "turned.jpg")
    real = RealPictures([*real.paths, turned], [*real.names, turned], [None] * 13, "photos")
    with pytest.raises(ArtefactError) as caught:
        exporting.export(classifier, tmp_path / "out" / "x", to="openvino", real=real)
    assert caught.value.exit_code == 5
    assert caught.value.image in real.names
    assert list((tmp_path / "out").iterdir()) == []


def turned_copy(path: str, target: Path) -> str:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(target, exif=exif, quality=95)
    return str(target)


def shuffle_names(folder: Path) -> None:
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    (folder / "labels.json").write_text(json.dumps(names[::-1]), encoding="utf-8")


def test_shuffled_names_are_refused(
    classifier: Classifier, real: RealPictures, tmp_path: Path, monkeypatch: Any
) -> None:
    genuine = export_folder.write_words

    def shuffled(folder: Path, *args: Any) -> None:
        genuine(folder, *args)
        shuffle_names(folder)

    monkeypatch.setattr(export_folder, "write_words", shuffled)
    with pytest.raises(ArtefactError, match="other names than the model, first at place 0"):
        exporting.export(classifier, tmp_path / "out", to="openvino", real=real)
    assert list(tmp_path.iterdir()) == []


def change_file(folder: Path) -> None:
    data = bytearray((folder / "model.bin").read_bytes())
    data[-1] ^= 1
    (folder / "model.bin").write_bytes(data)


def name_another_model(folder: Path) -> None:
    said = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    said["model"]["digest"] = "0" * 64
    (folder / "model.json").write_text(json.dumps(said), encoding="utf-8")


@pytest.mark.parametrize(
    ("fault", "words"), [(change_file, "model.bin has the sha256"), (name_another_model, "is of")]
)
def test_a_stale_digest_is_refused(
    fault: Any, words: str, classifier: Classifier, real: RealPictures, tmp_path: Path,
    monkeypatch: Any,
) -> None:  # fmt: skip
    genuine = export_folder.write_facts

    def stale(folder: Path, *args: Any, **more: Any) -> None:
        genuine(folder, *args, **more)
        fault(folder)

    monkeypatch.setattr(export_folder, "write_facts", stale)
    with pytest.raises(ArtefactError, match=words):
        exporting.export(classifier, tmp_path / "out", to="openvino", real=real)
    assert list(tmp_path.iterdir()) == []


def test_another_network_than_the_one_that_was_taught_is_refused(
    classifier: Classifier, real: RealPictures, tmp_path: Path
) -> None:
    assert classifier.info is not None
    built = classifier.built()
    other = replace(classifier, info=replace(classifier.info, weights_digest="0" * 64))
    with pytest.raises(ArtefactError, match="was taught on 0000000000000000"):
        exporting.export(replace(other, _built=built), tmp_path / "out", to="onnx", real=real)
    assert list(tmp_path.iterdir()) == []


# -- What decides --


def seen_with(found: np.ndarray, wanted: np.ndarray, **more: Any) -> export_comparison.Seen:
    outputs = export_comparison.Outputs
    n, features = len(wanted), np.random.default_rng(0).normal(size=(len(wanted), 4))
    names = [f"{i}.jpg" for i in range(n)]
    given = {
        "from_file": found,
        "resized": found,
        "grey": np.zeros(n),
        "grey_by_pillow": np.zeros(n),
        "here": None,
        "runtime": "",
        **more,
    }
    return export_comparison.Seen(
        RealPictures(names, names, [None] * n, ""),
        outputs.of([wanted, features.astype(np.float32)]),
        outputs.of([found, features.astype(np.float32)]),
        **given,
    )


ROWS = np.array([[0.6, 0.4], [0.50000004, 0.49999996], [0.1, 0.9]])


def test_a_tie_is_no_flip_and_a_small_turn_is_one(classifier: Classifier) -> None:
    two = replace(classifier, classes=("a", "b"), unknown=None)
    tie = ROWS[:, ::-1][1:2]
    export_comparison.require_same(seen_with(np.r_[ROWS[:1], tie, ROWS[2:]], ROWS), two)
    close = np.array([[0.6, 0.4], [0.50001, 0.49999], [0.1, 0.9]])
    turned = close[:, ::-1] * [[0], [1], [0]] + close * [[1], [0], [1]]
    with pytest.raises(ArtefactError, match="1 of 3 images get another label") as caught:
        export_comparison.require_same(seen_with(turned, close), two)
    assert caught.value.image == "1.jpg"


@pytest.mark.parametrize("wrong", [2e-4, np.nan])
def test_a_probability_that_is_off_is_told(classifier: Classifier, wrong: float) -> None:
    off = ROWS + np.array([[0, 0], [0, 0], [wrong, -wrong]])
    two = replace(classifier, classes=("a", "b"), unknown=None)
    with pytest.raises(ArtefactError, match="differ by up to") as caught:
        export_comparison.require_same(seen_with(off, ROWS), two)
    assert caught.value.image == "2.jpg"


def test_what_pillows_resize_turns_is_nobodys_fault_what_else_turns_it_is(
    classifier: Classifier,
) -> None:
    two = replace(classifier, classes=("a", "b"), unknown=None)
    turned = np.array([[0.4, 0.6], [0.5, 0.5], [0.1, 0.9]])
    by_resize = seen_with(ROWS, ROWS, from_file=turned, resized=turned)
    export_comparison.require_same_from_file(by_resize, two)
    assert by_resize.to_dict()["from_file"]["flips"] == 1
    by_reading = seen_with(ROWS, ROWS, from_file=turned, resized=ROWS)
    with pytest.raises(ArtefactError, match="1 of 3 images get another label") as caught:
        export_comparison.require_same_from_file(by_reading, two)
    assert caught.value.image == "0.jpg"


def test_features_that_are_off_are_told_though_the_answer_is_right(classifier: Classifier) -> None:
    seen = seen_with(ROWS, ROWS)
    seen.found.features[2, 1] += 0.1
    with pytest.raises(ArtefactError, match="its features are others"):
        export_comparison.require_same(seen, replace(classifier, classes=("a", "b"), unknown=None))


@pytest.mark.slow  # PyTorch writes ONNX, its quantiser runs the network on 24 pictures
def test_a_file_in_integers_replaces_one_that_is_at_work(
    classifier: Classifier, real: RealPictures, trained: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """OpenVINO maps weights into memory: written over, the process ended with SIGBUS."""
    asked, says = [], Reference.says
    monkeypatch.setattr(
        Reference, "says", lambda own, *shown: asked.append(len(shown[0])) or says(own, *shown)
    )
    found = exporting.export(
        classifier, tmp_path / "out", to="openvino", real=real, int8=True, max_drop=100,
        teaching=sorted(map(str, (trained / "photos" / "train").rglob("*.jpg"))),
    )  # fmt: skip
    assert sum(asked) == len(real)  # the reference is asked once
    assert found.compared["int8"]["learnt_from"] == 24
    assert found.compared["int8"]["gain"] > 0
    assert (tmp_path / "out" / "model.bin").stat().st_size < 15e6
    assert {file for file in found.files if file.startswith("model")} == {
        "model.bin", "model.json", "model.xml"
    }  # fmt: skip


def test_what_integers_cost_is_measured_in_pairs(classifier: Classifier) -> None:
    from regraft.model.export_int8 import Lost, in_words

    two = replace(classifier, classes=("a", "b"), unknown=None)
    exact, smaller = seen_with(ROWS, ROWS), seen_with(ROWS[[2, 1, 2]], ROWS)
    told = replace(exact.pictures, labels=["a", "b", None])
    lost = Lost.of(replace(exact, pictures=told), smaller, two)
    assert (lost.points, lost.image) == (50.0, "0.jpg")
    with pytest.raises(ArtefactError, match=r"cost 50\.00 points") as caught:
        lost.require_at_most(49)
    assert "--max-drop 50.01" in caught.value.cure
    lost.require_at_most(50)
    assert Lost.of(exact, smaller, two).points == pytest.approx(100 / 3), "no labels: flips"
    assert in_words(1.4) == "faster by 1.4x on this processor"


def test_what_is_none_of_these_is_so_in_the_exported_file_too(
    exported: Path, classifier: Classifier, real: RealPictures
) -> None:
    from regraft.model.export_outputs import REJECTS, levels_of

    said = json.loads((exported / "model.json").read_text(encoding="utf-8"))
    unknown = classifier.unknown
    assert unknown is not None
    assert said["none_of_these"] == levels_of(unknown) != {}
    random = np.random.default_rng(0)
    for share in REJECTS:
        if (level := levels_of(unknown).get(str(share))) is None:
            continue
        odd = np.r_[unknown.odd, random.uniform(unknown.odd.min(), unknown.odd.max() + 1, 200)]
        weights = conformal.weights_of(unknown.odd_units)
        wanted = conformal.p_values(odd, unknown.odd, weights) < share
        np.testing.assert_array_equal(odd > level, wanted)
    pixels = np.stack([pictures.plain(p, classifier.built().info.preprocess) for p in real.paths])
    found, wanted = start(exported / "model.xml")(pixels), Reference(classifier)
    np.testing.assert_allclose(found.oddness, wanted(pixels).oddness, atol=1e-3)


# -- Heads, methods, targets --


def test_hidden_layers_are_exported(
    classifier: Classifier, real: RealPictures, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    width = len(classifier.representation.centre)
    first = random.normal(size=(7, width)).astype(np.float32), np.ones(7, np.float32)
    last = random.normal(size=(3, 7)).astype(np.float32), np.ones(3, np.float32)
    deep = replace(classifier, head=MLPHead((first, last)), unknown=None)
    for to in ("openvino", "onnx"):
        found = exporting.export(deep, tmp_path / to, to=to, real=real)
        assert found.compared["flips"] == 0


# Small ones of many families, which are built quickly.
ARCHITECTURES = (
    "test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_nfnet", "test_byobnet",
    "test_mambaout", "mobilenetv3_small_050", "lcnet_050", "regnetx_002", "ghostnet_050",
    "resnet10t",
)  # fmt: skip


@pytest.mark.slow  # each network is built, traced and compiled twice: 3 to 5 s
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_twelve_architectures_are_exported(
    name: str, classifier: Classifier, real: RealPictures, tmp_path: Path
) -> None:
    source = catalog.resolve(f"random:{name}")
    built = engines.locate(source, offline=True)
    pixels = np.stack([pictures.plain(path, built.info.preprocess) for path in real.paths])
    middle = built.info.widths[len(built.info.widths) // 2][0]
    X = run_on_cores(built.engine(), pixels, batch_size=built.info.batch_size)
    representation = Representation.fit(X, (middle, "final"), built.info.taps)
    weight = np.random.default_rng(0).standard_normal((3, len(representation.centre)))
    head = replace(classifier.head, weight=weight.astype(np.float32), bias=np.zeros(3, np.float32))
    other = replace(
        classifier, source=source, info=built.info, representation=representation, head=head,
        unknown=None, _built=built, _tensors=None,
    )  # fmt: skip
    for to in ("onnx", "openvino"):
        found = exporting.export(other, tmp_path / to, to=to, real=real)
        assert (found.compared["flips"], found.compared["max_difference"] <= 1e-4) == (0, True)


def test_neighbours_are_refused_with_the_reason(
    classifier: Classifier, real: RealPictures, tmp_path: Path
) -> None:
    width = len(classifier.representation.centre)
    rows = np.eye(3, width, dtype=np.float16)
    head = NeighbourHead(rows, np.arange(3, dtype=np.int32), np.ones(3, np.float32), 1, 3)
    with pytest.raises(UsageError, match="looking through the training images") as caught:
        exporting.export(replace(classifier, head=head), tmp_path / "x", to="onnx", real=real)
    assert "--head ridge" in caught.value.cure


def test_a_missing_package_is_named_with_the_line_to_type(
    classifier: Classifier, real: RealPictures, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="onnxruntime, which is not installed") as caught:
        exporting.export(classifier, tmp_path / "x", to="onnx", real=real)
    assert caught.value.cure.startswith("pip install 'regraft[export]'; or --to openvino")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"to": "docker", "int8": True}, "--int8 with --to docker"),
        ({"to": "docker", "data": "photos", "images": 64}, "--data, --images with --to docker"),
        ({"to": "onnx", "max_drop": 2.0}, "--max-drop 2 is what 8-bit integers may cost"),
        ({"to": "onnx", "columns": {"path_column": "file"}}, "a column is named, and no table"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    options: dict[str, Any], words: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        export_model(model, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_model_outside_a_run_asks_for_images(
    model: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    copied = regraft.save(regraft.load(model), tmp_path / "alone")
    with pytest.raises(TableError, match="lies in no run") as caught:
        export_model(copied, tmp_path / "out", to="openvino")
    assert "--data DATA" in caught.value.cure
    assert not (tmp_path / "out").exists()


def test_a_network_that_cannot_be_written_is_refused_with_the_reason(
    classifier: Classifier, real: RealPictures, tmp_path: Path, monkeypatch: Any
) -> None:
    def fails(*args: Any) -> Any:
        raise RuntimeError("no operator aten::magic\nmore")

    broken = replace(export_targets.TARGETS["openvino"], write=fails)
    monkeypatch.setitem(export_targets.TARGETS, "openvino", broken)
    with pytest.raises(ArtefactError, match="cannot be written for OpenVINO: no operator"):
        exporting.export(classifier, tmp_path / "out", to="openvino", real=real)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_mixes_pictures_is_written_for_one(tmp_path: Path) -> None:
    def answer(pixels: np.ndarray) -> list[np.ndarray]:
        mean = pixels.mean(axis=(0, 1, 2, 3), keepdims=True).reshape(1, 1) / 255
        return [np.repeat(mean, len(pixels), 0).astype(np.float32)] * 2

    assert not export_targets._answers_each_alone(Runner(answer, "", True), (8, 8))


# -- preprocess.py --

GEOMETRIES = [
    Preprocess(),
    Preprocess(input_px=(32, 32), resize_px=32, interpolation="bilinear"),
    Preprocess(input_px=(40, 24), resize_px=30),
    Preprocess(input_px=(32, 32), resize_px=36, crop_mode="squash"),
    Preprocess(input_px=(32, 48), resize_px=36, crop_mode="border", fill=(1, 2, 3)),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (301, 200), (96, 96), (33, 47), (640, 479)])
def test_preprocess_shows_the_same_part_of_every_shape(
    geometry: Preprocess, size: tuple[int, int]
) -> None:
    made: dict[str, Any] = {}
    exec(export_preprocess.text(geometry), made)
    height, width = size
    rows, columns = geometry._spans(height, width)
    (x0, x1, n_x), (y0, y1, n_y) = made["spans"](width, height)
    np.testing.assert_allclose(
        [x0, x1, y0, y1], [columns.start, columns.stop, rows.start, rows.stop]
    )
    assert (n_x, n_y) == (columns.n_out, rows.n_out)
    # Grey enough that nothing is cut off at 0 or 255 between the two passes: which of them comes
    # first Pillow decides by the size of what it is given.
    noise = np.random.default_rng(0).integers(80, 176, (height, width, 3), np.uint8)
    ours = geometry(noise, always_pillow=True).astype(int)
    # Box corners are added in another order, which may round a value the other way.
    assert np.abs(made["cropped"](Image.fromarray(noise)) - ours).max() <= 1


def saved(room: Path, name: str, image: Image.Image, **options: Any) -> Path:
    image.save(room / name, **options)
    return room / name


def odd_files(room: Path) -> Iterator[Path]:
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 256, (60, 80, 3), np.uint8)).resize((300, 200))
    yield saved(room, "grey.png", noise.convert("L"))
    yield saved(room, "clear.png", Image.merge("RGBA", [*noise.split(), noise.split()[0]]))
    yield saved(room, "palette.gif", noise.convert("P"))
    yield saved(room, "cmyk.jpg", noise.convert("CMYK"), quality=95)
    yield saved(room, "large.jpg", noise.resize((2000, 1500)), quality=90)
    deep = random.integers(0, 65536, (50, 70)).astype(np.uint16)
    yield saved(room, "deep.png", Image.fromarray(deep))
    yield saved(room, "deep.tif", Image.fromarray(deep))
    yield saved(room, "bits.png", noise.convert("1"))
    yield Path(turned_copy(str(saved(room, "plain.jpg", noise)), room / "turned.jpg"))


def test_preprocess_reads_every_kind_as_we_do(tmp_path: Path) -> None:
    made: dict[str, Any] = {}
    exec(export_preprocess.text(Preprocess()), made)
    for path in odd_files(tmp_path):
        decoded = pictures.decoded(str(path), min_side_px=Preprocess().decode_min_side_px)
        ours = Preprocess()(decoded.pixels, always_pillow=True).astype(int)
        assert np.abs(made["preprocess"](path) - ours).mean() < 1, path.name


def test_preprocess_refuses_what_it_would_read_otherwise(tmp_path: Path) -> None:
    made: dict[str, Any] = {}
    exec(export_preprocess.text(Preprocess(white=4095)), made)
    inside = saved(tmp_path, "inside.png", Image.fromarray(np.full((9, 9), 4000, np.uint16)))
    ours = pictures.plain(str(inside), Preprocess(white=4095))
    np.testing.assert_array_equal(made["preprocess"](inside), ours)
    beyond = saved(tmp_path, "beyond.png", Image.fromarray(np.full((9, 9), 5000, np.uint16)))
    floats = saved(tmp_path, "floats.tif", Image.fromarray(np.ones((9, 9), np.float32)))
    for path in (beyond, floats):
        with pytest.raises(ValueError, match="make it 8-bit"):
            made["preprocess"](path)


def test_a_picture_that_preprocess_refuses_is_compared_by_its_tensor(
    classifier: Classifier, real: RealPictures, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    odd = str(saved(tmp_path / "in", "f.tif", Image.fromarray(np.ones((9, 9), np.float32))))
    more = RealPictures([odd, *real.paths], [odd, *real.names], [None] * 13, "photos")
    found = exporting.export(classifier, tmp_path / "out", to="openvino", real=more)
    assert (found.compared["images"], found.compared["from_file"]["images"]) == (13, 12)


@pytest.mark.parametrize("n", [0, 1, 10, 50, 500, 5_000])
def test_some_images_are_left_to_teach_the_ranges_of_integers(n: int) -> None:
    """Of few, half; and never so many that too few are compared."""
    taken = workflow._n_teaching(n)
    assert taken <= (n + 1) // 2
    assert taken >= min(16, n // 2)
    assert taken <= 128
