"""`ImageClassifier` keeps scikit-learn's contract, on paths, pictures and arrays alike."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.utils.estimator_checks
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from conftest import ONE_ANSWER
from regraft import RunConfig, load, run
from regraft.errors import BackboneError, ConfigError, DataError, TableError, UsageError
from regraft.estimator import ImageClassifier

pytestmark = [pytest.mark.numerics, pytest.mark.usefixtures("one_core")]

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def photos(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> tuple[Path, Path]:
    """Lossless pictures, eight of each of two classes, and a cache with the engine."""
    room = make_room("estimator")
    put_engines(room / "cache")
    folder = make_photos(room / "photos", classes=("discs", "stripes"), n=8, size_px=64)
    for path in sorted(folder.rglob("*.jpg")):
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
        os.utime(path.with_suffix(".png"), ns=(10**18, 10**18))
    return folder, room / "cache"


@pytest.fixture
def data(photos: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """X and y, the classes in turn."""
    monkeypatch.setenv("REGRAFT_CACHE", str(photos[1]))
    paths = sorted(map(str, photos[0].rglob("*.png")), key=lambda p: p[::-1])
    return paths, [Path(p).parent.name for p in paths]


def test_parameters_are_kept_as_given_and_cloned() -> None:
    classifier = ImageClassifier(
        "probe",
        backbone="lite1",
        taps=["final"],
        head="svm",
        class_weight="balanced",
        random_state=3,
    )
    twin = clone(classifier)
    assert twin.get_params() == classifier.get_params()
    assert twin.get_params()["taps"] == ["final"]
    twin.set_params(head="ridge")
    assert (twin.head, classifier.head) == ("ridge", "svm")
    with pytest.raises(ValueError, match="colour"):
        twin.set_params(colour="red")


def test_it_learns_and_says_so(data: Any) -> None:
    X, y = data
    classifier = ImageClassifier()
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    assert classifier.fit(X, y) is classifier
    assert list(classifier.classes_) == ["discs", "stripes"]
    proba = classifier.predict_proba(X)
    assert proba.shape == (16, 2)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    assert classifier.score(X, y) > 0.9
    assert list(classifier.predict(X[:1])) == [classifier.classes_[proba[0].argmax()]]


def test_cross_validation_works(data: Any) -> None:
    X, y = data
    scores = cross_val_score(ImageClassifier(), X, y, cv=4, error_score="raise")
    assert scores.shape == (4,)
    assert scores.mean() > 0.8
    groups = [i // 4 for i in range(16)]
    grouped = cross_val_score(
        ImageClassifier(), X, y, cv=GroupKFold(2), groups=groups, error_score="raise"
    )
    assert grouped.mean() > 0.8


def test_labels_keep_their_type(data: Any) -> None:
    X, y = data
    numbers = [7 if label == "discs" else 3 for label in y]
    classifier = ImageClassifier().fit(X, numbers)
    assert list(classifier.classes_) == [3, 7]
    assert set(classifier.predict(X)) == {3, 7}
    assert classifier.score(X, numbers) > 0.9


def test_paths_pictures_and_arrays_teach_and_are_answered_alike(data: Any) -> None:
    X, y = data
    pictures = [Image.open(path) for path in X]
    arrays = [np.asarray(picture) for picture in pictures]
    from_paths = ImageClassifier().fit(X, y)
    from_arrays = ImageClassifier().fit(arrays, y)
    wanted = from_paths.predict_proba(X)
    for classifier in (from_paths, from_arrays):
        for images in (X, [Path(p) for p in X], pictures, arrays, [a / 255 for a in arrays]):
            np.testing.assert_allclose(classifier.predict_proba(images), wanted, atol=ONE_ANSWER)
    assert np.ptp(wanted[:, 0]) > 0.1


def test_grey_and_transparent_arrays_are_pictures_too(data: Any) -> None:
    X, y = data
    classifier = ImageClassifier().fit(X, y)
    rgb = np.asarray(Image.open(X[0]))
    opaque = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    np.testing.assert_allclose(
        classifier.predict_proba([opaque]), classifier.predict_proba([rgb]), atol=ONE_ANSWER
    )
    grey = rgb[..., 0]
    np.testing.assert_allclose(
        classifier.predict_proba([grey]),
        classifier.predict_proba([np.dstack([grey] * 3)]),
        atol=ONE_ANSWER,
    )


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((9, 9), np.int64), "int64"),
        (np.full((9, 9), 255.0), r"255\.0"),
        (np.full((9, 9), -0.1), r"-0\.1"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(data: Any, image: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageClassifier().fit([image, image], ["a", "b"])


def test_bad_images_are_named_not_skipped(data: Any, tmp_path: Path) -> None:
    X, y = data
    (tmp_path / "bad.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 18 images.*bad\.jpg.*empty") as caught:
        ImageClassifier().fit([*X, str(tmp_path / "bad.jpg"), "gone.jpg"], [*y, "discs", "discs"])
    assert len(caught.value.rejected) == 2
    classifier = ImageClassifier().fit(X, y)
    with pytest.raises(DataError, match="1 of 1"):
        classifier.predict([str(tmp_path / "bad.jpg")])


def test_wrong_use_is_said(data: Any) -> None:
    X, y = data
    with pytest.raises(ValueError, match="16 and 15"):
        ImageClassifier().fit(X, y[:-1])
    with pytest.raises(TypeError, match="sequence of images"):
        ImageClassifier().fit(X[0], y[: len(X[0])] + ["x"] * (len(X[0]) - 16))
    with pytest.raises(DataError, match="at least 2 classes"):
        ImageClassifier().fit(X, ["same"] * 16)
    with pytest.raises(ConfigError, match="magic"):
        ImageClassifier("magic").fit(X, y)
    with pytest.raises(BackboneError, match="no/name"):
        ImageClassifier(backbone="no/name").fit(X, y)
    with pytest.raises(ConfigError, match=r"blocks\.99"):
        ImageClassifier(taps=["blocks.99"]).fit(X, y)


def test_groups_are_left_out_together(data: Any) -> None:
    X, y = data
    classifier = ImageClassifier().fit(X, y, groups=[i // 4 for i in range(16)])
    assert classifier.classifier_.learnt.chosen_by.startswith("leave-one-unit-out")


def test_a_saved_model_comes_back(data: Any, tmp_path: Path) -> None:
    X, y = data
    with pytest.raises(NotFittedError):
        ImageClassifier().save(tmp_path / "model")
    classifier = ImageClassifier().fit(X, y)
    folder = classifier.save(tmp_path / "model")
    assert folder == tmp_path / "model"
    loaded = ImageClassifier.load(folder)
    np.testing.assert_allclose(
        loaded.predict_proba(X), classifier.predict_proba(X), atol=ONE_ANSWER
    )
    assert list(loaded.classes_) == ["discs", "stripes"]
    assert loaded.score(X, y) > 0.9
    loaded.save(tmp_path / "again")
    again = ImageClassifier.load(tmp_path / "again")
    assert np.array_equal(again.predict_proba(X), loaded.predict_proba(X))


def test_pictures_turned_by_exif_are_turned(data: Any, tmp_path: Path) -> None:
    X, y = data
    classifier = ImageClassifier().fit(X, y)
    upright = Image.open(X[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "turned.png"
    upright.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif.tobytes())
    np.testing.assert_allclose(
        classifier.predict_proba([str(turned), Image.open(turned)]),
        np.tile(classifier.predict_proba([X[0]]), (2, 1)), atol=ONE_ANSWER,
    )  # fmt: skip


# -- Labels of any type, kept --

KINDS: dict[str, tuple[Any, Any]] = {
    "text": ("ants", "bees"),
    "integers": (10, 9),
    "small integers": (np.uint8(10), np.uint8(9)),
    "booleans": (True, False),
    "floats": (0.1, -2.5),
    "bytes": (b"\xffants", b"bees"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_keep_their_type_through_save_and_load(data: Any, tmp_path: Path, kind: str) -> None:
    X, y = data
    discs, stripes = KINDS[kind]
    given = [discs if label == "discs" else stripes for label in y]
    classifier = ImageClassifier(taps=["final"]).fit(X, given)
    loaded = ImageClassifier.load(classifier.save(tmp_path / "model"))
    for found in (loaded, load(tmp_path / "model"), classifier.classifier_):
        predicted = found.predict(X)
        assert (predicted == given).mean() > 0.9
        assert type(predicted.tolist()[0]) is type(np.array([discs]).tolist()[0])
        assert found.classes_.tolist() == sorted([discs, stripes])
        assert found.score(X, given) == (predicted == given).mean()
    assert loaded.classes_.dtype == classifier.classes_.dtype
    assert loaded.classes_.tolist() == classifier.classes_.tolist() == sorted([discs, stripes])
    assert loaded.score(X, given) > 0.9
    assert all(isinstance(name, str) for name in loaded.classifier_.classes)
    raw = json.loads((tmp_path / "model" / "config.json").read_text())
    assert raw["regraft"]["classes"] == list(loaded.classifier_.classes)


def test_a_loaded_estimator_has_the_parameters_that_it_was_taught_with(
    data: Any, tmp_path: Path
) -> None:
    X, y = data
    asked = ImageClassifier(
        "probe",
        taps=("final",),
        head="logistic",
        class_weight="balanced",
        random_state=np.int64(7),
        device="cpu",
        offline=True,
    )
    asked.fit(X, y).save(tmp_path / "model")
    loaded = ImageClassifier.load(tmp_path / "model")
    assert loaded.get_params() == {**asked.get_params(), "taps": ["final"]}
    assert clone(loaded).get_params() == loaded.get_params()
    again = loaded.set_params(random_state=8).fit(X, y)
    assert again.classifier_.card["params"]["random_state"] == 8


def test_a_runs_model_has_its_settings_and_its_test_score(data: Any, tmp_path: Path) -> None:
    config = RunConfig(Path(data[0][0]).parent.parent, head="ncm", taps=("final",), seed=3)
    result = run(config, out=tmp_path / "runs")
    loaded = ImageClassifier.load(result.folder / "model")
    params = loaded.get_params()
    assert (params["head"], params["taps"], params["random_state"]) == ("ncm", ["final"], 3)
    assert loaded.test_score_ == loaded.classifier_.test_score == result.evaluation.accuracy
    assert clone(loaded).fit(*data).test_score_ is None


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        ([], ValueError, "16 and 0"),
        (None, TypeError, "y must be a sequence"),
        (np.eye(2)[[0, 1] * 8], ValueError, "argmax"),
        ([1, "a"] * 8, TypeError, "one kind"),
        ([None, "a"] * 8, ValueError, "8 of 16 labels are missing"),
        (["a"] * 16, DataError, "2 classes, got 1: 'a'"),
    ],
)
def test_a_refit_that_fails_leaves_the_old_model_whole(
    data: Any, y: Any, error: type[Exception], words: str
) -> None:
    X, labels = data
    classifier = ImageClassifier(taps=["final"]).fit(X, labels)
    before = classifier.predict_proba(X)
    with pytest.raises(error, match=words):
        classifier.fit(X, y)
    with pytest.raises(DataError):
        classifier.fit([*X, "gone.jpg"], [*(["yak", "cow"] * 8), "yak"])
    assert list(classifier.classes_) == ["discs", "stripes"]
    assert set(classifier.predict(X)) == {"discs", "stripes"}
    assert np.array_equal(classifier.predict_proba(X), before)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"random_state": None}, "random_state must be an integer"),
        ({"random_state": -1}, "random_state must be an integer"),
        ({"head": "forest"}, "the choices: auto"),
        ({"class_weight": "heavy"}, "balanced"),
        ({"backbone": None}, "'backbone' must be text"),
        ({"method": "head", "training": [1]}, "training must be a dict"),
        ({"method": "head", "head": "knn"}, "linear head"),
    ],
)
def test_parameters_are_refused_before_an_image_is_read(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ImageClassifier(**params).fit(["gone.jpg", "too.jpg"], ["a", "b"])


def test_what_images_to_learn_from_can_be(data: Any) -> None:
    X, y = data
    wanted = ImageClassifier(taps=["final"]).fit(X, y).predict_proba(X)
    for given in ((path for path in X), np.array(X).reshape(-1, 1), tuple(map(Path, X))):
        found = ImageClassifier(taps=["final"]).fit(given, np.array(y).reshape(-1, 1))
        assert np.array_equal(found.predict_proba(X), wanted)
    with pytest.raises(TypeError, match=r"regraft\.run"):
        ImageClassifier().fit(str(Path(X[0]).parent.parent), y)
    with pytest.raises(TypeError, match="reshape"):
        ImageClassifier().fit(np.zeros((16, 64)), y)
    with pytest.raises(ValueError, match="X holds no images"):
        ImageClassifier().fit([], [])
    with pytest.raises(ValueError, match="groups must be equally long, got 16 and 2"):
        ImageClassifier().fit(X, y, groups=[1, 2])


def test_files_teach_even_if_the_engine_must_be_built(
    data: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The pictures on which a new engine is compared are read before the pass."""
    X, y = data
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cold"))
    files = [io.BytesIO(Path(path).read_bytes()) for path in X]
    classifier = ImageClassifier(backbone="random:test_resnet").fit(files, y)
    assert classifier.predict_proba(X).shape == (16, 2)


