"""The stages of a network: the modules whose outputs are worth keeping, found without an adapter
per family.

timm's `feature_info` names one module per resolution. Where such a module has siblings of its own
kind (`blocks.4` beside `blocks.5`), all of them are stages, because the best layer for unlike data
often lies between two resolutions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

MAX_STAGES = 24


def find_stages(network: nn.Module) -> list[str]:
    """Names of the stages of a timm network, in the order in which they finish.

    Examples
    --------
    >>> import timm
    >>> find_stages(timm.create_model("resnet18", pretrained=False))
    ['layer1', 'layer2', 'layer3', 'layer4']
    """
    modules = dict(network.named_modules())
    named = [m for m in _feature_modules(network) if m in modules] or _children_with_weights(
        network
    )
    names = {sibling for name in named for sibling in _siblings(modules, name)}
    return _thin(_finishing_order(network, names))


def _feature_modules(network: nn.Module) -> list[str]:
    info: Any = getattr(network, "feature_info", None) or []
    return [entry["module"] for entry in getattr(info, "info", info)]


def _children_with_weights(network: nn.Module) -> list[str]:
    return [n for n, child in network.named_children() if any(True for _ in child.parameters())]


def _siblings(modules: dict[str, nn.Module], name: str) -> list[str]:
    """The numbered modules beside `name` that are built like it, or nothing for a bare layer."""
    parent, _, last = name.rpartition(".")
    if not any(True for _ in modules[name].children()):
        # A bare normalisation or activation repeats what the stage after it shows; in networks
        # that are one row of layers (VGG) the last layer of each resolution is the stage.
        return [name] if parent and type(modules[parent]) is nn.Sequential else []
    if not last.isdigit():
        return [name]
    beside = modules[parent].named_children()
    return [f"{parent}.{n}" for n, child in beside if any(True for _ in child.children())]


def _finishing_order(network: nn.Module, names: set[str]) -> list[str]:
    """Which of `names` ran, and produced one tensor, in the order in which they finished."""
    finished: list[str] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim in (3, 4) and name not in finished:
                finished.append(name)

        return hook

    hooks = [m.register_forward_hook(note(n)) for n, m in network.named_modules() if n in names]
    try:
        run_once(network)
    finally:
        for hook in hooks:
            hook.remove()
    return finished


def run_once(network: nn.Module) -> torch.Tensor:
    """One forward pass over a grey picture of the network's own size, in eval mode."""
    config: dict[str, Any] = getattr(network, "pretrained_cfg", None) or {}
    shape = config.get("test_input_size") or config.get("input_size") or (3, 224, 224)
    if getattr(network, "default_cfg", {}).get("fixed_input_size"):
        shape = config.get("input_size", shape)
    was_training = network.training
    network.eval()
    with torch.no_grad():
        output: torch.Tensor = network(torch.zeros(1, *shape))
    network.train(was_training)
    return output


def _thin(names: list[str]) -> list[str]:
    """At most MAX_STAGES, evenly, the last always among them."""
    step = -(-len(names) // MAX_STAGES)
    return names[::-1][::step][::-1] if step > 1 else names
