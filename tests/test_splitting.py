"""A network cut in two is that network: by the proof, and by another route than the proof's."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from regraft.errors import BackboneError

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
splitting = import_module("regraft.backbones.splitting")
stages = import_module("regraft.backbones.stages")
Trail = import_module("regraft.backbones.trail").Trail
weights = import_module("regraft.backbones.weights")
split_points = import_module("regraft.backbones.split_points").split_points


def make(name: str, *, side: int = 96, **options: Any) -> Any:
    """A network with random weights, those that start at zero or nearly so among them.

    `side` becomes the size that it holds for its own; 0 leaves that.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = timm.create_model(name, pretrained=False, **options)
        if side:
            size = {"input_size": (3, side, side), "test_input_size": None}
            network.pretrained_cfg = {**network.pretrained_cfg, **size}
        return as_if_trained(network)


def as_if_trained(network: Any) -> Any:
    for key, tensor in network.state_dict().items():
        if key.endswith("running_mean"):
            tensor.uniform_(-0.2, 0.2)
        # Scales, those of normalisation too: timm lets residual branches begin at zero.
        elif key.endswith(("gamma", "running_var")) or (
            key.endswith("weight") and tensor.ndim == 1
        ):
            tensor.uniform_(0.5, 1.5)
    return network.eval()


def small_vgg() -> Any:
    from timm.models.vgg import VGG

    torch.manual_seed(3)
    layers = [8, "M", 16, "M", 16, 16, "M", 24, "M"]
    network = VGG(layers, num_classes=5, norm_layer=torch.nn.BatchNorm2d)
    network.pre_logits = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1))
    network.head.fc = torch.nn.Linear(24, 5)
    network.pretrained_cfg = {"input_size": (3, 64, 64)}
    return as_if_trained(network)


def small_vit(name: str = "vit_tiny_patch16_224", depth: int = 3, side: int = 64) -> Any:
    return make(name, side=side, img_size=side, depth=depth, num_classes=7)


def small_swin(depths: tuple[int, ...] = (1, 2, 2, 1)) -> Any:
    sizes = {"depths": depths, "embed_dim": 24, "num_heads": (1, 2, 2, 2)}
    return make("swin_tiny_patch4_window7_224", side=0, **sizes)


