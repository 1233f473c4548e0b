"""Units that swallow classes: what cannot be left out judges nothing, and nothing breaks on it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regraft.features.engine import Tap
from regraft.probe import ridge, rows_that_choose
from regraft.probe.classifier import Classifier
from regraft.probe.judging import FEWEST_TO_JUDGE, Judged, can_tell, rows_that_judge
from regraft.probe.network import Network
from regraft.probe.probe import HEADS, USUAL_TEMPERATURES, Probe
from regraft.probe.source_classifier import SourceClassifier
from regraft.training.rows import held_out

TAPS = (Tap("early", 0, 12), Tap("late", 12, 28), Tap("final", 28, 40))
SOURCE = SourceClassifier(
    np.random.default_rng(9).standard_normal((11, 12)).astype(np.float32), np.zeros(11, np.float32)
)
Array = np.ndarray
few_examples = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def features(n: int, n_classes: int, *, gap: float = 0.8, seed: int = 0) -> tuple[Array, Array]:
    """Classes `gap` apart in the columns of 'late' and 'final'."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    means = np.random.default_rng(7).standard_normal((n_classes, 40)) * gap
    means[:, :12] = 0
    return (rng.standard_normal((n, 40)) + means[y] + 1).astype(np.float32), y


def fit(X: Array, y: Array, units: Array, **options: Any) -> Classifier:
    names = [*map(str, range(y.max() + 1))]
    return Probe(**options).fit(X, y, network=Network(TAPS, SOURCE), classes=names, units=units)


def right(classifier: Classifier, n_classes: int) -> float:
    X, y = features(600, n_classes, seed=5)
    return float((classifier.proba_of(X).argmax(1) == y).mean())


@st.composite
def divisions(draw: st.DrawFn, n: int = 72) -> tuple[int, Array]:
    """Classes, and the unit of each of n rows: some classes whole, some shared, some single."""
    n_classes = draw(st.integers(2, 4))
    y = np.arange(n) % n_classes
    units = np.arange(n) + 1000
    for code in range(n_classes):
        n_units = draw(st.sampled_from([1, 1, 2, 3, 8, 72]))
        first = draw(st.sampled_from([0, 100 * (code + 1)]))  # units from 0 on hold many classes
        rows = np.flatnonzero(y == code)
        units[rows] = first + np.arange(len(rows)) % n_units
    return n_classes, units


@pytest.mark.parametrize("head", HEADS)
@few_examples
@given(divisions())
def test_no_division_makes_a_head_worse_than_the_usual_one(
    head: str, division: tuple[int, Array]
) -> None:
    """Beyond noise: a choice on few images may be another one, not a bad one."""
    n_classes, units = division
    X, y = features(72, n_classes)
    chosen, usual = fit(X, y, units, head=head), fit(X, y, np.zeros(72), head=head)
    assert right(chosen, n_classes) > right(usual, n_classes) - 0.1
    learnt = chosen.learnt
    assert learnt is not None
    assert learnt.judged is not None
    y_judged = y[learnt.oof_rows]
    assert len(y_judged) == 0 or can_tell(y_judged, n_classes)
    for code in set(y_judged):
        assert len(set(units[y == code])) > 1
    if not len(y_judged):
        assert chosen.temperature == USUAL_TEMPERATURES[learnt.head]
        assert learnt.curve == []
        assert "nothing was measured" in learnt.judged.in_words(chosen.classes)
    assert np.isfinite(chosen.proba_of(X)).all()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("n", "units"),
    [
        (72, np.zeros(72)),
        (72, np.arange(72) % 3),
        (3, np.arange(3)),
        (6, np.arange(6)),
        (72, np.where(np.arange(72) < 6, np.arange(72), np.arange(72) % 3 + 100)),
    ],
    ids=["one unit", "a unit a class", "a picture a class", "two pictures", "six can be left out"],
)
def test_where_too_few_can_judge_the_usual_is_taken_and_said(
    head: str, n: int, units: Array
) -> None:
    X, y = features(n, 3)
    if len(units) == 72 and units[0] == 0 and units[7] > 100:
        y[:6] = 0  # of one class only
    fitted = fit(X, y, units, head=head)
    learnt = fitted.learnt
    assert learnt is not None
    assert learnt.judged is not None
    assert not learnt.judged.is_enough
    assert (learnt.candidates, len(learnt.oof_rows), len(learnt.oof_proba)) == ([], 0, 0)
    assert fitted.representation.taps == ("final", "source")
    assert fitted.temperature == USUAL_TEMPERATURES[learnt.head]
    said = learnt.judged.to_dict(fitted.classes)
    assert (said["is_measured"], said["images"], said["of"]) == (False, 0, n)
    assert said["words"].startswith("nothing was measured: ")


def test_taps_that_are_given_are_kept_where_nothing_can_be_measured() -> None:
    X, y = features(72, 3)
    fitted = fit(X, y, np.zeros(72), taps=("late", "final"))
    assert fitted.representation.taps == ("late", "final")
    assert fitted.learnt is not None
    assert fitted.learnt.strength == ridge.USUAL_STRENGTH


