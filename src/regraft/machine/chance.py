"""Chance in PyTorch, drawn from a seed of ours, while the process's own is left as it was.

Dropout and the first weights of layers take no generator: they draw from one that belongs to the
process, and with it to the user and to every other fit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# With which PyTorch itself begins in every process.
FRESH = 67280421310721
_one_at_a_time = threading.RLock()


@contextmanager
def drawn_from(seed: int, device: str = "cpu") -> Iterator[None]:
    """A context in which all that is random on the CPU and on `device` comes from `seed`.

    Afterwards the generators are where they were. Two threads go through it one after the other;
    what a third one, not of ours, draws meanwhile comes from the seed too.

    Parameters
    ----------
    seed : int
    device : {'cpu', 'cuda', 'mps'}

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with drawn_from(0):
    ...     torch.rand(1)
    tensor([0.4963])
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    own: Any = {"cuda": torch.cuda, "mps": torch.mps}.get(device)
    with _one_at_a_time:
        before, of_device = torch.get_rng_state(), own and own.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            if own:
                own.manual_seed(seed)
            yield
        finally:
            torch.set_rng_state(before)
            if own:
                own.set_rng_state(of_device)
