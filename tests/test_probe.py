"""One contract for every method and head, and the measured choice of taps.

Features here are made up: class means plus noise, in as many columns as the taps claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from regraft.errors import ConfigError, DataError
from regraft.features.engine import Tap
from regraft.probe import probe, ridge, rows_that_choose
from regraft.probe.choice import Candidate, Entry, candidate_taps, compare
from regraft.probe.classifier import Classifier
from regraft.probe.network import Network
from regraft.probe.probe import HEADS, Probe, class_weights
from regraft.probe.source_classifier import SourceClassifier

TAPS = (Tap("early", 0, 12), Tap("late", 12, 28), Tap("final", 28, 40))
SOURCE = SourceClassifier(
    np.random.default_rng(9).standard_normal((11, 12)).astype(np.float32), np.zeros(11, np.float32)
)
EVERY = [("probe", head) for head in HEADS]
Array = np.ndarray


def features(n: int = 60, n_classes: int = 3, *, gap: float = 1.5, seed: int = 0):
    """``(X, y)`` whose classes are `gap` apart in the columns of 'late' and 'final'."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % n_classes)
    means = np.random.default_rng(7).standard_normal((n_classes, 40)) * gap
    means[:, :12] = 0
    return (rng.standard_normal((n, 40)) + means[y] + 1).astype(np.float32), y


def fit(
    X: Array,
    y: Array,
    *,
    n_classes: int = 3,
    units: Array | None = None,
    source: SourceClassifier | None = None,
    **options: Any,
) -> Classifier:
    return Probe(**options).fit(
        X, y, network=Network(TAPS, source), classes=[*map(str, range(n_classes))], units=units
    )


@pytest.mark.parametrize(("name", "head"), EVERY)
def test_a_fit_gives_a_classifier_that_beats_chance(name: str, head: str) -> None:
    X, y = features()
    X_new, y_new = features(seed=1)
    fitted = fit(X, y, head=head, source=SOURCE)
    assert fitted.classes == ("0", "1", "2")
    proba = fitted.proba_of(X_new)
    assert proba.shape == (60, 3)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    assert proba.min() >= 0
    assert (proba.argmax(1) == y_new).mean() > 0.8
    assert fitted.learnt.oof_proba.shape[1] == 3
    assert np.isfinite(fitted.learnt.oof_proba).all()
    assert fitted.temperature > 0


@pytest.mark.parametrize(("name", "head"), EVERY)
def test_the_same_seed_gives_the_same_bits(name: str, head: str) -> None:
    X, y = features()
    a, b = (fit(X, y, n_classes=3, head=head, source=SOURCE).proba_of(X) for _ in range(2))
    assert np.array_equal(a, b)


@pytest.mark.parametrize(("name", "head"), EVERY)
def test_predicting_shuffled_rows_gives_the_same_rows_shuffled(name: str, head: str) -> None:
    X, y = features()
    fitted = fit(X, y, n_classes=3, head=head, source=SOURCE)
    order = np.random.default_rng(0).permutation(60)
    together = fitted.proba_of(X)
    np.testing.assert_allclose(fitted.proba_of(X[order]), together[order], atol=1e-6)
    alone = np.concatenate([fitted.proba_of(X[i : i + 1]) for i in range(60)])
    np.testing.assert_allclose(alone, together, atol=1e-6)


@pytest.mark.parametrize(("name", "head"), EVERY)
def test_the_order_of_the_training_images_does_not_matter(name: str, head: str) -> None:
    X, y = features()
    order = np.random.default_rng(3).permutation(60)
    units = np.arange(60) // 2
    a = fit(X, y, n_classes=3, units=units, head=head, source=SOURCE)
    b = fit(X[order], y[order], n_classes=3, units=units[order], head=head, source=SOURCE)
    assert a.representation.taps == b.representation.taps
    np.testing.assert_allclose(a.proba_of(X), b.proba_of(X), atol=2e-2)


