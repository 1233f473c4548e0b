"""The story of a run, told once: table, features, splits, checks, method, evaluation, artefact.

``prepare`` goes as far as the data; ``run`` goes on to a tested classifier on disk; the commands
`check`, `layers` and `train` and the estimator all stand on these two.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regraft import artefact, blas, record, runs
from regraft.advice import layer_curve as layer_curve_reading
from regraft.backbones import catalog
from regraft.checks import duplicates as find
from regraft.checks.finding import Finding, in_order
from regraft.checks.findings import find_problems, find_table_problems
from regraft.data import splits as divide
from regraft.data.sources import read_table
from regraft.data.table import ImageTable, check_known_classes
from regraft.errors import ConfigError, DataError, TableError
from regraft.evaluation import (
    Evaluation,
    evaluate,
    majority_baseline,
    nearest_neighbour_baseline,
)
from regraft.features import engines, extract
from regraft.features.store import Store
from regraft.images import DECODER_VERSION
from regraft.methods import method, processes
from regraft.methods.fine_tuning import Environment, FineTuning
from regraft.methods.probe import Probe
from regraft.methods.representation import SourceClassifier
from regraft.methods.trackers import require_tracker
from regraft.runs import RunConfig

if TYPE_CHECKING:
    from regraft.methods.gradient.lr_find import RangeTest

Learnt = Probe | FineTuning

# A source classifier of fewer classes says too little of a picture to be a tap.
MIN_SOURCE_CLASSES = 10
# Heads that are one matrix, from which training by gradients can go on.
LINEAR_HEADS = ("ridge", "logistic", "svm")


@dataclass(frozen=True)
class Listener:
    """Who is told while a run goes on; silent by default.

    Attributes
    ----------
    say : callable(text)
        One line before what takes seconds, or about something that went wrong and was healed.
    progress : callable(stage, done, total)
    epoch : callable(epoch, n_epochs)
        After each epoch of a method that trains.
    """

    say: Callable[[str], None] = lambda text: None
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    epoch: Callable[[Any, int], None] = lambda epoch, n_epochs: None


SILENT = Listener()


@dataclass(frozen=True, eq=False)
class Prepared:
    """The data, looked at once: readable images with facts, features, splits and findings.

    Attributes
    ----------
    extraction : Extraction
    table : ImageTable
        The N readable and labelled images, every one in a split.
    X : (N, D) float32
    duplicates : Duplicates
    findings : list of Finding
    assigned : bool
        Whether the splits were made here.
    roles : Roles or None
        None where the table has no usable division (only `check` gets so far).
    """

    extraction: extract.Extraction
    table: ImageTable
    X: NDArray[np.float32]
    built: engines.BuiltEngine
    duplicates: find.Duplicates
    findings: list[Finding]
    assigned: bool
    seconds: dict[str, float] = field(default_factory=dict)


class Lesson(NamedTuple):
    """What there is to learn: the roles of the N rows, their codes, the names of the classes."""

    roles: divide.Roles
    y: NDArray[np.intp]
    classes: list[str]


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
def prepare(
    config: RunConfig,
    *,
    offline: bool = False,
    listener: Listener = SILENT,
    needs_splits: bool = True,
) -> Prepared:
    """Read the table, run the one pass, divide, and look for what is wrong.

    Raises
    ------
    TableError, SplitError
        Nothing readable, or a division that cannot be used.
    BackboneError, WeightsError
        See :mod:`regraft.backbones`.
    """
    clock = _Clock()
    table = read(config)
    if needs_splits:
        _refuse_one_class(table)
    clock.lap("table")
    source = catalog.resolve(config.backbone, weights=config.weights)
    built = engines.locate(
        source,
        sample=extract.sample_pictures(table),
        device=config.device,
        offline=offline,
        say=listener.say,
    )
    for note in built.info.notes:
        listener.say(note)
    clock.lap("engine")
    with Store.open(decoder=DECODER_VERSION) as store:
        extraction = extract.run(
            table, built, store, progress=lambda done, n: listener.progress("images", done, n)
        )
    for note in store.notes:
        listener.say(note)
    clock.lap("features")
    return _look_at(config, table, extraction, built, clock, needs_splits)


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
    clock = _Clock()
    environment = Environment(
        say=listener.say, progress=listener.progress, on_epoch=listener.epoch, offline=offline
    )
    if config.method != "probe":
        environment = replace(environment, folder=folder / runs.CHECKPOINTS)
        if processes.is_main():
            runs.begin(folder, config)
            environment = replace(environment, on_epoch=_logged(folder, listener))
    try:
        learnt, roles, y, classes = fit(config, prepared, environment)
    except ConfigError:
        runs.forget(folder)
        raise
    lesson = Lesson(roles, y, classes)
    clock.lap("fit")
    built = learnt.built_ if isinstance(learnt, FineTuning) else prepared.built
    with processes.main_first():
        proba = learnt.predict_proba(_reported_features(prepared, built, roles, listener))
    tested = _evaluate(prepared, roles, y, proba, classes, config.seed)
    clock.lap("evaluate")
    if not processes.is_main():
        spent = {**prepared.seconds, **clock.laps}
        metrics = record.metrics(config, folder, prepared, learnt, tested, roles, classes, spent)
        return Result(folder, metrics, tested.evaluation, prepared, learnt, lesson, built, proba)

    with runs.writing(folder) as room:
        artefact.save(
            room / "model",
            classes=tuple(classes),
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
                "learnt_from": record.digests_in_text(_taught(prepared, roles, config)),
            },
        )
        clock.lap("save")
        seconds = {**prepared.seconds, **clock.laps, "total": time.perf_counter() - started}
        metrics = record.metrics(config, folder, prepared, learnt, tested, roles, classes, seconds)
        record.write(room, config, metrics, prepared, roles, proba, classes)
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


def _logged(folder: Path, listener: Listener) -> Callable[[Any, int], None]:
    """Each epoch goes into the log before it is shown."""

    def on_epoch(epoch: Any, n_epochs: int) -> None:
        runs.log_epoch(folder, epoch.to_dict())
        listener.epoch(epoch, n_epochs)

    return on_epoch


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


def labelled_roles(table: ImageTable) -> divide.Roles:
    """Which rows teach and which report, among those that have a label."""
    is_labelled = np.array([label is not None for label in table.labels], bool)
    splits = table.splits.copy()
    splits[~is_labelled] = None
    if not (splits == "train").any() and is_labelled.any() and table.has_splits:
        return divide.roles(table.splits)  # says which split is missing
    if not is_labelled.any():
        raise TableError(
            f"no image in {table.source!r} has a label",
            cure="put the images of each class into a folder of its own: DATA/<class>/*.jpg; "
            "in a manifest, --label-column NAME says which column has the labels",
        )
    return divide.roles(splits)


def source_classifier(built: engines.BuiltEngine) -> SourceClassifier | None:
    """The network's own last layer, if it is a linear map of the final features to classes."""
    name = built.info.config.get("classifier")
    if not isinstance(name, str) or built.source.kind == "random":
        return None
    found = artefact.read_classifier(built.weights_path, name, built.info.widths[-1][1])
    return found if found is not None and len(found.bias) >= MIN_SOURCE_CLASSES else None


