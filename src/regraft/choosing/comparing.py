"""Several ways on the same images: the best, those that tie with it, the cheapest of these.

Array letters: n images that all ways have scored (with several seeds: of each seed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.choosing.way import Way
from regraft.data.cells import is_missing
from regraft.evaluation.influence import group_codes
from regraft.evaluation.paired import PairedComparison, compare_paired
from regraft.evaluation.rates import estimate_accuracy
from regraft.wording import count, duration, percent

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Row:
    """One way over all seeds.

    Attributes
    ----------
    way : Way
    right : (n,) bool
        Of the images, in one order for all ways.
    accuracy : dict
        ``value``, ``low``, ``high``, ``level``.
    log_loss, seconds, model_mib : float
        Means over the seeds.
    runs : list of str
    is_warm : bool
        Features were kept from an earlier run: the seconds hold no pass.
    """

    way: Way
    right: NDArray[np.bool_]
    accuracy: dict[str, float]
    log_loss: float
    seconds: float
    model_mib: float
    runs: list[str]
    is_warm: bool = False
    keeps_probe: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        own = {"image_size": self.way.image_size, "epochs": self.way.epochs, "look": self.way.look}
        return {
            "way": self.way.method,
            "backbone": self.way.backbone,
            **{name: value for name, value in own.items() if value},
            "accuracy": self.accuracy,
            "log_loss": round(self.log_loss, 6),
            "seconds": round(self.seconds, 2),
            "from_store": self.is_warm,
            "kept_the_probe": self.keeps_probe,
            "model_mib": round(self.model_mib, 1),
            "run": self.runs[0],
            "runs": self.runs,
        }


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows, tests of each against the best, and what to take.

    Attributes
    ----------
    rows : list of Row
    keys : (n,) str
        Which image each place is: with several seeds one image stands in several places.
    lost : list of dict
        Ways that could not be run, and why.
    groups : (n,) or None
        What the images belong to, where the data have groups; None for one on its own.
    """

    rows: list[Row]
    keys: NDArray[np.object_]
    lost: list[dict[str, Any]] = field(default_factory=list)
    groups: Sequence[Any] | None = None

    @property
    def best(self) -> int:
        """The row of the highest accuracy; of equal ones that of the lowest log loss."""
        order = range(len(self.rows))
        return min(order, key=lambda i: (-self.rows[i].right.mean(), self.rows[i].log_loss, i))

    def test(self, a: int, b: int) -> PairedComparison:
        """Row a against row b."""
        together = together_of(self.keys, self.groups)
        return compare_paired(self.rows[a].right, self.rows[b].right, groups=together)

    @property
    def ties(self) -> list[int]:
        """Rows that cannot be told from the best, which is one of them."""
        best = self.best
        others = [i for i in range(len(self.rows)) if i != best]
        return sorted([best, *(i for i in others if self.test(i, best).is_tie)])

    @property
    def take(self) -> int:
        """The cheapest that ties with the best."""
        return min(self.ties, key=lambda i: (self.rows[i].seconds, i))

    @property
    def front(self) -> list[int]:
        """Rows that no other beats in both accuracy and time, the quickest first.

        Examples
        --------
        >>> def row(share, seconds):
        ...     right = np.arange(10) < 10 * share
        ...     return Row(Way(), right, {}, 0.1, seconds, 1, ["r"])
        >>> ranking = Ranking([row(0.9, 5), row(0.8, 9), row(1.0, 60)], np.arange(10).astype(object))
        >>> ranking.front
        [0, 2]
        """  # noqa: E501
        order = sorted(range(len(self.rows)), key=lambda i: (self.rows[i].seconds, i))
        found: list[int] = []
        for i in order:
            if not found or self.rows[i].right.mean() > self.rows[found[-1]].right.mean():
                found.append(i)
        return found

    @property
    def why(self) -> str:
        """What to take, in a sentence."""
        best, take, ties = self.best, self.take, self.ties
        right = percent(self.rows[best].right.mean())
        if len(self.rows) == 1:
            known = "could be run" if self.lost else "was asked for"
            return f"the only way that {known}; {right} right"
        top = f"{self.rows[best].way.name} is highest with {right}"
        if len(ties) == 1:
            return f"{top}, and better than the others by more than chance"
        cheap = self.rows[take]
        n = count(len(set(self.keys)), "image")
        if take == best:
            return f"{top}, and the cheapest of {len(ties)} that {n} cannot tell apart"
        return (
            f"{top}; {n} cannot tell {len(ties)} ways apart, and {cheap.way.name} is the cheapest "
            f"of them: {percent(cheap.right.mean())} in {duration(cheap.seconds)} instead of "
            f"{duration(self.rows[best].seconds)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For ``compare --json``."""
        best = self.best
        tests = []
        for i in range(len(self.rows)):
            if i != best:
                found = self.test(i, best)
                tests.append(
                    {
                        "a": i,
                        "b": best,
                        "difference": found.difference.value,
                        "low": found.difference.low,
                        "high": found.difference.high,
                        "p": found.p_value,
                        "tie": found.is_tie,
                    }
                )
        return {
            "schema": 1,
            "n": len(self.keys),
            "rows": [row.to_dict() for row in self.rows],
            "best": best,
            "take": self.take,
            "pareto": self.front,
            "why": self.why,
            "tests": tests,
            "lost": self.lost,
        }


def together_of(keys: NDArray[np.object_], groups: Sequence[Any] | None) -> list[Any] | None:
    """What counts once: a group, or an image in all its seeds; None if each place stands alone.

    Examples
    --------
    >>> together_of(np.array(["1.jpg", "2.jpg"], object), ["plant", None])
    [('group', 'plant'), ('image', '2.jpg')]
    """
    if groups is None and len(set(keys)) == len(keys):
        return None
    of_each = [None] * len(keys) if groups is None else groups
    return [
        ("image", key) if is_missing(group) else ("group", group)
        for key, group in zip(keys, of_each, strict=True)
    ]


def interval_of(right: NDArray[np.bool_], together: Sequence[Any] | None) -> dict[str, Any]:
    """Accuracy with Wilson's interval, where what belongs together counts as it varies together."""
    codes = group_codes(together, len(right))
    return estimate_accuracy(right, groups=codes, level=LEVEL).to_dict()


def in_common(keys: Sequence[Sequence[str]]) -> list[str]:
    """What all have, in the order of the first."""
    shared = set(keys[0]).intersection(*map(set, keys[1:]))
    return [key for key in dict.fromkeys(keys[0]) if key in shared]
