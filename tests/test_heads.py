"""Heads keep one contract, agree with scikit-learn, and give known answers."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.svm import LinearSVC

from regraft.probe.convex import PrincipalRows, solve
from regraft.probe.linear_head import LinearHead
from regraft.probe.logistic import Logistic, fit_logistic
from regraft.probe.neighbours import NeighbourHead, fit_knn, fit_nearest_mean, nearest
from regraft.probe.out_of_fold import merged_folds
from regraft.probe.svm import OneAgainstRest, fit_svm

FITS = {"logistic": fit_logistic, "svm": fit_svm, "mean": fit_nearest_mean, "knn": fit_knn}
every_head = pytest.mark.parametrize("fit", FITS.values(), ids=FITS.keys())
convex_head = pytest.mark.parametrize("fit", [fit_logistic, fit_svm], ids=["logistic", "svm"])
shapes = pytest.mark.parametrize(("N", "D"), [(90, 20), (60, 200)], ids=["tall", "wide"])


def _images(N=90, D=20, K=3, skill=2.5, seed=0):
    """Centred rows of unit mean square norm, as a representation leaves them."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(N) % K)
    Z = rng.normal(size=(N, D))
    Z[:, :K] += skill * np.sqrt(D / 20) * np.eye(K)[y]
    Z -= Z.mean(axis=0)
    Z /= np.sqrt((Z**2).sum(axis=1).mean())
    return Z.astype(np.float32), y


def _fit(fit, Z, y, *, K=None, folds=None, weight=None):
    return fit(
        Z,
        y,
        n_classes=int(y.max()) + 1 if K is None else K,
        folds=np.arange(len(y)) if folds is None else folds,
        sample_weight=np.ones(len(y)) if weight is None else weight,
    )


def _softmax(scores):
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def _solved(family, Z, y, strength, weight=None):
    """Scores of a convex head at one strength."""
    principal = PrincipalRows.of(Z)
    start = np.zeros((principal.rows.shape[1], y.max() + 1))
    weight = np.ones(len(y)) if weight is None else weight
    head = principal.head(solve(family, principal, y, weight, strength, start=start))
    return head.scores(Z)


# Every head


@every_head
@shapes
def test_fit_says_what_the_contract_asks(fit, N, D):
    Z, y = _images(N, D)
    fitted = _fit(fit, Z, y)
    scores = fitted.head.scores(Z)
    assert scores.shape == fitted.oof_scores.shape == (N, 3)
    assert np.isfinite(scores).all()
    assert np.isfinite(fitted.oof_scores).all()
    assert all(set(point) == {"strength", "loss", "accuracy"} for point in fitted.curve)
    assert all(np.isfinite(list(point.values())).all() for point in fitted.curve)
    if fitted.strength is not None:
        assert fitted.strength in [point["strength"] for point in fitted.curve]


@every_head
def test_saved_head_gives_the_same_bits(fit):
    Z, y = _images()
    head = _fit(fit, Z, y).head
    again = type(head).from_tensors(head.to_tensors())
    assert again.kind == head.kind in {"linear", "knn"}
    assert_array_equal(again.scores(Z), head.scores(Z))


@every_head
def test_fit_repeats_bit_by_bit(fit):
    Z, y = _images()
    one, two = _fit(fit, Z, y), _fit(fit, Z, y)
    assert_array_equal(one.head.scores(Z), two.head.scores(Z))
    assert_array_equal(one.oof_scores, two.oof_scores)
    assert one.curve == two.curve


@every_head
def test_renaming_classes_renames_columns(fit):
    Z, y = _images()
    new = np.array([2, 0, 1])
    one, two = _fit(fit, Z, y), _fit(fit, Z, new[y])
    assert one.strength == two.strength
    assert_allclose(two.head.scores(Z)[:, new], one.head.scores(Z), atol=1e-4)
    assert_allclose(two.oof_scores[:, new], one.oof_scores, atol=1e-3)


@every_head
@shapes
def test_order_of_rows_does_not_matter(fit, N, D):
    Z, y = _images(N, D)
    folds = np.random.default_rng(1).integers(0, 7, size=N)
    order = np.random.default_rng(2).permutation(N)
    one, two = _fit(fit, Z, y, folds=folds), _fit(fit, Z[order], y[order], folds=folds[order])
    assert one.strength == pytest.approx(two.strength)
    assert_allclose(_softmax(two.head.scores(Z)), _softmax(one.head.scores(Z)), atol=1e-6)
    assert_allclose(_softmax(two.oof_scores), _softmax(one.oof_scores[order]), atol=1e-3)