slow = pytest.mark.slow
NETWORKS = [
    pytest.param(lambda: make("resnet18"), id="resnet18"),
    pytest.param(small_vgg, id="vgg-small"),
    pytest.param(lambda: make("mobilenetv3_small_050"), id="mobilenetv3_small_050"),
    pytest.param(
        lambda: make("mobilenetv4_conv_small_050"), id="mobilenetv4_conv_small_050", marks=slow
    ),
    pytest.param(lambda: make("tf_efficientnet_lite0"), id="tf_efficientnet_lite0"),
    pytest.param(lambda: make("convnext_atto"), id="convnext_atto", marks=slow),
    pytest.param(lambda: make("regnetx_002"), id="regnetx_002", marks=slow),
    pytest.param(small_vit, id="vit_tiny-3-blocks"),
    pytest.param(lambda: small_vit("deit_tiny_distilled_patch16_224", 2), id="deit-2-blocks"),
    pytest.param(lambda: small_vit("vit_small_patch14_dinov2", 2, 56), id="dinov2-2-blocks"),
    pytest.param(small_swin, id="swin-small", marks=slow),
    pytest.param(lambda: make("mobilenetv2_050"), id="mobilenetv2_050", marks=slow),
    pytest.param(lambda: make("efficientnet_b0"), id="efficientnet_b0", marks=slow),
    pytest.param(
        lambda: make("densenet121", block_config=(3, 4, 5, 3)), id="densenet-15-layers", marks=slow
    ),
    # All blocks of the real ones, on small pictures or with few channels; one at its real size.
    pytest.param(lambda: small_vit(depth=12), id="vit_tiny", marks=slow),
    pytest.param(lambda: small_vit("deit_tiny_patch16_224", depth=12), id="deit_tiny", marks=slow),
    pytest.param(lambda: small_swin((2, 2, 6, 2)), id="swin_tiny", marks=slow),
    pytest.param(
        lambda: make("vit_small_patch14_dinov2", side=0, depth=2, embed_dim=96, num_heads=3),
        id="dinov2-518",
        marks=slow,
    ),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small passes, many of them: threads would wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(network: Any, n: int = 2, side: int | None = None) -> Any:
    channels, height, width = network.pretrained_cfg["input_size"]
    size = (channels, side or height, side or width)
    return torch.randn(n, *size, generator=torch.Generator().manual_seed(8))


def close(found: Any, wanted: Any) -> bool:
    return bool((found - wanted).abs().max() <= 1e-4 * wanted.abs().max().clamp(min=1e-12))


@contextmanager
def hooked(module: Any, hook: Callable[..., Any]) -> Any:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


# -- The parts are the network --


@pytest.mark.parametrize("build", NETWORKS)
def test_the_parts_are_the_network_at_every_stage(build: Callable[[], Any]) -> None:
    network = build()
    before = copy.deepcopy(network.state_dict())
    points = split_points(network)
    at_stages = [point.name for point in points if point.is_stage]
    found = stages.find_stages(network)
    # Only the first stage may have nothing before it.
    assert at_stages in (found, found[1:])
    x = pictures(network)
    # A network whose answer is the same for every picture would pass any test.
    with torch.no_grad():
        assert network(x).std(0).max() > 1e-3 * network(x).abs().max()
    # Of a transformer's many blocks, which are alike, every third.
    for name in at_stages[:: 3 if len(at_stages) > 8 else 1]:
        parts = splitting.split(network, name)
        assert parts.point in points
        assert max(parts.proof.values()) < 1e-4
        activation = parts.prefix(x)
        assert parts.shape == tuple(activation.shape[1:])
        # The other route: the whole network, something else put in place of what crosses the cut.
        # Were there a second way past the cut, the answers would differ.
        noise = torch.randn(activation.shape, generator=torch.Generator().manual_seed(1))
        planted = activation + activation.std() * noise
        kept = planted.clone()
        seen: list[Any] = []

        def swap(module: Any, args: Any, output: Any, new: Any = planted, seen: Any = seen) -> Any:
            seen.append(output)
            return new.clone()

        with torch.no_grad():
            with hooked(network.get_submodule(parts.point.after), swap):
                wanted = network(x)
            assert torch.equal(seen[0], activation)
            assert close(parts.rest(planted), wanted)
            assert torch.equal(planted, kept), "the rest writes into what it is given"
            assert close(parts.rest(activation), network(x))
    same, moved = weights.changed(before, network.state_dict())
    assert (len(same), moved) == (len(before), [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "options", "name"),
    [
        # With a narrow hidden layer: its 100 million weights would only be copied.
        ("vgg11_bn", {"mlp_ratio": 0.05}, "features.20"),
        # Its attention keeps its biases from pass to pass in eval mode, without their gradients.
        ("tiny_vit_5m_224", {}, "stages.2"),
        ("inception_v3", {}, "Mixed_6e"),
        ("test_vit_relpos", {}, "blocks.4"),
    ],
)
def test_other_families_are_proven_too(
    architecture: str, options: dict[str, Any], name: str
) -> None:
    network = make(architecture, side=0, **options)
    parts = splitting.split(network, name)
    assert max(parts.proof.values()) < 1e-4
    assert parts.trained
    assert not set(parts.frozen) & set(parts.trained)
    assert {name for name, _ in network.named_parameters()} <= {*parts.frozen, *parts.trained}


@pytest.mark.parametrize("name", ["blocks.5.1", "blocks.1.1"])
def test_blocks_within_a_stage_are_points(name: str) -> None:
    parts = splitting.split(make("tf_efficientnet_lite0"), name)
    assert not parts.point.is_stage
    assert parts.point.after == name[:-1] + "0"
    assert max(parts.proof.values()) < 1e-4
    assert f"{name}.conv_pw.weight" in parts.trained
    assert f"{parts.point.after}.conv_pw.weight" in parts.frozen


@pytest.mark.parametrize(
    ("architecture", "wanted"),
    [
        ("resnet18", ["layer1<maxpool", "layer1.1<layer1.0", "layer2<layer1"]),
        ("tf_efficientnet_lite0", ["blocks.0<bn1", "blocks.1<blocks.0", "blocks.1.1<blocks.1.0"]),
        ("convnext_atto", ["stages.0<stem", "stages.0.blocks.1<stages.0.blocks.0"]),
        ("densenet121", ["features.norm0<features.conv0", "features.denseblock1<features.pool0"]),
    ],
)
def test_points_are_named_by_what_learns_in_order(architecture: str, wanted: list[str]) -> None:
    points = split_points(make(architecture))
    assert [f"{point.name}<{point.after}" for point in points][: len(wanted)] == wanted
    assert len({point.after for point in points}) == len(points)


def test_a_vision_transformer_is_cut_before_each_block() -> None:
    points = split_points(small_vit())
    found = [(point.name, point.after, point.is_stage) for point in points]
    assert found == [
        ("blocks.0", "norm_pre", True),
        ("blocks.1", "blocks.0", True),
        ("blocks.2", "blocks.1", True),
    ]


def test_no_point_lies_where_two_tensors_cross() -> None:
    names = {point.name for point in split_points(make("densenet121"))}
    assert not any("denselayer" in name for name in names)
    names = {point.name for point in split_points(make("resnet18"))}
    assert names == {f"layer{n}{block}" for n in (1, 2, 3, 4) for block in ("", ".1")}


def test_frozen_and_trained_divide_lite0_as_expected() -> None:
    network = make("tf_efficientnet_lite0", side=0)
    parts = splitting.split(network, "blocks.5")
    start = ("conv_stem.", "bn1.", *(f"blocks.{n}." for n in range(5)))
    parameters = [name for name, _ in network.named_parameters()]
    everything = parameters + [name for name, _ in network.named_buffers()]
    assert list(parts.frozen) == [name for name in everything if name.startswith(start)]
    assert list(parts.trained) == [name for name in parameters if not name.startswith(start)]
    assert "bn1.running_mean" in parts.frozen
    assert "classifier.bias" in parts.trained
    assert parts.shape == (112, 14, 14)
    asked = [name for name, p in parts.rest.named_parameters() if p.requires_grad]
    assert asked == list(parts.trained)


def test_a_vision_transformer_freezes_what_it_adds_before_its_blocks() -> None:
    parts = splitting.split(small_vit(depth=2), "blocks.0")
    assert parts.frozen[:3] == ("cls_token", "pos_embed", "patch_embed.proj.weight")
    assert not {"cls_token", "pos_embed"} & set(parts.trained)
    assert parts.trained[0] == "blocks.0.norm1.weight"


def test_other_sizes_work_where_the_network_takes_them() -> None:
    network = make("mobilenetv3_small_050")
    parts = splitting.split(network, "blocks.3")
    x = pictures(network, side=128)
    assert parts.prefix(x).shape == (2, 24, 8, 8)
    assert close(parts.rest(parts.prefix(x)), network(x))


def test_the_rest_speaks_timm_and_its_stages_can_be_tapped() -> None:
    network = make("mobilenetv3_small_050")
    parts = splitting.split(network, "blocks.3")
    x = pictures(network, side=96)
    tapped: dict[str, Any] = {}
    with torch.no_grad():
        with hooked(parts.rest.get_submodule("blocks.4"), lambda m, a, o: tapped.update(rest=o)):
            maps = parts.rest.forward_features(parts.prefix(x))
        with hooked(network.get_submodule("blocks.4"), lambda m, a, o: tapped.update(whole=o)):
            wanted = network.forward_features(x)
        assert close(maps, wanted)
        assert close(tapped["rest"], tapped["whole"])
        final = parts.rest.forward_head(maps, pre_logits=True)
        assert close(final, network.forward_head(wanted, pre_logits=True))


# -- Frozen is frozen, and what learns can go home --


def test_the_prefix_stays_as_it_is_in_train_mode() -> None:
    network = make("mobilenetv3_small_050")
    parts = splitting.split(network, "blocks.3")
    before = copy.deepcopy(parts.prefix.network.state_dict())
    x = pictures(network, side=96)
    still = parts.prefix(x)
    parts.prefix.train()
    assert not any(module.training for module in parts.prefix.modules())
    activation = parts.prefix(x)
    assert torch.equal(activation, still)
    assert not activation.requires_grad
    parts.rest.train()(activation).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in parts.prefix.parameters())
    same, moved = weights.changed(before, parts.prefix.network.state_dict())
    assert (same, moved) == (list(before), [])
    held = [name for name, _ in parts.prefix.network.named_parameters()]
    held += [name for name, _ in parts.prefix.network.named_buffers()]
    assert held == list(parts.frozen)


