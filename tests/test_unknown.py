"""'None of these', and sets of answers: the distance, the noun, the model's file, every door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import regraft
from regraft.errors import DataError, UsageError
from regraft.features.engine import Tap
from regraft.probe.choice import Network
from regraft.probe.classifier import Classifier
from regraft.probe.distance import STRENGTH, Landmarks
from regraft.probe.doubts import Levels
from regraft.probe.probe import Probe

Make = Callable[..., Path]
NETWORK = Network((Tap("final", 0, 12),), None)


def clouds(n: int, k: int, seed: int, spread: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Features of n images of k classes around k corners of a space of 12."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    X = 2 * np.eye(12)[y] + spread * rng.standard_normal((n, 12))
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    X, y = clouds(400, 4, 0)
    return Probe(taps=("final",)).fit(X, y, network=NETWORK, classes="abcd")


# -- The distance --


def test_the_distance_is_what_ridge_does_not_explain() -> None:
    rng = np.random.default_rng(0)
    rows, asked = rng.standard_normal((2, 9, 5)).astype(np.float32)
    found = np.exp(Landmarks.of(rows).distance.log(asked))
    inverse = np.linalg.inv(rows.T @ rows + STRENGTH * np.eye(5))
    wanted = STRENGTH * np.einsum("nd,de,ne->n", asked, inverse, asked)
    assert found == pytest.approx(wanted, rel=5e-3)  # of directions in half precision


@pytest.mark.parametrize("units", [np.arange(9), np.array([0, 0, 1, 2, 2, 2, 3, 4, 5])])
def test_left_out_distances_are_those_of_a_fit_without_the_unit(units: np.ndarray) -> None:
    rows = np.random.default_rng(1).standard_normal((9, 6)).astype(np.float32)
    found = Landmarks.of(rows).left_out_log(units)
    for row in range(9):
        others = Landmarks.of(rows[units != units[row]])
        assert found[row] == pytest.approx(others.distance.log(rows[[row]])[0], abs=5e-3)


# -- What it says --


def test_false_alarms_are_what_was_asked_for(fitted: Classifier) -> None:
    fresh, _ = clouds(4000, 4, 1)
    for level in (0.02, 0.1):
        _, doubts = fitted.answers_of(fresh, Levels(reject=level))
        assert doubts.is_none is not None
        assert doubts.is_none.mean() == pytest.approx(level, abs=0.02)


def test_what_was_never_learnt_is_turned_away(fitted: Classifier) -> None:
    fifth = 2 * np.eye(12)[[7] * 50] + 0.4 * np.random.default_rng(2).standard_normal((50, 12))
    _, doubts = fitted.answers_of(fifth.astype(np.float32), Levels(reject=0.05))
    assert doubts.is_none is not None
    assert doubts.is_none.mean() > 0.9


def test_sets_cover_and_random_labels_only_make_them_large() -> None:
    X, y = clouds(600, 4, 3)
    shuffled = np.random.default_rng(0).permutation(y)
    fresh, truth = clouds(2000, 4, 4)
    noise = np.random.default_rng(1).permutation(truth)
    for labels, asked, least_size in ((y, truth, 0.8), (shuffled, noise, 3.0)):
        model = Probe(taps=("final",)).fit(X, labels, network=NETWORK, classes="abcd")
        _, doubts = model.answers_of(fresh, Levels(coverage=0.9))
        assert doubts.sets is not None
        assert doubts.sets[np.arange(2000), asked].mean() == pytest.approx(0.9, abs=0.035)
        assert doubts.sets.sum(1).mean() >= least_size


def test_copies_do_not_make_it_surer() -> None:
    """Fifty pictures four times each are fifty: what fifty cannot promise is refused."""
    X, y = clouds(48, 4, 5)
    again = np.repeat(np.arange(48), 4)
    model = Probe(taps=("final",)).fit(
        X[again], y[again], network=NETWORK, classes="abcd", units=again
    )
    assert model.unknown is not None
    assert model.unknown.calibrating.n_units == 48
    with pytest.raises(UsageError, match=r"needs at least 49 images .* has 48"):
        model.require(Levels(reject=0.02))


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        (Levels(coverage=0.9999), "needs at least 9,999 images .* has 400"),
        (Levels(coverage=0.995, per_class=True), "199 images .* of each class, .* has 100"),
        (Levels(reject=0.001), "needs at least 999"),
        (Levels(precision=0.999), "needs at least 2,995"),
    ],
)
def test_levels_that_n_cannot_support_are_refused(
    fitted: Classifier, levels: Levels, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        fitted.require(levels)


def test_features_that_are_not_finite_are_refused(fitted: Classifier) -> None:
    X, _ = clouds(3, 4, 6)
    X[1, 2] = np.nan
    with pytest.raises(DataError, match="1 of 3 images are not finite, first of image 2"):
        fitted.answers_of(X, Levels(reject=0.1))


def test_a_model_without_it_says_how_to_get_it(fitted: Classifier) -> None:
    older = replace(fitted, unknown=None)
    with pytest.raises(UsageError, match="saved without") as refused:
        older.answers_of(clouds(2, 4, 0)[0], Levels(coverage=0.9))
    assert "regraft calibrate" in refused.value.cure
    assert older.proba_of(clouds(2, 4, 0)[0]).shape == (2, 4)


@pytest.mark.parametrize("head", ["ridge", "logistic", "svm", "ncm", "knn"])
def test_every_head_has_it(head: str) -> None:
    X, y = clouds(120, 4, 7)
    model = Probe(taps=("final",), head=head).fit(X, y, network=NETWORK, classes="abcd")
    far = np.full((5, 12), -3.0, np.float32)
    _, doubts = model.answers_of(np.concatenate([X[:5], far]), Levels(0.9, 0.05, 0.5))
    assert doubts.is_none is not None
    assert doubts.is_none[5:].all()


# -- At rest --


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory, make_photos: Make, engine_cache: Path) -> Path:
    """``photos`` and a ``model`` that learnt from 48 of them."""
    folder = tmp_path_factory.mktemp("unknown")
    make_photos(folder / "photos", classes=("discs", "stripes"), splits={"train": 24, "test": 6})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        regraft.run("photos", name="first")
    return folder
