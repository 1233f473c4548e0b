"""What a worker does: the pass over the images of one shard, without store and without memory.

The same function runs in a process of ours, in a task of Ray and in one of Dask; names of images
go in, a part comes out. It may be done twice, or by another worker, and gives the same.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from regraft.data.table import ImageTable
from regraft.features import engines, extract, side_by_side
from regraft.features.engines import BuiltEngine
from regraft.features.part import Part, stamp_of, stat_of
from regraft.features.store import Store
from regraft.features.strips import recipe_for
from regraft.machine.processor import available_cores


@dataclass(frozen=True)
class Job:
    """What all shards of one pass have in common.

    Attributes
    ----------
    built : BuiltEngine
        Of the driver; a worker on another machine finds or builds the same.
    n_threads : int
        Images that a worker has in hand at once.
    """

    built: BuiltEngine
    n_threads: int

    def start(self) -> None:
        """Start the engine, so that the first shard does not wait for it."""
        for network in _engine_of(self.built).networks:
            network.engine(n_threads=self.n_threads)

    def do(self, paths: Sequence[str]) -> Part:
        """The part that these images make."""
        self.start()
        built = _engine_of(self.built)
        stamps = np.array([stamp_of(stat_of(path)) for path in paths], np.int64)
        table = ImageTable.from_paths(paths)
        with Store.nowhere() as nothing:
            seen, _, report = extract.see(table, built, nothing, n_threads=self.n_threads)
        is_good = np.ones(len(paths), bool)
        is_good[list(seen.rejected)] = False
        return Part(
            recipe_for(built.info),
            list(paths),
            stamps.reshape(-1, 2),
            seen.facts.select(is_good),
            seen.X[is_good],
            seen.rejected,
            n_run=report.n_images,
            decode_s=report.decode_ms * report.n_images / 1000,
            model_s=report.model_ms * report.n_images / 1000,
        )


# A worker of Ray or Dask lives through many passes, and an engine takes up to some hundred MB.
MOST_RUNNING = 2
_RUNNING: dict[str, BuiltEngine] = {}
_changing = threading.Lock()


def _engine_of(built: BuiltEngine) -> BuiltEngine:
    """The engine on this machine, one for all shards of a pass that this worker does."""
    key = f"{built.folder} {recipe_for(built.info).digest} {built.device}"
    with _changing:
        found = _RUNNING.pop(key, None)
        if found is None:
            found = built if _is_of_this_machine(built) else _located(built)
        _RUNNING[key] = found  # the last one used stands last
        for oldest in list(_RUNNING)[:-MOST_RUNNING]:
            del _RUNNING[oldest]
    return found


def _is_of_this_machine(built: BuiltEngine) -> bool:
    """Whether the driver's engine is here, and is one for this processor: on a shared disk it may
    be there and be for another."""
    return built.is_here and all(map(_is_mine, built.networks))


def _is_mine(one: BuiltEngine) -> bool:
    info = one.info
    mine = engines.folder_for(info.weights_digest, one.device, info.variant)
    return one.folder.name == mine.name


def _located(built: BuiltEngine) -> BuiltEngine:
    """The same network here, built if need be; its recipe is compared by who asked."""
    white, look = built.info.preprocess.white, built.info.look
    shown = replace(built.source, white=white, look=look)
    return side_by_side.locate(shown, device=built.device)


@functools.cache
def threads_each(n_workers: int) -> int:
    """Threads of each of several workers that share this machine's cores."""
    return max(1, available_cores() // n_workers)
