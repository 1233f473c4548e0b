"""What Regraft's sets and its "none of these" are worth, beside other ways, on real image sets.

    python benchmarks/unknown.py sets DATA...       coverage, size over re-divisions; MAPIE beside
    python benchmarks/unknown.py left-out DATA...   coverage of sets from left-out scores, refitted
    python benchmarks/unknown.py distances DATA...  each class left out once, and far unknowns
    python benchmarks/unknown.py random DATA...     random labels: coverage holds, sets are large

Each DATA is a folder with splits. `distances` compares the distance of Regraft with the detectors
of pytorch-ood by their papers' formulas, on the very same features: MSP (Hendrycks, Gimpel 2017),
energy (Liu et al. 2020), k-th nearest neighbour (Sun et al. 2022), Mahalanobis (Lee et al. 2018)
and ViM (Wang et al. 2022).
"""

from __future__ import annotations

import argparse
import itertools
import os
import warnings
from typing import Any

import numpy as np

from regraft.data.table import ImageTable
from regraft.evaluation import conformal
from regraft.evaluation.calibration import softmax
from regraft.features import extract
from regraft.images import drawn
from regraft.probe.distance import Landmarks, most_landmarks
from regraft.probe.doubts import EVERY, Levels
from regraft.probe.probe import Probe, network_of
from regraft.probe.representation import Representation
from regraft.probe.unknown import landmark_rows
from regraft.record.configuration import RunConfig
from regraft.workflows.lesson import lesson_of
from regraft.workflows.preparation import prepare

LEVELS = (0.9, 0.95)


class Looked:
    """A set that was looked at once: features, codes, units, who teaches and who tests."""

    def __init__(self, data: str) -> None:
        self.name = os.path.basename(os.path.normpath(data))
        prepared = prepare(RunConfig(data=data))
        lesson = lesson_of(prepared)
        self.X, self.y = np.asarray(prepared.X), lesson.y
        self.train, self.test = lesson.roles.train, lesson.roles.reports
        self.unit = prepared.copies.unit
        self.network, self.K = network_of(prepared.built), len(lesson.classes)
        self.built = prepared.built

    def fit(self, rows: np.ndarray, y: np.ndarray | None = None, taps: Any = None) -> Any:
        y = self.y[rows] if y is None else y
        return Probe(taps=taps).fit(
            self.X[rows], y, network=self.network, classes=[str(k) for k in range(self.K)],
            units=self.unit[rows],
        )  # fmt: skip


def without_copies(looked: Looked, rows: np.ndarray, seed: int) -> np.ndarray:
    """One of each unit, in random order."""
    rows = np.random.default_rng(seed).permutation(rows)
    return rows[np.unique(looked.unit[rows], return_index=True)[1]]


