"""BatchNorm multiplied into the convolution before it, and divided out again after training.

The same function with fewer passes over memory; after training the network has all its tensors
under their own names.

Letters: with ``s = gamma / sqrt(variance + eps)`` a convolution ``W, b`` followed by BatchNorm is
the convolution ``s W`` with bias ``s (b - mean) + beta``.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from regraft.machine.held import Held

# Dividing by a smaller scale (relative to the layer's largest) would blow up what was learnt.
SMALLEST_SCALE = 1e-6
# Rounding differs more than that in no network; a wrong pair differs by far more.
TOLERANCE = 1e-4
_PLAIN_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_PLAIN_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def fold(network: nn.Module, example: torch.Tensor) -> Folding:
    """Multiply each BatchNorm that directly follows a convolution into it.

    Which ones do is seen by running the network, so no family needs an adapter; that nothing
    else sees the convolution's output is proven by the network's output on `example` (TF32
    off). Left alone: a channel scale near zero, tensors that two modules share, modules with
    hooks, a class of BatchNorm whose other work is unknown.

    Returns
    -------
    Folding
        Empty, with its `reason`, if the network gave another output.
    """
    pairs = _find_pairs(network, example)
    # A class of its own may do to its weight what folding would not survive (timm's StdConv2d).
    plain = [pair for pair in pairs if type(pair.conv) in _PLAIN_CONVOLUTIONS]
    before = _output(network, example)
    difference = 0.0
    for chosen in (pairs, plain):
        folding = Folding(chosen)
        for pair in chosen:
            pair.fold()
        difference = _relative_difference(_output(network, example), before)
        if difference <= TOLERANCE:
            return folding
        folding.unfold()
    return Folding(reason=f"folded, the output differs by {difference:.1e} of its largest value")


@dataclass(eq=False)
class Folding:
    """Convolutions that hold their BatchNorm, and the way back.

    Attributes
    ----------
    pairs : list
    reason : str
        Why nothing is folded although there were pairs; else ''.
    """

    pairs: list[_Pair] = field(default_factory=list)
    reason: str = ""

    @property
    def names(self) -> list[tuple[str, str]]:
        """``(convolution, BatchNorm)`` as the network names them, in the order of their run."""
        return [(pair.conv_name, pair.norm_name) for pair in self.pairs]

    def unfold(self) -> None:
        """Put each BatchNorm back; what training changed goes into weight, scale and shift.

        Statistics and biases that convolutions had before are bit by bit what they were, and so is
        every weight, scale and shift that training left alone. A second call does nothing.
        """
        while self.pairs:
            self.pairs.pop().unfold()


@dataclass(frozen=True, eq=False)
class _Pair:
    """A convolution and its BatchNorm, with the tensors that folding changes as they were.

    Reckoned in float64 on the CPU: the same bits at folding and unfolding, whichever device the
    network has moved to in between.
    """

    conv: nn.Module
    norm: nn.Module
    conv_name: str
    norm_name: str
    parent: nn.Module
    weight: torch.Tensor
    bias: torch.Tensor | None
    shift: torch.Tensor

    @classmethod
    def of(cls, network: nn.Module, names: dict[nn.Module, str], conv: Any, norm: Any) -> _Pair:
        parent = network.get_submodule(names[norm].rpartition(".")[0])
        bias = None if conv.bias is None else _copy(conv.bias)
        return cls(
            conv, norm, names[conv], names[norm], parent,
            _copy(conv.weight), bias, _copy(norm.bias),
        )  # fmt: skip

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def fold(self) -> None:
        weight, bias = self._folded()
        self.conv.weight.copy_(weight)
        if self.bias is None:
            learns = self.norm.bias.requires_grad
            self.conv.bias = nn.Parameter(bias.to(self.conv.weight.device), requires_grad=learns)
        else:
            self.conv.bias.copy_(bias)
        self._stand_in(_rest_of(self.norm))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def unfold(self) -> None:
        """What a channel's weights grew by goes into its scale, what they turned by stays."""
        weight, bias = (tensor.double() for tensor in self._folded())
        now = _copy(self.conv.weight).double()
        lengths, before = (tensor.flatten(1).norm(dim=1) for tensor in (now, weight))
        moved = (now != weight).flatten(1).any(dim=1) & (lengths > 0) & (before > 0)
        growth = torch.where(moved, lengths / before, 1.0)
        before_scale = self._scale(1)
        scale = before_scale * growth
        change = now / scale.view(-1, *[1] * (now.ndim - 1)) - self.weight.double()
        change = torch.where(moved.view(-1, *[1] * (now.ndim - 1)), change, 0.0)
        self.conv.weight.copy_(_changed(self.weight, change))
        norm = self.norm.to(self.conv.weight.device)
        gamma = _copy(norm.weight)
        norm.weight.copy_(_changed(gamma, gamma.double() * (growth - 1)))
        change = _copy(self.conv.bias).double() - bias - (scale - before_scale) * self._offset()
        norm.bias.copy_(_changed(self.shift, change))
        if self.bias is None:
            self.conv.bias = None
        else:
            self.conv.bias.copy_(self.bias)
        self._stand_in(self.norm)

    def _folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        weight = self.weight.double() * self._scale(self.weight.ndim)
        bias = self._scale(1) * self._offset() + self.shift.double()
        return weight.to(self.weight.dtype), bias.to(self.weight.dtype)

    def _offset(self) -> torch.Tensor:
        """What the scale is multiplied with besides the weight."""
        mean = _copy(self.norm.running_mean).double()
        return -mean if self.bias is None else self.bias.double() - mean

    def _scale(self, n_dimensions: int) -> torch.Tensor:
        return _scale_of(self.norm).view(-1, *[1] * (n_dimensions - 1))

    def _stand_in(self, module: nn.Module) -> None:
        setattr(self.parent, self.norm_name.rpartition(".")[2], module)


