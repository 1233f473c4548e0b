"""What is found out without leaving a model: `check`, `layers`, `lr-find`."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.checks.finding import Finding, in_order
from regraft.checks.findings import find_problems_by_name
from regraft.choosing import layer_curve as layer_curve_reading
from regraft.data.table import ImageTable
from regraft.errors import ConfigError, DataError
from regraft.features.elsewhere import HERE, Elsewhere
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.record import results
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS, TRAINED
from regraft.training.task import Environment
from regraft.workflows import fitting
from regraft.workflows.learnable import labelled_roles
from regraft.workflows.lesson import lesson_of
from regraft.workflows.preparation import prepare, read

if TYPE_CHECKING:
    from regraft.training.lr_find import RangeTest


@dataclass(frozen=True, eq=False)
class Checked:
    """What `check` found.

    Attributes
    ----------
    table : ImageTable
        The images with their labels and splits; ``table.rejected`` are those that cannot be read.
    findings : list of Finding
        Each with ``severity``, ``message``, ``why`` and ``mend``; the gravest first.
    """

    table: ImageTable
    findings: list[Finding]

    @property
    def has_errors(self) -> bool:
        """Whether something would make a result wrong."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For ``check --json``."""
        counts = {str(split or "all"): n for split, n in self.table.counts().items()}
        return {
            "schema": 1,
            "source": self.table.source,
            "images": len(self.table),
            "classes": self.table.classes,
            "counts": counts,
            "readings": [r._asdict() for r in self.table.readings],
            "rejected": [r._asdict() for r in self.table.as_shown(self.table.rejected)],
            "skipped": [s._asdict() for s in self.table.as_shown(self.table.skipped)],
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check(
    config: RunConfig | str | os.PathLike[str],
    *,
    quick: bool = False,
    offline: bool = False,
    listener: Listener = SILENT,
    elsewhere: Elsewhere = HERE,
) -> Checked:
    """What is in the data and what is wrong with it: what `regraft check` does.

    Parameters
    ----------
    config : RunConfig or path
        Of a path alone, the defaults.
    quick : bool
        Only look at names, labels and splits; read no pixels.
    offline : bool
        Do not access the internet, even if the backbone is not on this disk.
    listener : Listener
        Told what is done; says nothing by default.
    elsewhere : Elsewhere
        Who else does the pass over the images.

    Raises
    ------
    DataError
        There is nothing that could be checked: no images, a table that cannot be read.

    Examples
    --------
    >>> found = check("photos")
    >>> len(found.table), found.table.classes, found.has_errors
    (18, ['discs', 'stripes'], False)
    >>> [finding.kind for finding in found.findings if finding.severity == "error"]
    []
    """
    config = RunConfig.of(config)
    if quick:
        table = read(config)
        found = find_problems_by_name(table)
    else:
        prepared = prepare(
            config, offline=offline, listener=listener, needs_splits=False, elsewhere=elsewhere
        )
        table, found = prepared.table, prepared.findings
    return Checked(table, in_order([*found, *_refusals(table, found)]))


def _refusals(table: ImageTable, found: list[Finding]) -> list[Finding]:
    """What `train` would refuse about the whole of the data, as findings."""
    if any(finding.severity == "error" for finding in found):
        return []
    try:
        n_classes = len(set(table.labels[_may_teach(table)]) - {None})
    except DataError as error:
        return [Finding("cannot-train", "error", error.rule, "train refuses it", error.cure)]
    if n_classes > 1:
        return []
    return [
        Finding(
            "one-class",
            "error",
            f"there {'is only one class' if n_classes else 'is no class'} to learn from",
            "a classifier needs something to tell apart",
            "give the folder above, which has one folder per class",
        )
    ]


def _may_teach(table: ImageTable) -> NDArray[np.bool_]:
    """Which rows teach; of a table without splits any may, and Regraft divides it."""
    if table.has_splits or table.n_unlabelled == len(table):
        return labelled_roles(table).train
    return np.ones(len(table), np.bool_)


@dataclass(frozen=True, eq=False)
class LayerCurve:
    """Left-out accuracy of each stage alone, on train."""

    points: list[dict[str, Any]]
    n_images: int

    def to_dict(self) -> dict[str, Any]:
        """For ``layers --json``."""
        reading = layer_curve_reading.read(self.points, self.n_images)
        return {
            "schema": 1,
            "n": self.n_images,
            "layers": self.points,
            "peak": reading.peak,
            "peaks_before_end": reading.is_before_end,
            "reading": reading.words,
        }


@blas.one_thread
def layers(config: RunConfig, *, offline: bool = False, listener: Listener = SILENT) -> LayerCurve:
    """The layer curve of the data, measured inside train."""
    prepared = prepare(config, offline=offline, listener=listener)
    lesson = lesson_of(prepared)
    probe = fitting.task_of(config, prepared, lesson).fit_probe()
    assert probe.learnt is not None
    if not probe.learnt.candidates and probe.learnt.judged is not None:
        raise DataError(
            probe.learnt.judged.in_words(lesson.classes).partition(";")[0],
            place=config.data,
            cure="more pictures of each class, that are not copies or of one group",
        )
    return LayerCurve(results.layer_curve(probe.learnt), probe.learnt.candidates[0].n_images)


@blas.one_thread
def try_rates(
    config: RunConfig, *, offline: bool = False, listener: Listener = SILENT
) -> RangeTest:
    """How the loss of a method that trains answers to a rising rate; saves no model.

    Raises
    ------
    ConfigError
        The method is the probe, which has no rate.
    """
    if not METHODS[config.method].trains:
        raise ConfigError(
            f"the {config.method} is solved in closed form and has no learning rate",
            cure=f"--method {', '.join(TRAINED[:-1])} or {TRAINED[-1]}",
        )
    fitting.require_packages(config)
    fitting.require_split_point(config, offline=offline)
    before = functools.partial(fitting.require_taps, config)
    prepared = prepare(config, offline=offline, listener=listener, before_pass=before)
    environment = Environment(listener=listener, offline=offline)
    task = fitting.task_of(config, prepared, lesson_of(prepared), environment)
    from regraft.training import fine_tuning

    return fine_tuning.try_rates(task)
