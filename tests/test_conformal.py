"""Promises by counting: p-values, sets, answers that stand alone; held against MAPIE and crepes."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.errors import UsageError
from regraft.evaluation import conformal
from regraft.evaluation.levels import fewest_all_right, fewest_for, level_of


def drawn(n: int, k: int, seed: int, strength: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of n images of k classes, of which most are right."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    scores = rng.standard_normal((n, k))
    scores[np.arange(n), y] += strength
    p = np.exp(scores)
    return p / p.sum(1, keepdims=True), y


def sets_of(proba: np.ndarray, y: np.ndarray, asked: np.ndarray, coverage: float) -> np.ndarray:
    return conformal.sets(asked, conformal.threshold(proba[np.arange(len(y)), y], coverage))


@pytest.mark.parametrize(
    ("given_", "share"),
    [("95%", 0.95), ("95 %", 0.95), ("0.95", 0.95), (0.95, 0.95), ("2%", 0.02), ("99.9%", 0.999)],
)
def test_percent_and_fraction_are_understood(given_: object, share: float) -> None:
    assert level_of(given_, "--coverage") == pytest.approx(share)


@pytest.mark.parametrize(
    "given_",
    ["0", "1", 0, 1, "100%", "0%", "-3%", "95", 95, "nan", "inf", "", "%", "all", True, None],
)
def test_other_levels_are_refused_with_the_line_to_type(given_: object) -> None:
    with pytest.raises(UsageError, match=r"--reject .*") as refused:
        level_of(given_, "--reject")
    assert "--reject" in refused.value.cure


@pytest.mark.parametrize("given_", [1.5, "1.5", "101%"])
def test_no_cure_is_a_level_that_nobody_means(given_: object) -> None:
    with pytest.raises(UsageError) as refused:
        level_of(given_, "--coverage")
    assert refused.value.cure == "--coverage 95%, or --coverage 0.95"


@pytest.mark.parametrize("n", [1, 2, 8, 19, 49, 99, 500])
def test_the_fewest_images_for_a_level_are_enough_and_one_less_is_not(n: int) -> None:
    level = 1 / (n + 1)  # the least that n images can tell apart
    assert fewest_for(level) == n
    assert fewest_for(level * 0.999) == n + 1


def test_fewest_all_right_is_the_binomial_bound() -> None:
    for precision in (0.5, 0.9, 0.95, 0.99, 0.999):
        n = fewest_all_right(precision)
        assert precision**n <= 0.05 < precision ** (n - 1)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.floats(-6, 6))
def test_a_p_value_is_the_rank_by_definition(values: list[float], value: float) -> None:
    odder = sum(one >= value for one in values)
    found = conformal.p_values(np.array([value]), np.array(values))
    assert found[0] == pytest.approx((odder + 1) / (len(values) + 1))


def test_copies_count_as_one() -> None:
    values, units = np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2])
    copied, of_copies = np.repeat(values, [1, 50, 1]), np.repeat(units, [1, 50, 1])
    asked = np.linspace(0, 4, 9)
    plain = conformal.p_values(asked, values, conformal.weights_of(units))
    assert np.allclose(plain, conformal.p_values(asked, copied, conformal.weights_of(of_copies)))
    for coverage in (0.3, 0.5, 0.7):
        assert conformal.threshold(values, coverage) == conformal.threshold(
            copied, coverage, conformal.weights_of(of_copies)
        )


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize(("n", "k"), [(199, 3), (200, 2), (237, 10)])
def test_sets_are_those_of_mapie(n: int, k: int, coverage: float) -> None:
    classification = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """Its features are its probabilities."""

        def __init__(self, k: int = 2) -> None:
            self.k = k

        def fit(self, X: np.ndarray, y: np.ndarray) -> Given:
            self.classes_ = np.arange(self.k)
            self.is_fitted_ = True
            return self

        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            return X

        def predict(self, X: np.ndarray) -> np.ndarray:
            return X.argmax(1)

    held, y = drawn(n, k, 0)
    y[:k], asked = np.arange(k), drawn(400, k, 1)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = classification.SplitConformalClassifier(
            Given(k).fit(held, y), confidence_level=coverage, conformity_score="lac", prefit=True
        ).conformalize(held, y)
        theirs = oracle.predict_set(asked)[1][:, :, 0]
    assert np.array_equal(sets_of(held, y, asked, coverage), theirs)


@pytest.mark.parametrize("per_class", [False, True])
def test_p_values_are_those_of_crepes(per_class: bool) -> None:
    crepes = pytest.importorskip("crepes")
    held, y = drawn(300, 4, 2)
    asked = drawn(50, 4, 3)[0]
    odd, asked_odd = 1 - held[np.arange(300), y], 1 - asked
    oracle = crepes.ConformalClassifier()
    if per_class:
        oracle.fit(odd, bins=y)
        theirs = np.column_stack(
            [
                oracle.predict_p(asked_odd[:, [k]], bins=np.full(50, k), smoothing=False)[:, 0]
                for k in range(4)
            ]
        )
    else:
        oracle.fit(odd)
        theirs = oracle.predict_p(asked_odd, smoothing=False)
    for k in range(4):
        part = odd[y == k] if per_class else odd
        assert np.allclose(conformal.p_values(asked_odd[:, k], part), theirs[:, k])


@pytest.mark.parametrize("n", [19, 30, 199])
def test_the_mean_coverage_is_what_was_asked(n: int) -> None:
    """Over many draws: between 1 - a and 1 - a + 1 / (n + 1), for any classifier."""
    hits = []
    for seed in range(600):
        proba, y = drawn(n + 50, 5, seed, strength=0.5)
        chosen = sets_of(proba[:n], y[:n], proba[n:], 0.9)
        hits.append(chosen[np.arange(50), y[n:]].mean())
    error = 4 * np.std(hits) / math.sqrt(len(hits))
    assert 0.9 - error <= np.mean(hits) <= 0.9 + 1 / (n + 1) + error


def test_too_few_images_give_every_class() -> None:
    assert conformal.threshold(np.array([0.9] * 18), 0.95) == 0.0
    assert conformal.threshold(np.array([0.9] * 19), 0.95) == 0.9
    assert conformal.threshold(np.zeros(0), 0.5) == 0.0


def test_an_answer_stands_alone_only_where_so_many_are_right() -> None:
    """In the worst case, all thresholds just not good enough, one passes in at most 5 %."""
    rng, passed = np.random.default_rng(0), 0
    for _ in range(400):
        found = conformal.surest(rng.random(600), rng.random(600) < 0.949, 0.95)
        passed += found is not None
    assert passed / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_one_mistake_among_the_surest_does_not_end_the_search() -> None:
    confidence, is_right = np.linspace(1, 0, 3000), np.ones(3000, bool)
    is_right[3] = False
    assert conformal.surest(confidence, is_right, 0.99) == 0.0
    assert conformal.surest(confidence[:299], is_right[:299], 0.99) is None
    assert conformal.surest(confidence[:299], np.ones(299, bool), 0.99) == confidence[298]
    assert conformal.surest(np.zeros(0), np.zeros(0, bool), 0.9) is None


def test_equal_confidences_stand_or_fall_together() -> None:
    confidence = np.repeat([0.9, 0.5], 100)
    is_right = confidence > 0.6
    assert conformal.surest(confidence, is_right, 0.9) == 0.9