def test_images_in_no_group_are_not_one_group(data: Any) -> None:
    X, y = data
    alone = ImageClassifier().fit(X, y).classifier_.learnt
    found = ImageClassifier().fit(X, y, groups=[None, float("nan")] * 8).classifier_.learnt
    assert found.chosen_by == alone.chosen_by
    np.testing.assert_allclose(found.oof_proba, alone.oof_proba)


# -- What it gives --


def test_it_gives_rejected_rows_the_score_and_where_it_looks(data: Any) -> None:
    X, y = data
    classifier = ImageClassifier().fit(X, [label == "discs" for label in y])
    found = classifier.answer([X[0], b"", X[1]])
    assert found.is_read.tolist() == [True, False, True]
    assert found.labels.tolist()[1] is None
    assert [bad.path for bad in found.rejected] == ["image 2 (bytes)"]
    with pytest.raises(DataError) as caught:
        classifier.predict([X[0], b"", X[1]])
    assert caught.value.rows == [1]

    truth = [label == "discs" for label in y]
    accuracy = classifier.evaluate(X, truth).accuracy
    assert accuracy.value == classifier.score(X, truth)
    assert accuracy.low < accuracy.value <= accuracy.high

    explained = classifier.explain(X[:2], label=True)
    assert explained.maps.shape[0] == 2
    assert explained.labels.tolist() == [True, True]
    assert explained.overlay(1).size == explained.pictures.shape[1:3]
    np.testing.assert_allclose(explained.proba, classifier.predict_proba(X[:2]), atol=ONE_ANSWER)
    with pytest.raises(UsageError, match="no class 'yak'"):
        classifier.explain(X[:1], label="yak")


