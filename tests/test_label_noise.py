"""Wrong labels are told from hard images: by mistakes on the images that a model is surest of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.evaluation.label_noise import label_noise

SHARES = st.sampled_from([0.0, 0.1, 0.2, 0.4])


def asked(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities of three classes, easy to hard, and true labels drawn from them."""
    random = np.random.default_rng(seed)
    proba = random.dirichlet((0.12, 0.12, 0.12), n)
    return proba, np.array([random.choice(3, p=row) for row in proba])


@settings(max_examples=12, deadline=None)
@given(share=SHARES, seed=st.integers(0, 1000))
def test_the_planted_share_is_found_though_every_tenth_image_is_hard(
    share: float, seed: int
) -> None:
    proba, y = asked(4000, seed)
    is_wrong = np.random.default_rng(seed + 1).random(len(y)) < share
    assert 0.05 < (proba.argmax(1) != y).mean() < 0.2  # hard ones, before any label is wrong
    found = label_noise(proba, np.where(is_wrong, (y + 1) % 3, y))
    assert found.n == 1000
    assert found.disagree.value == pytest.approx(share, abs=0.05)
    assert found.disagree.low <= found.disagree.value <= found.disagree.high


def test_where_most_images_are_hard_the_surest_of_the_surest_are_asked() -> None:
    """Hard images are rarely among these, wrong labels are as often as elsewhere."""
    random = np.random.default_rng(5)
    alphas = np.where(np.arange(480)[:, None] < 48, 0.001, 0.1) * np.ones(40)
    proba = np.array([random.dirichlet(alpha) for alpha in alphas])
    y = np.array([random.choice(40, p=row) for row in proba])
    quarter = np.argsort(-proba.max(1))[:120]
    assert (proba.argmax(1) != y)[quarter].mean() > 0.1
    clean = label_noise(proba, y)
    assert (clean.of, clean.n) == (0.0625, 30)
    assert clean.disagree.low < 0.03
    is_wrong = random.random(480) < 0.4
    wrong = label_noise(proba, np.where(is_wrong, (y + 1) % 40, y))
    assert wrong.disagree.low > 0.1


def test_copies_count_once() -> None:
    proba, y = asked(400, 3)
    alone = label_noise(proba, y).disagree
    fivefold = label_noise(
        np.repeat(proba, 5, axis=0), np.repeat(y, 5), units=np.repeat(np.arange(400), 5)
    ).disagree
    assert fivefold.value == pytest.approx(alone.value, abs=0.01)
    assert fivefold.high - fivefold.low == pytest.approx(alone.high - alone.low, rel=0.2)


def test_one_image_and_none() -> None:
    assert label_noise(np.array([[0.2, 0.8]]), np.array([1])).n == 1
    with pytest.raises(ValueError, match="at least one image"):
        label_noise(np.zeros((0, 2)), np.zeros(0, int))
