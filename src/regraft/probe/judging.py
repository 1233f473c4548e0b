"""Which images can judge a setting: those whose class is still taught when their unit is left out.

A unit is what stays together: the copies of one picture, or a group. A class that lies in one unit
is not taught at all once that unit is left out, so a fit without it cannot be right about it. Such
images would choose whatever is least sure of anything; they teach, and judge nothing. Where too
few others remain, usual settings are taken and no temperature is fitted.

Array letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.probe.base import Codes
from regraft.wording import count

# Fewer left-out images than this tell nothing about a setting.
FEWEST_TO_JUDGE = 8
# Of the classes: what suits a few of them says little of the others.
LEAST_SHARE_OF_CLASSES, MANY_CLASSES = 0.5, 100
MOST_NAMED = 4


def rows_that_judge(y: Codes, folds: Codes) -> NDArray[np.intp]:
    """Rows whose class other folds teach too; none if they are too few to tell anything.

    Parameters
    ----------
    y : (N,) codes
    folds : (N,) int

    Examples
    --------
    >>> y = np.repeat([0, 1, 2], 4)
    >>> rows_that_judge(y, np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8]))  # all of 2 in one
    array([0, 1, 2, 3, 4, 5, 6, 7])
    >>> rows_that_judge(y, y)
    array([], dtype=int64)
    """
    return Judged.of(y, folds).rows


def can_tell(y: Codes, n_classes: int) -> bool:
    """Whether left-out images of these classes are enough to choose by.

    Examples
    --------
    >>> can_tell(np.repeat([0, 1], 4), 2), can_tell(np.repeat([0], 8), 2)
    (True, False)
    """
    wanted = max(2, min(LEAST_SHARE_OF_CLASSES * n_classes, MANY_CLASSES))
    return len(y) >= FEWEST_TO_JUDGE and len(np.unique(y)) >= wanted


@dataclass(frozen=True, eq=False)
class Judged:
    """Who judged the settings of a fit, and who could not.

    Attributes
    ----------
    rows : (n,) int
        Rows that judge; none if they are too few.
    n_images : int
        N.
    n_able : int
        Rows whose class lies in two folds or more, even where they are too few.
    n_units : int
    alone : (k,) int
        Codes of the classes that lie in one fold.
    n_classes : int
        Classes that there are.
    """

    rows: NDArray[np.intp]
    n_images: int
    n_able: int
    n_units: int
    alone: NDArray[np.intp]
    n_classes: int

    @classmethod
    def of(cls, y: Codes, folds: Codes) -> Judged:
        """Of these rows, of which those of one fold are left out together."""
        y = np.asarray(y)
        names, fold = np.unique(folds, return_inverse=True)
        pairs = np.unique(y.astype(np.int64) * len(names) + fold)
        n_folds = np.bincount(pairs // len(names), minlength=1 if not len(y) else int(y.max()) + 1)
        able, alone = np.flatnonzero(n_folds[y] > 1), np.flatnonzero(n_folds == 1)
        n_classes = int((n_folds > 0).sum())
        rows = able if can_tell(y[able], n_classes) else able[:0]
        return cls(rows, len(y), len(able), len(names), alone, n_classes)

    def by(self, rows: NDArray[np.intp]) -> Judged:
        """The same, of the rows that really judged: a part of large data, or what folds left."""
        return replace(self, rows=rows)

    @property
    def is_enough(self) -> bool:
        """Whether anything can be measured."""
        return len(self.rows) > 0

    def to_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "is_measured": self.is_enough,
            "images": len(self.rows),
            "of": self.n_images,
            "classes_in_one_unit": [classes[code] for code in self.alone],
            "words": self.in_words(classes),
        }

    def in_words(self, classes: Sequence[str]) -> str:
        """Why nothing was measured, or not on all images; empty if all is well.

        Examples
        --------
        >>> y = np.repeat([0, 1, 2], 4)
        >>> Judged.of(y, y).in_words(["ant", "bee", "fly"]).partition(":")[0]
        'nothing was measured'
        >>> Judged.of(y, np.where(y == 2, 2, np.arange(12) + 9)).in_words(["ant", "bee", "fly"])
        "measured on 8 of 12 training images: all that there is of 'fly' belongs together"
        """
        if not self.is_enough:
            return f"nothing was measured: {self._why_not()}; usual settings were taken"
        if not len(self.alone):
            return ""
        named = ", ".join(repr(classes[code]) for code in self.alone[:MOST_NAMED])
        if len(self.alone) > MOST_NAMED:
            named = f"each of {len(self.alone)} classes ({named}, …)"
        return (
            f"measured on {len(self.rows):,} of {count(self.n_images, 'training image')}: all that "
            f"there is of {named} belongs together"
        )

    def _why_not(self) -> str:
        if self.n_units == 1:
            images = count(self.n_images, "training image")
            return f"all {images} belong together (copies of one picture, or one group)"
        if not self.n_able:
            return (
                "of each class there is one picture, or copies of one, or one group: without it "
                "nothing is left of the class"
            )
        return (
            f"settings are judged by images that are left out while others of their class remain, "
            f"and of {count(self.n_images, 'training image')} {self.n_able} can be; at least "
            f"{FEWEST_TO_JUDGE} are needed, and half of the classes"
        )
