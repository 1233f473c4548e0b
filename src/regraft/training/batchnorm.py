"""What BatchNorm does while a network is trained further, and its folding into convolutions.

A batch of photographs of one kind has other statistics than the millions that a backbone was
trained on, so by default the statistics stay. BatchNorm is then a fixed scale and shift per
channel, and one that follows a convolution can be multiplied into it: the same function with
fewer passes over memory. After training the result is divided out again, and the network has all
its tensors under their own names.

Letters: with ``s = gamma / sqrt(variance + eps)`` a convolution ``W, b`` followed by BatchNorm is
the convolution ``s W`` with bias ``s (b - mean) + beta``.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from regraft.machine.held import Held

MODES = ("frozen", "train", "affine-only", "re-estimate")
# Dividing by a smaller scale (relative to the layer's largest) would blow up what was learnt.
SMALLEST_SCALE = 1e-6
# Rounding differs more than that in no network; a wrong pair differs by far more.
TOLERANCE = 1e-4

_PLAIN_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_PLAIN_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def prepare(network: nn.Module, mode: str, example: torch.Tensor) -> Prepared:
    """Make BatchNorm behave as `mode` says, until :meth:`Prepared.finish`.

    Call it when it is settled which parameters learn (``requires_grad``), and before the
    optimiser is built: folding gives convolutions a bias. A BatchNorm whose scale and shift do
    not learn (or that has none) belongs to the frozen part: its statistics stay in every mode.

    Parameters
    ----------
    network : nn.Module
        Changed in place.
    mode : {'frozen', 'train', 'affine-only', 're-estimate'}
        'frozen': statistics stay, and where a BatchNorm follows a convolution it is folded into
        it. Weight, scale and shift learn as one weight and one bias, so the size of a gradient
        step differs from the unfolded one. Where nothing folds, the same as
        'affine-only'.

        'train': statistics move with the batches.

        'affine-only': statistics stay, nothing is folded, scale and shift learn.

        're-estimate': trained as 'frozen'; call :func:`re_estimate` after ``finish``.
    example : (n, C, H, W) float
        Pictures as in training, not constant; what folding is checked on.

    Raises
    ------
    ValueError
        No such mode.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    >>> prepared = prepare(network, "frozen", torch.rand(1, 3, 8, 8))
    >>> [type(module).__name__ for module in network], network[0].bias is not None
    (['Conv2d', 'Identity', 'ReLU'], True)
    >>> prepared.finish()
    >>> [type(module).__name__ for module in network], network[0].bias is not None
    (['Conv2d', 'BatchNorm2d', 'ReLU'], False)
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
    folding = fold(network, example) if mode in ("frozen", "re-estimate") else Folding()
    stay = [n for n in batch_norms(network) if mode != "train" or not _learns(n)]
    return Prepared(folding, keep_frozen(stay))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network whose BatchNorm was prepared for training.

    Attributes
    ----------
    folding : Folding
    frozen : list of nn.Module
        Kept in eval mode, whatever ``network.train()`` says.
    """

    folding: Folding
    frozen: list[nn.Module]

    def finish(self) -> None:
        """Unfold, and let ``train()`` reach every BatchNorm again."""
        self.folding.unfold()
        for norm in self.frozen:
            norm.__dict__.pop("train", None)


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """Every BatchNorm of a network: one-, two-, three-dimensional, synchronised, timm's."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def keep_frozen(norms: Iterable[nn.Module]) -> list[nn.Module]:
    """Put them into eval mode and keep them there: ``network.train()`` no longer reaches them."""
    kept = list(norms)
    for norm in kept:
        # On the instance, so that the class, and with it every isinstance check, stays.
        norm.train = MethodType(_train_all_but_itself, norm)
        norm.training = False
    return kept


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


def re_estimate(network: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Set mean and variance of every BatchNorm of the trained part to those of these batches.

    Each BatchNorm normalises with the batch at hand meanwhile, dropout is off, and the moments of
    all batches are merged exactly: unlike torch's ``update_bn``, small batches weigh less, and the
    variance counts how batches differ from each other. To be called after
    :meth:`Prepared.finish`.

    Parameters
    ----------
    network : nn.Module
    batches : iterable of (n, C, H, W) float
        Some dozens of large, shuffled ones, without augmentation.

    Raises
    ------
    ValueError
        No batches, or no BatchNorm whose scale or shift learns.

    References
    ----------
    Wu, Johnson (2021), "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3 (PreciseBN).

    Examples
    --------
    >>> network = nn.Sequential(nn.BatchNorm1d(1))
    >>> re_estimate(network, [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0]] * 2)])
    >>> float(network[0].running_mean), round(float(network[0].running_var), 3)
    (2.5, 3.667)
    """
    moments = {
        norm: _Moments()
        for norm in batch_norms(network)
        if _learns(norm) and norm.running_mean is not None
    }
    if not moments:
        raise ValueError("no BatchNorm of this network learns, so there is nothing to re-estimate")
    with _evaluating(network), _by_batch(moments):
        n_batches = 0
        for batch in batches:
            network(batch)
            n_batches += 1
    if not n_batches:
        raise ValueError("re-estimating needs at least one batch, got none")
    for norm, found in moments.items():
        if found.n:
            norm.running_mean.copy_(found.mean)
            norm.running_var.copy_(found.squares / max(1, found.n - 1))
            norm.num_batches_tracked.fill_(n_batches)


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


def _learns(norm: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in norm.parameters(recurse=False))


def _train_all_but_itself(norm: nn.Module, mode: bool = True) -> nn.Module:
    for child in norm.children():  # timm's carries the dropout that comes after it
        child.train(mode)
    norm.training = False
    return norm


# On NVIDIA's GPUs convolutions would round to 10 bits, and differ more than is looked for.
_exact = Held(
    lambda: torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False)
)


def _output(network: nn.Module, example: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), _evaluating(network), _exact():
        output: torch.Tensor = network(example)
    return output.double()


def _relative_difference(output: torch.Tensor, before: torch.Tensor) -> float:
    difference = float((output - before).abs().max() / before.abs().max().clamp(min=1e-30))
    return math.inf if math.isnan(difference) else difference


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards each module has its own mode again."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@dataclass
class _Moments:
    """Number of values, their mean and their summed squared deviations (C,), merged by Chan."""

    n: int = 0
    mean: Any = 0.0
    squares: Any = 0.0

    def add(self, values: torch.Tensor) -> None:
        """``(C, n)`` values."""
        n = values.shape[1]
        variance, mean = (
            part.cpu().double() for part in torch.var_mean(values.float(), dim=1, correction=0)
        )
        total, step = self.n + n, mean - self.mean
        self.mean = self.mean + step * n / total
        self.squares = self.squares + variance * n + step**2 * self.n * n / total
        self.n = total


@contextmanager
def _by_batch(moments: dict[nn.Module, _Moments]) -> Iterator[None]:
    """Normalise with the batch at hand, note its moments, leave the stored statistics alone."""

    def note(norm: nn.Module, args: Any) -> None:
        moments[norm].add(args[0].transpose(0, 1).flatten(1))

    hooks = [norm.register_forward_pre_hook(note) for norm in moments]
    for norm in moments:
        norm.training, norm.track_running_stats = True, False
    try:
        with torch.no_grad():
            yield
    finally:
        for norm, hook in zip(moments, hooks, strict=True):
            hook.remove()
            norm.training, norm.track_running_stats = False, True
