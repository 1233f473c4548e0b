"""`ImageClassifier` keeps scikit-learn's contract, on paths, pictures and arrays alike."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score

from conftest import ONE_ANSWER
from regraft.errors import BackboneError, ConfigError, DataError
from regraft.estimator import ImageClassifier

pytestmark = pytest.mark.numerics

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def photos(
    tmp_path_factory: pytest.TempPathFactory, built_engines: Path, make_photos: Write
) -> tuple[Path, Path]:
    """Lossless pictures, eight of each of two classes, and a cache with the engine."""
    room = tmp_path_factory.mktemp("estimator")
    shutil.copytree(built_engines / "engines", room / "cache" / "engines")
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
