"""What an epoch is made of: features, activations at a cut, or augmented pictures.

All three answer the same question, "the inputs of these rows in this epoch", and the answer is a
function of (seed, epoch, row) alone: not of threads, order, batch or process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.features.activations import PrefixEngine, View, rows_of
from regraft.machine import torch_threads
from regraft.probe.base import Codes, Floats

Rows = NDArray[np.intp]
Inputs = tuple[torch.Tensor, torch.Tensor | None]
# Batches that are prepared ahead of the one in work.
AHEAD = 3


class Examples(Protocol):
    """Inputs of a :class:`~regraft.training.tunable.TunableClassifier`, row by row."""

    def __len__(self) -> int: ...

    def batch(self, rows: Rows, epoch: int) -> Inputs:
        """``(x, earlier)`` of these rows, as the module takes them."""
        ...


@dataclass(frozen=True)
class Labelled:
    """Examples with their classes and weights."""

    examples: Examples
    y: Codes
    weight: Floats


class FeatureExamples:
    """Features of the pass, one array ``(N, D0)`` per view; epoch e sees view ``e mod V``."""

    def __init__(self, views: Sequence[NDArray[np.float32]]) -> None:
        self.views = views

    def __len__(self) -> int:
        return len(self.views[0])

    def batch(self, rows: Rows, epoch: int) -> Inputs:
        X = self.views[epoch % len(self.views)]
        return torch.from_numpy(np.ascontiguousarray(X[rows])), None


class ActivationExamples:
    """What the prefix gave, computed once: ``(V, N, D)`` numbers, of which the first `n_earlier`
    are pooled stages before the cut and the rest is the map at it.

    Parameters
    ----------
    views : array of shape (V, N, D)
        May be memory-mapped.
    n_earlier : int
    shape : tuple of int
        Of one activation.
    """

    def __init__(self, views: NDArray[Any], n_earlier: int, shape: tuple[int, ...]) -> None:
        self.views, self.n_earlier, self.shape = views, n_earlier, shape

    def __len__(self) -> int:
        return int(self.views.shape[1])

    def batch(self, rows: Rows, epoch: int) -> Inputs:
        block = np.asarray(self.views[epoch % len(self.views), rows], np.float32)
        maps = torch.from_numpy(np.ascontiguousarray(block[:, self.n_earlier :]))
        earlier = torch.from_numpy(np.ascontiguousarray(block[:, : self.n_earlier]))
        if len(self.shape) == 3:  # lies as (H, W, C): channels-last without a copy
            channels, height, width = self.shape
            return maps.view(-1, height, width, channels).permute(0, 3, 1, 2), earlier
        return maps.view(-1, *self.shape), earlier


class MadeActivations:
    """As `ActivationExamples`, but each row is made when it is needed: nothing is kept."""

    def __init__(self, engine: PrefixEngine, view: View, n: int, n_views: int) -> None:
        self._engine, self._view, self._n, self._n_views = engine, view, n, n_views

    def __len__(self) -> int:
        return self._n

    def batch(self, rows: Rows, epoch: int) -> Inputs:
        X = rows_of(self._engine, self._view, rows.tolist(), epoch % self._n_views)
        made = ActivationExamples(X[None], self._engine.n_earlier, self._engine.shape)
        return made.batch(np.arange(len(rows)), 0)


class PixelExamples:
    """Pictures, made anew in each epoch by `view(row, epoch)` -> uint8 ``(H, W, 3)``."""

    def __init__(
        self,
        n: int,
        view: Callable[[int, int], NDArray[np.uint8]],
        *,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self._n, self._view = n, view
        self._mean = np.float32(255) * np.asarray(mean, np.float32)
        self._inverse_std = 1 / (np.float32(255) * np.asarray(std, np.float32))

    def __len__(self) -> int:
        return self._n

    def batch(self, rows: Rows, epoch: int) -> Inputs:
        pictures = np.stack([self._view(int(row), epoch) for row in rows])
        x = pictures.astype(np.float32)
        x -= self._mean
        x *= self._inverse_std
        return torch.from_numpy(x).permute(0, 3, 1, 2), None  # channels-last in memory


def prefetched(
    examples: Examples, batches: Sequence[Rows], epoch: int, *, n_threads: int
) -> Iterator[tuple[Rows, Inputs]]:
    """The batches in order, some prepared ahead by threads."""
    if n_threads == 0:
        for rows in batches:
            yield rows, examples.batch(rows, epoch)
        return
    # One thread each: torch's own teams, beside those of the training, would wait for each other.
    with ThreadPoolExecutor(n_threads, initializer=torch_threads.set_here, initargs=(1,)) as pool:
        waiting: list[Future[Inputs]] = []
        try:
            for number, rows in enumerate(batches):
                while len(waiting) < AHEAD + 1 and number + len(waiting) < len(batches):
                    coming = batches[number + len(waiting)]
                    waiting.append(pool.submit(examples.batch, coming, epoch))
                yield rows, waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