@every_head
@shapes
def test_left_out_accuracy_beats_chance_and_is_honest(fit, N, D):
    Z, y = _images(N, D)
    assert (_fit(fit, Z, y).oof_scores.argmax(1) == y).mean() > 0.6
    noise = np.random.default_rng(3).permutation(y)
    assert (_fit(fit, Z, noise).oof_scores.argmax(1) == noise).mean() < 0.55


@every_head
def test_left_out_scores_are_those_of_a_fit_without_the_fold(fit):
    Z, y = _images()
    Z = np.vstack([Z, Z])  # each image twice, so that a leak would be perfect
    y = np.concatenate([y, (y + 1) % 3])
    twins = np.tile(np.arange(90), 2)
    seen, unseen = _fit(fit, Z, y), _fit(fit, Z, y, folds=twins)
    right = [(f.oof_scores.argmax(1) == y).mean() for f in (seen, unseen)]
    assert right[1] > right[0] - 0.02  # a twin votes for the wrong class


@every_head
def test_class_of_one_image_scores_low_and_finite(fit):
    Z, y = _images()
    y[17] = 3
    fitted = _fit(fit, Z, y)
    assert np.isfinite(fitted.oof_scores).all()
    assert 17 not in fitted.oof_rows, "without its only image the class is not known"
    assert np.isfinite(fitted.head.scores(Z)).all()
    assert (fitted.oof_scores.argmax(1) == y[fitted.oof_rows]).mean() > 0.6


@every_head
def test_class_without_images_is_never_predicted(fit):
    Z, y = _images()
    scores = _fit(fit, Z, y, K=5).head.scores(Z)
    assert scores.shape == (90, 5)
    assert np.isfinite(scores).all()
    assert scores.argmax(1).max() < 3


@every_head
def test_constant_features_give_no_error(fit):
    _, y = _images()
    fitted = _fit(fit, np.zeros((90, 5), np.float32), y)
    assert np.isfinite(fitted.head.scores(np.zeros((2, 5), np.float32))).all()


@every_head
def test_two_images_are_enough(fit):
    Z = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    fitted = _fit(fit, Z, np.array([0, 1]))
    assert_array_equal(fitted.head.scores(Z).argmax(1), [0, 1])
    assert np.isfinite(fitted.oof_scores).all()


@every_head
@pytest.mark.parametrize("folds", [np.zeros(90, int), None], ids=["one unit", "a unit a class"])
def test_where_nothing_can_be_left_out_nothing_is_measured(fit, folds):
    Z, y = _images()
    fitted = _fit(fit, Z, y, folds=y if folds is None else folds)
    assert fitted.oof_scores.shape == (0, 3)
    assert len(fitted.oof_rows) == len(fitted.curve) == 0
    measured = _fit(fit, Z, y)
    new_Z, new_y = _images(seed=9)
    right = [(f.head.scores(new_Z).argmax(1) == new_y).mean() for f in (fitted, measured)]
    assert right[0] > right[1] - 0.05


@every_head
def test_a_class_in_one_unit_judges_nothing(fit):
    Z, y = _images()
    folds = np.where(y == 1, 1000, np.arange(90))
    fitted = _fit(fit, Z, y, folds=folds)
    assert_array_equal(fitted.oof_rows, np.flatnonzero(y != 1))
    best = max(point["accuracy"] for point in fitted.curve)
    assert best > 0.6, "its images are not counted as mistakes"


@every_head
def test_heavier_class_wins_more(fit):
    Z, y = _images(skill=0.7)
    heavy = np.where(y == 2, 5.0, 1.0)
    if fit is fit_nearest_mean:
        heavy = np.where(np.arange(90) < 45, 5.0, 1.0)
        assert not np.allclose(
            _fit(fit, Z, y, weight=heavy).head.weight, _fit(fit, Z, y).head.weight
        )
        return
    counts = [(_fit(fit, Z, y, weight=w).oof_scores.argmax(1) == 2).sum() for w in (None, heavy)]
    assert counts[1] > counts[0]


# Logistic regression and support vector machine


@shapes
@pytest.mark.parametrize("strength", [10.0, 1e-1, 1e-3])
def test_logistic_is_that_of_scikit_learn(N, D, strength):
    Z, y = _images(N, D, K=4)
    weight = np.random.default_rng(5).uniform(0.2, 3, size=N)
    peer = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000)
    peer.fit(Z.astype(np.float64), y, sample_weight=weight)
    ours = _softmax(_solved(Logistic(4), Z, y, strength, weight))
    assert_allclose(ours, peer.predict_proba(Z.astype(np.float64)), atol=1e-3)


