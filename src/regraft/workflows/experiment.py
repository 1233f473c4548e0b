"""The story of a run, told once: data, method, evaluation, model, what is written down."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import model
from regraft.choosing import promised
from regraft.choosing.bill import Bill
from regraft.errors import ConfigError
from regraft.evaluation import Evaluation, blocks
from regraft.features import extract
from regraft.features.elsewhere import HERE, Elsewhere
from regraft.features.rows import rows_of
from regraft.listener import SILENT, Listener
from regraft.machine import blas, processes
from regraft.machine.contention import NO_TURNS, Turns
from regraft.machine.devices import choose_device
from regraft.model import learnt_from, promises
from regraft.probe.classifier import Classifier
from regraft.record import results, run_folder
from regraft.record.configuration import RunConfig
from regraft.record.identity import MadeFrom, Place, place_for
from regraft.training.methods import METHODS
from regraft.training.task import Environment
from regraft.training.trackers import require_tracker
from regraft.workflows import billing, calibrating, fitting, testing
from regraft.workflows.billing import Charge
from regraft.workflows.lesson import Lesson, lesson_of
from regraft.workflows.preparation import Clock, Prepared, prepare


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run.

    Attributes
    ----------
    folder : Path
        The run's directory; ``folder / "model"`` is the model.
    metrics : dict
        As in metrics.json and ``--json``.
    evaluation : Evaluation
    prepared : Prepared
    classifier : Classifier
        What was learnt, on the network as it is now.
    lesson : Lesson
    proba : (R, K)
        Of the images of the reported split.
    """

    folder: Path
    metrics: dict[str, Any]
    evaluation: Evaluation
    prepared: Prepared
    classifier: Classifier
    lesson: Lesson
    proba: NDArray[Any]

    def __repr__(self) -> str:
        right = self.evaluation.accuracy
        return (
            f"<Result in {str(self.folder)!r}: accuracy {right.value:.3f} ({right.low:.3f} to "
            f"{right.high:.3f}) on {self.evaluation.n} {self.evaluation.split} images>"
        )

    def _repr_html_(self) -> str:
        from regraft.report import notebook

        return notebook.of_run(self.metrics, self.folder)


@dataclass(frozen=True, eq=False)
class Begun:
    """A run whose data were looked at, and whose folder is known; nothing is learnt yet.

    Attributes
    ----------
    config : RunConfig
    place : Place
        Where it goes; nothing of an earlier run of other data is lost.
    prepared : Prepared
    made_from : MadeFrom
    started : float
        `time.perf_counter` then.
    told : Bill or None
        What the run was said to take, where the look at the pictures took long.
    turns : Turns
        How long the process had run, and waited for others, when the run began.
    """

    config: RunConfig
    place: Place
    prepared: Prepared
    made_from: MadeFrom
    started: float
    told: Bill | None = None
    turns: Turns = NO_TURNS

    @property
    def finished(self) -> run_folder.Finished | None:
        """This very run, where it was finished earlier."""
        return run_folder.finished(self.place.folder, self.config)


@blas.one_thread
def run(
    config: RunConfig | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] = "runs",
    name: str | None = None,
    offline: bool = False,
    resume: bool = False,
    listener: Listener = SILENT,
    elsewhere: Elsewhere = HERE,
) -> Result:
    """From a folder of photographs to a tested classifier on disk: what `regraft train` does.

    Where `torchrun` started several processes, a method that trains does it over all of them; each
    gets the result, the first one writes it.

    Parameters
    ----------
    config : RunConfig or path
        Everything that decides what the run does; of a path alone, the defaults.
    out : path
        The folder of the runs.
    name : str, optional
        Of this run's folder in it; else made from data, method and settings.
    offline : bool
        Do not access the internet, even if the backbone is not on this disk.
    resume : bool
        Go on with a training of this name that was interrupted.
    listener : Listener
        Told what is done; says nothing by default.
    elsewhere : Elsewhere
        Who else does the pass over the images, or did; it changes no number.

    Raises
    ------
    RegraftError
        `UsageError`, `DataError`, `TrainingError` and their kinds: see docs/errors.md.

    Examples
    --------
    >>> result = run("photos")
    >>> result.folder.name[:13], result.evaluation.split, result.evaluation.n
    ('photos-probe-', 'test', 6)
    >>> repr(result).startswith("<Result in 'runs/photos-probe-")
    True
    >>> accuracy = result.evaluation.accuracy
    >>> 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1
    True
    >>> result.classifier.predict("photos/test/discs/discs_test_000.jpg").shape
    (1,)
    """
    begun = begin(
        RunConfig.of(config), out=os.fsdecode(out), name=name, offline=offline, resume=resume,
        listener=listener, elsewhere=elsewhere,
    )  # fmt: skip
    return complete(begun, offline=offline, resume=resume, listener=listener)


