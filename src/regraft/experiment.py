"""The story of a run, told once: data, method, evaluation, artefact, what is written down."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import artefact, blas, record, runs
from regraft.checks import duplicates as find
from regraft.data import splits as divide
from regraft.errors import ConfigError
from regraft.evaluation import (
    Evaluation,
    evaluate,
    majority_baseline,
    nearest_neighbour_baseline,
)
from regraft.features import engines, extract
from regraft.features.store import Store
from regraft.images import DECODER_VERSION
from regraft.listener import SILENT, Listener
from regraft.methods import method, processes
from regraft.methods.fine_tuning import Environment, FineTuning
from regraft.methods.probe import Probe
from regraft.methods.representation import SourceClassifier
from regraft.methods.trackers import require_tracker
from regraft.preparation import Clock, Lesson, Prepared, copies_of, lesson_of, prepare, units_of
from regraft.runs import RunConfig

Learnt = Probe | FineTuning

# A source classifier of fewer classes says too little of a picture to be a tap.
MIN_SOURCE_CLASSES = 10
# Heads that are one matrix, from which training by gradients can go on.
LINEAR_HEADS = ("ridge", "logistic", "svm")


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run.

    Attributes
    ----------
    folder : Path
        The run's directory; ``folder / "model"`` is the artefact.
    metrics : dict
        As in metrics.json and ``--json``.
    evaluation : Evaluation
    prepared : Prepared
    probe : Probe or FineTuning
        The fitted method.
    lesson : Lesson
    built : BuiltEngine
        Of the network as it is now.
    proba : (R, K)
        Of the images of the reported split.
    """

    folder: Path
    metrics: dict[str, Any]
    evaluation: Evaluation
    prepared: Prepared
    probe: Learnt
    lesson: Lesson
    built: engines.BuiltEngine
    proba: NDArray[Any]

    def _repr_html_(self) -> str:
        from regraft.report import notebook

        return notebook.of_run(self.metrics, self.folder)


@blas.one_thread
def run(
    config: RunConfig,
    *,
    out: str = "runs",
    name: str | None = None,
    offline: bool = False,
    resume: bool = False,
    listener: Listener = SILENT,
) -> Result:
    """From a folder of photographs to a tested classifier on disk.

    Where `torchrun` started several processes, a method that trains does it over all of them; each
    gets the result, the first one writes it.

    Examples
    --------
    ::

        result = run(RunConfig("photos"))
        result.evaluation.accuracy.value, result.folder / "model"
    """
    started = time.perf_counter()
    _require_linear_head(config)
    folder = runs.folder_for(config, out=out, name=name, resume=resume)
    if config.method != "probe":
        require_tracker(config.settings.tracker)
        processes.meet(engines.choose_device(config.device))
        listener = listener if processes.is_main() else SILENT
    with processes.main_first():
        prepared = prepare(config, offline=offline, listener=listener)
    clock = Clock()
    lesson = lesson_of(prepared)
    environment = Environment(listener=listener, offline=offline)
    if config.method != "probe":
        environment = replace(environment, folder=folder / runs.CHECKPOINTS)
        if processes.is_main():
            runs.begin(folder, config)
            environment = replace(environment, listener=_logging(folder, listener))
    try:
        learnt = _fitted(
            config, prepared.extraction, prepared.built, lesson.y, environment, **lesson.rows
        )
    except ConfigError:
        runs.forget(folder)
        raise
    clock.lap("fit")
    built = learnt.built_ if isinstance(learnt, FineTuning) else prepared.built
    with processes.main_first():
        proba = learnt.predict_proba(_reported_features(prepared, built, lesson.roles, listener))
    tested = _evaluate(prepared, lesson, proba, config.seed)
    clock.lap("evaluate")
    if not processes.is_main():
        spent = {**prepared.seconds, **clock.laps}
        metrics = record.metrics(config, folder, prepared, learnt, tested, lesson, spent)
        return Result(folder, metrics, tested.evaluation, prepared, learnt, lesson, built, proba)

    with runs.writing(folder) as room:
        artefact.save(
            room / "model",
            classes=tuple(lesson.classes),
            representation=learnt.representation_,
            head=learnt.head_,
            temperature=learnt.temperature_,
            info=built.info,
            weights_path=built.weights_path,
            method=config.method,
            extra={
                "accuracy": tested.evaluation.accuracy.to_dict(),
                "n": tested.evaluation.n,
                "source": config.data,
                "learnt_from": record.digests_in_text(_taught(prepared, lesson.roles, config)),
            },
        )
        clock.lap("save")
        seconds = {**prepared.seconds, **clock.laps, "total": time.perf_counter() - started}
        metrics = record.metrics(config, folder, prepared, learnt, tested, lesson, seconds)
        record.write(room, config, metrics, prepared, lesson, proba)
    if isinstance(learnt, FineTuning):
        _draw(learnt.training_["epochs"], folder, metrics["training"], listener)
    return Result(folder, metrics, tested.evaluation, prepared, learnt, lesson, built, proba)


