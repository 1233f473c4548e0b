"""How many labels the order of `regraft teach` saves, and how good its list of wrong labels is.

    python benchmarks/teaching.py order [--seeds 10] [--sets ...] [--by ...]
    python benchmarks/teaching.py suspects [--seeds 10] [--sets ...]

order: a pool (a seed is a random 80 % of train) is labelled in twenties, and after every second
label (every fifth above 40) a ridge regression on the final features is scored on the test split:
how many labels until 95 % of the accuracy with all of the pool? All orders have the same
features, the same model and the same pools. Strategies "sk:..." are scikit-activeml's; they need
`pip install --no-deps scikit-activeml makefun iteration_utilities`, which nothing else does.

suspects: of train, 20 labels are changed to another class at random; how many of them stand among
the first 30 of the list that the core offers?
"""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from measure import SHARED, needs_shared

from regraft.evaluation.label_issues import find_label_issues
from regraft.record.configuration import RunConfig
from regraft.teaching.order import AT_ONCE, rows_to_ask
from regraft.teaching.picture import is_held
from regraft.teaching.quick import QuickHead
from regraft.workflows.lesson import lesson_of
from regraft.workflows.preparation import prepare

SETS = ("hymenoptera_data", "cats_dogs", "ucmerced", "gtsrb", "objects")
PENALTY, TEMPERATURE = 0.05, 0.1
ORDERS = ("random", "ours", "sk:margin", "sk:entropy", "sk:typiclust", "sk:coreset", "sk:badge",
          "sk:probcover", "sk:maxherding", "sk:clue", "sk:falcun", "sk:dropquery")  # fmt: skip
Array = Any
# Of directions (N, D), the free rows, the known rows and (N, K) probabilities or None: next rows.
Query = Callable[[Array, Array, Array, Array | None], Array]


class Pool(NamedTuple):
    """What is labelled, and what scores it: directions and codes."""

    Z: Array
    y: Array
    Z_test: Array
    y_test: Array


class Ridge:
    """Least squares on directions; a class that nobody labelled yet is never the answer."""

    def __init__(self, Z: Array, y: Array, n_classes: int) -> None:
        self.Z, Y = Z, np.eye(n_classes)[y]
        self.mean, self.known = Y.mean(axis=0), Y.any(axis=0)
        self.dual = np.linalg.solve(Z @ Z.T + PENALTY * np.eye(len(Z)), Y - self.mean)

    def scores(self, Z: Array) -> Array:
        """(N, K)."""
        return np.where(self.known, Z @ (self.Z.T @ self.dual) + self.mean, -np.inf)

    def proba(self, Z: Array) -> Array:
        """(N, K)."""
        S = self.scores(Z) / TEMPERATURE
        P = np.exp(S - S.max(axis=1, keepdims=True))
        return P / P.sum(axis=1, keepdims=True)


def pool_of(name: str) -> Pool:
    """One set as it is split, its final features as directions."""
    prepared = prepare(RunConfig(str(SHARED / "data" / name)))
    lesson, final = lesson_of(prepared), prepared.built.info.final
    X = np.asarray(prepared.X[:, final.start : final.stop])
    train = lesson.roles.train
    Z = X - X[train].mean(axis=0)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    test = lesson.roles.reports
    return Pool(Z[train], lesson.y[train], Z[test], lesson.y[test])


def part_of(pool: Pool, seed: int) -> Pool:
    """A random 80 %."""
    rows = np.random.default_rng(seed).permutation(len(pool.y))[: int(0.8 * len(pool.y))]
    return pool._replace(Z=pool.Z[rows], y=pool.y[rows])


def labels_needed(pool: Pool, query: Query) -> tuple[int, float]:
    """Labels until 95 % of the full accuracy, and the longest query in seconds."""
    n_classes = int(pool.y.max()) + 1

    def accuracy(rows: Array) -> float:
        answers = Ridge(pool.Z[rows], pool.y[rows], n_classes).scores(pool.Z_test).argmax(axis=1)
        return float((answers == pool.y_test).mean())

    goal = 0.95 * accuracy(np.arange(len(pool.y)))
    order, n, proba, longest = np.empty(0, int), 2, None, 0.0
    while len(order) < len(pool.y):
        free = np.setdiff1d(np.arange(len(pool.y)), order)
        start = time.perf_counter()
        order = np.append(order, query(pool.Z, free, order, proba))
        longest = max(longest, time.perf_counter() - start)
        while n <= len(order):
            if accuracy(order[:n]) >= goal:
                return n, longest
            n += 2 if n < 40 else 5
        if len(np.unique(pool.y[order])) > 1:
            proba = Ridge(pool.Z[order], pool.y[order], n_classes).proba(pool.Z)
    return len(pool.y), longest


def query_of(name: str, pool: Pool, seed: int) -> Query:
    """An order by its name."""
    if name == "random":
        rng = np.random.default_rng(seed)
        return lambda Z, free, known, P: rng.permutation(free)[:AT_ONCE]
    return _ours if name == "ours" else _peer(name, pool, seed)


