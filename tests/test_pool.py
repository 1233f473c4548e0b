"""Weights of several heads: scipy's optimum, one temperature as a special case, no flattery."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from regraft.evaluation.calibration import fit_temperature
from regraft.probe import scale
from regraft.probe.out_of_fold import log_losses
from regraft.probe.pool import fit_weights, nested_losses

Array = np.ndarray


def heads(seed: int = 0, n: int = 200, n_classes: int = 4) -> tuple[Array, Array]:
    """Three heads: good, less good and noise; and the truth."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    scores = rng.standard_normal((3, n, n_classes))
    for head, skill in enumerate((2.0, 1.0, 0.0)):
        scores[head, np.arange(n), y] += skill
    return scores, y


def smoothed(weights: Array, scores: Array, y: Array) -> float:
    """What is made least, written down plainly."""
    pooled = np.tensordot(weights, scores, 1)
    log_p = pooled - np.log(np.exp(pooled).sum(1, keepdims=True))
    n, n_classes = pooled.shape
    share = 1 / (n + 2)
    target = np.full((n, n_classes), share / (n_classes - 1))
    target[np.arange(n), y] = 1 - share
    return float(-(target * log_p).sum(1).mean())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), n_classes=st.integers(2, 6))
def test_weights_are_those_of_a_general_optimiser(seed: int, n_classes: int) -> None:
    scores, y = heads(seed, 80, n_classes)
    found = fit_weights(scores, y)
    other = minimize(
        smoothed, np.full(3, 0.3), args=(scores, y), bounds=[(0, None)] * 3, method="L-BFGS-B"
    )
    assert (found >= 0).all()
    assert smoothed(found, scores, y) <= other.fun + 1e-5


def test_one_head_gets_its_temperature() -> None:
    scores, y = heads()
    weight = fit_weights(scores[:1], y)
    assert weight[0] == pytest.approx(1 / fit_temperature(scores[0], y), rel=1e-2)


def test_scale_of_a_head_does_not_matter() -> None:
    scores, y = heads()
    plain = fit_weights(scores, y)
    scaled = fit_weights(scores * np.array([1e4, 1e-3, 1])[:, None, None], y)
    np.testing.assert_allclose(scaled * [1e4, 1e-3, 1], plain, rtol=1e-2, atol=1e-3)


def test_heads_that_are_all_right_ask_for_no_infinite_confidence() -> None:
    y = np.arange(12) % 3
    weight = fit_weights(10 * np.eye(3)[y][None], y)
    p = np.exp(weight[0] * 10) / (np.exp(weight[0] * 10) + 2)
    assert p == pytest.approx(1 - 1 / 14, abs=1e-3)


def test_equal_scores_are_no_error() -> None:
    y = np.arange(10) % 2
    assert np.isfinite(fit_weights(np.zeros((2, 10, 2)), y)).all()


@pytest.mark.parametrize("factor", [0.2, 0.97, 1.0, 6.0])
def test_weights_do_not_depend_on_where_the_search_begins(factor: float) -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 5, 300)
    scores = rng.standard_normal((1, 300, 5))
    scores[0, np.arange(300), y] += 2
    cold = fit_weights(scores, y)
    np.testing.assert_allclose(fit_weights(scores, y, start=factor * cold), cold, rtol=2e-6)


def test_nested_losses_do_not_flatter() -> None:
    """Noise is weighted by what it happens to say; nested, that is found out."""
    rng = np.random.default_rng(1)
    nested, fitted = [], []
    for _ in range(30):
        y = rng.integers(0, 2, 40)
        scores = rng.standard_normal((6, 40, 2))
        weights = fit_weights(scores, y)
        nested.append(nested_losses(scores, y, np.arange(40) % 5, weights).mean())
        pooled = np.tensordot(weights, scores, 1)
        fitted.append(log_losses(pooled, y).mean())
    assert np.mean(fitted) < np.log(2) - 0.02
    assert np.mean(nested) >= np.log(2)


def test_a_model_whose_heads_see_the_final_features_twice_is_whole() -> None:
    from regraft.model.loading import _are_of
    from regraft.probe.representation import Block

    known = (Block("blocks.1", 0, 4, True), Block("blocks.1", 4, 8, True),
             Block("final", 8, 12, True))  # fmt: skip
    alone = Block("final", 8, 12, False)
    assert _are_of(known, known)
    assert _are_of((alone, *known), known)
    assert _are_of(known[::-1], known)
    assert not _are_of((*known, known[0]), known)
    assert not _are_of(known[1:], known)
    assert not _are_of((*known, Block("final", 8, 11, True)), known)
    assert not _are_of((*known, Block("blocks.1", 0, 4, False)), known)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000), n_classes=st.integers(2, 6), which=st.integers(0, 2),
    times=st.sampled_from([1e-3, 1.0, 1e4]),
)  # fmt: skip
def test_the_weight_of_one_head_is_a_pool_s_of_one(
    seed: int, n_classes: int, which: int, times: float
) -> None:
    scores, y = heads(seed, 80, n_classes)
    one = times * scores[which]
    (wanted,) = fit_weights(one[None], y)
    for start in (None, 0.5 * wanted, 2 * wanted):
        assert scale.fit_weight(one, y, start=start) == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    fold = np.random.default_rng(seed).integers(0, 5, len(y))
    np.testing.assert_allclose(
        scale.nested_losses(one, y, fold, float(wanted)),
        nested_losses(one[None], y, fold, np.array([wanted])),
        rtol=1e-6, atol=1e-9,
    )  # fmt: skip


def test_one_head_that_says_nothing_has_no_weight() -> None:
    y = np.arange(40) % 4
    for scores in (np.zeros((40, 4)), -5 * np.eye(4)[y]):
        assert scale.fit_weight(scores, y) * np.abs(scores).max() < 1e-6
        losses = scale.nested_losses(scores, y, np.zeros(40, int), scale.fit_weight(scores, y))
        np.testing.assert_allclose(losses, np.log(4), atol=1e-6)