def _draw(
    epochs: list[dict[str, Any]], folder: Path, training: dict[str, Any], listener: Listener
) -> None:
    """The picture of the training beside the model, which is there whatever becomes of this."""
    from regraft.report import figures

    try:
        figures.training_curves(
            epochs,
            folder / figures.TRAINING,
            n_learnt_from=training["learnt_from"],
            n_held_out=training["held_out"],
        )
    except (OSError, RuntimeError, ValueError) as error:
        listener.say(f"{figures.TRAINING} could not be drawn: {error}")


def _logging(folder: Path, listener: Listener) -> Listener:
    """The same listener, but each epoch goes into the run's log before it is shown."""

    def epoch(done: Any, n_epochs: int) -> None:
        runs.log_epoch(folder, done.to_dict())
        listener.epoch(done, n_epochs)

    return replace(listener, epoch=epoch)


def _taught(prepared: Prepared, roles: divide.Roles, config: RunConfig) -> list[bytes]:
    """Content digests of what the model has learnt or chosen from."""
    rows = roles.train
    if config.method != "probe" and roles.chooses is not None:
        rows = rows | roles.chooses
    return [d for d, is_in in zip(prepared.extraction.digests, rows, strict=True) if is_in]


def _reported_features(
    prepared: Prepared, built: engines.BuiltEngine, roles: divide.Roles, listener: Listener
) -> NDArray[np.float32]:
    """Features of the images that are scored, by the engine of the network as it is now."""
    if built is prepared.built:
        return prepared.X[roles.reports]
    with Store.open(decoder=DECODER_VERSION) as store:
        return extract.run(
            prepared.extraction.table.select(roles.reports),
            built,
            store,
            progress=lambda done, n: listener.progress("images", done, n),
        ).X


def source_classifier(built: engines.BuiltEngine) -> SourceClassifier | None:
    """The network's own last layer, if it is a linear map of the final features to classes."""
    name = built.info.config.get("classifier")
    if not isinstance(name, str) or built.source.kind == "random":
        return None
    found = artefact.read_classifier(built.weights_path, name, built.info.widths[-1][1])
    return found if found is not None and len(found.bias) >= MIN_SOURCE_CLASSES else None


@blas.one_thread
def fit_method(
    config: RunConfig,
    extraction: extract.Extraction,
    built: engines.BuiltEngine,
    y: NDArray[np.intp],
    *,
    groups: Any = None,
    environment: Environment | None = None,
) -> Learnt:
    """The method on all images of an extraction, near-duplicates and groups kept together."""
    copies = copies_of(extraction, built)
    named = None if groups is None else np.array([str(group) for group in groups], object)
    units = units_of(copies.unit, named, np.ones(len(y), bool))
    return _fitted(
        config,
        extraction,
        built,
        y,
        environment or Environment(),
        n_classes=int(y.max()) + 1,
        learn=np.arange(len(y)),
        choose=None,
        units=units,
    )


