"""What a classifier needs to know what it does not know, from images that did not teach it.

A probe has it from images that were left out of its fit. Where `val` stands beside `test` it is
taken from there, with the plain guarantee; of a network that learnt on, from the images that were
held out, since the distances of those that taught it are too small.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import model
from regraft.data.cells import name_of
from regraft.data.known_classes import check_known_classes
from regraft.data.sources import read_table
from regraft.data.table import ImageTable, no_labels_error
from regraft.errors import ArtefactError, DataError, UsageError
from regraft.evaluation import blocks
from regraft.features import extract
from regraft.features.rows import rows_of
from regraft.listener import SILENT, Listener
from regraft.machine import blas
from regraft.model import config_file
from regraft.model.loading import opened
from regraft.model.place import model_in
from regraft.model.predicting import features_of, unpacked_into
from regraft.model.scoring import is_learnt_from
from regraft.model.tested_promises import KEY, OLDER
from regraft.probe.classifier import Classifier
from regraft.probe.unknown import LEFT_OUT_TRAIN, NONE, SPLIT, Unknown, of_held_out
from regraft.training.task import Task
from regraft.wording import count
from regraft.workflows.lesson import Lesson
from regraft.workflows.preparation import Prepared, compared_of
from regraft.workflows.units import units_of

# Of its own kind, a split must have so many images (copies counted once) to take the place of
# those that were left out; fewer could not tell a share as small as 1 %.
FEWEST_OF_SPLIT = 100
# Fewer images than this calibrate nothing: not even that one of five may be turned away.
FEWEST = 8
# What a training calibrates its own model on; `calibrate` names the user's images.
VAL, HELD_OUT = "val", "held-out images, which chose when to stop"
BY_TRAINING = (LEFT_OUT_TRAIN, VAL, HELD_OUT)


def on_val(classifier: Classifier, prepared: Prepared, lesson: Lesson) -> Classifier:
    """A probe calibrated on `val`, where that stands beside `test` and had no part in anything."""
    unknown, rows = classifier.unknown, lesson.roles.chooses
    if unknown is None or rows is None:
        return classifier
    unit = prepared.copies.unit
    rows = rows & ~np.isin(unit, unit[lesson.roles.train])  # a copy of what taught is no new image
    units = units_of(unit, prepared.table.groups, rows)
    if len(np.unique(units)) < FEWEST_OF_SPLIT:
        return classifier
    X, y = rows_of(prepared.X, rows), lesson.y[rows]
    odd = np.concatenate([unknown.oddness(Z, scores) for _, Z, scores in classifier.scored(X)])
    found = unknown.calibrated_on(odd, classifier.proba_of(X), y, units, which=VAL, guarantee=SPLIT)
    return replace(classifier, unknown=found)


def on_held_out(classifier: Classifier, task: Task) -> Classifier:
    """A network that learnt on, calibrated on the images that were held out meanwhile.

    What was said of them then counts: the head that came of it is based on the probe of all of
    train, and knows them. Without any, or where it learnt from them in the end, it knows nothing:
    no image is left that it has not seen.
    """
    learnt = classifier.learnt
    assert learnt is not None
    if learnt.training is None or learnt.training.get("probe_kept"):
        return classifier
    rows = learnt.oof_rows
    if len(rows) < FEWEST or task.settings.refit or learnt.probe_rows is None:
        return replace(classifier, unknown=None)
    assert learnt.oof_scores is not None
    taught = np.setdiff1d(learnt.probe_rows, rows)
    units = _units(task)[rows]
    found = of_held_out(
        classifier.representation,
        learnt.oof_scores,
        _features(classifier, task, taught),
        _features(classifier, task, rows),
        task.y[rows],
        units,
        temperature=None,
        which=HELD_OUT,
        guarantee=NONE,
        seed=task.seed,
    )
    return replace(classifier, unknown=found)


def _units(task: Task) -> NDArray[np.intp]:
    """Of all rows of the extraction: copies, and groups where the task knows them."""
    units = np.array(compared_of(task.extraction.facts).copies().unit, np.intp)
    if task.units is not None:
        units[task.learn] = units.max(initial=0) + 1 + np.asarray(task.units)
    return units


def _features(classifier: Classifier, task: Task, rows: NDArray[np.intp]) -> Any:
    """Of these images, by the network as it is now."""
    built = classifier.built()
    if built is task.built:
        return rows_of(task.extraction.X, rows)
    table = task.extraction.table.select(rows)
    return extract.through_store(table, built, listener=task.environment.listener).X


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What `regraft calibrate` did.

    Attributes
    ----------
    classifier : Classifier
    folder : Path
        Of the model, which was written anew.
    n, n_units : int
        Images that calibrate; copies and groups counted as one.
    n_learnt_from : int
        Images of the data that the model has learnt from; they calibrate nothing.
    """

    classifier: Classifier
    folder: Path
    n: int
    n_units: int
    n_learnt_from: int

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        unknown = self.classifier.unknown
        assert unknown is not None
        return {
            "schema": 1,
            "model": str(self.folder),
            "calibrated_on": {"images": self.n, "units": self.n_units, "which": unknown.which},
            "guarantee": unknown.guarantee,
            "learnt_from": self.n_learnt_from,
        }


