"""A network cut in two: the layers that stay as they are, and those that learn.

There is no adapter per family: the `trail` of one forward pass shows where one tensor crosses
(`split_points`), and the network is `cut` there. What a trail cannot show (a tensor kept for
later, a weight used on both sides) the proof does, on numbers, whenever a split is made.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from regraft.backbones.cut import cut
from regraft.backbones.split_points import SplitPoint, point_called, points_on
from regraft.backbones.split_proof import own_size, prove
from regraft.backbones.trail import follow, one_thread, plain_copy
from regraft.errors import BackboneError

TOLERANCE = 1e-4


@dataclass
class Split:
    """The two parts of a network, and the proof that together they are that network.

    Attributes
    ----------
    point : SplitPoint
    prefix : nn.Module
        Normalised pictures (N, 3, H, W) in, the activation at the cut out. It computes nothing
        after the cut, stays in eval mode whatever is asked, and asks for no gradient. Can be
        traced.
    rest : nn.Module
        The activation in, what the network answers out; `forward_features` and `forward_head`
        are timm's. A copy in eval mode, whose parameters have the network's names; those in
        `trained` require a gradient.
    shape : tuple of int
        Of the activation of one picture of the network's own size.
    frozen : tuple of str
        Parameters and buffers, by the network's names, that the prefix uses.
    trained : tuple of str
        Parameters, by the network's names, that get a gradient in the rest.
    proof : dict
        'difference' of the outputs and 'gradient_difference', both relative to their scale.
    """

    point: SplitPoint
    prefix: nn.Module
    rest: nn.Module
    shape: tuple[int, ...]
    frozen: tuple[str, ...]
    trained: tuple[str, ...]
    proof: dict[str, float]


def split(network: nn.Module, name: str) -> Split:
    """The network cut before the module `name`, proven equal to the whole one.

    Parameters
    ----------
    network : nn.Module
        Of timm, on the CPU; left as it was.
    name : str
        One of `split_points`.

    Raises
    ------
    BackboneError
        There is no such point, nothing stands before it, or the two parts are not the network.

    Examples
    --------
    >>> import timm
    >>> parts = split(timm.create_model("resnet18", pretrained=False), "layer4")
    >>> parts.point.after, parts.shape, parts.trained[0], parts.trained[-1]
    ('layer3', (256, 14, 14), 'layer4.0.conv1.weight', 'fc.bias')
    >>> max(parts.proof.values()) < 1e-4
    True
    """
    with one_thread():
        return _split(plain_copy(network), name)


def _split(network: nn.Module, name: str) -> Split:
    trail = follow(network)
    point = point_called(name, points_on(network, trail), trail)
    prefix, rest = cut(network, trail, point.after)
    try:
        frozen, trained, proof = prove(network, prefix, rest)
        with torch.no_grad():
            shape = tuple(prefix(torch.zeros(1, *own_size(network))).shape[1:])
    except Exception as error:  # whatever a network says that is handed what it did not expect
        raise BackboneError(
            f"cut after {point.after!r}, the network cannot be continued from {name!r}: {error}",
            cure="choose another split point, or the method full",
        ) from error
    _refuse_unless_proven(name, proof)
    for n, parameter in rest.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(n in trained)
    before = tuple(step + "." for step in trail.way_to(point.after))
    held = [*network.named_parameters(), *network.named_buffers()]
    names = [n for n, _ in held if n in frozen or n.startswith(before)]
    return Split(point, prefix, rest, shape, tuple(names), tuple(trained), proof)


def _refuse_unless_proven(name: str, proof: dict[str, float]) -> None:
    if max(proof.values()) > TOLERANCE:
        raise BackboneError(
            f"cut at {name!r}, the two parts are not the network: outputs differ by "
            f"{proof['difference']:.2g} of their scale, gradients by "
            f"{proof['gradient_difference']:.2g}; {TOLERANCE:.0e} is allowed",
            cure="choose another split point, or the method full",
            difference=proof["difference"],
            gradient_difference=proof["gradient_difference"],
        )