def test_a_step_in_train_mode_is_the_step_of_the_whole_network() -> None:
    """The whole network, its early layers held still by hand, against the two parts."""
    network = make("resnet18", num_classes=4)
    parts = splitting.split(network, "layer3")
    whole = copy.deepcopy(network).train()
    for name, module in whole.named_modules():
        if name.startswith(("conv1", "bn1", "layer1", "layer2")):
            module.eval().requires_grad_(False)
    x, y = pictures(network, n=4, side=64), torch.tensor([0, 1, 2, 3])
    rest = parts.rest.train()
    for model, given in ((whole, x), (rest, parts.prefix(x))):
        learning = [p for p in model.parameters() if p.requires_grad]
        step = torch.optim.SGD(learning, lr=0.1)
        torch.nn.functional.cross_entropy(model(given), y).backward()
        step.step()
    start, home = network.state_dict(), whole.state_dict()
    learnt = rest.state_dict()
    assert set(learnt) <= set(start)
    assert all(close(learnt[name], home[name]) for name in learnt if "num_batches" not in name)
    same, moved = weights.changed(start, {**start, **learnt})
    assert set(same) == set(parts.frozen)
    assert "layer3.0.bn1.running_mean" in moved
    assert set(parts.trained) <= set(moved)
    network.load_state_dict({**start, **learnt})
    whole.eval(), rest.eval()
    assert close(network(x), whole(x))
    assert close(rest(parts.prefix(x)), whole(x))


