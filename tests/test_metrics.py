"""Metrics against scikit-learn, cases by hand, and the properties that every metric must have."""

import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from regraft.evaluation import blocks
from regraft.evaluation import metrics as m
from regraft.evaluation.calibration import softmax
from regraft.evaluation.confusion import Confusion


@st.composite
def predictions(draw, min_classes=2):
    """Truth and probabilities, with ties and absent classes often."""
    n = draw(st.integers(1, 40))
    k = draw(st.integers(min_classes, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y = rng.integers(0, draw(st.integers(1, k)), size=n)
    scores = rng.normal(size=(n, k)).round(draw(st.sampled_from([0, 1, 6])))
    scores[np.arange(n), y] += draw(st.sampled_from([0.0, 1.0, 50.0]))
    return y, softmax(scores)


def quietly(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


@settings(max_examples=80, deadline=None)
@given(predictions())
def test_metrics_agree_with_scikit_learn(case):
    y, p = case
    k = p.shape[1]
    predicted, labels = p.argmax(axis=1), list(range(k))
    confusion = Confusion.of(y, predicted, k)
    assert_array_equal(confusion.matrix, quietly(sk.confusion_matrix, y, predicted, labels=labels))
    precision, recall, f1, _ = quietly(
        sk.precision_recall_fscore_support, y, predicted, labels=labels, zero_division=np.nan
    )
    assert_allclose(m.precision(confusion), precision)
    assert_allclose(m.recall(confusion), recall)
    assert_allclose(m.f1(confusion), f1)
    assert m.accuracy(y, predicted) == pytest.approx(sk.accuracy_score(y, predicted))
    assert m.balanced_accuracy(confusion) == pytest.approx(
        quietly(sk.balanced_accuracy_score, y, predicted)
    )
    assert m.macro_f1(confusion) == pytest.approx(
        quietly(sk.f1_score, y, predicted, average="macro")
    )
    assert m.log_loss(y, p) == pytest.approx(quietly(sk.log_loss, y, p, labels=labels), abs=1e-12)
    one_hot = np.eye(k)[y]
    assert m.brier_scores(y, p).mean() == pytest.approx(
        ((p - one_hot) ** 2).sum(1).mean(), abs=1e-12
    )


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_auroc_agrees_with_scikit_learn_and_with_counting_pairs(case):
    y, p = case
    areas = [m.auroc(y == k, column) for k, column in blocks.iterate_columns(p)]
    for k in range(p.shape[1]):
        positive = y == k
        if positive.all() or not positive.any():
            assert np.isnan(areas[k])
            continue
        a, b = p[positive, k][:, None], p[~positive, k]
        assert areas[k] == pytest.approx(np.mean((a > b) + 0.5 * (a == b)))
        assert areas[k] == pytest.approx(sk.roc_auc_score(positive, p[:, k]))


@settings(max_examples=40, deadline=None)
@given(predictions())
def test_placements_count_pairs_from_both_sides(case):
    y, p = case
    a, b = p[y == 0, 0], p[y != 0, 0]
    above, below = m.placements(a, b)
    if a.size and b.size:
        wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)
        assert_allclose(above, wins.mean(axis=1))
        assert_allclose(below, wins.mean(axis=0), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(predictions(min_classes=3), st.integers(1, 6))
def test_top_k_agrees_with_a_stable_sort(case, k):
    y, p = case
    order = np.argsort(-p, axis=1, kind="stable")[:, :k]
    ranks = m.true_ranks(y, p)
    assert_array_equal(ranks < k, (order == y[:, None]).any(axis=1))
    assert np.mean(ranks < 1) == m.accuracy(y, p.argmax(axis=1))


@settings(max_examples=40, deadline=None)
@given(predictions(), st.randoms(use_true_random=False))
def test_weight_two_is_the_row_twice(case, random):
    y, p = case
    weight = np.array([random.randint(1, 3) for _ in y])
    many_y, many_p = np.repeat(y, weight), np.repeat(p, weight, axis=0)
    assert m.log_loss(y, p, sample_weight=weight) == pytest.approx(m.log_loss(many_y, many_p))
    bins = m.reliability_table(y, p, sample_weight=weight)
    assert bins.ece == pytest.approx(m.reliability_table(many_y, many_p).ece)
    predicted, many_predicted = p.argmax(axis=1), many_p.argmax(axis=1)
    assert m.accuracy(y, predicted, sample_weight=weight) == pytest.approx(
        m.accuracy(many_y, many_predicted)
    )
    k = p.shape[1]
    assert_array_equal(
        Confusion.of(y, predicted, k, sample_weight=weight).matrix,
        Confusion.of(many_y, many_predicted, k).matrix,
    )


def test_brier_agrees_with_scikit_learn_on_several_classes():
    y, p = _random_case()
    found = m.brier_scores(y, p).mean()
    assert found == pytest.approx(sk.brier_score_loss(y, p, labels=[0, 1, 2, 3]))


def test_zero_probability_costs_a_finite_amount():
    y = np.array([0])
    assert m.log_loss(y, np.array([[0.0, 1.0]])) == pytest.approx(36.04, abs=0.01)
    assert m.log_loss(y, np.array([[0.0, 1.0]], np.float32)) == pytest.approx(15.94, abs=0.01)


def test_calibration_error_worked_by_hand():
    # 0.95: 1 of 2 right; 0.65: 1 of 1. ECE = 2/3 * 0.45 + 1/3 * 0.35.
    p = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65]])
    y = np.array([0, 1, 1])
    assert m.reliability_table(y, p).ece == pytest.approx(2 / 3 * 0.45 + 1 / 3 * 0.35)


