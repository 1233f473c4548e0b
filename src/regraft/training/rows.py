"""Which images of a training teach, and which choose.

Array letters: N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.data.splits import carve
from regraft.probe.base import Codes
from regraft.probe.judging import FEWEST_TO_JUDGE, can_tell, rows_that_judge
from regraft.training.task import Task

# Fewer held-out images than this tell nothing; the last epoch is taken as it is.
FEWEST_TO_CHOOSE = FEWEST_TO_JUDGE
# So many ways to hold a part out are looked at.
MOST_PARTS = 10
# The images that choose need not be more than this: the interval is narrow enough.
MOST_TO_CHOOSE = 2_000


@dataclass(frozen=True, eq=False)
class Rows:
    """The images of a training: those that teach, then those that choose.

    Attributes
    ----------
    of_extraction : (N,) int
        Which rows of the extraction they are.
    n_learn : int
        So many teach; the others choose.
    y, units : (N,) int
    is_carved : bool
        Whether those that choose were taken from those that teach.
    """

    of_extraction: NDArray[np.intp]
    n_learn: int
    y: Codes
    units: Codes
    is_carved: bool

    def __len__(self) -> int:
        return len(self.of_extraction)

    @property
    def n_choose(self) -> int:
        """How many choose."""
        return len(self) - self.n_learn

    @property
    def learn(self) -> NDArray[np.intp]:
        """Places of those that teach."""
        return np.arange(self.n_learn)

    @property
    def choose(self) -> NDArray[np.intp]:
        """Places of those that choose."""
        return np.arange(self.n_learn, len(self))

    @property
    def all(self) -> NDArray[np.intp]:
        """Places of all."""
        return np.arange(len(self))


def divided(task: Task) -> Rows:
    """Rows that teach, and those that choose: the ones given, or a part of the former."""
    y, learn, choose = np.asarray(task.y), np.asarray(task.learn), task.choose
    own = np.arange(len(learn)) if task.units is None else np.asarray(task.units)
    if choose is None:
        part = held_out(y[learn], own, task.settings.select_fraction, task.seed)
        learn, choose, own, later = learn[~part], learn[part], own[~part], own[part]
    else:
        given = np.arange(len(choose)) if task.units_of_choose is None else task.units_of_choose
        later = own.max(initial=0) + 1 + given
    rows = np.concatenate([learn, choose])
    return Rows(rows, len(learn), y[rows], np.concatenate([own, later]), task.choose is None)


def held_out(y: Codes, units: Codes | None, fraction: float, seed: int) -> NDArray[np.bool_]:
    """A stratified part of whole units that chooses; none where too few images could tell.

    Where units are so large that a part of this size has too few classes, the part is larger.
    """
    wanted = min(fraction * len(y), MOST_TO_CHOOSE)
    units = np.arange(len(y)) if units is None else np.asarray(units)
    if wanted >= FEWEST_TO_CHOOSE and len(rows_that_judge(y, units)):
        n_parts = max(2, min(round(len(y) / wanted), len(np.unique(units))))
        while n_parts > 1:
            part = _part_of_most_classes(y, units, n_parts, seed)
            if can_tell(y[part], len(np.unique(y))):
                return part
            n_parts = min(n_parts - 1, max(5, n_parts // 2))
    return np.zeros(len(y), bool)


def _part_of_most_classes(y: Codes, units: Codes, n_parts: int, seed: int) -> NDArray[np.bool_]:
    """The first of the parts whose images are of the most classes."""
    fold = carve(y, n_parts, units=units, seed=seed)
    parts = (_without_sole_teachers(y, units, fold == k) for k in range(min(n_parts, MOST_PARTS)))
    return max(parts, key=lambda part: len(np.unique(y[part])))


def _without_sole_teachers(y: Codes, units: Codes, part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part without units that hold all there is of a class: that has to teach."""
    teaching = np.bincount(y[~part], minlength=int(y.max()) + 1)
    sole = units[part & (teaching[y] == 0)]
    return part & ~np.isin(units, sole) if len(sole) else part
