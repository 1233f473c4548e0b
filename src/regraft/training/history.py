"""What a training leaves behind: its epochs, and the states that may become the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.probe.base import Codes

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Epoch:
    """One row of log.jsonl.

    Attributes
    ----------
    epoch : int
        From 1.
    loss, accuracy : float
        Over the epoch's images as they were trained on (augmented, the weights moving).
    held_out_loss, held_out_accuracy : float or None
        On the images that choose; None without any.
    rate : float
        Of the body, at the end of the epoch.
    is_best : bool
    """

    epoch: int
    seconds: float
    images_per_second: float
    loss: float
    accuracy: float
    held_out_loss: float | None
    held_out_accuracy: float | None
    rate: float
    is_best: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in vars(self).items()}


@dataclass
class History:
    """What the loop leaves: its epochs, and the states that may become the model.

    Attributes
    ----------
    best, last, average : dict of tensors
        Of the best epoch, the last one, and the mean of the last few. Those of the moving average
        where there is one.
    notes : list of str
        What went wrong and was healed.
    compiled : str
        Whether the steps were compiled, and why.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: State = field(default_factory=dict, repr=False)
    last: State = field(default_factory=dict, repr=False)
    average: State = field(default_factory=dict, repr=False)
    notes: list[str] = field(default_factory=list)
    compiled: str = ""
    resumed_at: int = 0

    @property
    def best_epoch(self) -> int:
        """From 1; 0 if there was none."""
        return max((e.epoch for e in self.epochs if e.is_best), default=0)


def measured(logits: NDArray[Any], y: Codes) -> tuple[float, float, float]:
    """Log loss, accuracy and balanced accuracy of ``(N, K)`` logits.

    Examples
    --------
    >>> measured(np.zeros((4, 2)), np.array([0, 0, 0, 1]))
    (0.6931471805599453, 0.75, 0.5)
    """
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_proba = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    right = logits.argmax(1) == y
    recalls = [right[y == code].mean() for code in np.unique(y)]
    loss = float(-log_proba[np.arange(len(y)), y].mean())
    return loss, float(right.mean()), float(np.mean(recalls))


def copied(state: State) -> State:
    """A state that what learns does not reach any more."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}
