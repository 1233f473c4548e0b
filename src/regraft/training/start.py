"""What a training starts from: the probe's head, or a random one, and what it sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regraft.features.engine import Tap
from regraft.probe.classifier import Classifier
from regraft.probe.representation import Block, Representation
from regraft.probe.source_classifier import source_classifier
from regraft.training.input import Input
from regraft.training.look import Look, fitted_probe
from regraft.training.rows import Rows
from regraft.training.settings import TrainingSettings
from regraft.training.task import Task


@dataclass(frozen=True, eq=False)
class Start:
    """What training starts from.

    Attributes
    ----------
    probe : Classifier
        Of all rows.
    head : Classifier or None
        The probe of the rows that teach, whose head is the first; None: a random head.
    representation : Representation
        What the result's head sees.
    """

    probe: Classifier
    head: Classifier | None
    representation: Representation


def started(task: Task, rows: Rows, look: Look, seen: Input, settings: TrainingSettings) -> Start:
    """Heads on all rows, and on those that teach alone."""
    given = task.probe.taps
    is_random = task.method.starts_anew or settings.init_head == "random"
    if is_random:
        return Start(look.probe, None, _plain_final(seen.built.info.taps))
    if settings.hidden_widths:
        representation = Representation.fit(
            seen.X,
            given or look.probe.representation.taps,
            seen.built.info.taps,
            source=source_classifier(task.built),
        )
        return Start(look.probe, None, representation)
    probe = look.probe
    if given or not seen.is_native:
        probe = fitted_probe(task, rows, seen.X, seen.built, given, rows.all)
    head = probe
    if rows.n_choose:
        # On the taps that all rows chose, which no held-out label could betray.
        taps = probe.representation.taps
        head = fitted_probe(task, rows, seen.X, seen.built, taps, rows.learn)
    return Start(probe, head, probe.representation.with_blocks_of(head.representation))


def _plain_final(taps: tuple[Tap, ...]) -> Representation:
    """The final features as they are, as the tutorials' heads see them."""
    final = taps[-1]
    width = final.stop - final.start
    block = Block("final", final.start, final.stop, False)
    return Representation(("final",), (block,), np.zeros(width), np.ones(width))
