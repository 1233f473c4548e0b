"""A model comes back bit by bit, or is refused with what is wrong; nothing in it is ever run.

The network here is a made-up one of four tensors; only the tests of timm's door use real ones.
"""

from __future__ import annotations

import ast
import copy
import functools
import json
import os
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import PROBABILITY
from regraft import model as models
from regraft.backbones import catalog, tensor_file
from regraft.backbones.tensor_file import Stored, TensorFileError
from regraft.data.labels import LabelType
from regraft.errors import ArtefactError, WeightsError
from regraft.evaluation.metrics import unit_rows
from regraft.features import engines
from regraft.features.engine import EngineInfo
from regraft.images.geometry import Preprocess
from regraft.model import config_file, load, saving
from regraft.probe import source_classifier
from regraft.probe.base import Head
from regraft.probe.classifier import Classifier
from regraft.probe.linear_head import LinearHead
from regraft.probe.neighbours import NeighbourHead
from regraft.probe.representation import Representation

FILES = ("config.json", "model.safetensors", "regraft.safetensors")
CLASSES = ("ants", "bees", "wasps")
N_SOURCE, N_FINAL = 6, 4
X = np.random.default_rng(1).normal(size=(40, 10)).astype(np.float32)
Tensors = dict[str, Stored]


@dataclass(frozen=True, eq=False)
class Parts:
    """What `save` is given."""

    info: EngineInfo
    weights_path: Path
    representation: Representation
    head: Head
    classes: tuple[str, ...] = CLASSES
    temperature: float = 0.7

    @property
    def classifier(self) -> Classifier:
        built = engines.BuiltEngine(
            self.weights_path.parent, self.info, catalog.Source("default", "built", "resnet10t", "")
        )
        assert built.weights_path == self.weights_path
        parts = Classifier(self.classes, self.representation, self.head, self.temperature)
        return replace(parts.on(built), card={"accuracy": 0.9})

    def save(self, folder: Path) -> Path:
        return models.save(self.classifier, folder)

    def proba(self) -> np.ndarray:
        return self.classifier.proba_of(X)


def stored(tensors: dict[str, np.ndarray]) -> Tensors:
    return {name: Stored.from_array(values) for name, values in tensors.items()}


def fake_network() -> Tensors:
    rng = np.random.default_rng(0)
    return stored(
        {
            "conv.weight": rng.normal(size=(3, 2, 1, 1)).astype(np.float32),
            "bn.num_batches_tracked": np.array(7, np.int64),
            "fc.weight": rng.normal(size=(N_SOURCE, N_FINAL)).astype(np.float32),
            "fc.bias": rng.normal(size=N_SOURCE).astype(np.float32),
        }
    )


def fake_info(network: Tensors) -> EngineInfo:
    config = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.2] * 3, "classifier": "fc"}
    return EngineInfo(
        name="default",
        architecture="resnet10t",
        weights_digest=tensor_file.digest_of(network),
        licence="apache-2.0",
        origin="made up",
        preprocess=Preprocess(input_px=(32, 32), resize_px=36),
        widths=(("layer1", 3), ("final", N_FINAL)),
        runtime="torch 2",
        precision="fp32",
        config={**config, "num_classes": N_SOURCE, "url": "https://else", "label_names": ["a"]},
    )


def make_parts(folder: Path, taps: tuple[str, ...] = ("final",), **changes: Any) -> Parts:
    network = fake_network()
    path = folder / "weights.safetensors"
    if not path.exists():
        tensor_file.write(path, network)
    info = fake_info(network)
    source = source_classifier.read_classifier(path, "fc", N_FINAL)
    representation = Representation.fit(X, taps, info.taps, source=source)
    rng = np.random.default_rng(2)
    n_classes = len(changes.get("classes", CLASSES))
    weight = rng.normal(size=(n_classes, len(representation.centre))).astype(np.float32)
    head = LinearHead(weight, rng.normal(size=n_classes).astype(np.float32))
    return Parts(**{**vars(Parts(info, path, representation, head)), **changes})


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return make_parts(tmp_path)


@pytest.fixture
def model(parts: Parts, tmp_path: Path) -> Path:
    return parts.save(tmp_path / "model")


@pytest.fixture(scope="module")
def pristine(make_room: Callable[[str], Path]) -> Path:
    """A model that nobody changes: for tests that make their own copies."""
    room = make_room("pristine")
    return make_parts(room, ("layer1", "final", "source")).save(room / "model")


@pytest.fixture(scope="module")
def changed(pristine: Path, make_room: Callable[[str], Path]) -> Path:
    """A copy of it, whose config is changed again and again."""
    return shutil.copytree(pristine, make_room("changed") / "model")


def read_config(model: Path) -> Any:
    return json.loads((model / "config.json").read_text(encoding="utf-8"))


