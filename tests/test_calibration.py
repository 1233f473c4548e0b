"""The fitted temperature is the optimum, follows the scale of the scores, and stays finite."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, special

from regraft.evaluation import blocks, calibration, metrics
from regraft.evaluation.calibration import fit_temperature, softmax


def _scores(n=200, k=4, skill=2.0, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, size=n)
    return rng.normal(size=(n, k)) + skill * np.eye(k)[y], y


def _smoothed_loss(log_t, scores, y):
    """The stated objective, written out: targets 1 - s on the truth, s / (K - 1) elsewhere."""
    n, k = scores.shape
    s = 1 / (n + 2)
    target = np.where(np.eye(k, dtype=bool)[y], 1 - s, s / (k - 1))
    return -np.mean(np.sum(target * special.log_softmax(scores / math.exp(log_t), axis=1), axis=1))


def _stated_bounds(scores):
    spread = math.log((scores - scores.mean(axis=1, keepdims=True)).std())
    return spread - math.log(1000), spread + math.log(1000)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(5, 60),
    st.integers(2, 6),
    st.floats(0.2, 6),
    st.floats(0.05, 20),
    st.integers(0, 2**31),
)
def test_temperature_is_the_minimum_that_scipy_finds(n, k, skill, scale, seed):
    scores, y = _scores(n, k, skill, seed=seed)
    scores *= scale
    found = math.log(fit_temperature(scores, y))
    best = optimize.minimize_scalar(
        _smoothed_loss, bounds=_stated_bounds(scores), args=(scores, y), method="bounded"
    )
    assert _smoothed_loss(found, scores, y) <= best.fun + 1e-7


@pytest.mark.parametrize("scale", [1e-4, 0.1, 1.0, 1e5])
def test_temperature_scales_and_shifts_with_the_scores(scale):
    scores, y = _scores()
    shifted = scale * (scores + np.arange(len(y))[:, None])
    assert fit_temperature(shifted, y) == pytest.approx(scale * fit_temperature(scores, y))


def test_true_logits_get_temperature_one():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(20_000, 3)) * 2
    y = (softmax(logits).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert fit_temperature(logits, y) == pytest.approx(1.0, abs=0.03)


def test_ridge_scores_become_calibrated():
    """Scores about -1 to 1 are far too timid as logits; a temperature near 0.1 to 0.3 mends it."""
    scores, y = _scores(2000, 5, skill=3.0)
    scores = scores / 4
    held_out, truth = scores[1000:], y[1000:]
    temperature = fit_temperature(scores[:1000], y[:1000])
    assert 0.03 < temperature < 0.5
    before = metrics.log_loss(truth, softmax(held_out))
    assert metrics.log_loss(truth, softmax(held_out, temperature=temperature)) < before / 2


@pytest.mark.parametrize(("n", "k"), [(1, 2), (10, 2), (100, 5), (1000, 2)])
def test_perfect_separation_gives_confidence_of_one_error_in_n_plus_two(n, k):
    y = np.arange(n) % k
    p = softmax(np.eye(k)[y], temperature=fit_temperature(np.eye(k)[y], y))
    assert_allclose(p[np.arange(n), y], 1 - 1 / (n + 2), rtol=1e-6)


def test_scores_the_wrong_way_round_end_nearly_uniform():
    scores = np.eye(2)[[1, 0, 1, 0]]
    p = softmax(scores, temperature=fit_temperature(scores, np.array([0, 1, 0, 1])))
    assert_allclose(p, 0.5, atol=1e-3)


@pytest.mark.parametrize("scores", [np.zeros((3, 2)), np.full((3, 4), 0.1), np.ones((3, 1))])
def test_scores_that_are_all_equal_give_one(scores):
    assert fit_temperature(scores, np.zeros(3, dtype=int)) == 1.0


def test_duplicating_all_rows_changes_little_and_order_changes_nothing():
    scores, y = _scores()
    order = np.random.default_rng(0).permutation(len(y))
    assert fit_temperature(scores[order], y[order]) == pytest.approx(fit_temperature(scores, y))


def test_blocks_of_rows_change_nothing(monkeypatch):
    scores, y = _scores()
    whole = fit_temperature(scores, y)
    monkeypatch.setattr(blocks, "_BLOCK_ELEMENTS", 12)
    assert fit_temperature(scores, y) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("scores", "y", "match"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "N of at least 1"),
        (np.zeros((2, 2)), np.zeros(3, int), r"\(2, 2\) and \(3,\)"),
        (np.zeros((2, 2)), np.array([0, 2]), "0 to 1, got 0 to 2"),
        (np.array([[0.0, np.nan]]), np.array([0]), "finite"),
        (np.array([[0.0, np.inf]]), np.array([0]), "finite"),
    ],
)
def test_bad_input_is_refused_with_what_is_wrong(scores, y, match):
    with pytest.raises(ValueError, match=match):
        fit_temperature(scores, y)


def test_softmax_agrees_with_scipy_and_does_not_overflow():
    scores = np.array([[1e4, 0.0, -1e4], [0.1, 0.2, 0.3]])
    assert_allclose(softmax(scores), special.softmax(scores, axis=1))
    assert_allclose(softmax(scores, temperature=0.01).sum(axis=1), 1)
    assert_array_equal(softmax(scores).argmax(axis=1), scores.argmax(axis=1))


def test_softmax_keeps_float32_and_its_input():
    scores = np.ones((2, 3), dtype=np.float32)
    assert softmax(scores, temperature=2.0).dtype == np.float32
    assert_array_equal(scores, 1)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_softmax_refuses_a_temperature_that_is_not_positive(temperature):
    with pytest.raises(ValueError, match="above 0"):
        calibration.softmax(np.zeros((1, 2)), temperature=temperature)
