"""What one fit is asked for: the images, the method, its settings, and for whom it runs.

Array letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regraft.features.engines import BuiltEngine
from regraft.features.rows import rows_of
from regraft.listener import SILENT, Listener
from regraft.probe.base import Codes
from regraft.probe.classifier import Classifier
from regraft.probe.method import Method
from regraft.probe.probe import Probe
from regraft.training.settings import TrainingSettings

if TYPE_CHECKING:
    from regraft.features.extraction import Extraction


@dataclass(frozen=True)
class Environment:
    """Where and for whom training runs; nothing here changes the result.

    Attributes
    ----------
    folder : Path or None
        Of the checkpoints; None keeps none.
    listener : Listener
    offline : bool
    on_look : callable(probe)
        Hears of the probe at the network's own size, which says what kind of data these are,
        before anything long begins.
    """

    folder: Path | None = None
    listener: Listener = SILENT
    offline: bool = False
    on_look: Callable[[Classifier], None] = lambda probe: None


@dataclass(frozen=True, eq=False)
class Task:
    """A fit as it was asked for; nothing is chosen yet.

    Attributes
    ----------
    method : Method
    probe : Probe
        How a probe is fitted: the whole of that method; training begins from one, and is measured
        against it. Its taps are what the head sees (None: chosen by the probe).
    settings : TrainingSettings
        As they were given; None stands for what is chosen.
    built : BuiltEngine
        Of the network at its own size.
    extraction : Extraction
        Of N images, by that engine.
    y : (N,) codes
    classes : tuple of K str
    learn : (n,) int
        Rows that teach.
    choose : (m,) int or None
        Rows that choose; None carves them out of those that teach.
    units : (n,) int or None
        Of the rows that teach; those of one unit are not divided.
    units_of_choose : (m,) int or None
        Of the rows that choose; those of one unit count as one.
    environment : Environment
    """

    method: Method
    probe: Probe
    settings: TrainingSettings
    built: BuiltEngine
    extraction: Extraction
    y: Codes
    classes: tuple[str, ...]
    learn: NDArray[np.intp]
    choose: NDArray[np.intp] | None = None
    units: Codes | None = None
    environment: Environment = field(default_factory=Environment)
    units_of_choose: Codes | None = None

    def fit_probe(self) -> Classifier:
        """The probe on the rows that teach: what the method `probe` gives of this task."""
        return self.probe.fit(
            rows_of(self.extraction.X, self.learn),
            self.y[self.learn],
            network=self.built,
            classes=self.classes,
            units=self.units,
        )

    @property
    def seed(self) -> int:
        """Of everything that is left to chance."""
        return self.probe.random_state
