"""Which network a name means, and weights that are what they claim to be or refused."""

from __future__ import annotations

import importlib.util
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from regraft.backbones import catalog, listing
from regraft.errors import BackboneError, WeightsError

torch = pytest.importorskip("torch")
network = import_module("regraft.backbones.network")
weights = import_module("regraft.backbones.weights")
stages = import_module("regraft.backbones.stages")


def grey(size: int = 64) -> Any:
    torch.manual_seed(0)
    return torch.randn(2, 3, size, size)


# -- Names --


@pytest.mark.parametrize("name", catalog.PINNED)
def test_pinned_digests_are_true(name: str) -> None:
    pytest.importorskip(catalog.PINNED[name].package)
    assert catalog.file_digest(catalog.weights_file(name)) == catalog.PINNED[name].sha256
    loaded = network.load(catalog.resolve(name))
    assert loaded.weights_digest == catalog.PINNED[name].weights_digest
    assert loaded.architecture == catalog.PINNED[name].architecture
    assert loaded.licence == "apache-2.0"
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_lite0_is_the_default() -> None:
    assert catalog.resolve("lite0") == catalog.resolve("default")


def test_a_file_of_another_digest_is_refused_with_both(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = catalog.PINNED["default"]
    monkeypatch.setitem(catalog.PINNED, "default", replace(pinned, sha256="0" * 64))
    with pytest.raises(WeightsError) as caught:
        network.load(catalog.resolve("default"))
    assert "0000000000000000…" in str(caught.value)
    assert pinned.sha256[:16] in str(caught.value)
    assert "force-reinstall" in str(caught.value)


@pytest.mark.parametrize(("name", "install"), [("lite1", "regraft[lite1]"), ("default", "regraft")])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, name: str, install: str
) -> None:
    genuine = importlib.util.find_spec
    package = catalog.PINNED[name].package
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == package else genuine(n, *a)
    )
    with pytest.raises(BackboneError) as caught:
        network.load(catalog.resolve(name))
    assert package in str(caught.value)
    assert install in str(caught.value)
    assert not next(b for b in listing.find() if b.name == name).is_here


@pytest.mark.parametrize(
    ("typo", "near"), [("resnet188", "resnet18"), ("convnex_atto", "convnext_atto")]
)
def test_a_typo_is_answered_with_near_names(typo: str, near: str) -> None:
    with pytest.raises(BackboneError, match=repr(typo)) as caught:
        network.load(catalog.resolve(typo))
    assert near in str(caught.value)


@pytest.mark.parametrize("name", ["", "owner/repo", "ftp:thing", "timm/resnet18.a1_in1k"])
def test_what_is_no_name_is_refused_with_the_kinds_of_names(name: str) -> None:
    with pytest.raises(BackboneError, match="local-dir:FOLDER"):
        catalog.resolve(name)


def test_backbones_are_listed_and_found() -> None:
    assert [b.name for b in listing.find()] == ["default", "lite1", "lite2"]
    names = {b.name for b in listing.find("resnet1*")}
    assert any(n.startswith("resnet18") for n in names)
    assert not any("vit" in n for n in names)
    with pytest.raises(BackboneError, match=r"near:.*resnet18"):
        listing.find("resnet181")


# -- Weights files --


def saved(path: Path, state: dict[str, Any]) -> Path:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({n: t.contiguous() for n, t in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def state_of(name: str, seed: int = 3) -> dict[str, Any]:
    import timm

    torch.manual_seed(seed)
    return dict(timm.create_model(name, pretrained=False).state_dict())


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".pt", ".bin"])
@pytest.mark.parametrize("wrapped", ["", "state_dict", "module."])
def test_files_of_tensors_are_read(tmp_path: Path, ending: str, wrapped: str) -> None:
    state = state_of("test_resnet")
    content: dict[str, Any] = state
    if wrapped == "module.":
        content = {f"module.{n}": t for n, t in state.items()}
    elif wrapped and ending != ".safetensors":
        content = {wrapped: state, "epoch": 3}
    path = saved(tmp_path / f"w{ending}", content)
    loaded = network.load(catalog.resolve("test_resnet", weights=path))
    assert loaded.weights_digest == weights.digest_of_tensors(state)
    assert weights.digest_of_tensors(state_of("test_resnet", 4)) != loaded.weights_digest


def test_another_number_of_classes_is_no_matter(tmp_path: Path) -> None:
    state = state_of("test_resnet")
    state["fc.weight"], state["fc.bias"] = (
        torch.zeros(7, state["fc.weight"].shape[1]),
        torch.zeros(7),
    )
    loaded = network.load(catalog.resolve("test_resnet", weights=saved(tmp_path / "w.pth", state)))
    assert torch.equal(loaded.network.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("ending", [".pth", ".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_and_never_run(
    tmp_path: Path, ending: str, writer: str
) -> None:
    path, trace = tmp_path / f"evil{ending}", tmp_path / "trace"
    content = {**state_of("test_resnet"), "extra": Payload(trace)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"extra": Payload(trace)}))
    with pytest.raises(WeightsError, match="cannot be read as tensors") as caught:
        network.load(catalog.resolve("test_resnet", weights=path))
    assert not trace.exists(), "the code in the file was run"
    assert str(path) in str(caught.value)
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists(), "the payload works, where someone runs it"


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(99)])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"w{ending}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read"):
        network.load(catalog.resolve("test_resnet", weights=path))


@pytest.mark.parametrize("content", [{}, {"a": 1}, [1, 2]])
def test_files_without_tensors_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="tensors"):
        network.load(catalog.resolve("test_resnet", weights=path))


