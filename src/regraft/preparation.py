"""The data of a run, looked at once: the table, the one pass, the splits, copies and findings.

Everything that answers about data stands on `prepare`: training, `check`, `layers`, `lr-find`.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft import blas
from regraft.backbones import catalog
from regraft.checks import duplicates as find
from regraft.checks.finding import Finding
from regraft.checks.findings import find_problems
from regraft.data import splits as divide
from regraft.data.sources import read_table
from regraft.data.table import ImageTable, check_known_classes
from regraft.errors import TableError
from regraft.features import engines, extract
from regraft.features.store import Store
from regraft.images import DECODER_VERSION
from regraft.listener import SILENT, Listener
from regraft.runs import RunConfig


@dataclass(frozen=True, eq=False)
class Prepared:
    """The data, looked at once: readable images with facts, features, splits and findings.

    Attributes
    ----------
    extraction : Extraction
    table : ImageTable
        The N readable images, with the splits that were given or made.
    X : (N, D) float32
    built : BuiltEngine
        That gave these features.
    duplicates : Duplicates
    findings : list of Finding
    assigned : bool
        Whether the splits were made here.
    seconds : dict
        Of each part of the preparation.
    """

    extraction: extract.Extraction
    table: ImageTable
    X: NDArray[np.float32]
    built: engines.BuiltEngine
    duplicates: find.Duplicates
    findings: list[Finding]
    assigned: bool
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What there is to learn from the N images of a table.

    Attributes
    ----------
    roles : Roles
        Which rows teach, choose and report.
    y : (N,) int
        Codes of the labels.
    classes : list of K str
        Their names, sorted.
    units : (n,) int
        Of the n rows that teach: those of one number (near-copies, groups) stay together.
    """

    roles: divide.Roles
    y: NDArray[np.intp]
    classes: list[str]
    units: NDArray[np.intp]

    @property
    def rows(self) -> dict[str, Any]:
        """Which rows teach and choose, as the methods that train take them."""
        chooses = self.roles.chooses
        return {
            "n_classes": len(self.classes),
            "learn": np.flatnonzero(self.roles.train),
            "choose": None if chooses is None else np.flatnonzero(chooses),
            "units": self.units,
        }


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
    clock = Clock()
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
        progress = functools.partial(listener.progress, "images")
        extraction = extract.run(table, built, store, progress=progress)
    for note in store.notes:
        listener.say(note)
    clock.lap("features")
    return _look_at(config, table, extraction, built, clock, needs_splits)


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


def lesson_of(prepared: Prepared) -> Lesson:
    """What there is to learn from data that were looked at.

    Raises
    ------
    TableError, SplitError
        No labels, or classes in the reported split that nothing teaches.
    """
    table = prepared.table
    roles = labelled_roles(table)
    classes = sorted({str(label) for label in table.labels[roles.train]})
    _refuse_unknown_classes(table, roles, classes)
    y = np.searchsorted(classes, table.labels.astype(str)).astype(np.intp)
    units = units_of(prepared.duplicates.unit, table.groups, roles.train)
    return Lesson(roles, y, classes, units)


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


def copies_of(extraction: extract.Extraction, built: engines.BuiltEngine) -> find.Duplicates:
    thumbs = np.array([np.frombuffer(f.thumb, np.uint8) for f in extraction.facts])
    final = built.info.taps[-1]
    return find.find_duplicates(
        extraction.digests, thumbs, extraction.X[:, final.start : final.stop]
    )


def units_of(
    units: NDArray[Any], groups: NDArray[np.object_] | None, rows: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Near-duplicates and groups as one number each: what must be left out together."""
    if groups is None:
        return np.unique(units[rows], return_inverse=True)[1]
    return _joined(units[rows], groups[rows])


class Clock:
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
    clock: Clock,
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
    copies, final = copies_of(extraction, built), built.info.taps[-1]
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