def seal(model: Path, config: Any) -> None:
    """Write a changed config with a digest that fits: only the checks behind it can refuse it."""
    (model / "config.json").unlink(missing_ok=True)
    (model / "config.json").write_text(config_file.to_text(config), encoding="utf-8")


def change_tensors(model: Path, name: str, change: Callable[[Tensors], Any]) -> None:
    """Change a file of tensors, its digest recomputed."""
    found = tensor_file.read(model / name)
    tensors = {n: t._replace(data=bytes(t.data)) for n, t in found.items()}
    change(tensors)
    (model / name).unlink()
    config = read_config(model)
    config["regraft"]["files"][name] = tensor_file.write(model / name, tensors)
    seal(model, config)


def refusal(model: Path) -> str:
    with pytest.raises(ArtefactError) as caught:
        load(model)
    assert caught.value.exit_code == 5
    return str(caught.value)


# -- Back as it was --


@pytest.mark.parametrize(
    "taps", [("final",), ("final", "layer1"), ("layer1", "source"), ("source",)]
)
def test_a_model_comes_back_bit_by_bit(tmp_path: Path, taps: tuple[str, ...]) -> None:
    parts = make_parts(tmp_path, taps)
    loaded = load(parts.save(tmp_path / "model"))
    assert np.array_equal(loaded.proba_of(X), parts.proba())
    assert loaded.proba_of(X).dtype == np.float64
    assert (loaded.classes, loaded.method, loaded.temperature) == (CLASSES, "probe", 0.7)
    assert loaded.representation.taps == taps
    assert loaded.card == {"accuracy": 0.9}
    for name in ("name", "architecture", "weights_digest", "licence", "origin", "preprocess"):
        assert getattr(loaded.info, name) == getattr(parts.info, name)
    assert (loaded.info.taps, loaded.info.n_features) == (parts.info.taps, 10)
    assert loaded.info.config["num_classes"] == N_SOURCE


@pytest.fixture
def knn_parts(tmp_path: Path) -> Parts:
    parts = make_parts(tmp_path)
    rows = unit_rows(parts.representation(X)).astype(np.float16)
    codes = np.arange(len(X), dtype=np.int32) % 3
    head = NeighbourHead(rows, codes, np.ones(len(X), np.float32), n_neighbours=5, n_classes=3)
    return replace(parts, head=head)


def test_a_head_of_neighbours_comes_back_bit_by_bit(knn_parts: Parts, tmp_path: Path) -> None:
    loaded = load(knn_parts.save(tmp_path / "model"))
    assert loaded.head.kind == "knn"
    assert np.array_equal(loaded.proba_of(X), knn_parts.proba())
    assert (
        read_config(Path(loaded.folder))["regraft"]["timm_reason"]
        == "the head is of the kind 'knn', not linear"
    )


@pytest.mark.parametrize("taps", [("final",), ("layer1", "final")])
def test_the_original_network_can_be_put_together_again(
    tmp_path: Path, taps: tuple[str, ...]
) -> None:
    parts = make_parts(tmp_path, taps)
    model = parts.save(tmp_path / "model")
    network = tensor_file.read(model / "model.safetensors")
    learnt = tensor_file.read(model / "regraft.safetensors")
    original = {n.removeprefix("network."): t for n, t in learnt.items() if "network." in n}
    assert set(original) == ({"fc.weight", "fc.bias"} if taps == ("final",) else set())
    assert tensor_file.digest_of(network | original) == parts.info.weights_digest


def test_the_source_finds_the_engine_by_its_weights_and_names_the_folder(model: Path) -> None:
    loaded = load(model)
    source = loaded.source
    digest = loaded.info.weights_digest
    assert (source.kind, source.identity) == ("artefact", f"digest:{digest}")
    assert (source.weights_digest, source.path) == (digest, model)


def test_any_name_of_a_class_survives(tmp_path: Path) -> None:
    classes = ("<b>&\"'", "naïve 蟻", "a\nb\x00", "caf\udce9", "../..", " ", "true", "0")
    parts = make_parts(tmp_path, classes=classes)
    assert load(parts.save(tmp_path / "model")).classes == classes


@pytest.mark.parametrize(
    ("kept", "classes", "labels"),
    [
        (LabelType("int", "int16"), ("10", "9"), np.array([10, 9], np.int16)),
        (LabelType("bool"), ("False", "True"), np.array([False, True])),
        (LabelType("float", "float64"), ("0.1", "-2.0"), np.array([0.1, -2.0])),
        (LabelType("bytes"), ("ant", "\udcff"), np.array([b"ant", b"\xff"])),
        (LabelType(), ("1", "2"), np.array(["1", "2"])),
    ],
)
def test_labels_come_back_with_their_type_and_stay_text_for_others(
    tmp_path: Path, kept: LabelType, classes: tuple[str, ...], labels: Any
) -> None:
    parts = make_parts(tmp_path, classes=classes)
    folder = models.save(replace(parts.classifier, label_type=kept), tmp_path / "model")
    found = load(folder)
    assert (found.classes, found.label_type) == (classes, kept)
    assert found.labels.tolist() == labels.tolist()
    assert found.labels.dtype == labels.dtype
    assert read_config(folder)["regraft"]["classes"] == list(classes)