def read(config: RunConfig) -> ImageTable:
    """The table of a run's data, with at least one image."""
    table = read_table(
        config.data,
        path_column=config.path_column,
        label_column=config.label_column,
        split_column=config.split_column,
        group_column=config.group_column,
    )
    if not len(table):
        raise TableError(
            f"no images in {config.data!r}" + _what_was_there(table),
            cure="one folder per class: DATA/<class>/*.jpg, or DATA/train/<class>/*.jpg; "
            "or a CSV with the columns path and label",
        )
    return table


def fit(
    config: RunConfig, prepared: Prepared, environment: Environment | None = None
) -> tuple[Learnt, divide.Roles, NDArray[np.intp], list[str]]:
    """The method on train, with the roles of the rows, their codes and the classes."""
    (roles, y, classes), rows = lesson_of(prepared)
    learnt = _fitted(
        config, prepared.extraction, prepared.built, y, environment or Environment(), **rows
    )
    return learnt, roles, y, classes


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
    if config.method == "probe":
        raise ConfigError(
            "the probe is solved in closed form and has no learning rate",
            cure="--method partial, full, head or scratch",
        )
    prepared = prepare(config, offline=offline, listener=listener)
    environment = Environment(say=listener.say, progress=listener.progress, offline=offline)
    (_, y, _), rows = lesson_of(prepared)
    return _tuning(config, prepared.built, environment).try_rates(prepared.extraction, y, **rows)


