"""The closed form is the least-squares solution, and what it leaves out it has not seen.

Every number has a second route: normal equations solved anew without the fold, scikit-learn, a
row written twice, rows in another order.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from regraft.errors import TrainingError
from regraft.probe import closed_form, hat, ridge
from regraft.probe.discriminant import Discriminant
from regraft.probe.hat import STRENGTHS, Inverses, Spectrum
from regraft.probe.out_of_fold import ChosenHead
from regraft.probe.ridge import RidgeSystem, rows_in_chunks

Array = np.ndarray
WIDE, TALL = (24, 40), (90, 12)  # N < D goes by the Gram matrix, N > D by the covariance


def problem(shape: tuple[int, int], n_classes: int = 3, seed: int = 0) -> tuple[Array, Array]:
    """Features of unit mean square norm, centred as the probe gives them, and labels."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(shape[0]) % n_classes)
    Z = rng.standard_normal(shape) + rng.standard_normal((n_classes, shape[1]))[y]
    Z -= Z.mean(0)
    return (Z / np.sqrt((Z**2).sum(1).mean())).astype(np.float32), y


def system_of(Z: Array, y: Array, n_classes: int = 3, **options: Array) -> RidgeSystem:
    return RidgeSystem.build(lambda: iter([Z]), y, n_classes=n_classes, **options)


def solve(Z: Array, y: Array, weight: Array, strength: float, K: int) -> tuple[Array, Array]:
    """W (D, K) and b (K,) from the normal equations, the intercept unpenalised."""
    A = np.column_stack([Z.astype(np.float64), np.ones(len(Z))])
    penalty = strength * np.eye(A.shape[1])
    penalty[-1, -1] = 0
    left = A.T @ (weight[:, None] * A) + penalty
    both = np.linalg.solve(left, A.T @ (weight[:, None] * np.eye(K)[y]))
    return both[:-1], both[-1]


def refitted(Z: Array, y: Array, folds: Array, weight: Array, strength: float, K: int) -> Array:
    """Scores of every row by a fit without its fold."""
    scores = np.empty((len(y), K))
    for fold in np.unique(folds):
        out = folds == fold
        W, b = solve(Z[~out], y[~out], weight[~out], strength, K)
        scores[out] = Z[out] @ W + b
    return scores


def single(n: int) -> Array:
    return np.arange(n)


def fit_ridge(Z: Array, y: Array, **more: Any) -> ChosenHead:
    return closed_form.finish(RidgeSystem.build(lambda: rows_in_chunks(Z), y, **more), "ridge")


def units_of_two_to_five(n: int) -> Array:
    """Folds of 2, 3, 4, 5, 2, ... rows, scattered."""
    sizes = np.resize([2, 3, 4, 5], n)
    return np.random.default_rng(1).permutation(np.repeat(np.arange(n), sizes)[:n])


