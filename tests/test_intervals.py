"""Intervals against printed values, brute force, and how often they hold a known truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from regraft.evaluation import calibration_error
from regraft.evaluation import metrics as m
from regraft.evaluation.auroc import _delong, estimate_auroc
from regraft.evaluation.calibration import softmax
from regraft.evaluation.calibration_error import estimate_ece
from regraft.evaluation.confusion import Confusion
from regraft.evaluation.influence import group_codes
from regraft.evaluation.intervals import Estimate, wilson_interval
from regraft.evaluation.mean_loss import estimate_mean
from regraft.evaluation.rates import (
    estimate_accuracy,
    estimate_balanced_accuracy,
    estimate_f1,
    estimate_macro_f1,
)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_printed_values(right, n, low, high):
    assert_allclose(wilson_interval(right, n), (low, high), atol=5e-5)


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_agrees_with_scipy_and_holds_the_value(n, share, level):
    right = round(share * n)
    low, high = wilson_interval(right, n, level=level)
    assert 0 <= low <= right / n <= high <= 1
    expected = stats.binomtest(right, n).proportion_ci(level, method="wilson")
    assert_allclose((low, high), (expected.low, expected.high), atol=1e-12)


@pytest.mark.parametrize(("right", "n"), [(3, 2), (-1, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(right, n):
    with pytest.raises(ValueError, match=f"got {right} of {n}"):
        wilson_interval(right, n)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_level_must_be_a_fraction(level):
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        wilson_interval(1, 2, level=level)


def test_groups_of_one_image_change_nothing_for_a_perfect_score_and_little_else():
    hits = np.ones(30, dtype=bool)
    alone = np.arange(30)
    assert estimate_accuracy(hits, groups=alone) == estimate_accuracy(hits)
    hits[:6] = False
    a, b = (estimate_accuracy(hits, groups=g) for g in (alone, None))
    assert a.low == pytest.approx(b.low, abs=0.01)


def test_copies_of_an_image_in_one_group_add_no_certainty():
    hits = np.arange(40) < 33
    once = estimate_accuracy(hits, groups=np.arange(40))
    copied = estimate_accuracy(np.repeat(hits, 5), groups=np.repeat(np.arange(40), 5))
    assert_allclose((copied.low, copied.high), (once.low, once.high))
    naive = estimate_accuracy(np.repeat(hits, 5))
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_perfect_score_on_one_group_is_worth_one_image():
    one = estimate_accuracy(np.ones(50, bool), groups=np.zeros(50, int))
    assert (one.low, one.high) == pytest.approx(wilson_interval(1, 1))


def test_f1_limits_are_those_of_the_fraction_behind_it():
    y = np.array([0] * 10 + [1] * 10)
    predicted = np.array([0] * 8 + [1] * 2 + [1] * 9 + [0])
    first, _ = estimate_f1(y, predicted, 2)
    low, high = wilson_interval(8, 11)  # 8 both, 2 missed, 1 false
    assert first.value == pytest.approx(16 / 19)
    assert_allclose((first.low, first.high), (2 * low / (1 + low), 2 * high / (1 + high)))


def test_balanced_accuracy_of_equal_classes_is_as_sure_as_accuracy():
    y = np.repeat([0, 1], 50)
    predicted = y.copy()
    predicted[[0, 1, 2, 50, 51, 52]] ^= 1
    estimate = estimate_balanced_accuracy(y, predicted, Confusion.of(y, predicted, 2), groups=None)
    assert_allclose((estimate.low, estimate.high), wilson_interval(94, 100), atol=2e-3)


def test_balanced_accuracy_is_no_surer_than_its_rare_class():
    y = np.repeat([0, 1], [1000, 2])
    estimate = estimate_balanced_accuracy(y, y, Confusion.of(y, y, 2), groups=None)
    assert estimate.value == 1
    assert estimate.low < 0.7


def test_macro_f1_influence_is_its_derivative():
    """The delta variance agrees with resampling a large confusion matrix."""
    rng = np.random.default_rng(0)
    y = rng.choice(3, 2000, p=[0.6, 0.3, 0.1])
    predicted = np.where(rng.random(2000) < 0.8, y, rng.integers(0, 3, 2000))
    confusion = Confusion.of(y, predicted, 3)
    draws = rng.multinomial(2000, confusion.matrix.ravel() / 2000, size=800).reshape(-1, 3, 3)
    spread = np.std([m.macro_f1(Confusion.of_matrix(c)) for c in draws])
    estimate = estimate_macro_f1(y, predicted, confusion, groups=None)
    assert (estimate.high - estimate.low) / (2 * 1.96) == pytest.approx(spread, rel=0.1)


def _delong_by_brute_force(positives, negatives):
    """Area and variance from the definition: all m x n pairs (DeLong et al. 1988, eq. 3-5)."""
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    above, below = wins.mean(axis=1), wins.mean(axis=0)
    variance = above.var(ddof=1) / len(positives) + below.var(ddof=1) / len(negatives)
    return wins.mean(), variance


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 10**6), st.sampled_from([1, 8]))
def test_delong_agrees_with_all_pairs(n_positive, n_negative, seed, digits):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=n_positive + n_negative).round(digits)
    scores[:n_positive] += 0.5
    is_positive = np.arange(len(scores)) < n_positive
    shuffled = rng.permutation(len(scores))
    area, variance, influence = _delong(is_positive[shuffled], scores[shuffled], None)
    expected = _delong_by_brute_force(scores[:n_positive], scores[n_positive:])
    assert_allclose((area, variance), expected, atol=1e-12)
    assert abs(influence.sum()) < 1e-9


def test_auroc_interval_is_delongs_on_the_logit_scale():
    y, p = _case(80, 2, skill=1.0)
    macro, (first, second) = estimate_auroc(y, p)
    area, variance = _delong_by_brute_force(p[y == 1, 1], p[y == 0, 1])
    half = 1.959964 * math.sqrt(variance) / (area * (1 - area))
    odds = math.log(area / (1 - area))
    expected = [1 / (1 + math.exp(-(odds + sign * half))) for sign in (-1, 1)]
    assert_allclose((second.low, second.high), expected, rtol=1e-5)
    assert first.value == pytest.approx(second.value) == pytest.approx(macro.value)
    assert macro.low == pytest.approx(second.low, abs=5e-3)


def test_perfect_separation_is_as_sure_as_its_smaller_side():
    y = np.array([0] * 100 + [1] * 5)
    p = np.column_stack([1.0 - y, y])
    macro, (_, second) = estimate_auroc(y, p)
    for estimate in (macro, second):
        assert (estimate.low, estimate.high) == pytest.approx(wilson_interval(5, 5))


def test_grouped_auroc_is_wider_when_groups_are_copies():
    y, p = _case(60, 3, skill=1.0)
    once, _ = estimate_auroc(y, p, groups=np.arange(60))
    groups = np.repeat(np.arange(60), 4)
    copied, _ = estimate_auroc(np.repeat(y, 4), np.repeat(p, 4, axis=0), groups=groups)
    assert_allclose((copied.low, copied.high), (once.low, once.high))


def test_mean_of_a_symmetric_value_has_the_normal_interval():
    values = np.array([1.0, 2.0, 3.0] * 40)
    estimate = estimate_mean(values)
    half = 1.959964 * values.std(ddof=1) / math.sqrt(120)
    assert_allclose((estimate.low, estimate.high), (2 - half, 2 + half), rtol=1e-3)


def test_one_image_or_one_group_says_nothing_about_the_mean():
    assert estimate_mean(np.array([0.3]), upper=2.0) == Estimate(0.3, 0.0, 2.0)
    one_group = estimate_mean(np.array([0.25, 0.75]), groups=np.array([0, 0]), upper=2.0)
    assert one_group == Estimate(0.5, 0.0, 2.0)


def test_equal_losses_have_no_width():
    estimate = estimate_mean(np.full(10, 0.1))
    assert (estimate.low, estimate.high) == pytest.approx((0.1, 0.1))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(0, 36), min_size=1, max_size=30),
    st.booleans(),
    st.sampled_from([0.5, 0.95, 0.999]),
)
def test_mean_interval_holds_the_value_and_stays_in_range(values, grouped, level):
    values = np.array(values)
    groups = np.arange(len(values)) // 2 if grouped else None
    estimate = estimate_mean(values, groups=groups, upper=36.0, level=level)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 36.0 + 1e-12


def test_group_codes_keep_order_and_let_none_stand_alone():
    assert group_codes(np.array(["b", "a", "b"]), 3).tolist() == [0, 1, 0]
    assert group_codes([None, None], 2).tolist() == [0, 1]
    assert group_codes(None, 2) is None
    with pytest.raises(ValueError, match="one group per image, got 2 for 3"):
        group_codes(["a", "b"], 3)


def test_calibration_error_interval_knows_its_bias():
    """Perfect probabilities: the error seen is above 0, and the interval goes down to 0."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        p = rng.uniform(0.5, 1, size=100)
        y = (rng.random(100) > p).astype(int)
        proba = np.column_stack([p, 1 - p])
        held += _ece(y, proba).low < 0.01
    assert held >= 54


