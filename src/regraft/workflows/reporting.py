"""The report of a run, from the run just finished or from its folder: what a page needs, gathered.

The rooms compute, ``regraft.report`` draws; this file brings a run's parts to both.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.data.sources import may_be_there
from regraft.errors import DecodeError, RegraftError, TableError, UsageError
from regraft.explain.base import rows_of, stacked
from regraft.explain.drawing import overlay
from regraft.explain.explainer import explainer_for
from regraft.features import extract
from regraft.images import pictures
from regraft.listener import SILENT, Listener
from regraft.machine import blas, deadline
from regraft.machine.deadline import OutOfTimeError
from regraft.model import load
from regraft.model.place import run_of
from regraft.probe.classifier import Classifier
from regraft.record.configuration import RunConfig
from regraft.record.identity import MadeFrom, made_from_in
from regraft.record.run_folder import RUN_FILE
from regraft.report import comparison, evidence, page
from regraft.report.comparison import Comparison
from regraft.report.finished_run import require_finished
from regraft.report.said import classes_with_curves
from regraft.workflows import fitting
from regraft.workflows.experiment import Result
from regraft.workflows.lesson import Lesson, lesson_of
from regraft.workflows.preparation import Prepared, prepare

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


@blas.one_thread
def report_on(result: Result, *, listener: Listener = SILENT, until: float = math.inf) -> Path:
    """Gather what the page of a run just finished needs, and draw it into the run's folder.

    `until` is a moment of `time.monotonic`: what takes long (heat maps) is left out if it would be
    later.

    Examples
    --------
    ::

        result = experiment.run(RunConfig("photos"))
        report_on(result)  # runs/photos-probe-1a2b3c4d/report.html
    """
    classifier, learnt = result.classifier, result.classifier.learnt
    assert learnt is not None
    probe = learnt.probe or classifier
    taught = result.lesson.learn if learnt.probe_rows is None else learnt.probe_rows
    sources = _sources(
        result.prepared, result.lesson, probe, taught, result.proba, classifier, result.metrics,
        listener, until,
    )  # fmt: skip
    with ThreadPoolExecutor(1) as aside:
        aside.submit(page.prepare)
        evidence.gather(sources).save(result.folder)
    return page.write(result.folder)


@blas.one_thread
def report_again(
    folder: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    offline: bool = False,
    listener: Listener = SILENT,
) -> Path:
    """Draw the report of a finished run anew, from its folder (or its model's) alone; a run that
    was made without a report is looked at once more, through the store.

    Raises
    ------
    UsageError
        The folder holds no finished run.
    DataError
        Evidence has to be gathered, and the data are gone.
    """
    run = run_of(Path(folder))
    _require_evidence(run, offline, listener)
    return page.write(run, out)


@blas.one_thread
def compare(
    folders: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str],
    offline: bool = False,
    listener: Listener = SILENT,
) -> tuple[Comparison, Path]:
    """Two or more finished runs, held against each other on the images that all have scored.

    Raises
    ------
    UsageError
        A folder holds no finished run, or the runs share no images or no classes.
    """
    places = [os.path.realpath(run_of(Path(folder))) for folder in folders]
    twice = next((folder for folder, place in zip(folders, places, strict=True)
                  if places.count(place) > 1), None)  # fmt: skip
    if twice is not None:
        raise UsageError(f"{os.fspath(twice)!r} is given twice", cure="name each run once")
    runs = [run_of(Path(folder)) for folder in folders]
    for run in runs:
        _require_evidence(run, offline, listener)
    compared = Comparison(runs)
    return compared, comparison.write(compared, Path(out))


def _require_evidence(folder: Path, offline: bool, listener: Listener) -> None:
    require_finished(folder)
    if evidence.Evidence.load(folder) is None:
        _gather_again(folder, offline, listener)


def _gather_again(folder: Path, offline: bool, listener: Listener) -> None:
    config = RunConfig.from_file(folder / RUN_FILE)
    if not may_be_there(config.data):
        raise TableError(
            f"run {folder.name!r} kept nothing to draw from (--no-report), and its images are no "
            f"longer at {config.data!r}",
            place=str(folder),
            cure=f"put them back there (paths begin at {os.getcwd()!r}), or train again",
        )
    prepared = prepare(config, offline=offline, listener=listener)
    earlier = made_from_in(folder)
    if earlier is not None and (change := MadeFrom.of(prepared).unlike(earlier)):
        raise UsageError(
            f"run {folder.name!r} kept nothing to draw from (--no-report), and {change}",
            place=str(folder),
            cure=f"put the data back as they were, or train again: "
            f"regraft train --config {shlex.quote(str(folder / RUN_FILE))}",
        )
    lesson = lesson_of(prepared)
    classifier = load(folder / "model")
    built = classifier.built(offline=offline, say=listener.say)
    reported = extract.through_store(prepared.table.select(lesson.roles.reports), built)
    probe = fitting.task_of(config, prepared, lesson).fit_probe()
    proba = classifier.proba_of(reported.X)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    sources = _sources(prepared, lesson, probe, lesson.learn, proba, classifier, metrics, listener)
    evidence.gather(sources).save(folder)


def _sources(
    prepared: Prepared,
    lesson: Lesson,
    probe: Classifier,
    taught: NDArray[np.intp],
    proba: NDArray[Any],
    classifier: Classifier,
    metrics: Mapping[str, Any],
    listener: Listener,
    until: float = math.inf,
) -> evidence.Sources:
    learnt = probe.learnt
    assert learnt is not None

    def features(rows: NDArray[np.intp]) -> NDArray[Any]:
        return probe.representation(prepared.X[rows])

    def heat(paths: Sequence[str], codes: NDArray[np.intp]) -> list[Pair | None]:
        return _heat(classifier, paths, codes, listener, until)

    return evidence.Sources(
        table=prepared.table,
        facts=prepared.extraction.facts,
        duplicates=prepared.duplicates,
        findings=prepared.findings,
        features=features,
        roles=lesson.roles,
        y=lesson.y,
        classes=lesson.classes,
        proba=proba,
        temperature=float(metrics["chosen"]["temperature"]),
        curves=classes_with_curves(metrics["evaluation"]),
        oof_rows=taught[learnt.oof_rows],
        oof_proba=learnt.oof_proba,
        heat=heat,
        white=prepared.built.info.preprocess.white,
    )


def _heat(
    classifier: Classifier, paths: Sequence[str], codes: NDArray[np.intp], listener: Listener,
    until: float,
) -> list[Pair | None]:  # fmt: skip
    """The pictures as the network sees them, and with what it looked at laid over them; without
    where a few points decide, which shows nothing of what was looked at."""
    wanted = [one.preprocess for one in classifier.built().info.networks]
    pixels: dict[int, list[NDArray[np.uint8]]] = {}
    for place, path in enumerate(paths):
        with contextlib.suppress(DecodeError):
            pixels[place] = pictures.plain_for_each(path, wanted)
    if not pixels:
        return [None] * len(paths)
    shown = stacked(list(pixels.values()))
    try:
        deadline.check(until)
        explainer = explainer_for(classifier, example=rows_of(shown, slice(4)), say=listener.say)
        deadline.check(until)
        heat = explainer.explain(shown, codes[list(pixels)])
    except OutOfTimeError:
        listener.say("the report has no heat maps: the budget has no time for them")
        return [None] * len(paths)
    except (RegraftError, ImportError) as error:  # PyTorch may be missing once engines are built
        listener.say(f"the report has no heat maps: {error}")
        return [None] * len(paths)
    drawn = {
        place: (picture, None if says_little else overlay(picture, one))
        for place, picture, one, says_little in zip(
            pixels, shown[0], heat.maps, heat.says_little, strict=True
        )
    }
    return [drawn.get(place) for place in range(len(paths))]