def mixed(n: int) -> Array:
    return np.where(np.arange(n) % 3 == 0, np.arange(n), 1000 + np.arange(n) // 4)


@pytest.mark.parametrize("strength", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("folds_of", [single, units_of_two_to_five, mixed])
@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
def test_left_out_scores_are_those_of_a_fit_without_the_fold(
    shape: tuple[int, int], folds_of: Callable[[int], Array], weighted: bool, strength: float
) -> None:
    Z, y = problem(shape)
    folds = folds_of(len(y))
    weight = np.random.default_rng(2).uniform(0.2, 3, len(y)) if weighted else np.ones(len(y))
    system = system_of(Z, y, folds=folds, sample_weight=weight)
    found = system.left_out_scores(strength)
    wanted = refitted(Z, y, folds, weight, strength, 3)
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    # They are not the scores of the fit that saw the rows: that the test can tell the two apart.
    W, b = solve(Z, y, weight, strength, 3)
    assert np.abs(found - (Z @ W + b)).max() > 5e-4


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
def test_the_solution_is_scikit_learns(shape: tuple[int, int]) -> None:
    Z, y = problem(shape)
    weight = np.random.default_rng(3).uniform(0.2, 3, len(y))
    head = system_of(Z, y, sample_weight=weight).head(0.7)
    other = Ridge(alpha=0.7, solver="svd").fit(Z.astype(float), np.eye(3)[y], weight)
    np.testing.assert_allclose(head.weight, other.coef_, atol=1e-4)
    np.testing.assert_allclose(head.bias, other.intercept_, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [WIDE, TALL])
def test_all_routes_are_one_solution(
    shape: tuple[int, int], weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By covariance, by the decomposition of the Gram matrix, and by its inverse."""
    Z, y = problem(shape)
    wide = np.pad(Z, ((0, 0), (0, len(y))))  # columns of zeros, so that N < D
    weight = np.random.default_rng(2).uniform(0.2, 3, len(y)) if weighted else np.ones(len(y))
    options = {"folds": mixed(len(y)), "sample_weight": weight}
    routes = [
        RidgeSystem.build(lambda: iter([wide]), y, n_classes=3, few_strengths=few, **options)
        for few in (False, True)
    ]
    monkeypatch.setattr(ridge, "MAX_GRAM_ROWS", 0)
    routes.append(system_of(wide, y, **options))
    assert [type(system.hat) for system in routes] == [Spectrum, Inverses, Spectrum]
    for strength in (0.05, 3.0):
        found = [
            (
                system.left_out_scores(strength),
                system.head(strength).scores(wide),
                Discriminant.of(system, strength).left_out(),
                Discriminant.of(system, strength).head().scores(wide),
            )
            for system in routes
        ]
        for other, tolerance in ((found[1], 1e-6), (found[2], 1e-4)):
            for a, b in zip(found[0], other, strict=True):
                np.testing.assert_allclose(a, b, atol=tolerance * max(1, np.abs(a).max()))


def test_an_inverse_is_made_once_a_strength() -> None:
    Z, y = problem(WIDE)
    system = RidgeSystem.build(lambda: iter([Z]), y, n_classes=3, few_strengths=True)
    assert list(system.hat.at_hand) == []
    for strength in (1.0, 0.1, 1.0):
        system.left_out_scores(strength)
        Discriminant.of(system, strength).left_out()
    assert list(system.hat.at_hand) == [0.1, 1.0]


def test_the_route_follows_the_shape_of_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    for name in ("_by_gram", "_by_covariance"):
        route = getattr(ridge, name)
        monkeypatch.setattr(
            ridge, name, lambda *a, name=name, route=route: used.append(name) or route(*a)
        )
    for shape in (WIDE, TALL):
        system_of(*problem(shape))
    monkeypatch.setattr(ridge, "MAX_GRAM_ROWS", WIDE[0] - 1)
    system_of(*problem(WIDE))
    assert used == ["_by_gram", "_by_covariance", "_by_covariance"]


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
def test_a_weight_of_two_is_the_row_twice(shape: tuple[int, int]) -> None:
    Z, y = problem(shape)
    twice = np.arange(len(y)) % 4 == 0
    weight = 1.0 + twice
    rows = np.concatenate([np.arange(len(y)), np.flatnonzero(twice)])
    folds = np.arange(len(y))
    weighted = system_of(Z, y, folds=folds, sample_weight=weight)
    doubled = system_of(Z[rows], y[rows], folds=folds[rows])
    np.testing.assert_allclose(
        weighted.head(0.3).weight, doubled.head(0.3).weight, rtol=1e-3, atol=1e-5
    )
    a, b = weighted.left_out_scores(0.3), doubled.left_out_scores(0.3)
    np.testing.assert_allclose(a, b[: len(y)], atol=1e-3)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
@pytest.mark.parametrize("n_rows", [1, 7, 1000])
def test_chunks_are_the_whole(shape: tuple[int, int], n_rows: int) -> None:
    Z, y = problem(shape)
    # The route is chosen by the width, which every chunk has.
    whole = system_of(Z, y)

    def chunks() -> Iterator[Array]:
        return (Z[i : i + n_rows] for i in range(0, len(Z), n_rows))

    parts = RidgeSystem.build(chunks, y, n_classes=3)
    np.testing.assert_allclose(parts.head(0.1).weight, whole.head(0.1).weight, atol=1e-5)
    np.testing.assert_allclose(parts.left_out_scores(0.1), whole.left_out_scores(0.1), atol=1e-4)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
def test_shuffled_rows_give_shuffled_answers(shape: tuple[int, int]) -> None:
    Z, y = problem(shape)
    folds, weight = mixed(len(y)), np.linspace(0.5, 2, len(y))
    order = np.random.default_rng(4).permutation(len(y))
    fitted = [
        fit_ridge(Z[o], y[o], n_classes=3, folds=folds[o], sample_weight=weight[o])
        for o in (np.arange(len(y)), order)
    ]
    assert fitted[0].strength == fitted[1].strength
    np.testing.assert_allclose(fitted[0].oof_scores[order], fitted[1].oof_scores, atol=1e-4)
    np.testing.assert_allclose(fitted[0].head.weight, fitted[1].head.weight, atol=1e-4)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
def test_renamed_classes_give_renamed_columns(shape: tuple[int, int]) -> None:
    Z, y = problem(shape)
    swap = np.array([2, 0, 1])
    a, b = system_of(Z, y), system_of(Z, swap[y])
    np.testing.assert_allclose(a.head(0.1).weight, b.head(0.1).weight[swap], atol=1e-6)
    np.testing.assert_allclose(a.left_out_scores(0.1), b.left_out_scores(0.1)[:, swap], atol=1e-6)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
def test_a_class_with_one_image_is_left_out_like_the_others(shape: tuple[int, int]) -> None:
    Z, y = problem(shape)
    y = np.where(y == 2, 0, y)
    y[5] = 2
    system = system_of(Z, y)
    found, rows = system.left_out_scores(0.5), system.judged_rows
    wanted = refitted(Z, y, np.arange(len(y)), np.ones(len(y)), 0.5, 3)
    assert np.array_equal(rows, np.delete(np.arange(len(y)), 5))
    np.testing.assert_allclose(found, wanted[rows], atol=2e-4)
    assert abs(wanted[5, 2]) < 1e-6, "a fit without its only image cannot know the class"


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
def test_a_whole_class_in_one_unit_judges_nothing(shape: tuple[int, int]) -> None:
    Z, y = problem(shape)
    folds = np.where(y == 1, 10_000, np.arange(len(y)))
    folds[np.flatnonzero(y == 0)[:3]] = 10_000  # others of that unit judge
    system = system_of(Z, y, folds=folds)
    found, rows = system.left_out_scores(0.5), system.judged_rows
    wanted = refitted(Z, y, folds, np.ones(len(y)), 0.5, 3)
    assert np.array_equal(rows, np.flatnonzero(y != 1))
    np.testing.assert_allclose(found, wanted[rows], atol=5e-4)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
def test_where_nothing_can_be_left_out_the_usual_strength_is_taken(shape: tuple[int, int]) -> None:
    Z, y = problem(shape)
    for folds in (np.zeros(len(y), int), y):
        system = system_of(Z, y, folds=folds)
        assert not system.can_choose
        fitted = closed_form.finish(system, "ridge")
        assert (fitted.strength, fitted.curve, len(fitted.oof_rows)) == (
            ridge.USUAL_STRENGTH,
            [],
            0,
        )
        assert (fitted.head.scores(Z).argmax(1) == y).mean() > 0.9


@pytest.mark.parametrize("n_classes", [2, 200])
def test_few_and_many_classes(n_classes: int) -> None:
    Z, y = problem((420, 30), n_classes)
    found = system_of(Z, y, n_classes).left_out_scores(0.1)
    assert found.shape == (420, n_classes)
    some = np.arange(0, 420, 60)
    for row in some:
        W, b = solve(np.delete(Z, row, 0), np.delete(y, row), np.ones(419), 0.1, n_classes)
        np.testing.assert_allclose(found[row], Z[row] @ W + b, atol=2e-4)


def test_classes_that_no_image_has_get_no_score() -> None:
    Z, y = problem(TALL, 2)
    head = system_of(Z, y, 5).head(0.1)
    np.testing.assert_allclose(head.scores(Z)[:, 2:], 0, atol=1e-6)


@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
def test_constant_features_fall_back_to_the_shares_of_the_classes(shape: tuple[int, int]) -> None:
    _, y = problem(shape)
    y = np.where(np.arange(len(y)) % 5 == 0, 1, 0)
    Z = np.full(shape, 0.0, np.float32)
    fitted = fit_ridge(Z, y, n_classes=2, folds=np.arange(len(y)), sample_weight=np.ones(len(y)))
    shares = np.bincount(y) / len(y)
    np.testing.assert_allclose(fitted.head.scores(Z), np.tile(shares, (len(y), 1)), atol=1e-6)
    assert np.isfinite(fitted.oof_scores).all()


def test_repeated_columns_and_rows_stay_finite() -> None:
    Z, y = problem(TALL)
    Z = np.concatenate([Z, Z, np.zeros_like(Z[:, :3])], axis=1) / np.sqrt(2)
    rows = np.concatenate([np.arange(len(y)), np.arange(40)])
    folds = rows
    fitted = fit_ridge(Z[rows], y[rows], n_classes=3, folds=folds, sample_weight=np.ones(len(rows)))
    assert np.isfinite(fitted.oof_scores).all()
    assert np.isfinite(fitted.head.weight).all()
    wanted = refitted(Z[rows], y[rows], folds, np.ones(len(rows)), float(fitted.strength or 0), 3)
    np.testing.assert_allclose(fitted.oof_scores, wanted, atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [WIDE, TALL], ids=["gram", "covariance"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_features_that_are_not_finite_are_a_training_error(
    shape: tuple[int, int], bad: float
) -> None:
    Z, y = problem(shape)
    Z[3, 2] = bad
    with pytest.raises(TrainingError, match="finite"):
        fit_ridge(Z, y, n_classes=3, folds=np.arange(len(y)), sample_weight=np.ones(len(y)))


def test_large_data_leave_out_a_sample_of_whole_units(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, y = problem((300, 10))
    folds = units_of_two_to_five(300)
    everything = system_of(Z, y, folds=folds).left_out_scores(0.3)
    monkeypatch.setattr(ridge, "MAX_LEFT_OUT_NUMBERS", 1000)  # 100 rows of rank 10
    some = system_of(Z, y, folds=folds, seed=1)
    assert 40 < len(some.rows) < 160
    assert (np.diff(some.rows) > 0).all()
    inside = np.isin(np.arange(300), some.rows)
    assert all(inside[folds == fold].all() or not inside[folds == fold].any() for fold in folds)
    np.testing.assert_allclose(some.left_out_scores(0.3), everything[some.rows], atol=1e-6)
    again = system_of(Z, y, folds=folds, seed=1)
    assert np.array_equal(again.rows, some.rows), "the same seed draws the same rows"


@pytest.mark.parametrize("shape", [(60, 90), (300, 10)])
def test_many_classes_leave_out_a_sample_of_whole_units(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of all rows for all classes would be many times the features."""
    Z, y = problem(shape)
    everything = system_of(Z, y)
    monkeypatch.setattr(ridge, "MAX_LEFT_OUT_SCORES", 3 * shape[0] // 2)  # of half the rows
    some = system_of(Z, y)
    assert 0.3 * shape[0] < len(some.rows) < 0.7 * shape[0]
    for kind in closed_form.CLOSED_FORM:
        all_scores = closed_form._at(everything, kind, 0.1).scores
        own = closed_form._at(some, kind, 0.1).scores
        np.testing.assert_allclose(
            own - all_scores[some.rows], 0, atol=2e-2 if kind == "lda" else 1e-5
        )
    head, whole = some.head(0.1), everything.head(0.1)
    np.testing.assert_allclose(head.weight, whole.weight, atol=1e-6)


@pytest.mark.parametrize("shape", [WIDE, TALL, (600, 20)])
@pytest.mark.parametrize("strength", [float(STRENGTHS[6]), 0.37])
def test_leverage_is_the_diagonal_of_the_hat_matrix(
    shape: tuple[int, int], strength: float
) -> None:
    """One product for all strengths of the scale, another for those between, and the matrix."""
    Z, y = problem(shape)
    system = system_of(Z, y)
    wide = Z.astype(np.float64) - Z.astype(np.float64).mean(0)
    matrix = wide @ np.linalg.solve(wide.T @ wide + strength * np.eye(shape[1]), wide.T)
    np.testing.assert_allclose(system.hat.leverage(strength), np.diag(matrix), atol=2e-6)


def test_fits_that_are_kept_are_those_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, y = problem(TALL)
    system, other = system_of(Z, y), system_of(Z, y)
    first, again = system.hat.fits(0.1), system.hat.fits(0.1)
    assert first is again
    monkeypatch.setattr(hat, "MAX_KEPT_NUMBERS", 10)  # too many to keep
    assert np.array_equal(other.hat.fits(0.1), first)
    assert other.hat.fits(0.1) is not other.hat.fits(0.1)


def test_the_sample_is_never_empty() -> None:
    rows = ridge._rows_to_leave_out(np.zeros(50, int), 1, seed=0)
    assert np.array_equal(rows, np.arange(50))


@pytest.mark.parametrize("kind", closed_form.CLOSED_FORM)
def test_the_strength_is_the_best_of_the_curve(kind: str) -> None:
    Z, y = problem(TALL)
    system = system_of(Z, y, folds=np.arange(90))
    fitted = closed_form.finish(system, kind)
    best = min(fitted.curve, key=lambda point: point["loss"])
    assert fitted.strength == best["strength"]
    assert best["accuracy"] == pytest.approx((fitted.oof_scores.argmax(1) == y).mean())
    every = [closed_form._at(system, kind, float(s)).loss for s in STRENGTHS]
    assert best["loss"] == pytest.approx(min(every), rel=1e-6), "downhill ends at the bottom"


def test_the_ridge_chosen_is_that_of_normal_equations() -> None:
    Z, y = problem(TALL)
    fitted = fit_ridge(Z, y, n_classes=3, folds=np.arange(90), sample_weight=np.ones(90))
    wanted = refitted(Z, y, np.arange(90), np.ones(90), float(fitted.strength or 0), 3)
    np.testing.assert_allclose(fitted.oof_scores, wanted, atol=1e-4)


def test_an_inverse_leaves_out_only_those_that_judge() -> None:
    """A class that lies in one unit teaches and judges nothing, by either route."""
    Z, y = problem((24, 40))
    folds = np.where(y == 2, 1000, np.arange(len(y)))
    systems = [
        RidgeSystem.build(lambda: iter([Z]), y, n_classes=3, folds=folds, few_strengths=few)
        for few in (False, True)
    ]
    assert [type(system.hat) for system in systems] == [Spectrum, Inverses]
    assert all(np.array_equal(system.judged_rows, np.flatnonzero(y != 2)) for system in systems)
    for kind in closed_form.CLOSED_FORM:
        by_values, by_inverse = (closed_form._at(system, kind, 1.0) for system in systems)
        np.testing.assert_allclose(by_inverse.scores, by_values.scores, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(by_inverse.head().weight, by_values.head().weight, atol=1e-5)


def peak_bytes(n_rows: int, n_features: int = 768) -> int:
    """Of a decomposition whose rows are made when they are asked for."""
    y = np.arange(n_rows) % 3

    def chunks() -> Iterator[Array]:
        rng = np.random.default_rng(0)
        for start in range(0, n_rows, ridge.CHUNK_ROWS):
            n = min(ridge.CHUNK_ROWS, n_rows - start)
            yield rng.standard_normal((n, n_features), np.float32)

    tracemalloc.start()
    RidgeSystem.build(chunks, y, n_classes=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_is_that_of_one_chunk_however_many_rows_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No chunk is kept while the next one is made, and a row more costs its label, not itself."""
    monkeypatch.setattr(ridge, "CHUNK_ROWS", 4_096)
    monkeypatch.setattr(ridge, "MAX_LEFT_OUT_NUMBERS", 768_000)
    chunk = 4 * 768 * ridge.CHUNK_ROWS
    few, many = peak_bytes(2 * ridge.CHUNK_ROWS), peak_bytes(10 * ridge.CHUNK_ROWS)
    assert few < 4.5 * chunk  # 6.4 where the first and the previous one were kept
    assert (many - few) / (8 * ridge.CHUNK_ROWS) < 32  # bytes a row, of 3,072 of its features