@blas.one_thread
def resumed(
    config: RunConfig,
    *,
    out: str = "runs",
    name: str | None = None,
    offline: bool = False,
    listener: Listener = SILENT,
    elsewhere: Elsewhere = HERE,
) -> Result | run_folder.Finished:
    """As :func:`run` with `resume`; what is finished already is only shown, if it is of these
    data."""
    begun = begin(
        config, out=out, name=name, offline=offline, resume=True, listener=listener,
        elsewhere=elsewhere,
    )  # fmt: skip
    if (finished := begun.finished) is not None:
        return finished
    return complete(begun, offline=offline, resume=True, listener=listener)


@blas.one_thread
def begin(
    config: RunConfig,
    *,
    out: str = "runs",
    name: str | None = None,
    offline: bool = False,
    resume: bool = False,
    listener: Listener = SILENT,
    elsewhere: Elsewhere = HERE,
) -> Begun:
    """Look at the data of a run, and find its folder; see :func:`run`."""
    started, turns = time.perf_counter(), Turns.now()
    fitting.require_linear_head(config)
    fitting.require_packages(config)
    fitting.require_split_point(config, offline=offline)
    run_folder.folder_for(config, out=out, name=name, resume=resume)  # its refusals come first
    listener = _together(config, listener)
    look = billing.LongLook(config)
    with processes.main_first():
        prepared = prepare(
            config, offline=offline, listener=listener,
            before_pass=functools.partial(fitting.require_taps, config),
            tells=look, elsewhere=elsewhere,
        )  # fmt: skip
    made_from = MadeFrom.of(prepared)
    place = place_for(config, made_from, out=out, name=name, resume=resume)
    if place.note:
        listener.say(place.note)
    return Begun(config, place, prepared, made_from, started, look.told, turns)


@blas.one_thread
def complete(
    begun: Begun, *, offline: bool = False, resume: bool = False, listener: Listener = SILENT
) -> Result:
    """Learn, test and write down what was begun; with `resume` an earlier result is replaced."""
    config, folder, prepared = begun.config, begun.place.folder, begun.prepared
    if processes.is_main():
        begun.place.clear()
    else:
        listener = SILENT
    clock, lesson = Clock(), lesson_of(prepared)
    blocks.require_room(int(lesson.roles.reports.sum()), len(lesson.classes))
    charge = Charge(config, prepared, lesson, folder, listener, begun.told, begun.turns)
    environment = replace(_environment(begun, offline, listener), on_look=charge.told)
    try:
        classifier = fitting.fit(fitting.task_of(config, prepared, lesson, environment))
    except ConfigError:
        run_folder.forget(folder)
        raise
    if not METHODS[config.method].trains:
        classifier = calibrating.on_val(classifier, prepared, lesson)
    clock.lap("fit")
    return finished(begun, classifier, lesson, clock, charge=charge, resume=resume,
                    listener=listener)  # fmt: skip


def finished(
    begun: Begun,
    classifier: Classifier,
    lesson: Lesson,
    clock: Clock,
    *,
    charge: Charge | None = None,
    more: Callable[[], Mapping[str, Any]] = dict,
    resume: bool = False,
    listener: Listener = SILENT,
) -> Result:
    """Test what was learnt on the reported split, and write the run down.

    Parameters
    ----------
    charge : Charge, optional
        The run's bill, which is settled now.
    more : callable() -> mapping
        What else metrics.json is to say, asked when everything but this is done.
    """
    config, folder, prepared = begun.config, begun.place.folder, begun.prepared
    with processes.main_first():
        X = _reported_features(prepared, classifier, lesson, listener)
        answers = promises.answers(classifier, X)
    proba = answers[0]
    tested = testing.tested(prepared, lesson, classifier, answers, config.seed)
    clock.lap("evaluate")
    if processes.is_main():
        if lost := calibrating.lost_with(folder, classifier):
            listener.say(
                f"the model that was in this run had been calibrated on {lost}; this one is not: "
                f"regraft calibrate {folder} DATA"
            )
        with run_folder.writing(folder, replaces=resume, say=listener.say) as made:
            card = _card(config, prepared, lesson, classifier, tested)
            classifier = replace(classifier, card=card)  # what is in memory knows what is on disk
            model.save(classifier, made / "model")
            clock.lap("save")
            metrics = _metrics(begun, classifier, tested, lesson, clock.laps, more)
            if charge is not None:
                metrics["bill"] = charge.settled(metrics, classifier)
            results.write(made, config, begun.made_from, metrics, prepared, lesson, proba)
        _draw_training(metrics, folder, listener)
    else:
        metrics = _metrics(begun, classifier, tested, lesson, clock.laps, more)
    return Result(folder, metrics, tested.evaluation, prepared, classifier, lesson, proba)


