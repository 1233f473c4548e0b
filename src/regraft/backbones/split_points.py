"""Where a network can be cut: the places that one tensor crosses, read off its trail."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from regraft.backbones.stages import find_stages
from regraft.backbones.trail import Trail, follow, one_thread, plain_copy
from regraft.errors import BackboneError
from regraft.wording import near_names


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
    network = plain_copy(network)
    with one_thread():
        return points_on(network, follow(network))


def require_point(network: nn.Module, name: str) -> None:
    """BackboneError unless the network can be cut before the module `name`."""
    network = plain_copy(network)
    with one_thread():
        trail = follow(network)
        point_called(name, points_on(network, trail), trail)


def points_on(network: nn.Module, trail: Trail) -> list[SplitPoint]:
    """The split points of a network whose trail this is; a cut that is listed is not again."""
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


def _blocks(modules: dict[str, nn.Module], trail: Trail, name: str) -> list[str]:
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


def point_called(name: str, points: list[SplitPoint], trail: Trail) -> SplitPoint:
    """The point of this name, or a BackboneError that says which there are."""
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