@pytest.mark.parametrize(("name", "head"), EVERY)
def test_renamed_classes_give_renamed_columns(name: str, head: str) -> None:
    X, y = features()
    swap = np.array([2, 0, 1])
    a = fit(X, y, n_classes=3, head=head, source=SOURCE).proba_of(X)
    b = fit(X, swap[y], n_classes=3, head=head, source=SOURCE).proba_of(X)
    np.testing.assert_allclose(a, b[:, swap], atol=2e-2)


@pytest.mark.parametrize(("name", "head"), EVERY)
def test_one_class_is_refused(name: str, head: str) -> None:
    X, _ = features()
    with pytest.raises(DataError, match="at least 2 classes, got 1"):
        fit(X, np.zeros(60, int), n_classes=1, head=head, source=SOURCE)


@pytest.mark.parametrize("taps", [("final",), ("late", "final"), ("source",), ("early",)])
def test_given_taps_are_used_and_nothing_is_measured(taps: tuple[str, ...]) -> None:
    X, y = features()
    fitted = fit(X, y, n_classes=3, taps=taps, head="ridge", source=SOURCE)
    assert fitted.representation.taps == taps
    assert fitted.learnt.candidates == []
    assert fitted.learnt.chosen_by == "given"
    of_heads = fit(X, y, n_classes=3, taps=taps, source=SOURCE)
    assert of_heads.representation.taps == taps
    assert {found.taps for found in of_heads.learnt.candidates} == {taps}
    assert {found.head for found in of_heads.learnt.candidates} >= {"lda", "ridge"}


@pytest.mark.parametrize(
    ("taps", "source"), [(("layer9",), SOURCE), (("source",), None), ((), SOURCE)]
)
def test_unknown_taps_are_refused_with_those_that_there_are(
    taps: tuple[str, ...], source: SourceClassifier | None
) -> None:
    X, y = features()
    with pytest.raises(ConfigError) as caught:
        fit(X, y, n_classes=3, taps=taps, source=source)
    for name in [*taps, "early", "late", "final"]:
        assert name in str(caught.value)


def test_an_unknown_head_and_weight_are_refused_with_those_that_there_are() -> None:
    X, y = features()
    with pytest.raises(ConfigError, match="'forest'") as caught:
        fit(X, y, n_classes=3, head="forest")
    assert "ridge" in str(caught.value)
    with pytest.raises(ConfigError, match="balanced"):
        fit(X, y, n_classes=3, class_weight="equal")


def test_candidates_go_from_simple_to_rich_and_each_once() -> None:
    with_source = candidate_taps(TAPS, True)
    assert with_source[0] == ("final",)
    assert with_source[1] == ("final", "source")
    assert with_source[2:4] == [("early", "late", "final"), ("early", "late", "final", "source")]
    assert with_source[-2:] == [("early",), ("late",)]
    assert len(set(with_source)) == len(with_source)
    assert not any("source" in taps for taps in candidate_taps(TAPS, False))
    long = (*tuple(Tap(f"s{i}", i, i + 1) for i in range(6)), Tap("final", 6, 7))
    assert ("s3", "s4", "s5", "final") in candidate_taps(long, False)
    assert ("s3", "s4", "s5", "final", "source") in candidate_taps(long, True)
    assert candidate_taps((Tap("final", 0, 3),), False) == [("final",)]


def entry(name: str, losses: Array) -> Entry:
    found = Candidate((name,), "lda", float(losses.mean()), 0.5, 0.5, 1.0, len(losses))
    return Entry((name,), "lda", (), losses, found)