def test_calibration_error_far_from_zero_is_seen():
    p = np.full(200, 0.99)
    y = (np.arange(200) % 2).astype(int)
    estimate = _ece(y, np.column_stack([p, 1 - p]))
    assert estimate.value == pytest.approx(0.49)
    assert 0.4 < estimate.low < 0.45 < 0.53 < estimate.high < 0.6


def test_calibration_error_of_copies_in_groups_is_wider():
    y, p = _case(60, 3, skill=1.0)
    plain = _ece(np.repeat(y, 5), np.repeat(p, 5, axis=0))
    grouped = _ece(np.repeat(y, 5), np.repeat(p, 5, axis=0), groups=np.repeat(np.arange(60), 5))
    assert grouped.high - grouped.low > 1.3 * (plain.high - plain.low)


def test_blocks_of_draws_are_bounded(monkeypatch):
    y, p = _case(60, 3, skill=1.0)
    monkeypatch.setattr(calibration_error, "_BLOCK_DRAWS", 200)
    estimate = _ece(y, p, groups=np.arange(60) // 2)
    assert estimate.low <= estimate.value <= estimate.high


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_hold_the_truth_about_as_often_as_they_say(clustered):
    """300 splits of 60 units. Wilson, Hall, with and without groups: 95 % give or take noise."""
    rng = np.random.default_rng(1)
    truth_rate, truth_mean = 0.85, 0.5
    held_rate = held_mean = 0
    for _ in range(300):
        units = rng.random(60)
        copies = 3 if clustered else 1
        values = np.repeat(-truth_mean * np.log(rng.random(60)), copies)
        hits = np.repeat(units < truth_rate, copies)
        groups = np.repeat(np.arange(60), copies) if clustered else None
        rate = estimate_accuracy(hits, groups=groups)
        mean = estimate_mean(values, groups=groups)
        held_rate += rate.low <= truth_rate <= rate.high
        held_mean += mean.low <= truth_mean <= mean.high
    assert 0.91 <= held_rate / 300 <= 0.99
    assert 0.91 <= held_mean / 300 <= 0.99


def _ece(y, p, **kwargs):
    bins = p.argmax(1) == y, *m.binned(p.max(1), 15)
    return estimate_ece(m.reliability_table(y, p), *bins, **kwargs)


def _case(n, k, *, skill):
    rng = np.random.default_rng(9)
    y = rng.integers(0, k, size=n)
    return y, softmax(rng.normal(size=(n, k)) + skill * np.eye(k)[y])