def _ours(Z: Array, free: Array, known: Array, P: Array | None) -> Array:
    doubt = None
    if P is not None:
        second, first = np.partition(P[free], -2, axis=1)[:, -2:].T
        doubt = 1 - (first - second)
    return free[rows_to_ask(Z[free], Z[known], doubt, min(AT_ONCE, len(free)))]


def _peer(name: str, pool: Pool, seed: int) -> Query:
    """One of scikit-activeml; one that needs a model begins at random."""
    from skactiveml import pool as peers
    from skactiveml.classifier import SklearnClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    options = {"sk:margin": {"method": "margin_sampling"}, "sk:entropy": {"method": "entropy"}}
    kinds = {
        "sk:margin": "UncertaintySampling", "sk:entropy": "UncertaintySampling",
        "sk:typiclust": "TypiClust", "sk:coreset": "CoreSet", "sk:badge": "Badge",
        "sk:probcover": "ProbCover", "sk:maxherding": "MaxHerding", "sk:clue": "Clue",
        "sk:falcun": "Falcun", "sk:dropquery": "DropQuery",
    }  # fmt: skip
    strategy = getattr(peers, kinds[name])(random_state=seed, **options.get(name, {}))
    accepted = inspect.signature(strategy.query).parameters
    argument = next((one for one in ("clf", "estimator") if one in accepted), "")
    needs_model = bool(argument)
    rng, n_classes = np.random.default_rng(seed), int(pool.y.max()) + 1

    class Model(ClassifierMixin, BaseEstimator):
        """The same ridge as scikit-learn has it."""

        def fit(self, X: Array, y: Array) -> Model:
            self.classes_ = np.arange(n_classes)
            self.ridge_ = Ridge(X, y.astype(int), n_classes)
            return self

        def predict_proba(self, X: Array) -> Array:
            return self.ridge_.proba(X)

        def predict(self, X: Array) -> Array:
            return self.predict_proba(X).argmax(axis=1)

    def query(Z: Array, free: Array, known: Array, P: Array | None) -> Array:
        if needs_model and P is None:
            return rng.permutation(free)[:AT_ONCE]
        y = np.full(len(Z), np.nan)
        y[known] = pool.y[known]
        more: dict[str, Any] = {}
        if needs_model:
            model = SklearnClassifier(Model(), classes=np.arange(n_classes))
            model.fit(Z[known], pool.y[known])
            more = {argument: model, f"fit_{argument}": False}
        n = min(AT_ONCE, len(free))
        return np.asarray(strategy.query(X=Z, y=y, candidates=free, batch_size=n, **more))

    return query


def measure_order(sets: list[str], orders: list[str], n_seeds: int) -> None:
    """One line for each set and order: mean, its 95 % interval, the longest query."""
    for name in sets:
        pool = pool_of(name)
        for order in orders:
            runs = []
            for seed in range(n_seeds):
                part = part_of(pool, seed)
                runs.append(labels_needed(part, query_of(order, part, seed)))
            n, seconds = np.array(runs).T
            half = 1.96 * n.std(ddof=1) / np.sqrt(n_seeds)
            row = f"{name:18}{order:15}{n.mean():8.1f} +-{half:6.1f}{seconds.max():9.3f} s"
            print(row, flush=True)


def measure_suspects(sets: list[str], n_seeds: int) -> None:
    """One line for each set: of 20 planted, those in the first 30 of the list, for each seed."""
    for name in sets:
        prepared = prepare(RunConfig(str(SHARED / "data" / name)))
        lesson = lesson_of(prepared)
        rows = lesson.learn
        X, K = np.asarray(prepared.X[rows]), len(lesson.classes)
        held = np.array([is_held(prepared.extraction.digests[row].hex()) for row in rows])
        found = []
        for seed in range(n_seeds):
            rng, y = np.random.default_rng(seed), lesson.y[rows].copy()
            planted = rng.choice(len(y), 20, replace=False)
            y[planted] = (y[planted] + rng.integers(1, K, 20)) % K
            listed = _suspects(prepared.built, X, y, held, lesson.units, tuple(lesson.classes))
            found.append(len(set(listed[:30]) & set(planted.tolist())))
        print(f"{name:18}{len(rows):6} labelled {np.mean(found):6.1f}", found, flush=True)


def _suspects(
    built: Any, X: Array, y: Array, held: Array, units: Array, classes: tuple[str, ...]
) -> list[int]:
    """As `regraft.teaching.lesson` finds them."""
    teach = np.flatnonzero(~held)
    head = QuickHead(built)
    classifier, _ = head.fit(X[teach], y[teach], units[teach], classes, tuple(teach.tolist()))
    P = np.array(classifier.proba_of(X))
    assert classifier.learnt is not None
    P[teach[classifier.learnt.oof_rows]] = classifier.learnt.oof_proba
    return [issue.row for issue in find_label_issues(P, y, only_sure=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["order", "suspects"])
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--by", nargs="+", default=list(ORDERS), choices=ORDERS)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    needs_shared()
    if options.what == "order":
        measure_order(options.sets, options.by, options.seeds)
    else:
        measure_suspects(options.sets, options.seeds)


if __name__ == "__main__":
    main()