def sets(looked: Looked, n_divisions: int) -> None:
    """Split conformal: the probe is fitted once; who calibrates and who is asked is drawn anew."""
    model = looked.fit(np.flatnonzero(looked.train))
    fresh = looked.test & ~np.isin(looked.unit, looked.unit[looked.train])
    rows = without_copies(looked, np.flatnonzero(fresh), 0)
    proba, y = model.proba_of(looked.X[rows]), looked.y[rows]
    for level in LEVELS:
        found = []
        for seed in range(n_divisions):
            order = np.random.default_rng(seed).permutation(len(rows))
            held, asked = order[: len(order) // 2], order[len(order) // 2 :]
            least = conformal.threshold(proba[held, y[held]], level)
            chosen = conformal.sets(proba[asked], least)
            found.append((chosen[np.arange(len(asked)), y[asked]].mean(), chosen.sum(1).mean()))
        coverage, size = np.mean(found, axis=0)
        n = len(rows) // 2
        low, high = level - 0.005, level + 1 / (n + 1) + 0.005
        theirs = mapie_sizes(proba, y, level, 5)
        print(
            f"{looked.name:18s} split {level:.2f}: coverage {coverage:.4f} (allowed {low:.4f} to "
            f"{high:.4f}), size {size:.3f}; MAPIE "
            + ", ".join(f"{name} {value:.3f}" for name, value in theirs.items()),
            flush=True,
        )


def mapie_sizes(proba: np.ndarray, y: np.ndarray, level: float, n: int) -> dict[str, float]:
    """Mean size of MAPIE's sets on the same scores, and of ours, over n divisions."""
    from mapie.classification import SplitConformalClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    K = proba.shape[1]

    class Given(ClassifierMixin, BaseEstimator):
        def __init__(self) -> None:
            self.classes_, self.is_fitted_ = np.arange(K), True

        def fit(self, X: Any, y: Any) -> Any:
            return self

        def predict_proba(self, X: Any) -> Any:
            return X

        def predict(self, X: Any) -> Any:
            return X.argmax(1)

    found: dict[str, list[float]] = {}
    for seed in range(n):
        order = np.random.default_rng(seed).permutation(len(y))
        held, asked = order[: len(y) // 2], order[len(y) // 2 :]
        least = conformal.threshold(proba[held, y[held]], level)
        found.setdefault("ours", []).append(conformal.sets(proba[asked], least).sum(1).mean())
        for score in ("lac", "aps", "raps"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    oracle = SplitConformalClassifier(
                        Given(), confidence_level=level, conformity_score=score, random_state=0
                    ).conformalize(proba[held], y[held])
                    size = oracle.predict_set(proba[asked])[1][:, :, 0].sum(1).mean()
                except ValueError:  # too few images for its own split
                    size = np.nan
            found.setdefault(score, []).append(size)
    return {name: float(np.mean(values)) for name, values in found.items()}


def left_out(looked: Looked, n_divisions: int) -> None:
    """Left-out scores: a new probe on every division, its taps those of the first."""
    everything = without_copies(looked, np.flatnonzero(looked.train | looked.test), 0)
    n = int(looked.train.sum() / (looked.train | looked.test).sum() * len(everything))
    taps = looked.fit(np.flatnonzero(looked.train)).representation.taps
    found: dict[float, list[tuple[float, float]]] = {level: [] for level in LEVELS}
    alarms: list[list[float]] = []
    for seed in range(n_divisions):
        order = np.random.default_rng(seed).permutation(everything)
        model = looked.fit(order[:n], taps=taps)
        X, y = looked.X[order[n:]], looked.y[order[n:]]
        for level in LEVELS:
            chosen = model.answers_of(X, Levels(coverage=level))[1].sets
            hit = chosen[np.arange(len(y)), y].mean()
            found[level].append((hit, chosen.sum(1).mean()))
        typical = model.answers_of(X, EVERY)[1].typical
        alarms.append([(typical <= share).mean() for share in (0.02, 0.05, 0.1)])
    for level in LEVELS:
        coverage, size = np.mean(found[level], axis=0)
        print(
            f"{looked.name:18s} left-out {level:.2f}: coverage {coverage:.4f} (at least "
            f"{level - 0.01:.3f}), size {size:.3f}; {n_divisions} divisions", flush=True,
        )  # fmt: skip
    shown = ", ".join(f"{value:.4f}" for value in np.mean(alarms, axis=0))
    print(f"{looked.name:18s} false alarms at 2 %, 5 %, 10 %: {shown}", flush=True)


def random_labels(looked: Looked, n_divisions: int) -> None:
    """Labels that say nothing."""
    rows = without_copies(looked, np.flatnonzero(looked.train), 0)
    asked = without_copies(looked, np.flatnonzero(looked.test), 0)
    found = []
    for seed in range(n_divisions):
        rng = np.random.default_rng(seed)
        model = looked.fit(rows, rng.integers(0, looked.K, len(rows)), taps=("final",))
        truth = rng.integers(0, looked.K, len(asked))
        chosen = model.answers_of(looked.X[asked], Levels(coverage=0.9))[1].sets
        found.append((chosen[np.arange(len(truth)), truth].mean(), chosen.sum(1).mean()))
    coverage, size = np.mean(found, axis=0)
    print(f"{looked.name:18s} random labels 0.90: coverage {coverage:.3f}, size {size:.1f} of "
          f"{looked.K}", flush=True)  # fmt: skip


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    order = np.sort(known)
    places = np.searchsorted(order, unknown, "left") + np.searchsorted(order, unknown, "right")
    return float(places.mean() / 2 / len(order))


def oddness(model: Any, X: np.ndarray, y: np.ndarray, asked: np.ndarray) -> dict[str, Any]:
    """How odd each asked image is, by every way; larger is odder."""
    Z, Q = (model.representation(part).astype(np.float64) for part in (X, asked))
    scores = model.head.scores(Q.astype(np.float32))
    logits = scores / model.temperature
    top = logits.max(1)
    energy = -(top + np.log(np.exp(logits - top[:, None]).sum(1)))
    near = np.sort((Q**2).sum(1)[:, None] + (Z**2).sum(1) - 2 * Q @ Z.T, axis=1)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    cosine = np.sort(unit(Q) @ unit(Z).T, axis=1)
    found = {
        "MSP": -softmax(logits).max(1), "energy": energy, "max score": -scores.max(1),
        "kNN 1": near[:, 0], "kNN 10": near[:, 9], "kNN cosine 1": -cosine[:, -1],
    }  # fmt: skip
    means = np.stack([Z[y == k].mean(0) for k in np.unique(y)])
    within = Z - means[np.searchsorted(np.unique(y), y)]
    values, vectors = np.linalg.eigh(within.T @ within / len(y))
    keep = values > values[-1] * 1e-9
    white = vectors[:, keep] / np.sqrt(values[keep])
    found["Mahalanobis"] = (
        ((Q @ white)[:, None] - (means @ white)[None]) ** 2
    ).sum(-1).min(1) if len(Q) * len(means) * keep.sum() < 4e8 else np.array(
        [((row @ white - means @ white) ** 2).sum(1).min() for row in Q]
    )  # fmt: skip
    values, vectors = np.linalg.eigh(Z.T @ Z)
    for d in (64, 256):
        if d < min(Z.shape):
            rest = vectors[:, :-d]
            residual, own = (np.linalg.norm(rows @ rest, axis=1) for rows in (Q, Z))
            alpha = (model.head.scores(Z.astype(np.float32)) / model.temperature).max(1).mean()
            alpha = alpha or 1.0  # scores of a single class say nothing
            found[f"ViM {d}"] = residual * alpha / own.mean() + energy
    found["Regraft's distance"] = model.unknown.distance.log(Q)
    found["Regraft"] = model.unknown.oddness(Q, scores)
    return found


class OneClass:
    """What is left of two classes without one: a distance, and scores that say nothing."""

    temperature = 1.0

    def __init__(self, looked: Looked, rows: np.ndarray, taps: Any) -> None:
        network = looked.network
        self.representation = Representation.fit(
            looked.X[rows], taps, network.taps, source=network.source
        )
        Z = self.representation(looked.X[rows])
        self.distance = Landmarks.of(
            Z[landmark_rows(len(Z), most_landmarks(Z.shape[1]), 0)]
        ).distance
        self.head = self.unknown = self

    def scores(self, Z: np.ndarray) -> np.ndarray:
        return np.zeros((len(Z), 1), np.float32)

    def oddness(self, Z: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return self.distance.log(Z)


def distances(looked: Looked, others: list[Looked], n_classes: int) -> dict[str, list[float]]:
    """AUROC by every way: classes left out, then far pictures."""
    codes = np.random.default_rng(0).permutation(looked.K)[:n_classes]
    taps = looked.fit(np.flatnonzero(looked.train)).representation.taps
    near: dict[str, list[float]] = {}
    for code in codes:
        rows = np.flatnonzero(looked.train & (looked.y != code))
        kept = looked.test & (looked.y != code)
        names, y = np.unique(looked.y[rows], return_inverse=True)
        if len(names) == 1:
            model = OneClass(looked, rows, taps)
        else:
            model = Probe(taps=taps).fit(
                looked.X[rows], y, network=looked.network, classes=[str(k) for k in names],
                units=looked.unit[rows],
            )  # fmt: skip
        strange = looked.X[looked.y == code]
        for name, odd in oddness(
            model, looked.X[rows], y, np.concatenate([looked.X[kept], strange])
        ).items():
            near.setdefault(name, []).append(auroc(odd[: kept.sum()], odd[kept.sum() :]))
    model = looked.fit(np.flatnonzero(looked.train), taps=taps)
    far_sets = [made(looked)] + [other.X[other.test][:60] for other in others]
    own = looked.X[looked.test]
    odd = oddness(
        model, looked.X[looked.train], looked.y[looked.train], np.concatenate([own, *far_sets])
    )
    ends = np.cumsum([len(own), *map(len, far_sets)])
    far = {
        name: [auroc(values[: len(own)], values[a:b]) for a, b in itertools.pairwise(ends)]
        for name, values in odd.items()
    }
    for name in odd:
        shown = f"{np.mean(near[name]):.3f}" if name in near else "  -  "
        print(
            f"{looked.name:18s} {name:30s} near {shown}  far {np.mean(far[name]):.3f}", flush=True
        )
    return {n: [np.mean(near[n]) if n in near else np.nan, np.mean(far[n])] for n in odd}


def made(looked: Looked) -> np.ndarray:
    """Features of noise, waves, checks and clouds, as `train` has them."""
    return extract.through_store(ImageTable.from_paths(drawn.pictures()), looked.built).X


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["sets", "left-out", "distances", "random"])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--divisions", type=int, default=200)
    parser.add_argument("--classes", type=int, default=8)
    options = parser.parse_args()
    all_of_them = [Looked(data) for data in options.data]
    if options.what == "distances":
        rows = [
            distances(one, [other for other in all_of_them if other is not one], options.classes)
            for one in all_of_them
        ]
        for name in rows[0]:
            near, far = np.nanmean([row.get(name, [np.nan] * 2) for row in rows], axis=0)
            print(f"{'mean':18s} {name:30s} near {near:.3f}  far {far:.3f}")
        return
    stories = {"sets": sets, "left-out": left_out, "random": random_labels}
    for one in all_of_them:
        stories[options.what](one, options.divisions)


if __name__ == "__main__":
    main()
