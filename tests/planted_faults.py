"""Engines that are wrong on purpose, and sound ones: what the check of an engine must tell apart.

Each fault is planted in the module that becomes the graph; the network itself says what is wanted.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from regraft.backbones import catalog, network
from regraft.features import engine_builder
from regraft.features.agreement import Agreement, agreement, made_up_pictures
from regraft.features.engine import EngineInfo
from regraft.features.openvino_engine import GRAPH, OpenVINOEngine
from regraft.features.torch_engine import describe


class Known(NamedTuple):
    """A network, and what PyTorch says of the made-up pictures."""

    info: EngineInfo
    loaded: network.LoadedNetwork
    pixels: np.ndarray
    wanted: np.ndarray


@functools.lru_cache(maxsize=3)
def known_of(name: str) -> Known:
    source = catalog.resolve(name)
    loaded = network.load(source, offline=True)
    tapped, widths = network.tap(_copy_of(loaded))
    info = describe(source, loaded, widths)
    pixels = made_up_pictures(*info.preprocess.input_px)
    return Known(info, loaded, pixels, engine_builder._reference(tapped, pixels))


def _copy_of(loaded: network.LoadedNetwork) -> network.LoadedNetwork:
    """A network that can be tapped and spoilt; taps stay with the network that they listen to."""
    return replace(loaded, network=copy.deepcopy(loaded.network))


def write_graph(known: Known, module: nn.Module, folder: Path) -> Path:
    """The graph of a module, as an engine's folder holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = known.info.preprocess.input_px
    example = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    engine_builder.to_graph(module.eval(), example, folder / GRAPH)
    return folder


def rows_in(precision: str, known: Known, folder: Path) -> np.ndarray:
    """What the graph in a folder says of the known pictures."""
    info = replace(known.info, precision=precision)
    return OpenVINOEngine(folder, info, keeps_blob=False).run(known.pixels)


def compare(known: Known, found: np.ndarray, precision: str) -> Agreement:
    return agreement(found, known.wanted, known.info.taps, precision)


# -- Faults --


class ColumnsOf(nn.Module):
    """A module whose columns come in another order."""

    def __init__(self, module: nn.Module, order: np.ndarray) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("order", torch.from_numpy(order))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.module(pixels).index_select(1, self.order)


class Before(nn.Module):
    """A module that is shown other pixels than it is given."""

    def __init__(self, module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.module, self.change = module, change

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.module(self.change(pixels))


def sound(known: Known) -> nn.Module:
    return network.tap(_copy_of(known.loaded))[0]


def blue_first(known: Known) -> nn.Module:
    return Before(sound(known), lambda pixels: pixels.flip(-1))


def not_normalised(known: Known, part: str, number: float) -> nn.Module:
    module = sound(known)
    module.normalised.get_buffer(part).fill_(number)
    return module


def one_stage_off(known: Known) -> nn.Module:
    """Each tap's columns hold the next tap's numbers, as far as their widths allow."""
    order = np.roll(np.arange(known.info.n_features), -known.info.taps[0].stop)
    return ColumnsOf(sound(known), order)


def maximum_for_mean(known: Known) -> nn.Module:
    order = np.arange(known.info.n_features)
    for tap in known.info.taps[:-1]:
        width = (tap.stop - tap.start) // 2
        order[tap.start : tap.stop] = np.roll(order[tap.start : tap.stop], width)
    return ColumnsOf(sound(known), order)


def changed_weight(known: Known, where: str, how: str) -> nn.Module:
    """One filter zeroed or negated, or one number of it times 100.

    `where`: the first, middle or last of the convolutions and matrices before the classifier.
    """
    state = known.loaded.network.state_dict()
    names = filters_of(known)
    name = names[{"first": 0, "middle": len(names) // 2, "last": -1}[where]]
    changed = state[name].clone()
    strongest = int(changed.flatten(1).norm(dim=1).argmax())
    if how == "number times 100":
        changed[strongest].view(-1)[changed[strongest].abs().argmax()] *= 100
    else:
        changed[strongest] *= {"filter zeroed": 0, "filter negated": -1}[how]
    spoilt = _copy_of(known.loaded)
    spoilt.network.load_state_dict({**state, name: changed})
    return network.tap(spoilt)[0]


def filters_of(known: Known) -> list[str]:
    """Names of the tensors that are rows of filters, without the classifier's."""
    state = known.loaded.network.state_dict()
    heads = known.loaded.config["classifier"]
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    return [
        name
        for name, tensor in state.items()
        if name.endswith("weight") and tensor.ndim >= 2 and not name.startswith(heads)
    ]


Plant = Callable[[Known], nn.Module]
OF_THE_INPUT: dict[str, Plant] = {
    "blue first": blue_first,
    "no mean": functools.partial(not_normalised, part="mean", number=0),
    "no deviation": functools.partial(not_normalised, part="inverse_std", number=1 / 255),
}
OF_THE_TAPS: dict[str, Plant] = {
    "one stage off": one_stage_off,
    "maximum for mean": maximum_for_mean,
}
OF_WEIGHTS: dict[str, Plant] = {
    f"{where} {how}": functools.partial(changed_weight, where=where, how=how)
    for how in ("filter zeroed", "filter negated", "number times 100")
    for where in ("first", "middle", "last")
}
FAULTS = {**OF_THE_INPUT, **OF_THE_TAPS, **OF_WEIGHTS}