def test_a_model_of_before_labels_had_a_type_has_text(model: Path) -> None:
    config = read_config(model)
    del config["regraft"]["labels"]
    seal(model, config)
    assert load(model).labels.tolist() == list(CLASSES)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"type": "int", "dtype": ""}, "not every class is the text of int"),
        ({"type": "bool", "dtype": ""}, "not every class is the text of bool"),
        ({"type": "object", "dtype": ""}, "type"),
        ({"type": "int", "dtype": "O"}, "dtype"),
        ("int", "labels"),
    ],
)
def test_a_type_that_the_classes_do_not_have_is_refused(
    model: Path, labels: Any, words: str
) -> None:
    config = read_config(model)
    config["regraft"]["labels"] = labels
    seal(model, config)
    assert words in refusal(model)


def test_classes_that_are_one_label_are_refused(tmp_path: Path) -> None:
    parts = make_parts(tmp_path, classes=("1", "01"))
    folder = models.save(replace(parts.classifier, label_type=LabelType("int")), tmp_path / "model")
    assert "must be different as int too" in refusal(folder)


def test_wrong_features_are_a_programming_mistake(model: Path) -> None:
    with pytest.raises(ValueError, match="10 features"):
        load(model).proba_of(X[:, :9])


# -- Refused: the files --


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_goes_unnoticed(pristine: Path, tmp_path: Path, name: str) -> None:
    wanted = load(pristine).proba_of(X)
    model = shutil.copytree(pristine, tmp_path / "model")
    content = (pristine / name).read_bytes()
    rng = random.Random(0)
    n_refused = 0
    for _ in range(80):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (model / name).write_bytes(flipped)
        try:
            loaded = load(model)
        except ArtefactError:
            n_refused += 1
        else:
            # A space that became another space is the same JSON.
            assert name == "config.json"
            assert read_config(Path(loaded.folder)) == read_config(pristine)
            assert np.array_equal(loaded.proba_of(X), wanted)
    assert n_refused >= (60 if name == "config.json" else 80)


@pytest.mark.parametrize("name", FILES)
def test_cut_off_or_prolonged_files_are_refused(pristine: Path, tmp_path: Path, name: str) -> None:
    model = shutil.copytree(pristine, tmp_path / "model")
    content = (pristine / name).read_bytes()
    for n_bytes in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        (model / name).write_bytes(content[:n_bytes])
        assert name in refusal(model)
    (model / name).write_bytes(content + b"x")
    assert name in refusal(model)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    assert name in refusal(model)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_without_waiting(
    model: Path, name: str, make: Callable[[Path], None]
) -> None:
    (model / name).unlink()
    make(model / name)
    assert name in refusal(model)


class Mine:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_never_run(
    model: Path, tmp_path: Path, name: str, protocol: int
) -> None:
    (model / name).write_bytes(pickle.dumps(Mine(tmp_path / "ran"), protocol))
    assert name in refusal(model)
    assert not (tmp_path / "ran").exists()


