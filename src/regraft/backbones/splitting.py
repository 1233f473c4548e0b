"""A network cut in two: the layers that stay as they are, and those that learn.

There is no adapter per family. One forward pass notes for each module (a *step*) which step made
the tensor that it was handed. Where these lead back to the picture without a gap, one tensor
crosses, and the network can be cut there: the rest is a copy in which the steps before the cut
hand on what they are given. What the notes cannot show (a tensor kept for later, a weight used on
both sides) the proof does, on numbers, whenever a split is made.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from regraft.backbones.stages import find_stages, run_once
from regraft.errors import BackboneError
from regraft.machine import torch_threads
from regraft.wording import near_names

PICTURE = ""  # stands where a step's name does, for what the network itself is given
# A method of timm's transformers that stands between their modules as if it were one.
METHOD = "_pos_embed"
# The proof needs no large picture; 96 px leave 3 x 3 positions after the usual stride of 32.
PROOF_PX = 96
TOLERANCE = 1e-4

Gradients = dict[str, torch.Tensor]


@dataclass(frozen=True)
class SplitPoint:
    """A place where a network can be cut.

    Attributes
    ----------
    name : str
        The first module that learns: 'blocks.5', 'blocks.5.1', 'layer3'. Where the stages are
        single layers of one long row (VGG), the stage that this layer ends is the first to learn.
    after : str
        The module whose output is handed over: 'blocks.4', 'blocks.5.0', 'layer2'.
    is_stage : bool
        One of `find_stages`, or else a block within one.
    """

    name: str
    after: str
    is_stage: bool


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


def split_points(network: nn.Module) -> list[SplitPoint]:
    """Where a timm network can be cut: before its stages, and before the blocks within them.

    A block that begins its stage is not listed beside it, the cut is the same one. The network
    has to be on the CPU and is left as it was.

    Returns
    -------
    list of SplitPoint
        In the order in which the modules run; empty where more than one tensor would cross.

    Examples
    --------
    >>> import timm
    >>> [point.name for point in split_points(timm.create_model("resnet18", pretrained=False))][:4]
    ['layer1', 'layer1.1', 'layer2', 'layer2.1']
    """
    network = _plain_copy(network)
    with _one_thread():
        return _points(network, _follow(network))


def require_point(network: nn.Module, name: str) -> None:
    """BackboneError unless the network can be cut before the module `name`."""
    network = _plain_copy(network)
    with _one_thread():
        trail = _follow(network)
        _point_called(name, _points(network, trail), trail)


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
    with _one_thread():
        return _split(_plain_copy(network), name)


def _split(network: nn.Module, name: str) -> Split:
    trail = _follow(network)
    point = _point_called(name, _points(network, trail), trail)
    prefix, rest = _cut(network, trail, point.after)
    try:
        frozen, trained, proof = _prove(network, prefix, rest)
        with torch.no_grad():
            shape = tuple(prefix(torch.zeros(1, *_own_size(network))).shape[1:])
    except Exception as error:  # whatever a network says that is handed what it did not expect
        raise BackboneError(
            f"cut after {point.after!r}, the network cannot be continued from {name!r}: {error}",
            cure="choose another split point, or the method full",
        ) from error
    if max(proof.values()) > TOLERANCE:
        raise BackboneError(
            f"cut at {name!r}, the two parts are not the network: outputs differ by "
            f"{proof['difference']:.2g} of their scale, gradients by "
            f"{proof['gradient_difference']:.2g}; {TOLERANCE:.0e} is allowed",
            cure="choose another split point, or the method full",
            difference=proof["difference"],
            gradient_difference=proof["gradient_difference"],
        )
    for n, parameter in rest.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(n in trained)
    before = tuple(step + "." for step in trail.way_to(point.after))
    held = [*network.named_parameters(), *network.named_buffers()]
    names = [n for n, _ in held if n in frozen or n.startswith(before)]
    return Split(point, prefix, rest, shape, tuple(names), tuple(trained), proof)


def changed(
    before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]
) -> tuple[list[str], list[str]]:
    """Names of the tensors that are the same bit by bit, and of those that moved.

    Another dtype or shape is a move; 0.0 and -0.0 differ; NaN of the same bits does not.

    Raises
    ------
    ValueError
        The two do not name the same tensors.

    Examples
    --------
    >>> changed({"a": torch.zeros(2), "b": torch.zeros(2)},
    ...         {"a": torch.zeros(2), "b": torch.ones(2)})
    (['a'], ['b'])
    """
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise ValueError(f"{len(odd)} names are only in one of the two: {', '.join(odd[:5])}")
    same = [name for name in before if _same_bits(before[name], after[name])]
    return same, [name for name in before if name not in set(same)]


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    a, b = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return bool(torch.equal(a, b))


def _one_thread() -> AbstractContextManager[None]:
    """For two pictures a second thread gains little, and on a busy machine it waits for the first:
    21 s instead of 1.2 s for EfficientNet-Lite0 on two cores that three others use."""
    return torch_threads.threads(1)


# -- Where a network can be cut --


@dataclass
class _Trail:
    """One forward pass: which step made what each step was handed, and when it ran."""

    source: dict[str, str | None] = field(default_factory=dict)
    # The step within a step whose output it hands on as its own.
    last: dict[str, str | None] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)
    finished: dict[str, int] = field(default_factory=dict)
    clock: Any = field(default_factory=itertools.count)

    def start(self, name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        if name == PICTURE:
            _mark(args[0], PICTURE)
        tensors = [a for a in (*args, *options.values()) if isinstance(a, torch.Tensor)]
        is_plain = len(tensors) == 1 and args[0] is tensors[0] and name not in self.source
        self.source[name] = _maker(tensors[0]) if is_plain and name != PICTURE else None
        self.started.setdefault(name, next(self.clock))

    def finish(self, name: str, output: Any) -> None:
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


def _follow(network: nn.Module) -> _Trail:
    trail = _Trail()
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


def _points(network: nn.Module, trail: _Trail) -> list[SplitPoint]:
    modules = dict(network.named_modules())
    points: list[SplitPoint] = []
    known: set[frozenset[str]] = {frozenset()}
    previous: str | None = None
    for stage in find_stages(network):
        for name in [stage, *_blocks(modules, trail, stage)]:
            # A bare layer ends its stage (VGG); every other module begins where it is called.
            is_bare = not any(True for _ in modules[name].children())
            after = previous if is_bare else trail.source.get(name)
            behind = _parameters_of(modules, trail.way_to(after))
            if after and behind not in known:
                points.append(SplitPoint(name, after, is_stage=name == stage))
                known.add(behind)
        previous = stage
    return points


def _blocks(modules: dict[str, nn.Module], trail: _Trail, name: str) -> list[str]:
    """What a stage is a row of, if these are blocks: modules with children of their own."""
    steps = [step for step in trail.row(name) if _parameters_of(modules, [step])]
    if not all(any(True for _ in modules[step].children()) for step in steps):
        return []
    blocks: list[str] = []
    for step in steps:
        is_row = isinstance(modules[step], nn.Sequential)
        blocks += (is_row and _blocks(modules, trail, step)) or [step]
    return blocks


def _parameters_of(modules: dict[str, nn.Module], steps: list[str]) -> frozenset[str]:
    held = [step for step in steps if step in modules]
    return frozenset(
        f"{step}.{name}" for step in held for name, _ in modules[step].named_parameters()
    )


def _point_called(name: str, points: list[SplitPoint], trail: _Trail) -> SplitPoint:
    found = next((point for point in points if point.name == name), None)
    if found:
        return found
    if not points:
        raise BackboneError(
            "this network has no split point: no stage hands on exactly one tensor that can be "
            "followed from the picture",
            cure="the methods that train all layers (full) or none (probe) work with every network",
        )
    starts = trail.started.get(name)
    if starts is not None and starts < trail.started[points[0].name]:
        raise BackboneError(
            f"nothing to keep frozen stands before {name!r}; "
            f"the first split point is {points[0].name!r}",
            cure="use method full, which trains every layer",
        )
    names = [point.name for point in points]
    near = near_names(name, names, n=5, cutoff=0.6)
    raise BackboneError(
        f"no split point is called {name!r}" + (f"; near: {', '.join(near)}" if near else ""),
        cure="choose one of " + ", ".join(point.name for point in points if point.is_stage),
        near=near,
    )


# -- The two parts --


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


def _cut(network: nn.Module, trail: _Trail, after: str) -> tuple[Prefix, nn.Module]:
    """Copies of the two parts. What is in the memo is not copied, the stand-in takes its place."""
    modules = dict(_forget(network).named_modules())
    end = trail.finished[after]
    later = [name for name, start in trail.started.items() if start > end and name in modules]
    prefix = Prefix(copy.deepcopy(network, {id(modules[n]): nn.Identity() for n in later}), after)
    steps = trail.way_to(after)
    rest = copy.deepcopy(network, {id(modules[s]): _HandOn() for s in steps if s in modules})
    if METHOD in steps:
        setattr(rest, METHOD, _hand_on)
    return prefix, rest


def _plain_copy(network: nn.Module) -> nn.Module:
    """In eval mode and without the hooks of others, which would hear of passes not theirs."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        module._forward_hooks.clear()
    return network


def _forget(network: nn.Module) -> nn.Module:
    """Some attention (LeViT, TinyViT) keeps its biases from pass to pass until it is trained."""
    return network.train().eval()


# -- The proof --


def _prove(
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
        _forget(prefix.network.requires_grad_(False))
        rest.requires_grad_(True)
        continued, after = _answered(rest, activation.detach())
        _forget(rest)
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
    channels, height, width = own = _own_size(network)
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


def _own_size(network: nn.Module) -> tuple[int, int, int]:
    config = getattr(network, "pretrained_cfg", None) or {}
    channels, height, width = config.get("input_size") or (3, 224, 224)
    return channels, height, width
