"""The network as training sees through it: at another size perhaps, or normalised otherwise.

Array letters: N images, D features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regraft.features import engines, extract
from regraft.features.engines import BuiltEngine
from regraft.images import pictures
from regraft.training.look import Look
from regraft.training.settings import TrainingSettings
from regraft.training.task import Task

if TYPE_CHECKING:
    from regraft.backbones.network import LoadedNetwork


@dataclass(frozen=True, eq=False)
class Input:
    """The network as training sees through it: at another size perhaps, or normalised otherwise.

    Attributes
    ----------
    built : BuiltEngine
    loaded : LoadedNetwork
    X : (N, D) float32
        What the probe learns on.
    is_native : bool
        It is the network's own input.
    """

    built: BuiltEngine
    loaded: LoadedNetwork
    X: NDArray[np.float32]
    is_native: bool

    @property
    def stages(self) -> tuple[str, ...]:
        """The network's, in order."""
        return tuple(name for name, _ in self.built.info.widths[:-1])


def prepared_input(
    task: Task, look: Look, settings: TrainingSettings, loaded: LoadedNetwork
) -> Input:
    """The engine, and the probe's features, at the size at which the network will see, and
    normalised as was asked."""
    own, size = task.built.info.preprocess.input_px, int(settings.image_size or 0)
    source = task.built.source.given(
        input_px=(size, size) if size != min(own) else None,
        mean=settings.numbers("mean", 3),
        std=settings.numbers("std", 3),
    )
    if source is task.built.source:
        return Input(task.built, loaded, look.X, True)
    listener = task.environment.listener
    built = engines.locate(
        source,
        sample=pictures.sample(look.table.paths),
        device=task.built.device,
        offline=task.environment.offline,
        say=listener.say,
    )
    loaded = replace(loaded, config=dict(built.info.config))
    X = look.X
    if not task.method.starts_anew:
        X = extract.through_store(look.table, built, listener=listener).X
    return Input(built, loaded, X, task.method.starts_anew)
