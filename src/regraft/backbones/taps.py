"""What the stages of a network give in a pass, pooled; and pixels as networks want them.

The pass, the prefix before a cut and the module that learns stand on these two, so that a tap
means the same number in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import nn


class Normalised(nn.Module):  # type: ignore[misc]
    """uint8 pictures ``(N, H, W, 3)`` to ``(N, 3, H, W)`` float, so that pixels travel as bytes."""

    def __init__(self, *, mean: Any, std: Any) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("inverse_std", 1 / (torch.tensor(std).view(1, 3, 1, 1) * 255))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = (pixels.permute(0, 3, 1, 2).float() - self.mean) * self.inverse_std
        return x


class StageTaps:
    """The outputs of some modules in the latest forward pass.

    Parameters
    ----------
    network : nn.Module
    names : collection of str
        Modules to hear; those that the network lacks are left out.
    """

    def __init__(self, network: nn.Module, names: Collection[str]) -> None:
        self.is_channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        self._outputs: dict[str, torch.Tensor] = {}
        for name, module in network.named_modules():
            if name in names:
                module.register_forward_hook(self._keep(name))

    def __contains__(self, name: str) -> bool:
        return name in self._outputs

    def __setitem__(self, name: str, output: torch.Tensor) -> None:
        """What was come by in another way than by hearing the module."""
        self._outputs[name] = output

    def take(self, name: str) -> Iterator[torch.Tensor]:
        """Mean and maximum over space (or tokens), ``(N, C)`` each; forgotten afterwards."""
        yield from self.pooled(self.take_map(name))

    def take_map(self, name: str) -> torch.Tensor:
        """The output as it is; forgotten afterwards."""
        return self._outputs.pop(name)

    def pooled(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of one map ``(N, C, H, W)``, ``(N, H, W, C)`` as Swin's are, or tokens ``(N, T, C)``."""
        space = (1,) if x.ndim == 3 else (1, 2) if self.is_channels_last else (2, 3)
        return x.mean(space).float(), x.amax(space).float()

    def by_position(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, P, C)`` of a map as `pooled` takes it: positions row by row, or tokens."""
        if x.ndim == 4 and not self.is_channels_last:
            x = x.permute(0, 2, 3, 1)
        return x.flatten(1, -2)

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: torch.Tensor) -> None:
            self._outputs[name] = output

        return hook