def test_changed_compares_bit_by_bit() -> None:
    nan = torch.tensor([float("nan"), 1.0])
    before = {
        "nan": nan,
        "zero": torch.zeros(1),
        "kind": torch.ones(2),
        "shape": torch.ones(2),
        "count": torch.tensor(3),
        "last bit": torch.tensor([1.0]),
        "strided": torch.arange(6).reshape(2, 3).T,
        "flag": torch.tensor([True]),
    }
    after = {
        **before,
        "nan": nan.clone(),
        "zero": -torch.zeros(1),
        "kind": torch.ones(2, dtype=torch.float64),
        "shape": torch.ones(1, 2),
        "count": torch.tensor(4),
        "last bit": torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0])),
        "strided": before["strided"].contiguous(),
    }
    same, moved = weights.changed(before, after)
    assert same == ["nan", "strided", "flag"]
    assert moved == ["zero", "kind", "shape", "count", "last bit"]
    with pytest.raises(ValueError, match=r"1 names.*flag"):
        weights.changed(before, {n: t for n, t in after.items() if n != "flag"})


# -- What a split leaves alone, and what it does not compute --


def test_the_prefix_stops_at_the_cut() -> None:
    network = make("mobilenetv3_small_050")
    parts = splitting.split(network, "blocks.2")
    ran: list[str] = []
    for name, module in parts.prefix.network.named_modules():
        module.register_forward_pre_hook(lambda m, args, name=name: ran.append(name))
    parts.prefix(pictures(network, side=64))
    assert "blocks.1.1.conv_pwl" in ran
    assert not any(name.startswith(("blocks.2", "conv_head", "classifier")) for name in ran)


def test_global_randomness_and_the_network_are_left_alone() -> None:
    network = make("resnet18").train().requires_grad_(False)
    calls: list[Any] = []
    network.layer2.register_forward_hook(lambda *args: calls.append(args))
    torch.manual_seed(11)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():
        parts = splitting.split(network, "layer3")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert calls == []
    assert not parts.rest.training
    own = {p.data_ptr() for p in network.parameters()}
    held = [*parts.rest.parameters(), *parts.prefix.parameters()]
    assert not own & {p.data_ptr() for p in held}


def test_the_prefix_can_be_traced_copied_and_pickled() -> None:
    network = make("mobilenetv3_small_050")
    parts = splitting.split(network, "blocks.5")
    x = pictures(network, side=96)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing warns of padding that depends on the size
        traced = torch.jit.trace(parts.prefix, x)
    assert close(traced(x), parts.prefix(x))
    assert not any("classifier" in name for name, _ in traced.named_parameters())
    for again in (copy.deepcopy(parts), pickle.loads(pickle.dumps(parts))):
        assert torch.equal(again.rest(again.prefix(x)), parts.rest(parts.prefix(x)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: make("tf_efficientnet_lite0"), "blocks.5"),
        (small_vit, "blocks.2"),
        (small_swin, "layers.2"),
    ],
    ids=["lite0", "vit", "swin"],
)
def test_the_prefix_becomes_an_openvino_graph(
    build: Callable[[], Any], name: str, tmp_path: Path
) -> None:
    openvino = pytest.importorskip("openvino")
    from regraft.features import engine_builder

    network = build()
    parts = splitting.split(network, name)
    x = pictures(network)
    engine_builder.to_graph(parts.prefix.eval(), x, tmp_path / "graph.xml")
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(tmp_path / "graph.xml", "CPU", exact)
    found = compiled(x.numpy())[0]
    assert close(torch.from_numpy(found), parts.prefix(x))


