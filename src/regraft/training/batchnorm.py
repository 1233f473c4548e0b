"""What BatchNorm does while a network is trained further: whether its statistics stay, and how.

A batch of photographs of one kind has other statistics than the millions that a backbone was
trained on, so by default the statistics stay. BatchNorm is then a fixed scale and shift per
channel, and one that follows a convolution can be multiplied into it (`folding`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from regraft.training.folding import Folding, evaluating, fold

MODES = ("frozen", "train", "affine-only", "re-estimate")


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


def _learns(norm: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in norm.parameters(recurse=False))


def _train_all_but_itself(norm: nn.Module, mode: bool = True) -> nn.Module:
    for child in norm.children():  # timm's carries the dropout that comes after it
        child.train(mode)
    norm.training = False
    return norm


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
    with evaluating(network), _by_batch(moments):
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