@shapes
@pytest.mark.parametrize("strength", [10.0, 1e-1, 1e-2])
def test_svm_is_that_of_scikit_learn(N, D, strength):
    Z, y = _images(N, D)
    weight = np.random.default_rng(5).uniform(0.2, 3, size=N)
    # LinearSVC penalises its bias; a large scaling makes that penalty vanish. It has no factor 1/2
    # less than ours: strength / 2 |w|^2 + sum s h^2.
    peer = LinearSVC(
        C=1 / strength, dual=False, intercept_scaling=300.0, tol=1e-10, max_iter=20_000
    )
    peer.fit(Z.astype(np.float64), y, sample_weight=weight)
    ours = _solved(OneAgainstRest(3), Z, y, strength, weight)
    assert_allclose(ours, peer.decision_function(Z.astype(np.float64)), atol=5e-3)


@pytest.mark.parametrize("family", [Logistic(3), OneAgainstRest(3)], ids=["logistic", "svm"])
@shapes
def test_weight_two_equals_the_row_twice(family, N, D):
    Z, y = _images(N, D)
    twice = np.arange(0, N, 3)
    weight = np.ones(N)
    weight[twice] = 2
    weighted = _solved(family, Z, y, 0.05, weight)
    repeated = _solved(family, np.vstack([Z, Z[twice]]), np.concatenate([y, y[twice]]), 0.05)
    assert_allclose(repeated[:N], weighted, atol=2e-4)


def test_logistic_without_features_gives_class_shares():
    y = np.array([0] * 6 + [1] * 3 + [2])
    scores = _solved(Logistic(3), np.zeros((10, 2), np.float32), y, 1.0)
    assert_allclose(_softmax(scores)[0], [0.6, 0.3, 0.1], atol=1e-3)


def test_svm_of_two_points_is_worked_by_hand():
    # Points +1 and -1: 2 (1 - w)^2 + w^2 / 2 per class is least at w = 4/5.
    Z = np.array([[1.0], [-1.0]], np.float32)
    scores = _solved(OneAgainstRest(2), Z, np.array([0, 1]), 1.0)
    assert_allclose(scores, [[0.8, -0.8], [-0.8, 0.8]], atol=1e-4)


@convex_head
def test_path_spans_eight_decades_and_can_end_early(fit):
    from regraft.probe.convex import RELATIVE_STRENGTHS

    assert len(RELATIVE_STRENGTHS) >= 20
    assert RELATIVE_STRENGTHS[0] / RELATIVE_STRENGTHS[-1] == pytest.approx(1e8)
    Z, y = _images(skill=0.5)
    fitted = _fit(fit, Z, y)
    losses = [point["loss"] for point in fitted.curve]
    assert len(losses) < 20
    if fit is fit_logistic:
        assert fitted.strength == fitted.curve[int(np.argmin(losses))]["strength"]


@convex_head
def test_parts_of_the_folds_give_what_all_folds_together_give(fit, monkeypatch):
    Z, y = _images()
    together = _fit(fit, Z, y)
    monkeypatch.setattr("regraft.probe.convex.MAX_NUMBERS", 90 * 3)
    apart = _fit(fit, Z, y)
    assert_allclose(_softmax(apart.oof_scores), _softmax(together.oof_scores), atol=1e-2)
    assert_allclose(_softmax(apart.head.scores(Z)), _softmax(together.head.scores(Z)), atol=1e-5)


# Nearest mean and nearest images


def test_equal_classes_shrink_equally_so_that_ranks_are_nearest_centroids():
    Z, y = _images()
    peer = NearestCentroid().fit(Z, y)
    fitted = _fit(fit_nearest_mean, Z, y)
    assert fitted.strength is None
    factor = fitted.head.weight / peer.centroids_
    assert_allclose(factor, factor[0, 0], rtol=1e-4)
    assert 0.3 < factor[0, 0] < 1


def test_nearest_mean_leaves_out_exactly():
    Z, y = _images()
    folds = np.random.default_rng(1).integers(0, 6, size=90)
    fitted = _fit(fit_nearest_mean, Z, y, folds=folds)
    for fold in range(6):
        rest = folds != fold
        head = _fit(fit_nearest_mean, Z[rest], y[rest]).head
        assert_allclose(fitted.oof_scores[~rest], head.scores(Z[~rest]), atol=1e-5)


def test_class_of_one_image_shrinks_more_than_a_class_of_thirty():
    Z, y = _images()
    y[17] = 3
    weight = _fit(fit_nearest_mean, Z, y).head.weight
    means = np.stack([Z[y == k].mean(axis=0) for k in range(4)])
    factors = np.linalg.norm(weight, axis=1) / np.linalg.norm(means, axis=1)
    assert factors[3] < 0.7 * factors[:3].min()