def _metrics(
    begun: Begun,
    classifier: Classifier,
    tested: results.Tested,
    lesson: Lesson,
    laps: dict[str, float],
    more: Callable[[], Mapping[str, Any]] = dict,
) -> dict[str, Any]:
    """What was measured, with the verdict on it and the seconds up to now."""
    config, prepared = begun.config, begun.prepared
    spent = {**prepared.seconds, **laps, "total": time.perf_counter() - begun.started}
    folder = begun.place.folder
    found = results.metrics(config, folder, prepared, classifier, tested, lesson, spent)
    return testing.judged({**found, **more()}, prepared, config)


def _together(config: RunConfig, listener: Listener) -> Listener:
    """Meet the other processes, where there are some; only the first one speaks."""
    if not METHODS[config.method].trains:
        return listener
    require_tracker(config.settings.tracker)
    processes.meet(choose_device(config.device))
    return listener if processes.is_main() else SILENT


def _environment(begun: Begun, offline: bool, listener: Listener) -> Environment:
    """Where a method that trains keeps its checkpoints and its log."""
    config, folder = begun.config, begun.place.folder
    environment = Environment(listener=listener, offline=offline)
    if not METHODS[config.method].trains:
        return environment
    environment = replace(environment, folder=folder / run_folder.CHECKPOINTS)
    if not processes.is_main():
        return environment
    run_folder.begin(folder, config, begun.made_from.to_dict())
    return replace(environment, listener=_logging(folder, listener))


def _logging(folder: Path, listener: Listener) -> Listener:
    """The same listener, but each epoch goes into the run's log before it is shown."""

    def epoch(done: Any, n_epochs: int) -> None:
        run_folder.log_epoch(folder, done.to_dict())
        listener.epoch(done, n_epochs)

    return replace(listener, epoch=epoch)


def _reported_features(
    prepared: Prepared, classifier: Classifier, lesson: Lesson, listener: Listener
) -> Any:
    """Features of the images that are scored, by the engine of the network as it is now."""
    built, rows = classifier.built(), lesson.roles.reports
    if built is prepared.built:
        return rows_of(prepared.X, rows)
    table = prepared.extraction.table.select(rows)
    return extract.through_store(table, built, listener=listener).X


def _card(
    config: RunConfig,
    prepared: Prepared,
    lesson: Lesson,
    classifier: Classifier,
    tested: results.Tested,
) -> dict[str, Any]:
    """What is kept beside the model: its score, and what it has learnt or chosen from."""
    taught = lesson.roles.train
    if METHODS[config.method].trains and lesson.roles.chooses is not None:
        taught = taught | lesson.roles.chooses
    digests, left_out = prepared.extraction.digests, tested.left_out
    engine = classifier.built()
    return {
        "tested_with": {
            "runtime": engine.info.runtime,
            "precision": engine.info.precision,
            "device": engine.device,
        },
        "accuracy": tested.evaluation.accuracy.to_dict(),
        "n": tested.evaluation.n,
        "left_out": left_out
        and {name: left_out[name] for name in ("by", "accuracy")} | left_out["per_class"],
        "tested_promises": promised.judged_of_each(tested.promises),
        "source": config.data,
        "config": config.to_dict(),
        "learnt_from": learnt_from.to_text(digests.take(np.flatnonzero(taught))),
    }


def _draw_training(metrics: dict[str, Any], folder: Path, listener: Listener) -> None:
    """The picture of the training beside the model, which is there whatever becomes of this."""
    training = metrics.get("training")
    if training is None:
        return
    from regraft.report import figures

    try:
        figures.training_curves(
            training["epochs"],
            folder / figures.TRAINING,
            n_learnt_from=training["learnt_from"],
            n_held_out=training["held_out"],
        )
    except (OSError, RuntimeError, ValueError) as error:
        listener.say(f"{figures.TRAINING} could not be drawn: {error}")
