"""`Classifier`: one noun, warm, by every door, from many threads, in memory."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import ONE_ANSWER
from regraft import Classifier, load, save
from regraft.errors import BackboneError, DataError, TableError
from regraft.features import engines
from regraft.features.engine import Tap
from regraft.images import pictures
from regraft.model import predicting
from regraft.probe import classifier as module
from regraft.probe.network import Network
from regraft.probe.probe import Probe
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment
from regraft.workflows.experiment import Result

pytestmark = pytest.mark.numerics

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def result(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> Iterator[Result]:
    """A run on lossless pictures, and the cache that it was made in."""
    room = make_room("classifier")
    make_photos(room / "photos", splits={"train": 7, "val": 4}, size_px=80)
    for path in (room / "photos" / "val").rglob("*.jpg"):
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    put_engines(room / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        yield experiment.run(RunConfig(str(room / "photos")), out=str(room / "runs"))


@pytest.fixture
def files(result: Result) -> list[str]:
    table = result.prepared.table
    return [str(path) for path in table.paths[table.splits == "val"]]


@pytest.fixture
def model(result: Result, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    monkeypatch.setenv("REGRAFT_CACHE", str(result.folder.parent.parent / "cache"))
    return load(result.folder / "model")


# -- One picture, one answer (R2) --

DOORS: dict[str, Callable[[str], Any]] = {
    "path": Path,
    "text": str,
    "bytes": lambda file: Path(file).read_bytes(),
    "bytearray": lambda file: bytearray(Path(file).read_bytes()),
    "file": lambda file: open(file, "rb"),  # noqa: SIM115
    "buffer": lambda file: io.BytesIO(Path(file).read_bytes()),
    "PIL": Image.open,
    "PIL, loaded": lambda file: Image.open(file).convert("RGB"),
    "array": lambda file: np.asarray(Image.open(file)),
    "array of floats": lambda file: np.asarray(Image.open(file)) / 255,
    "read-only array": lambda file: np.frombuffer(
        np.asarray(Image.open(file)).tobytes(), np.uint8
    ).reshape(np.asarray(Image.open(file)).shape),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_every_door_gives_the_runs_own_answer(
    result: Result, model: Classifier, files: list[str], door: str
) -> None:
    many = model.predict_proba([DOORS[door](file) for file in files])
    np.testing.assert_allclose(many, result.proba, atol=ONE_ANSWER)
    for file, wanted in zip(files[:3], result.proba, strict=False):
        (alone,) = model.predict_proba(DOORS[door](file))
        np.testing.assert_allclose(alone, wanted, atol=ONE_ANSWER)
        (label,) = model.predict(DOORS[door](file))
        assert label == model.classes[int(wanted.argmax())]


def test_grey_pictures_of_two_and_three_dimensions_are_one_picture(model: Classifier) -> None:
    grey = np.arange(64 * 48, dtype=np.uint8).reshape(64, 48)
    flat = model.predict_proba(grey)
    assert flat.shape == (1, 3)
    rgb = np.dstack([grey] * 3)
    for several in (grey[:, :, None], rgb, np.stack([grey, grey]), np.stack([rgb] * 3)):
        found = model.predict_proba(several)
        assert len(found) == (len(several) if several.shape[0] < 4 else 1)
        np.testing.assert_allclose(found, flat.repeat(len(found), 0), atol=ONE_ANSWER)


def test_a_generator_is_read_in_chunks(
    model: Classifier, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PICTURES_AT_ONCE", 5)
    n_open = most = 0

    class Counted(bytes):
        def __del__(self) -> None:
            nonlocal n_open
            n_open -= 1

    def coming() -> Iterator[bytes]:
        nonlocal n_open, most
        for file in files * 3:
            n_open += 1
            most = max(most, n_open)
            yield Counted(Path(file).read_bytes())

    found = model.predict_proba(coming())
    wanted = model.predict_proba(files)
    np.testing.assert_allclose(found, np.tile(wanted, (3, 1)), atol=ONE_ANSWER)
    assert most <= 2 * 5 + 2, "pictures are let go of after their chunk"


def test_no_picture_is_an_answer_too(model: Classifier) -> None:
    assert model.predict_proba([]).shape == (0, 3)
    assert list(model.predict([])) == []
    assert model.predict_proba(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, 3)


# -- Warm --


def test_the_engine_is_started_once(
    model: Classifier, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    start = engines.BuiltEngine.start

    def counted(self: engines.BuiltEngine, **options: Any) -> Any:
        started.append(self)
        return start(self, **options)

    monkeypatch.setattr(engines.BuiltEngine, "start", counted)
    for file in files[:4]:
        model.predict(file)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(model.predict, files))
    assert len(started) == 1


def test_many_threads_on_one_get_the_serial_answers(model: Classifier, files: list[str]) -> None:
    asked = files * 4
    serial = [model.predict_proba(file)[0] for file in asked]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda file: model.predict_proba(file)[0], asked))
    assert np.array_equal(np.stack(found), np.stack(serial))


def test_nothing_is_written_and_no_store_is_opened(
    model: Classifier, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model.predict(files[0])  # its graph is compiled and kept
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache = Path(os.environ["REGRAFT_CACHE"])
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    arrays = [np.asarray(Image.open(file)) for file in files]
    model.predict_proba([*files, *arrays])
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before
    assert list(tmp_path.iterdir()) == []


# -- What cannot be read --


def test_all_unreadable_pictures_are_named_in_their_places(
    model: Classifier, files: list[str], tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    asked = [files[0], str(tmp_path / "empty.jpg"), b"<!DOCTYPE html>", files[1], "gone.jpg"]
    with pytest.raises(DataError, match="3 of 5 images cannot be read") as caught:
        model.predict(asked)
    named = {bad.path: bad.reason for bad in caught.value.rejected}
    assert set(named) == {str(tmp_path / "empty.jpg"), "image 3 (bytes)", "gone.jpg"}
    assert "web page" in named["image 3 (bytes)"]


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (7, TypeError, "neither a picture nor several: an int; give a path, bytes"),
        (None, TypeError, "several: None"),
        ([None], TypeError, "got None"),
        ([3.5], TypeError, "a float"),
        (np.zeros((3, 32, 32), np.uint8), ValueError, "channels first"),
        ([np.zeros((4, 4, 2), np.uint8)], ValueError, r"\(4, 4, 2\)"),
        (np.full((9, 9), 300), ValueError, "int64.*uint16"),
        (np.full((9, 9), 200.0), ValueError, "float64.*astype.numpy.uint8"),
        (np.full((9, 9), -1.5), ValueError, "array . std . mean"),
        (np.full((9, 9), np.nan), ValueError, "nan_to_num"),
        (np.zeros((3, 784), np.uint8), ValueError, "rows of flattened pixels"),
        ([np.zeros((2, 9, 9, 3), np.uint8)], ValueError, "is a batch"),
        (io.StringIO("text"), TypeError, "opened for bytes"),
        (io.TextIOWrapper(io.BytesIO(b"\xff\xd8\xff")), TypeError, "opened for bytes"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(
    model: Classifier, images: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        model.predict(images)


def test_a_tensor_is_told_where_its_channels_go(model: Classifier) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="permute"):
        model.predict(torch.zeros(3, 32, 32, dtype=torch.uint8))
    assert model.predict(torch.zeros(32, 32, 3, dtype=torch.uint8)).shape == (1,)


def test_answers_have_a_row_for_every_picture(
    model: Classifier, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PICTURES_AT_ONCE", 2)
    asked = [files[0], b"", files[1], "gone.jpg", files[2]]
    found = model.answer(asked)
    assert found.names == [files[0], "image 2 (bytes)", files[1], "gone.jpg", files[2]]
    assert found.is_read.tolist() == [True, False, True, False, True]
    assert [bad.path for bad in found.rejected] == ["image 2 (bytes)", "gone.jpg"]
    np.testing.assert_allclose(
        found.proba[found.is_read], model.predict_proba(files[:3]), atol=ONE_ANSWER
    )
    assert found.labels[found.is_read].tolist() == model.predict(files[:3]).tolist()
    assert found.labels[~found.is_read].tolist() == [None, None]
    with pytest.raises(DataError) as caught:
        model.predict_proba(asked)
    assert caught.value.rows == [1, 3]
    assert model.answer([]).labels.tolist() == []


def test_it_is_scored_and_explained(result: Result, model: Classifier, files: list[str]) -> None:
    truth = [Path(file).parent.name for file in files]
    found = model.evaluate(files, truth)
    assert found.accuracy == result.evaluation.accuracy == model.test_score
    assert result.classifier.test_score == model.test_score
    assert result.classifier.card == model.card
    assert found.macro_f1 == result.evaluation.macro_f1
    grouped = model.evaluate(files, truth, groups=["one", "two"] * (len(files) // 2))
    assert grouped.n_groups == 2
    (shown,) = model.explain(files[0], label="discs").maps
    assert np.isfinite(shown).all()
    for images, y, words in ((files[:2], ["discs"], "2 and 1"), ([], [], "no images")):
        with pytest.raises(ValueError, match=words):
            model.evaluate(images, y)
    with pytest.raises(TableError, match=r"'disks' .near: 'discs'"):
        model.evaluate(files[:1], ["disks"])


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        ("*.jpg", r"sorted\(glob\.glob"),
        ("https://example.org/a.jpg", "download it"),
        ("gone.jpg", "relative ones begin at"),
        (".", "rglob"),
    ],
)
def test_what_is_no_file_is_told_what_to_give(model: Classifier, path: str, cure: str) -> None:
    with pytest.raises(DataError, match=cure):
        model.predict(path)


# -- The noun --


def test_it_is_what_fit_gives_save_takes_and_load_gives(
    result: Result, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(result.folder.parent.parent / "cache"))
    assert isinstance(result.classifier, Classifier)
    again = load(save(result.classifier, tmp_path / "model"))
    assert isinstance(again, Classifier)
    assert again.classes == result.classifier.classes == ("discs", "squares", "stripes")
    np.testing.assert_allclose(again.predict_proba(files), result.proba, atol=ONE_ANSWER)
    served = predicting.predict(again, files)
    np.testing.assert_allclose(served.proba, result.proba, atol=ONE_ANSWER)


def test_it_travels_by_pickle(model: Classifier, files: list[str]) -> None:
    wanted = model.predict_proba(files[:2])
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(files[:2]), wanted)


def test_one_of_features_alone_takes_no_pictures() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    X = (rng.standard_normal((30, 4)) + 3 * y[:, None]).astype(np.float32)
    found = Probe().fit(X, y, network=Network((Tap("final", 0, 4),)), classes=["a", "b"])
    assert (found.proba_of(X).argmax(1) == y).mean() > 0.9
    with pytest.raises(BackboneError, match="sees no pictures"):
        found.predict("a.jpg")
    with pytest.raises(ValueError, match="no network"):
        save(found, "nowhere")


def test_a_picture_in_memory_has_a_name_and_content() -> None:
    array = np.zeros((4, 4), np.uint8)
    held = pictures.InMemory(array, 2)
    assert str(held) == "image 3 (an array of (4, 4), uint8)"
    content = pictures.content_of(held)
    assert content.digest == pictures.content_of(array.copy()).digest
    assert content.digest != pictures.content_of(array + 1).digest
    assert content.digest != pictures.content_of(array.reshape(2, 8)).digest
