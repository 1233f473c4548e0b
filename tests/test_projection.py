"""The map keeps neighbours together, is the same each time, and stands whatever it is given."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.manifold import TSNE, trustworthiness

from regraft.machine import blas
from regraft.report import projection
from regraft.report.projection import project


def clusters(n_clusters=6, n=25, *, gap=1.0, n_features=40, seed=0):
    """Features in clusters whose centres are at random corners, and which cluster each is in."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(n_clusters), n)
    centres = rng.standard_normal((n_clusters, n_features)) * gap
    return (centres[of] + rng.standard_normal((len(of), n_features)) * 0.5).astype(np.float32), of


def a_curl(n=300, seed=0):
    """A line rolled up, in many dimensions: no clusters, but neighbours to keep."""
    t = np.linspace(0, 3 * np.pi, n)
    flat = np.stack([np.cos(t) * t, np.sin(t) * t, t], 1)
    turn = np.random.default_rng(seed).standard_normal((3, 64))
    return (flat @ turn).astype(np.float32)


def nearest_on_map(Z):
    square = ((Z[:, None] - Z) ** 2).sum(axis=2)
    np.fill_diagonal(square, np.inf)
    return square.argmin(axis=1)


def test_known_clusters_stay_together_and_apart():
    X, of = clusters()
    Z = project(X)
    assert Z.shape == (150, 2)
    assert Z.dtype == np.float32
    assert (of[nearest_on_map(Z)] == of).mean() > 0.99
    centres = np.array([Z[of == k].mean(axis=0) for k in range(6)])
    radius = max(np.linalg.norm(Z[of == k] - centres[k], axis=1).mean() for k in range(6))
    apart = min(np.linalg.norm(a - b) for i, a in enumerate(centres) for b in centres[:i])
    assert apart > 2 * radius


@pytest.mark.parametrize("X", [clusters()[0], a_curl(), clusters(1, 200)[0]])
def test_neighbours_are_kept_about_as_well_as_by_scikit_learn(X):
    ours = trustworthiness(X, project(X), n_neighbors=10)
    reference = TSNE(perplexity=30, max_iter=500, random_state=0).fit_transform(X)
    assert ours > trustworthiness(X, reference, n_neighbors=10) - 0.03


def test_neighbours_are_kept_better_than_by_two_principal_components():
    X, _ = clusters(20, 10)
    components = projection._principal_components(X - X.mean(axis=0), seed=0)[:, :2]
    ours = trustworthiness(X, project(X), n_neighbors=10)
    assert ours > 0.9
    assert ours > trustworthiness(X, components, n_neighbors=10) + 0.05


# -- The same again --


def test_the_same_features_give_the_same_bits_whatever_the_threads():
    X, _ = clusters()
    once = project(X)
    with blas.threads(1):
        assert np.array_equal(project(X), once)
    assert np.array_equal(project(X.astype(np.float64)), once)


def test_another_order_of_the_rows_gives_a_map_as_good():
    X, of = clusters()
    order = np.random.default_rng(0).permutation(len(X))
    Z, shuffled = project(X), project(X[order])
    assert (of[order][nearest_on_map(shuffled)] == of[order]).mean() > 0.99
    assert (
        abs(
            trustworthiness(X, Z, n_neighbors=10)
            - trustworthiness(X[order], shuffled, n_neighbors=10)
        )
        < 0.02
    )


@pytest.mark.parametrize("factor", [1e-18, 1e-3, 1e18])
def test_the_unit_of_the_features_does_not_matter(factor):
    X, of = clusters()
    Z = project(X * np.float32(factor) + np.float32(factor))
    assert np.isfinite(Z).all()
    assert (of[nearest_on_map(Z)] == of).mean() > 0.99


# -- Its parts, by another route --


def test_principal_components_are_those_of_the_whole_decomposition():
    X, _ = clusters(5)
    X -= X.mean(axis=0)
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    found = projection._principal_components(X, seed=3)
    np.testing.assert_allclose(np.abs(found[:, :4]), np.abs(U * s)[:, :4], atol=2e-3)
    assert ((found**3).sum(axis=0)[:4] >= 0).all()


