"""Graphs without weights, filled without PyTorch: they are what timm's own networks are."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regraft.backbones import catalog, network, tensor_file, topology, torch_file
from regraft.backbones.tensor_file import Stored, TensorFileError
from regraft.errors import WeightsError
from regraft.features import ready_engine
from regraft.features.agreement import made_up_pictures
from regraft.features.engine import run_on_cores
from regraft.features.openvino_engine import OpenVINOEngine
from regraft.machine import extras

ROOT = Path(__file__).resolve().parent.parent
NAMES = list(catalog.PINNED)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import make_topologies

    return make_topologies


def features(folder: Path, info: Any, pixels: Any) -> Any:
    engine = OpenVINOEngine(folder, replace(info, precision="fp32"), keeps_blob=False)
    return run_on_cores(engine, pixels, batch_size=1)


def by_torch(source: catalog.Source, pixels: Any) -> Any:
    tapped, _ = network.tap(network.load(source))
    with torch.inference_mode():
        return tapped(torch.from_numpy(pixels)).numpy()


# -- What comes along --


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow  # 3 s a network: traced and simplified anew
def test_what_comes_along_is_what_the_script_makes_of_timms_network(name: str, script: Any) -> None:
    for path, content in script.files(name).items():
        kept = path.read_bytes()
        if path.suffix == ".npy":
            known, found = (np.load(io.BytesIO(data)) for data in (kept, content))
            assert np.allclose(known, found, rtol=1e-4, atol=1e-4)
        elif path.suffix == ".xml":  # ids and names are OpenVINO's own affair
            assert abs(len(kept) - len(content)) < 0.01 * len(kept)
            assert kept.count(b"<layer") == content.count(b"<layer")
        else:
            assert kept == content, f"{path.name}: run `make topologies`"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        # TensorFlow's padding differs on odd sides.
        ("default", {"input_px": (97, 131), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}),
        ("lite2", {"input_px": (224, 192)}),
    ],
)
def test_a_filled_graph_says_what_pytorch_says(
    name: str, changed: Mapping[str, Any], tmp_path: Path
) -> None:
    source = catalog.resolve(name).given(**changed)
    known = ready_engine.topology_of(source, "cpu")
    assert known is not None
    info = ready_engine.build_into(tmp_path, source, known)
    pixels = made_up_pictures(*info.preprocess.input_px)
    wanted = by_torch(source, pixels)
    found = features(tmp_path, info, pixels)
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert info.check["fp32"]["error"] < 1e-4
    loaded = network.load(source)
    assert info.widths == tuple(network.tap(loaded)[1])
    assert info.weights_digest == loaded.weights_digest
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in loaded.config.items()}
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in info.config.items()}.items() <= (
        plain.items()
    )
    kept = tensor_file.read(tmp_path / "weights.safetensors")
    for key, tensor in loaded.network.state_dict().items():
        assert np.array_equal(kept[key].to_array(), tensor.numpy())


def test_the_engine_is_bit_for_bit_the_one_that_pytorch_builds(tmp_path: Path) -> None:
    from regraft.features import engine_builder

    source = catalog.resolve("default")
    known = topology.find(source.architecture)
    assert known is not None
    for name in ("ready", "torch"):
        (tmp_path / name).mkdir()
    info = ready_engine.build_into(tmp_path / "ready", source, known)
    loaded = engine_builder.load(source, offline=True)
    engine_builder.build_into(tmp_path / "torch", source, loaded, sample=None, device="cpu")
    pixels = made_up_pictures(*info.preprocess.input_px)
    assert np.array_equal(
        features(tmp_path / "ready", info, pixels), features(tmp_path / "torch", info, pixels)
    )


@pytest.mark.parametrize("fault", ["other batch norm", "turned filter", "one channel"])
def test_a_graph_that_is_filled_wrongly_is_refused(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = topology.Topology.filled

    def wrong(self: Any, tensors: dict[str, Stored], **given: Any) -> Any:
        tensors = dict(tensors)
        if fault == "other batch norm":
            a, b = "blocks.3.1.bn1.running_var", "blocks.3.2.bn1.running_var"
            tensors[a], tensors[b] = tensors[b], tensors[a]
        name = "blocks.4.0.conv_dw.weight"
        values = tensors[name].to_array()
        if fault == "turned filter":
            values = values[..., ::-1]
        if fault == "one channel":
            values[7] = 0
        tensors[name] = Stored.from_array(np.ascontiguousarray(values))
        return genuine(self, tensors, **given)

    monkeypatch.setattr(topology.Topology, "filled", wrong)
    source = catalog.resolve("default")
    known = topology.find(source.architecture)
    assert known is not None
    with pytest.raises(Exception, match="disagrees with PyTorch in fp32"):
        ready_engine.build_into(tmp_path, source, known)


def test_weights_of_another_network_are_refused() -> None:
    known = topology.find("tf_efficientnet_lite0")
    assert known is not None
    other = torch_file.read(catalog.weights_file("lite1"))
    with pytest.raises(WeightsError, match="do not fit the architecture tf_efficientnet_lite0"):
        known.under_timms_names(other)
    own = dict(torch_file.read(catalog.weights_file("default")))
    name = next(iter(own))
    own[name] = Stored("F32", (2, 2), bytes(16))
    with pytest.raises(WeightsError, match=r"'conv_stem.weight' is F32 \(2, 2\), expected"):
        known.under_timms_names(own)


@pytest.mark.parametrize("name", ["resnet18", "../catalog", "", "/etc/passwd", "digits"])
def test_only_what_comes_along_is_found(name: str) -> None:
    assert topology.find(name) is None


# -- Reading what torch.save wrote --


@pytest.mark.parametrize("name", NAMES)
def test_tensors_are_those_that_pytorch_reads(name: str) -> None:
    path = catalog.weights_file(name)
    wanted = torch.load(path, weights_only=True)
    found = torch_file.read(path)
    assert list(found) == list(wanted)
    for key, tensor in wanted.items():
        assert found[key].shape == tuple(tensor.shape)
        assert np.array_equal(found[key].to_array(), tensor.numpy())


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_turned_and_shared_tensors_and_other_kinds_are_read(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    content = OrderedDict(
        turned=base.permute(2, 0, 1), part=base[1], halves=base.half(), doubles=base.double(),
        counts=torch.arange(5), one=torch.tensor(7), none=torch.zeros(0, 3), ints=base.int(),
    )  # fmt: skip
    found = torch_file.read(saved(content, tmp_path / "some.pth"))
    for name, tensor in content.items():
        assert np.array_equal(found[name].to_array(), tensor.numpy()), name
        assert found[name].to_array().dtype == tensor.numpy().dtype


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("it ran",))


@pytest.mark.parametrize(
    "content",
    [
        {"w": Evil()},
        [torch.zeros(2)],
        {"w": [torch.zeros(2)]},
        {3: torch.zeros(2)},
        {"w": torch.nn.Parameter(torch.zeros(2))},
        {"w": torch.zeros(2, dtype=torch.complex64)},
        {"w": "text"},
        torch.nn.Linear(2, 2),
    ],
    ids=["a call", "a list", "a list of them", "a number as name", "a parameter", "complex",
         "text", "a module"],
)  # fmt: skip
def test_what_is_no_dict_of_tensors_is_refused_and_nothing_of_it_runs(
    content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TensorFileError):
        torch_file.read(saved(content, tmp_path / "bad.pth"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kept", [0, 1, 10, 200, 0.5, -1])
def test_a_file_that_was_cut_off_is_refused(kept: float, tmp_path: Path) -> None:
    whole = catalog.weights_file("default").read_bytes()
    n = int(kept * len(whole)) if isinstance(kept, float) else kept
    (tmp_path / "cut.pth").write_bytes(whole[:n])
    with pytest.raises(TensorFileError):
        torch_file.read(tmp_path / "cut.pth")


def test_more_at_the_end_is_refused(tmp_path: Path) -> None:
    path = saved({"w": torch.zeros(3)}, tmp_path / "more.pth")
    assert torch_file.read(path)["w"].shape == (3,)
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(TensorFileError, match="not those of its tensors"):
        torch_file.read(path)


def test_other_forms_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "zip.pth")
    (tmp_path / "text.pth").write_text("no tensors here")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"w": 1}))
    for path in tmp_path.iterdir():
        with pytest.raises(TensorFileError):
            torch_file.read(path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = saved({"w": torch.zeros(3, 5)}, tmp_path / "w.pth")
    data = path.read_bytes()
    # The shape (3, 5) as the pickle has it: two small numbers and a tuple of both.
    wide = data.replace(b"K\x03K\x05\x86", b"K\x09K\x05\x86")
    assert wide != data
    path.write_bytes(wide)
    with pytest.raises(TensorFileError, match="larger than its storage"):
        torch_file.read(path)


@pytest.mark.parametrize("seed", range(20))
def test_no_damage_is_more_than_a_refusal_or_other_numbers(seed: int, tmp_path: Path) -> None:
    path = saved({"w": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2)}, tmp_path / "w.pth")
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(data), 3):
        data[place] = rng.integers(0, 256)
    path.write_bytes(data)
    with contextlib.suppress(TensorFileError):
        torch_file.read(path)


# -- Networks that learnt on --


def test_a_network_that_learnt_on_needs_no_pytorch_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where PyTorch is not installed: from the model's own tensors, which differ everywhere."""
    loaded = network.load(catalog.resolve("default"))
    generator = torch.Generator().manual_seed(1)
    for tensor in loaded.network.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(1 + 0.1 * torch.rand(tensor.shape, generator=generator))
    tensors = {n: Stored.from_array(t.numpy()) for n, t in loaded.network.state_dict().items()}
    digest = tensor_file.digest_of(tensors)
    own = {f"network.{name}": tensors[name] for name in ("classifier.weight", "classifier.bias")}
    new = {
        "classifier.weight": Stored.from_array(np.zeros((2, 1280), np.float32)),
        "classifier.bias": Stored.from_array(np.zeros(2, np.float32)),
    }
    model = tmp_path / "model"
    model.mkdir()
    tensor_file.write(model / "model.safetensors", {**tensors, **new})
    tensor_file.write(model / "regraft.safetensors", own)
    known = {"pretrained_cfg": loaded.config, "regraft": {"backbone": {"num_classes": 1000}}}
    (model / "config.json").write_text(json.dumps(known))
    source = catalog.Source(
        "default", "artefact", loaded.architecture, f"digest:{digest}", digest, path=model
    )
    assert ready_engine.topology_of(source, "cpu") is None, "PyTorch builds it where it is"
    monkeypatch.setattr(extras, "has", lambda package: False)
    topology_found = ready_engine.topology_of(source, "cpu")
    assert topology_found is not None
    (tmp_path / "engine").mkdir()
    info = ready_engine.build_into(tmp_path / "engine", source, topology_found)
    pixels = made_up_pictures(*info.preprocess.input_px)
    with torch.inference_mode():
        wanted = network.tap(loaded)[0](torch.from_numpy(pixels)).numpy()
    found = features(tmp_path / "engine", info, pixels)
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert "fp32" not in info.check, "nothing that PyTorch said of these weights is known"
    kept = tensor_file.read(tmp_path / "engine" / "weights.safetensors")
    assert kept["classifier.bias"].shape == (1000,)

    changed = {**tensors, **new, "bn2.bias": tensors["bn2.weight"]}
    (model / "model.safetensors").unlink()
    tensor_file.write(model / "model.safetensors", changed)
    with pytest.raises(WeightsError, match="the network's digest is"):
        ready_engine.build_into(tmp_path / "engine", source, topology_found)
