"""What there is to learn from data that were looked at: roles, codes, classes, units."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.checks.duplicates import connected
from regraft.data.labels_in_names import hint
from regraft.data.source_forms import ARCHIVE_SUFFIXES
from regraft.data.splits import Roles, roles
from regraft.data.table import ImageTable, check_known_classes, no_labels_error, quoted
from regraft.data.unread import why_no_more_classes
from regraft.errors import SplitError, TableError

if TYPE_CHECKING:
    from regraft.workflows.preparation import Prepared


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

    roles: Roles
    y: NDArray[np.intp]
    classes: list[str]
    units: NDArray[np.intp]

    @property
    def learn(self) -> NDArray[np.intp]:
        """Rows that teach, (n,)."""
        return np.flatnonzero(self.roles.train)

    @property
    def choose(self) -> NDArray[np.intp] | None:
        """Rows that choose; None: a method that needs some takes them from those that teach."""
        return None if self.roles.chooses is None else np.flatnonzero(self.roles.chooses)


def lesson_of(prepared: Prepared) -> Lesson:
    """What there is to learn from data that were looked at.

    Raises
    ------
    TableError, SplitError
        No labels, or classes in the reported split that nothing teaches.
    """
    table = prepared.table
    found = labelled_roles(table)
    classes = sorted({str(label) for label in table.labels[found.train]})
    require_two_classes(table, classes)
    _require_taught(table, found, classes)
    y = np.searchsorted(classes, table.labels.astype(str)).astype(np.intp)
    units = units_of(prepared.copies.unit, table.groups, found.train)
    return Lesson(found, y, classes, units)


def refuse_unlearnable(table: ImageTable) -> None:
    """What no training can use, before any picture is read; the method looks again at the rest.

    Raises
    ------
    TableError, SplitError
        No labels, one class only, nothing that teaches or nothing that is reported.
    """
    if table.has_splits or table.n_unlabelled == len(table):
        labelled_roles(table)
    require_two_classes(table, table.classes)


def require_two_classes(table: ImageTable, classes: Collection[str]) -> None:
    """Refuse one class alone, and say what became of others; none at all is said elsewhere.

    It is asked before any picture is read, and again of those that can be.

    Raises
    ------
    TableError
        With ``error.rejected`` and ``error.skipped``, as the table has them.
    """
    if len(classes) != 1:
        return
    cure = "one folder per class: DATA/<class>/... or DATA/train/<class>/..." + hint(table.paths)
    if table.rejected:
        cure = f"replace the files that cannot be read (regraft check names them all); or {cure}"
    raise TableError(
        f"training needs images of at least 2 classes, got 1: {next(iter(classes))!r}"
        + why_no_more_classes(table),
        place=table.source,
        cure=cure,
        rejected=table.rejected,
        skipped=table.skipped,
    )


def _require_taught(table: ImageTable, found: Roles, classes: list[str]) -> None:
    """Refuse classes that are scored but not learnt, and name their files that cannot be read."""
    scored = [str(label) for label in table.labels[found.reports] if label is not None]
    place = f"{found.reported} split of {table.source!r}"
    try:
        check_known_classes(scored, classes, place)
    except TableError as error:
        bad = [bad for bad in table.as_shown(table.rejected) if bad.label in error.labels]
        if not bad:
            raise
        raise TableError(
            f"{error.rule} {len(bad):,} of the files that cannot be read are of "
            f"{'it' if len(error.labels) == 1 else 'them'}: {bad[0].path}: {bad[0].reason}",
            place=place,
            cure="replace the files that cannot be read (regraft check names them all); "
            "or leave the class out",
            **error.facts,
        ) from None


def labelled_roles(table: ImageTable) -> Roles:
    """Which rows teach and which report, among those that have a label."""
    is_labelled = np.array([label is not None for label in table.labels], bool)
    splits = table.splits.copy()
    splits[~is_labelled] = None
    if not (splits == "train").any() and is_labelled.any() and table.has_splits:
        return roles(table.splits)  # says which split is missing
    if not is_labelled.any():
        raise no_labels_error(table)
    try:
        return roles(splits)
    except SplitError as error:
        raise _naming_what_was_left_out(error, table) from None


def _naming_what_was_left_out(error: SplitError, table: ImageTable) -> SplitError:
    """The same refusal, with the folders that might have been the missing split, and what to give
    instead."""
    strays = [table.shown(one.path) for one in table.skipped if one.kind == "stray-folder"]
    outside = {os.path.dirname(one.path) for one in table.skipped if one.kind == "unlabelled"}
    told, cures = [], []
    if strays:
        told.append(f"{quoted(strays)} beside the splits {_is(strays)} in none of them")
        cures.append("if it is the part to report, rename it test")
    packed = [one.path for one in table.skipped if one.path.lower().endswith(ARCHIVE_SUFFIXES)]
    if packed:
        told.append(f"{quoted(map(table.shown, packed))} {_is(packed)} not unpacked")
        cures.append("if it is the part to report, unpack it beside train")
    if outside:
        flat = sorted(map(table.shown, outside))
        told.append(f"the images straight in {quoted(flat)} have no class")
        cures.append("to report on them, put them into folders of their classes")
    cures.append(_giving_what_teaches(error.cure, table))
    return SplitError("; ".join([error.rule, *told]), cure=";\n".join(cures), **error.facts)


def _giving_what_teaches(cure: str, table: ImageTable) -> str:
    """The cure with the path of the train folder, or of the table that labels it."""
    files = [reading.file for reading in table.readings if reading.file]
    paths = table.paths[table.splits == "train"].tolist()
    if files:
        return cure.replace("the train folder itself", f"the table itself, {files[0]}")
    if not table.root or not paths:
        return cure
    folder = table.shown(os.path.commonpath([os.path.dirname(path) for path in paths]))
    return cure.replace("the train folder itself", f"the train folder itself, {folder}")


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def units_of(
    units: NDArray[Any], groups: NDArray[np.object_] | None, rows: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Near-duplicates and groups as one number each: what must be left out together."""
    if groups is None:
        return np.unique(units[rows], return_inverse=True)[1]
    return _joined(units[rows], groups[rows])


def _joined(units: NDArray[Any], groups: NDArray[np.object_]) -> NDArray[np.intp]:
    """The numbering in which rows of one unit, and rows of one group, are together."""
    ends = [*_chained(units), *_chained(groups)]
    return connected(len(units), np.array(ends, np.intp).reshape(-1, 2))


def _chained(names: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Each row with the first of its name; None is no name."""
    first: dict[Any, int] = {}
    for row, name in enumerate(names.tolist()):
        if name is not None:
            yield first.setdefault(name, row), row
