"""Curves against scikit-learn, cases by hand, and what thinning may not change."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from regraft.evaluation import curves as c
from regraft.evaluation import metrics
from regraft.evaluation.calibration import softmax
from regraft.evaluation.intervals import wilson_interval


@st.composite
def scored(draw):
    """Which images are of the class, and their scores; ties often, one side missing sometimes."""
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    is_class = rng.random(n) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    score = (rng.normal(size=n) + is_class).round(draw(st.sampled_from([0, 1, 8])))
    return is_class, score


@st.composite
def predicted(draw):
    """Truth and probabilities of 2 to 6 classes, some absent, with ties."""
    n, k = draw(st.integers(1, 60)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y = rng.integers(0, draw(st.integers(1, k)), n)
    scores = rng.normal(size=(n, k)).round(draw(st.sampled_from([0, 1, 8])))
    return y, softmax(scores + draw(st.sampled_from([0.0, 2.0])) * np.eye(k)[y])


def area(roc):
    return float(np.trapezoid(roc.true_positive_rate, roc.false_positive_rate))


def farthest(x, y, xs, ys):
    """Largest distance of any point (x, y) from the line through the points (xs, ys)."""
    distance = np.full(len(x), np.inf)
    for i in range(len(xs) - 1):
        ab = np.array([xs[i + 1] - xs[i], ys[i + 1] - ys[i]])
        ap = np.stack([x - xs[i], y - ys[i]])
        along = np.clip(ab @ ap / max(float(ab @ ab), 1e-30), 0, 1)
        distance = np.minimum(distance, np.hypot(*(ap - ab[:, None] * along)))
    return float(distance.max())


# -- ROC --


@settings(max_examples=100, deadline=None)
@given(scored())
def test_roc_agrees_with_scikit_learn(case):
    is_class, score = case
    curve = c.roc_curve(is_class, score, max_points=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fpr, tpr, _ = sk.roc_curve(is_class, score, drop_intermediate=False)
    assert_allclose(curve.false_positive_rate, fpr)
    assert_allclose(curve.true_positive_rate, tpr)


@settings(max_examples=100, deadline=None)
@given(scored())
def test_area_under_roc_is_the_auroc_that_is_reported(case):
    is_class, score = case
    reported = metrics.auroc(is_class, score)
    assert area(c.roc_curve(is_class, score, max_points=None)) == pytest.approx(
        reported, nan_ok=True
    )
    assert area(c.roc_curve(is_class, score)) == pytest.approx(reported, abs=2e-3, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(scored())
def test_roc_rises_from_one_corner_to_the_other(case):
    is_class, score = case
    curve = c.roc_curve(is_class, score)
    for rate, n in (
        (curve.false_positive_rate, np.sum(~is_class)),
        (curve.true_positive_rate, np.sum(is_class)),
    ):
        if n:
            assert (rate[0], rate[-1]) == (0, 1)
            assert (np.diff(rate) >= 0).all()
        else:
            assert np.isnan(rate).all()


# -- Precision and recall --


@settings(max_examples=100, deadline=None)
@given(scored())
def test_precision_and_recall_agree_with_scikit_learn(case):
    is_class, score = case
    curve = c.precision_recall_curve(is_class, score, max_points=None)
    if not is_class.any():
        assert np.isnan(curve.recall).all()
        return
    precision, recall, _ = sk.precision_recall_curve(is_class, score)
    assert_allclose(curve.precision, precision[::-1])
    assert_allclose(curve.recall, recall[::-1])


# -- Coverage --


def test_coverage_worked_by_hand():
    p_top = np.array([0.95, 0.9, 0.9, 0.6])
    y = np.array([0, 0, 1, 0])  # the third is wrong; two are tied
    curve = c.coverage_curve(y, np.stack([p_top, 1 - p_top], 1))
    assert_allclose(curve.threshold, [0.95, 0.9, 0.6])
    assert_allclose(curve.coverage, [0.25, 0.75, 1])
    assert_allclose(curve.accuracy, [1, 2 / 3, 3 / 4])
    for i, (right, n) in enumerate([(1, 1), (2, 3), (3, 4)]):
        assert (curve.low[i], curve.high[i]) == pytest.approx(wilson_interval(right, n))


@settings(max_examples=60, deadline=None)
@given(predicted())
def test_coverage_agrees_with_keeping_what_reaches_the_threshold(case):
    y, p = case
    curve = c.coverage_curve(y, p, max_points=None)
    top, right = p.max(axis=1), p.argmax(axis=1) == y
    for coverage, accuracy, threshold in zip(
        curve.coverage, curve.accuracy, curve.threshold, strict=True
    ):
        kept = top >= threshold
        assert coverage == pytest.approx(kept.mean())
        assert accuracy == pytest.approx(right[kept].mean())
    assert curve.coverage[-1] == 1
    assert curve.accuracy[-1] == metrics.accuracy(y, p.argmax(axis=1))
    assert (np.diff(curve.coverage) > 0).all()
    assert (np.diff(curve.threshold) < 0).all()
    assert (curve.low <= curve.accuracy).all()
    assert (curve.accuracy <= curve.high).all()


# -- Thinning --


def test_thinned_curves_keep_their_shape():
    rng = np.random.default_rng(0)
    is_class = rng.random(20_000) < 0.3
    score = rng.normal(size=20_000) + 1.5 * is_class
    whole = c.roc_curve(is_class, score, max_points=None)
    thin = c.roc_curve(is_class, score)
    x, y = thin.false_positive_rate, thin.true_positive_rate
    assert len(x) <= c.MAX_POINTS < len(whole.true_positive_rate)
    assert farthest(whole.false_positive_rate, whole.true_positive_rate, x, y) < 2e-3
    # Every thinned point is a point of the curve.
    assert set(zip(x, y, strict=True)) <= set(
        zip(whole.false_positive_rate, whole.true_positive_rate, strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(scored())
def test_short_curves_lose_nothing_that_can_be_seen(case):
    is_class, score = case
    whole = c.precision_recall_curve(is_class, score, max_points=None)
    thin = c.precision_recall_curve(is_class, score)
    if is_class.any():
        assert farthest(whole.recall, whole.precision, thin.recall, thin.precision) <= 5.1e-4
        assert (thin.recall[0], thin.precision[0]) == (0, 1)


def test_a_square_curve_is_three_points():
    is_class = np.arange(1000) < 500
    curve = c.roc_curve(is_class, -np.arange(1000.0))
    assert_array_equal(curve.false_positive_rate, [0, 0, 1])
    assert_array_equal(curve.true_positive_rate, [0, 1, 1])


# -- Temperature --


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 20), st.integers(0, 2**32 - 1))
def test_without_temperature_gives_the_probabilities_before_it(temperature, seed):
    scores = np.random.default_rng(seed).uniform(-1, 1, (12, 5))
    p = softmax(scores, temperature=temperature)
    assert_allclose(c.without_temperature(p, temperature), softmax(scores), rtol=1e-9)


def test_without_temperature_leaves_a_zero_a_zero():
    p = c.without_temperature(np.array([[0.0, 0.25, 0.75], [0.0, 0.0, 1.0]]), 2.0)
    assert_allclose(p, [[0, 0.1, 0.9], [0, 0, 1]])


# -- Refusals --


@pytest.mark.parametrize(
    ("is_class", "score", "match"),
    [
        (np.zeros(0, bool), np.zeros(0), "N of at least 1"),
        (np.zeros(2, bool), np.zeros(3), r"\(2,\) and \(3,\)"),
        (np.zeros(2, bool), np.array([np.nan, 1.0]), "1 of 2 are NaN"),
    ],
)
def test_bad_input_is_refused_with_what_is_wrong(is_class, score, match):
    for function in (c.roc_curve, c.precision_recall_curve):
        with pytest.raises(ValueError, match=match):
            function(is_class, score)