def test_a_changed_file_is_refused_with_both_digests(model: Path) -> None:
    wanted = read_config(model)["regraft"]["files"]["regraft.safetensors"]
    content = bytearray((model / "regraft.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "regraft.safetensors").write_bytes(content)
    said = refusal(model)
    assert wanted in said
    assert said.count("sha256") == 1
    assert len({word for word in said.replace(",", " ").split() if len(word) == 64}) == 2


def test_an_edited_class_name_is_refused(model: Path) -> None:
    text = (model / "config.json").read_text(encoding="utf-8")
    (model / "config.json").write_text(text.replace("wasps", "waspt"), encoding="utf-8")
    assert "config.json was changed" in refusal(model)


@pytest.mark.parametrize("path", ["nowhere", "nul\0byte", "x" * 5000, "weights.safetensors"])
def test_what_is_no_folder_is_refused(parts: Parts, tmp_path: Path, path: str) -> None:
    refusal(tmp_path / path)


def test_a_folder_of_timm_is_refused_with_the_way_to_use_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    assert "--backbone local-dir:" in refusal(tmp_path)


# -- Refused: the tensors (their digests made to fit) --


def array(values: Any, dtype: Any = np.float32) -> Stored:
    return Stored.from_array(np.array(values, dtype))


def bad_tensors() -> Iterator[Any]:
    learnt, network = "regraft.safetensors", "model.safetensors"
    weight = np.ones((3, 4), np.float32)
    nan = np.where(np.eye(3, 4), np.nan, weight)
    for name, file, key, value, words in (
        ("more classes", learnt, "head.weight", array(np.ones((4, 4))), "weight (K, D)"),
        ("other width", learnt, "head.weight", array(np.ones((3, 5))), "matmul"),
        ("no matrix", learnt, "head.weight", array(np.ones(12)), "weight (K, D)"),
        ("other kind", learnt, "head.weight", array(weight, np.float64), "float32"),
        ("whole numbers", learnt, "head.weight", array(weight, np.int64), "float32"),
        ("not finite", learnt, "head.weight", array(nan), "not finite"),
        ("infinite", learnt, "head.bias", array([1, np.inf, 1]), "not finite"),
        ("no bias", learnt, "head.bias", None, "'bias' is missing"),
        ("no scale", learnt, "representation.scale", None, "scale' is missing"),
        ("short scale", learnt, "representation.scale", array(np.ones(3), float), "(3,)"),
        ("one scale", learnt, "representation.scale", array(1.0, float), "()"),
        ("coarse centre", learnt, "representation.centre", array(np.ones(4)), "float32"),
        ("bad centre", learnt, "representation.centre", array([np.nan] * 4, float), "not finite"),
        ("other classifier", network, "fc.weight", array(np.ones((6, 4))), "(6, 4)"),
        ("no classifier", network, "fc.weight", None, "None"),
    ):
        yield pytest.param(file, key, value, words, id=name)


@pytest.mark.parametrize(("file", "key", "value", "words"), list(bad_tensors()))
def test_tensors_that_do_not_fit_are_refused(
    model: Path, file: str, key: str, value: Stored | None, words: str
) -> None:
    def change(tensors: Tensors) -> None:
        tensors.pop(key)
        tensors.update({} if value is None else {key: value})

    change_tensors(model, file, change)
    assert words in refusal(model)


@pytest.mark.parametrize("counts", [[5, 10**12], [5, 4], [41, 3], [0, 3], [5, 2], [-1, -1], [5]])
def test_neighbours_of_impossible_number_are_refused(
    knn_parts: Parts, tmp_path: Path, counts: list[int]
) -> None:
    model = knn_parts.save(tmp_path / "model")

    def change(tensors: Tensors) -> None:
        tensors["head.counts"] = array(counts, np.int64)

    change_tensors(model, "regraft.safetensors", change)
    refusal(model)


def test_two_tensors_swapped_are_refused(model: Path) -> None:
    def swap(tensors: Tensors) -> None:
        a, b = "head.weight", "network.fc.weight"
        tensors[a], tensors[b] = tensors[b], tensors[a]

    change_tensors(model, "regraft.safetensors", swap)
    refusal(model)


def test_the_files_of_two_models_do_not_mix(pristine: Path, model: Path) -> None:
    for name in ("model.safetensors", "regraft.safetensors"):
        own = (model / name).read_bytes()
        shutil.copy(pristine / name, model / name)
        assert f"{name} was changed" in refusal(model)
        (model / name).write_bytes(own)


# -- Refused: the config (its digest made to fit) --

BAD_VALUES = [
    ("regraft.format", 3, "up to format 2"),
    ("regraft.format", 0, "int >= 1"),
    ("regraft.format", "1", "int, got '1'"),
    ("regraft.format", True, "int, got True"),
    ("regraft.head.kind", "forest", "linear, knn"),
    ("regraft.head.kind", "__class__", "linear, knn"),
    ("regraft.head", ["linear"], "must be object"),
    ("regraft.classes", ["ants", "bees"], "3 scores for 2 classes"),
    ("regraft.classes", ["ants", "bees", "ants"], "'ants' stands 2 times"),
    ("regraft.classes", ["ants", "bees", ""], "length >= 1"),
    ("regraft.classes", ["ants", "bees", 3], "str, got 3"),
    ("regraft.classes", "abc", "must be array"),
    ("regraft.classes", [], "length >= 2"),
    ("regraft.method", "", "length >= 1"),
    ("regraft.temperature", 0, "float > 0"),
    ("regraft.temperature", 10**400, "out of range"),
    ("regraft.temperature", False, "must be float"),
    ("regraft.widths", [["layer1", 3], ["final", 5]], "stages"),
    ("regraft.widths", [["final", 4], ["layer1", 3]], "the last"),
    ("regraft.widths", [["layer1", -3], ["final", 4]], "-3"),
    ("regraft.widths", [["final"]], "array of length 2"),
    ("regraft.widths", [], "the last"),
    ("regraft.representation.taps", ["layer9"], "'layer9'"),
    ("regraft.representation.taps", ["final", "final"], "different"),
    ("regraft.representation.taps", ["source"], "stages"),
    ("regraft.representation.blocks", [["final", 0, 4, False]], "stages"),
    ("regraft.representation.blocks", [["final", 6, 10**30, False]], "stages"),
    ("regraft.representation.blocks", [[1, 2]], "array of length 4"),
    ("regraft.preprocess.input_px", [32, 10**9], "int <= 16384"),
    ("regraft.preprocess.input_px", [32.0, 32], "int, got 32.0"),
    ("regraft.preprocess.resize_px", 8, "at least 32"),
    ("regraft.preprocess.interpolation", "psychic", "psychic"),
    ("regraft.preprocess.std", [0, 0, 0], "std"),
    ("regraft.preprocess.new", 1, "unknown"),
    ("regraft.backbone.digest", "../../etc/passwd", "[0-9a-f]{64}"),
    ("regraft.backbone.licence", None, "must be str"),
    ("regraft.backbone.num_classes", -1, "int >= 0"),
    ("regraft.engine.precision", "int1", "bf16|fp32"),
    ("regraft.files", {}, "missing"),
    ("regraft.timm", "yes", "must be bool"),
    ("pretrained_cfg.input_size", [3, 32], "array of length 3"),
    ("pretrained_cfg.classifier", "conv", "conv"),
    ("architecture", 5, "must be str"),
]


def put(config: Any, path: str, value: Any) -> None:
    *above, last = path.split(".")
    for key in above:
        config = config[key]
    config[last] = value


@pytest.mark.parametrize(("path", "value", "words"), BAD_VALUES)
def test_a_config_that_cannot_be_is_refused(model: Path, path: str, value: Any, words: str) -> None:
    config = read_config(model)
    put(config, path, value)
    if path == "regraft.files":
        (model / "config.json").write_text(json.dumps(config))
    else:
        seal(model, config)
    assert words in refusal(model)


def test_new_keys_of_the_same_format_are_no_matter(model: Path) -> None:
    config = read_config(model)
    config["regraft"]["new"] = config["new"] = {"files": ["../../etc/passwd"]}
    seal(model, config)
    load(model)


def test_names_of_other_files_are_never_followed(model: Path) -> None:
    config = read_config(model)
    config["regraft"]["files"]["../outside.safetensors"] = "0" * 64
    config["pretrained_cfg"]["file"] = "/etc/passwd"
    seal(model, config)
    load(model)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"regraft": 1}',
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "[" * 10**5,
        '{"regraft": {"format": ' + "9" * 5000 + "}}",
        "\ufeff{}",
        "é".encode("latin-1"),
    ],
    ids=range(11),
)
def test_what_is_no_config_is_refused(model: Path, text: str | bytes) -> None:
    (model / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "config.json" in refusal(model)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON value."""
    inner: Any = value.items() if isinstance(value, dict) else ()
    for key, part in enumerate(value) if isinstance(value, list) else inner:
        yield (*above, key)
        yield from places(part, (*above, key))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
    | st.sampled_from(["final", "source", "layer1", "fc", "linear", "bf16", "0" * 64, 10**400]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_change_of_the_config_is_refused_or_harmless(
    pristine: Path, changed: Path, data: st.DataObject
) -> None:
    config = read_config(pristine)
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(list(places(config))))
        part = config
        for key in above:
            part = part[key]
        if data.draw(st.booleans()) and isinstance(part, dict):
            del part[last]
        else:
            part[last] = copy.deepcopy(data.draw(JSON_VALUES))
    try:
        seal(changed, config)
    except (ValueError, KeyError, TypeError, AttributeError):  # nowhere to put a digest
        (changed / "config.json").write_text(json.dumps(config))
    try:
        proba = load(changed).proba_of(X)
    except ArtefactError:
        return
    assert proba.shape == (len(X), 3)
    assert np.isfinite(proba).all()


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=200) | JSON_VALUES.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_for_a_config_are_refused(pristine: Path, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as room:
        (Path(room) / "config.json").write_bytes(content)
        refusal(Path(room))


# -- The file of tensors --


def test_files_are_those_of_the_safetensors_package(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    kinds = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?")
    tensors = {f"t.{kind}": np.arange(6).reshape(2, 3).astype(kind) for kind in kinds}
    tensors |= {"empty": np.zeros((0, 3), np.float32), "scalar": np.array(2.5, np.float32)}
    save_file(tensors, tmp_path / "theirs.safetensors")
    tensor_file.write(tmp_path / "ours.safetensors", stored(tensors))
    read = load_file(tmp_path / "ours.safetensors")
    theirs = tensor_file.read(tmp_path / "theirs.safetensors")
    for name, values in tensors.items():
        assert np.array_equal(read[name], values)
        assert read[name].dtype == theirs[name].to_array().dtype == values.dtype
        assert np.array_equal(theirs[name].to_array(), values)


def test_bfloat16_is_copied_as_it_is_and_read_as_float32(tmp_path: Path) -> None:
    wanted = np.array([1.0, -2.5, 3e38], np.float32)
    data = (wanted.view(np.uint32) >> 16).astype("<u2").tobytes()
    tensor_file.write(tmp_path / "b", {"w": Stored("BF16", (3,), data)})
    found = tensor_file.read(tmp_path / "b")["w"]
    assert np.allclose(found.to_array(), wanted, rtol=0.01)
    assert bytes(found.data) == data


def write_raw(path: Path, header: Any, data: bytes = b"", n_header: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if n_header is None else n_header
    path.write_bytes(length.to_bytes(8, "little") + text + data)
    return path


def tensor(start: int, stop: int, shape: Any = None, dtype: Any = "U8") -> dict[str, Any]:
    shape = [stop - start] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


BAD_HEADERS: list[Any] = [
    {"a": tensor(0, 4), "b": tensor(2, 6)},
    {"a": tensor(0, 2), "b": tensor(4, 8)},
    {"a": tensor(0, 4)},
    {"a": tensor(0, 9)},
    {"a": tensor(1, 8)},
    {"a": tensor(0, 8), "b": tensor(0, 8)},
    {"a": tensor(8, 0, [-8])},
    {"a": tensor(-8, 0, [8])},
    {"a": tensor(0, 8, [3])},
    {"a": tensor(0, 8, [2**62, 2**62])},
    {"a": tensor(0, 8, [8.0])},
    {"a": tensor(0, 8, [True, 8])},
    {"a": tensor(0, 8, 8)},
    {"a": tensor(0, 8, dtype="F128")},
    {"a": tensor(0, 8, dtype=["U8"])},
    {"a": {"dtype": "U8", "shape": [8]}},
    {"a": tensor(0, 8) | {"data_offsets": [0, 8, 8]}},
    {"a": None},
    [],
    b'{"a": 1, "a": 2}',
    b"[" * 100_000,
    b"\xff\xfe",
    b"",
]


@pytest.mark.parametrize("header", BAD_HEADERS, ids=range(len(BAD_HEADERS)))
def test_headers_that_do_not_describe_the_file_are_refused(tmp_path: Path, header: Any) -> None:
    with pytest.raises(TensorFileError):
        tensor_file.read(write_raw(tmp_path / "f", header, b"12345678"))


@pytest.mark.parametrize("n_header", [3, 17, 10**6, 2**31, 2**63, 2**64 - 1])
def test_a_header_of_impossible_length_is_not_allocated(tmp_path: Path, n_header: int) -> None:
    with pytest.raises(TensorFileError):
        tensor_file.read(write_raw(tmp_path / "f", {}, n_header=n_header))


@settings(max_examples=300, deadline=None)
@given(
    header=st.dictionaries(
        st.sampled_from(["a", "b", "c", "__metadata__"]),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["U8", "F32", "BF16", "X"]),
                "shape": st.lists(st.integers(-1, 4), max_size=3),
                "data_offsets": st.lists(st.integers(-1, 16), min_size=1, max_size=3),
            }
        )
        | JSON_VALUES,
    ),
    data=st.binary(max_size=16),
)
def test_any_header_is_read_or_refused(header: Any, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as room:
        path = write_raw(Path(room) / "f", header, data)
        try:
            found = tensor_file.read(path)
        except TensorFileError:
            return
        assert sum(stored.to_array().size for stored in found.values()) <= len(data)


# -- Saving: all or nothing --


def test_a_model_is_replaced_and_nothing_is_left_over(parts: Parts, model: Path) -> None:
    replace(parts, classes=("a", "b", "c")).save(model)
    assert load(model).classes == ("a", "b", "c")
    assert sorted(os.listdir(model)) == sorted(FILES)
    assert sorted(os.listdir(model.parent)) == ["model", "weights.safetensors"]


def test_an_empty_folder_is_taken(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    load(parts.save(tmp_path / "empty"))


@pytest.mark.parametrize("content", ["notes.txt", "config.json", "model.safetensors"])
def test_a_folder_of_something_else_is_never_overwritten(
    parts: Parts, tmp_path: Path, content: str
) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / content).write_text("{}")
    with pytest.raises(ArtefactError, match="folder holds"):
        parts.save(folder)
    assert (folder / content).read_text() == "{}"


def test_a_model_with_something_beside_it_is_not_overwritten(parts: Parts, model: Path) -> None:
    (model / "thesis.tex").write_text("precious")
    with pytest.raises(ArtefactError, match=r"thesis\.tex"):
        parts.save(model)
    assert (model / "thesis.tex").exists()


def test_a_file_in_the_way_is_kept(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ArtefactError, match="there is a file"):
        parts.save(tmp_path / "file")


class Killed(BaseException):
    """No handler of errors may swallow it."""


@pytest.mark.parametrize("step", range(1, 6))
def test_an_interrupted_save_leaves_the_old_model_or_the_new(
    parts: Parts, model: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    counter = iter(range(1, 100))

    def interrupted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if next(counter) == step:
                raise Killed
            return function(*args)

        return call

    monkeypatch.setattr(saving, "write", interrupted(saving.write))
    monkeypatch.setattr(saving.config_file, "to_text", interrupted(saving.config_file.to_text))
    monkeypatch.setattr(os, "rename", interrupted(os.rename))
    with pytest.raises(Killed):
        replace(parts, classes=("a", "b", "c")).save(model)
    monkeypatch.undo()
    assert load(model).classes == CLASSES
    assert sorted(os.listdir(model.parent)) == ["model", "weights.safetensors"]


@pytest.mark.parametrize("step", range(1, 6))
def test_a_killed_save_never_leaves_half_a_model(
    run_python: Any, tmp_path: Path, step: int
) -> None:
    """Killed between two steps: under its name stands a whole model, or nothing yet."""
    make_parts(tmp_path)
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_artefact import make_parts
from regraft.model import saving
steps = iter(range(1, 100))
def dies(function):
    def call(*args):
        if next(steps) == {step}:
            os._exit(9)
        return function(*args)
    return call
saving.write, saving.config_file.to_text = dies(saving.write), dies(saving.config_file.to_text)
os.rename = dies(os.rename)
make_parts(Path({str(tmp_path)!r})).save(Path({str(tmp_path)!r}) / "model")
"""
    done = run_python("-c", program)
    assert done.returncode == (9 if step < 5 else 0), done.stderr
    assert (tmp_path / "model").exists() == (step == 5)
    assert load(make_parts(tmp_path).save(tmp_path / "model")).classes == CLASSES


def test_a_full_disk_says_so_and_leaves_nothing(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "write", full)
    with pytest.raises(ArtefactError, match="No space left"):
        parts.save(tmp_path / "model")
    assert os.listdir(tmp_path) == ["weights.safetensors"]


@pytest.mark.parametrize("damage", ["flipped", "cut off", "gone"])
def test_a_network_that_is_not_the_engines_is_not_saved(
    parts: Parts, tmp_path: Path, damage: str
) -> None:
    content = bytearray(parts.weights_path.read_bytes())
    content[-1] ^= 1
    parts.weights_path.unlink()
    if damage != "gone":
        parts.weights_path.write_bytes(content[: -1 if damage == "cut off" else None])
    with pytest.raises(WeightsError, match="cannot be used"):
        parts.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ("ants", "bees", "ants")},
        {"classes": ("ants",)},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"head": LinearHead(np.ones((2, 4), np.float32), np.ones(2, np.float32))},
        {"head": LinearHead(np.full((3, 4), np.nan, np.float32), np.ones(3, np.float32))},
    ],
)
def test_parts_that_do_not_fit_are_not_saved(
    parts: Parts, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"must be|scores for|not finite"):
        replace(parts, **changes).save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("name", "tensors", "words"),
    [
        ("fc", {"fc.weight": np.zeros((6, 4, 1, 1)), "fc.bias": np.zeros(6)}, "no linear layer"),
        ("fc", {"fc.weight": np.zeros((6, 4))}, "no bias"),
        ("fc", {"fc.weight": np.zeros((6, 9)), "fc.bias": np.zeros(6)}, "takes 9 features"),
        (["fc", "fc2"], {}, "more than one"),
        (None, {}, "no classifier"),
        (
            "head.l",
            {"head.l.weight": np.zeros((6, 4)), "head.l.bias": np.zeros(6)}
            | {"head.bn.running_mean": np.zeros(4)},
            "normalises",
        ),
    ],
)
def test_a_classifier_of_another_make_keeps_timms_door_shut(
    tmp_path: Path, name: Any, tensors: dict[str, np.ndarray], words: str
) -> None:
    network = stored({n: np.asarray(t, np.float32) for n, t in tensors.items()})
    parts = make_parts(tmp_path)
    parts.weights_path.unlink()
    tensor_file.write(parts.weights_path, network)
    info = fake_info(network)
    info = replace(info, config={**info.config, "classifier": name})
    loaded = load(replace(parts, info=info).save(tmp_path / "model"))
    assert read_config(Path(loaded.folder))["regraft"]["timm"] is False
    assert words in read_config(Path(loaded.folder))["regraft"]["timm_reason"]
    assert "label_names" not in read_config(Path(loaded.folder))
    assert np.array_equal(loaded.proba_of(X), parts.proba())


