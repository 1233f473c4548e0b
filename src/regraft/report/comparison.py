"""Runs on the same images, side by side: which is better, and whether that can be told at all.

Images are matched by their content, so it does not matter where they lay when each run was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.choosing import kept
from regraft.errors import UsageError
from regraft.evaluation import Estimate
from regraft.evaluation.influence import group_codes
from regraft.evaluation.paired import PairedComparison, compare_paired
from regraft.evaluation.rates import estimate_accuracy
from regraft.report.finished_run import MOST_LISTED, FinishedRun
from regraft.report.rendering import publish, render
from regraft.wording import count, listed

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Against:
    """The first run against another.

    Attributes
    ----------
    other : FinishedRun
    test : PairedComparison
        A is the other run, B the first.
    """

    other: FinishedRun
    test: PairedComparison

    @property
    def words(self) -> str:
        """Which is better, in a sentence."""
        test, difference = self.test, self.test.difference
        numbers = (
            f"{100 * difference.value:+.1f} points ({100 * difference.level:g} % interval "
            f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}, p = {test.p_value:.3f})"
        )
        if test.is_tie:
            return f"a tie: {numbers}; {count(test.n, 'image')} cannot tell them apart"
        return f"{'better' if difference.value > 0 else 'worse'} than the first: {numbers}"


class Comparison:
    """Two or more finished runs over the images that all of them scored.

    Parameters
    ----------
    folders : sequence of at least two paths

    Raises
    ------
    UsageError
        A folder holds no finished run, or the runs have no scored image in common, or do not agree
        on the classes.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self.runs = [FinishedRun(Path(folder)) for folder in folders]
        first = self.runs[0]
        for run in self.runs[1:]:
            self._require_same_classes(first, run)
        self._rows = self._common()

    @staticmethod
    def _require_same_classes(first: FinishedRun, run: FinishedRun) -> None:
        mine, theirs = set(first.content["classes"]), set(run.content["classes"])
        if mine != theirs:
            odd = sorted(mine ^ theirs)[0]
            raise UsageError(
                f"the runs know different classes: {odd!r} is only in one of them",
                place=f"{first.folder} ({len(mine)} classes), {run.folder} ({len(theirs)})",
                cure="compare runs on the same data",
            )

    def _common(self) -> list[NDArray[np.intp]]:
        """For each run the rows of the images that all have scored, in one order."""
        keys = [[bytes(d) for d in run.evidence.digests] for run in self.runs]
        shared = set(keys[0]).intersection(*map(set, keys[1:]))
        if not shared:
            counts = ", ".join(f"{run.folder.name}: {len(k)}" for run, k in zip(self.runs, keys,
                               strict=True))  # fmt: skip
            raise UsageError(
                "the runs have no scored image in common",
                place=counts,
                cure="compare runs that report on the same split of the same data",
            )
        order = [key for key in dict.fromkeys(keys[0]) if key in shared]
        places = [{key: row for row, key in reversed(list(enumerate(k)))} for k in keys]
        return [np.array([place[key] for key in order], np.intp) for place in places]

    @property
    def n(self) -> int:
        """Images that all runs have scored."""
        return len(self._rows[0])

    @property
    def overlap(self) -> list[str]:
        """How many of each run's scored images are compared, in words."""
        found = [f"compared on the {count(self.n, 'image')} that all of them scored"]
        for name, run in zip(self.names, self.runs, strict=True):
            n = len(run.evidence.y)
            if n != self.n:
                found.append(f"{name} scored {n}: its own figure differs")
        if len({run.metrics["data"]["splits"]["train"] for run in self.runs}) > 1:
            found.append("they learnt from different numbers of images")
        return found

    @staticmethod
    def made_by(run: FinishedRun) -> str:
        """Method, network, and what the head sees: where runs differ."""
        chosen = run.metrics["chosen"]
        parts = [kept.method_in_words(run.metrics), run.metrics["backbone"]["name"], chosen["head"]]
        return ", ".join([*parts, "+".join(chosen["taps"])])

    @property
    def names(self) -> list[str]:
        """What tells the runs apart: their folders' names, or where they lie if these are alike."""
        names = [run.folder.name for run in self.runs]
        return names if len(set(names)) == len(names) else [str(run.folder) for run in self.runs]

    def is_right(self, number: int) -> NDArray[np.bool_]:
        """Whether a run has each of the common images right."""
        run, rows = self.runs[number], self._rows[number]
        right: NDArray[np.bool_] = run.is_right[rows]
        return right

    @cached_property
    def against(self) -> list[Against]:
        """Every other run against the first."""
        first = self.is_right(0)
        return [
            Against(run, self._test(self.is_right(k), first))
            for k, run in enumerate(self.runs[1:], 1)
        ]

    def _test(self, a: NDArray[np.bool_], b: NDArray[np.bool_]) -> PairedComparison:
        return compare_paired(a, b, groups=self._groups)

    @cached_property
    def _groups(self) -> list[str] | None:
        """What the common images belong to, by the first run whose data have groups."""
        for run, rows in zip(self.runs, self._rows, strict=True):
            if run.groups is not None:
                return [run.groups[row] for row in rows]
        return None

    def accuracy(self, number: int) -> Estimate:
        """Of a run on the common images, with its interval.

        Where these are all that it scored, it is the run's own, which knows of groups.
        """
        own, right = self.runs[number].metrics["evaluation"]["accuracy"], self.is_right(number)
        if len(self.runs[number].evidence.y) == self.n and own["low"] is not None:
            return Estimate(own["value"], own["low"], own["high"], own["level"])
        return estimate_accuracy(right, groups=group_codes(self._groups, self.n), level=LEVEL)

    @cached_property
    def best(self) -> str:
        """In a sentence: what to take, and what cannot be told from it."""
        right = [self.is_right(k) for k in range(len(self.runs))]
        top = max(range(len(right)), key=lambda k: right[k].mean())
        others = [k for k in range(len(right)) if k != top]
        ties = [k for k in others if self._test(right[top], right[k]).is_tie]
        if not ties:
            return f"{self.names[top]} is the best of these."
        cannot = f"{count(self.n, 'image')} cannot tell them apart"
        if ties == others:
            way = f"{cannot}. Take the simplest."
            if all((right[k] == right[top]).all() for k in ties):
                way = f"right and wrong on the same of the {count(self.n, 'image')}. Take any."
            return f"A tie between {self._named(sorted([top, *ties]))}: {way}"
        worse = [k for k in others if k not in ties]
        tie, are = "ties" if len(ties) == 1 else "tie", "is" if len(worse) == 1 else "are"
        return (
            f"{self.names[top]} has the highest accuracy; {self._named(ties)} {tie} with it: "
            f"{cannot}. {self._named(worse)} {are} worse. Take the simplest of those that tie."
        )

    def _named(self, numbers: Sequence[int]) -> str:
        return listed([self.names[k] for k in numbers])

    @cached_property
    def disputed(self) -> list[dict[str, Any]]:
        """Images on which the first and another run differ, the surest errors first."""
        found = []
        first_right = self.is_right(0)
        for k in range(1, len(self.runs)):
            for place in np.flatnonzero(first_right != self.is_right(k)):
                sides = [self._said(number, int(place)) for number in (0, k)]
                found.append(
                    {
                        "path": self.runs[0].content["reported_paths"][self._rows[0][place]],
                        "label": self.runs[0].content["classes"][
                            self.runs[0].evidence.y[self._rows[0][place]]
                        ],
                        "other": self.names[k],
                        "first_is_right": bool(first_right[place]),
                        "sides": sides,
                        "sureness": max(s["probability"] for s in sides),
                    }
                )
        return sorted(found, key=lambda one: -one["sureness"])

    def _said(self, number: int, place: int) -> dict[str, Any]:
        run, row = self.runs[number], self._rows[number][place]
        code = int(run.said.called[row])
        probability = round(float(run.said.sureness[row]), 4)
        return {"called": run.content["classes"][code], "probability": probability}

    @property
    def classes(self) -> list[dict[str, Any]]:
        """Recall of each class in each run; of very many, where the runs are farthest apart."""
        labels = self.runs[0].content["classes"]
        rows = []
        y, right = self.runs[0].evidence.y[self._rows[0]], map(self.is_right, range(len(self.runs)))
        n = np.bincount(y, minlength=len(labels))
        found = [np.bincount(y, one, minlength=len(labels)) for one in right]
        for code, label in enumerate(labels):
            shares = [float(one[code] / n[code]) if n[code] else None for one in found]
            rows.append({"label": label, "n": int(n[code]), "recall": shares})
        if len(rows) > MOST_LISTED:
            rows = sorted(rows, key=_nearness)[:MOST_LISTED]
        return rows

    def to_dict(self) -> dict[str, Any]:
        """For ``report --json``."""
        return {
            "schema": 1,
            "n": self.n,
            "runs": [
                {
                    "run": str(run.folder),
                    "method": run.metrics["method"],
                    "made_by": self.made_by(run),
                    "accuracy": float(self.is_right(k).mean()),
                    "accuracy_interval": self.accuracy(k).to_dict(),
                    "seconds": run.metrics["seconds"]["total"],
                }
                for k, run in enumerate(self.runs)
            ],
            "against_first": [
                {"run": str(a.other.folder), **a.test.to_dict()} for a in self.against
            ],
            "disputed": self.disputed,
        }


def _nearness(row: Mapping[str, Any]) -> float:
    """Of the runs on one class; 0 where it has no images."""
    shares = [share for share in row["recall"] if share is not None]
    return min(shares) - max(shares) if shares else 0.0


def write(comparison: Comparison, file: Path) -> Path:
    """The page, as one file."""
    return publish(render("comparison.html.j2", of=comparison), file)
