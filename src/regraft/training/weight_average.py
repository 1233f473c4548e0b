"""Averages of a network's weights over its training, which often predict better than the last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

Tensors = dict[str, torch.Tensor]


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of the parameters; buffers are those of the latest network.

    The first updates count more, so that the start is forgotten soon: in update t, from 0, the
    factor on the old average is ``min(decay, (1 + t) / (10 + t))``.

    Parameters
    ----------
    network : nn.Module
        Its weights are where the average starts.
    decay : float in [0, 1)

    References
    ----------
    Polyak, Juditsky (1992), SIAM J. Control Optim. 30(4). The warm-up is TensorFlow's
    ``ExponentialMovingAverage(num_updates)``.

    Examples
    --------
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = layer.weight.data.fill_(0.0)
    >>> average = moving_average(layer, decay=0.999)
    >>> _ = layer.weight.data.fill_(1.0)
    >>> average.update_parameters(layer)
    >>> round(average.module.weight.item(), 3)  # a tenth stays of the start
    0.9
    """

    def warmed(old: list[torch.Tensor], new: list[torch.Tensor], n_averaged: torch.Tensor) -> None:
        n = int(n_averaged)
        torch._foreach_lerp_(old, new, 1 - min(decay, n / (9 + n)))

    average = AveragedModel(network, multi_avg_fn=warmed)
    average.update_parameters(network)  # the start counts as one
    return average


def mean_of(states: Sequence[Tensors]) -> Tensors:
    """The even average of several states of one network; whole numbers are those of the last.

    References
    ----------
    Izmailov et al. (2018), "Averaging weights leads to wider optima", UAI, arXiv:1803.05407.

    Examples
    --------
    >>> mean_of([{"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}])
    {'w': tensor([1.5000])}
    """
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for name, value in states[-1].items()
    }
