"""A system whose rows have changed a little is that of a new decomposition of the rows of now.

Tolerance 1e-6 of scores whose classes lie about 1 apart: the rows are float32.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.features.engine import Tap
from regraft.probe import hat, ridge
from regraft.probe.changed_rows import with_rows
from regraft.probe.discriminant import Discriminant
from regraft.probe.hat import STRENGTHS
from regraft.probe.network import Network
from regraft.probe.ridge import RidgeSystem
from regraft.teaching import quick
from regraft.teaching.quick import MOST_CHANGED, QuickHead

Array = Any
N, D, K = 120, 12, 4


def rows_of(seed: int = 0, n: int = N) -> tuple[Array, Array, Array]:
    """Rows of unit mean square length, their classes, and folds of one to three rows."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % K)
    Z = rng.normal(size=(n, D)) + 1.5 * rng.normal(size=(K, D))[y]
    Z /= np.sqrt(np.square(Z - Z.mean(0)).sum(axis=1).mean())
    return Z.astype(np.float32), y, rng.integers(0, n // 2, n)


def built(Z: Array, y: Array, folds: Array, n_classes: int = K) -> RidgeSystem:
    return RidgeSystem.build(lambda: iter([Z]), y, n_classes=n_classes, folds=folds)


def changed(
    Z: Array, y: Array, folds: Array, before: Array, now: Array, n_classes: int = K
) -> RidgeSystem | None:
    """From the system of the rows `before` to that of the rows `now`."""
    row_of = {row: place for place, row in enumerate(before.tolist())}
    new = [row for row in now.tolist() if row not in row_of]
    row_of |= {row: len(before) + place for place, row in enumerate(new)}
    places = np.array([row_of[row] for row in now.tolist()], np.intp)
    system = built(Z[before], np.arange(len(before)) % 2, folds[before], 2)  # labels are of now
    return with_rows(system, Z[new], places, y[now], folds[now], n_classes)


def assert_same(found: RidgeSystem | None, anew: RidgeSystem, strength: float) -> None:
    assert found is not None
    assert np.array_equal(found.judged_rows, anew.judged_rows)
    close = {"rtol": 1e-5, "atol": 1e-6}
    both = [found, anew]
    for a, b in [
        [system.left_out_scores(strength) for system in both],
        [system.head(strength).weight for system in both],
        [system.head(strength).bias for system in both],
        [system.hat.explained(strength) / len(found.y) for system in both],
    ]:
        np.testing.assert_allclose(a, b, **close)
    of_lda = [Discriminant.of(system, strength) for system in both]
    size = max(1.0, float(np.abs(of_lda[1].left_out()).max()))
    for a, b in [
        [one.left_out() / size for one in of_lda],
        [one.head(0.5).weight / size for one in of_lda],
        [one.head(0.5).bias / size for one in of_lda],
    ]:
        np.testing.assert_allclose(a, b, **close)


@pytest.mark.parametrize("strength", STRENGTHS[::4])
def test_rows_that_come_and_go_are_as_if_decomposed_anew(strength: float) -> None:
    Z, y, folds = rows_of()
    every = np.arange(N)
    for before, now in [
        (every, every[1:]), (every[:-1], every), (every[:100], every[5:]),
        (every, every), (every[20:], every[::-1]),
    ]:  # fmt: skip
        found = changed(Z, y, folds, before, now)
        assert_same(found, built(Z[now], y[now], folds[now]), strength)


def test_a_class_may_come_or_go_with_its_rows() -> None:
    Z, y, folds = rows_of()
    every = np.arange(N)
    without = np.flatnonzero(y != 2)
    for before, now in [(without, every), (every, without)]:
        found = changed(Z, y, folds, before, now)
        assert_same(found, built(Z[now], y[now], folds[now]), 1.0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, N - 1), max_size=30),
    st.lists(st.integers(0, N - 1), max_size=30),
    st.integers(0, 5),
    st.sampled_from(STRENGTHS.tolist()),
)
def test_any_few_rows_may_change(
    came: list[int], went: list[int], seed: int, strength: float
) -> None:
    Z, y, folds = rows_of(seed)
    before, now = (np.setdiff1d(np.arange(N), rows) for rows in (came, went))
    found = changed(Z, y, folds, before, now)
    assert_same(found, built(Z[now], y[now], folds[now]), strength)


def test_what_cannot_be_changed_is_built_anew() -> None:
    Z, y, folds = rows_of()
    wide = Z[:8]
    assert changed(wide, y, folds, np.arange(8), np.arange(7)) is None  # by the Gram matrix
    Z[:100, 3] = 0.5
    assert changed(Z, y, folds, np.arange(100), np.arange(99)) is not None
    assert changed(Z, y, folds, np.arange(100), np.arange(101)) is None  # a feature that was dead
    weighted = RidgeSystem.build(
        lambda: iter([Z]), y, n_classes=K, folds=folds, sample_weight=1.0 + (np.arange(N) % 2)
    )
    assert with_rows(weighted, Z[:0], np.arange(N), y, folds, K) is None


def test_few_of_the_rows_left_out_are_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "MAX_LEFT_OUT_NUMBERS", 50 * D)
    Z, y, folds = rows_of()
    assert changed(Z, y, folds, np.arange(N), np.arange(N - 1)) is None


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> QuickHead:
    """Of a network with few features."""
    network = Network((Tap("final", 0, D),))
    monkeypatch.setattr(quick, "network_of", lambda built: network)
    monkeypatch.setattr(quick.Classifier, "on", lambda self, built: self)
    return QuickHead(SimpleNamespace())


def fit(head: QuickHead, Z: Array, y: Array, folds: Array, rows: Array) -> Array:
    """Left-out probabilities."""
    pictures = tuple(rows.tolist())
    found, _ = head.fit(Z[rows], y[rows], folds[rows], ("a", "b", "c", "d"), pictures)
    assert found.learnt is not None
    return found.learnt.oof_proba


def test_the_quick_head_decomposes_once_for_a_few_changes(
    head: QuickHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 4 * MOST_CHANGED
    Z, y, folds = rows_of(n=n)
    n_decomposed = [0]
    real = hat.decomposed

    def counted(matrix: Array) -> Any:
        n_decomposed[0] += 1
        return real(matrix)

    monkeypatch.setattr(ridge, "decomposed", counted)
    every, few = np.arange(n), MOST_CHANGED
    fit(head, Z, y, folds, every)
    for rows in (every[1:], every[few:], every):  # the last is a label that changes
        found = fit(head, Z, np.where(every == 7, (y + 1) % K, y), folds, rows)
        assert np.isfinite(found).all()
    assert n_decomposed == [1]
    fit(head, Z, y, folds, every[few + 1 :])
    assert n_decomposed == [2]


def test_the_quick_head_says_the_same_as_a_new_one(head: QuickHead) -> None:
    """But for the scale, which stays that of the pictures that were decomposed: 1e-3."""
    Z, y, folds = rows_of(n=1000)
    every = np.arange(1000)
    fit(head, Z, y, folds, every[:-3])
    for rows in (every[:-4], every[1:], every[20:]):
        found = fit(head, Z, y, folds, rows)
        new = QuickHead(SimpleNamespace())
        new._near = dict(head._near)
        np.testing.assert_allclose(found, fit(new, Z, y, folds, rows), atol=1e-3)
