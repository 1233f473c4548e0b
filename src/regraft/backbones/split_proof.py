"""The proof that two parts are one network: same answers, same gradients, on numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from regraft.backbones.cut import Prefix, forget

# The proof needs no large picture; 96 px leave 3 x 3 positions after the usual stride of 32.
PROOF_PX = 96
Gradients = dict[str, torch.Tensor]


def prove(
    network: nn.Module, prefix: Prefix, rest: nn.Module
) -> tuple[Gradients, Gradients, dict[str, float]]:
    """Gradients of the parameters before the cut, of those after it, and how far these are off.

    Scores and pre_logits are compared, and the gradients of one random linear function of both;
    the second so that a classifier that is all zeros hides nothing.
    """
    with torch.enable_grad():
        images, answers, gradients = _answered_by_whole(network)
        prefix.requires_grad_(True)
        activation = prefix(images)
        before = _gradients(activation.sum(), prefix.network)
        forget(prefix.network.requires_grad_(False))
        rest.requires_grad_(True)
        continued, after = _answered(rest, activation.detach())
        forget(rest)
    difference = max(
        _relative(found, wanted) for found, wanted in zip(continued, answers, strict=True)
    )
    is_whole = gradients.keys() == before.keys() | after.keys()
    gradient_difference = _apart(after, gradients) if is_whole else math.inf
    proof = {"difference": difference, "gradient_difference": gradient_difference}
    return before, after, proof


def _answered_by_whole(
    network: nn.Module,
) -> tuple[torch.Tensor, list[torch.Tensor], Gradients]:
    """Small pictures if the network takes them, else of its own size; and its answers."""
    network.requires_grad_(True)
    channels, height, width = own = own_size(network)
    small = (channels, min(PROOF_PX, height), min(PROOF_PX, width))
    config = getattr(network, "pretrained_cfg", None) or {}
    if not config.get("fixed_input_size"):
        images = _normal(2, *small)
        try:
            return images, *_answered(network, images)
        except Exception:  # it takes no other size; not an error, the own size is tried next
            pass
    images = _normal(2, *own)
    return images, *_answered(network, images)


def _answered(network: nn.Module, x: torch.Tensor) -> tuple[list[torch.Tensor], Gradients]:
    """Output, scores and pre_logits, and the gradients of a random function of the last two."""
    maps = network.forward_features(x)
    seen = [network.forward_head(maps), network.forward_head(maps, pre_logits=True)]
    loss = sum((_normal(*answer.shape) * answer).sum() for answer in seen)
    gradients = _gradients(loss, network)
    with torch.no_grad():
        return [network(x), *(answer.detach() for answer in seen)], gradients


def _gradients(loss: Any, network: nn.Module) -> Gradients:
    """Of the parameters that the loss depends on."""
    named = dict(network.named_parameters(remove_duplicate=False))
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {n: g for n, g in zip(named, found, strict=True) if g is not None}


def _apart(found: Gradients, wanted: Gradients) -> float:
    """The worst tensor's difference, relative to its scale.

    Some gradients are zero but for rounding (the bias of a key in attention), hence the floor.
    """
    floor = 1e-3 * max((float(g.abs().max()) for g in wanted.values()), default=0.0)
    return max((_relative(g, wanted[n], floor) for n, g in found.items()), default=0.0)


def _relative(found: torch.Tensor, wanted: torch.Tensor, floor: float = 0.0) -> float:
    scale = max(float(wanted.abs().max()), floor, torch.finfo(torch.float32).tiny)
    worst = float((found - wanted).abs().max() / scale)
    return worst if math.isfinite(worst) else math.inf  # no comparison with NaN is ever true


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def own_size(network: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the pictures that the network is made for."""
    config = getattr(network, "pretrained_cfg", None) or {}
    channels, height, width = config.get("input_size") or (3, 224, 224)
    return channels, height, width
