"""Averages of a network's weights over its training, which often predict better than the last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

Tensors = dict[str, torch.Tensor]


class MovingAverage:
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
    >>> average = MovingAverage(layer, decay=0.999)
    >>> _ = layer.weight.data.fill_(1.0)
    >>> average.update(layer)
    >>> round(average.tensors["weight"].item(), 3)  # a tenth stays of the start
    0.9
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.decay, self.n_updates = decay, 0
        self.tensors: Tensors = {
            name: _wide(value) if name in _averaged(network) else value.clone()
            for name, value in network.state_dict().items()
        }

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        keep = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        averaged = _averaged(network)
        for name, value in network.state_dict().items():
            average = self.tensors[name]
            if name in averaged:
                average.lerp_(value.to(average.dtype), 1 - keep)
            else:
                average.copy_(value)
        self.n_updates += 1

    def state(self) -> Tensors:
        """Copies, under the network's own names: for its ``load_state_dict``, and for a file.

        With `n_updates` it is all that :meth:`load` needs to go on.
        """
        return {name: value.clone() for name, value in self.tensors.items()}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def load(self, tensors: Tensors, *, n_updates: int) -> None:
        """The inverse of :meth:`state`.

        Raises
        ------
        ValueError
            Other names, shapes or kinds of numbers than the network's.
        """
        if strange := set(tensors) ^ set(self.tensors):
            raise ValueError(f"the average and the network differ in {min(strange)!r}")
        for name, value in tensors.items():
            wanted = self.tensors[name]
            if value.shape != wanted.shape or value.dtype != wanted.dtype:
                raise ValueError(
                    f"the average of {name!r} is {value.dtype} {tuple(value.shape)}, "
                    f"expected {wanted.dtype} {tuple(wanted.shape)}"
                )
        for name, value in tensors.items():
            self.tensors[name].copy_(value)
        self.n_updates = n_updates


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


def _averaged(network: nn.Module) -> set[str]:
    return {
        name
        for name, parameter in network.named_parameters(remove_duplicate=False)
        if parameter.is_floating_point()
    }


def _wide(value: torch.Tensor) -> torch.Tensor:
    """At least float32: in half precision small steps towards the average would be lost."""
    return value.to(torch.promote_types(value.dtype, torch.float32), copy=True)