# -- What is refused --


def test_a_typo_is_answered_with_near_names() -> None:
    network = make("tf_efficientnet_lite0")
    with pytest.raises(BackboneError, match=r"'block\.5'; near: blocks\.5") as caught:
        splitting.split(network, "block.5")
    assert "blocks.5" in caught.value.near
    assert "blocks.6" in str(caught.value)
    with pytest.raises(BackboneError, match="no split point is called 'zzz'"):
        splitting.split(network, "zzz")
    # A module, and not a point: its shortcut passes it by.
    with pytest.raises(BackboneError, match="no split point is called"):
        splitting.split(network, "blocks.5.1.bn2")


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: make("tf_efficientnet_lite0"), "conv_stem"),
        (lambda: make("regnetx_002"), "stem"),
        (lambda: small_vit(depth=2), "patch_embed"),
        (small_vgg, "features.2"),
    ],
)
def test_nothing_before_the_cut_is_refused(build: Callable[[], Any], name: str) -> None:
    with pytest.raises(BackboneError, match=f"stands before '{name}'") as caught:
        splitting.split(build(), name)
    assert "method full" in str(caught.value)


def test_a_network_whose_blocks_share_a_tensor_has_no_split() -> None:
    network = make(
        "eva02_tiny_patch14_224", side=56, img_size=56, depth=2
    )  # each block is given the positions too
    assert split_points(network) == []
    with pytest.raises(BackboneError, match="this network has no split point"):
        splitting.split(network, "blocks.1")


def test_a_weight_used_on_both_sides_is_caught_by_its_gradient() -> None:
    network = make("resnet18")
    network.layer1[1].conv1.weight = network.layer1[0].conv1.weight
    with pytest.raises(BackboneError, match=r"cut at 'layer1\.1'") as caught:
        splitting.split(network, "layer1.1")
    assert caught.value.difference < 1e-4
    assert caught.value.gradient_difference > 1e-2
    assert max(splitting.split(network, "layer2").proof.values()) < 1e-4


class Remembering(torch.nn.Module):  # type: ignore[misc]
    """Passes its input by the stage after it, out of sight of every hook."""

    def __init__(self, stage: Any, memory: list[Any], is_first: bool) -> None:
        super().__init__()
        self.stage, self.memory, self.is_first = stage, memory, is_first

    def forward(self, x: Any) -> Any:
        x = self.stage(x)
        if self.is_first:
            self.memory[:] = [x]
            return x
        return x + torch.nn.functional.interpolate(self.memory[0], x.shape[2:]).mean(1, True)


def test_a_hidden_second_way_past_the_cut_is_caught() -> None:
    network, memory = make("resnet18"), []
    network.layer1 = Remembering(network.layer1, memory, is_first=True)
    network.layer3 = Remembering(network.layer3, memory, is_first=False)
    names = [point.name for point in split_points(network) if point.is_stage]
    assert names == ["layer1", "layer2", "layer3", "layer4"]
    assert max(splitting.split(network, "layer1").proof.values()) < 1e-4
    with pytest.raises(BackboneError, match="layer3"):
        splitting.split(network, "layer3")


def test_a_wrong_cut_is_caught_even_under_a_classifier_of_zeros(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = make("mobilenetv3_small_050")
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.zero_()
    genuine = splitting.cut

    def cut_and_spoil(*args: Any) -> Any:
        prefix, rest = genuine(*args)
        with torch.no_grad():
            rest.blocks[3][0].bn1.running_mean += 0.5
        return prefix, rest

    assert max(splitting.split(network, "blocks.3").proof.values()) < 1e-4
    monkeypatch.setattr(splitting, "cut", cut_and_spoil)
    with pytest.raises(BackboneError, match=r"cut at 'blocks\.3'.*outputs differ by") as caught:
        splitting.split(network, "blocks.3")
    assert caught.value.difference > 1e-3
    assert caught.value.gradient_difference > 1e-3


def test_a_step_that_is_made_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Trail.way_to
    network = make("mobilenetv3_small_050")

    def without_one(self: Any, name: Any) -> list[str]:
        return [step for step in genuine(self, name) if step != "blocks.2"]

    points = split_points(network)
    monkeypatch.setattr(splitting, "points_on", lambda *args: points)
    monkeypatch.setattr(Trail, "way_to", without_one)
    with pytest.raises(BackboneError, match=r"'blocks\.3'"):
        splitting.split(network, "blocks.3")