def test_the_paired_difference_decides_what_is_a_tie() -> None:
    rng = np.random.default_rng(0)
    best = rng.uniform(0, 1, 100)  # large spread between images, small between candidates
    noise = rng.normal(0, 0.1, 100)
    noise -= noise.mean()
    entries = [
        entry("far", best + noise + 0.05),
        entry("close", best + noise + 0.005),
        entry("best", best),
    ]
    found = {c.taps[0]: c for c in compare(entries, np.ones(100))}
    error = noise.std(ddof=1) / 10
    assert found["close"].standard_error == pytest.approx(error)
    assert found["close"].worse_by == pytest.approx(0.005)
    assert found["far"].worse_by == pytest.approx(0.05)
    assert (found["far"].is_tie, found["close"].is_tie, found["best"].is_tie) == (
        False, True, True,
    )  # fmt: skip
    assert found["best"].worse_by == 0
    # Unpaired, the far one would have been a tie as well.
    assert np.sqrt(2) * best.std(ddof=1) / 10 * 2 > 0.05


def test_the_first_tie_in_the_order_given_is_chosen() -> None:
    X, y = features()
    fitted = fit(X, y, n_classes=3, source=SOURCE)
    found = fitted.learnt.candidates
    assert [c.taps for c in found if c.head == "lda"] == candidate_taps(TAPS, True)
    first = next(c for c in found if c.worse_by <= c.standard_error)
    assert (first.taps, first.head) == (fitted.representation.taps, fitted.learnt.head)
    assert "simplest" in fitted.learnt.chosen_by
    assert min(c.worse_by for c in found) == 0


def test_the_choice_finds_the_stage_that_carries_the_classes() -> None:
    rng = np.random.default_rng(5)
    y = np.arange(120) % 3
    X = rng.standard_normal((120, 40)).astype(np.float32)
    X[:, :12] += 4 * np.random.default_rng(7).standard_normal((3, 12))[y].astype(np.float32)
    fitted = fit(X, y, n_classes=3)
    assert "early" in fitted.representation.taps
    alone = {
        c.taps[0]: c.accuracy
        for c in fitted.learnt.candidates
        if len(c.taps) == 1 and c.head == "lda"
    }
    assert alone["early"] > 0.9 > 0.6 > alone["final"]


def test_candidates_are_scored_on_images_their_fit_has_not_seen() -> None:
    X, y = features(gap=0.4)
    fitted = fit(X, y, n_classes=3, source=SOURCE)
    final = next(c for c in fitted.learnt.candidates if c.taps == ("final",) and c.head == "ridge")
    alone = fit(X, y, n_classes=3, taps=("final",), head="ridge")
    assert final.accuracy == (alone.learnt.oof_proba.argmax(1) == y).mean()
    assert final.strength == alone.learnt.strength
    assert set(final.to_dict()) >= {
        "taps", "head", "strength", "left_out_log_loss", "left_out_accuracy",
        "left_out_balanced_accuracy", "worse_by", "standard_error", "n",
    }  # fmt: skip


