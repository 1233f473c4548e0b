"""What is settled before a network learns, step by step: rows, a look, settings, input, start.

Each step is a small object that does not change, made from those before it; each has a file of
its own. What is made of all of them together is here.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import ConfigError
from regraft.listener import Listener
from regraft.probe.base import Floats
from regraft.probe.probe import class_weights
from regraft.training.chosen_settings import Chosen, chosen
from regraft.training.input import Input, prepared_input
from regraft.training.look import Look, looked
from regraft.training.rows import Rows, divided
from regraft.training.settings import TrainingSettings
from regraft.training.start import Start, started
from regraft.training.task import Task

if TYPE_CHECKING:
    from regraft.training.examples import Examples
    from regraft.training.views import Views

# In the run's folder: what a tracker keeps there.
TRACKED = "tracked"
# What may change between a training and the one that goes on with it.
_NO_IDENTITY = {"epochs", "workers", "budget_gib", "tracker", "refit"}


@dataclass(frozen=True, eq=False)
class Plan:
    """All steps together, and what is made of them."""

    task: Task
    rows: Rows
    look: Look
    chosen: Chosen
    input: Input
    start: Start

    @classmethod
    def of(cls, task: Task) -> Plan:
        """Settle everything, in order."""
        from regraft.backbones import network

        rows = divided(task)
        look = looked(task, rows)
        task.environment.on_look(look.probe)
        info = task.built.info
        loaded = network.rebuild(task.built.weights_path, info.architecture, info.config)
        settled = chosen(task, rows, look, loaded)
        seen = prepared_input(task, look, settled.settings, loaded)
        start = started(task, rows, look, seen, settled.settings)
        return cls(task, rows, look, settled, seen, start)

    @property
    def settings(self) -> TrainingSettings:
        """Resolved."""
        return self.chosen.settings

    @property
    def listener(self) -> Listener:
        """Who is told."""
        return self.task.environment.listener

    @property
    def seed(self) -> int:
        """Of everything that is left to chance."""
        return self.task.seed

    @cached_property
    def views(self) -> Views:
        """The pictures as training sees them."""
        from regraft.training.views import Views

        return Views(
            self.look.table, self.look.digests, self.input.built.info.preprocess, self.settings,
            seed=self.seed, listener=self.listener, n_augmented=self.rows.n_learn,
        )  # fmt: skip

    def augmented_examples(self) -> Examples:
        """Pictures of the rows that teach, augmented anew in each epoch; small ones first."""
        from regraft.training.examples import PixelExamples

        config, settings = self.input.loaded.config, self.settings
        size, start = int(settings.image_size or 0), settings.start_size
        views = self.views
        views.decode()  # here, where the first of several processes does it for all

        def view(row: int, epoch: int) -> NDArray[np.uint8]:
            is_early = start is not None and epoch < 2 * int(settings.epochs or 0) / 3
            return views.augmented(row, epoch, start if is_early else size)

        return PixelExamples(self.rows.n_learn, view, mean=config["mean"], std=config["std"])

    def plain_examples(self) -> Examples | None:
        """Plain pictures of the rows that choose, kept in memory."""
        from regraft.training.examples import PixelExamples

        if not self.rows.n_choose:
            return None
        kept = self.views.all_plain(self.rows.choose)
        config = self.input.loaded.config
        return PixelExamples(
            len(kept), lambda row, epoch: kept[row], mean=config["mean"], std=config["std"]
        )

    def feature_views(self) -> list[NDArray[np.float32]]:
        """Features of the rows that teach: of the plain pictures, then of augmented views."""
        from regraft.features import activations

        n_views, plain = int(self.settings.views or 1), self.input.X[self.rows.learn]
        if n_views == 1:
            return [plain]
        built = self.input.built
        engine = activations.PrefixEngine(
            built.engine(), built.info.n_features, (0,), built.info.batch_size,
            built.folder.name, built.info.runtime,
        )  # fmt: skip
        found = activations.compute(
            engine, self.views.augmented, self.rows.n_learn, n_views,
            recipe=self.views.recipe(self.rows.learn),
            budget_bytes=int(self.settings.budget_gib * 2**30),
            progress=functools.partial(self.listener.progress, "views"),
        )  # fmt: skip
        if found is None:
            raise ConfigError(
                f"{n_views} views of {self.rows.n_learn} images do not fit the "
                f"{self.settings.budget_gib:g} GiB of --budget-gib",
                cure="fewer --views, or a larger --budget-gib",
            )
        return [plain, *found]

    @cached_property
    def accelerator(self) -> Any:
        """Device, arithmetic and processes, as Accelerate finds or is told them."""
        from regraft.training.acceleration import accelerator

        kept = self.task.environment.folder
        folder = None if kept is None else kept.parent / TRACKED
        return accelerator(
            self.input.built.device, self.settings, self.input.loaded.network, folder
        )

    def weights(self, places: NDArray[np.intp]) -> Floats:
        """Of the images in the loss; mean 1."""
        return class_weights(self.rows.y[places], self.task.probe.class_weight)

    @property
    def identity(self) -> str:
        """Of this training: what decides its numbers, but for how long it goes on."""
        settings = {k: v for k, v in self.settings.to_dict().items() if k not in _NO_IDENTITY}
        parts = [
            self.task.method.name, settings, self.input.built.info.weights_digest, self.seed,
            self.task.probe.class_weight, self.rows.y.tolist(), self.rows.n_learn,
            hashlib.sha256(b"".join(self.look.digests)).hexdigest(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