def test_scores_of_labels_that_cannot_match_are_refused(data: Any) -> None:
    X, y = data
    classifier = ImageClassifier().fit(X, [int(label == "discs") for label in y])
    with pytest.raises(TypeError, match=r"y holds str, 'discs'.*int: 0, 1"):
        classifier.score(X, y)
    assert classifier.score(X[:2], [7, 8]) == 0, "labels of the same kind count as wrong answers"
    with pytest.raises(TableError, match="'7'"):
        classifier.evaluate(X[:2], [7, 0])


# -- scikit-learn's habits --


def test_scikit_learns_own_tools_work_on_it(data: Any) -> None:
    X, y = data
    search = GridSearchCV(ImageClassifier(taps=["final"]), {"head": ["ridge", "ncm"]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.5
    pipeline = Pipeline([("images", FunctionTransformer()), ("classifier", ImageClassifier())])
    assert cross_val_score(pipeline, X, y, cv=2, error_score="raise").mean() > 0.5
    proba = cross_val_predict(
        ImageClassifier(), np.array(X, object), y, cv=2, method="predict_proba"
    )
    assert proba.shape == (16, 2)


def test_scikit_learns_checks_that_need_no_numbers() -> None:
    checks = sklearn.utils.estimator_checks
    for name in (
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
        "check_valid_tag_types",
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimators_unfitted",
        "check_mixin_order",
    ):
        if hasattr(checks, name):  # not every version has all of them
            getattr(checks, name)("ImageClassifier", ImageClassifier())


METHODS: dict[str, dict[str, Any]] = {
    "probe": {},
    "head": {"epochs": 1},
    "partial": {"epochs": 1, "backbone": "random:test_efficientnet"},
    "full": {"epochs": 1, "backbone": "random:test_resnet"},
    "scratch": {"epochs": 1, "backbone": "random:test_resnet"},
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_pickled_copied_and_cloned(
    data: Any, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data
    classifier = ImageClassifier(method, **METHODS[method]).fit(X, y)
    wanted = classifier.predict_proba(X)
    held = pickle.dumps(classifier)
    for again in (pickle.loads(held), copy.copy(classifier), copy.deepcopy(classifier)):
        assert np.array_equal(again.predict_proba(X), wanted)
        assert again.get_params() == classifier.get_params()
    assert not hasattr(clone(classifier), "classes_")
    # Elsewhere, or when the cache was cleared: what the cache alone had came along.
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "elsewhere"))
    classifier.classifier_._built.folder.rename(tmp_path / "gone")
    try:
        found = pickle.loads(held)
        np.testing.assert_allclose(found.predict_proba(X), wanted, atol=ONE_ANSWER)
        found.save(tmp_path / "model")
        np.testing.assert_allclose(
            load(tmp_path / "model").predict_proba(X), wanted, atol=ONE_ANSWER
        )
    finally:
        (tmp_path / "gone").rename(classifier.classifier_._built.folder)


def test_the_states_of_chance_are_not_consumed(data: Any) -> None:
    torch = pytest.importorskip("torch")

    def state() -> tuple[Any, ...]:
        numpy_state: Any = np.random.get_state()
        return (
            torch.get_rng_state().numpy().tobytes(),
            numpy_state[1].tobytes(),
            numpy_state[2],
            random.getstate(),
        )

    X, y = data
    before = state()
    for method in ("probe", "head", "scratch"):
        classifier = ImageClassifier(method, **METHODS[method]).fit(X, y)
        classifier.score(X, y)
        classifier.explain(X[0])
    assert state() == before


@pytest.mark.parametrize("head", ["ridge", "logistic", "svm", "knn", "ncm"])
def test_groups_that_leave_nothing_of_a_class_are_learnt_from_with_a_warning(
    data: tuple[list[str], list[str]], head: str
) -> None:
    X, y = data
    for groups in (["a"] * len(y), y):
        with pytest.warns(UserWarning, match="nothing was measured: .* usual settings were taken"):
            found = ImageClassifier(head=head).fit(X, y, groups=groups)
        assert found.score(X, y) > 0.9
        assert 0.05 <= found.classifier_.temperature <= 1
