"""Regret of the default's choice: its log loss and accuracy beside every fixed choice's.

    python benchmarks/choice.py SETS [--packages FOLDER] [--only NAME ...] [--divisions 3]

SETS is a folder for the sets that are made (`choice_sets.py`); the photographs of ``../shared``
join them, whole and in parts. Each is divided three times at random, copies whole; default and
fixed choices learn and are scored on the same division. How far the default's accuracy lies below
the best fixed choice's has a paired 95 % interval (Newcombe's, copies as one); that choice was
picked by the very images, so the interval begins too high, if anything. ``--packages`` holds
emoji-datasource and emoji-datasource-google 16.0.0, as `npm pack` brings them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import choice_sets
import numpy as np
from measure import SHARED

from regraft.evaluation.paired import compare_paired
from regraft.probe.network import Network
from regraft.probe.probe import Probe, network_of
from regraft.record.configuration import RunConfig
from regraft.workflows.lesson import lesson_of
from regraft.workflows.preparation import prepare

Array = np.ndarray
SHARE_OF_TRAIN = 0.7
# Heads that are searched for are left out where the search would take minutes.
MAX_NUMBERS_TO_SEARCH = 3_000
# Of accuracy; so much less than the best fixed choice is not to be had surely.
MOST_POINTS = 2.0
# Name, set, images a class at most, classes at most.
PARTS = [
    ("ants_8", "hymenoptera_data", 8, None), ("cats_10", "cats_dogs", 10, None),
    ("land_4", "ucmerced", 4, None), ("objects_5", "objects", 5, None),
    ("objects_12_kinds", "objects", None, 12), ("signs_8", "gtsrb", 8, None),
    ("emoji_6", "emoji", 6, 40),
]  # fmt: skip


@dataclass(frozen=True)
class Pictures:
    """The features of a set."""

    name: str
    X: Array
    y: Array
    units: Array
    network: Network
    is_fixed: Array | None = None  # rows that only score, where a set's own division is kept

    def divided(self, seed: int, per_class: int | None, n_classes: int | None) -> tuple[Array, ...]:
        """Rows that teach and rows that score, units whole, every class in train."""
        rng = np.random.default_rng([seed, 19])
        train = np.zeros(len(self.y), bool)
        kinds = np.unique(self.y)
        kinds = rng.permutation(kinds)[:n_classes] if n_classes else kinds
        for kind in kinds:
            rows = np.flatnonzero((self.y == kind) & ~self._only_scores)
            units = rng.permutation(np.unique(self.units[rows]))
            wanted = max(1, round(SHARE_OF_TRAIN * len(rows)))
            for unit in units[: max(1, len(units) - 1)]:
                if (train & (self.y == kind)).sum() < wanted:
                    train[rows[self.units[rows] == unit]] = True
        score = np.isin(self.y, kinds) & ~np.isin(self.units, self.units[train])
        if self._only_scores.any():
            score &= self._only_scores
        taught = np.flatnonzero(train)
        if per_class:
            of_class = [rng.permutation(taught[self.y[taught] == kind]) for kind in kinds]
            taught = np.sort(np.concatenate([rows[:per_class] for rows in of_class]))
        return taught, np.flatnonzero(score)

    @property
    def _only_scores(self) -> Array:
        return np.zeros(len(self.y), bool) if self.is_fixed is None else self.is_fixed


def pictures_of(folder: Path) -> Pictures:
    """By the default network; the store knows them the second time."""
    prepared = prepare(RunConfig(str(folder)))
    lesson = lesson_of(prepared)
    X = np.array(prepared.X[:])
    network = network_of(prepared.built)
    units = np.asarray(prepared.copies.unit)
    # Signs come in tracks of one sign; a random division would tell them apart by the track.
    own = np.asarray(lesson.roles.reports) if folder.name == "gtsrb" else None
    return Pictures(folder.name, X, lesson.y, units, network, own)


def fixed_choices(network: Network, n: int, n_classes: int) -> Iterator[Probe]:
    """What a user could ask for."""
    names = tuple(tap.name for tap in network.taps)
    late = (*names[:-1][len(names[:-1]) // 2 :], "final")
    sets = [("final",), ("final", "source"), late, names]
    searched = ("logistic",) if n * n_classes <= MAX_NUMBERS_TO_SEARCH else ()
    for taps in sets:
        for head in ("ridge", "lda", "ncm", *searched):
            yield Probe(taps=taps, head=head)


@dataclass(frozen=True)
class Scored:
    """What a choice was worth on the images that did not teach."""

    loss: float
    is_right: Array

    @property
    def accuracy(self) -> float:
        """Their share."""
        return float(self.is_right.mean())


def scored(probe: Probe, seen: Pictures, train: Array, score: Array) -> Scored:
    """Learnt from some images, asked about others."""
    kinds, y = np.unique(seen.y[train], return_inverse=True)
    fitted = probe.fit(
        seen.X[train], y, network=seen.network, classes=[*map(str, kinds)], units=seen.units[train]
    )
    proba, truth = fitted.proba_of(seen.X[score]), np.searchsorted(kinds, seen.y[score])
    losses = -np.log(np.maximum(proba[np.arange(len(truth)), truth], 1e-12))
    return Scored(float(losses.mean()), proba.argmax(1) == truth)


def below(found: dict[str, Scored], units: Array) -> tuple[float, float, float]:
    """Points of accuracy that the default lies below the best fixed choice, with the interval."""
    best = max((one for label, one in found.items() if label != "default"), key=_accuracy)
    groups = units if len(np.unique(units)) < len(units) else None
    paired = compare_paired(best.is_right, found["default"].is_right, groups=groups).difference
    return 100 * paired.value, 100 * paired.low, 100 * paired.high


def _accuracy(one: Scored) -> float:
    return one.accuracy


def main() -> None:
    """Print a row a division and, at the end, the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("--packages", type=Path, default=Path("packages"))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--divisions", type=int, default=3)
    args = parser.parse_args()
    folders_of_parts = [folder for name, folder, *_ in PARTS if name in args.only]
    made = choice_sets.write(args.sets, args.packages, [*args.only, *folders_of_parts])
    photographs = sorted(p for p in (SHARED / "data").glob("*") if p.is_dir())
    folders = {folder.name: folder for folder in [*photographs, *made]}
    jobs = [(name, name, None, None) for name in folders] + [p for p in PARTS if p[1] in folders]
    rows: list[dict[str, Scored]] = []
    beaten: list[tuple[float, float, float]] = []
    header = f"{'set':20}{'train':>6}{'K':>5}{'default':>15}{'best fixed':>15}{'seconds':>9}"
    print(f"{header}  below, points (95 %)     best in log loss", flush=True)
    if args.only:
        jobs = sorted(
            (j for j in jobs if j[0] in args.only), key=lambda job: args.only.index(job[0])
        )
    for name, folder, per_class, n_classes in jobs:
        seen = replace(pictures_of(folders[folder]), name=name)
        for division in range(args.divisions):
            train, score = seen.divided(division, per_class, n_classes)
            K = len(np.unique(seen.y[train]))
            start = time.perf_counter()
            found = {"default": scored(Probe(), seen, train, score)}
            seconds = time.perf_counter() - start
            for probe in fixed_choices(seen.network, len(train), K):
                label = f"{_short(probe.taps or ())}/{probe.head}"
                found[label] = scored(probe, seen, train, score)
            rows.append(found)
            fixed = {k: v for k, v in found.items() if k != "default"}
            best = min(fixed, key=lambda k: fixed[k].loss)
            most = max(map(_accuracy, fixed.values()))
            ours = found["default"]
            beaten.append(below(found, seen.units[score]))
            points, low, high = beaten[-1]
            print(
                f"{name:20}{len(train):6}{K:5}{ours.loss:9.3f}/{ours.accuracy:.3f}"
                f"{fixed[best].loss:9.3f}/{most:.3f}{seconds:9.2f}"
                f"{points:8.2f} ({low:6.2f} to {high:5.2f})  {best}",
                flush=True,
            )
    _means(rows)
    surely = sum(low > MOST_POINTS for _, low, _ in beaten)
    print(
        f"surely more than {MOST_POINTS:g} points below the best fixed choice: {surely} of "
        f"{len(beaten)} divisions"
    )