def test_neighbours_are_those_of_scikit_learn():
    Z, y = _images()
    head = NeighbourHead.from_tensors(
        {
            "rows": (Z / np.linalg.norm(Z, axis=1, keepdims=True)).astype(np.float32),
            "codes": y.astype(np.int32),
            "weight": np.ones(90, np.float32),
            "counts": np.array([7, 3]),
        }
    )
    peer = KNeighborsClassifier(
        7, metric="cosine", weights=lambda d: np.exp(-(d - d[:, :1]) / 0.07)
    ).fit(Z, y)
    asked = np.random.default_rng(8).normal(size=(50, 20)).astype(np.float32)
    assert_array_equal(head.scores(asked).argmax(1), peer.predict(asked))


def test_votes_are_worked_by_hand():
    head = NeighbourHead(
        np.eye(2, dtype=np.float16), np.array([0, 1], np.int32), np.ones(2, np.float32), 1, 2
    )
    # One full vote and one blank vote, halved: 3/4 and 1/4.
    assert_allclose(np.exp(head.scores(np.array([[2.0, 0.0]]))), [[0.75, 0.25]], rtol=1e-6)


def test_neighbours_come_nearest_first():
    order, near = nearest(np.array([[0.1, 0.9, 0.5]], np.float32), 2)
    assert_array_equal(order, [[1, 2]])
    assert_allclose(near, [[0.9, 0.5]])


def test_neighbour_scores_do_not_depend_on_chunks(monkeypatch):
    Z, y = _images()
    head = _fit(fit_knn, Z, y).head
    whole = head.scores(Z)
    monkeypatch.setattr("regraft.probe.neighbours.CHUNK_ROWS", 13)
    assert_allclose(head.scores(Z), whole, atol=1e-5)


# Shared parts


@pytest.mark.parametrize(
    "change",
    [
        {"bias": np.zeros(4, np.float32)},
        {"weight": np.zeros(3, np.float32)},
        {"weight": np.zeros((3, 2), np.float64)},
    ],
)
def test_linear_head_refuses_tensors_that_do_not_fit(change):
    tensors = {"weight": np.zeros((3, 2), np.float32), "bias": np.zeros(3, np.float32)} | change
    with pytest.raises(ValueError, match="linear head"):
        LinearHead.from_tensors(tensors)


@pytest.mark.parametrize(
    "change",
    [
        {"codes": np.zeros(3, np.int32)},
        {"counts": np.array([1, 2, 3])},
        {"counts": np.array([5, 2])},
        {"codes": np.array([0, 2], np.int32)},
    ],
)
def test_neighbour_head_refuses_tensors_that_do_not_fit(change):
    good = {
        "rows": np.eye(2, dtype=np.float16),
        "codes": np.array([0, 1], np.int32),
        "weight": np.ones(2, np.float32),
        "counts": np.array([1, 2]),
    }
    with pytest.raises(ValueError, match=r"knn head|codes must be"):
        NeighbourHead.from_tensors(good | change)
    with pytest.raises(KeyError):
        NeighbourHead.from_tensors({"rows": good["rows"]})


def test_merged_folds_are_balanced_stratified_and_keep_rows_together():
    rng = np.random.default_rng(0)
    folds = rng.integers(0, 60, size=300)
    y = rng.integers(0, 4, size=300)
    merged = merged_folds(folds, y)
    assert set(merged) == set(range(5))
    assert all(len(set(merged[folds == fold])) == 1 for fold in range(60))
    counts = np.array([np.bincount(y[merged == fold], minlength=4) for fold in range(5)])
    assert (np.abs(counts - 15) <= 6).all()
    alone = merged_folds(np.arange(300), y)
    counts = np.array([np.bincount(y[alone == fold], minlength=4) for fold in range(5)])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_heads_do_not_import_scipy_or_scikit_learn():
    code = (
        "import sys, numpy as np\n"
        "from regraft.probe import logistic, svm, neighbours\n"
        "y = np.arange(20) % 2\n"
        "Z = np.random.default_rng(0).normal(size=(20, 3))\n"
        "for fit in (logistic.fit_logistic, svm.fit_svm, neighbours.fit_knn,"
        " neighbours.fit_nearest_mean):\n"
        "    fit(Z, y, n_classes=2, folds=np.arange(20), sample_weight=np.ones(20))\n"
        "assert not {'scipy', 'sklearn', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
