"""The maps of a network's stages before they are pooled: what says where a score comes from.

Array letters: N images, P positions (or tokens), C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones import network
from regraft.backbones.taps import Normalised, StageTaps
from regraft.errors import UsageError
from regraft.features import subgraphs
from regraft.features.engine import Tap
from regraft.features.engines import BuiltEngine

# Pooled by hand and pooled by the network, relative to the largest number.
TOLERANCE = 1e-4


class MapsNetwork(nn.Module):  # type: ignore[misc]
    """uint8 pictures ``(N, H, W, 3)`` to ``(N, D)``: some maps, one after the other.

    A map lies as ``(P, C)``. `shapes` has, after a pass, height, width, tokens before those of
    the grid, and channels of each.

    Parameters
    ----------
    timm_network : nn.Module
    names : sequence of str
        Stages, and 'final' for the last map, which the network itself pools.
    mean, std : three floats
        Of RGB in [0, 1].
    """

    def __init__(
        self, timm_network: nn.Module, names: Sequence[str], *, mean: Any, std: Any
    ) -> None:
        super().__init__()
        self.network, self.names = timm_network, tuple(names)
        self.normalised = Normalised(mean=mean, std=std)
        self.taps = StageTaps(timm_network, set(names))
        self.shapes: dict[str, tuple[int, int, int, int]] = {}

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        last = self.network.forward_features(self.normalised(pixels))
        heard = {n: self.taps.take_map(n) if n in self.taps else last for n in self.names}
        maps = {name: self.taps.by_position(x).float() for name, x in heard.items()}
        size = (int(pixels.shape[1]), int(pixels.shape[2]))
        self.shapes = {
            name: (*grid_of(self.network, x, size), int(maps[name].shape[2]))
            for name, x in heard.items()
        }
        return torch.cat([x.flatten(1) for x in maps.values()], dim=1)


def grid_of(
    timm_network: nn.Module, x: torch.Tensor, size: tuple[int, int]
) -> tuple[int, int, int]:
    """Height and width of a map, and how many tokens stand before those of the grid.

    Parameters
    ----------
    x : tensor
        A map ``(N, C, H, W)`` or, as Swin's are, ``(N, H, W, C)``; or tokens ``(N, T, C)``.
    size : (height, width)
        Of the pictures, in pixels: a grid of tokens has their proportions.

    Raises
    ------
    UsageError
        The tokens fill no such grid.
    """
    if x.ndim == 4:
        is_last = getattr(timm_network, "output_fmt", "NCHW") == "NHWC"
        height, width = x.shape[1:3] if is_last else x.shape[2:4]
        return int(height), int(width), 0
    n_tokens = int(x.shape[1])
    for n_prefix in dict.fromkeys((int(getattr(timm_network, "num_prefix_tokens", 0)), 0)):
        height = round(math.sqrt(max(0, n_tokens - n_prefix) * size[0] / size[1]))
        width = round(height * size[1] / size[0])
        if height and height * width == n_tokens - n_prefix:
            return height, width, n_prefix
    raise UsageError(
        f"the {n_tokens} tokens of a {type(timm_network).__name__} stand on no grid",
        cure="--method occlusion",
    )


def find_or_build(
    built: BuiltEngine, part: str, *, example: NDArray[np.uint8]
) -> subgraphs.Subgraph:
    """The maps of all stages as a part of a built engine: one graph, whatever a head sees.

    Its facts: ``maps``, the `shapes` of each stage and of 'final', the last map; and ``pooling``,
    what makes the final features of it: 'mean', 'max', or '' for neither.

    Parameters
    ----------
    part : str
        The name under which it is kept.
    example : (n, H, W, 3) uint8
        Real pictures: on them the pooling is found out, and the graph compared with PyTorch.

    Raises
    ------
    UsageError
        Tokens stand on no grid.
    """
    info = built.info
    names = [name for name, _ in info.widths]
    loaded = network.rebuild(built.weights_path, info.architecture, info.config)
    module = MapsNetwork(
        loaded.network, names, mean=loaded.config["mean"], std=loaded.config["std"]
    ).eval()
    pixels = torch.from_numpy(np.ascontiguousarray(example))
    with torch.inference_mode():
        module(pixels)
        pooling = _pooling(module, pixels)
    columns, start = [], 0
    for name, (height, width, n_prefix, n_channels) in module.shapes.items():
        stop = start + (n_prefix + height * width) * n_channels
        columns.append(Tap(name, start, stop))
        start = stop
    facts = {"maps": {name: list(shape) for name, shape in module.shapes.items()}}
    return subgraphs.find_or_build(
        module, built, part, columns=columns, example=example, facts={**facts, "pooling": pooling}
    )


def _pooling(module: MapsNetwork, pixels: torch.Tensor) -> str:
    """What the network does with its last map, found out by doing it by hand."""
    last = module.network.forward_features(module.normalised(pixels))
    final = module.network.forward_head(last, pre_logits=True).flatten(1).float()
    for name, pooled in zip(("mean", "max"), module.taps.pooled(last), strict=True):
        if pooled.shape == final.shape:
            scale = float(final.abs().max())
            if float((pooled - final).abs().max()) <= TOLERANCE * scale:
                return name
    return ""
