"""The settings of a training with everything chosen that was left open, by what data these are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from regraft.features.engine import EngineInfo
from regraft.images.facts_table import FactsTable
from regraft.listener import Doing
from regraft.probe.choice import Candidate
from regraft.probe.classifier import Classifier
from regraft.probe.source_classifier import FINAL, SOURCE
from regraft.training import defaults
from regraft.training.look import Look, fitted_probe
from regraft.training.rows import Rows, held_out
from regraft.training.settings import TrainingSettings
from regraft.training.task import Task

if TYPE_CHECKING:
    from regraft.backbones.network import LoadedNetwork

# Of the images, these are mirrored and turned; fewer would have no power.
SHARE_TO_TEST, FEWEST_TO_TEST = 0.34, 30


@dataclass(frozen=True, eq=False)
class Chosen:
    """The settings with everything chosen that was left open, and by what."""

    settings: TrainingSettings
    situation: defaults.Situation


def chosen(task: Task, rows: Rows, look: Look, loaded: LoadedNetwork) -> Chosen:
    """What "chosen for these data" means here."""
    from regraft.backbones.split_points import split_points

    names: list[str] = []
    if task.method.splits:
        names = [point.name for point in split_points(loaded.network)]
    situation = _situation(task, rows, look, loaded)
    settings = defaults.resolved(task.settings, task.method, situation, names)
    if settings.augment == "auto":
        settings = replace(settings, augment=_augmentation(task, rows, look, settings))
    return Chosen(settings, situation)


def _situation(task: Task, rows: Rows, look: Look, loaded: LoadedNetwork) -> defaults.Situation:
    from regraft.backbones import network

    return situation_of(
        look.probe, task.built.info, look.facts, rows.n_learn,
        takes_any_size=network.takes_any_size(loaded),
    )  # fmt: skip


def situation_of(
    probe: Classifier, info: EngineInfo, facts: FactsTable, n_learn: int, *,
    takes_any_size: bool = True,
) -> defaults.Situation:  # fmt: skip
    """What the rules of `defaults` look at, by a probe whose taps were measured."""
    return defaults.Situation(
        n_images=n_learn,
        n_classes=len(probe.classes),
        median_side_px=facts.median_side_px,
        native_px=min(info.preprocess.input_px),
        takes_any_size=takes_any_size,
        gain_of_stages=_gain_of_stages(probe),
        stages=tuple(name for name, _ in info.widths[:-1]),
        probe_error=_error(probe),
    )


def _augmentation(task: Task, rows: Rows, look: Look, settings: TrainingSettings) -> str:
    """What 'auto' stands for, by a test on held-out images."""
    from regraft.training.views import measured_augmentation

    if not task.method.moves_network and settings.views == 1:
        return "none"
    part = held_out(rows.y, rows.units, SHARE_TO_TEST, task.seed)
    if part.sum() < FEWEST_TO_TEST:
        return "light"
    task.environment.listener.say(Doing("testing whether these pictures may be mirrored or turned"))
    taps = look.probe.representation.taps
    without = fitted_probe(task, rows, look.X, task.built, taps, np.flatnonzero(~part))
    tested = np.flatnonzero(part)
    return measured_augmentation(
        look.table.select(tested), rows.y[tested], look.X[tested], task.built, without,
        rows.units[tested],
    )  # fmt: skip


def _gain_of_stages(probe: Classifier) -> float:
    """Left-out accuracy of the best taps less that of the final features; 0 if taps were given."""
    own = [found for found in _compared(probe) if SOURCE not in found.taps]
    final = [found for found in own if found.taps == (FINAL,)]
    if not final:
        return 0.0
    return _best(own).accuracy - _best(final).accuracy


def _error(probe: Classifier) -> float:
    """Left-out share of wrong answers of the best candidate; 0 if nothing was compared."""
    found = _compared(probe)
    return 1 - _best(found).accuracy if found else 0.0


def _compared(probe: Classifier) -> list[Candidate]:
    """The candidates that all sets of taps were compared by: of those on as many images."""
    assert probe.learnt is not None
    found: list[Candidate] = probe.learnt.candidates
    return [candidate for candidate in found if candidate.n_images == found[0].n_images]


def _best(found: list[Candidate]) -> Candidate:
    return min(found, key=lambda candidate: candidate.loss)