def test_each_image_has_as_many_neighbours_as_the_perplexity_says():
    points = np.random.default_rng(0).standard_normal((80, 5)).astype(np.float32)
    square = ((points[:, None] - points) ** 2).sum(axis=2)
    np.fill_diagonal(square, np.inf)
    nearest = np.sort(square, axis=1)[:, :60]
    weight = np.exp(-projection._rates(nearest, np.log(20.0)) * nearest)
    p = weight / weight.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(-(p * np.log(p + 1e-30)).sum(axis=1)), 20, rtol=1e-3)


def test_neighbour_shares_are_symmetric_and_sum_to_one():
    shares = projection._neighbour_shares(clusters()[0])
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(shares, shares.T)
    assert (np.diag(shares) == 0).all()


@pytest.mark.parametrize("rows", [7, 128])
def test_the_slope_is_that_of_the_divergence(rows, monkeypatch):
    monkeypatch.setattr(projection, "_ROWS", rows)
    rng = np.random.default_rng(0)
    shares = projection._neighbour_shares(rng.standard_normal((20, 4)).astype(np.float32))
    Y = rng.standard_normal((20, 2)).astype(np.float32)

    def divergence(Y):
        q = 1 / (1 + ((Y[:, None] - Y) ** 2).sum(axis=2))
        np.fill_diagonal(q, 0)
        off = ~np.eye(20, dtype=bool)
        p = shares[off].astype(np.float64)
        return float((p * np.log(np.maximum(p, 1e-30) / (q / q.sum())[off])).sum())

    slope = projection._slope(shares, Y, 1.0, np.empty((2, min(rows, 20), 20), np.float32))
    for i, c in [(0, 0), (7, 1), (19, 0)]:
        moved = [Y.astype(np.float64).copy() for _ in range(2)]
        moved[0][i, c] += 1e-4
        moved[1][i, c] -= 1e-4
        assert slope[i, c] == pytest.approx(
            (divergence(moved[0]) - divergence(moved[1])) / 2e-4, rel=1e-2, abs=1e-5
        )


# -- Whatever it is given --


@pytest.mark.parametrize("n", [*range(9), 12, 20])
def test_few_images_do_not_fly_apart(n):
    for seed in range(3):
        X, _ = clusters(1, n, seed=seed)
        Z = project(X)
        assert Z.shape == (n, 2)
        assert Z.dtype == np.float32
        assert (np.abs(Z) < 100).all()


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((30, 8)),
        np.full((30, 8), 0.1),
        np.full((3, 8), 7e4),
        np.random.default_rng(0).normal(size=(1, 5)).repeat(30, axis=0),
        np.zeros((30, 0)),
    ],
)
def test_constant_features_give_one_point(X):
    assert np.array_equal(project(X), np.zeros((len(X), 2)))


def test_copies_lie_together():
    X, _ = clusters(4, 15)
    Z = project(np.concatenate([X, X]))
    assert np.isfinite(Z).all()
    assert np.linalg.norm(Z[:60] - Z[60:], axis=1).max() < 0.1 * np.abs(Z).max()


def test_more_copies_than_neighbours_that_count():
    X = np.repeat(np.eye(3, dtype=np.float32), 60, axis=0)
    Z = project(X)
    assert np.isfinite(Z).all()
    assert (nearest_on_map(Z) // 60 == np.arange(180) // 60).all()


def test_one_feature_and_one_that_stands_out():
    assert np.isfinite(project(np.arange(50.0)[:, None])).all()
    X, _ = clusters()
    X[3] = 1e6
    assert np.isfinite(project(X)).all()


@settings(max_examples=25, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(0, 12), st.integers(0, 4)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_the_map_is_always_finite(X):
    Z = project(X)
    assert Z.shape == (len(X), 2)
    assert np.isfinite(Z).all()


@pytest.mark.parametrize("X", [np.zeros(3), np.zeros((2, 2, 2)), np.array([[np.nan, 1], [0, 1]])])
def test_what_is_no_table_of_numbers_is_refused(X):
    with pytest.raises(ValueError, match="finite features"):
        project(X)


def test_four_hundred_images_are_quick():
    X = np.random.default_rng(0).standard_normal((400, 2000)).astype(np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        project(X)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0  # 0.15 s on an idle machine
