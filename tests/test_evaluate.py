"""The whole evaluation: the JSON contract, extreme splits, and what must not change the numbers."""

import importlib
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.neighbors import KNeighborsClassifier

from regraft.evaluation.baseline import majority_baseline, nearest_neighbour_baseline
from regraft.evaluation.calibration import softmax
from regraft.evaluation.confusion import Confusion
from regraft.evaluation.evaluate import evaluate, score_in_words
from regraft.evaluation.intervals import Estimate, wilson_interval

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss", "brier", "ece")
UPPER = {"log_loss": -math.log(np.finfo(float).eps), "brier": 2.0}


def _case(n=150, k=6, *, skill=2.0, seed=0, n_present=None):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_present or k, size=n)
    return y, softmax(rng.normal(size=(n, k)) + skill * np.eye(k)[y])


def _names(k):
    return [f"class {i}" for i in range(k)]


def _all_estimates(result):
    for name in METRICS:
        yield name, getattr(result, name)
    for k, estimate in result.top_k.items():
        yield f"top {k}", estimate
    for row in result.per_class:
        for name in ("precision", "recall", "f1", "auroc"):
            yield name, getattr(row, name)


def _assert_sound(result):
    for name, estimate in _all_estimates(result):
        if np.isnan(estimate.value):
            assert math.isnan(estimate.low)
            assert math.isnan(estimate.high)
            continue
        upper = UPPER.get(name, 1.0)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= upper + 1e-9, name


def test_values_are_those_of_scikit_learn():
    y, p = _case()
    result, predicted = evaluate(y, p, classes=_names(6)), p.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(y, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(y, predicted),
        "macro_f1": sk.f1_score(y, predicted, average="macro"),
        "auroc": sk.roc_auc_score(y, p, multi_class="ovr"),
        "log_loss": sk.log_loss(y, p),
        "brier": sk.brier_score_loss(y, p),
    }
    for name, value in expected.items():
        assert getattr(result, name).value == pytest.approx(value), name
    assert result.top_k[5].value == pytest.approx(sk.top_k_accuracy_score(y, p, k=5))
    assert_array_equal(result.confusion.matrix, sk.confusion_matrix(y, predicted))


def test_dictionary_is_the_contract():
    y, p = _case()
    result = evaluate(y, p, classes=_names(6), split="val")
    written = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (written["split"], written["n"], written["n_groups"]) == ("val", 150, None)
    for name in (*METRICS, "top_5_accuracy"):
        assert list(written[name]) == ["value", "low", "high", "level"]
    right = round(written["accuracy"]["value"] * 150)
    low, high = wilson_interval(right, 150)
    assert written["accuracy"] == {
        "value": right / 150,
        "low": pytest.approx(low),
        "high": pytest.approx(high),
        "level": 0.95,
    }
    assert [row["label"] for row in written["per_class"]] == _names(6)
    assert list(written["per_class"][0]) == ["label", "n", "precision", "recall", "f1", "auroc"]
    assert np.sum(written["confusion"]) == sum(row["n"] for row in written["per_class"]) == 150
    assert sum(row["n"] for row in written["reliability"]) == 150


def test_class_absent_from_the_split_is_a_row_with_no_images():
    y, p = _case(k=4, n_present=3)
    p[:, 3] = 0
    p /= p.sum(axis=1, keepdims=True)
    result = evaluate(y, p, classes=["a", "b", "c", "absent"])
    row = result.to_dict()["per_class"][3]
    assert (row["label"], row["n"]) == ("absent", 0)
    for name in ("precision", "recall", "f1", "auroc"):
        assert row[name] == {"value": None, "low": None, "high": None, "level": 0.95}
    without = evaluate(y, p[:, :3], classes=["a", "b", "c"])
    for name in METRICS:
        assert getattr(result, name) == getattr(without, name), name


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 2.0, 60.0, -60.0]),
    st.sampled_from([None, 1, 2, 100]),
    st.sampled_from([np.float32, np.float64]),
)
def test_tiny_perfect_wrong_and_grouped_splits_all_work(n, k, seed, skill, group_size, dtype):
    y, p = _case(n, k, skill=skill, seed=seed)
    groups = None if group_size is None else np.arange(n) // group_size
    result = evaluate(
        y, p.astype(dtype), classes=_names(k), groups=groups, top_k=(1, 2, 5), level=0.9
    )
    _assert_sound(result)
    json.dumps(result.to_dict(), allow_nan=False)


def test_one_image():
    result = evaluate(np.array([1]), np.array([[0.2, 0.8]]), classes=["a", "b"])
    _assert_sound(result)
    assert (result.accuracy.low, result.accuracy.high) == pytest.approx(wilson_interval(1, 1))
    assert np.isnan(result.auroc.value)
    assert result.brier.high == 2.0


