"""What a training starts from: the probe's head, or a random one, and what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regraft.errors import ConfigError
from regraft.features.engine import Tap
from regraft.probe.classifier import Classifier
from regraft.probe.representation import Block, Representation
from regraft.probe.source_classifier import FINAL, SOURCE, source_classifier
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
    given, taps = task.probe.taps, seen.built.info.taps
    is_random = task.method.starts_anew or settings.init_head == "random"
    if is_random:
        return Start(look.probe, None, _plain_final(taps))
    if settings.hidden_widths:
        heard = _heard(given or look.probe.representation.taps, task, settings, taps)
        source = source_classifier(task.built)
        return Start(look.probe, None, Representation.fit(seen.X, heard, taps, source=source))
    probe = look.probe
    if given or not seen.is_native:
        probe = fitted_probe(task, rows, seen.X, seen.built, given, rows.all)
    heard = _heard(probe.representation.taps, task, settings, taps)
    if heard != probe.representation.taps:
        probe = fitted_probe(task, rows, seen.X, seen.built, heard, rows.all)
    head = probe
    if rows.n_choose:
        # On the taps that all rows chose, which no held-out label could betray.
        head = fitted_probe(task, rows, seen.X, seen.built, heard, rows.learn)
    return Start(probe, head, probe.representation.with_blocks_of(head.representation))


def _heard(
    seen: tuple[str, ...], task: Task, settings: TrainingSettings, taps: tuple[Tap, ...]
) -> tuple[str, ...]:
    """What the head sees: these taps, and the final features too where they were measured without
    these and the network is to learn. No error reaches a layer behind all that the head hears."""
    if task.probe.taps and is_deaf(seen, settings.split_point, taps):
        raise ConfigError(
            f"nothing would learn: the head sees {', '.join(seen)} alone, and the layers from "
            f"{settings.split_point} on come after it",
            cure="--taps with a later stage or final, an earlier --split-point, or --method head",
        )
    hears_all = bool({FINAL, SOURCE} & set(seen))
    if task.probe.taps or hears_all or not task.method.moves_network:
        return seen
    return (*seen, FINAL)


def is_deaf(seen: Sequence[str], split_point: str | None, taps: Sequence[Tap]) -> bool:
    """Whether a head sees only what lies before a split point, so that no error of it reaches the
    layers that are to learn.

    Examples
    --------
    >>> taps = [Tap(name, 0, 1) for name in ("blocks.3", "blocks.4", "blocks.5", "final")]
    >>> is_deaf(["blocks.3"], "blocks.5", taps), is_deaf(["blocks.4"], "blocks.4.1", taps)
    (True, False)
    >>> is_deaf(["blocks.3", "final"], "blocks.5", taps), is_deaf(["blocks.3"], None, taps)
    (False, False)
    """
    if split_point is None:
        return False
    names = [tap.name for tap in taps]
    before = [name for name in names if f"{split_point}.".startswith(f"{name}.")]
    cut = names.index(max(before, key=len)) if before else 0
    return set(seen) <= set(names[:cut])


def _plain_final(taps: tuple[Tap, ...]) -> Representation:
    """The final features as they are, as the tutorials' heads see them."""
    final = taps[-1]
    width = final.stop - final.start
    block = Block("final", final.start, final.stop, False)
    return Representation(("final",), (block,), np.zeros(width), np.ones(width))
