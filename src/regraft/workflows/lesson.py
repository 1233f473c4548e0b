"""What there is to learn from data that were looked at: roles, codes, classes, units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.checks.duplicates import connected
from regraft.data.splits import Roles, roles
from regraft.data.table import ImageTable, check_known_classes
from regraft.errors import TableError
from regraft.workflows.learnable import require_two_classes

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
        raise TableError(
            f"no image in {table.source!r} has a label",
            cure="put the images of each class into a folder of its own: DATA/<class>/*.jpg; "
            "in a manifest, --label-column NAME says which column has the labels",
        )
    return roles(splits)


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