def test_another_architecture_is_refused_with_the_first_misfit(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", state_of("test_vit"))
    with pytest.raises(WeightsError, match=r"'conv1.0.weight' is missing") as caught:
        network.load(catalog.resolve("test_resnet", weights=path))
    assert "--backbone" in str(caught.value)
    state = state_of("test_resnet")
    name = next(n for n in state if n.startswith("layer3") and state[n].ndim == 4)
    state[name] = torch.zeros(2, 2, 3, 3)
    path = saved(tmp_path / "v.safetensors", state)
    with pytest.raises(WeightsError) as caught:
        network.load(catalog.resolve("test_resnet", weights=path))
    assert f"{name!r} is (2, 2, 3, 3), expected (" in str(caught.value)


@pytest.mark.parametrize("name", ["missing.pth", "a_folder.pth", "weights.txt"])
def test_what_is_no_weights_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a_folder.pth").mkdir()
    (tmp_path / "weights.txt").write_text("x")
    with pytest.raises((BackboneError, WeightsError), match=name):
        catalog.resolve("test_resnet", weights=tmp_path / name)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("resnet18", "resnet18"),
        ("mobilenet_v3_large", "mobilenetv3_large_100"),
        pytest.param("vgg11", "vgg11", marks=pytest.mark.slow),
        pytest.param("densenet121", "densenet121", marks=pytest.mark.slow),
    ],
)
def test_torchvisions_files_give_torchvisions_answers(
    tmp_path: Path, theirs: str, ours: str
) -> None:
    import torchvision

    torch.manual_seed(1)
    model = getattr(torchvision.models, theirs)(weights=None).eval()
    for module in model.modules():  # statistics that are not the neutral 0 and 1
        if hasattr(module, "running_mean"):
            module.eps = 1e-5  # timm's; no weights file holds it
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    if theirs == "mobilenet_v3_large":  # its own small start lets every picture die out
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
    size = 224 if theirs == "vgg11" else 64
    path = saved(tmp_path / "w.pth", model.state_dict())
    loaded = network.load(catalog.resolve(ours, weights=path))
    with torch.no_grad():
        wanted, found = model(grey(size)), loaded.network(grey(size))
    scale = float(wanted.std())
    assert float((found - wanted).abs().max()) < 1e-3 * scale
    assert float(wanted[0].sub(wanted[1]).abs().max()) > 1e-2 * scale, "pictures must differ"


# -- Folders --


def test_a_local_folder_comes_back(tmp_path: Path) -> None:
    import timm
    from timm.models import save_for_hf

    torch.manual_seed(2)
    model = timm.create_model("test_resnet", pretrained=False, num_classes=5).eval()
    save_for_hf(model, tmp_path / "mine", safe_serialization=True)
    loaded = network.load(catalog.resolve(f"local-dir:{tmp_path / 'mine'}"))
    with torch.no_grad():
        assert torch.equal(loaded.network(grey()), model(grey()))
    assert loaded.architecture == "test_resnet"
    assert loaded.weights_digest == weights.digest_of_tensors(model.state_dict())
    source = catalog.resolve(f"local-dir:{tmp_path / 'mine'}")
    shutil.copytree(tmp_path / "mine", tmp_path / "copy")
    assert catalog.resolve(f"local-dir:{tmp_path / 'copy'}").identity == source.identity


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no config.json"),
        ({"config.json": "{}"}, "names no architecture"),
        ({"config.json": "["}, "names no architecture"),
        ({"config.json": '{"architecture": "test_resnet"}'}, "no model.safetensors"),
        ({"config.json": '{"architecture": "test_resnet"}', "model.safetensors": "x"}, "cannot be"),
        ({"config.json": '{"architecture": "nonet"}', "model.safetensors": "x"}, "nonet"),
    ],
)
def test_folders_that_are_no_backbone_are_refused(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises((BackboneError, WeightsError), match=words):
        network.load(catalog.resolve(f"local-dir:{tmp_path}"))


# -- Stages --


@pytest.mark.parametrize(
    ("name", "last"),
    [("test_resnet", "layer4"), ("test_vit", "blocks"), ("test_convnext", "stages")],
)
def test_stages_are_in_order_and_come_before_the_head(name: str, last: str) -> None:
    found = stages.find_stages(network.load(catalog.resolve(f"random:{name}")).network)
    assert len(found) == len(set(found)) >= 3
    assert found[-1].startswith(last)
    assert len(found) <= stages.MAX_STAGES
    numbers = [int(n.rpartition(".")[2]) for n in found if n.rpartition(".")[2].isdigit()]
    assert numbers == sorted(numbers)


def test_many_stages_are_thinned_and_the_last_is_kept() -> None:
    names = [f"b.{i}" for i in range(61)]
    kept = stages._thin(names)
    assert len(kept) <= stages.MAX_STAGES
    assert kept[-1] == "b.60"
    assert [int(n[2:]) for n in kept] == sorted(int(n[2:]) for n in kept)
    assert stages._thin(names[:5]) == names[:5]


def test_random_networks_are_the_same_every_time() -> None:
    a = network.load(catalog.resolve("random:test_resnet")).weights_digest
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    assert network.load(catalog.resolve("random:test_resnet")).weights_digest == a
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's seed is left alone"


def test_the_config_that_is_kept_is_plain_json() -> None:
    from regraft.features.torch_engine import describe

    loaded = network.load(catalog.resolve("random:test_vit"))
    info = describe(catalog.resolve("random:test_vit"), loaded, network.tap(loaded)[1])
    json.dumps(info.config)
    assert info.preprocess.input_px == tuple(loaded.config["input_size"][1:])