def test_perfect_score_is_not_certain():
    y = np.repeat(np.arange(3), 8)
    result = evaluate(y, np.eye(3)[y], classes=_names(3))
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "auroc"):
        estimate = getattr(result, name)
        assert (estimate.value, estimate.high) == (1, 1)
        assert 0.6 < estimate.low < 0.95, name
    assert result.log_loss.value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("grouped", [False, True])
def test_order_of_images_changes_nothing(grouped):
    y, p = _case()
    groups = np.arange(150) // 3
    order = np.random.default_rng(1).permutation(150)
    a = evaluate(y, p, classes=_names(6), groups=groups if grouped else None)
    b = evaluate(y[order], p[order], classes=_names(6), groups=groups[order] if grouped else None)
    for (name, x), (_, z) in zip(_all_estimates(a), _all_estimates(b), strict=True):
        # Groups are drawn by number, and numbered by first appearance.
        tolerance = 0.02 if name == "ece" and grouped else 1e-9
        assert (x.value, x.low, x.high) == pytest.approx((z.value, z.low, z.high), abs=tolerance)


def test_renaming_classes_permutes_the_rows_and_nothing_else():
    y, p = _case(k=4)
    order = np.array([2, 0, 3, 1])  # new code j is old class order[j]
    a = evaluate(y, p, classes=_names(4))
    b = evaluate(order.argsort()[y], p[:, order], classes=[_names(4)[j] for j in order])
    assert b.classes == tuple(_names(4)[j] for j in order)
    assert_array_equal(b.confusion.matrix, a.confusion.matrix[np.ix_(order, order)])
    for new, old in enumerate(order):
        assert b.per_class[new].recall == a.per_class[old].recall
        assert b.per_class[new].auroc.low == pytest.approx(a.per_class[old].auroc.low)
    for name in METRICS:
        assert getattr(b, name).low == pytest.approx(getattr(a, name).low)


def test_same_seed_gives_the_same_numbers():
    y, p = _case()
    first, second = (evaluate(y, p, classes=_names(6), seed=3).to_dict() for _ in range(2))
    assert first == second


def test_groups_widen_intervals_of_copies():
    y, p = _case(40)
    y, p, groups = np.repeat(y, 5), np.repeat(p, 5, axis=0), np.repeat(np.arange(40), 5)
    plain = evaluate(y, p, classes=_names(6))
    grouped = evaluate(y, p, classes=_names(6), groups=groups)
    assert (plain.n_groups, grouped.n_groups) == (None, 40)
    for name in METRICS:
        a, b = getattr(plain, name), getattr(grouped, name)
        assert a.value == b.value
        assert b.high - b.low > 1.3 * (a.high - a.low), name


@pytest.mark.parametrize(
    ("y", "proba", "match"),
    [
        ([], np.zeros((0, 2)), "N of at least 1"),
        ([0], [[0.2, 0.3, 0.5]], r"for 2 classes .* got shapes \(1,\) and \(1, 3\)"),
        ([2], [[0.5, 0.5]], "codes in 0 to 1, got int64 from 2 to 2"),
        ([0.0], [[0.5, 0.5]], "whole codes"),
        ([0, 0], [[0.5, 0.5], [0.5, 0.6]], "1 of 2 do not, first row 1 .* sum 1.1"),
        ([0], [[-0.5, 1.5]], "minimum -0.5"),
        ([0], [[np.nan, 1.0]], "minimum nan"),
    ],
)
def test_what_is_not_a_prediction_is_refused(y, proba, match):
    with pytest.raises(ValueError, match=match):
        evaluate(np.array(y), np.array(proba), classes=["a", "b"])


def test_half_precision_and_lists_are_read():
    result = evaluate([0, 1], np.eye(2, dtype=np.float16), classes=["a", "b"])
    assert result.accuracy.value == 1
    assert evaluate([0, 1], [[1, 0], [0, 1]], classes=["a", "b"]).accuracy.value == 1


def test_majority_answers_the_first_of_the_most_frequent():
    estimate = majority_baseline(np.array([2, 1, 2, 1]), np.array([1, 1, 2, 0]), 3)
    assert estimate.value == 0.5
    assert (estimate.low, estimate.high) == pytest.approx(wilson_interval(2, 4))


@pytest.mark.parametrize("block", [16, 10**6])
def test_nearest_neighbour_agrees_with_scikit_learn(monkeypatch, block):
    module = importlib.import_module("regraft.evaluation.baseline")
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", block)
    rng = np.random.default_rng(0)
    X_train, X = rng.normal(size=(57, 8)).astype(np.float32), rng.normal(size=(31, 8))
    y_train, y = rng.integers(0, 3, 57), rng.integers(0, 3, 31)
    model = KNeighborsClassifier(1, metric="cosine").fit(X_train, y_train)
    estimate = nearest_neighbour_baseline(X_train, y_train, X.astype(np.float32), y)
    assert estimate.value == pytest.approx(model.score(X, y))


