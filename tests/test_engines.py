"""Engines agree with PyTorch or give way to it, are built once, and are found without torch.

The fast tests run timm's smallest networks (random weights); `slow` has every family that
docs/experiments.md speaks of.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import HAS_BF16
from regraft.backbones import catalog
from regraft.errors import UsageError
from regraft.features import engines, upkeep
from regraft.features.agreement import MOST_ERROR, Agreement, agreement, made_up_pictures
from regraft.features.engine import EngineInfo, Tap
from regraft.features.engines import BuiltEngine, locate
from regraft.images.geometry import Preprocess
from regraft.machine import processor

pytestmark = [pytest.mark.numerics, pytest.mark.usefixtures("one_core")]
Write = Callable[..., Path]
SMALL = catalog.resolve("random:test_resnet")
FAST = ["test_vit", "test_convnext"]
SLOW = [
    "resnet18", "resnet50", "vgg11", "mobilenetv3_large_100", "convnext_atto", "densenet121",
    "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "vit_small_patch14_dinov2",
    "efficientnet_b0", "regnety_002", "mobilenetv4_conv_small",
]  # fmt: skip

# Same operations, a tenth of the work: VGG's 100 million weights would only be copied, DINOv2 was
# trained for pictures of 518 px, and blocks that are alike stand there twice (Swin's second one is
# shifted). What rounding adds up to over many layers the others tell, which are whole.
NARROWER = {
    "vgg11": {"mlp_ratio": 0.05},
    "densenet121": {"block_config": (2, 2, 2, 2)},
    "swin_tiny_patch4_window7_224": {"depths": (2, 2, 2, 2), "embed_dim": 48},
    "vit_small_patch14_dinov2": {"depth": 3},
}
SMALLER = {"vit_small_patch14_dinov2": (224, 224)}


@pytest.fixture(scope="module")
def small_engines(make_room: Callable[[str], Path]) -> Path:
    """A cache with the engine of timm's smallest ResNet."""
    folder = make_room("small-engines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(folder))
        assert locate(SMALL, device="cpu").info.notes == ()
    return folder


@pytest.fixture
def small(small_engines: Path, cache: Path) -> Path:
    """This test's cache, with that engine in it."""
    shutil.copytree(small_engines / "engines", cache / "engines")
    return cache


def pixels_for(info: EngineInfo, n: int = 3) -> np.ndarray:
    return made_up_pictures(*info.preprocess.input_px, n)


def assert_agrees_with_torch(
    name: str, *, is_written: bool = True, input_px: tuple[int, int] | None = None
) -> BuiltEngine:
    from regraft.backbones import network, weights
    from regraft.features.torch_engine import TorchEngine

    source = catalog.resolve(f"random:{name}").given(input_px=input_px)
    built = locate(source, device="cpu", offline=True)
    assert built.info.notes == (), "OpenVINO runs it"
    assert built.info.runtime.startswith("openvino")
    pixels = pixels_for(built.info)
    found = built.start(n_threads=1).run(pixels)
    assert found.shape == (3, built.info.n_features)
    assert found.dtype == np.float32
    reference = TorchEngine.load(built.folder, built.info, device="cpu")
    state = reference._module.network.state_dict()
    before = weights.digest_of_tensors(state)
    wanted = reference.run(pixels)
    assert agreement(found, wanted, built.info.taps, built.info.precision).problem() == ""
    turned = agreement(found, wanted[[1, 2, 0]], built.info.taps, built.info.precision)
    assert turned.problem(), "pictures must differ"
    # Frozen is frozen: parameters and statistics as they were.
    assert weights.digest_of_tensors(state) == before == built.info.weights_digest
    assert not reference._module.training
    if not is_written:
        return built
    # As what was written says, too.
    saved = weights.read_tensors(built.weights_path)
    assert weights.digest_of_tensors(saved) == before
    assert network.rebuild(
        built.weights_path, built.info.architecture, built.info.config
    ).weights_digest == before  # fmt: skip
    return built


@pytest.mark.parametrize("name", FAST)
def test_openvino_agrees_with_pytorch_at_every_tap(name: str) -> None:
    assert_agrees_with_torch(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_openvino_agrees_with_pytorch_for_every_family(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bf16, if this processor has it: then the builder holds the graph in fp32 against PyTorch
    as well, so that neither precision refuses a sound engine."""
    import timm.models._registry as registry

    from regraft.features import engine_builder

    if HAS_BF16:
        monkeypatch.setenv("REGRAFT_PRECISION", "bf16")
    monkeypatch.setattr(
        engine_builder, "made_up_pictures", lambda height, width: made_up_pictures(height, width, 4)
    )  # half of them
    narrower = functools.partial(registry.model_entrypoint(name), **NARROWER.get(name, {}))
    monkeypatch.setitem(registry._model_entrypoints, name, narrower)
    # More than PyTorch reads what was written above.
    built = assert_agrees_with_torch(name, is_written=False, input_px=SMALLER.get(name))
    assert set(built.info.check) == ({"fp32", "bf16"} if HAS_BF16 else {"fp32"})


def test_an_engine_that_is_built_leaves_no_weights_in_the_process(tmp_path: Path) -> None:
    """PyTorch itself never forgets what it froze."""
    import gc

    import torch

    from regraft.features import engine_builder

    for i in range(10):
        if i == 2:  # what is imported and made once is there
            before = anonymous_mb()
        layers = torch.nn.Conv2d(1000, 8000, 1), torch.nn.BatchNorm2d(8000)  # 32 MB, then folded
        module = torch.nn.Sequential(*layers).eval()
        engine_builder.to_graph(module, torch.zeros(1, 1000, 1, 1), tmp_path / f"{i}.xml")
        del layers, module
        gc.collect()
    assert anonymous_mb() - before < 256  # of eight times 64


def anonymous_mb() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell a process's memory")
    (line,) = (one for one in status.read_text().splitlines() if one.startswith("RssAnon"))
    return int(line.split()[1]) // 1024


def test_a_small_resnet_agrees_with_pytorch(small: Path) -> None:
    assert_agrees_with_torch("test_resnet")


def test_the_default_backbone_agrees_with_pytorch(engine_cache: Path) -> None:
    assert_agrees = locate(catalog.resolve("default"), offline=True)
    from regraft.features.torch_engine import TorchEngine

    pixels = pixels_for(assert_agrees.info, 8)
    found = assert_agrees.start().run(pixels)
    wanted = TorchEngine.load(assert_agrees.folder, assert_agrees.info, device="cpu").run(pixels)
    info = assert_agrees.info
    assert agreement(found, wanted, info.taps, info.precision).problem() == ""
    for check in info.check.values():
        assert Agreement(**check).problem() == ""


def test_the_mean_and_maximum_of_a_tap_are_those_of_the_map(cache: Path) -> None:
    import torch

    from regraft.backbones import network

    loaded = network.load(catalog.resolve("random:test_resnet"))
    tapped, widths = network.tap(loaded)
    pixels = pixels_for(engine_info(widths, loaded.config), 2)
    kept: dict[str, torch.Tensor] = {}
    first = widths[0][0]
    module = dict(loaded.network.named_modules())[first]
    module.register_forward_hook(lambda m, a, out: kept.__setitem__(first, out))
    with torch.no_grad():
        features = tapped(torch.from_numpy(pixels)).numpy()
        mean = torch.tensor(loaded.config["mean"]).view(1, 3, 1, 1)
        std = torch.tensor(loaded.config["std"]).view(1, 3, 1, 1)
        plain = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
        loaded.network(plain)
        final = loaded.network.forward_head(loaded.network.forward_features(plain), pre_logits=True)
    width = widths[0][1]
    np.testing.assert_allclose(features[:, :width], kept[first].mean((2, 3)), atol=1e-4)
    np.testing.assert_allclose(features[:, width : 2 * width], kept[first].amax((2, 3)), atol=1e-4)
    np.testing.assert_allclose(features[:, -final.shape[1] :], final, atol=1e-4)


def engine_info(widths: list[tuple[str, int]], config: dict[str, object]) -> EngineInfo:
    return EngineInfo(
        "x", "x", "x", "", "", Preprocess.from_timm(config), tuple(widths), "torch", "fp32"
    )


def test_an_engine_is_built_once_and_found_again(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(engines, "build", lambda *a, **k: pytest.fail("built twice"))
    found = locate(SMALL, device="cpu", say=said.append)
    assert said == []
    assert [folder for folder, _ in engines.list_built()] == [found.folder]
    assert [p.name for p in (small / "engines").iterdir() if p.name.startswith(".")] == []


def test_building_is_said_before(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_openvino(monkeypatch)
    said: list[str] = []
    assert engines.find_built(SMALL) is None
    locate(SMALL, device="cpu", say=said.append)
    assert len(said) == 1
    assert "once" in said[0]
    locate(SMALL, device="cpu", say=said.append)
    assert len(said) == 1


def test_equal_weights_under_two_names_share_a_folder(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_openvino(monkeypatch)
    first = locate(SMALL, device="cpu")
    file = tmp_path / "saved.safetensors"
    shutil.copy(first.weights_path, file)
    other = locate(catalog.resolve("test_resnet", weights=file), device="cpu")
    assert other.folder == first.folder
    assert other.info == first.info, "an engine that is there already is as good"
    assert len(engines.list_built()) == 1


def without_openvino(monkeypatch: pytest.MonkeyPatch, message: str = "not here") -> None:
    from regraft.features import engine_builder

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(engine_builder, "to_graph", fail)


def test_a_graph_that_disagrees_is_refused_and_pytorch_runs(
    cache: Path, small_engines: Path, tmp_path: Path, make_photos: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from regraft.features import engine_builder
    from regraft.features.torch_engine import TorchEngine
    from regraft.listener import Listener
    from regraft.record.configuration import RunConfig
    from regraft.workflows.preparation import prepare

    genuine = engine_builder._reference
    monkeypatch.setattr(engine_builder, "_reference", lambda *a: genuine(*a)[:, ::-1])
    said: list[str] = []
    folder = make_photos(tmp_path / "photos", n=2, size_px=64)
    config = RunConfig(str(folder), backbone="random:test_resnet", device="cpu")
    prepared = prepare(config, listener=Listener(say=said.append), needs_splits=False)
    info = prepared.built.info
    assert any("OpenVINO does not run test_resnet (it disagrees" in line for line in said)
    assert any("PyTorch does" in note for note in info.notes)
    assert info.runtime.startswith("torch")
    assert isinstance(prepared.built.start(), TorchEngine)

    # The very numbers that OpenVINO would have given, to its tolerance.
    monkeypatch.setenv("REGRAFT_CACHE", str(small_engines))
    other = prepare(config, needs_splits=False)
    assert other.built.info.runtime.startswith("openvino")
    found = agreement(other.X, prepared.X, info.taps, other.built.info.precision)
    assert found.error < MOST_ERROR[other.built.info.precision]
    assert prepared.extraction.recipe.digest != other.extraction.recipe.digest


def test_a_graph_that_cannot_be_made_is_no_end(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_openvino(monkeypatch, "unsupported operator aten::strange\nsecond line")
    built = locate(SMALL, device="cpu")
    assert "aten::strange" in built.info.notes[0]
    assert "second line" not in built.info.notes[0]
    assert built.start().run(pixels_for(built.info)).shape == (3, built.info.n_features)


@pytest.mark.parametrize("damage", ["{", "", '{"name": "x"}', None])
def test_a_damaged_engine_folder_is_built_anew(
    small: Path, damage: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_openvino(monkeypatch)
    first = locate(SMALL, device="cpu")
    if damage is None:
        (first.folder / "engine.json").unlink()
    else:
        (first.folder / "engine.json").write_text(damage)
    assert engines.find_built(SMALL) is None
    again = locate(SMALL, device="cpu")
    assert again.info.weights_digest == first.info.weights_digest
    assert again.start().run(pixels_for(again.info)).shape[1] == again.info.n_features


def test_infos_survive_json_and_taps_stand_side_by_side() -> None:
    info = EngineInfo(
        "n", "a", "d", "l", "o", Preprocess(), (("one", 3), ("two", 5), ("final", 4)), "torch 2",
        "fp32", 4, {"worst": 1.0}, ("note",), {"mean": [0.5]},
    )  # fmt: skip
    assert EngineInfo.from_json(info.to_json()) == info
    assert info.taps == (Tap("one", 0, 6), Tap("two", 6, 16), Tap("final", 16, 20))
    assert info.n_features == 20
    with pytest.raises((ValueError, KeyError, TypeError)):
        EngineInfo.from_json(json.dumps({"name": "x"}))


def test_the_folder_depends_on_weights_device_and_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = engines.folder_for("ab")
    assert engines.folder_for("ab") == here
    assert len({here, engines.folder_for("cd"), engines.folder_for("ab", "cuda")}) == 3
    monkeypatch.setattr(processor, "_flags", lambda: frozenset({"other"}))
    assert engines.folder_for("ab") != here


@pytest.mark.parametrize(
    ("flags", "vendor", "wanted"),
    [
        ({"avx2"}, "AuthenticAMD", "fp32"), ({"avx2"}, "GenuineIntel", "fp32"),
        ({"avx512_bf16"}, "AuthenticAMD", "bf16"), ({"avx512_bf16"}, "GenuineIntel", "fp32"),
        ({"amx_bf16", "amx_tile"}, "GenuineIntel", "bf16"), (set(), "", "fp32"),
    ],
)  # fmt: skip
def test_precision_follows_the_processor(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], vendor: str, wanted: str
) -> None:
    monkeypatch.delenv("REGRAFT_PRECISION", raising=False)
    monkeypatch.setattr(processor, "_flags", lambda: frozenset(flags))
    monkeypatch.setattr(processor, "_vendor", lambda: vendor)
    assert processor.precision() == wanted


@pytest.mark.parametrize("forced", processor.PRECISIONS)
def test_the_environment_forces_a_precision(monkeypatch: pytest.MonkeyPatch, forced: str) -> None:
    import torch

    from regraft.training.acceleration import precision_for

    monkeypatch.setenv("REGRAFT_PRECISION", forced)
    assert processor.precision() == forced
    assert precision_for("cpu", torch.nn.Conv2d(3, 8, 3)) == forced
    assert precision_for("cpu", torch.nn.Conv2d(8, 8, 3, groups=8)) == "fp32"
    folder = engines.folder_for("ab")
    other = next(name for name in processor.PRECISIONS if name != forced)
    monkeypatch.setenv("REGRAFT_PRECISION", other)
    assert engines.folder_for("ab") != folder


@pytest.mark.parametrize("slip", ["BF16", "fp16", "auto", "1"])
def test_a_precision_that_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch, cache: Path, slip: str
) -> None:
    monkeypatch.setenv("REGRAFT_PRECISION", slip)
    with pytest.raises(UsageError, match="fp32 or bf16") as caught:
        locate(SMALL, device="cpu")
    assert "REGRAFT_PRECISION" in str(caught.value)
    assert repr(slip) in str(caught.value)
    assert not (cache / "engines").exists() or not engines.list_built()


def test_known_backbones_are_listed_with_their_engine(engine_cache: Path) -> None:
    ((folder, info),) = upkeep.contents().engines
    assert info.name == "default"
    assert (folder / "graph.xml").is_file()
    assert isinstance(BuiltEngine(folder, info, catalog.resolve("default")).weights_path, Path)


def test_a_blob_that_cannot_be_written_costs_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where two workers start on a cold cache, one of which moves the blob under the other."""
    from regraft.features import openvino_engine

    asked: list[dict[str, Any]] = []

    class Core:
        def compile_model(self, graph: str, device: str, options: dict[str, Any]) -> str:
            asked.append(dict(options))
            if "CACHE_DIR" in options or "missing" in graph:
                raise RuntimeError("filesystem error: cannot set permissions")
            return "compiled"

    monkeypatch.setattr(openvino_engine.openvino, "Core", Core)
    assert openvino_engine.compile_graph(tmp_path, "fp32", 1) == "compiled"
    assert ["CACHE_DIR" in options for options in asked] == [True, False]
    with pytest.raises(RuntimeError, match="filesystem"):
        openvino_engine.compile_graph(tmp_path / "missing", "fp32", 1)