def test_confidence_on_an_edge_belongs_to_the_bin_below():
    p = np.array([[0.5, 0.5], [1.0, 0.0]])
    assert_array_equal(m.reliability_table(np.array([0, 0]), p, n_bins=2).n, [1, 1])


def test_calibration_error_agrees_with_a_plain_loop():
    y, p = _random_case()
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    total = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    assert m.reliability_table(y, p).ece == pytest.approx(total / len(y))


def test_f1_is_zero_where_all_are_missed_and_undefined_where_there_is_nothing():
    confusion = Confusion.of_matrix([[0, 2, 0], [0, 3, 0], [0, 0, 0]])
    assert_allclose(m.f1(confusion), [0, 0.75, np.nan])
    assert_allclose(m.precision(confusion), [np.nan, 0.6, np.nan])
    assert m.macro_f1(confusion) == pytest.approx(0.375)


def test_the_first_classes_are_those_of_a_stable_sort():
    rng = np.random.default_rng(0)
    for n_classes in (1, 2, 3, 7, 300):
        for digits in (1, 2, 9):
            p = rng.random(n_classes).round(digits)  # equal ones in plenty
            for n in (1, 3, 5):
                assert_array_equal(blocks.first(p, n), np.argsort(-p, kind="stable")[:n])
    assert_array_equal(blocks.first(np.array([0.1, np.nan, 0.3, 0.2]), 2), [2, 3])


def test_blocks_of_rows_and_columns_change_nothing(monkeypatch):
    y, p = _random_case()

    def seen():
        columns = [column.copy() for _, column in blocks.iterate_columns(p)]
        return m.true_ranks(y, p), m.brier_scores(y, p), columns

    whole = seen()
    monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", 10)
    monkeypatch.setattr(blocks, "_FEWEST_COLUMNS", 1)
    in_blocks = seen()
    for a, b in zip(whole, in_blocks, strict=True):
        assert_array_equal(a, b)


def _random_case():
    rng = np.random.default_rng(5)
    y = rng.integers(0, 4, size=120)
    return y, softmax(rng.normal(size=(120, 4)) + 1.5 * np.eye(4)[y])