def _fitted(
    config: RunConfig,
    extraction: extract.Extraction,
    built: engines.BuiltEngine,
    y: NDArray[np.intp],
    environment: Environment,
    **rows: Any,
) -> Learnt:
    """The configured method, fitted."""
    if config.method != "probe":
        return unfitted(config, built, environment).fit(extraction, y, **rows)
    return _fitted_probe(config, built, extraction.X, y, rows)


def fit_probe(config: RunConfig, prepared: Prepared, lesson: Lesson) -> Probe:
    """The probe that a run's method is, or began from."""
    return _fitted_probe(config, prepared.built, prepared.X, lesson.y, lesson.rows)


def _fitted_probe(
    config: RunConfig,
    built: engines.BuiltEngine,
    X: NDArray[np.float32],
    y: NDArray[np.intp],
    rows: Mapping[str, Any],
) -> Probe:
    learn = rows["learn"]
    return _probe(config, built, _taps(config.taps, built.info)).fit(
        X[learn], y[learn], n_classes=rows["n_classes"], units=rows["units"]
    )


def _probe(
    config: RunConfig, built: engines.BuiltEngine, taps: tuple[str, ...] | None = None
) -> Probe:
    return Probe(
        built.info.taps,
        taps=taps,
        head=config.head,
        class_weight=config.class_weight,
        source=source_classifier(built),
        random_state=config.seed,
    )


def unfitted(config: RunConfig, built: engines.BuiltEngine, environment: Environment) -> FineTuning:
    """The configured method that trains, not yet fitted."""
    _require_linear_head(config)
    tuning: FineTuning = method(config.method)(
        functools.partial(_probe, config),
        built,
        config.settings,
        _taps(config.taps, built.info),
        class_weight=config.class_weight,
        random_state=config.seed,
        environment=environment,
    )
    return tuning


def _require_linear_head(config: RunConfig) -> None:
    if config.method != "probe" and config.head not in LINEAR_HEADS:
        raise ConfigError(
            f"method {config.method!r} goes on from a linear head, {config.head!r} is none",
            cure=f"--head {' or '.join(LINEAR_HEADS)}; --hidden 256 for hidden layers",
        )


def _taps(names: list[str] | None, info: engines.EngineInfo) -> tuple[str, ...] | None:
    """Names as users write them: 'codes' are the final features, 'all' every stage and final."""
    if not names:
        return None
    meanings = {"codes": ("final",), "all": tuple(tap.name for tap in info.taps)}
    known = [tap for name in names for tap in meanings.get(name.strip(), (name.strip(),))]
    return tuple(dict.fromkeys(known))


def _evaluate(prepared: Prepared, lesson: Lesson, proba: NDArray[Any], seed: int) -> record.Tested:
    table, roles, y, classes = prepared.table, lesson.roles, lesson.y, lesson.classes
    rows = roles.reports
    groups = None if table.groups is None else table.groups[rows]
    scored = evaluate(
        y[rows], proba, classes=classes, split=roles.reported, groups=groups, seed=seed
    )
    leaked = find.leaked(prepared.duplicates, table.splits, roles.reported)[rows]
    clean = None
    if leaked.any() and not leaked.all():
        clean = evaluate(
            y[rows][~leaked],
            proba[~leaked],
            classes=classes,
            split=roles.reported,
            groups=None if groups is None else groups[~leaked],
            seed=seed,
        )
    final = prepared.built.info.taps[-1]
    columns = slice(final.start, final.stop)
    baselines = {
        "majority class": majority_baseline(y[roles.train], y[rows], len(classes)),
        "nearest neighbour": nearest_neighbour_baseline(
            prepared.X[roles.train][:, columns],
            y[roles.train],
            prepared.X[rows][:, columns],
            y[rows],
        ),
    }
    return record.Tested(scored, clean, int(leaked.sum()), baselines)