# -- What it stands on --


def test_nothing_slow_or_unsafe_is_imported(run_python: Any) -> None:
    slow = "{'torch', 'timm', 'sklearn', 'scipy', 'safetensors.torch'}"
    done = run_python("-c", f"import sys, regraft.model; print({slow} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr
    for file in Path(str(models.__file__)).parent.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in nodes for alias in node.names}
        names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
        # Exporting may take PyTorch; saving and loading never.
        unsafe = {"pickle", "marshal", "shelve", "joblib"}
        assert not names & (unsafe if file.name.startswith("export_") else unsafe | {"torch"})
        assert not {"eval(", "exec(", "np.load("} & set(file.read_text().split())


# -- timm's door --

MODELS = ["test_efficientnet", "test_resnet", "test_convnext", "test_vit"]


@dataclass(frozen=True, eq=False)
class Real:
    """A real network with its features of a few pictures."""

    info: EngineInfo
    weights_path: Path
    features: np.ndarray
    inputs: Any
    network: Any


@pytest.fixture(scope="module")
def real_network(make_room: Callable[[str], Path]) -> Callable[[str], Real]:
    return functools.cache(lambda name: make_real_network(name, make_room(name)))


def make_real_network(name: str, folder: Path) -> Real:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from regraft.backbones import catalog, network
    from regraft.features.torch_engine import describe

    source = catalog.resolve(f"random:{name}")
    loaded = network.load(source)
    tapped, widths = network.tap(loaded)
    path = folder / "weights.safetensors"
    save_file({n: t.contiguous() for n, t in loaded.network.state_dict().items()}, path)
    info = describe(source, loaded, widths)
    height, width = info.preprocess.input_px
    pixels = np.random.default_rng(0).integers(0, 256, (5, height, width, 3)).astype(np.uint8)
    with torch.inference_mode():
        x = torch.from_numpy(pixels)
        features = tapped(x).numpy()
        inputs = tapped.normalised(x)
    return Real(info, path, features, inputs, loaded.network)


