"""`regraft summary`: its counts are known by hand, and agree with torchinfo and with training."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from regraft.backbones import catalog, cost, network, splitting, weights
from regraft.backbones.split_points import split_points
from regraft.backbones.stages import find_stages
from regraft.cli.main import cli
from regraft.errors import BackboneError, UsageError
from regraft.training import defaults
from regraft.workflows import summary

FAMILIES = [
    "test_resnet", "test_efficientnet", "test_convnext", "test_nfnet", "test_mambaout",
    "test_byobnet",
]  # fmt: skip


def untrained(name: str) -> nn.Module:
    return network.without_weights(catalog.resolve(f"random:{name}"))


# -- Known answers --


def test_resnet_50_is_what_its_papers_say() -> None:
    found = cost.measure(untrained("resnet50"), (3, 224, 224))
    assert found.n_parameters == 25_557_032
    # By hand, from the table of He et al. (2016), with the stride in the 3 x 3 convolutions.
    adds = 64 * 3 * 49 * 112**2
    width_in = 64
    for width, n_blocks, side in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        for block in range(n_blocks):
            is_first = block == 0
            before = side * (2 if is_first and width > 64 else 1)
            adds += width_in * width * before**2 + 9 * width**2 * side**2 + 4 * width**2 * side**2
            adds += width_in * 4 * width * side**2 if is_first else 0
            width_in = 4 * width
    assert found.multiply_adds == adds + 2048 * 1000 == 4_089_184_256


def test_one_convolution_is_counted_as_by_hand() -> None:
    grouped = nn.Sequential(nn.Conv2d(3, 6, 5, stride=2, groups=3, bias=False))
    found = cost.measure(grouped, (3, 21, 33))
    assert found.layers[0].shape == (6, 9, 15)
    assert found.n_parameters == 6 * 25
    assert found.multiply_adds == 25 * 6 * 9 * 15
    assert found.weight_bytes == 4 * 150
    assert found.output_bytes == 4 * 6 * 9 * 15


def test_the_products_within_attention_are_counted() -> None:
    vit = untrained("test_vit")
    found = cost.measure(vit, (3, 160, 160))
    n, width, n_blocks = 1 + 10 * 10, vit.embed_dim, len(vit.blocks)
    linear = sum(p.numel() for name, p in vit.blocks.named_parameters() if p.ndim == 2)
    patches = 3 * 16 * 16 * width * 100
    products = 2 * n * n * width  # queries with keys, and their weights with values
    expected = patches + n * linear + n_blocks * products + width * 1000
    assert found.multiply_adds == expected


def test_what_is_written_in_place_or_only_viewed_counts_once() -> None:
    row = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Identity(), nn.Flatten())
    assert cost.measure(row, (3, 8, 8)).output_bytes == 4 * 4 * 8 * 8


def test_a_layer_that_is_called_twice_works_twice_and_is_held_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1, bias=False)
            self.unused = nn.Conv2d(3, 3, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(x))

    found = cost.measure(Twice(), (3, 10, 10))
    assert found.multiply_adds == found.layers[0].multiply_adds == 2 * 9 * 100
    assert found.n_parameters == 18
    assert found.layers[1].shape is None


def test_a_network_that_looks_at_numbers_is_run_with_numbers() -> None:
    class Looks(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x + x.sum().item())

    assert cost.measure(Looks(nn.Conv2d(3, 2, 1)), (3, 4, 4)).multiply_adds == 6 * 16


def test_the_network_stays_as_it_is() -> None:
    vit = untrained("test_vit").train()
    before = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    cost.measure(vit, (3, 160, 160))
    cost.kept_bytes(vit, (3, 160, 160), {"head.weight"})
    assert vit.training
    assert all(p.requires_grad and p.device.type == "cpu" for p in vit.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in vit.modules())
    assert weights.changed(before, vit.state_dict())[1] == []


# -- A second opinion --


@pytest.mark.parametrize(
    ("name", "side"), [("resnet50", 1024), *((name, 160) for name in FAMILIES)]
)
def test_torchinfo_agrees(name: str, side: int) -> None:
    torchinfo = pytest.importorskip("torchinfo")
    whole = untrained(name)
    found = cost.measure(whole, (3, side, side))
    # On 'meta' torchinfo too needs no time; its rows are told by the identity of the module.
    theirs = torchinfo.summary(
        whole.to("meta"), input_size=(1, 3, side, side), device="meta", depth=99, verbose=0
    )
    assert found.n_parameters == theirs.total_params
    rows = {row.layer_id: row for row in theirs.summary_list}
    mine = {layer.name: layer for layer in found.layers if layer.kind != cost.PARAMETER}
    compared = 0
    for module_name, module in whole.named_modules():
        if module_name and id(module) in rows:
            row, layer = rows[id(module)], mine[module_name]
            assert layer.shape == tuple(row.output_size[1:]), module_name
            assert layer.n_parameters == sum(p.numel() for p in module.parameters())
            compared += 1
    assert compared > 0.8 * len(mine)
    if name == "resnet50":
        assert found.n_parameters - 2048 * 1000 - 1000 == 23_508_032
        # torchinfo counts a multiply-add for each weight of BatchNorm and of the bias, we do not.
        others = sum(p.numel() for p in whole.parameters() if p.ndim == 1)
        assert theirs.total_mult_adds - found.multiply_adds == others


def test_what_training_keeps_is_what_a_real_pass_keeps() -> None:
    for name in ("test_resnet", "test_vit", "test_convnext"):
        whole = untrained(name)
        names = {n for n, _ in whole.named_parameters()}
        kept: dict[int, torch.Tensor] = {}
        weights = {t.untyped_storage().data_ptr() for t in whole.state_dict().values()}

        def keep(tensor: torch.Tensor, kept: Any = kept, weights: Any = weights) -> torch.Tensor:
            if tensor.untyped_storage().data_ptr() not in weights:
                kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            output = whole(torch.zeros(1, 3, 160, 160))
        real = sum(t.untyped_storage().nbytes() for t in kept.values())
        estimate = cost.kept_bytes(whole, (3, 160, 160), names)
        assert output.requires_grad
        # On 'meta' BatchNorm keeps statistics of a batch even where it does not take them.
        assert 0 <= estimate - real <= 0.002 * real, name


def test_less_is_kept_the_later_the_training_begins() -> None:
    kept = [
        summary.summarise("random:test_resnet", split_point=point).training
        for point in ("layer1", "layer2", "layer4")
    ]
    sizes = [training.kept_bytes for training in kept if training]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    for training in kept:
        assert training is not None
        assert training.total_bytes > training.batch_size * training.kept_bytes


# -- What learns --


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_what_learns_is_what_the_split_trains(name: str) -> None:
    whole = untrained(name)
    for point in split_points(whole)[::2]:
        found = summary.summarise(f"random:{name}", split_point=point.name)
        parts = splitting.split(whole, point.name)
        sizes = {n: p.numel() for n, p in whole.named_parameters()}
        assert found.method == "partial"
        assert found.n_learnt == sum(sizes[n] for n in parts.trained)
        states = dict(zip([layer.name for layer in found.cost.layers], found.learns, strict=True))
        assert states[point.name] == summary.LEARNS
        assert states.get(point.after, "") in (summary.FROZEN, summary.NOTHING)
        assert 0 < found.n_frozen_multiply_adds < found.cost.multiply_adds


def test_each_method_learns_its_share() -> None:
    found = {m: summary.summarise("random:test_resnet", method=m, n_classes=5) for m in
             ("probe", "head", "partial", "full", "scratch")}  # fmt: skip
    head = found["probe"].n_head
    assert head == 5 * untrained("test_resnet").num_features + 5
    assert found["probe"].n_learnt == found["head"].n_learnt == head
    assert head < found["partial"].n_learnt < found["full"].n_learnt
    assert found["full"].n_learnt == found["scratch"].n_learnt == found["full"].cost.n_parameters
    assert found["probe"].training is None
    assert found["full"].n_frozen_multiply_adds == 0
    assert found["probe"].learns[-1] == summary.HEAD
    assert {s for s in found["probe"].learns[:-1] if s} == {summary.FROZEN}


def test_default_split_points_are_those_of_partial() -> None:
    whole = untrained("test_efficientnet")
    names = [point.name for point in split_points(whole)]
    found = summary.summarise("random:test_efficientnet", method="partial")
    for kind, gain in (("like", 0.01), ("unlike", 0.2)):
        situation = defaults.Situation(1000, 3, 300, 160, True, gain, tuple(find_stages(whole)))
        assert found.default_split_points[kind] == defaults.split_point(situation, names)
    assert found.split_point == found.default_split_points["like"]
    assert found.default_split_points["like"] != found.default_split_points["unlike"]


# -- Sizes and classes --


def test_a_transformer_gets_a_position_for_each_patch() -> None:
    found = summary.summarise("random:test_vit", input_size="3x320x160")
    layers = {layer.name: layer for layer in found.cost.layers}
    assert layers["pos_embed"].shape == (1, 1 + 20 * 10, 64)
    assert found.own_shape == (3, 160, 160)
    own = summary.summarise("random:test_vit")
    added = found.cost.n_parameters - own.cost.n_parameters
    assert added == 64 * 100


def test_multiply_adds_of_convolutions_grow_with_the_area() -> None:
    small, large = (
        summary.summarise("random:test_resnet", input_size=s).cost for s in ("160", "320")
    )
    head = [layer.multiply_adds for layer in small.layers][-1]
    assert large.multiply_adds - head == 4 * (small.multiply_adds - head)
    assert large.n_parameters == small.n_parameters


@given(st.integers(8, 4096), st.integers(8, 4096))
def test_an_input_size_is_read_as_it_is_written(height: int, width: int) -> None:
    assert summary.parse_input(f"3x{height}x{width}") == (3, height, width)
    assert summary.parse_input(f" 3 X {height}×{width}") == (3, height, width)
    assert summary.parse_input(str(height)) == (3, height, height)


@given(st.text(max_size=12))
def test_any_other_text_is_refused_with_an_example(text: str) -> None:
    try:
        shape = summary.parse_input(text)
    except UsageError as error:
        assert "--input 3x1024x1024" in error.cure  # noqa: PT017
    else:
        assert shape[0] == 3
        assert min(shape) >= 3


# -- The command --


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["summary", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("depth", ["1", "2", "4"])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_the_table_fits_in_80_columns(name: str, depth: str) -> None:
    table = run(f"random:{name}", "--input", "1024", "--depth", depth).split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 80
    assert "…×" not in table
    rows = [line.removeprefix("+").split()[0] for line in table.splitlines()[1:]]
    deepest = max(row.count(".") for row in rows if not row[0].isdigit()) + 1
    assert deepest <= int(depth)


def test_split_points_are_marked_and_the_one_in_use_is_always_shown() -> None:
    text = run("random:test_vit", "--split-point", "blocks.3", "--depth", "1")
    assert "\n+ blocks.3 " in text
    assert "\n  blocks " in text
    assert "blocks.2 " not in text
    assert "from blocks.3 on" in text
    (whole,) = re.findall(r"^  blocks .* (\w+) *$", text, re.MULTILINE)
    assert whole == "part"


def test_json_holds_all_that_is_counted() -> None:
    content = json.loads(run("random:test_vit", "--json", "--classes", "4", "--method", "full"))
    assert content["schema"] == 1
    assert content["classes"] == 4
    assert content["input"] == [3, 160, 160]
    parts = content["parameters"]
    assert parts["without_head"] + parts["head"] == parts["total"] == parts["learn"]
    assert parts["head"] == 4 * 64 + 4
    layers = {layer["name"]: layer for layer in content["layers"]}
    assert layers["head"]["output"] == [4]
    assert layers["blocks.1"]["split_point"]
    assert math.prod(layers["pos_embed"]["output"]) == layers["pos_embed"]["parameters"]
    top = [layer for name, layer in layers.items() if "." not in name]
    assert sum(layer["parameters"] for layer in top) == parts["total"]
    assert sum(layer["multiply_adds"] for layer in top) == content["multiply_adds"]["total"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet5O"], "near: resnet50"),
        (["defualt"], "near: default"),
        (["random:test_resnet", "--input", "3x1024"], "'3x1024' is neither one number nor"),
        (["random:test_resnet", "--input", "1x64x64"], "has 1 channels"),
        (["random:test_resnet", "--input", "3"], "8 to 16384 pixels"),
        (["random:test_resnet", "--split-point", "layer9"], "near: layer"),
        (["random:test_resnet", "--split-point", "layer3", "--method", "full"], "'partial'"),
        (["random:test_resnet", "--weights", "none.pth"], "no weights file 'none.pth'"),
        (["hf-hub:someone/something", "--offline"], "--offline forbids"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_a_cure(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(cli, ["summary", *arguments])
    assert isinstance(done.exception, (UsageError, BackboneError))
    assert done.exception.exit_code == 2
    assert words in str(done.exception)
    assert done.exception.cure


def test_a_size_that_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(BackboneError, match="does not take pictures of 3 x 9 x 9"):
        cost.measure(nn.Sequential(nn.Conv2d(3, 2, 11)), (3, 9, 9))


def test_no_weights_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("weights were looked for")

    monkeypatch.setattr(catalog, "weights_file", refuse)
    monkeypatch.setattr(network.weights, "read_tensors", refuse)
    assert "tf_efficientnet_lite0 (default)" in run()
