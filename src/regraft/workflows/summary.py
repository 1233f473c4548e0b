"""A network without its weights: its layers, what they cost, where it can be cut, what learns.

Nothing is downloaded and no picture is read. What a method would train is found by the code that
trains: the split is made and proven as for a run, and the split point that nobody named is chosen
by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from regraft.backbones import catalog
from regraft.errors import UsageError
from regraft.machine import extras
from regraft.probe.method import PROBE
from regraft.training.methods import METHODS, method_named, that
from regraft.training.settings import TrainingSettings

if TYPE_CHECKING:
    from torch import nn

    from regraft.backbones.cost import Cost, Layer
    from regraft.backbones.split_points import SplitPoint

# Larger pictures are beyond every published network; smaller ones vanish within them.
SMALLEST_PX, LARGEST_PX = 8, 16_384
# What becomes of a layer's parameters: all learn, none does, some do; HEAD: they are the head's.
LEARNS, FROZEN, IN_PART, HEAD, NOTHING = "yes", "no", "part", "head", ""


@dataclass(frozen=True)
class Training:
    """What a training by gradients takes at least, in 32-bit numbers.

    The operations' own working memory comes on top: a step of whole networks on a CPU took 1.1 to
    1.5 times as much (docs/experiments.md).

    Attributes
    ----------
    batch_size : int
        Pictures per step, the default of `regraft train`.
    kept_bytes : int
        What one picture's forward pass keeps for the backward pass.
    total_bytes : int
        Weights, gradients, the momentum of SGD, and what a whole batch keeps.
    """

    batch_size: int
    kept_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Summary:
    """A network, and what a method would do with it.

    Attributes
    ----------
    backbone, architecture : str
        As it was named; timm's name.
    input_shape, own_shape : (C, H, W)
        What is counted here, and what the network was made for.
    n_classes : int
        Of its classifier, which stands for the new head.
    method : str
    cost : Cost
    learns : tuple of str
        Of each layer of `cost`: 'yes', 'no', 'part', 'head', or '' where there is nothing to learn.
    n_learnt, n_head : int
        Parameters that learn, the head's among them.
    split_points : tuple of SplitPoint
    split_point : str or None
        Where 'partial' cuts here.
    default_split_points : dict of str to str
        What `partial` takes if none is named, for data that are 'like' and 'unlike' those that
        the network learnt on (`train` measures which); empty where the network cannot be cut.
    n_frozen_multiply_adds : int
        Those of the part that stays, which runs once for each view and not in each epoch.
    training : Training or None
        None for the probe, which is solved in closed form.
    """

    backbone: str
    architecture: str
    input_shape: tuple[int, int, int]
    own_shape: tuple[int, int, int]
    n_classes: int
    method: str
    cost: Cost
    learns: tuple[str, ...]
    n_learnt: int
    n_head: int
    split_points: tuple[SplitPoint, ...]
    split_point: str | None
    default_split_points: dict[str, str]
    n_frozen_multiply_adds: int
    training: Training | None

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        cuts = {point.name for point in self.split_points}
        layers = [
            {**_layer(layer), "split_point": layer.name in cuts, "learns": learns}
            for layer, learns in zip(self.cost.layers, self.learns, strict=True)
        ]
        return {
            "schema": 1,
            "backbone": self.backbone,
            "architecture": self.architecture,
            "input": list(self.input_shape),
            "own_input": list(self.own_shape),
            "classes": self.n_classes,
            "method": self.method,
            "parameters": {
                "total": self.cost.n_parameters,
                "learn": self.n_learnt,
                "head": self.n_head,
                "without_head": self.cost.n_parameters - self.n_head,
            },
            "multiply_adds": {
                "total": self.cost.multiply_adds,
                "frozen": self.n_frozen_multiply_adds,
            },
            "bytes": {
                "weights": self.cost.weight_bytes,
                "outputs": self.cost.output_bytes,
                "training": asdict(self.training) if self.training else None,
            },
            "split_point": self.split_point,
            "default_split_points": self.default_split_points,
            "split_points": [asdict(point) for point in self.split_points],
            "layers": layers,
        }


def summarise(
    backbone: str = "default",
    *,
    weights: str | None = None,
    input_size: str | None = None,
    n_classes: int | None = None,
    method: str | None = None,
    split_point: str | None = None,
    offline: bool = False,
) -> Summary:
    """What a network is made of, and what of it a method trains.

    Parameters
    ----------
    backbone : str
        As for `regraft train`.
    weights : path, optional
        Only its name is looked at: it may stand where `train` has it.
    input_size : str, optional
        '3x1024x1024', or '1024' for a square. Default: the network's own.
    n_classes : int, optional
        Of the head; default: those of the network's own classifier.
    method : {'probe', 'head', 'partial', 'full', 'scratch'}, optional
        Default: 'probe', or 'partial' if a split point is named.
    split_point : str, optional
        For 'partial'.

    Raises
    ------
    BackboneError
        No such backbone or split point, or the network does not take such pictures.
    UsageError
        An input size or a method that cannot be meant.

    Examples
    --------
    >>> found = summarise("resnet18", input_size="64", n_classes=2, method="head")
    >>> found.cost.n_parameters, found.n_learnt
    (11177538, 1026)
    """
    method = _method(method, split_point)
    shape = None if input_size is None else parse_input(input_size)
    source = catalog.resolve(backbone, weights=weights)

    with extras.needed_for("summary"):
        from regraft.backbones import cost, network, splitting
        from regraft.backbones.split_points import split_points

    own = network.without_weights(source, offline=offline)
    own_shape = (3, *network.input_px(own.pretrained_cfg))
    points = split_points(own)
    defaults = _default_split_points(own, points)
    point, trained = None, set()
    if METHODS[method].splits:
        split_point = split_point or defaults.get("like", "")
        split = splitting.split(own, split_point)
        point, trained = split.point, set(split.trained)

    shape = shape or own_shape
    if shape != own_shape:
        own = network.without_weights(source.given(input_px=shape[1:]), offline=offline)
    if n_classes is not None:
        own.reset_classifier(n_classes)
    found = cost.measure(own, shape)
    head = cost.head_parameters(own)
    names = {name for name, _ in own.named_parameters()}
    moves_all = METHODS[method].moves_network and not METHODS[method].splits
    learnt = (names if moves_all else trained | head) & names
    sizes = {name: parameter.numel() for name, parameter in own.named_parameters()}
    n_learnt = sum(sizes[name] for name in learnt)
    return Summary(
        backbone=source.name,
        architecture=str(own.pretrained_cfg.get("architecture") or source.architecture),
        input_shape=shape,
        own_shape=own_shape,
        n_classes=int(own.num_classes),
        method=method,
        cost=found,
        learns=tuple(_learns(layer, names, learnt, head) for layer in found.layers),
        n_learnt=n_learnt,
        n_head=sum(sizes[name] for name in head),
        split_points=tuple(points),
        split_point=split_point,
        default_split_points=defaults,
        n_frozen_multiply_adds=_frozen_multiply_adds(found, method, point),
        training=None
        if not METHODS[method].trains
        else _training(found, n_learnt, cost.kept_bytes(own, shape, learnt)),
    )


def parse_input(text: str) -> tuple[int, int, int]:
    """Channels, height and width of '3x1024x1024' or '1024'.

    Examples
    --------
    >>> parse_input("3x600x800"), parse_input("224")
    ((3, 600, 800), (3, 224, 224))
    >>> parse_input("3x1024")
    Traceback (most recent call last):
        ...
    regraft.errors.UsageError: --input '3x1024' is neither one number nor channels x height x width
      cure:  --input 3x1024x1024, or --input 1024 for a square
    """
    cure = "--input 3x1024x1024, or --input 1024 for a square"
    parts = [part.strip() for part in text.lower().replace("×", "x").split("x")]
    if len(parts) not in (1, 3) or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"--input {text!r} is neither one number nor channels x height x width", cure=cure
        )
    sizes = [int(part) for part in parts]
    channels, height, width = sizes if len(sizes) == 3 else (3, *sizes * 2)
    if channels != 3:
        raise UsageError(
            f"--input {text!r} has {channels} channels; pictures have 3 (red, green, blue)",
            cure=cure,
        )
    if not all(SMALLEST_PX <= side <= LARGEST_PX for side in (height, width)):
        raise UsageError(
            f"--input {text!r} must have sides of {SMALLEST_PX} to {LARGEST_PX} pixels", cure=cure
        )
    return channels, height, width


def _method(method: str | None, split_point: str | None) -> str:
    (splitting,) = that(splits=True)
    method = method or (splitting if split_point else PROBE.name)
    if not method_named(method).splits and split_point:
        raise UsageError(
            f"a split point belongs to method {splitting!r}, method is {method!r}",
            cure=f"--method {splitting} --split-point {split_point}, or leave --split-point out",
        )
    return method


def _default_split_points(network: nn.Module, points: Sequence[SplitPoint]) -> dict[str, str]:
    """By the rule of `partial`, which looks at the stages and at what kind of data it has."""
    from regraft.backbones.stages import find_stages
    from regraft.training import defaults

    stages, names = tuple(find_stages(network)), [point.name for point in points]
    found = {}
    for kind, gain in (("like", 0.0), ("unlike", 1.0)):
        situation = defaults.Situation(
            n_images=1_000,  # so many that the gain is no chance
            n_classes=2,
            median_side_px=1,
            native_px=1,
            takes_any_size=True,
            gain_of_stages=gain,
            stages=stages,
        )
        chosen = defaults.split_point(situation, names)
        if chosen is not None:
            found[kind] = chosen
    return found


def _learns(layer: Layer, names: set[str], learnt: set[str], head: set[str]) -> str:
    """What becomes of the parameters in one layer."""
    within = {n for n in names if n == layer.name or n.startswith(layer.name + ".")}
    if not within:
        return NOTHING
    if within <= head:
        return HEAD
    if within <= learnt:
        return LEARNS
    return IN_PART if within & learnt else FROZEN


def _frozen_multiply_adds(found: Cost, method: str, point: SplitPoint | None) -> int:
    """Of the layers before the first that learns."""
    if METHODS[method].moves_network and not METHODS[method].splits:
        return 0
    if point is None:  # the head is one small matrix
        return found.multiply_adds
    by_name = {layer.name: layer for layer in found.layers}
    if point.after in by_name:
        return by_name[point.after].so_far
    first = by_name[point.name]  # what is before it is no module (a position embedding)
    return first.so_far - first.multiply_adds


def _training(found: Cost, n_learnt: int, kept_bytes: int) -> Training:
    batch_size = TrainingSettings().batch_size
    gradients_and_momentum = 2 * 4 * n_learnt
    total = found.weight_bytes + gradients_and_momentum + batch_size * kept_bytes
    return Training(batch_size, kept_bytes, total)


def _layer(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "output": None if layer.shape is None else list(layer.shape),
        "parameters": layer.n_parameters,
        "multiply_adds": layer.multiply_adds,
    }