def save_real(real: Real, taps: tuple[str, ...], folder: Path) -> Path:
    representation = Representation.fit(real.features, taps, real.info.taps)
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(3, len(representation.centre))).astype(np.float32)
    head = LinearHead(weight, rng.normal(size=3).astype(np.float32))
    parts = Parts(real.info, real.weights_path, representation, head, temperature=0.3)
    return parts.save(folder / "model")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_timm_opens_a_linear_model_and_says_the_same(
    real_network: Callable[[str], Real], tmp_path: Path, name: str
) -> None:
    torch = pytest.importorskip("torch")
    import timm

    real = real_network(name)
    model = save_real(real, ("final",), tmp_path)
    opened = timm.create_model(f"local-dir:{model}", pretrained=True).eval()
    with torch.inference_mode():
        theirs = opened(real.inputs).softmax(1).numpy()
    ours = load(model).proba_of(real.features)
    assert np.abs(theirs - ours).max() < PROBABILITY["fp32"]
    assert ours.std(0).max() > 1e-3
    assert opened.num_classes == 3
    assert tuple(opened.pretrained_cfg["label_names"]) == CLASSES
    assert opened.pretrained_cfg["input_size"][1] == real.info.preprocess.input_px[0]


@pytest.mark.filterwarnings("ignore")
def test_timm_refuses_a_head_that_it_cannot_express_and_ours_is_a_backbone(
    real_network: Callable[[str], Real], tmp_path: Path
) -> None:
    """It would answer with the classes that the network once learnt."""
    torch = pytest.importorskip("torch")
    import timm

    from regraft.backbones import catalog, network

    real = real_network("test_resnet")
    model = save_real(real, ("layer2", "final"), tmp_path)
    for options in ({}, {"num_classes": 3}, {"num_classes": 0}, {"features_only": True}):
        for pretrained in (True, False):
            with pytest.raises(RuntimeError, match="head sees layer2, final"):
                timm.create_model(f"local-dir:{model}", pretrained=pretrained, **options)
    assert read_config(model)["regraft"]["timm"] is False
    assert load(model).info.architecture == "test_resnet"

    source = catalog.resolve(f"local-dir:{model}")
    assert source.architecture == "test_resnet"
    opened = network.load(source).network
    with torch.inference_mode():
        assert torch.equal(opened(real.inputs), real.network(real.inputs))
    bare = network.without_weights(source)
    assert {n: t.shape for n, t in bare.state_dict().items()} == {
        n: t.shape for n, t in opened.state_dict().items()
    }


