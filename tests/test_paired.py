"""Paired comparison against scipy, printed values, and simulation under no difference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from regraft.evaluation.paired import compare_paired, mcnemar_p_value


def _pair(both, only_a, only_b, neither):
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_agrees_with_scipys_binomial_test(only_a, only_b):
    n = only_a + only_b
    expected = stats.binomtest(only_a, n).pvalue if n else 1.0
    assert mcnemar_p_value(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_is_finite_for_very_many_images():
    assert mcnemar_p_value(50_000, 50_000) == pytest.approx(1.0, abs=0.01)
    assert mcnemar_p_value(90_000, 10_000) == 0.0


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, 2635-2650, table II, method 10.
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((54, 0, 0, 0), -0.0664, 0.0664),
    ],
)
def test_difference_has_newcombes_printed_limits(cells, low, high):
    difference = compare_paired(*_pair(*cells)).difference
    assert_allclose((difference.low, difference.high), (low, high), atol=5e-5)


@given(*[st.integers(0, 12)] * 4, st.booleans())
def test_swapping_the_two_mirrors_everything(both, only_a, only_b, neither, grouped):
    if both + only_a + only_b + neither == 0:
        return
    a, b = _pair(both, only_a, only_b, neither)
    groups = np.arange(len(a)) // 2 if grouped else None
    ab, ba = compare_paired(a, b, groups=groups), compare_paired(b, a, groups=groups)
    assert ab.difference.value == pytest.approx(-ba.difference.value)
    assert ab.difference.low == pytest.approx(-ba.difference.high)
    assert (ab.only_a, ab.only_b, ab.p_value) == (ba.only_b, ba.only_a, ba.p_value)
    assert ab.is_tie == ba.is_tie
    assert -1 <= ab.difference.low <= ab.difference.value <= ab.difference.high <= 1


def test_a_clear_winner_is_no_tie_and_a_narrow_one_is():
    assert not compare_paired(*_pair(80, 15, 1, 4)).is_tie
    assert compare_paired(*_pair(80, 4, 1, 15)).is_tie
    assert compare_paired(*_pair(0, 0, 0, 3)).is_tie


def test_copies_in_groups_add_no_certainty():
    a, b = _pair(80, 9, 2, 9)
    alone = np.arange(100)
    once = compare_paired(a, b, groups=alone)
    copied = compare_paired(np.repeat(a, 6), np.repeat(b, 6), groups=np.repeat(alone, 6))
    naive = compare_paired(np.repeat(a, 6), np.repeat(b, 6))
    assert_allclose(
        (copied.difference.low, copied.difference.high),
        (once.difference.low, once.difference.high),
        atol=1e-9,
    )
    assert copied.p_value == pytest.approx(once.p_value)
    assert copied.is_tie
    assert not naive.is_tie


def test_swaps_by_group_agree_with_mcnemar_when_groups_are_images():
    a, b = _pair(50, 12, 3, 5)
    grouped = compare_paired(a, b, groups=np.arange(70))
    assert grouped.p_value == pytest.approx(mcnemar_p_value(12, 3), abs=0.01)


def test_interval_holds_no_difference_as_often_as_it_says():
    rng = np.random.default_rng(4)
    held = tie = 0
    for _ in range(400):
        easy = rng.random(120) < 0.7
        a, b = (easy | (rng.random(120) < 0.5) for _ in range(2))
        result = compare_paired(a, b)
        held += result.difference.low <= 0 <= result.difference.high
        tie += result.is_tie
    assert 0.92 <= held / 400 <= 0.99
    assert tie >= held


def test_dictionary_is_plain():
    result = compare_paired(*_pair(3, 2, 1, 0), groups=["x", "x", "y", "y", None, None])
    assert result.to_dict() == {
        "n": 6,
        "only_a": 2,
        "only_b": 1,
        "difference": result.difference.to_dict(),
        "p_value": result.p_value,
        "tie": True,
    }


@pytest.mark.parametrize(("a", "b"), [([True], [True, False]), ([], []), ([[True]], [[True]])])
def test_arrays_over_different_images_are_refused(a, b):
    with pytest.raises(ValueError, match="over the same images"):
        compare_paired(np.array(a, dtype=bool), np.array(b, dtype=bool))
