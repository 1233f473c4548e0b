"""What a head sees: blocks of the right columns, unit length, equal weight, saved as they are."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.features.engine import Tap
from regraft.probe import representation
from regraft.probe.representation import Block, Representation, blocks_of
from regraft.probe.source_classifier import SourceClassifier

TAPS = (Tap("early", 0, 8), Tap("late", 8, 20), Tap("final", 20, 27))
RNG = np.random.default_rng(0)
X = (RNG.standard_normal((50, 27)) * np.linspace(0.1, 20, 27) + 3).astype(np.float32)
SOURCE = SourceClassifier(
    RNG.standard_normal((12, 7)).astype(np.float32), RNG.standard_normal(12).astype(np.float32)
)
ALL = ("early", "late", "final", "source")


def fitted(taps: tuple[str, ...] = ALL, rows: np.ndarray = X) -> Representation:
    return Representation.fit(rows, taps, TAPS, source=SOURCE)


def test_a_stage_is_two_blocks_and_final_is_one() -> None:
    assert blocks_of(ALL, TAPS, SOURCE) == (
        Block("early", 0, 4, True),
        Block("early", 4, 8, True),
        Block("late", 8, 14, True),
        Block("late", 14, 20, True),
        Block("final", 20, 27, True),
        Block("source", 20, 27, False),
    )


def test_final_alone_stays_linear() -> None:
    alone = fitted(("final",))
    assert alone.is_linear
    assert blocks_of(("final",), TAPS, None) == (Block("final", 20, 27, False),)
    a, b = X[:1], X[1:2]
    middle = alone((a + b) / 2)
    np.testing.assert_allclose(middle, (alone(a) + alone(b)) / 2, atol=1e-5)
    assert not fitted(("late",)).is_linear


@pytest.mark.parametrize("taps", [("late",), ("early", "late", "final")])
def test_rows_of_a_block_have_unit_length_before_centring(taps: tuple[str, ...]) -> None:
    represent = fitted(taps)
    raw, start = represent.unscaled(X), 0
    for block in represent.blocks:
        part = raw[:, start : start + block.stop - block.start]
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)
        start += block.stop - block.start


def test_train_has_mean_zero_and_all_blocks_weigh_the_same() -> None:
    represent = fitted()
    Z = represent(X).astype(np.float64)
    np.testing.assert_allclose(Z.mean(0), 0, atol=1e-5)
    sizes = [4, 4, 6, 6, 7, 12]
    shares = [(p**2).sum(1).mean() for p in np.split(Z, np.cumsum(sizes)[:-1], axis=1)]
    np.testing.assert_allclose(shares, 1 / 6, rtol=1e-3)
    assert (Z**2).sum(1).mean() == pytest.approx(1, rel=1e-3)


def test_weights_move_centre_and_scale_as_repeated_rows_do() -> None:
    weight = 1.0 + (np.arange(50) % 3 == 0)
    rows = np.repeat(np.arange(50), weight.astype(int))
    a = Representation.fit(X, ALL, TAPS, source=SOURCE, sample_weight=weight)
    b = fitted(rows=X[rows])
    np.testing.assert_allclose(a.centre, b.centre, atol=1e-6)
    np.testing.assert_allclose(a.scale, b.scale, rtol=1e-5)
    assert np.abs(a.centre - fitted().centre).max() > 1e-4


def test_source_probabilities_are_the_roots_of_the_softmax() -> None:
    logits = X[:, 20:27].astype(np.float64) @ SOURCE.weight.T + SOURCE.bias
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    found = SOURCE.root_probabilities(X[:, 20:27])
    np.testing.assert_allclose(found, np.sqrt(shares), atol=1e-5)
    np.testing.assert_allclose((found**2).sum(1), 1, atol=1e-5)


def test_large_logits_do_not_overflow() -> None:
    found = SOURCE.root_probabilities(np.full((2, 7), 1e4, np.float32))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("block", blocks_of(ALL, TAPS, SOURCE), ids=lambda block: block.tap)
def test_one_block_and_its_rows_are_those_of_two_readings(block: Block) -> None:
    weight = RNG.uniform(0.5, 2, len(X))
    alone, rows = Representation.of_one(X, block, source=SOURCE, sample_weight=weight)
    wanted = Representation.of_blocks(
        X, (block.tap,), (block,), source=SOURCE, sample_weight=weight
    )
    assert np.array_equal(alone.centre, wanted.centre)
    assert np.array_equal(alone.scale, wanted.scale)
    assert np.array_equal(rows, wanted(X))


def test_source_needs_a_source_classifier() -> None:
    with pytest.raises(ValueError, match="no source classes"):
        Representation.fit(X, ("source",), TAPS)


@pytest.mark.parametrize("n_rows", [1, 7, 49])
def test_chunks_are_the_whole(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted()
    monkeypatch.setattr(representation, "CHUNK_ROWS", n_rows)
    parts = fitted()
    np.testing.assert_allclose(parts.centre, whole.centre, atol=1e-7)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-6)


def test_a_row_is_represented_alone_as_among_others() -> None:
    represent = fitted()
    together = represent(X)
    for i in (0, 17, 49):
        np.testing.assert_allclose(represent(X[i : i + 1])[0], together[i], atol=1e-6)


@pytest.mark.parametrize("taps", [ALL, ("final",), ("late", "source")])
def test_a_saved_representation_gives_the_same_bits(taps: tuple[str, ...]) -> None:
    represent = fitted(taps)
    back = Representation.from_saved(represent.to_config(), represent.to_tensors(), SOURCE)
    assert np.array_equal(back(X), represent(X))
    assert back.taps == taps
    assert back.blocks == represent.blocks


def test_dead_and_constant_blocks_stay_finite_and_say_nothing() -> None:
    dead = X.copy()
    dead[:, :8] = 0
    dead[:, 8:20] = 5
    Z = fitted(("early", "late", "final"), dead)(dead)
    assert np.isfinite(Z).all()
    assert not Z[:, :8].any()
    np.testing.assert_allclose(Z[:, 8:20], 0, atol=1e-4)
    assert np.abs(Z[:, 20:]).max() > 0.1
