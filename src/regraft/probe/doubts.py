"""What is asked of a classifier beside its answer, and what it says: sets, "none of these", alone.

Array letters: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.errors import UsageError
from regraft.evaluation import blocks, conformal
from regraft.evaluation.levels import level_of
from regraft.probe.base import Floats
from regraft.probe.unknown import Unknown


@dataclass(frozen=True)
class Levels:
    """What is asked for; None asks nothing.

    Attributes
    ----------
    coverage : float or None
        The share of new images whose set is to hold their class.
    reject : float or None
        The share of one's own images that may be turned away as none of the classes.
    precision : float or None
        The share of the answers that stand alone which is to be right.
    per_class : bool
        Whether `coverage` is to hold in every class.

    Examples
    --------
    >>> Levels.of(coverage="95%", reject=0.02)
    Levels(coverage=0.95, reject=0.02, precision=None, per_class=False)
    """

    coverage: float | None = None
    reject: float | None = None
    precision: float | None = None
    per_class: bool = False

    @classmethod
    def of(
        cls, *, coverage: Any = None, reject: Any = None, precision: Any = None,
        per_class: bool = False,
    ) -> Levels:  # fmt: skip
        """Of numbers or texts such as '95%'.

        Raises
        ------
        UsageError
            One is no share between 0 and 1, or `per_class` says of nothing.
        """
        if per_class and coverage is None:
            raise UsageError(
                "per class is about coverage, and none is asked for",
                cure="--coverage 95% --per-class; in Python coverage=0.95, per_class=True",
            )
        given = {"coverage": coverage, "reject": reject, "precision": precision}
        known = {
            name: None if value is None else level_of(value, name) for name, value in given.items()
        }
        return cls(**known, per_class=per_class)

    @property
    def is_asked(self) -> bool:
        """Whether anything is."""
        return (self.coverage, self.reject, self.precision) != (None, None, None)

    @property
    def without_sets(self) -> Levels:
        """The same but for sets."""
        return replace(self, coverage=None, per_class=False)


# Asks how typical pictures are, whatever the level.
EVERY = Levels(reject=1 - 1e-12)


@dataclass(frozen=True, eq=False)
class Doubts:
    """What a classifier says of N images beside their probabilities; None of what was not asked.

    Attributes
    ----------
    sets : (N, K) bool or None
        Which classes each may be.
    typical : (N,) float64 or None
        The share of images that did not teach that are less like the training images: a p-value.
    is_none : (N,) bool or None
        Less typical than all but the share that may be turned away.
    is_alone : (N,) bool or None
        Whether the answer may stand alone; otherwise a person should look.
    """

    sets: NDArray[np.bool_] | None = None
    typical: Floats | None = None
    is_none: NDArray[np.bool_] | None = None
    is_alone: NDArray[np.bool_] | None = None

    @property
    def names(self) -> list[str]:
        """Of what was asked for, as ``--json`` and the columns of a table have it."""
        columns = {
            "set": self.sets, "typical": self.typical, "none_of_these": self.is_none,
            "alone": self.is_alone,
        }  # fmt: skip
        return [name for name, column in columns.items() if column is not None]

    @classmethod
    def of(
        cls, unknown: Unknown, levels: Levels, Z: Floats, scores: Floats, proba: Floats
    ) -> Doubts:
        """Of represented features, scores of the head and probabilities.

        Raises
        ------
        UsageError
            A level that too few images calibrate.
        """
        limits = Limits.of(unknown, levels, proba.shape[1])
        typical = is_none = is_alone = None
        if levels.reject is not None:
            typical = unknown.typical(Z, scores)
            is_none = typical <= levels.reject
        if levels.precision is not None:
            is_sure = proba.max(axis=1) >= limits.confidence
            is_alone = is_sure if is_none is None else is_sure & ~is_none
        return cls(None, typical, is_none, is_alone).with_sets(unknown, levels, proba)

    def with_sets(self, unknown: Unknown | None, levels: Levels, proba: Floats) -> Doubts:
        """The same with sets, where these are asked for; those of many rows and classes lie on
        disk, as their probabilities do."""
        if levels.coverage is None or unknown is None:
            return self
        least = Limits.of(unknown, levels, proba.shape[1]).probability
        return replace(
            self, sets=blocks.applied(proba, lambda rows: conformal.sets(rows, least), np.bool_)
        )

    def spread(self, is_read: NDArray[np.bool_]) -> Doubts:
        """The same with rows for images that cannot be read: no set, NaN, not none, not alone."""
        return Doubts(
            *(
                None if column is None else _spread(column, is_read)
                for column in (self.sets, self.typical, self.is_none, self.is_alone)
            )
        )

    @classmethod
    def nothing(cls, levels: Levels, n: int, n_classes: int) -> Doubts:
        """Of n images of which none can be read."""
        none = np.zeros(n, bool)
        return cls(
            None if levels.coverage is None else np.zeros((n, n_classes), bool),
            None if levels.reject is None else np.full(n, np.nan),
            None if levels.reject is None else none,
            None if levels.precision is None else none,
        )

    @classmethod
    def joined(cls, parts: Sequence[Doubts]) -> Doubts:
        """Of the images of all parts, in order; of nothing, nothing."""
        if not parts:
            return cls()
        columns = zip(*((d.sets, d.typical, d.is_none, d.is_alone) for d in parts), strict=True)
        return cls(
            *(None if any(c is None for c in one) else np.concatenate(one) for one in columns)
        )

    def to_dict(self, row: int, classes: Sequence[Any], proba: Floats) -> dict[str, Any]:
        """What ``--json`` adds to the object of one image; the set with the most probable first."""
        found: dict[str, Any] = {}
        if self.sets is not None:
            order = np.argsort(-proba, kind="stable")
            found["set"] = [classes[k] for k in order if self.sets[row, k]]
        if self.typical is not None:
            found["typical"] = round(float(self.typical[row]), 6)
        if self.is_none is not None:
            found["none_of_these"] = bool(self.is_none[row])
        if self.is_alone is not None:
            found["alone"] = bool(self.is_alone[row])
        return found


@dataclass(frozen=True, eq=False)
class Limits:
    """Levels turned into limits, so that a level that cannot be had is refused before any work.

    Attributes
    ----------
    probability : float or (K,) or None
        From which on a class belongs to the set.
    confidence : float or None
        From which on an answer stands alone.
    """

    probability: Any = None
    confidence: Any = None

    @classmethod
    def of(cls, unknown: Unknown, levels: Levels, n_classes: int) -> Limits:
        """UsageError for a level that too few images calibrate."""
        return _limits(unknown, levels, n_classes)


# A server asks for the same levels with every picture.
@lru_cache(maxsize=16)
def _limits(unknown: Unknown, levels: Levels, n_classes: int) -> Limits:
    if levels.reject is not None:
        unknown.require_reject(levels.reject)
    probability = confidence = None
    if levels.coverage is not None:
        probability = unknown.least_probability(
            levels.coverage, n_classes, per_class=levels.per_class
        )
    if levels.precision is not None:
        confidence = unknown.least_confidence(levels.precision)
    return Limits(probability, confidence)


def _spread(column: NDArray[Any], is_read: NDArray[np.bool_]) -> NDArray[Any]:
    blank = np.nan if column.dtype.kind == "f" else False
    found: NDArray[Any] = np.full((len(is_read), *column.shape[1:]), blank, column.dtype)
    found[is_read] = column
    return found
