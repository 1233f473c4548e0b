"""Where features come from, besides this process and the store: parts made before, and runners.

Neither changes what a run does, only who computes it; so neither is a setting of the run.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from regraft.data import listings
from regraft.data.listings import Listings
from regraft.features.engines import BuiltEngine
from regraft.features.one_pass import Runner
from regraft.features.parts import NO_PARTS, Parts
from regraft.features.strips import recipe_for
from regraft.listener import Listener
from regraft.machine import cache


@dataclass(frozen=True)
class Elsewhere:
    """Who else does the pass, as the user says it.

    Attributes
    ----------
    runner : str
        'threads', 'processes:N', 'ray', 'ray://HOST:PORT' or 'dask://HOST:PORT'.
    parts : str or None
        A folder of parts, made by `regraft features`.
    """

    runner: str = "threads"
    parts: str | None = None

    def runner_for(self, listener: Listener) -> Runner | None:
        """The runner; None for the threads of this process."""
        if self.runner == "threads":
            return None
        from regraft.features.runners.named import runner_named

        return runner_named(self.runner, say=listener.say)

    def parts_for(self, built: BuiltEngine, listener: Listener) -> Parts:
        """The parts of this engine's recipe; none if none were named."""
        if self.parts is None:
            return NO_PARTS
        progress = functools.partial(listener.progress, "parts")
        return Parts.open(self.parts, recipe_for(built.info), say=listener.say, progress=progress)

    def listings_for(self, listener: Listener) -> Listings:
        """Where the listings of tar shards elsewhere are kept: here, or beside the parts."""
        kept = cache.folder_of(listings.KIND)
        beside = () if self.parts is None else (listings_beside(self.parts),)
        return Listings(kept, *beside, progress=functools.partial(listener.progress, "shards"))


def listings_beside(parts: str | os.PathLike[str]) -> Path:
    """The folder of the listings in a folder of parts."""
    return Path(parts, listings.KIND)


HERE = Elsewhere()
