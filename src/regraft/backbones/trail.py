"""One forward pass through a network, noted: which step made the tensor that each was handed.

A *step* is a module. Where the notes lead from a step back to the picture without a gap, one tensor
crosses there.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from regraft.backbones.stages import run_once
from regraft.machine import torch_threads

PICTURE = ""  # stands where a step's name does, for what the network itself is given
# A method of timm's transformers that stands between their modules as if it were one.
METHOD = "_pos_embed"


@dataclass
class Trail:
    """One forward pass: which step made what each step was handed, and when it ran."""

    source: dict[str, str | None] = field(default_factory=dict)
    # The step within a step whose output it hands on as its own.
    last: dict[str, str | None] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)
    finished: dict[str, int] = field(default_factory=dict)
    clock: Any = field(default_factory=itertools.count)

    def start(self, name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        """Note what a step is handed."""
        if name == PICTURE:
            _mark(args[0], PICTURE)
        tensors = [a for a in (*args, *options.values()) if isinstance(a, torch.Tensor)]
        is_plain = len(tensors) == 1 and args[0] is tensors[0] and name not in self.source
        self.source[name] = _maker(tensors[0]) if is_plain and name != PICTURE else None
        self.started.setdefault(name, next(self.clock))

    def finish(self, name: str, output: Any) -> None:
        """Note what a step made."""
        self.finished[name] = next(self.clock)
        if isinstance(output, torch.Tensor):
            self.last[name] = _maker(output)
            _mark(output, name)

    def way_to(self, name: str | None) -> list[str]:
        """The steps from the picture to the output of `name`; none if there is a gap."""
        return self._way(PICTURE, name)

    def row(self, name: str) -> list[str]:
        """The steps within `name`, if it is nothing but these, one after the other."""
        return self._way(self.source.get(name), self.last.get(name))

    def _way(self, start: str | None, end: str | None) -> list[str]:
        steps: list[str] = []
        while end is not None and end != start:
            steps.append(end)
            end = self.source.get(end)
        return steps[::-1] if end is not None else []


def _mark(tensor: torch.Tensor, name: str) -> None:
    tensor.regraft_step = name, tensor._version


def _maker(tensor: torch.Tensor) -> str | None:
    """The step that made this tensor, unless it was written into since (``x += shortcut``)."""
    name, version = getattr(tensor, "regraft_step", (None, -1))
    return name if version == tensor._version else None


def follow(network: nn.Module) -> Trail:
    """The trail of one picture through the network, which is left as it was."""
    trail = Trail()
    hooks: list[Any] = []
    for name, module in network.named_modules():
        hooks += [
            module.register_forward_pre_hook(
                lambda m, args, options, name=name: trail.start(name, args, options),
                with_kwargs=True,
            ),
            module.register_forward_hook(lambda m, args, out, name=name: trail.finish(name, out)),
        ]
    method = getattr(network, METHOD, None)
    if method is not None:

        def noted(*args: Any, **options: Any) -> Any:
            trail.start(METHOD, args, options)
            output = method(*args, **options)
            trail.finish(METHOD, output)
            return output

        setattr(network, METHOD, noted)
    try:
        run_once(network)
    finally:
        for hook in hooks:
            hook.remove()
        if method is not None:
            delattr(network, METHOD)  # the class's own shows again
    return trail


def plain_copy(network: nn.Module) -> nn.Module:
    """In eval mode and without the hooks of others, which would hear of passes not theirs."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        module._forward_hooks.clear()
    return network


def one_thread() -> AbstractContextManager[None]:
    """For two pictures a second thread gains little, and on a busy machine it waits for the first:
    21 s instead of 1.2 s for EfficientNet-Lite0 on two cores that three others use."""
    return torch_threads.threads(1)
