"""The two parts of a network that is cut: copies, in which the other part's steps are not made.

The steps before the cut hand on what they are given; those after it are not there.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from regraft.backbones.trail import METHOD, Trail


def cut(network: nn.Module, trail: Trail, after: str) -> tuple[Prefix, nn.Module]:
    """Copies of the two parts. What is in the memo is not copied, the stand-in takes its place."""
    modules = dict(forget(network).named_modules())
    end = trail.finished[after]
    later = [name for name, start in trail.started.items() if start > end and name in modules]
    prefix = Prefix(copy.deepcopy(network, {id(modules[n]): nn.Identity() for n in later}), after)
    steps = trail.way_to(after)
    rest = copy.deepcopy(network, {id(modules[s]): _HandOn() for s in steps if s in modules})
    if METHOD in steps:
        setattr(rest, METHOD, _hand_on)
    return prefix, rest


class Prefix(nn.Module):  # type: ignore[misc]
    """The network as far as the cut: its `network` lacks every module that would run later.

    It is left by an exception, which tracing (OpenVINO, ONNX) does not see: the graph ends there.
    """

    def __init__(self, network: nn.Module, after: str) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        network.get_submodule(after).register_forward_hook(_stop)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        try:
            self.network(images)
        except _Reached as reached:
            return reached.activation
        raise AssertionError("the network did not come past its cut")

    def train(self, mode: bool = True) -> Prefix:
        """Stays in eval mode, so that no statistic moves."""
        super().train(False)
        return self


class _HandOn(nn.Module):  # type: ignore[misc]
    """In place of a step that has already been made."""

    def forward(self, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        return x


def _hand_on(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    return x


class _Reached(Exception):  # noqa: N818 - the cut is reached, nothing went wrong
    def __init__(self, activation: torch.Tensor) -> None:
        self.activation = activation


def _stop(module: nn.Module, args: Any, output: torch.Tensor) -> None:
    raise _Reached(output)


def forget(network: nn.Module) -> nn.Module:
    """Some attention (LeViT, TinyViT) keeps its biases from pass to pass until it is trained."""
    return network.train().eval()