def test_nearest_neighbour_of_many_images_is_that_of_an_even_part(monkeypatch):
    module = importlib.import_module("regraft.evaluation.baseline")
    monkeypatch.setattr(module, "MOST_SCORED", 15)
    monkeypatch.setattr(module, "MOST_PAIRS", 11 * 20)  # every third of 57
    rng = np.random.default_rng(0)
    X_train, X = rng.normal(size=(57, 8)), rng.normal(size=(31, 8))
    y_train, y = rng.integers(0, 3, 57), rng.integers(0, 3, 31)
    model = KNeighborsClassifier(1, metric="cosine").fit(X_train[::3], y_train[::3])
    estimate = nearest_neighbour_baseline(X_train, y_train, X, y)
    assert estimate.value == pytest.approx(model.score(X[::3], y[::3]))


class _Read:
    """A matrix on disk that knows how many rows were asked for at once."""

    def __init__(self, X):
        self.X, self.shape, self.most = X, X.shape, 0

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        found = self.X[rows]
        self.most = max(self.most, len(found))
        return found


def test_nearest_neighbour_never_copies_what_lies_on_disk(monkeypatch):
    module = importlib.import_module("regraft.evaluation.baseline")
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 64)
    rng = np.random.default_rng(0)
    X_train, X = _Read(rng.normal(size=(57, 8))), _Read(rng.normal(size=(31, 8)))
    nearest_neighbour_baseline(X_train, rng.integers(0, 3, 57), X, rng.integers(0, 3, 31))
    assert (X_train.most, X.most) == (8, 8)


def test_nearest_neighbour_bears_rows_of_zeros_and_refuses_other_widths():
    X = np.zeros((2, 3))
    y = np.array([0, 1])
    assert nearest_neighbour_baseline(X, y, X, y).value == 0.5
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        nearest_neighbour_baseline(X, y, np.zeros((2, 4)), y)
    with pytest.raises(ValueError, match="M of at least 1"):
        nearest_neighbour_baseline(X[:0], y[:0], X, y)


@pytest.mark.parametrize(
    ("estimate", "n", "split", "text"),
    [
        (
            Estimate(1.0, 0.5, 1.0),
            1,
            "",
            "100.0 % of 1 image right (95 % interval 50.0 to 100.0 %)",
        ),
        (
            Estimate(0.9996, 0.9994, 0.99972, 0.9),
            50_000,
            "test",
            "99.96 % of 50,000 test images right (90 % interval 99.9 to 99.97 %)",
        ),
        (
            Estimate(0.0, 0.0, 0.2),
            10,
            "val",
            "0.0 % of 10 val images right (95 % interval 0.0 to 20.0 %)",
        ),
    ],
)
def test_words_say_what_the_numbers_say(estimate, n, split, text):
    assert score_in_words(estimate, n, split=split) == text


def test_room_imports_nothing_heavy():
    code = (
        "import sys, regraft.evaluation;"
        "print([m for m in ('torch', 'scipy', 'sklearn', 'timm') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_many_classes_stay_within_bounded_memory():
    """2,000 images, 1,000 classes: nothing of replicates x images x classes is made."""
    import tracemalloc

    y, p = _case(2000, 1000, skill=6.0)
    p = p.astype(np.float32)  # 8 MB
    tracemalloc.start()
    result = evaluate(y, p, classes=_names(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.accuracy.value > 0.7
    assert peak < 120e6


def test_very_many_classes_are_told_by_what_occurred() -> None:
    """10,000 classes: the matrix alone would be 10^8 numbers."""
    K, rng = 10_000, np.random.default_rng(0)
    y, called = rng.integers(0, K, 3_000), rng.integers(0, K, 3_000)
    called[1_000:] = y[1_000:]
    called[:40], y[:40] = 7, 3
    confusion = Confusion.of(y, called, K)
    written = json.loads(json.dumps(confusion.to_dict()))
    assert written["confusion"] is None
    assert len(written["confusion_cells"]) <= 3_000
    again = Confusion.from_dict({**written, "per_class": [{}] * K})
    for own, other in ((again.true, np.bincount(y, minlength=K)),
                       (again.predicted, np.bincount(called, minlength=K)),
                       (again.right, np.bincount(y[y == called], minlength=K))):  # fmt: skip
        assert_array_equal(own, other)
    assert again.mistakes()[0] == (40 + int(((y == 3) & (called == 7))[40:].sum()), 3, 7)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_what_is_written_of_few_classes_comes_back(n_classes: int) -> None:
    rng = np.random.default_rng(1)
    confusion = Confusion.of(*rng.integers(0, n_classes, (2, 50)), n_classes)
    assert_array_equal(Confusion.from_dict(confusion.to_dict()).matrix, confusion.matrix)
