"""What a model promises of its doubts, of several levels the one shown, and whether it held.

Both the images that set a level and those that tested it are few, so that a level differs from what
was asked by chance of either. A promise is missed where the difference is beyond both together:
the distances to the ends of the two intervals are added as squares (MOVER; Zou, Donner 2008).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from regraft.evaluation.intervals import score_interval
from regraft.wording import count, percent

Facts = Mapping[str, Any]
# The coverage whose sets are shown; metrics.json has the others.
SHOWN = 0.95


@dataclass(frozen=True)
class Promise:
    """A share that was asked for, and what it came to.

    Attributes
    ----------
    asked : float
    found : dict
        Its ``value``, ``low`` and ``high``.
    n_calibrating : int or None
        Images (or groups of them) that set the level; None if that is not known.
    at_least : bool
        Whether the share should not fall below what was asked; else it should not rise above it.
    """

    asked: float
    found: Facts
    n_calibrating: int | None
    at_least: bool

    @property
    def is_outside(self) -> bool:
        """Whether what was asked lies outside the interval of the tested images alone."""
        found = self.found
        return bool(found["high"] < self.asked if self.at_least else found["low"] > self.asked)

    @property
    def is_missed(self) -> bool:
        """Whether it was missed by more than the images that set and tested it let expect.

        Examples
        --------
        >>> found = {"value": 0.8, "low": 0.7, "high": 0.9}
        >>> [Promise(0.95, found, n, True).is_missed for n in (None, 1000, 20)]
        [True, True, False]
        """
        if not self.is_outside:
            return False
        value, end = self.found["value"], self.found["high" if self.at_least else "low"]
        return bool(math.hypot(end - value, self._of_level()) < abs(value - self.asked))

    def _of_level(self) -> float:
        """How far the level may be from what was asked, on the side of a miss."""
        if not self.n_calibrating:
            return 0.0
        low, high = score_interval(self.asked, self.n_calibrating)
        return float(self.asked - low if self.at_least else high - self.asked)

    @property
    def remark(self) -> str:
        """What to say behind the value and its interval."""
        if self.is_missed:
            return ", below what was asked" if self.at_least else ", above what was asked"
        if self.is_outside:
            images = count(self.n_calibrating or 0, "calibrating image")
            return f", within chance of {images}"
        return ""


def shown_sets(metrics: Facts) -> Facts | None:
    """The prediction sets that stand for all; None if too few images calibrate any."""
    sets = metrics.get("sets") or []
    return next((one for one in sets if one["coverage_asked"] == SHOWN), sets[-1] if sets else None)


def of_sets(sets: Facts) -> Promise:
    """That prediction sets hold the right class."""
    n = sets.get("calibrated_on", {}).get("units")
    return Promise(sets["coverage_asked"], sets["coverage"], n, at_least=True)


def of_alarms(unknown: Facts) -> Promise:
    """That few images of the known classes are called none of these."""
    n = unknown.get("calibrated_on", {}).get("units")
    return Promise(unknown["false_alarms_asked"], unknown["false_alarms"], n, at_least=False)


def shown_alone(metrics: Facts) -> Facts | None:
    """The answers that may stand alone, at the strictest level that lets any; None if none does."""
    found = [one for one in metrics.get("alone") or [] if one["precision"] is not None]
    return found[-1] if found else None


def judged_of_each(metrics: Facts) -> dict[str, dict[str, str]]:
    """What came of each promise at each level that was tested, by the option that asks for it;
    empty where it was kept. For the card of a model, which promises the same again.

    Examples
    --------
    >>> right = {"value": 0.6, "low": 0.4, "high": 0.8}
    >>> judged_of_each({"alone": [{"precision_asked": 0.95, "precision": right}]})["precision"]
    {'0.95': 'where 95 % of answers that stand alone were to be right, 60.0 % (40 to 80 %) were'}
    >>> judged_of_each({"alone": [{"precision_asked": 0.75, "precision": right}]})["precision"]
    {'0.75': ''}
    """
    unknown = metrics.get("unknown") or {}
    return {
        "coverage": {
            str(sets["coverage_asked"]): _of_sets_in_words(sets) if of_sets(sets).is_missed else ""
            for sets in metrics.get("sets") or []
        },
        "reject": {
            str(one["false_alarms_asked"]): _of_alarms_in_words(one)
            if of_alarms(one).is_missed
            else ""
            for one in _alarms_at_each(unknown)
        },
        "precision": {
            str(alone["precision_asked"]): _of_alone_in_words(alone)
            for alone in metrics.get("alone") or []
            if alone["precision"] is not None
        },
    }


def _alarms_at_each(unknown: Facts) -> Iterator[Facts]:
    """False alarms at each level, as they stand of the one that is shown."""
    for level in unknown.get("levels", ()):
        yield {
            "false_alarms_asked": level["asked"],
            "false_alarms": level["false_alarms"],
            "calibrated_on": unknown.get("calibrated_on", {}),
        }


def missed(metrics: Facts) -> Iterator[str]:
    """Each promise that was missed at the level that is shown, with both values.

    Not at any of several levels: judged by four, a model that keeps all of them would be said to
    miss one in 4 to 8 % of tests, by the one in 1 to 3 % (docs/unknown.md).

    Examples
    --------
    >>> sets = {"coverage_asked": 0.95, "coverage": {"value": 0.8, "low": 0.7, "high": 0.9}}
    >>> list(missed({"sets": [sets]}))
    ['sets for 95 % coverage held the right class in 80.0 % (70 to 90 %)']
    >>> sets["coverage"]["high"] = 0.95
    >>> list(missed({"sets": [sets], "unknown": None}))
    []
    """
    sets, unknown = shown_sets(metrics), metrics.get("unknown")
    if sets is not None and of_sets(sets).is_missed:
        yield _of_sets_in_words(sets)
    if unknown and of_alarms(unknown).is_missed:
        yield _of_alarms_in_words(unknown)


def _of_sets_in_words(sets: Facts) -> str:
    asked = f"{100 * sets['coverage_asked']:.4g} %"
    return f"sets for {asked} coverage held the right class in {_with_range(sets['coverage'])}"


def _of_alarms_in_words(unknown: Facts) -> str:
    return (
        f"{_with_range(unknown['false_alarms'])} of the images of known classes are rejected as "
        f"none of these, where at most {100 * unknown['false_alarms_asked']:.4g} % should be"
    )


def _of_alone_in_words(alone: Facts) -> str:
    """Empty where as many are right as were to be."""
    if alone["precision"]["high"] >= alone["precision_asked"]:
        return ""
    return (
        f"where {100 * alone['precision_asked']:.4g} % of answers that stand alone were to be "
        f"right, {_with_range(alone['precision'])} were"
    )


def _with_range(rate: Facts) -> str:
    return f"{percent(rate['value'])} ({100 * rate['low']:.0f} to {100 * rate['high']:.0f} %)"
