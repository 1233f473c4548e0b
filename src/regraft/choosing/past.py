"""What this machine's own past runs say of how long work takes: real seconds over reckoned ones.

One small file beside the cache. It is written whole or not at all; a damaged one is set aside, and
bills are then as rough as on a new machine.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regraft.machine import atomic, cache
from regraft.machine.processor import available_cores, precision, processor

FILE = "bills.json"
# Of what is reckoned: ratios to what an earlier version reckoned say nothing.
RECKONING = 2
# So many of the last runs are remembered for each kind of work, and so many kinds.
MOST_KEPT, MOST_KINDS, MOST_MADE = 9, 400, 400
# From where to where a bill may be off where nothing, or next to nothing, is known.
UNKNOWN = (0.6, 1.7)
WIDEN = 1.15
# More or less than that is no property of the work: a clock that jumped, a machine that slept.
LEAST, MOST = 0.02, 50.0


@dataclass(frozen=True)
class Factor:
    """By what reckoned seconds are to be multiplied, from where to where, by how many runs."""

    value: float = 1.0
    low: float = UNKNOWN[0]
    high: float = UNKNOWN[1]
    n: int = 0


@dataclass(eq=False)
class Past:
    """Ratios of past runs by kind of work, and what was made and kept already.

    Examples
    --------
    >>> past = Past()
    >>> for real in (2.0, 2.2, 2.4):
    ...     past.note(("steps full", "steps"), reckoned=1.0, real=real)
    >>> past.factor(("steps full", "steps")).value, past.factor(("steps partial", "steps")).n
    (2.2, 3)
    >>> past.factor(("views",)).n
    0
    """

    ratios: dict[str, list[float]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    note_of_damage: str = ""

    @classmethod
    def read(cls) -> Past:
        """What is kept; nothing of another computer or way of reckoning, nor of a damaged file."""
        path = _place()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["computer"] != _computer():
                return cls()
            return cls(_ratios(content["ratios"]), _names(content["made"]))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls(
                note_of_damage=f"what past runs took cannot be read ({path}): it is begun anew, "
                "and bills are rough until some runs were made"
            )

    def factor(self, kinds: Iterable[str]) -> Factor:
        """Of the first of these kinds, from special to general, of which anything is known."""
        for kind in kinds:
            if found := self.ratios.get(kind):
                value = statistics.median(found)
                spread = UNKNOWN if len(found) < 3 else (min(found) / value, max(found) / value)
                low, high = spread[0] / WIDEN, spread[1] * WIDEN
                return Factor(value, value * min(low, 0.8), value * max(high, 1.25), len(found))
        return Factor()

    def most(self, kinds: Iterable[str]) -> float:
        """The largest ratio that was seen; 1 where nothing is known."""
        return next((max(found) for kind in kinds if (found := self.ratios.get(kind))), 1.0)

    def note(self, kinds: Iterable[str], *, reckoned: float, real: float) -> None:
        """Remember what a piece of work took; what cannot be is not remembered."""
        if not (reckoned > 0 and real > 0 and math.isfinite(real / reckoned)):
            return
        ratio = min(MOST, max(LEAST, real / reckoned))
        for kind in kinds:
            kept = [*self.ratios.pop(kind, []), round(ratio, 4)]
            self.ratios[kind] = kept[-MOST_KEPT:]

    def note_made(self, name: str) -> None:
        """Remember that what a run keeps on disk for the next one of its kind was made."""
        self.made = [other for other in self.made if other != name] + [name]

    def save(self) -> None:
        """Beside the cache; that it cannot be written costs only better bills."""
        content = {
            "schema": 1,
            "computer": _computer(),
            "ratios": dict(list(self.ratios.items())[-MOST_KINDS:]),
            "made": self.made[-MOST_MADE:],
        }
        with contextlib.suppress(OSError, ValueError):
            atomic.write_json(_place(), content)


def _place() -> Path:
    return cache.cache_folder() / FILE


def _computer() -> str:
    return f"{processor()} {available_cores()} {precision()} reckoning {RECKONING}"


def _ratios(kept: Mapping[str, Any]) -> dict[str, list[float]]:
    found = {str(kind): [float(ratio) for ratio in some] for kind, some in kept.items()}
    if not all(LEAST <= ratio <= MOST for some in found.values() for ratio in some):
        raise ValueError("a ratio that cannot be")
    return found


def _names(kept: Any) -> list[str]:
    if not isinstance(kept, list):
        raise TypeError("made must be a list")
    return [str(name) for name in kept]