def test_classes_in_one_unit_are_named_and_the_others_judge() -> None:
    X, y = features(72, 3)
    units = np.where(y == 1, 1000, np.arange(72))
    fitted = fit(X, y, units)
    assert fitted.learnt is not None
    assert fitted.learnt.judged is not None
    said = fitted.learnt.judged.to_dict(["ants", "bees", "flies"])
    assert (said["is_measured"], said["images"], said["of"]) == (True, 48, 72)
    assert said["classes_in_one_unit"] == ["bees"]
    assert "measured on 48 of 72 training images" in said["words"]
    assert "'bees'" in said["words"]
    assert right(fitted, 3) > right(fit(X, y, np.arange(72)), 3) - 0.05
    assert all(c.accuracy > 0.4 for c in fitted.learnt.candidates if "late" in c.taps)


@few_examples
@given(divisions(), st.integers(0, 3))
def test_a_sample_to_compare_taps_on_is_never_empty(division: tuple[int, Array], seed: int) -> None:
    n_classes, units = division
    X, y = features(72, n_classes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_that_choose, "MAX_ROWS_TO_CHOOSE", 40)
        patch.setattr(rows_that_choose, "MAX_ROWS_OF_UNIT", 4)
        rows = rows_that_choose.rows_to_compare(y, units, seed)
        assert 0 < len(rows) <= 40
        assert (np.diff(rows) > 0).all()
        fit(X, y, units)


def test_a_unit_larger_than_the_sample_is_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_that_choose, "MAX_ROWS_TO_CHOOSE", 50)
    monkeypatch.setattr(rows_that_choose, "MAX_ROWS_OF_UNIT", 5)
    X, y = features(300, 3)
    for units in (np.zeros(300), y, np.arange(300) % 2, np.arange(300) % 40):
        fitted = fit(X, y, units)
        assert right(fitted, 3) > 0.6
    rows = rows_that_choose.rows_to_compare(y, np.where(y == 0, 1000, np.arange(300)), 0)
    assert (y[rows] == 0).sum() <= 5


@given(divisions(n=96), st.floats(0.1, 0.5), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_what_is_held_out_leaves_every_class_and_divides_no_unit(
    division: tuple[int, Array], fraction: float, seed: int
) -> None:
    n_classes, units = division
    y = np.arange(96) % n_classes
    part = held_out(y, units, fraction, seed)
    assert all(len(set(part[units == unit])) == 1 for unit in set(units))
    assert set(y[~part]) == set(y)
    if part.any():
        assert can_tell(y[part], n_classes)
    elif fraction >= 0.2 and all(len(set(units[y == code])) == 24 for code in set(y)):
        raise AssertionError("single pictures can be held out")


def test_groups_of_two_classes_are_held_out_of_both() -> None:
    """Two places a class: a fifth would hold out one place of one class."""
    y = np.repeat([0, 1], 40)
    part = held_out(y, np.arange(80) // 20, 0.2, 0)
    assert (part[y == 0].sum(), part[y == 1].sum()) == (20, 20)


def test_rows_judge_by_their_class_not_by_their_unit() -> None:
    y = np.array([0] * 6 + [1] * 6 + [2] * 6)
    units = np.array([0] * 6 + [*range(1, 7)] + [0, 0, 0, 9, 9, 9])
    assert np.array_equal(rows_that_judge(y, units), np.arange(6, 18))
    judged = Judged.of(y, units)
    assert (judged.n_able, judged.n_images, list(judged.alone)) == (12, 18, [0])
    assert len(rows_that_judge(y[:6], np.arange(6))) == 0, "one class"
    assert FEWEST_TO_JUDGE > 7
    assert len(rows_that_judge(np.array([0, 1] * 3), np.arange(6))) == 0


def test_nothing_warns() -> None:
    X, y = features(72, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for head in HEADS:
            fit(X, y, y, head=head)


def test_of_thousands_of_classes_in_mixed_groups_some_are_drawn_to_judge() -> None:
    """A part of whole groups, each of pictures of many classes, hardly shows a class twice: the
    usual taps were taken, unmeasured."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(10_000), 5)
    units = rng.integers(0, len(y) // 8, len(y))
    for seed in range(3):
        rows = rows_that_choose.rows_to_compare(y, units, seed)
        assert len(rows) <= rows_that_choose.MAX_ROWS_TO_CHOOSE
        assert (np.diff(rows) > 0).all()
        judging = rows[rows_that_judge(y[rows], units[rows])]
        assert len(np.unique(y[judging])) >= 100


def test_drawn_classes_have_images_of_several_units_each() -> None:
    rng = np.random.default_rng(1)
    y, units = np.repeat(np.arange(600), 6), rng.integers(0, 900, 3600)
    units[y < 50] = 1000 + y[y < 50]  # all there is of these is one unit
    rows = rows_that_choose._of_fewer_classes(y, units, 0, 400)
    assert len(rows) == 400
    assert np.bincount(y[rows])[:50].sum() == 0
    for code in np.unique(y[rows]):
        own = units[rows][y[rows] == code]
        assert 2 <= len(own) == len(np.unique(own)) <= rows_that_choose.IMAGES_OF_DRAWN_CLASS
