"""What a network's frozen prefix makes of augmented pictures, computed once and kept.

The prefix runs on the same engine as the probe's pass. Each row holds the pooled stages before
the cut, then the map at it; an epoch that trains only the rest reads rows and computes no prefix.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones.splitting import Split
from regraft.backbones.taps import Normalised, StageTaps
from regraft.features import subgraphs
from regraft.features.engine import Engine, Tap
from regraft.features.engines import BuiltEngine
from regraft.machine import arrays, atomic, cache
from regraft.machine.processor import available_cores

View = Callable[[int, int], NDArray[np.uint8]]
Progress = Callable[[int, int], None]
# Raised when the order or the meaning of a row's numbers changes.
PREFIX_VERSION = 2


class PrefixNetwork(nn.Module):  # type: ignore[misc]
    """uint8 pictures ``(N, H, W, 3)`` to ``(N, D)``: pooled stages before the cut, then the map.

    Parameters
    ----------
    split : Split
    stages : sequence of str
        Of the whole network, in their order; those that end before the cut or at it are pooled.
    mean, std : three floats
        Of RGB in [0, 1].
    """

    def __init__(self, split: Split, stages: Sequence[str], *, mean: Any, std: Any) -> None:
        super().__init__()
        self.prefix, self.cut = split.prefix, split.point.after
        self.normalised = Normalised(mean=mean, std=std)
        self.shape: tuple[int, ...] = ()
        self.stages: tuple[str, ...] = ()
        self._candidates = tuple(stages)
        # The cut itself ends the pass before it could be heard.
        self._taps = StageTaps(split.prefix.network, set(stages) - {self.cut})

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        maps = self.prefix(self.normalised(pixels))
        if self.cut in self._candidates:
            self._taps[self.cut] = maps
        self.shape = tuple(int(side) for side in maps.shape[1:])
        self.stages = tuple(name for name in self._candidates if name in self._taps)
        pooled = [part for name in self.stages for part in self._taps.take(name)]
        # Maps lie as (H, W, C), as convolutions on CPUs like them best.
        flat = maps.permute(0, 2, 3, 1) if maps.ndim == 4 else maps
        return torch.cat([*pooled, flat.float().flatten(1)], dim=1)


@dataclass(frozen=True, eq=False)
class PrefixEngine:
    """A prefix, ready to run.

    Attributes
    ----------
    n_earlier : int
        Leading numbers of a row: pooled stages before the cut.
    shape : tuple of int
        Of the map, without the batch.
    key : str
        The same for equal rows.
    """

    runner: Engine
    n_earlier: int
    shape: tuple[int, ...]
    batch_size: int
    key: str
    runtime: str
    note: str = ""

    @property
    def width(self) -> int:
        """Numbers per row."""
        return self.n_earlier + int(np.prod(self.shape))


def prefix_engine(
    module: PrefixNetwork,
    built: BuiltEngine,
    *,
    cut: str,
    taps: Sequence[Tap],
    example: NDArray[np.uint8],
) -> PrefixEngine:
    """The prefix on the engine that the pass uses, built if this is the first time.

    Parameters
    ----------
    built : BuiltEngine
        Of the whole network at the same picture size.
    example : (n, H, W, 3) uint8
        Real pictures, on which the graph is compared with PyTorch.
    """
    with torch.inference_mode():
        width = module(torch.from_numpy(example)).shape[1]  # it also says its shape
    n_earlier = max((tap.stop for tap in taps if tap.name in module.stages), default=0)
    part = subgraphs.find_or_build(
        module,
        built,
        f"prefix {PREFIX_VERSION} {cut}",
        columns=[Tap(cut, 0, width)],
        example=example,
        facts={},
    )
    return PrefixEngine(
        part.runner, n_earlier, module.shape, part.batch_size, part.key, part.runtime, part.note
    )


def rows_of(
    engine: PrefixEngine, view: View, rows: Sequence[int], number: int
) -> NDArray[np.float32]:
    """``(n, D)`` of these pictures in view `number`, computed now."""
    pictures = np.stack([view(int(row), number) for row in rows])
    return engine.runner.run(pictures)


def compute(
    engine: PrefixEngine,
    view: View,
    n_images: int,
    n_views: int,
    *,
    recipe: str,
    budget_bytes: int,
    progress: Progress = lambda done, total: None,
) -> NDArray[np.float32] | None:
    """``(V, N, D)`` activations of all views, from disk if they were computed before.

    Parameters
    ----------
    view : callable(row, number) -> (H, W, 3) uint8
    recipe : str
        What, beside the engine, decides the numbers: content digests, augmentation, seed, sizes.
    budget_bytes : int
        More than that is not kept: then None, and the caller computes rows when it needs them.
    """
    shape = (n_views, n_images, engine.width)
    n_bytes = 4 * int(np.prod(shape))
    if n_bytes > budget_bytes:
        return None
    key = hashlib.sha256(f"{engine.key}|{recipe}|{shape}".encode()).hexdigest()[:32]
    path = cache.folder_of("activations") / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError):
        found: NDArray[np.float32] = np.load(path, mmap_mode="r")
        if found.shape == shape and found.dtype == np.float32:
            os.utime(path)
            return found
    try:
        cache.make_room("activations", ".npy", budget_bytes - n_bytes)
        with atomic.file(path, shared=True) as part:
            X = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=shape)
            _fill(X, engine, view, progress)
            X.flush()
            del X
        kept: NDArray[np.float32] = np.load(path, mmap_mode="r")
        return kept
    except OSError:  # a disk that cannot be written
        in_passing: NDArray[np.float32] = arrays.zeros(shape, np.float32)
        _fill(in_passing, engine, view, progress)
        return in_passing


def _fill(X: NDArray[np.float32], engine: PrefixEngine, view: View, progress: Progress) -> None:
    """Every core takes the next few pictures through augmentation and prefix."""
    n_views, n_images, _ = X.shape
    starts = range(0, n_images, engine.batch_size)
    jobs = [(number, range(n_images)[i : i + engine.batch_size]) for number in range(n_views)
            for i in starts]  # fmt: skip

    def do(job: tuple[int, range]) -> int:
        number, rows = job
        X[number, rows.start : rows.stop] = rows_of(engine, view, rows, number)
        return len(rows)

    done = 0
    with ThreadPoolExecutor(available_cores()) as pool:
        try:
            for n in pool.map(do, jobs):
                done += n
                progress(done, n_views * n_images)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