def lesson_of(prepared: Prepared) -> tuple[Lesson, dict[str, Any]]:
    """What there is to learn, and which rows teach and choose."""
    table = prepared.table
    roles = labelled_roles(table)
    classes = sorted({str(label) for label in table.labels[roles.train]})
    _refuse_unknown_classes(table, roles, classes)
    y = np.searchsorted(classes, table.labels.astype(str)).astype(np.intp)
    chooses = None if roles.chooses is None else np.flatnonzero(roles.chooses)
    rows = {
        "n_classes": len(classes),
        "learn": np.flatnonzero(roles.train),
        "choose": chooses,
        "units": _units(prepared.duplicates.unit, table.groups, roles.train),
    }
    return Lesson(roles, y, classes), rows


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
    copies = _copies(extraction, built)
    named = None if groups is None else np.array([str(group) for group in groups], object)
    units = _units(copies.unit, named, np.ones(len(y), bool))
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
        return _tuning(config, built, environment).fit(extraction, y, **rows)
    return _fitted_probe(config, built, extraction.X, y, rows)


def fit_probe(
    config: RunConfig, prepared: Prepared, lesson: Lesson, rows: Mapping[str, Any]
) -> Probe:
    """The probe that a run's method is, or began from, on the rows of `lesson_of`."""
    return _fitted_probe(config, prepared.built, prepared.X, lesson.y, rows)


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


def _tuning(config: RunConfig, built: engines.BuiltEngine, environment: Environment) -> FineTuning:
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


def _copies(extraction: extract.Extraction, built: engines.BuiltEngine) -> find.Duplicates:
    thumbs = np.array([np.frombuffer(f.thumb, np.uint8) for f in extraction.facts])
    final = built.info.taps[-1]
    return find.find_duplicates(
        extraction.digests, thumbs, extraction.X[:, final.start : final.stop]
    )


def _taps(names: list[str] | None, info: engines.EngineInfo) -> tuple[str, ...] | None:
    """Names as users write them: 'codes' are the final features, 'all' every stage and final."""
    if not names:
        return None
    meanings = {"codes": ("final",), "all": tuple(tap.name for tap in info.taps)}
    known = [tap for name in names for tap in meanings.get(name.strip(), (name.strip(),))]
    return tuple(dict.fromkeys(known))


