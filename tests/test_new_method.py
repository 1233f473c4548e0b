"""A new method is one file and one line: low-rank adaptation, declared here, trains and is saved.

Hu, E. et al. (2022), LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import regraft
from regraft.errors import TrainingError
from regraft.probe.method import Method
from regraft.record.configuration import RunConfig
from regraft.training import methods
from regraft.training.trainable import Trainable
from regraft.workflows import experiment

RANK = 2


class Adapted(nn.Module):
    """A layer that stays, and a way beside it of low rank that learns."""

    def __init__(self, base: nn.Conv2d) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Conv2d(base.in_channels, RANK, 1, bias=False)
        self.up = nn.Conv2d(RANK, base.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))

    def merged(self) -> torch.Tensor:
        change = self.up.weight.flatten(1) @ self.down.weight.flatten(1)
        return self.base.weight + change[:, :, None, None]


def is_adapted(module: nn.Module) -> bool:
    is_convolution = isinstance(module, nn.Conv2d) and module.groups == 1
    return is_convolution and module.kernel_size == (1, 1)


def adapted(network: nn.Module) -> nn.Module:
    body = copy.deepcopy(network).requires_grad_(False)
    for name, module in list(body.named_modules()):
        if is_adapted(module):
            parent, _, last = name.rpartition(".")
            setattr(body.get_submodule(parent), last, Adapted(module))
    return body


def folded(body: nn.Module) -> Mapping[str, torch.Tensor]:
    state = {name: t for name, t in body.state_dict().items() if ".up." not in name}
    state = {name: t for name, t in state.items() if ".down." not in name}
    found = {name.replace(".base.", "."): t for name, t in state.items()}
    for name, module in body.named_modules():
        if isinstance(module, Adapted):
            found[f"{name}.weight"] = module.merged()
    return found


def lora(plan: Any) -> Trainable:
    network = plan.input.loaded.network
    moving = {f"{name}.weight" for name, module in network.named_modules() if is_adapted(module)}
    return Trainable(
        body=adapted(network),
        learn=plan.augmented_examples(),
        choose=plan.plain_examples(),
        stages=plan.input.stages,
        frozen=tuple(set(network.state_dict()) - moving),
        merged=folded,
    )


LORA = Method(
    name="lora",
    help="low-rank changes of the layers",
    learns="low-rank changes of its 1 x 1 convolutions",
    network="its layers learnt on by low-rank changes",
    paper="low-rank changes learnt",
    sees_pictures=True,
    fixed={"batchnorm": "frozen"},
    images_seen={False: (2_000, 3, 6), True: (9_000, 4, 16)},
    trainable=lora,
)


@pytest.fixture
def photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_photos: Callable[..., Path]
) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return make_photos(tmp_path / "photos", splits={"train": 16, "val": 5})


def trained(monkeypatch: pytest.MonkeyPatch, method: Method) -> experiment.Result:
    monkeypatch.setitem(methods.METHODS, method.name, method)
    settings = {"epochs": 2, "batch_size": 8, "select_fraction": 0.25, "interpolate": False}
    backbone = "random:test_efficientnet"
    return experiment.run(
        RunConfig("photos", method=method.name, backbone=backbone, training=settings)
    )


def test_low_rank_adaptation_takes_one_file_and_one_line(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = trained(monkeypatch, LORA)
    weights = result.metrics["training"]["weights"]
    assert weights["is_frozen"]
    assert 0 < weights["moved"] <= weights["trained"]
    tensors = load_file(result.classifier.built().weights_path)
    assert weights["trained"] + weights["frozen"] == len(tensors)
    files = sorted((photos / "val").rglob("*.*"))
    saved = regraft.load(result.folder / "model").predict_proba(files)
    assert np.array_equal(saved, result.classifier.predict_proba(files))


def test_what_learnt_under_a_strange_name_is_not_lost_silently(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgets(plan: Any) -> Trainable:
        return replace(lora(plan), merged=lambda body: body.state_dict())

    with pytest.raises(TrainingError, match="tensors learnt that the network does not have"):
        trained(monkeypatch, replace(LORA, name="forgets", trainable=forgets))
