"""What there is to learn from data that were looked at: roles, codes, classes, units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regraft.data.known_classes import check_known_classes
from regraft.data.splits import Roles
from regraft.data.table import ImageTable
from regraft.errors import TableError
from regraft.workflows.learnable import labelled_roles, require_two_classes
from regraft.workflows.units import units_of

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
    units_of_choose : (m,) int or None
        Of the m rows that choose; None: each by itself.
    """

    roles: Roles
    y: NDArray[np.intp]
    classes: list[str]
    units: NDArray[np.intp]
    units_of_choose: NDArray[np.intp] | None = None

    @property
    def learn(self) -> NDArray[np.intp]:
        """Rows that teach, (n,)."""
        return np.flatnonzero(self.roles.train)

    @property
    def unit_of_each(self) -> NDArray[np.intp]:
        """Of all N rows: the units of those that teach and choose, others by themselves, (N,)."""
        found = len(self.y) + np.arange(len(self.y))
        found[self.learn] = self.units
        if self.choose is not None and self.units_of_choose is not None:
            found[self.choose] = 2 * len(self.y) + self.units_of_choose
        return found

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
    place = {label: int(np.searchsorted(classes, str(label))) for label in set(table.labels)}
    y = np.fromiter(map(place.__getitem__, table.labels), np.intp, len(table))
    units = units_of(prepared.copies.unit, table.groups, found.train)
    chooses = found.chooses
    own = None if chooses is None else units_of(prepared.copies.unit, table.groups, chooses)
    return Lesson(found, y, classes, units, own)


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