def _find_pairs(network: nn.Module, example: torch.Tensor) -> list[_Pair]:
    """Each BatchNorm whose input is the very tensor that a convolution has just returned."""
    # Under one name each: a tensor with two names would change for both.
    n_names = Counter(id(p) for _, p in network.named_parameters(remove_duplicate=False))
    names = {module: name for name, module in network.named_modules()}
    candidates = [m for m in names if _is_plain_conv(m, n_names) or _is_foldable(m, n_names)]
    n_calls: Counter[nn.Module] = Counter()
    found: list[tuple[nn.Module, nn.Module]] = []
    latest: list[Any] = [None, None]

    def after_conv(conv: nn.Module, args: Any, output: Any) -> None:
        n_calls[conv] += 1
        latest[:] = conv, output

    def before_norm(norm: nn.Module, args: Any) -> None:
        n_calls[norm] += 1
        if args and args[0] is latest[1] and latest[0].out_channels == norm.num_features:
            found.append((latest[0], norm))

    hooks = [
        m.register_forward_pre_hook(before_norm)
        if isinstance(m, _BatchNorm)
        else m.register_forward_hook(after_conv)
        for m in candidates
    ]
    try:
        _output(network, example)
    finally:
        for hook in hooks:
            hook.remove()
    n_norms = Counter(conv for conv, _ in found)
    return [
        _Pair.of(network, names, conv, norm)
        for conv, norm in found
        if n_calls[conv] == n_calls[norm] == n_norms[conv] == 1
    ]


def _is_plain_conv(module: Any, n_names: Counter[int]) -> bool:
    return (
        isinstance(module, _PLAIN_CONVOLUTIONS)
        and _has_one_name(module, n_names, ["weight"])
        and (module.bias is None or n_names[id(module.bias)] == 1)
    )


def _is_foldable(norm: Any, n_names: Counter[int]) -> bool:
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or _rest_of(norm) is None:
        return False
    if not _has_one_name(norm, n_names, ["weight", "bias"]):
        return False
    scale = _scale_of(norm).abs()
    return bool(scale.isfinite().all() and scale.min() > SMALLEST_SCALE * scale.max())


def _has_one_name(module: Any, n_names: Counter[int], parameters: list[str]) -> bool:
    """Its parameters are its own, and nobody looks at what goes in and comes out."""
    if module._forward_hooks or module._forward_pre_hooks:
        return False
    return all(n_names[id(module._parameters.get(name))] == 1 for name in parameters)


def _rest_of(norm: Any) -> nn.Module | None:
    """What a BatchNorm does besides: nothing, or timm's dropout and activation; None if unknown."""
    if type(norm) in _PLAIN_NORMS:
        return nn.Identity()
    rest = OrderedDict(norm.named_children())
    return nn.Sequential(rest) if list(rest) == ["drop", "act"] else None


def _scale_of(norm: Any) -> torch.Tensor:
    """``gamma / sigma``, (C,) float64."""
    return _copy(norm.weight).double() / torch.sqrt(_copy(norm.running_var).double() + norm.eps)


def _changed(original: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    # Adding zero would turn -0.0 into 0.0, and a digest would see it.
    changed = (original.double() + change).to(original.dtype)
    return torch.where(change == 0, original, changed)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().clone()


# On NVIDIA's GPUs convolutions would round to 10 bits, and differ more than is looked for.
_exact = Held(
    lambda: torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False)
)


def _output(network: nn.Module, example: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), evaluating(network), _exact():
        output: torch.Tensor = network(example)
    return output.double()


def _relative_difference(output: torch.Tensor, before: torch.Tensor) -> float:
    difference = float((output - before).abs().max() / before.abs().max().clamp(min=1e-30))
    return math.inf if math.isnan(difference) else difference


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards each module has its own mode again."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