class _Clock:
    """Seconds of each part of the story."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


def _look_at(
    config: RunConfig,
    given: ImageTable,
    extraction: extract.Extraction,
    built: engines.BuiltEngine,
    clock: _Clock,
    needs_splits: bool,
) -> Prepared:
    table = extraction.table
    if not len(table):
        first = table.rejected[0] if table.rejected else None
        raise TableError(
            f"none of the {len(given)} images in {config.data!r} can be read",
            place=f"{first.path}: {first.reason}" if first else "",
            cure=(first.mend if first else "") or "regraft check lists every file with its reason",
        )
    copies, final = _copies(extraction, built), built.info.taps[-1]
    assigned = not table.has_splits and needs_splits
    if assigned:
        table = _with_splits(table, extraction, copies, config)
    findings = find_problems(
        table, extraction.facts, copies, extraction.X[:, final.start : final.stop]
    )
    clock.lap("check")
    return Prepared(
        extraction, table, extraction.X, built, copies, findings, assigned, dict(clock.laps)
    )


def _with_splits(
    table: ImageTable,
    extraction: extract.Extraction,
    copies: find.Duplicates,
    config: RunConfig,
) -> ImageTable:
    """Train and test by content; near-copies go by the smallest digest among them, so that the
    division made here cannot leak by itself."""
    labelled = np.array([label is not None for label in table.labels])
    if not labelled.any():
        return table
    assigned = divide.assign(
        table.labels[labelled],
        [d for d, keep in zip(_of_first_copy(extraction, copies), labelled, strict=True) if keep],
        groups=None if table.groups is None else table.groups[labelled],
        seed=config.seed,
        test_fraction=config.test_fraction,
    )
    splits = np.full(len(table), None, object)
    splits[labelled] = assigned
    return table.with_splits(splits)


def _of_first_copy(extraction: extract.Extraction, copies: find.Duplicates) -> list[bytes]:
    """For each image the smallest content digest among its near-copies, mostly its own."""
    smallest: dict[int, bytes] = {}
    units = copies.unit.tolist()
    for unit, digest in zip(units, extraction.digests, strict=True):
        smallest[unit] = min(digest, smallest.get(unit, digest))
    return [smallest[unit] for unit in units]


def _refuse_one_class(table: ImageTable) -> None:
    """Before any picture is read; the method looks again at those that can be."""
    classes = {label for label in table.labels if label is not None}
    if len(classes) == 1:
        raise TableError(
            f"training needs images of at least 2 classes, got 1: {classes.pop()!r}",
            place=table.source,
            cure="one folder per class: DATA/<class>/... or DATA/train/<class>/...",
        )


def _refuse_unknown_classes(table: ImageTable, roles: divide.Roles, classes: list[str]) -> None:
    scored = [str(label) for label in table.labels[roles.reports] if label is not None]
    check_known_classes(scored, classes, place=f"{roles.reported} split of {table.source!r}")


def _units(
    units: NDArray[Any], groups: NDArray[np.object_] | None, rows: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Near-duplicates and groups as one number each: what must be left out together."""
    if groups is None:
        return np.unique(units[rows], return_inverse=True)[1]
    return _joined(units[rows], groups[rows])


def _joined(units: NDArray[Any], groups: NDArray[np.object_]) -> NDArray[np.intp]:
    """The coarsest numbering in which rows of one unit, and rows of one group, are together."""
    parent: dict[Any, Any] = {}

    def root(key: Any) -> Any:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    for unit, group in zip(units.tolist(), groups, strict=True):
        if group is not None:
            parent[root(("unit", unit))] = root(("group", group))
    names = [str(root(("unit", unit))) for unit in units.tolist()]
    return np.unique(names, return_inverse=True)[1]


def _evaluate(
    prepared: Prepared,
    roles: divide.Roles,
    y: NDArray[np.intp],
    proba: NDArray[Any],
    classes: list[str],
    seed: int,
) -> record.Tested:
    table, rows = prepared.table, roles.reports
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


def _what_was_there(table: ImageTable) -> str:
    if table.rejected:
        first = table.rejected[0]
        return (
            f": {len(table.rejected)} files cannot be opened, first {first.path!r} ({first.reason})"
        )
    if table.skipped:
        left_out = table.skipped[0]
        return (
            f": {len(table.skipped)} entries left out, first {left_out.path!r} ({left_out.reason})"
        )
    return ""


@dataclass(frozen=True, eq=False)
class Checked:
    """What `check` found."""

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
            "rejected": [r._asdict() for r in self.table.rejected],
            "skipped": [s._asdict() for s in self.table.skipped],
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check(
    config: RunConfig, *, quick: bool = False, offline: bool = False, listener: Listener = SILENT
) -> Checked:
    """What is in the data and what is wrong with it; `quick` reads no pixels."""
    if quick:
        table = read(config)
        found = find_table_problems(table)
    else:
        prepared = prepare(config, offline=offline, listener=listener, needs_splits=False)
        table, found = prepared.table, prepared.findings
    return Checked(table, in_order([*found, *_refusals(table, found)]))


def _refusals(table: ImageTable, found: list[Finding]) -> list[Finding]:
    """What `train` would refuse about the whole of the data, as findings."""
    if any(finding.severity == "error" for finding in found):
        return []
    try:
        if not table.has_splits:
            table = table.with_splits(
                ["train", "test", *["train"] * (len(table) - 2)][: len(table)]
            )
        roles = labelled_roles(table)
        n_classes = len({str(label) for label in table.labels[roles.train]})
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
    probe, _, _, _ = fit(config, prepared)
    return LayerCurve(record.layer_curve(probe), probe.candidates_[0].n_images)
