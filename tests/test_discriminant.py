"""Linear discriminants with shrinkage: known answers, and what is left out is not seen.

The second route is always the textbook's: class means, the scatter within, its inverse.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from regraft.probe import class_means, closed_form
from regraft.probe.discriminant import Discriminant
from regraft.probe.ridge import RidgeSystem

Array = np.ndarray
WIDE, TALL = (24, 40), (90, 12)
shapes = pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])


def problem(shape: tuple[int, int], n_classes: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(shape[0]) % n_classes)
    Z = rng.standard_normal(shape) + rng.standard_normal((n_classes, shape[1]))[y]
    Z -= Z.mean(0)
    return (Z / np.sqrt((Z**2).sum(1).mean())).astype(np.float32), y


def system_of(Z: Array, y: Array, n_classes: int = 3, **options: Array) -> RidgeSystem:
    return RidgeSystem.build(lambda: iter([Z]), y, n_classes=n_classes, **options)


def distances(
    Z: Array, y: Array, weight: Array, strength: float, asked: Array, n_classes: int = 3
) -> Array:
    """``(n, K)`` squared, of the rows asked, by the scatter of the rows given."""
    Z = Z.astype(np.float64)
    means = np.stack(
        [np.average(Z[y == k], axis=0, weights=weight[y == k]) for k in range(n_classes)]
    )
    within = (Z - means[y]).T @ ((Z - means[y]) * weight[:, None])
    inverse = np.linalg.inv(within + strength * np.eye(Z.shape[1]))
    off = asked[:, None].astype(np.float64) - means
    return np.einsum("nkd,de,nke->nk", off, inverse, off)


def up_to_rows(scores: Array) -> Array:
    return scores - scores.mean(1, keepdims=True)


def units(n: int, kind: str) -> Array:
    rng = np.random.default_rng(1)
    single, some = np.arange(n), rng.integers(0, n // 3, n)
    return {"single": single, "several": some, "mixed": np.where(single % 3, single, 1000 + some)}[
        kind
    ]


@pytest.mark.parametrize("strength", [1e-2, 1.0, 100.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["single", "several", "mixed"])
@shapes
def test_left_out_distances_are_those_of_a_fit_without_the_fold(
    shape: tuple[int, int], kind: str, weighted: bool, strength: float
) -> None:
    Z, y = problem(shape)
    folds = units(len(y), kind)
    weight = np.random.default_rng(2).uniform(0.2, 3, len(y)) if weighted else np.ones(len(y))
    found = Discriminant.of(system_of(Z, y, folds=folds, sample_weight=weight), strength)
    wanted = np.empty((len(y), 3))
    for fold in np.unique(folds):
        out = folds == fold
        wanted[out] = distances(Z[~out], y[~out], weight[~out], strength, Z[out])
    np.testing.assert_allclose(found._left_out_distances, wanted, rtol=2e-3)
    seen = distances(Z, y, weight, strength, Z)
    assert np.abs(seen / wanted - 1).max() > 0.02, "the test can tell the two apart"


@shapes
def test_the_head_scores_by_distance(shape: tuple[int, int]) -> None:
    Z, y = problem(shape)
    found = Discriminant.of(system_of(Z, y), 0.5)
    wanted = -found.freedom / 2 * distances(Z, y, np.ones(len(y)), 0.5, Z)
    wanted += found.freedom / 2 * found.scatter / np.bincount(y)
    got = up_to_rows(found.head().scores(Z))
    np.testing.assert_allclose(got, up_to_rows(wanted), atol=1e-3 * np.abs(got).max())


def test_it_is_scikit_learns_where_nothing_is_shrunk() -> None:
    Z, y = problem(TALL)
    ours = Discriminant.of(system_of(Z, y), 1e-9)
    peer = LinearDiscriminantAnalysis(solver="lsqr").fit(Z.astype(np.float64), y)
    share = len(y) / ours.freedom  # its covariance divides by n
    scores = ours.head().scores(Z) * share
    np.testing.assert_allclose(
        up_to_rows(scores), up_to_rows(peer.decision_function(Z)), rtol=1e-3, atol=1e-2
    )


def test_a_class_between_two_others_is_not_masked() -> None:
    """Three clouds on a line: ridge on one-hot labels never answers the middle one."""
    rng = np.random.default_rng(3)
    y = np.arange(150) % 3
    Z = np.stack([y - 1 + 0.12 * rng.standard_normal(150), rng.standard_normal(150)], 1)
    system = system_of(Z.astype(np.float32), y, folds=np.arange(150))
    lda, ridge = (closed_form.solve(system, kind)[0] for kind in ("lda", "ridge"))
    assert (lda.scores.argmax(1) == y).mean() > 0.98
    assert (ridge.scores.argmax(1) == y).mean() < 0.8
    assert lda.loss < ridge.loss / 3


def test_small_classes_are_not_pushed_away() -> None:
    """A mean of three rows in many directions lies far out by chance alone."""
    rng = np.random.default_rng(4)
    y = np.concatenate([np.zeros(200, int), np.ones(3, int)])
    mean = np.zeros((2, 60))
    mean[1, 0] = 6
    Z = (rng.standard_normal((203, 60)) + mean[y]).astype(np.float32)
    found = Discriminant.of(system_of(Z - Z.mean(0), y, 2, folds=np.arange(203)), 1.0)
    new = (rng.standard_normal((200, 60)) + mean[1] - Z.mean(0)).astype(np.float32)
    assert found.scatter > 0
    recall = (found.head().scores(new).argmax(1) == 1).mean()
    plain = distances(Z - Z.mean(0), y, np.ones(203), 1.0, new, 2).argmin(1).mean()
    assert recall > plain + 0.05


@shapes
def test_a_class_without_images_is_never_answered(shape: tuple[int, int]) -> None:
    Z, y = problem(shape)
    system = system_of(Z, y, 5, folds=np.arange(len(y)))
    fitted = closed_form.finish(system, "lda")
    scores = fitted.head.scores(Z)
    assert scores.shape == fitted.oof_scores.shape == (len(y), 5)
    assert scores.argmax(1).max() < 3
    assert np.isfinite(fitted.oof_scores).all()


def test_a_class_that_leaves_whole_judges_nothing_and_scores_lowest() -> None:
    Z, y = problem(TALL)
    folds = np.where(y == 1, 1000, np.arange(90))
    folds[np.flatnonzero(y == 0)[:3]] = 1000  # others of that unit judge
    system = system_of(Z, y, folds=folds)
    scores = Discriminant.of(system, 1.0).left_out()
    assert np.array_equal(system.judged_rows, np.flatnonzero(y != 1))
    together = folds[system.judged_rows] == 1000
    assert np.isfinite(scores).all()
    assert not (scores[together].argmax(1) == 1).any()


def test_shares_of_the_classes_count_where_clouds_overlap() -> None:
    rng = np.random.default_rng(5)
    y = (np.arange(300) % 10 == 0).astype(int)
    Z = (rng.standard_normal((300, 4)) + 0.5 * y[:, None]).astype(np.float32)
    system = system_of(Z - Z.mean(0), y, 2, folds=np.arange(300))
    fitted = closed_form.solve(system, "lda")[0]
    p = np.exp(fitted.weight * fitted.scores)
    p /= p.sum(1, keepdims=True)
    assert p[:, 1].mean() == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("kind", ["single", "mixed"])
@pytest.mark.parametrize("strength", [1e-2, 1.0, 100.0])
def test_many_classes_give_the_same_without_a_matrix_of_all_with_all(
    kind: str, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_classes = 30
    Z, y = problem((240, 12), n_classes)
    system = system_of(Z, y, n_classes + 2, folds=units(len(y), kind))  # two without images
    whole = Discriminant.of(system, strength)
    monkeypatch.setattr(class_means, "MOST_WHOLE", 10)
    thin = Discriminant.of(system, strength)
    assert isinstance(whole.means, class_means.Whole)
    assert isinstance(thin.means, class_means.Thin)
    assert max(thin.means.G.shape + thin.means.C.shape) == n_classes
    np.testing.assert_allclose(thin.left_out(), whole.left_out(), rtol=1e-6, atol=1e-6)
    for found, wanted in zip(
        thin.head(0.3).to_tensors().values(), whole.head(0.3).to_tensors().values(), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