@blas.one_thread
def calibrate(
    path: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    split: str | None = None,
    columns: Mapping[str, Any] | None = None,
    uses_store: bool = True,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Calibrated:
    """Give a saved model what it needs for sets and "none of these": what `regraft calibrate` does.

    Only images that the model has not learnt from calibrate it; those that it has (told by their
    content) are where its distance is measured from, if they are among the data. Images that it is
    calibrated on should not be those that later test its promises.

    Parameters
    ----------
    path : path
        The model's folder, or its run's. It is written anew; its answers stay as they are.
    data : path
        Labelled images of the kind that the model will be asked about.
    split : {'train', 'val', 'test'}, optional
        Which of them; all by default.
    columns : mapping, optional
        Of a manifest.
    uses_store, offline, listener
        As in `evaluate_model`.

    Raises
    ------
    TableError
        A class that the model does not know, or nothing labelled.
    DataError
        Too few images that it has not learnt from.

    Examples
    --------
    >>> try:
    ...     calibrate("model", "photos", split="test")
    ... except DataError as error:
    ...     print(error.rule.partition(",")[0])
    6 images of 'photos' did not teach this model
    """
    classifier = opened(path)
    with unpacked_into(uses_store) as archives:
        table = read_table(os.fsdecode(data), archive_folder=archives, **(columns or {}))
        table.tell(listener.say)
        wanted = _labelled(table)
        extraction = features_of(
            classifier, wanted, uses_store=uses_store, offline=offline, listener=listener
        )
    is_known = is_learnt_from(classifier, extraction)
    table = extraction.table
    check_known_classes([str(label) for label in table.labels], classifier.classes, table.source)
    unit = compared_of(extraction.facts).copies().unit
    held = ~is_known & ~np.isin(unit, unit[is_known])
    if split is not None:
        held &= _of_split(table, split)
    units = units_of(unit, table.groups, held)
    if len(np.unique(units)) < FEWEST:
        raise DataError(
            f"{count(len(np.unique(units)), 'image')} of {table.source!r} did not teach this "
            f"model, at least {FEWEST} are needed to calibrate it (for --reject 2% 49, for "
            f"--coverage 95% 19)",
            cure="label more images that it has not seen, and give the folder of all",
        )
    code = {name_of(label): place for place, label in enumerate(classifier.classes)}
    found = of_held_out(
        classifier.representation,
        _scores(classifier, rows_of(extraction.X, held)),
        extraction.X[is_known] if is_known.any() else None,
        extraction.X[held],
        np.array([code[label] for label in table.labels[held]], np.intp),
        units,
        temperature=classifier.temperature,
        which=f"{split or 'images'} of {table.source}",
        guarantee=SPLIT,
    )
    before = classifier.unknown
    card = {name: kept for name, kept in classifier.card.items() if name not in (KEY, OLDER)}
    classifier = replace(classifier, unknown=found, card=card)  # these are other promises
    folder = model.save(classifier, classifier.folder)
    if before is not None:
        listener.say(_replaced(before, len(np.unique(units))))
    return Calibrated(
        classifier, folder, int(held.sum()), len(np.unique(units)), int(is_known.sum())
    )


def _scores(classifier: Classifier, X: Any) -> Any:
    """``(n, K)`` of the head."""
    found = blocks.matrix((len(X), len(classifier.classes)), np.float32)
    for rows, _, scores in classifier.scored(X):
        found[rows] = scores
    return found


def _replaced(before: Unknown, n_now: int) -> str:
    """That an earlier calibration is gone, what it was, and what no longer speaks of the model."""
    n_before = len(before.calibrating)
    fewer = f", more than the {n_now:,} now" if n_before > n_now else ""
    return (
        f"the calibration that was there is replaced: {before.which} "
        f"({count(n_before, 'image')}{fewer}); the run's report still tells of that one, and "
        "training again brings it back"
    )


def lost_with(folder: Path, classifier: Classifier) -> str:
    """What the user calibrated the model of a run on, where the one in its place is calibrated
    otherwise; nothing where a training did it."""
    try:
        before = config_file.read(model_in(folder)).unknown
    except (ArtefactError, OSError):
        return ""
    now = None if classifier.unknown is None else classifier.unknown.which
    was = None if before is None else before["calibrated_on"]
    return "" if was in (None, now, *BY_TRAINING) else str(was)


def _labelled(table: ImageTable) -> ImageTable:
    is_labelled = np.array([label is not None for label in table.labels], bool)
    if not is_labelled.any():
        raise no_labels_error(table)
    return table.select(is_labelled)


def _of_split(table: ImageTable, split: str) -> NDArray[np.bool_]:
    found = np.asarray(table.splits == split, np.bool_)
    if not found.any():
        present = [name for name in ("train", "val", "test") if (table.splits == name).any()]
        raise UsageError(
            f"{table.source!r} has no {split!r} split",
            cure=f"--split {' or '.join(present)}" if present else "leave --split out",
        )
    return found