def test_copies_are_left_out_together() -> None:
    """Twins with a random label each pair: left out singly, the twin gives the answer away."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.standard_normal((40, 40)).astype(np.float32), 2, axis=0)
    y = np.repeat(rng.integers(0, 2, 40), 2)
    units = np.repeat(np.arange(40), 2)
    together = fit(X, y, n_classes=2, units=units)
    apart = fit(X, y, n_classes=2)
    assert (together.learnt.oof_proba.argmax(1) == y).mean() < 0.7
    assert (apart.learnt.oof_proba.argmax(1) == y).mean() > 0.9
    assert together.learnt.chosen_by.startswith("leave-one-unit-out")
    assert apart.learnt.chosen_by.startswith("leave-one-out")


@pytest.mark.parametrize("head", ["auto", "lda", "ridge", "logistic", "svm"])
def test_balanced_weights_are_each_class_equally_often(head: str) -> None:
    X, y = features(150, 2, gap=0.25)
    keep = (y == 0) | (np.cumsum(y == 1) <= 10)
    X, y = X[keep], y[keep]
    X_new, y_new = features(200, 2, gap=0.25, seed=4)

    def recall_of_the_rare(weight: str | None) -> float:
        fitted = fit(X, y, n_classes=2, taps=("late", "final"), head=head, class_weight=weight)
        proba = fitted.proba_of(X_new)
        return float((proba.argmax(1) == y_new)[y_new == 1].mean())

    assert recall_of_the_rare("balanced") > recall_of_the_rare(None) + 0.1


def test_balanced_weights_sum_to_the_number_of_images() -> None:
    y = np.array([0] * 6 + [2] * 2)
    weight = class_weights(y, "balanced")
    assert weight.sum() == pytest.approx(8)
    assert weight[y == 0].sum() == pytest.approx(weight[y == 2].sum())


def test_many_images_are_compared_on_a_stratified_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_that_choose, "MAX_ROWS_TO_CHOOSE", 50)
    X, y = features(240)
    units = np.arange(240) // 2
    rows = rows_that_choose.rows_to_compare(y, units, 0)
    assert 20 <= len(rows) <= 50
    assert set(y[rows]) == {0, 1, 2}
    inside = np.isin(np.arange(240), rows)
    assert (inside[::2] == inside[1::2]).all(), "units stay whole"
    fitted = fit(X, y, n_classes=3, units=units)
    assert fitted.learnt.candidates[0].n_images == len(rows)
    assert len(fitted.learnt.oof_proba) == 240, "strength and temperature see all of train"


def test_large_features_stream_and_other_heads_say_how_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = features()
    whole = fit(X, y, n_classes=3).proba_of(X)
    monkeypatch.setattr(probe, "MAX_NUMBERS_IN_MEMORY", 100)
    monkeypatch.setattr(ridge, "CHUNK_ROWS", 7)
    np.testing.assert_allclose(fit(X, y, n_classes=3).proba_of(X), whole, atol=1e-4)
    with pytest.raises(ConfigError, match=r"'svm'.*GiB"):
        fit(X, y, n_classes=3, head="svm")


def test_heads_that_hold_the_scores_of_all_rows_refuse_too_many_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = features()
    monkeypatch.setattr(probe, "MAX_NUMBERS_IN_MEMORY", 100 * len(y))  # more than its features
    fit(X, y, n_classes=3, head="logistic")
    with pytest.raises(ConfigError, match=r"'logistic' needs all scores in memory.*GiB"):
        fit(X, y, n_classes=200, head="logistic")


def test_probabilities_are_calibrated_on_left_out_scores() -> None:
    X, y = features(200, gap=0.35)
    fitted = fit(X, y, n_classes=3)
    X_new, y_new = features(2000, gap=0.35, seed=8)
    proba = fitted.proba_of(X_new)
    confidence, accuracy = proba.max(1).mean(), (proba.argmax(1) == y_new).mean()
    assert accuracy < 0.95, "the problem must be hard for this to say something"
    assert abs(confidence - accuracy) < 0.05
    seconds = fitted.learnt.seconds
    assert 0.3 < seconds["choose"] / max(sum(seconds.values()), 1e-9) <= 1


def test_a_candidate_is_a_tie_up_to_one_standard_error() -> None:
    make: Callable[[float], Candidate] = lambda worse: Candidate(  # noqa: E731
        ("a",), "lda", 1.0, 0.5, 0.5, 1.0, 10, worse, 0.1
    )
    assert make(0.1).is_tie
    assert not make(0.1000001).is_tie


def test_so_many_images_that_parts_are_many_are_compared_on_one_of_them() -> None:
    """One part of 127 was once the smallest; 20,000 images then ended in an error."""
    y = np.arange(30_000) % 3
    rows = rows_that_choose.rows_to_compare(y, np.arange(30_000), 0)
    assert (
        0.8 * rows_that_choose.MAX_ROWS_TO_CHOOSE < len(rows) <= rows_that_choose.MAX_ROWS_TO_CHOOSE
    )
    assert np.ptp(np.bincount(y[rows])) <= 30
