"""What the network at its own size makes of the images, before it learns: features and a probe.

Array letters: N images, D features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.digests import Digests
from regraft.data.table import ImageTable
from regraft.features.engines import BuiltEngine
from regraft.features.rows import rows_of
from regraft.images.facts_table import FactsTable
from regraft.probe.base import Floats
from regraft.probe.classifier import Classifier
from regraft.training.rows import Rows
from regraft.training.task import Task


@dataclass(frozen=True, eq=False)
class Look:
    """The images as the network at its own size sees them, and the probe on that.

    Attributes
    ----------
    table : ImageTable of N rows
    facts : FactsTable of N rows
    X : (N, D) float32
    probe : Classifier
        With the taps measured, even where some were given: the curve says what data these are.
    """

    table: ImageTable
    facts: FactsTable
    X: Any
    probe: Classifier

    @property
    def digests(self) -> Digests:
        """Of the pictures' contents."""
        return self.facts.digests


def looked(task: Task, rows: Rows) -> Look:
    """The probe at the network's own size says what kind of data these are."""
    places = rows.of_extraction
    X = rows_of(task.extraction.X, places)
    probe = fitted_probe(task, rows, X, task.built, None, rows.all)
    facts = task.extraction.facts.select(places)
    return Look(task.extraction.table.select(places), facts, X, probe)


def fitted_probe(
    task: Task,
    rows: Rows,
    X: Floats,
    built: BuiltEngine,
    taps: tuple[str, ...] | None,
    places: NDArray[np.intp],
) -> Classifier:
    """The task's probe on some of the rows, by the features of an engine."""
    return replace(task.probe, taps=taps).fit(
        rows_of(X, places),
        rows.y[places],
        network=built,
        classes=task.classes,
        units=rows.units[places],
    )