def _means(rows: list[dict[str, Scored]]) -> None:
    """Each choice's log loss as a multiple of the best fixed one's, and its points below it."""
    print(
        f"\n{'choice':22}{'log loss':>10}{'/ oracle':>10}{'geometric':>10}"
        f"{'below, points':>15}{'at most':>9}"
    )
    names = [name for name in rows[0] if all(name in row for row in rows)]
    table = []
    for name in names:
        ratio, missed = [], []
        for row in rows:
            fixed = [found for label, found in row.items() if label != "default"]
            ratio.append(row[name].loss / max(min(one.loss for one in fixed), 1e-3))
            missed.append(100 * (max(map(_accuracy, fixed)) - row[name].accuracy))
        loss = np.mean([row[name].loss for row in rows])
        oracle = np.mean(
            [min(one.loss for label, one in row.items() if label != "default") for row in rows]
        )
        table.append((loss / oracle, np.exp(np.mean(np.log(ratio))), name, loss, missed))
    for ratio_of_means, geometric, name, loss, missed in sorted(table, key=lambda row: row[0]):
        print(
            f"{name:22}{loss:10.4f}{ratio_of_means:10.3f}{geometric:10.3f}"
            f"{np.mean(missed):15.2f}{max(missed):9.2f}"
        )
    print(
        "/ oracle: to the mean of the best fixed choice of each division; and mean of such ratios"
    )


def _short(taps: tuple[str, ...]) -> str:
    stages = [tap for tap in taps if tap not in ("final", "source")]
    named = {0: "final", 4: "late"}.get(len(stages), "all")
    return named + ("+source" if "source" in taps else "")


if __name__ == "__main__":
    main()