def test_where_timm_looks_for_an_architecture_there_is_one_only_if_it_may_open(
    tmp_path: Path,
) -> None:
    for taps, is_open in (("final",), True), (("layer1", "final"), False):
        model = make_parts(tmp_path, taps).save(tmp_path / "-".join(taps))
        named = read_config(model)["architecture"]
        assert (named == "resnet10t") == is_open, named
        assert load(model).info.architecture == "resnet10t"


@pytest.mark.parametrize("taps", [("final",), ("layer2", "final")])
@pytest.mark.filterwarnings("ignore")
def test_torch_puts_the_original_network_together_again(
    real_network: Callable[[str], Real], tmp_path: Path, taps: tuple[str, ...]
) -> None:
    """As `regraft.backbones.network` does for a Source of the kind 'artefact'."""
    pytest.importorskip("torch")
    from safetensors.torch import load_file

    from regraft.backbones import weights

    real = real_network("test_resnet")
    model = save_real(real, taps, tmp_path)
    state = load_file(model / "model.safetensors")
    for key, value in load_file(model / "regraft.safetensors").items():
        if key.startswith("network."):
            state[key.removeprefix("network.")] = value
    assert weights.digest_of_tensors(state) == real.info.weights_digest
    assert {n: t.shape for n, t in state.items()} == {
        n: t.shape for n, t in real.network.state_dict().items()
    }
